"""What Gradio keeps of tabs and calls: for as long as somebody can want it, and no longer."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import httpx
import pytest
from gradio.state_holder import StateHolder

from metaembed_demo.app.server.gradio_compat import Kept
from metaembed_demo.app.server.tab_names import name_of
from metaembed_demo.app.server.visitor_cookie import visitor_of
from metaembed_demo.app.ui import page
from metaembed_demo.app.visitors import registry
from tests.support.app_server import Tab
from tests.support.dummy_encoder import DummyEncoder
from tests.support.small_app import samples


def test_what_no_tab_holds_goes_with_the_second_sweep() -> None:
    holder = StateHolder()
    with gr.Blocks() as demo:
        gr.Textbox()
    holder.set_blocks(demo)
    states = Kept(demo)
    waiting = demo._queue.pending_event_ids_session
    waiting |= {"tab": set(), "stray": set(), "at work": {"event"}}
    for name in ("tab", "stray"):
        assert holder[name]
    states.sweep({"tab"})
    assert set(holder.session_data) == {"tab", "stray"}  # it may belong to a tab that is just arriving
    assert holder["late"]
    states.sweep({"tab"})
    assert set(holder.session_data) == set(holder.time_last_used) == {"tab", "late"}
    assert set(waiting) == {"tab", "at work"}
    states.drop("late")
    states.drop("late")
    states.drop(None)
    assert (set(holder.session_data), len(states)) == ({"tab"}, 1)


def test_before_there_is_a_server_there_is_nothing_to_do() -> None:
    states = Kept(gr.Blocks())
    states.sweep(())
    states.drop("tab")
    assert len(states) == 0


def known(tab: Tab) -> str:
    """What Gradio knows a tab by."""
    return name_of(tab.hash, f"visitor {visitor_of(dict(tab.http.cookies))}")


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[gr.Blocks, registry.Visits]]:
    made: list[registry.Visits] = []

    class Unwatched(registry.Visits):
        def watch(self) -> None:  # the test sweeps
            made.append(self)

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(page, "Visits", Unwatched)
    encoder = DummyEncoder()
    app, options = page.build_ui(encoder, samples(encoder))
    app.launch(server_name="127.0.0.1", quiet=True, prevent_thread_lock=True, **options)
    yield app, made[0]
    app.close()


@pytest.mark.slow
def test_calls_leave_nothing_and_tabs_leave_with_their_session(
    demo: tuple[gr.Blocks, registry.Visits],
) -> None:
    app, registry = demo
    address = app.local_url.rstrip("/")
    tab = Tab(address)
    tab.send(None, "load")
    assert len(registry.kept) == 1
    tabs = set(app.state_holder.session_data)
    with httpx.Client(base_url=address, timeout=60) as http:
        for data in (["dog", "1x1", 3, "", None], ["", "1x1", 3, "", None]):  # one is answered, one refused
            called = http.post("/gradio_api/call/search", json={"data": data}).json()
            told = http.get(f"/gradio_api/call/search/{called['event_id']}").text
            assert ("event: complete" in told) == bool(data[0])
        body = {"data": ["dog", "1x1", 3, "", None], "session_hash": tab.hash}
        called = http.post("/gradio_api/call/search", json=body).json()
        assert "event: complete" in http.get(f"/gradio_api/call/search/{called['event_id']}").text
    assert set(app.state_holder.session_data) == tabs  # though a call went by its name
    for _ in range(3):
        registry.sweep()
    assert set(app.state_holder.session_data) == {known(tab)}
    assert set(app._queue.pending_event_ids_session) == {known(tab)}
    (session,) = {*registry._visits}
    registry.close(session)
    for _ in range(2):
        registry.sweep()
    assert len(registry.kept) == 0
    assert not app.state_holder.time_last_used


@pytest.mark.slow
def test_the_first_events_of_a_tab_belong_to_one_visit(demo: tuple[gr.Blocks, registry.Visits]) -> None:
    app, registry = demo
    address = app.local_url.rstrip("/")
    tab, other = Tab(address), Tab(address)
    tab.join(None, "load")
    told = tab.send("query", "submit", data=["energy use by quarter"]) + tab.hear(1)
    assert "energy.pdf" in told, "whichever came last has it"
    assert len(registry.sessions) == 1
    other.send(None, "load")
    assert len(registry.sessions) == 2
    (mine, theirs) = registry._tabs[known(tab)], registry._tabs[known(other)]
    visitors = [visitor_of(dict(each.http.cookies)) for each in (tab, other)]
    me, you = (str(each) for each in visitors)
    assert registry.get(me, known(tab)).session.id == mine
    assert registry.get(you, known(other)).session.id == theirs
    assert registry.is_anothers(you, known(tab))
    assert not registry.is_anothers(me, known(tab))
    registry.close(mine)
    assert not registry.is_anothers(you, known(tab))
    assert registry.get(me, known(tab)).session.id not in (mine, theirs)
    assert registry.open().session.id != registry.open().session.id


def test_a_file_that_was_not_uploaded_is_an_error_without_a_traceback(
    demo: tuple[gr.Blocks, registry.Visits], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocks, _ = demo
    with httpx.Client(base_url=str(blocks.local_url)) as client:
        for path in ("/etc/passwd", str(tmp_path / "gone.png"), "a\0b", "/a" * 5000, 5):
            image = {"path": path, "meta": {"_type": "gradio.FileData"}}
            asked = client.post("/gradio_api/call/search", json={"data": ["", "1x1", 1, "", image]})
            told = client.get(f"/gradio_api/call/search/{asked.json()['event_id']}").text
            assert told.startswith("event: error"), path
            assert "Files are to be uploaded" in told, path
    assert not caplog.records


def test_freed_memory_goes_back_where_the_system_can(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = [bytes(30_000) for _ in range(2_000)]
    kept = pieces[::50]
    del pieces
    assert registry.trim() == (platform.libc_ver()[0] == "glibc")
    assert len(kept) == 40
    monkeypatch.setattr(registry.ctypes, "CDLL", lambda _: object())  # another C library
    registry._trimmer.cache_clear()
    assert not registry.trim()
    registry._trimmer.cache_clear()
