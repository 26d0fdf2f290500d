"""The evidence tabs of one visitor, on the real encoder: maps, ranks, the comparison, links and traces."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from PIL import Image

from metaembed_demo.app.visitors.links import LONGEST, TABS, Link, link
from metaembed_demo.app.visitors.page_state import EMPTY, REGION_OF, Screen
from metaembed_demo.app.visitors.session import Sessions
from metaembed_demo.app.visitors.tools import Tools
from metaembed_demo.app.visitors.visitor import Visit
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.filters import PageFilter
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.budgets import OURS, STOPS, Budget
from metaembed_demo.core.config import ROOT
from metaembed_demo.core.types import Page, Query, Upload, Word
from metaembed_demo.encoders.mini.encoder import Mini
from metaembed_demo.explain.explainer import explainer
from tests.support.dummy_encoder import DummyEncoder

TEXTS = [
    "Descale the espresso machine every month: dissolve citric acid in water and run the pump twice.",
    "The museum opens at ten. Tickets are sold at the kiosk and children enter free on Sundays.",
    "Fishing boats unload before noon at the north quay of the harbour, weather permitting.",
    "Invoice 0117 for garden chairs: 940 euro, payable within thirty days by bank transfer.",
    "The train to Bern leaves platform seven at a quarter past nine and stops in Olten.",
    "Bread without wheat: mix rye flour, water and a little salt, and let the sourdough rise.",
    "Quarterly energy use fell by a fifth after the windows of the west wing were replaced.",
    "Our cat sleeps on the <b>warm</b> printer & nobody may move her before lunch.",
    "The board approved the minutes of the meeting in March without changes.",
    "A lighthouse keeper polishes the brass lens every Thursday morning.",
    "Please water the tomatoes in the greenhouse twice a day in July.",
    "The violin was made in Cremona and has been restored with great care.",
]
SCHEMA = json.loads((ROOT / "docs" / "trace.schema.json").read_text())


@pytest.fixture(scope="module")
def base(mini: Mini) -> Collection:
    found = Collection.for_encoder(mini)
    for number, text in enumerate(TEXTS, 1):
        words = tuple(Word(w, (0.05, 0.03 * i, 0.3, 0.03 * i + 0.02)) for i, w in enumerate(text.split()))
        page = Page(f"page{number:02}", "guide.pdf", number, Image.new("RGB", (60, 80), "white"), words)
        found.put(StoredPage.of(page), mini.encode_pages([page])[0])
    return found


@pytest.fixture
def visit(mini: Mini, base: Collection) -> Visit:
    sessions = Sessions(base)
    return Visit(Tools(mini, explainer=explainer(mini)), sessions.get(sessions.open()))


def carried(html: str | None, name: str) -> dict[str, Any]:
    """The JSON in attribute data-`name`."""
    found = re.search(rf"data-{name}='([^']*)'", html or "")
    assert found, html
    value: dict[str, Any] = json.loads(unescape(found[1]))
    return value


def fetched(visit: Visit, marks: str | None) -> dict[str, Any]:
    """The reading that `marks` name, as the browser fetches it."""
    found = re.search(r'data-reading="pictures/([^/"]+)/([^/"]+)/([^/"]+)"', marks or "")
    assert found, marks
    assert found[1] == visit.session.picture_key
    told = visit.explanation_tabs.reading(found[2], found[3])
    assert told is not None
    value: dict[str, Any] = json.loads(told)
    return value


def asked(visit: Visit, query: str) -> Screen:
    """Search, and ask for the explanation as the page's script does where it is not there yet."""
    screen = visit.search(query)
    if "data-pending" in str(screen.marks):
        assert screen.marks == f'<div hidden data-pending="{visit.chosen}"></div>'
        visit.explain()
    return visit.screen()


def opened(visit: Visit, name: str) -> str:
    """The evidence tab `name`, drawn."""
    return str(getattr(visit.open_tab(name), REGION_OF[name]))


