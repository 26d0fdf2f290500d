"""What survives of a visit: a reload, going back, an upload beside another, a removal; and what yields."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from metaembed_demo.app.visitors import removal
from metaembed_demo.app.visitors.links import Link, picture_name
from metaembed_demo.app.visitors.registry import Visits
from metaembed_demo.app.visitors.resuming import Kept, resume
from metaembed_demo.app.visitors.session import Full, Sessions
from metaembed_demo.app.visitors.tools import Tools
from metaembed_demo.app.visitors.upload_queue import uploads_of
from metaembed_demo.app.visitors.visitor import Visit
from metaembed_demo.collection import memory
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.budgets import STOPS
from metaembed_demo.core.config import LIMITS
from metaembed_demo.core.types import Upload
from tests.support.dummy_encoder import DummyEncoder
from tests.support.sample_pages import make_page
from tests.support.small_app import samples


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def visits(clock: Clock) -> Visits:
    encoder = DummyEncoder()
    made = Visits(Tools(encoder), samples(encoder))
    made.sessions._clock = clock
    return made


def picture(folder: Path, name: str, color: str = "teal") -> Upload:
    Image.new("RGB", (90, 60), color).save(folder / name)
    return Upload(folder / name, name)


def put(visit: Visit, source: str) -> None:
    """A page of the visitor's own."""
    page = make_page(source, 1, f"pages of {source}")
    visit.collection.put(StoredPage.of(page), DummyEncoder().encode_pages([page])[0])
    visit.session.files.bytes += 100


# Sessions


def test_a_session_with_uploads_waits_for_its_visitor(visits: Visits, clock: Clock) -> None:
    mine, empty = visits.get("me", "one"), visits.get("you", "two")
    put(mine, "diary.pdf")
    visits.left("one")
    visits.left("two")
    clock.now = LIMITS.leave_after_s + 1
    visits.sweep()
    assert mine.session.id in visits.sessions
    assert empty.session.id not in visits.sessions
    back = visits.get("me", "three")
    assert back.session is mine.session
    assert back.session.own_documents() == 1
    visits.left("three")
    clock.now += LIMITS.session_ttl_s + 1
    visits.sweep()
    assert len(visits.sessions) == 0


def test_one_that_was_left_makes_room_before_one_that_is_open(clock: Clock) -> None:
    allowed = LIMITS.model_copy(update={"max_sessions": 2, "yield_after_s": 100})
    sessions = Sessions(samples(DummyEncoder()), 1000, clock, allowed)
    opened, left = sessions.open(), sessions.open()
    sessions.get(left).files.bytes = 10
    sessions.leave(left)
    clock.now = 99
    with pytest.raises(Full):
        sessions.open()
    clock.now = 101
    third = sessions.open()
    assert (opened in sessions, left in sessions, third in sessions) == (True, False, True)


def test_memory_is_made_by_removals_first_and_then_by_sessions_that_were_left(
    visits: Visits, clock: Clock
) -> None:
    one, two = visits.get("me", "one"), visits.get("you", "two")
    for visit in (one, two):
        put(visit, "a.pdf")
    two.remove("a.pdf")
    full = LIMITS.model_copy(update={"max_memory": memory.in_all()})
    assert two.session.removal is not None
    assert two.session.removal.held > 0
    assert memory.no_room(one.collection, 1, full) == ""
    assert two.session.removal is None
    full = LIMITS.model_copy(update={"max_memory": memory.in_all()})
    assert memory.no_room(two.collection, 1, full), "nobody has left"
    visits.left("one")
    clock.now = LIMITS.yield_after_s
    session = one.session.id
    del one, visit
    assert memory.no_room(two.collection, 1, full) == ""
    assert session not in visits.sessions


# Tabs


