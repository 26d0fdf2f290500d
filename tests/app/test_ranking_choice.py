"""What ranks pages, chosen in the page: its marks, its shares, its links, and what refinement tells."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from metaembed_demo.app.server.api import Api
from metaembed_demo.app.views.refinement_chart import Moved, PoolPage, refinement
from metaembed_demo.app.visitors.links import Link
from metaembed_demo.app.visitors.pool_reading import refine_open_search
from metaembed_demo.app.visitors.registry import Visits
from metaembed_demo.app.visitors.session import Sessions
from metaembed_demo.app.visitors.tools import Tools
from metaembed_demo.app.visitors.visitor import Visit
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.modes import MODES
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.budgets import STOPS
from tests.app.test_api import check
from tests.app.test_charts import plotted
from tests.support.dummy_encoder import DummyEncoder
from tests.support.sample_pages import make_page

TEXTS = (
    "adjustable spanner part AX-4711-B for the garden gate",
    "claw hammer part AX-4712-C for the garden shed",
    "receipt of the garden centre, reference ZR-5500/12",
    "a poem about the sea and the wind",
    "how to paint the garden gate and the fence",
)


@pytest.fixture
def visit() -> Visit:
    encoder = DummyEncoder()
    base = Collection.for_encoder(encoder)
    for at, text in enumerate(TEXTS):
        page = make_page(f"{text.split()[1]}.pdf", at + 1, text)
        base.put(StoredPage.of(page), encoder.encode_pages([page])[0])
    sessions = Sessions(base)
    return Visit(Tools(encoder), sessions.get(sessions.open()))


def shares(html: str | None) -> list[str]:
    """What each hit says of words, as text."""
    found = re.findall(r'<span class="share num">(.*?)</span></button>', html or "")
    return [re.sub(r"<[^>]*>", "", each) for each in found]


def test_every_mode_says_what_words_did_and_keeps_the_query_vectors(visit: Visit) -> None:
    results = visit.search("part AX-4711-B gate").results or ""
    told = shares(results)
    assert re.fullmatch(r"words \d+%exact", told[0])
    assert len(told) == len(TEXTS)
    assert re.findall(r"--words:(\d+%)", results) == [each.split()[1].removesuffix("exact") for each in told]
    assert visit.trace
    vectors = visit.trace.query_vectors
    words = shares(visit.rank_by("words", "").results)
    assert re.fullmatch(r"BM25 [\d.]+exact", words[0])
    assert len(words) < len(TEXTS)
    assert shares(visit.rank_by("meaning", "").results) == []
    assert visit.trace.query_vectors is vectors
    assert 'value="meaning" checked' in (visit.screen().ranking or "")
    assert "Query refinement" not in (visit.screen().ranking or "")


def test_met_words_are_bracketed_the_same_at_every_stop_and_not_by_meaning(visit: Visit) -> None:
    page = visit.search("part AX-4711-B").page or ""
    [path] = re.findall(r'<svg class="met".*?d="([^"]+)"', page)
    assert path.count("M") == 2
    assert "words of the query: part, AX-4711-B" in page
    assert "Mark the words of the query" in page  # this encoder does not tell what its tokens read
    visit.changed(visit.screen())
    assert "page" not in visit.changed(visit.move(STOPS[4]))
    for stop in STOPS:
        assert visit.move(stop).page == page
    assert 'class="met"' not in (visit.rank_by("meaning", "").page or "")


def test_other_spellings_and_missing_phrases_are_told_as_text(visit: Visit) -> None:
    results = visit.search('garrden "<b>garden</b> moon"').results or ""
    assert "Also searched: garden for “garrden”." in results
    assert "No page holds the phrase “" in results
    assert "<b>garden" not in results


def test_words_that_no_page_holds_offer_the_other_way(visit: Visit) -> None:
    visit.rank_by("words", "")
    results = visit.search("xylophone zeppelin").results or ""
    assert "No page holds these words" in results
    assert 'data-action="mode" data-value="both"' in results
    assert shares(visit.rank_by("both", "").results)


def test_refinement_tells_its_path_and_where_tokens_went(visit: Visit) -> None:
    visit.search("garden gate AX-4711-B")
    assert 'class="chart' not in (visit.screen().ranking or "")
    drawn = visit.rank_by("both", "10").ranking or ""
    assert '<span class="num">10 steps' in drawn
    assert len(plotted(drawn).data) == len(TEXTS)
    assert "What each query token moved towards" in drawn
    assert drawn.count('<tr><th scope="row">') == len(TEXTS) + STOPS[-1].r_q
    assert "refine" in (visit.trace.timings if visit.trace else {})
    visit.move(STOPS[0])
    assert visit.trace
    assert len(visit.trace.refinement.refined.losses) == 11
    assert "refine" not in (visit.rank_by("words", "10").ranking or "")


@pytest.mark.parametrize(("mode", "steps"), [("cellar", "10"), ("both", "51"), ("both", "-3"), ("both", "x")])
def test_what_is_unknown_is_ignored(visit: Visit, mode: str, steps: str) -> None:
    visit.rank_by(mode, steps)
    assert visit.ranking.mode in MODES
    assert 0 <= visit.ranking.steps <= 50
    assert visit.search("garden").results


def test_links_carry_the_mode_and_the_steps(visit: Visit) -> None:
    assert '"mode"' not in (visit.search("garden").link or "")
    assert '"mode":"words"' in (visit.rank_by("words", "").link or "")
    assert '"steps":"25"' in (visit.rank_by("both", "25").link or "")
    link = Link.parse({"q": "garden", "mode": "both", "steps": "25"})
    assert (link.mode, link.steps) == ("both", 25)
    assert Link.parse({"steps": "9999", "mode": "x"}) == Link()
    visit.arrive(Link.parse({"q": "garden", "mode": "meaning"}))
    assert visit.trace
    assert (visit.trace.mode, visit.ranking.steps) == ("meaning", 0)


def test_the_chart_states_who_came_first_and_escapes_titles() -> None:
    scores = np.array([[2.0, 1.0], [1.5, 2.0]], np.float32)
    pool = [PoolPage("a", "A <b>", scores[:, 0], 1, 2), PoolPage("b", "B", scores[:, 1], 2, 1)]
    drawn = refinement(pool, [Moved(1, "A <b>", 0.5, 0.75)], np.array([0.5, 0.1], np.float32), "b")
    assert "“B” from second to first" in drawn
    assert "cosine 0.500 to 0.750" in drawn
    assert "<b>A" not in drawn
    assert "A &lt;b&gt;" in drawn
    assert [trace.meta for trace in plotted(drawn).data] == ["A &lt;b>", "B"], "the open page last, on top"
    assert plotted(drawn).data[0].y == (2.0, 1.5)


def test_a_loaded_second_encoder_reads_the_pool_and_refines(visit: Visit) -> None:
    assert "Refine by" not in (visit.screen().ranking or ""), "no other encoder is loaded"
    other = DummyEncoder(dim=64)
    other.fingerprint = "other-1"
    visit.tools.complements.add("mini", visit.tools.encoder)
    visit.tools.complements.add("org/<other>", other)
    visit.search("garden gate")
    ranking = visit.rank_by("both", "25", "org/<other>").ranking or ""
    assert 'name="complement" value="org/&lt;other&gt;" checked' in ranking
    assert 'value="mini"' not in ranking, "the pages are encoded by it"
    assert (
        f'data-unread>org/&lt;other&gt; reads the best pages: <span class="num">0 of {len(TEXTS)}' in ranking
    )
    *progress, last = refine_open_search(visit)
    told = [re.sub("<[^>]*>", "", screen.ranking or "").split("pages: ")[-1] for screen in progress]
    assert told == [f"{done} of {len(TEXTS)}" for done in range(1, len(TEXTS) + 1)]
    assert not any("data-unread" in (screen.ranking or "") for screen in progress)
    assert visit.trace
    assert visit.trace.refinement.complement == "org/<other>"
    assert "data-unread" not in (last.ranking or "")
    assert "complement" in (last.link or "")
    assert list(refine_open_search(visit)) == []
    assert visit.move(STOPS[1]).ranking
    assert visit.trace.refinement is not None, "what was read is kept"
    assert Link.parse({"q": "x", "complement": "org/<other>"}).complement == "org/<other>"


def test_the_api_reads_the_pool_before_it_answers(visit: Visit, tmp_path: Path) -> None:
    other = DummyEncoder(dim=64)
    other.fingerprint = "other-1"
    visit.tools.complements.add("other", other)
    api = Api(Visits(visit.tools, visit.session.base, tmp_path), visit.session.base)
    found = api.search("garden gate", "16x64", 3, steps=20, complement="other")
    assert len(found["hits"]) == 3
    assert found["timings_ms"]["complement"] > 0
    check(found, "search")
    with pytest.raises(ValueError, match="No loaded encoder 'nowhere' can refine here; loaded: other"):
        api.search("garden gate", "16x64", 3, steps=20, complement="nowhere")