def test_a_hit_is_explained_where_it_is_shown(visit: Visit) -> None:
    screen = asked(visit, "how do I clean the coffee maker?")
    reading, marks = fetched(visit, screen.marks), carried(screen.marks, "map")
    words = [word[4] for word in reading["words"]]
    assert words == TEXTS[0].split()
    assert len(reading["read"]) == 64
    shares = {words[row[0]]: row[1] for row in marks["map"]}
    assert {"espresso", "machine"} <= set(sorted(shares, key=lambda word: shares[word])[-3:])
    least = 0.04 * max(shares.values())
    assert min(shares.values()) > least, "weak words are left out"
    assert 1000 - least * (len(words) - len(shares)) - 2 <= sum(shares.values()) <= 1002
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    for at, _, group, *box in marks["map"]:
        assert box == reading["words"][at][:4], "so that marks are drawn before the reading is fetched"
        assert 1 <= group <= 5
    assert marks["query"] == ["how", "do", "I", "clean", "the", "coffee", "maker?"]
    assert len(marks["read"]) == 16
    assert "of this score comes from" in opened(visit, "page-map")


def test_the_dial_changes_the_map_and_not_the_reading(visit: Visit) -> None:
    fine = asked(visit, "how do I clean the coffee maker?")
    visit.changed(fine)
    coarse = visit.move(STOPS[0])
    assert "page" not in visit.changed(coarse), "the browser holds the picture"
    assert fetched(visit, coarse.marks) == fetched(visit, fine.marks)
    assert carried(coarse.marks, "map") != carried(fine.marks, "map")
    groups = {row[2] for row in carried(coarse.marks, "map")["map"]}
    assert groups == {1}, "one candidate token, one shade"


def test_hits_come_first_and_their_explanation_when_it_is_asked_for(visit: Visit, mini: Mini) -> None:
    visit.tools.explainer.forget(visit.collection.pages.values())  # type: ignore[union-attr]
    visit.open_tab("page-map")
    first = visit.search("how do I clean the coffee maker?")
    assert first.results
    assert first.page
    assert first.marks == f'<div hidden data-pending="{visit.chosen}"></div>'
    assert "does not tell" not in str(first.pagemap), "it will"
    told = visit.explain()
    assert carried(told.marks, "map")["map"]
    assert "of this score comes from" in str(told.pagemap)
    assert {name for name, html in vars(told).items() if html is not None} == {"marks", "pagemap"}
    again = visit.search("where is the espresso pump?")
    assert visit.chosen == "page01"
    assert carried(again.marks, "map")["map"], "a page that was read lately is explained with the hits"
    other = visit.choose("page05")
    assert other.marks == '<div hidden data-pending="page05"></div>'


def test_a_search_and_its_explanation_run_the_encoder_twice_and_the_dial_never(
    visit: Visit, mini: Mini, monkeypatch: pytest.MonkeyPatch
) -> None:
    visit.tools.explainer.forget(visit.collection.pages.values())  # type: ignore[union-attr]
    passes: list[str] = []

    def counted(name: str, run: Any) -> Any:
        return lambda *given: (passes.append(name), run(*given))[1]

    for name in ("encode_queries", "encode_pages", "query_evidence", "page_evidence"):
        monkeypatch.setattr(Mini, name, counted(name, getattr(Mini, name)))
    visit.search("how do I clean the coffee maker?")
    assert passes == ["query_evidence"], "which gives the vectors, too"
    visit.explain()
    assert passes == ["query_evidence", "page_evidence"]
    for name in TABS:
        visit.open_tab(name)
        for stop in (*STOPS, Budget(3, 7)):
            visit.move(stop)
            visit.explain()
    visit.side("pin")
    visit.side("other", "2x4")
    visit.trace_record()
    visit.arrive()
    assert passes == ["query_evidence", "page_evidence"]
    assert visit.trace
    first, second = (hit.page_id for hit in visit.trace.hits[:2])
    visit.choose(second)
    visit.explain()
    visit.choose(first)
    visit.explain()
    assert passes == ["query_evidence", "page_evidence", "page_evidence"]


def test_evidence_gives_the_vectors_of_a_plain_search(visit: Visit, mini: Mini) -> None:
    visit.search("how do I clean the coffee maker?")
    (plain,) = mini.encode_queries([Query("how do I clean the coffee maker?")])
    assert visit.trace is not None
    np.testing.assert_allclose(visit.trace.query_vectors, plain.vectors, atol=1e-5)


