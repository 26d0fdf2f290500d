"""The page map of an encoder that takes its time for it: offered, made with progress, stopped, tested."""

from __future__ import annotations

import re

import numpy as np
import pytest

from metaembed_demo.app.visitors.links import trace_json
from metaembed_demo.app.visitors.session import Sessions
from metaembed_demo.app.visitors.tools import Tools
from metaembed_demo.app.visitors.visitor import Visit
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.budgets import STOPS
from metaembed_demo.core.types import Page, Word
from metaembed_demo.explain.explainer import explainer
from tests.app.test_explanation_tabs import carried, fetched, opened
from tests.support.tiny_vlm import picture, shared

pytestmark = pytest.mark.slow


@pytest.fixture
def visit() -> Visit:
    encoder = shared("qwen2_5_vl")
    base = Collection.for_encoder(encoder)
    for number in range(3):
        words = (Word("tank", (0.1, 0.1, 0.2, 0.15)), Word("pump", (0.6, 0.8, 0.7, 0.85)))
        page = Page(f"page{number}", "guide.pdf", number + 1, picture(number, 120, 90), words)
        base.put(StoredPage.of(page), encoder.encode_pages([page])[0])
    sessions = Sessions(base)
    return Visit(Tools(encoder, explainer=explainer(encoder)), sessions.get(sessions.open()))


def test_a_map_is_offered_and_made_when_it_is_asked_for(visit: Visit) -> None:
    screen = visit.search("tank")
    assert screen.results
    assert screen.marks == "", "nothing is asked for with the hit"
    assert "Highlight where" in str(screen.page)
    offer = opened(visit, "page-map")
    assert 'data-action="map"' in offer
    assert "data-begin" not in offer, "on a CPU it waits for the visitor"
    *progress, last = visit.make_map()
    assert re.findall(r"Blocked (\d+) of (\d+) parts", str([each.pagemap for each in progress]))[-1] == (
        "13",
        "13",
    )
    assert 'data-action="stop-test"' in str(progress[0].pagemap)
    told = str(last.pagemap)
    assert re.search(r"Without its strongest part the score loses \d+\.\d\d of \d+\.\d\d", told)
    assert "do not add up" in told
    assert "share of the score" not in told
    marks, reading = carried(last.marks, "map"), fetched(visit, last.marks)
    assert marks["kind"] == "lost"
    assert len(marks["map"]) == len(reading["words"]) == 12
    assert {row[7] for row in marks["map"]} == {2}, "cells"
    assert len(reading["read"]) == 64
    assert marks["query"] == ["tank"]
    finest = marks["map"]
    moved = visit.move(STOPS[0])
    assert carried(moved.marks, "map")["map"] != finest, "the dial needs no other pass"
    assert "score loses" in str(moved.pagemap)


def test_another_account_of_a_hit(visit: Visit) -> None:
    visit.search("tank")
    visit.open_tab("page-map")
    *_, first = visit.make_map()
    assert "Show instead: Shares by integrated gradients" in str(first.pagemap)
    *progress, last = visit.make_map("gradients")
    assert "Step 8 of 8" in str(progress[-1].pagemap)
    assert carried(last.marks, "map")["kind"] == "gradients"
    told = str(last.pagemap)
    assert "of this score comes from" in told
    assert "Integrated gradients" in told
    assert 'data-action="lost"' in told
    *_, back = visit.make_map("lost")
    assert (back.pagemap, back.marks) == (first.pagemap, first.marks)


def test_a_map_is_stopped(visit: Visit) -> None:
    visit.search("tank")
    steps = visit.make_map()
    assert "Blocked" in str(next(steps).pagemap)
    visit.explanation_tabs.stop.set()
    *_, last = steps
    assert 'data-action="map"' in str(last.pagemap)
    assert visit.explanation_tabs.explanation is None


def test_the_dial_does_not_stop_it(visit: Visit) -> None:
    visit.search("tank")
    visit.open_tab("page-map")
    steps = visit.make_map()
    shown = next(steps).pagemap
    moved = visit.move(STOPS[0])
    assert moved.pagemap == shown, "the progress stays"
    *_, last = steps
    assert visit.trace is not None
    assert visit.trace.alignment is not None
    assert f"of {visit.trace.alignment.gains.sum():.2f}" in str(last.pagemap), "of the budget now"
    assert carried(last.marks, "map")["map"]


def test_a_gpu_begins_by_itself_until_it_is_stopped(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    visit.search("tank")
    monkeypatch.setattr(visit.tools.encoder, "device", "CUDA")
    assert "data-begin" in opened(visit, "page-map")
    steps = visit.make_map()
    next(steps)
    visit.explanation_tabs.stop.set()
    *_, last = steps
    assert "data-begin" not in str(last.pagemap)
    assert 'data-action="map"' in str(last.pagemap)


def test_another_hit_stops_it(visit: Visit) -> None:
    visit.search("tank")
    steps, opened_first = visit.make_map(), visit.chosen
    next(steps)
    visit.choose(next(hit.page_id for hit in visit.trace.hits if hit.page_id != opened_first))  # type: ignore[union-attr]
    assert list(steps) == [], "what it shows is another hit's"


def test_it_is_tested_by_its_cells(visit: Visit) -> None:
    visit.search("tank")
    visit.open_tab("page-map")
    list(visit.make_map())
    *_, last = visit.test()
    assert "most read" in str(last.pagemap)
    assert re.search(r"when 1 cell of 12 are hidden", str(last.pagemap))


def test_trace_and_tokens_follow(visit: Visit) -> None:
    visit.search("tank")
    assert "explanation" not in visit.trace_record().split("data-trace=")[-1], "it was not asked for"
    list(visit.make_map())
    assert visit.trace is not None
    record = trace_json(visit.trace, {}, visit.explanation_tabs.explanation)["explanation"]
    assert "do not add up" in record["unit"]
    assert len(record["words"]) == 12
    *_, rooms = visit.read_all()
    assert "Read from 3 pages" in str(rooms.tokens) or visit.study.pages == 3
    statistics = visit.tools.token_statistics.get(next(iter(visit.collection.pages.values())))
    assert statistics is not None
    np.testing.assert_allclose(statistics.kinds.sum(1), 1, atol=1e-4)
    assert 0 < statistics.kinds[:, 0].mean() < 1, "words in cells, and cells without"
