"""Moments of videos in a collection: the better modality counts, and times stand where page numbers do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metaembed_demo.app.views import document_rows, documents_tab, open_page, search_tab
from metaembed_demo.app.visitors.explanation_tabs import ExplanationTabs
from metaembed_demo.app.visitors.links import strongest, trace_json
from metaembed_demo.collection.collection import Collection, Document
from metaembed_demo.collection.filters import PageFilter
from metaembed_demo.collection.indexing import index_files
from metaembed_demo.collection.modes import MODES
from metaembed_demo.collection.notices import in_lines
from metaembed_demo.collection.progress import Report
from metaembed_demo.collection.ranker import How
from metaembed_demo.collection.search import research, search
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.budgets import STOPS, Budget
from metaembed_demo.core.moments import Moment, place
from metaembed_demo.core.types import Embedding, Notice, Query
from metaembed_demo.documents.file_types import uploads
from metaembed_demo.encoders.mini.encoder import Mini
from metaembed_demo.explain.explainer import Explainer
from tests.support.dummy_encoder import DummyEncoder
from tests.support.sample_media import film, slide
from tests.support.sample_pages import make_page

ENCODER = DummyEncoder()
FULL = STOPS[-1]


def seen(collection: Collection, page_id: str) -> str:
    page = collection.pages[page_id]
    return place(page.source, page.number)


def eyes(*scores: tuple[str, float, float]) -> Collection:
    """A collection of moments: a name and the cosines of its picture and its speech with the first axis."""
    found = Collection("eyes", 64, 2)
    for second, (source, *cosines) in enumerate(scores):
        for modality, cosine in zip(("picture", "speech"), cosines, strict=True):
            number = Moment(second, modality).number  # type: ignore[arg-type]
            page = make_page(source, number, f"{source} {modality} {second}")
            vectors = np.tile(np.array([[cosine, np.sqrt(1 - cosine**2)]], np.float32), (64, 1))
            found.put(StoredPage.of(page), Embedding(vectors))
    return found


class Along:
    """An encoder whose queries all point along the first axis."""

    name = device = fingerprint = "eyes"
    similarity, budgets, r_q, r_c, dim = "MaxSim", DummyEncoder().budgets, 16, 64, 2

    def encode_queries(self, queries: list[Query]) -> list[Embedding]:
        return [Embedding(np.tile(np.array([[1, 0]], np.float32), (16, 1))) for _ in queries]


def test_the_better_modality_of_a_moment_counts() -> None:
    """At every budget: hits are moments, each once, by the larger of its two scores."""
    collection = eyes(("a.mp4", 0.9, 0.8), ("a.mp4", 0.1, 0.7), ("b.mkv", 0.6, 0.5), ("b.mkv", 0.2, 0.3))
    trace = search(collection, Along(), Query("x"), FULL, 3)  # type: ignore[arg-type]
    for stop in STOPS:
        trace = research(collection, trace, stop, 3)
        assert [seen(collection, hit.page_id) for hit in trace.hits] == [
            "a.mp4 0:00 picture",
            "a.mp4 0:01 speech",
            "b.mkv 0:02 picture",
        ]
        assert [hit.rank for hit in trace.hits] == [1, 2, 3]
        assert [hit.score / stop.r_q for hit in trace.hits] == pytest.approx([0.9, 0.7, 0.6], abs=1e-3)
    everything = research(collection, trace, FULL, 10)
    assert len(everything.hits) == 4
    exact = research(collection, trace, FULL, 3, How(exact=True))
    assert [hit.page_id for hit in exact.hits] == [hit.page_id for hit in trace.hits]
    ranked = collection.with_moments(
        [hit.page_id for hit in collection.index.search(np.array([[1, 0]], np.float32), Budget(1, 1), 8)]
    )
    assert ranked[:4] == [hit.page_id for hit in everything.hits]
    assert sorted(ranked) == sorted(collection.index.ids)


def test_pages_of_one_number_in_other_documents_stay() -> None:
    collection = eyes(("a.mp4", 0.9, 0.8))
    for number in (1, 2):
        page = make_page("a.pdf", number, f"page {number}")
        collection.put(StoredPage.of(page), Embedding(np.tile(np.array([[0.5, 0.8]], np.float32), (64, 1))))
    assert collection.has_moments
    trace = search(collection, Along(), Query("x"), FULL, 10)  # type: ignore[arg-type]
    assert [seen(collection, hit.page_id) for hit in trace.hits] == [
        "a.mp4 0:00 picture",
        "a.pdf p. 1",
        "a.pdf p. 2",
    ]
    collection.remove("a.mp4")
    assert not collection.has_moments


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_keeps_one_page_a_moment(mode: str) -> None:
    collection = Collection.for_encoder(ENCODER)
    for second in range(0, 300, 10):
        for modality in ("picture", "speech"):
            number = Moment(second, modality).number  # type: ignore[arg-type]
            page = make_page("talk.mp4", number, f"coffee {modality} number{second}")
            [embedding] = ENCODER.encode_pages([page])  # type: ignore[list-item]
            collection.put(StoredPage.of(page), embedding)
    trace = search(collection, ENCODER, Query("coffee speech number40"), FULL, 10, How(mode=mode))
    moments = [collection.pages[hit.page_id].number for hit in trace.hits]
    assert moments[0] == Moment(40, "speech").number
    assert len({(number - 1) // 2 for number in moments}) == 10
    assert set(trace.words) <= {hit.page_id for hit in trace.hits}


def test_ranks_of_all_pages_have_the_left_out_ones_last() -> None:
    collection = eyes(("a.mp4", 0.9, 0.8), ("a.mp4", 0.1, 0.7))
    trace = search(collection, Along(), Query("x"), Budget(1, 1), 2)  # type: ignore[arg-type]
    [ranks, *_] = ExplanationTabs(None).all_ranks(collection, trace)
    named = {seen(collection, page_id): rank for page_id, rank in ranks.items()}
    assert named == {
        "a.mp4 0:00 picture": 1,
        "a.mp4 0:01 speech": 2,
        "a.mp4 0:00 speech": 3,
        "a.mp4 0:01 picture": 4,
    }


def test_a_hit_tells_seconds_and_modality() -> None:
    collection = eyes(("a.mp4", 0.9, 0.8))
    trace = search(collection, Along(), Query("x"), FULL, 1)  # type: ignore[arg-type]
    [hit] = trace_json(trace, collection.pages, None)["hits"]
    assert (hit["source"], hit["page"], hit["seconds"], hit["modality"]) == ("a.mp4", 1, 0, "picture")


def test_page_numbers_of_a_filter_are_no_times() -> None:
    collection = eyes(("a.mp4", 0.9, 0.8))
    collection.put(StoredPage.of(make_page("a.pdf", 2, "two")), Embedding(np.ones((64, 2), np.float32)))
    assert list(collection.select(PageFilter.parse("pages:1-9")) or ()) == [make_page("a.pdf", 2, "two").id]
    assert len(collection.select(PageFilter.parse("type:mp4")) or ()) == 2
    assert collection.facets().last == 2


def test_notices_of_moments_in_one_line() -> None:
    blank = "is blank, and was left out."
    told = [Notice.of("a.mp4", number, blank) for number in (1, 121, 4001)]
    assert [line.message for line in in_lines(told)] == [f"a.mp4 at 0:00, 1:00, 33:20 {blank}"]
    assert [line.message for line in in_lines(told[:1])] == [f"a.mp4 at 0:00 (picture) {blank}"]


def test_a_film_is_searched_and_explained_by_the_real_mini(tmp_path: Path, mini: Mini) -> None:
    """What is shown is found by its picture, what is said by its speech, and the words of both explain it."""
    shown = [(20, slide("Quarterly revenue\ngrew by 14 percent")), (20, slide("Heat pump\nmaintenance plan"))]
    said = [
        (2, "Welcome, the buffet has lasagna and salad today."),
        (22, "Please feed the parrot twice a day."),
    ]
    report, collection = Report(), Collection.for_encoder(mini)
    path = film(tmp_path / "talk.mkv", shown, said)
    for _ in index_files(collection, uploads([path]), mini, report):
        pass
    assert (report.added, report.problems) == (4, [])
    asked = {
        "how much did sales increase": "talk.mkv 0:00 picture",
        "servicing of heating systems": "talk.mkv 0:20 picture",
        "what is there to eat": "talk.mkv 0:00 speech",
        "looking after a pet bird": "talk.mkv 0:20 speech",
    }
    explainer = Explainer(mini)
    for text, expected in asked.items():
        trace = search(collection, mini, Query(text), FULL, 10, evidence=True)
        assert len(trace.hits) == 2
        page = collection.pages[trace.hits[0].page_id]
        assert place(page.source, page.number) == expected
        assert trace.alignment is not None
        found = explainer.explain(page, trace.query_evidence, trace.query_vectors, trace.alignment)
        assert found is not None
        best = [found.words[at] for at in strongest(found)[:4]]
        assert {"revenue", "pump", "buffet", "lasagna", "parrot", "feed", "grew"} & {w.text for w in best}


def test_the_page_says_the_time_where_others_say_a_number() -> None:
    page = StoredPage.of(make_page("talk.mp4", 168, "hello there"))
    document = Document("talk.mp4", 1, "media")
    opened = document_rows.Opened("talk.mp4", [page], [168], lambda page_id, name: f"/{page_id}/{name}")
    assert '<span class="num">1:23 speech</span>' in search_tab.where(page)
    assert 'aria-label="1:23 speech: ' in document_rows.listing([document], 1, opened=opened)
    assert 'alt="talk.mp4 at 1:23 (speech): ' in open_page.page(page, 1, opened.address)
    assert "talk.mp4, 1:23 speech" in documents_tab.progress(1, 2, "talk.mp4", 168)