def test_an_encoder_that_cannot_tell_shows_the_rest() -> None:
    encoder = DummyEncoder()
    collection = Collection.for_encoder(encoder)
    page = Page("p", "p.pdf", 1, Image.new("RGB", (6, 8)), (Word("tank", (0, 0, 1, 1)),))
    collection.put(StoredPage.of(page), encoder.encode_pages([page])[0])
    sessions = Sessions(collection)
    visit = Visit(Tools(encoder), sessions.get(sessions.open()))
    screen = visit.search("tank")
    assert screen.marks == "", "there is nothing to ask for"
    assert "Highlight where" not in str(screen.page)
    assert "does not tell" in opened(visit, "page-map")
    assert "chart-ranks" in opened(visit, "ranks")
    assert visit.explain().marks == ""
    jsonschema.validate(carried(visit.trace_record(), "trace"), SCHEMA)
    assert visit.explanation_tabs.reading("p", "1.json") is None


def test_words_from_documents_stay_text(visit: Visit) -> None:
    screen = asked(visit, "where does the cat sleep?")
    words = [word[4] for word in fetched(visit, screen.marks)["words"]]
    assert words == TEXTS[7].split(), "as parsed, to be set as text"
    assert "<b>warm</b>" in words
    told = [screen.page, screen.marks, screen.link, screen.results, visit.trace_record()]
    for region in (*told, *(opened(visit, name) for name in TABS)):
        assert region
        assert "<b>warm" not in region


def test_a_reading_is_named_by_page_and_encoder(visit: Visit) -> None:
    asked(visit, "where does the cat sleep?")
    name = visit.explanation_tabs._reading_name()
    assert re.fullmatch(r"[0-9a-f]{8}\.json", name)
    assert visit.explanation_tabs.reading("page08", name)
    assert visit.explanation_tabs.reading("page01", name) is None
    assert visit.explanation_tabs.reading("page08", "00000000.json") is None


# Testing


def test_the_test_runs_stops_and_stays_with_its_hit(visit: Visit) -> None:
    asked(visit, "how do I clean the coffee maker?")
    visit.open_tab("page-map")
    *running, done = [screen.pagemap for screen in visit.test()]
    assert all("progressbar" in str(told) for told in running)
    assert "Hiding the highlighted words costs" in str(done)
    assert "Hiding the highlighted words costs" in str(visit.choose("page01").pagemap)
    assert "Hiding the highlighted" not in str(visit.move(STOPS[1]).pagemap), "of another budget"
    testing = visit.test()
    next(testing)
    visit.explanation_tabs.stop.set()
    (last,) = list(testing)
    assert 'data-action="test"' in str(last.pagemap)


def test_there_is_no_test_without_a_search(visit: Visit) -> None:
    assert list(visit.test()) == []


# Ranks


def test_ranks_are_those_of_a_full_search_at_each_stop(visit: Visit) -> None:
    visit.search("morning")
    trace = visit.trace
    assert trace
    ranks = visit.explanation_tabs.all_ranks(visit.collection, trace)
    for stop, found in zip(STOPS, ranks, strict=True):
        hits = visit.collection.index.search(trace.query_vectors, stop, 12, exact=True)
        assert found == {hit.page_id: hit.rank for hit in hits}


def test_a_line_opens_its_page_at_that_budget_however_far_down(visit: Visit) -> None:
    visit.search("how do I clean the coffee maker?")
    trace = visit.trace
    assert trace
    ranks = visit.explanation_tabs.all_ranks(visit.collection, trace)[0]
    last = max(ranks, key=lambda page_id: ranks[page_id])
    screen = visit.open_at(last, STOPS[0])
    assert visit.budget == STOPS[0]
    assert visit.chosen == last
    assert f'<span class="rank num">{len(TEXTS)}</span>' in str(screen.page)
    assert visit.open_at("gone", STOPS[0]) == Screen()


def test_ranks_follow_the_pages(visit: Visit) -> None:
    visit.search("morning")
    trace = visit.trace
    assert trace
    assert len(visit.explanation_tabs.all_ranks(visit.collection, trace)[0]) == len(TEXTS)
    visit.collection.clear()
    assert visit.explanation_tabs.all_ranks(visit.collection, trace)[0] == {}


@pytest.mark.parametrize(("budget", "stop"), [("1x1", 0), ("16x64", 4), ("3x7", 2), ("16x1", 2)])
def test_a_free_budget_belongs_to_the_nearest_stop(budget: str, stop: int) -> None:
    assert OURS.nearest(Budget.parse(budget)) == stop


# Comparing


def moves(html: str) -> list[str]:
    return re.findall(r'<i class="moved (\w+)">', html)


