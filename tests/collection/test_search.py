"""collection/search.py and app/visitors/session.py: a query becomes a trace, the dial moves without
encoding, sessions stay apart."""

from dataclasses import replace

import numpy as np
import pytest

from metaembed_demo.app.visitors.session import Sessions
from metaembed_demo.collection import persistence
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.facets import NoPageLeft
from metaembed_demo.collection.filters import PageFilter
from metaembed_demo.collection.ranker import How
from metaembed_demo.collection.search import explain_hit, research, search
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.budgets import STOPS, Budget
from metaembed_demo.core.types import Embedding, Query
from metaembed_demo.index.maxsim import maxsim
from tests.support.dummy_encoder import DummyEncoder
from tests.support.sample_pages import fill, make_page

ENCODER = DummyEncoder()
STAGES = {"encode", "coarse", "rerank", "align", "total"}


@pytest.fixture
def collection(monkeypatch) -> Collection:
    found = Collection.for_encoder(ENCODER)
    texts = [
        "energy use by quarter in a chart",
        "descale the coffee machine",
        "a cat on a sofa",
        "invoice 117",
    ]
    fill(monkeypatch, found, *[make_page(f"{n}.pdf", 1, text) for n, text in enumerate(texts)])
    return found


@pytest.mark.parametrize("budget", STOPS, ids=str)
def test_the_trace_tells_everything(collection: Collection, budget: Budget) -> None:
    trace = search(collection, ENCODER, Query("coffee machine descale"), budget, k=3)
    assert len(trace.hits) == 3
    assert collection.pages[trace.hits[0].page_id].source == "1.pdf"
    vectors = collection.index.vectors([hit.page_id for hit in trace.hits])
    expected = maxsim(trace.query_vectors[: budget.r_q], vectors[:, : budget.r_c])
    np.testing.assert_allclose([hit.score for hit in trace.hits], expected, atol=1e-5)
    assert trace.alignment is not None
    assert trace.alignment.page_id == trace.hits[0].page_id
    assert trace.alignment.similarity.shape == (budget.r_q, budget.r_c)
    assert trace.alignment.gains.sum() == pytest.approx(trace.hits[0].score, abs=1e-5)
    assert set(trace.timings) == STAGES
    assert trace.timings["total"] == pytest.approx(sum(trace.timings[s] for s in STAGES - {"total"}))
    assert trace.timings["encode"] > 0
    assert trace.bytes_per_page == budget.r_c * 128 * 2
    assert (trace.pages_searched, trace.candidates) == (4, 4)
    assert trace.query_vectors.shape == (16, 128)
    assert trace.movement == {}


def test_moving_the_dial_encodes_nothing_and_says_what_moved(collection: Collection, monkeypatch) -> None:
    first = search(collection, ENCODER, Query("cat"), Budget(16, 64))
    monkeypatch.setattr(DummyEncoder, "encode_queries", None)
    ids = [hit.page_id for hit in first.hits]
    # At one token, the page that was last matches the query exactly.
    page = collection.index.vectors([ids[-1]])[0]
    page[0] = first.query_vectors[0]
    collection.index.remove([ids[-1]])
    collection.index.add([ids[-1]], page[None])
    again = research(collection, first, Budget(1, 1))
    assert again.timings["encode"] == 0.0
    assert again.budget == Budget(1, 1)
    assert again.query_text == "cat"
    assert again.query_vectors is first.query_vectors
    after = {hit.page_id: hit.rank for hit in again.hits}
    assert again.movement == {hit.page_id: hit.rank - after[hit.page_id] for hit in first.hits}
    # The dummy's tokens are all alike for one word, so two pages tie on the exact match.
    assert again.movement[ids[-1]] >= 2
    shorter = research(collection, again, Budget(16, 64), k=2)
    assert set(shorter.movement) == {hit.page_id for hit in shorter.hits}


def test_all_stops_give_what_a_fresh_search_gives(collection: Collection) -> None:
    trace = search(collection, ENCODER, Query("energy chart"), STOPS[0])
    for stop in STOPS:
        assert (
            research(collection, trace, stop).hits
            == search(collection, ENCODER, Query("energy chart"), stop).hits
        )


def test_any_hit_can_be_explained(collection: Collection) -> None:
    trace = search(collection, ENCODER, Query("invoice"), Budget(4, 8))
    last = trace.hits[-1]
    found = explain_hit(collection, trace, last.page_id)
    assert found.alignment is not None
    assert found.alignment.page_id == last.page_id
    assert found.alignment.gains.sum() == pytest.approx(last.score, abs=1e-5)
    assert found.hits == trace.hits
    assert found.timings["total"] == pytest.approx(sum(found.timings[s] for s in STAGES - {"total"}))
    with pytest.raises(KeyError, match="gone"):
        explain_hit(collection, trace, "gone")


def test_budgets_beyond_the_encoder_mean_all_there_is(collection: Collection) -> None:
    trace = search(collection, ENCODER, Query("cat"), Budget(99, 999))
    assert trace.budget == Budget(16, 64)


def test_an_empty_collection_gives_an_empty_trace() -> None:
    trace = search(Collection.for_encoder(ENCODER), ENCODER, Query("anything"), Budget(8, 16))
    assert (trace.hits, trace.alignment, trace.pages_searched) == ((), None, 0)
    assert research(Collection.for_encoder(ENCODER), trace, Budget(1, 1)).hits == ()


def test_wrong_encoders_and_counts_are_refused(collection: Collection) -> None:
    other = DummyEncoder()
    other.fingerprint = "dummy-2"
    with pytest.raises(ValueError, match="another encoder"):
        search(collection, other, Query("cat"), Budget(1, 1))
    with pytest.raises(ValueError, match="at least 1"):
        search(collection, ENCODER, Query("cat"), Budget(1, 1), k=0)


