"""The room Map and the list of documents of one visitor, without a browser."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import numpy as np
import pytest

from metaembed_demo.app.visitors import corpus_map
from metaembed_demo.app.visitors.corpus_map import MapScreen, Planes
from metaembed_demo.app.visitors.session import Sessions
from metaembed_demo.app.visitors.tools import Tools
from metaembed_demo.app.visitors.visitor import Visit
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.corpus_layout import lay_out
from metaembed_demo.collection.layout_worker import NotLaidOut
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.budgets import STOPS
from tests.support.dummy_encoder import DummyEncoder
from tests.support.sample_pages import make_page

ENCODER = DummyEncoder()
TOPICS = ["coffee machine tank", "train platform bern"]


def put(collection: Collection, source: str, number: int, text: str) -> str:
    page = make_page(source, number, text)
    collection.put(StoredPage.of(page), ENCODER.encode_pages([page])[0])
    return page.id


@pytest.fixture
def visit(monkeypatch: pytest.MonkeyPatch) -> Visit:
    """Two documents of six pages each, none of them laid out before."""
    monkeypatch.setattr(corpus_map, "PLANES", Planes())
    monkeypatch.setattr(corpus_map, "lay_out_in_process", lay_out)
    base = Collection.for_encoder(ENCODER)
    for n in range(12):
        put(base, f"document{n % 2}.pdf", n // 2 + 1, f"{TOPICS[n % 2]} sheet{n}")
    sessions = Sessions(base)
    return Visit(Tools(ENCODER), sessions.get(sessions.open()))


def shown(screen: MapScreen) -> dict[str, Any]:
    found = re.search(r"data-shown='([^']*)'", screen.map_head or "")
    assert found, screen.map_head
    value: dict[str, Any] = json.loads(unescape(found[1]))
    return value


def test_pages_are_laid_out_once_and_the_query_stands_among_its_nearest(visit: Visit) -> None:
    assert "Laying out 12 pages" in str(visit.map.screen().map_head)
    assert visit.map.lay_out() == ""
    first = visit.map.screen()
    assert "12 pages in" in str(first.map_head)
    assert "Ask something" in str(first.map_side)
    assert first.map_list
    visit.search("coffee machine tank")
    assert visit.trace
    screen = visit.map.screen()
    told = shown(screen)
    assert told["hits"] == [hit.page_id for hit in visit.trace.hits]
    assert screen.map_list is None, "the browser has it"
    _, key, _, name = told["at"].split("/")
    assert key == visit.session.picture_key
    data = json.loads(str(visit.map.data(name)))
    assert visit.map.data("other.json") is None
    assert data["ids"] == visit.collection.index.ids
    x, y = told["query"]
    places = np.array(data["places"]) / 1000
    assert (places.min(0) <= [x, y]).all()
    assert (places.max(0) >= [x, y]).all()
    visit.move(STOPS[0])
    assert shown(visit.map.screen())["hits"] == [hit.page_id for hit in visit.trace.hits]


def test_an_open_page_has_its_neighbours_and_its_rank(visit: Visit) -> None:
    visit.map.lay_out()
    visit.search("coffee machine tank")
    assert visit.trace
    best = visit.trace.hits[0].page_id
    side = str(visit.map.open(best).map_side)
    assert f"Ranked 1 at {STOPS[-1].r_q}×{STOPS[-1].r_c}" in side
    near = re.findall(r'<li><button type="button" data-page="(\w+)"', side)
    page = visit.collection.index.full(visit.collection.index.ids)[:, 0]
    at = visit.collection.index.ids.index(best)
    order = [visit.collection.index.ids[i] for i in np.argsort(-(page @ page[at]), kind="stable")]
    assert near == [each for each in order if each != best][: len(near)]
    assert "Click a page" in str(visit.map.open("gone").map_side)


def test_chosen_pages_are_searched_alone(visit: Visit) -> None:
    visit.map.lay_out()
    visit.search("coffee machine tank")
    chosen = visit.collection.index.ids[1:4]
    visit.limit(str(visit.map.chosen(chosen)))
    assert visit.trace
    assert {hit.page_id for hit in visit.trace.hits} == set(chosen)
    assert len(shown(visit.map.screen())["leftOut"]) == 9
    with pytest.raises(ValueError, match="None of these pages"):
        visit.map.chosen(["gone"])


def test_few_new_pages_stand_beside_the_old_and_many_are_laid_out(visit: Visit) -> None:
    visit.map.lay_out()
    new = put(visit.collection, "mine.pdf", 1, "coffee machine tank of mine")
    screen = visit.map.screen()
    assert "1 page came since this was laid out and stands at the mean" in unescape(str(screen.map_head))
    assert new in json.loads(str(visit.map.data(shown(screen)["at"].split("/")[-1])))["ids"]
    for n in range(12):
        put(visit.collection, "more.pdf", n + 1, f"another coffee {n}")
    assert "Laying out 25 pages" in str(visit.map.screen().map_head)


def test_what_fails_is_told(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object) -> None:
        raise NotLaidOut("It broke. Open the map again.")

    monkeypatch.setattr(corpus_map, "lay_out_in_process", fail)
    problem = visit.map.lay_out()
    assert "It broke" in str(visit.map.failed(problem).map_head)
    visit.collection.clear()
    assert "nothing to lay out" in str(visit.map.screen().map_head)


# Documents


def test_own_documents_come_first_and_are_searched_together(visit: Visit) -> None:
    assert visit.shelf.own() == []
    assert "Search all of these" not in visit.shelf.listing()
    mine = [put(visit.collection, f"mine{n}.pdf", 1, f"coffee of mine {n}") for n in range(2)]
    html = visit.shelf.listing()
    assert re.findall(r'data-open="([^"]+)"', html)[:2] == ["mine0.pdf", "mine1.pdf"]
    visit.search("coffee machine tank")
    visit.limit(str(visit.shelf.filter()))
    assert visit.trace
    assert {hit.page_id for hit in visit.trace.hits} == set(mine)
    visit.limit(str(visit.shelf.filter("document1.pdf")))
    assert {visit.collection.pages[hit.page_id].source for hit in visit.trace.hits} == {"document1.pdf"}


def test_a_document_opens_as_its_pages_in_order_and_closes(visit: Visit) -> None:
    html = visit.shelf.open("document1.pdf")
    assert re.findall(r'aria-label="Page (\d+):', html) == ["1", "2", "3", "4", "5", "6"]
    assert 'aria-expanded="true"' in html
    assert 'aria-label="Page' not in visit.shelf.open("document1.pdf")
    assert 'aria-label="Page' not in visit.shelf.open("gone.pdf")