def test_two_budgets_side_by_side(visit: Visit) -> None:
    asked(visit, "how do I clean the coffee maker?")
    html = opened(visit, "ranks")
    assert html.count('class="asked"') == 2
    assert 'data-value="1x1" aria-pressed="true"' in html
    trace = visit.trace
    assert trace
    coarse, *_, fine = visit.explanation_tabs.all_ranks(visit.collection, trace)
    top = sorted(fine, key=fine.__getitem__)[:10]
    ways = [coarse[page] - fine[page] for page in top]
    assert moves(html) == ["up" if way > 0 else "down" if way else "stayed" for way in ways]
    here = {page for page in coarse if coarse[page] <= 10}
    assert html.count("<text ") == 2 * len(set(top) - here), "each page that one side lacks ends in a stub"
    html = str(visit.side("other", "16x64").ranks)
    assert "Both sides are 16×64" in html
    assert set(moves(html)) == {"stayed"}


def test_two_queries_side_by_side(visit: Visit) -> None:
    asked(visit, "how do I clean the coffee maker?")
    visit.open_tab("ranks")
    visit.side("pin")
    html = str(asked(visit, "citric acid").ranks)
    assert "“how do I clean the coffee maker?” and this query share" in html
    assert "this query share" not in str(visit.side("unpin").ranks)


def test_the_chart_has_the_pages_that_any_stop_puts_first(visit: Visit) -> None:
    visit.search("how do I clean the coffee maker?")
    html = opened(visit, "ranks")
    trace = visit.trace
    assert trace
    ranks = visit.explanation_tabs.all_ranks(visit.collection, trace)
    table = html[html.index("All ranks as a table") :]
    for found in ranks:
        assert f'data-page="{min(found, key=found.__getitem__)}"' in table


def test_sides_need_a_search(visit: Visit) -> None:
    assert visit.side("pin") == Screen()
    assert visit.side("other", "4x8") == Screen()


# Links and traces


def test_a_link_names_the_view(visit: Visit) -> None:
    visit.search("where does the train stop?")
    visit.move(STOPS[2])
    told = carried(visit.choose("page03").link, "link")
    assert told == {"q": "where does the train stop?", "budget": "4x8", "hit": "page03"}


def test_arriving_by_link(mini: Mini, base: Collection) -> None:
    sessions = Sessions(base)
    visit = Visit(Tools(mini, explainer=explainer(mini)), sessions.get(sessions.open()))
    params = {"q": "where does the train stop?", "budget": "4x8", "hit": "page03", "tab": "ranks"}
    screen = visit.arrive(Link.parse(params))
    assert (visit.chosen, visit.budget) == ("page03", STOPS[2])
    assert carried(screen.link, "link") == {k: params[k] for k in ("q", "budget", "hit")}
    assert visit.tab == "ranks"
    assert "chart-ranks" in str(screen.ranks)
    visit.explain()
    assert fetched(visit, visit.screen().marks)["words"]
    assert visit.arrive(Link.parse({**params, "hit": "gone"})).page
    assert visit.chosen == "page05", "the best hit where the link's is gone"


def test_a_malformed_link_is_an_ordinary_visit(visit: Visit) -> None:
    found = Link.parse({"budget": "0x9", "hit": "", "q": "  ", "tab": "<b>", "room": "cellar"})
    assert found == Link()
    screen = visit.arrive(found)
    assert {name: getattr(screen, name) for name in EMPTY} == EMPTY
    assert len(Link.parse({"q": "x" * 5000}).query) == LONGEST
    assert Link.parse({"budget": "99999x1"}).budget is None


def test_a_trace_keeps_to_its_schema(visit: Visit) -> None:
    for budget in (*STOPS, Budget(3, 7)):
        visit.budget = budget
        visit.search("where does the cat sleep?")
        trace = carried(visit.trace_record(), "trace")
        jsonschema.validate(trace, SCHEMA)
    visit.move(STOPS[1])
    jsonschema.validate(carried(visit.trace_record(), "trace"), SCHEMA)
    words = trace["explanation"]["words"]
    parts = sum(word["part"] for word in words) + trace["explanation"]["rest"]
    assert parts <= sum(trace["alignment"]["gains"]) + 1e-3


def test_a_trace_comes_when_it_is_asked_for_and_stays_with_its_search(visit: Visit) -> None:
    visit.search("where does the cat sleep?")
    visit.changed(visit.screen())
    assert "data-trace" not in str(visit.screen().link)
    record = visit.trace_record()
    assert carried(record, "trace")["explanation"]["words"]
    assert carried(record, "link") == carried(visit.screen().link, "link")
    assert visit.changed(Screen(link=record)) == {"link": record}
    moved = visit.changed(visit.move(STOPS[1]))
    assert "data-trace" not in moved["link"]
    visit.forget_search()
    assert "data-trace" not in visit.trace_record()


