"""Encoders of three, five and six stops: the dial, groups, gains, ranks, Auto and exports are theirs."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metaembed_demo.app.visitors.encoder_choice import Encoders, switch
from metaembed_demo.app.visitors.links import Link
from metaembed_demo.app.visitors.session import Sessions
from metaembed_demo.app.visitors.tools import Tools
from metaembed_demo.app.visitors.visitor import Visit
from metaembed_demo.collection.calibration import Auto
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.push_qdrant import open_remote, push, search_there
from metaembed_demo.collection.ranker import How
from metaembed_demo.collection.search import research, search
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.budgets import OURS, Budget, Budgets
from metaembed_demo.core.types import Page, Query, Trace, Word
from metaembed_demo.encoders.attribution import Evidence
from metaembed_demo.encoders.base import Mask
from metaembed_demo.encoders.vlm.checkpoints import load_vlm, save_vlm
from metaembed_demo.encoders.vlm.evidence import LostEvidence
from metaembed_demo.evaluation.budget_sheet import Corpus, Measured, sheet
from metaembed_demo.evaluation.budget_study import Asked, measure
from metaembed_demo.evaluation.quality_curve import Curve
from metaembed_demo.explain.explainer import explainer
from metaembed_demo.index.maxsim import candidate_gains, maxsim, prefix_gains
from tests.app.test_charts import plotted
from tests.app.test_views import Document
from tests.support import tiny_vlm
from tests.support.dummy_encoder import DummyEncoder
from tests.support.ladder_encoder import SIX, THREE, Ladder

EVERY = pytest.mark.parametrize("budgets", [THREE, OURS, SIX], ids=["three", "five", "six"])
PAGES = 6
ASKED = Query("anything")


def stored(text: str, number: int) -> Page:
    image = Image.new("RGB", (60, 80), (9 * number, 90, 90))
    words = tuple(Word(word, (0.1, 0.1 * i, 0.3, 0.1 * i + 0.05)) for i, word in enumerate(text.split()))
    return Page(f"p{number}", "a.pdf", number, image, words)


def collected(encoder: Ladder | DummyEncoder, level: int) -> Collection:
    """A page of that level, the last, among others that all score alike."""
    found = Collection.for_encoder(encoder)
    texts = [*(f"filler number {n}" for n in range(1, PAGES)), f"level {level}"]
    for number, text in enumerate(texts, 1):
        page = stored(text, number)
        found.put(StoredPage.of(page), encoder.encode_pages([page])[0])
    return found


def visiting(encoder: Ladder, level: int, curve: Curve | None = None) -> Visit:
    sessions = Sessions(collected(encoder, level))
    return Visit(Tools(encoder, curve, explainer=explainer(encoder)), sessions.get(sessions.open()))


def rank(trace: Trace) -> int:
    return next(hit.rank for hit in trace.hits if hit.page_id == f"p{PAGES}")


@EVERY
def test_a_page_is_found_from_its_stop_on_and_its_group_gains_the_score(budgets: Budgets) -> None:
    encoder = Ladder(budgets)
    for level in range(1, len(budgets) + 1):
        pages = collected(encoder, level)
        trace = search(pages, encoder, ASKED, budgets.full)
        assert trace.budgets == budgets
        for at, stop in enumerate(budgets, 1):
            trace = research(pages, trace, stop)
            assert rank(trace) == (1 if at >= level else PAGES), (level, str(stop))
            assert trace.as_json()["budget"]["trained"]
            if at >= level:
                assert trace.alignment is not None
                gains = candidate_gains(trace.alignment, budgets).tolist()
                assert gains == [stop.r_q if group == level - 1 else 0 for group in range(len(budgets))]
                of_query = prefix_gains(trace.alignment, budgets).tolist()
                assert of_query[:at] == list(budgets.query_sizes[:at])
                assert not any(of_query[at:])
        free = research(pages, trace, Budget(3, 5))
        assert not free.as_json()["budget"]["trained"]


@EVERY
def test_auto_tells_the_stop_that_the_query_needed(budgets: Budgets) -> None:
    encoder = Ladder(budgets)
    for level, stop in enumerate(budgets, 1):
        pages = collected(encoder, level)
        how = How(auto=Auto.of_pages(pages.index, pages.calibrations))
        trace = search(pages, encoder, ASKED, budgets[0], how=how)
        assert trace.budget == budgets.full
        assert trace.auto.needed == stop


@EVERY
def test_the_dial_has_its_stops_and_the_page_as_many_shades(budgets: Budgets) -> None:
    count = len(budgets)
    curve = Curve(tuple(0.5 + 0.05 * at for at in range(count)), 9)
    visit = visiting(Ladder(budgets), 1, curve)
    assert visit.budget == budgets.full
    names = [f"{stop.r_q}×{stop.r_c}" for stop in budgets]
    for at, stop in enumerate(budgets):
        text = str(visit.move(stop).dial)
        drawn = Document(text)
        (slider,) = drawn.all(class_="slider")
        assert (slider["aria-valuemax"], slider["aria-valuenow"]) == (str(count), str(at + 1))
        assert slider["data-exact"] == "1"
        assert re.findall(r'class="name num">([^<]*)<', text) == names
        assert len(re.findall(r'<polygon class="band g\d', text)) == count
        assert len(re.findall(r'<polygon class="band g\d on', text)) == at + 1
        shades = dict(re.findall(r"\.(g\d){--shade:([^}]*)}", text))
        assert len(set(shades.values())) == (0 if count == 5 else count)
        assert ("--stops:" in text) == (count != 5)
        assert visit.bytes_per_stop()[at] == stop.r_c * 4 * 2


@EVERY
def test_views_follow(budgets: Budgets) -> None:
    level, count = len(budgets), len(budgets)
    visit = visiting(Ladder(budgets), level)
    screen = visit.search("anything")
    assert visit.chosen == f"p{PAGES}"
    legend = re.findall(r'class="key g\d[^>]*>([^<]*)<', str(screen.results))
    assert legend == [group.label("query") for group in budgets.groups if group.label("query")]
    data = json.loads(Document(str(screen.alignment)).all(class_="matrix")[0]["data-matrix"])
    assert [group[2] for group in data["groups"]] == [group.label("candidate") for group in budgets.groups]
    assert f"All {budgets.full.r_q} query tokens match candidate" in str(screen.alignment)
    assert budgets.groups[-1].label("candidate") in str(screen.alignment)
    ranks = str(visit.open_tab("ranks").ranks)
    lines = plotted(ranks).data
    assert all(len(line.x) == count for line in lines)
    answer = next(line for line in lines if f"p. {PAGES}" in line.meta)
    assert answer.hovertext == tuple(
        f"rank {1 if at == level else PAGES} at {stop.r_q}×{stop.r_c}" for at, stop in enumerate(budgets, 1)
    )
    assert ranks.count('data-action="other"') == count
    timing = str(visit.open_tab("timing").timing)
    assert budgets.groups[-1].shade in timing
    for drawn in (visit.study.cost(visit.collection), str(visit.documents_tab().statistics)):
        assert all(f"{stop.r_q}×{stop.r_c}" in drawn for stop in budgets)
        assert budgets.groups[1].shade in drawn
    assert f"{budgets.full.r_c} a page" in str(visit.documents_tab().statistics)


@EVERY
def test_a_link_without_a_budget_opens_at_the_largest_and_compares_with_the_smallest(
    budgets: Budgets,
) -> None:
    visit = visiting(Ladder(budgets), 1)
    visit.move(budgets[0])
    link = visit.arrive(Link.parse({"q": "anything"})).link
    assert visit.budget == budgets.full
    assert visit.explanation_tabs.other == budgets[0]
    assert f'"budget":"{budgets.full}"' in str(link)
    assert "a-budget" not in str(link)
    visit.arrive(Link.parse({"q": "anything", "budget": "99x999"}))
    assert visit.budget == budgets.full


@EVERY
def test_the_stops_are_measured_and_sized(budgets: Budgets) -> None:
    encoder = Ladder(budgets)
    pages = collected(encoder, 2)
    *_, last = measure(pages, encoder, [Asked(ASKED, f"p{PAGES}")], threading.Event())
    assert last.worth is not None
    assert [stop.budget for stop in last.worth.stops] == list(budgets)
    assert [stop.ranks for stop in last.worth.stops] == [(PAGES,), *[(1,)] * (len(budgets) - 1)]
    rows = sheet(Corpus.of(pages, budgets), 10**6, Measured(last.worth))
    told = [row.way.stop for row in rows if (row.way.storage, row.way.mode) == ("int8", "meaning")]
    assert told == [*budgets, None]


@EVERY
def test_saved_pages_and_pages_on_qdrant_keep_the_stops(budgets: Budgets, tmp_path: Path) -> None:
    encoder = Ladder(budgets)
    level = len(budgets) - 1
    pages = collected(encoder, level)
    pages.save(tmp_path / "saved")
    again = Collection.load(tmp_path / "saved", encoder.fingerprint)
    assert again.index.budgets == budgets
    assert again.copy().index.budgets == budgets
    place = f"edge:{tmp_path / 'qdrant'}"
    remote = open_remote(pages, place, "pages")
    for _ in push(pages, remote):
        pass
    assert set(remote._ends) == {1, *(stop.r_c for stop in budgets)}
    remote.close()
    search_there(again, place, "pages")
    trace = search(again, encoder, ASKED, budgets.full)
    for at, stop in enumerate(budgets, 1):
        assert rank(research(again, trace, stop)) == (1 if at >= level else PAGES)
    again.index.close()


def test_a_score_is_shown_as_the_encoder_was_trained() -> None:
    for similarity, shown in (("MaxSim", "32.00"), ("MeanMaxSim", "1.00")):
        visit = visiting(Ladder(THREE, similarity), 3)  # type: ignore[arg-type]
        screen = visit.search("anything")
        assert re.search(r'class="hit-score num">([^<]*)<', str(screen.results))[1] == shown  # type: ignore[index]
        assert f"{similarity} score</td><td>{float(shown):.3f}<" in str(screen.alignment)
        assert visit.trace is not None
        assert np.isclose(visit.trace.as_json()["hits"][0]["score"], 32), "files tell the sum"
        assert visit.trace.as_json().get("similarity") == (None if similarity == "MaxSim" else similarity)


class Explained(Ladder):
    """Without its first word every token of a page loses 0.5 of its cosine, without another nothing."""

    waits = False

    def page_evidence(self, page: Page) -> Iterator[Evidence]:
        change = np.zeros((len(page.words), self.r_c, self.dim), np.float16)
        change[0, :, 0] = -0.5
        yield LostEvidence(page.words, self._page(page.text).vectors, change)

    def query_evidence(self, query: Query) -> Evidence:
        vectors = self.encode_queries([query])[0].vectors
        return LostEvidence((Word(query.text, (0, 0, 1, 1)),), vectors, np.zeros((1, *vectors.shape), "f2"))

    def without(self, page: Page, evidence: Evidence, hidden: Mask) -> Page:
        return page.with_words([w for w, out in zip(evidence.words, hidden, strict=True) if not out])


def test_what_a_score_loses_is_told_as_the_score() -> None:
    """The page of level 1 has a cosine of 1 with all 32 tokens, and of 0.5 without one of its words."""
    for similarity, full, lost in (("MaxSim", "32.00", "16.00"), ("MeanMaxSim", "1.00", "0.50")):
        visit = visiting(Explained(THREE, similarity), 1)  # type: ignore[arg-type]
        visit.search("anything")
        visit.explain()
        found = str(visit.open_tab("page-map").pagemap)
        assert f"Without its strongest part the score loses {lost} of {full}" in found
        assert '<span class="num">50.0%</span>' in found
        *_, tested = visit.test()
        shown = str(tested.pagemap)
        assert f"Change of the score, {full}, when 1 word of 2 are hidden" in shown
        assert shown.count(f'<span class="num">\N{MINUS SIGN}{lost}</span>') == 3
        groups = str(visit.open_tab("alignment").alignment)
        assert sum(float(gain) for gain in re.findall(r"<b>\+([\d.]+)</b>", groups)) == float(full)
        bars = re.findall(r"Score by groups of query tokens: ([\d., ]+)", str(visit.screen().results))
        assert sum(map(float, bars[0].split(", "))) == pytest.approx(float(full), abs=0.02)


def test_another_encoder_brings_its_stops() -> None:
    base = collected(DummyEncoder(), 1)
    encoders = Encoders(
        ["mini", "three", "six"],
        Tools(DummyEncoder()),
        base,
        lambda name: Ladder(THREE if name == "three" else SIX),
    )
    sessions = Sessions(base)
    visit = Visit(encoders.tools("mini"), sessions.get(sessions.open()))
    visit.search("filler")
    assert "<style>" not in str(visit.screen().dial)
    for name, budgets in (("three", THREE), ("six", SIX), ("mini", OURS)):
        *_, _last = switch(visit, encoders, name)
        assert visit.budgets == budgets
        assert visit.budget == budgets.full
        assert visit.collection.index.budgets == budgets
        assert ("<style>" in str(visit.screen().dial)) == (len(budgets) != 5)
        assert visit.explanation_tabs.other == budgets[0]
    visit.move(Budget(8, 16))
    *_, _last = switch(visit, encoders, "six")
    assert visit.budget == Budget(8, 16), "a stop of both"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tokens", "budgets"), [((4, 8), ()), ((32, 128), THREE.pairs), ((16, 64), SIX.pairs)]
)
def test_a_vision_language_model_has_the_stops_that_its_manifest_names(
    tokens: tuple[int, int], budgets: tuple[tuple[int, int], ...], tmp_path: Path
) -> None:
    r_q, r_c = tokens
    save_vlm(tiny_vlm.encoder("qwen2_vl", r_q=r_q, r_c=r_c, budgets=budgets), tmp_path, merged=True)
    made = load_vlm(tmp_path)
    assert made.budgets == (Budgets.of(budgets) if budgets else OURS.within(4, 8))
    collection = Collection.for_encoder(made)
    pictured = [page for page in tiny_vlm.pages() if page.image]
    for page, embedding in zip(pictured, made.encode_pages(pictured), strict=True):
        collection.put(StoredPage.of(page), embedding)
    vectors = collection.index.vectors(collection.index.ids)
    trace = search(collection, made, tiny_vlm.queries()[0], made.budgets.full)
    for stop in made.budgets:
        trace = research(collection, trace, stop)
        expected = np.sort(maxsim(trace.query_vectors[: stop.r_q], vectors[:, : stop.r_c]))[::-1]
        np.testing.assert_allclose([hit.score for hit in trace.hits], expected, atol=1e-4)
        assert trace.as_json()["budget"] == {"r_q": stop.r_q, "r_c": stop.r_c, "trained": True}