def test_a_reloaded_tab_holds_its_picture_and_comparison_and_no_other_s(
    visits: Visits, tmp_path: Path
) -> None:
    before, theirs = visits.get("me", "one"), visits.get("you", "two")
    before.picture = before.session.files.swap(None, [picture(tmp_path, "sun.png")])
    before.search("dog")
    before.side("pin")
    name = picture_name(before.picture)
    assert f'"picture":"{name}"' in str(before.screen().link)
    now = visits.get("me", "one again")
    assert visits.before(theirs, before.mark) is None, "the mark opens nothing with another cookie"
    assert visits.before(now, "of nobody") is None
    found = visits.before(now, before.mark)
    assert found is before
    resume(now, found, name)
    held = now.session.files.bytes
    now.arrive(Link("dog"), name)
    assert now.trace is not None
    assert now.trace.query_image
    assert now.explanation_tabs.pinned is before.explanation_tabs.pinned
    now.arrive(Link("dog"))
    assert now.trace is not None
    assert not now.trace.query_image
    assert (tmp_path / "sun.png").exists(), "the tab before has it still"
    assert now.session.files.bytes == held
    assert Kept.parse("[1]") == Kept.parse("x" * 999) == Kept()


def test_going_back_shows_all_that_a_link_names(visits: Visits) -> None:
    visit = visits.get("me", "one")
    first = Link.parse(
        {"q": "energy", "budget": "4x8", "mode": "words", "storage": "int8", "a": "dog", "a-budget": "2x4"}
    )
    visit.arrive(first)
    pinned = visit.explanation_tabs.pinned
    assert pinned is not None
    assert (pinned.query_text, pinned.budget) == ("dog", STOPS[1])
    assert (visit.budget, visit.ranking.mode, visit.collection.index.storage) == (STOPS[2], "words", "int8")
    named = str(visit.screen().link)
    for name, value in (("storage", "int8"), ("a", "dog"), ("a-budget", "2x4"), ("mode", "words")):
        assert f'"{name}":"{value}"' in named
    visit.arrive(replace(Link("coffee"), storage="float16"))
    assert visit.explanation_tabs.pinned is None
    assert (visit.budget, visit.collection.index.storage) == (STOPS[-1], "float16")
    visit.arrive(Link())
    assert visit.trace is None
    odd = Link.parse({"q": "x", "storage": "gold", "a": "y" * 5000, "a-budget": "one"})
    assert (odd.storage, len(odd.pinned), odd.other) == ("", 1000, None)


# Documents


def test_uploads_wait_in_turn_and_a_cancel_is_for_all(
    visits: Visits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    visit, other = visits.get("me", "one"), visits.get("me", "two")
    colors = ("red", "teal", "gold", "navy")
    files = [picture(tmp_path, f"{color}.png", color) for color in colors]
    queue = uploads_of(visit.session)
    with queue._lock:  # the thread cannot begin
        queue._idle.clear()
    visit.receive(files[:1])
    told = visit.receive(files[1:])
    assert told.busy
    assert told.news is not None
    assert told.news.index("red.png") < told.news.index("teal.png") < told.news.index("gold.png")
    queue._run()
    assert not queue.busy
    (last,) = visit.index_pending()
    assert str(last.news).count("added") == 2
    assert [document.source for document in visit.collection.documents()][-4:] == [f.name for f in files]
    assert len(list(other.index_pending())) == 1, "every tab is told"
    assert list(visit.index_pending()) == []
    with queue._lock:
        queue._idle.clear()
    visit.receive([picture(tmp_path, "new.png", "pink")])
    visit.cancel()
    queue._run()
    assert not visit.session.files._mine
    assert "new.png" not in visit.collection.sources()


def removals(visit: Visit) -> Iterator[None]:
    visit.remove("mine.pdf")
    yield
    visit.clear()
    yield


def test_a_removal_is_undone_until_something_changes(visits: Visits, clock: Clock) -> None:
    visit = visits.get("me", "one")
    put(visit, "mine.pdf")
    sources, ids = visit.collection.sources(), set(visit.collection.pages)
    vectors = visit.collection.index.full(sorted(ids))
    for _ in removals(visit):
        assert visit.collection.sources() != sources
        assert "put back" in str(visit.undo().news)
        assert (visit.collection.sources(), set(visit.collection.pages)) == (sources, ids)
        assert (visit.collection.index.full(sorted(ids)) == vectors).all()
        assert "too late" in str(visit.undo().news)
    visit.remove("mine.pdf")
    visit.restore()
    assert "too late" in str(visit.undo().news)
    visit.clear()
    clock.now = removal.UNDO_S + 1
    visits.sweep()
    assert "too late" in str(visit.undo().news)