def test_the_schema_refuses_what_it_does_not_name(visit: Visit) -> None:
    visit.search("cat")
    trace = carried(visit.trace_record(), "trace")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**trace, "secret": 1}, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({key: value for key, value in trace.items() if key != "hits"}, SCHEMA)


def test_no_link_without_a_search() -> None:
    assert "button" not in link(None, None)


def test_the_history_grows_with_searches_and_moves(visit: Visit) -> None:
    visit.search("cat")
    visit.move(STOPS[0])
    visit.search("train")
    assert [past.budget for past in visit.explanation_tabs.past] == ["16x64", "1x1", "1x1"]
    assert visit.explanation_tabs.past[1].timings["encode"] == 0
    assert [query.text for query in visit.explanation_tabs.queries] == ["cat", "train"]
    assert "chart-history" in opened(visit, "timing")


def test_a_picture_from_a_file_is_explained_too(visit: Visit, tmp_path: Path) -> None:
    path = tmp_path / "grey.png"
    Image.new("RGB", (120, 90), (90, 90, 90)).save(path)
    visit.picture = Upload(path, "grey.png")
    screen = asked(visit, "")
    assert carried(screen.marks, "map")["query"]
    assert carried(visit.trace_record(), "trace")["query"] == {"text": "", "image": True}
    assert carried(screen.link, "link")["picture"]


# Languages and words in doubt


GERMAN = PageFilter(languages=("de",))


def test_the_results_keep_to_the_filter(visit: Visit) -> None:
    for at, page in enumerate(list(visit.collection.pages.values())):
        visit.collection.pages[page.id] = replace(page, language="de" if at % 2 else "en")
    visit.collection._selecting.changed()
    screen = visit.search("the museum opens at ten")
    assert 'name="languages" value="de"' in str(screen.only)
    assert "Remove German" not in str(screen.only)
    screen = visit.limit({"languages": ["de"]})
    assert 'data-filter="" aria-label="Remove German"' in str(screen.only)
    assert visit.trace
    assert len(visit.trace.hits) == 6
    assert "Best 6 of 6 pages" in str(screen.results)
    assert '"only":"lang:de"' in unescape(str(screen.link))
    visit.move(STOPS[1])
    assert len(visit.trace.hits) == 6
    for name in TABS:
        opened(visit, name)
    other = Visit(visit.tools, visit.session)
    shown = other.arrive(Link("the museum", hit=visit.trace.hits[2].page_id, only=GERMAN))
    assert "Best 6 of 6 pages" in str(shown.results)
    assert other.chosen == visit.trace.hits[2].page_id
    assert visit.limit("pages:what").results == visit.screen().results, "what is malformed is ignored"
    visit.clear()
    visit.restore()
    told = str(visit.search("the museum").results)
    assert "No page is left to search" in told
    assert "No page is in the language" in told
    assert visit.trace is None
    assert "Best 10 of 12 pages" in str(visit.limit("").results), "the query was kept"


def test_words_in_doubt_are_marked(visit: Visit, mini: Mini) -> None:
    words = tuple(Word(t, (0, 0.1, 0.3, 0.12), "ocr", c) for t, c in (("zeppelin", 0.62), ("hangar", 0.97)))
    white = Image.new("RGB", (60, 80), "white")
    page = Page("doubt", "scan.png", 1, white, words, reading=("It was read by OCR.",))
    visit.collection.put(StoredPage.of(page), mini.encode_pages([page])[0])
    screen = asked(visit, "zeppelin hangar")
    assert visit.chosen == "doubt"
    assert "It was read by OCR." in str(screen.page)
    assert [word[6:] for word in fetched(visit, screen.marks)["words"]] == [[0.62], []]
    assert {row[0]: row[7:] for row in carried(screen.marks, "map")["map"]} == {0: [3], 1: []}
    told = opened(visit, "page-map")
    assert 'title="Read by OCR, confidence 0.62"' in told
    assert told.count("read by OCR, confidence") == 1
    record = carried(visit.trace_record(), "trace")
    jsonschema.validate(record, SCHEMA)
    assert {word["text"]: word["confidence"] for word in record["explanation"]["words"]} == {
        "zeppelin": 0.62,
        "hangar": 0.97,
    }
