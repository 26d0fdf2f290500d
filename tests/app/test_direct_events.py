"""Events that do not go through Gradio's queue: what they are given, what they answer, and their limits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
import httpx
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from metaembed_demo.app.server import gradio_compat
from metaembed_demo.app.server.access import RUN
from metaembed_demo.app.server.direct_events import FAILED, DirectEvents
from metaembed_demo.app.ui import page
from metaembed_demo.app.visitors.shares import Turns
from tests.support.app_server import Tab, until
from tests.support.dummy_encoder import DummyEncoder
from tests.support.small_app import samples


@dataclass
class Made:
    """A page whose handlers say what they were given."""

    blocks: gradio_compat.Page = field(default_factory=gradio_compat.Page)
    numbers: dict[str, int] = field(default_factory=dict)  # of the events, by their handlers' names
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    go_on: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        with self.blocks:
            self.text, self.region = gr.Textbox(), gr.HTML()
            outputs = [self.text, self.region]
            for fn in (self.given, self.nothing, self.told, self.broken, self.slow):
                self.region.input(fn, [self.text] if fn == self.given else [], outputs, queue=False)
                self.numbers[fn.__name__] = max(self.blocks.fns)
            self.region.select(self.chosen, [], outputs, queue=False)
            self.numbers["chosen"] = max(self.blocks.fns)
            self.region.change(self.nothing, [], outputs)
            self.numbers["queued"] = max(self.blocks.fns)
            self.region.change(None, js="() => {}")
            self.numbers["script"] = max(self.blocks.fns)

    def given(self, request: gr.Request, text: str, event: gr.EventData) -> dict[Any, Any]:
        said = f"{request.session_hash} {request.cookies.get('who')} {text!r} {event.stop}"
        return {self.region: said}

    def chosen(self, event: gr.SelectData) -> dict[Any, Any]:
        return {self.text: event.value}

    def nothing(self) -> Any:
        return gr.skip()

    def told(self) -> None:
        raise gr.Error("There is no room.", print_exception=False)

    def broken(self) -> None:
        raise RuntimeError("a secret")

    def slow(self) -> Any:
        self.entered.release()
        assert self.go_on.wait(30)
        return gr.skip()


@pytest.fixture
def made() -> Made:
    return Made()


@pytest.fixture
def events(made: Made) -> DirectEvents:
    return DirectEvents(made.blocks, Turns(1, waiting=1))


@pytest.fixture
def client(events: DirectEvents) -> Iterator[TestClient]:
    app = Starlette(routes=[events.route()])
    app.auth = None  # type: ignore[attr-defined]
    with TestClient(app) as found:
        yield found


def ask(client: TestClient, number: int, tab: str = "a-tab", **more: Any) -> httpx.Response:
    body = {"fn_index": number, "session_hash": tab, "data": [], "event_data": None, **more}
    return client.post(RUN, json=body)


def test_a_handler_gets_the_request_its_inputs_and_the_event(client: TestClient, made: Made) -> None:
    client.cookies.set("who", "me")
    got = ask(client, made.numbers["given"], data=["dog"], event_data={"stop": 3})
    assert got.status_code == 200
    skipped = gr.skip()
    assert got.json()["data"] == [skipped, "a-tab me 'dog' 3"]
    chosen = ask(client, made.numbers["chosen"], event_data={"index": 1, "value": "Ranks"})
    assert chosen.json()["data"] == ["Ranks", skipped]
    assert ask(client, made.numbers["nothing"]).json()["data"] == [skipped, skipped]


def test_errors_are_told_and_no_more_than_that(client: TestClient, made: Made) -> None:
    told = ask(client, made.numbers["told"])
    assert (told.status_code, told.json()["error"]) == (500, "There is no room.")
    for got in (
        ask(client, made.numbers["broken"]),
        ask(client, made.numbers["given"], data=["dog"]),  # the event's data are missing
        ask(client, made.numbers["chosen"], event_data={"index": 1}),
    ):
        assert (got.status_code, got.json()["error"]) == (500, FAILED)
        assert "secret" not in got.text


def test_only_events_of_the_page_that_skip_the_queue_are_answered(client: TestClient, made: Made) -> None:
    for number in (made.numbers["queued"], made.numbers["script"], -1, 10**30):
        assert ask(client, number).status_code in (404, 422)
    assert ask(client, made.numbers["given"], data=[]).status_code == 404
    for body in (
        b"",
        b"[",
        b"null",
        b"[" * 100_000,
        b'{"fn_index": 0}',
        b'{"fn_index": 0, "session_hash": 1}',
    ):
        got = client.post(RUN, content=body)
        assert (got.status_code, "error" in got.json()) == (422, True), body[:20]
    assert ask(client, made.numbers["nothing"], tab="x" * 65).status_code == 422
    assert client.get(RUN).status_code == 405


def test_as_many_wait_as_may(client: TestClient, made: Made, events: DirectEvents) -> None:
    with ThreadPoolExecutor(2) as others:
        first = others.submit(ask, client, made.numbers["slow"])
        assert made.entered.acquire(timeout=30)
        second = others.submit(ask, client, made.numbers["nothing"])
        assert until(lambda: events._turns.waits() == 1)
        refused = ask(client, made.numbers["nothing"])
        made.go_on.set()
        assert [each.result().status_code for each in (first, second)] == [200, 200]
    assert refused.status_code == 503
    assert "Too many requests of your address are waiting (1)." in refused.json()["error"]
    assert int(refused.headers["retry-after"]) > 0


def test_answers_say_which_came_before_in_their_tab(client: TestClient, made: Made) -> None:
    def turns(tab: str) -> tuple[int, int]:
        got = ask(client, made.numbers["nothing"], tab=tab).headers
        return int(got["x-turn"]), int(got["x-after"])

    (first, none), (other, nor), (second, before) = turns("one"), turns("two"), turns("one")
    assert (none, nor, before) == (0, 0, first)
    assert first < other < second


def test_a_password_is_asked_for(client: TestClient, made: Made) -> None:
    app: Any = client.app
    app.auth, app.cookie_id, app.tokens = object(), "id", {"token": "anybody"}
    assert ask(client, made.numbers["nothing"]).status_code == 401
    for name, value, status in (
        ("access-token-id", "other", 401),
        ("access-token-id", "token", 200),
        ("access-token-unsecure-id", "token", 200),
        ("access-token-other", "token", 401),
    ):
        client.cookies.clear()
        client.cookies.set(name, value)
        assert ask(client, made.numbers["nothing"]).status_code == status, name


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False])
def test_the_page_answers_at_once_with_or_without_the_route(
    known: bool, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradio's own route answers the same events, more slowly, in a version that was not tested."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(gradio_compat, "check_version", lambda: known)
    encoder = DummyEncoder()
    app, options = page.build_ui(encoder, samples(encoder))
    app.launch(server_name="127.0.0.1", quiet=True, prevent_thread_lock=True, **options)
    try:
        tab = Tab(app.local_url.rstrip("/"))
        found = tab.send("query", "submit", data=["energy use by quarter"])
        moved = tab.send("dial", "input", {"stop": 0})
        tab.send("marks", "submit", {})
        opened = tab.send("evidence-tabs", "select", {"value": "Timing", "index": 4, "selected": True})
    finally:
        app.close()
    assert "energy.pdf" in found
    assert 'data-stop=\\"0\\"' in moved
    assert "timing" in opened
    assert all('"success":true' in told for told in (found, moved, opened))
