"""One address beside others: its share of sessions and of work, and whose turn is next."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio.queueing import EventQueue
from PIL import Image

from metaembed_demo.app.server import gradio_compat, unread_answers
from metaembed_demo.app.server.access import MCP
from metaembed_demo.app.ui import page
from metaembed_demo.app.visitors import jobs
from metaembed_demo.app.visitors.registry import Visits
from metaembed_demo.app.visitors.session import Full, Session, Sessions
from metaembed_demo.app.visitors.shares import Busy, Shares, Turns
from metaembed_demo.app.visitors.tools import Tools
from metaembed_demo.collection.progress import Progress
from metaembed_demo.core.config import LIMITS
from metaembed_demo.core.types import Page, Upload
from tests.support.app_server import Served, Tab, until
from tests.support.coroutines import run
from tests.support.dummy_encoder import DummyEncoder
from tests.support.small_app import samples

ATTACKER, VISITOR = "192.0.2.1", "192.0.2.2"
ALL = LIMITS.model_copy(update={"address_share": 100})


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


# Turns


def served(turns: Turns, asked: list[tuple[str, float]]) -> list[str]:
    """Ask for turns of (client, seconds) while another runs. Returns who was served, in order."""
    clock, order = turns.clock, []
    assert isinstance(clock, Clock)

    async def one(client: str, seconds: float) -> None:
        async with turns.turn_async(client):
            order.append(client)
            clock.now += seconds

    async def all_of_them() -> None:
        async with turns.turn_async("somebody"):
            waiting = [asyncio.create_task(one(*each)) for each in asked]
            while turns.waits() < len(asked):
                await asyncio.sleep(0)
        await asyncio.gather(*waiting)

    run(all_of_them())
    return order


def test_who_comes_late_waits_for_no_more_than_one_turn_of_each() -> None:
    asked = [("a", 1.0)] * 20 + [("b", 1.0), ("c", 1.0)]
    assert served(Turns(1, 99, ALL, Clock()), asked) == ["a", "b", "c", *["a"] * 19]


def test_turns_go_to_whoever_had_the_least_time() -> None:
    asked = [("dense", 31.0)] * 3 + [("light", 1.0)] * 10
    assert served(Turns(1, 99, ALL, Clock()), asked) == ["dense", *["light"] * 10, "dense", "dense"]


def test_an_address_runs_and_waits_within_its_share() -> None:
    limits = LIMITS.model_copy(update={"address_share": 33})
    turns = Turns(4, 100, limits)

    async def flood() -> None:
        gate = asyncio.Event()

        async def hold() -> None:
            async with turns.turn_async(ATTACKER):
                await gate.wait()

        held = [asyncio.create_task(hold()) for _ in range(110)]
        refused, _ = await asyncio.wait(held, return_when=asyncio.FIRST_EXCEPTION)
        while len(refused) < 75:
            await asyncio.sleep(0)
            refused = {each for each in held if each.done()}
        assert {type(each.exception()) for each in refused} == {Busy}
        assert (len(refused), turns.waits()) == (110 - 2 - 33, 33)  # two of four run
        for _ in range(3):
            async with turns.turn_async(VISITOR):  # at once
                assert turns.waits() == 33
        held[40 - 7].cancel()  # whoever goes gives up the place
        while turns.waits() == 33:
            await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*held, return_exceptions=True)

    run(flood())
    assert turns.waits() == 0
    with turns.turn(ATTACKER) as begun, turns.turn(ATTACKER):
        assert begun
        with (
            pytest.raises(Busy, match="busy with the work of others") as busy,
            turns.turn(ATTACKER, seconds=0),
        ):
            pass
        assert busy.value.retry_s > 0
        stop = threading.Event()
        stop.set()
        with turns.turn(ATTACKER, stop) as begun:
            assert not begun


def test_a_job_that_is_left_gives_its_turn_back() -> None:
    turns = Turns(1, 9, ALL)
    steps = turns.each(ATTACKER, iter(range(3)))
    assert next(steps) == 0
    steps.close()

    def broken() -> Iterator[int]:
        yield 1
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        list(turns.each(ATTACKER, broken()))
    with turns.turn(VISITOR, seconds=0) as begun:
        assert begun


# Sessions


def test_one_address_locks_no_newcomer_out() -> None:
    clock = Clock()
    sessions = Sessions(samples(DummyEncoder()), 3600, clock, LIMITS)
    mine = [sessions.open(ATTACKER) for _ in range(sessions.share)]
    assert len(mine) == 22  # of 64
    for _ in range(41):
        with pytest.raises(Full, match="All 22 sessions that one address may have are in use"):
            sessions.open(ATTACKER)
    assert sessions.open(VISITOR) in sessions
    clock.now += LIMITS.yield_after_s  # its own oldest makes room for its next, nobody else's
    assert sessions.open(ATTACKER) in sessions
    assert [each in sessions for each in mine[:2]] == [False, True]
    assert len(sessions) == 23


def test_visitors_of_one_address_who_came_and_went_lock_nobody_out() -> None:
    sessions = Sessions(samples(DummyEncoder()), 3600, Clock(), LIMITS)
    mine = [sessions.open(VISITOR) for _ in range(sessions.share)]
    sessions.leave(mine[3])
    sessions.leave(mine[5])
    sessions.get(mine[5]).files.bytes = 10  # and is back; what was uploaded would be lost
    sessions.leave(mine[5])
    assert sessions.open(VISITOR) in sessions
    assert [each in sessions for each in (mine[3], mine[5])] == [False, True]
    with pytest.raises(Full):
        sessions.open(VISITOR)


def test_a_small_server_leaves_an_address_eight() -> None:
    for most, share in ((64, 22), (12, 8), (4, 4)):
        limits = LIMITS.model_copy(update={"max_sessions": most})
        assert Sessions(samples(DummyEncoder()), limits=limits).share == share


def test_sessions_count_for_the_address_that_opened_them(small: Served) -> None:
    def asked_from(address: str) -> httpx.Client:
        transport = httpx.HTTPTransport(local_address=address)
        return httpx.Client(base_url=small.address, transport=transport, timeout=60)

    def call(client: httpx.Client, name: str, *data: Any) -> str:
        event = client.post(f"/gradio_api/call/{name}", json={"data": data}).json()["event_id"]
        return client.get(f"/gradio_api/call/{name}/{event}").text

    with asked_from("127.0.0.2") as attacker, asked_from("127.0.0.3") as visitor:
        told = [call(attacker, "new_session") for _ in range(61)]  # a share of the server's 180 is 60
        assert "sessions that one address may have are in use" in told[-1]
        assert ['"session"' in each for each in told] == [True] * 60 + [False]
        asked = {"name": "new_session", "arguments": {}}
        over_mcp = attacker.post(
            MCP,
            json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": asked},
            headers={"Accept": "application/json, text/event-stream"},
        )
        assert "sessions that one address may have are in use" in over_mcp.text
        page_told = Tab(small.address, attacker).send(None, "load")
        assert "sessions that one address may have are in use" in page_told
        assert '"session"' in call(visitor, "new_session")


# Gradio's queue


@pytest.fixture
def blocks() -> gradio_compat.Page:
    with gradio_compat.Page() as made:
        gr.Button().click(lambda: None)
    made.queue(max_size=100)
    gradio_compat.queue_in_turn(made, LIMITS, lambda request: str(request))
    made._queue.active_jobs = [None] * 40
    return made


def join(blocks: gradio_compat.Page, client: str, kind: str = "index", limit: int = 4) -> None:
    waiting = blocks._queue.event_queue_per_concurrency_id
    found = waiting.setdefault(kind, EventQueue(kind, limit))
    found.queue.append(SimpleNamespace(request=client, concurrency_id=kind))  # type: ignore[arg-type]


def start(blocks: gradio_compat.Page) -> str | None:
    """Whose event the queue starts next."""
    queue = blocks._queue
    if (found := queue.get_events()) is None:
        return None
    events, batch, kind = found
    assert (len(events), batch) == (1, False)
    queue.active_jobs[queue.active_jobs.index(None)] = events
    queue.event_queue_per_concurrency_id[kind].current_concurrency += 1
    return str(events[0].request)


def test_the_queue_serves_addresses_in_turn(blocks: gradio_compat.Page) -> None:
    for client in [*"aaaaaaaaaa", "b", "c", "b"]:
        join(blocks, client)
    assert [start(blocks) for _ in range(5)] == ["a", "b", "c", "a", None]  # four run
    blocks._queue.active_jobs = [None] * 40
    blocks._queue.event_queue_per_concurrency_id["index"].current_concurrency = 0
    assert [start(blocks) for _ in range(4)] == ["b", "a", "a", None]  # of one address two


def test_waiting_work_of_one_address_does_not_fill_the_queue(blocks: gradio_compat.Page) -> None:
    def post(client: str) -> tuple[bool, str, str]:
        body = SimpleNamespace(fn_index=None)  # where there is room, Gradio goes on and misses this
        return run(blocks._queue.push(body, client, None))  # type: ignore[arg-type,return-value]

    for _ in range(33):
        assert post(ATTACKER)[1] == "No function index provided."
        join(blocks, ATTACKER)
    assert post(ATTACKER)[1:] == (
        "Too many requests of your address are waiting (33). Try again later.",
        "queue_full",
    )
    assert post(VISITOR)[1] == "No function index provided."


def send(blocks: gradio_compat.Page, tab: str, client: str, size: int = 0) -> SimpleNamespace:
    """One message of an event of a tab, as Gradio sends it."""
    boxes = blocks._queue.pending_messages_per_session
    if tab not in boxes:
        boxes[tab] = asyncio.Queue()
        blocks._queue.pending_event_ids_session[tab] = {"e"}
    event = SimpleNamespace(_id="e", session_hash=tab, request=client, alive=True)
    blocks._queue.send_message(event, SimpleNamespace(output={"data": ["x" * size]}))  # type: ignore[arg-type]
    return event


def test_answers_that_a_silent_tab_does_not_read_are_dropped(
    blocks: gradio_compat.Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = blocks._queue.pending_messages_per_session
    clock = itertools.count()
    monkeypatch.setattr(unread_answers, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    megabyte = 1 << 20
    for at in range(100):  # of one tab, and of a tab each
        send(blocks, "silent", ATTACKER, megabyte)
        send(blocks, f"silent {at}", ATTACKER, megabyte)
        send(blocks, "visitor's", VISITOR, megabyte)
        boxes["visitor's"].get_nowait()
        assert sum(box.size for box in boxes.values()) <= unread_answers.UNREAD_OF_ONE
    assert "silent 0" not in boxes
    assert blocks._queue.pending_event_ids_session["silent 0"] == set()
    # An event whose tab was dropped ends, as when the tab is closed.
    ended = SimpleNamespace(_id="e", session_hash="silent 0", request=ATTACKER, alive=True)
    blocks._queue.send_message(ended, SimpleNamespace(output={}))  # type: ignore[arg-type]
    assert not ended.alive
    # Small ones are bounded in number.
    for at in range(300):
        send(blocks, f"small {at}", ATTACKER)
    assert sum(bool(box.size) for box in boxes.values()) == unread_answers.TABS_OF_ONE
    assert "visitor's" in boxes


def test_calls_that_nobody_fetches_push_no_other_tab_out(
    blocks: gradio_compat.Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = blocks._queue.pending_messages_per_session
    send(blocks, "visitor's job", VISITOR)
    boxes["visitor's job"].get_nowait()  # its event goes on
    for at in range(unread_answers.MOST_TABS + 50):
        send(blocks, f"{at}", ATTACKER)
        boxes[f"{at}"].get_nowait()
        blocks._queue.pending_event_ids_session[f"{at}"] = set()
    assert len(boxes) == unread_answers.MOST_TABS
    assert "visitor's job" in boxes
    # And what was left for long goes.
    send(blocks, "left", ATTACKER)
    later = time.monotonic() + unread_answers.UNREAD_S + 60
    monkeypatch.setattr(unread_answers, "time", SimpleNamespace(monotonic=lambda: later))
    run(blocks._queue.push(SimpleNamespace(fn_index=None), VISITOR, None))  # type: ignore[arg-type]
    assert "left" not in boxes
    assert "visitor's job" in boxes


def test_the_page_s_queue_is_the_fair_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(Visits, "watch", lambda self: None)
    encoder = DummyEncoder()
    demo, _ = page.build_ui(encoder, samples(encoder))
    assert type(demo._queue).__name__ == "FairQueue"
    at_once = {fn.concurrency_id: fn.concurrency_limit for fn in demo.fns.values() if fn.queue}
    for kind in ("index", "survey", "test", "storage", "index-file", "search"):
        assert LIMITS.share(at_once[kind]) < at_once[kind], f"an address holds all places of {kind}"


# Jobs and pictures


def test_heavy_pages_yield_to_others_between_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, order = Clock(), []
    shares = Shares(ALL)
    shares.jobs = Turns(1, 99, ALL, clock)
    base = samples(DummyEncoder())
    second_waits = threading.Event()

    def pages(collection: Any, files: list[str], *rest: Any) -> Iterator[Progress]:
        (client,) = files
        for number in range(3):
            if client == ATTACKER and number == 0:
                second_waits.set()
                assert until(lambda: shares.jobs.waits() == 1)
            clock.now += 31 if client == ATTACKER else 1
            order.append(client)
            yield Progress(number, 3, client, number, None)

    def run(client: str) -> jobs.Indexed:
        session = Session("token", base, client=client, shares=shares)
        steps = list(jobs.index(session, DummyEncoder(), [client], [], threading.Event()))  # type: ignore[list-item]
        assert isinstance(steps[-1], jobs.Indexed)
        return steps[-1]

    monkeypatch.setattr(jobs, "index_files", pages)
    with ThreadPoolExecutor(2) as pool:
        heavy = pool.submit(run, ATTACKER)
        assert second_waits.wait(30)
        light = pool.submit(run, VISITOR)
        assert [each.result(30).error for each in (heavy, light)] == ["", ""]
    assert order == [ATTACKER, *[VISITOR] * 3, ATTACKER, ATTACKER]


def test_jobs_of_one_address_leave_room_for_another_s() -> None:
    shares = Shares(LIMITS)
    for turns in (shares.searches, shares.jobs, shares.indexing, shares.pictures):
        assert turns.share < turns.most


def test_pictures_of_one_address_hold_no_other_s_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def read(file: Upload, limits: Any) -> Page:
        if file.name == "heavy.pdf":
            entered.set()
            assert go_on.wait(30)
        return SimpleNamespace(image=Image.new("RGB", (2, 2)))  # type: ignore[return-value]

    monkeypatch.setattr(jobs, "read_picture", read)
    monkeypatch.setattr(jobs, "PICTURE_WAIT_S", 0.0)
    turns = Visits(Tools(DummyEncoder()), samples(DummyEncoder())).shares.pictures
    heavy, light = (Upload(tmp_path / name, name) for name in ("heavy.pdf", "light.png"))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(jobs.picture, heavy, turns, ATTACKER)
        assert entered.wait(30)
        with pytest.raises(Busy):
            jobs.picture(heavy, turns, ATTACKER)
        assert jobs.picture(light, turns, VISITOR).size == (2, 2)
        go_on.set()
        assert first.result(30).size == (2, 2)
