"""Auto in the page: the stop beside the five, what it tells, its link, and calibrating in the background."""

from __future__ import annotations

import re

import pytest

from metaembed_demo.app.visitors.auto_choice import calibrate_behind
from metaembed_demo.app.visitors.links import Link
from metaembed_demo.app.visitors.session import Sessions
from metaembed_demo.app.visitors.tools import Tools
from metaembed_demo.app.visitors.visitor import Visit
from metaembed_demo.collection.calibration import OWN
from metaembed_demo.core.budgets import STOPS
from tests.collection.test_calibration import texts
from tests.support.index_files import ENCODER, collection_of

PAGES = texts(60)


@pytest.fixture
def visit() -> Visit:
    sessions = Sessions(collection_of(*PAGES))
    return Visit(Tools(ENCODER), sessions.get(sessions.open()))


def text(html: str | None) -> str:
    return re.sub(r"<[^>]*>", "", html or "")


@pytest.mark.parametrize("mode", ["meaning", "both", "words"])
def test_the_dial_sets_itself_and_tells_what_it_took(visit: Visit, mode: str) -> None:
    visit.rank_by(mode, "")
    query = " ".join(PAGES[7].split()[:6])
    fixed = visit.search(query)
    assert 'aria-pressed="false"' in (fixed.dial or "")
    assert visit.trace
    best = [hit.page_id for hit in visit.trace.hits]
    first = visit.set_itself()
    assert "being calibrated" in text(first.dial), "no request waits for it"
    calibrate_behind(visit.session, ENCODER).join()
    found = visit.search(query)
    assert visit.trace.auto.auto.of == OWN
    assert visit.trace.budget == STOPS[-1]
    assert [hit.page_id for hit in visit.trace.hits][:1] == best[:1]
    assert 'class="dial auto"' in (found.dial or "")
    assert 'aria-pressed="true"' in (found.dial or "")
    told = text(found.dial)
    assert re.search(r"\d+\.\d% of the cells, \d+ pages in full", told)
    if mode == "words":
        assert "Words alone rank the pages" in told
    else:
        assert "known-item queries of these pages" in told
        assert f"this query needed {visit.trace.auto.needed}".replace("x", "×") in told
        assert visit.trace.auto.cells < 1
    assert '"budget":"auto"' in (found.link or "")
    moved = visit.move(STOPS[1])
    assert visit.trace.auto is None
    assert 'aria-pressed="false"' in (moved.dial or "")


def test_a_link_opens_with_auto(visit: Visit) -> None:
    link = Link.parse({"q": PAGES[3], "budget": "auto"})
    assert link.auto
    assert 'class="dial auto"' in (visit.arrive(link).dial or "")
    assert not Link.parse({"q": "x", "budget": "autos"}).auto


def test_a_session_that_ends_is_not_calibrated_on(visit: Visit) -> None:
    visit.session.over.set()
    calibrate_behind(visit.session, ENCODER).join()
    assert not visit.collection.calibrations