def test_exact_scores_every_page_of_a_large_index() -> None:
    rng = np.random.default_rng(0)
    collection = Collection("dummy-1", 64, 128)
    for start in range(0, 6000, 1000):
        vectors = rng.standard_normal((1000, 64, 128), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
        collection.index.add([f"p{start + i}" for i in range(1000)], vectors)
    query = Query("anything at all")
    quick = search(collection, ENCODER, query, Budget(2, 4))
    exact = search(collection, ENCODER, query, Budget(2, 4), how=How(exact=True))
    assert (quick.candidates, exact.candidates, exact.pages_searched) == (50, 6000, 6000)
    assert quick.hits[0].score <= exact.hits[0].score + 1e-6


# Sessions


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_sessions_do_not_see_one_another(collection: Collection) -> None:
    sessions = Sessions(collection)
    one, two = sessions.open(), sessions.open()
    assert one != two
    assert len(one) >= 32
    sessions.get(one).collection.remove("0.pdf")
    assert len(sessions.get(one).collection) == 3
    assert len(sessions.get(two).collection) == len(collection) == 4
    assert sessions.get(one).restore_samples() == 1
    assert len(sessions.get(one).collection) == 4
    assert sessions.get(one).restore_samples() == 0
    sessions.close(one)
    sessions.close(one)
    with pytest.raises(KeyError, match="ended"):
        sessions.get(one)
    assert sessions.get(two).id == two


def test_unused_sessions_expire(collection: Collection) -> None:
    clock = Clock()
    sessions = Sessions(collection, ttl_s=60, clock=clock)
    old, kept = sessions.open(), sessions.open()
    clock.now = 50
    sessions.get(kept)
    clock.now = 100
    assert sessions.sweep() == 1
    assert sessions.get(kept).id == kept
    with pytest.raises(KeyError, match="ended"):
        sessions.get(old)
    clock.now = 161
    with pytest.raises(KeyError, match="ended"):  # even before a sweep
        sessions.get(kept)
    assert len(sessions) == 0


def test_restored_samples_have_their_old_vectors(collection: Collection) -> None:
    sessions = Sessions(collection)
    session = sessions.get(sessions.open())
    session.collection.clear()
    extra = make_page("0.pdf", 1, "something else under a sample's name")
    (embedding,) = ENCODER.encode_pages([extra])
    from metaembed_demo.collection.stored_page import StoredPage

    session.collection.put(StoredPage.of(extra), Embedding(embedding.vectors))
    assert session.restore_samples() == 4
    for page_id in collection.pages:
        np.testing.assert_array_equal(
            session.collection.index.vectors([page_id]), collection.index.vectors([page_id])
        )
    assert {d.source for d in session.collection.documents()} >= {"0.pdf", "0 (2).pdf", "1.pdf"}


# Languages


GERMAN = PageFilter(languages=("de",))


@pytest.fixture
def bilingual() -> Collection:
    found = Collection.for_encoder(ENCODER)
    for n in range(12):
        page = replace(
            make_page("a.pdf", n + 1, f"coffee machine {n}"), language="de" if n % 3 == 0 else "en"
        )
        found.put(StoredPage.of(page), ENCODER.encode_pages([page])[0])
    return found


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("up_to", [5_000, 4])
def test_a_search_in_one_language_is_exact(bilingual: Collection, exact: bool, up_to: int) -> None:
    bilingual.index.exact_up_to = up_to
    every = search(bilingual, ENCODER, Query("coffee machine 7"), Budget(4, 8), k=12, how=How(exact=True))
    german = [hit for hit in every.hits if bilingual.pages[hit.page_id].language == "de"]
    found = search(bilingual, ENCODER, Query("coffee machine 7"), Budget(4, 8), 3, How(exact, GERMAN))
    assert [hit.page_id for hit in found.hits] == [hit.page_id for hit in german[:3]]
    assert [hit.rank for hit in found.hits] == [1, 2, 3]
    assert (found.only, found.pages_searched) == (GERMAN, 4)
    assert found.as_json()["query"]["language"] == "de"
    again = research(bilingual, found, Budget(16, 64), 10)
    assert {bilingual.pages[hit.page_id].language for hit in again.hits} == {"de"}
    assert len(research(bilingual, found, Budget(16, 64), 10, How()).hits) == 10


def test_a_language_without_pages_is_refused_and_counts_follow(bilingual: Collection) -> None:
    assert bilingual.facets().languages == {"en": 8, "de": 4}
    with pytest.raises(ValueError, match="language 'fr'; what is indexed is in en, de"):
        search(bilingual, ENCODER, Query("coffee"), Budget(4, 8), how=How(only=PageFilter(languages=("fr",))))
    bilingual.remove("a.pdf")
    assert bilingual.facets().languages == {}
    with pytest.raises(NoPageLeft, match="none has a known one"):
        bilingual.select(GERMAN)


def test_languages_are_known_without_loading_pages(bilingual: Collection, tmp_path, monkeypatch) -> None:
    bilingual.save(tmp_path)
    monkeypatch.setattr(persistence, "EAGER", 3)
    found = Collection.load(tmp_path, ENCODER.fingerprint)
    monkeypatch.setattr(persistence.Record, "load", None)
    assert found.facets().languages == {"en": 8, "de": 4}
    assert found.select(GERMAN) == bilingual.select(GERMAN)
    assert found.copy().facets().languages == {"en": 8, "de": 4}
