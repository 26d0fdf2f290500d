"""The MultiVectorIndex protocol, once for every index that keeps it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from metaembed_demo.core.budgets import OURS, STOPS, Budget, Budgets
from metaembed_demo.core.types import FloatArray
from metaembed_demo.index.base import MultiVectorIndex
from metaembed_demo.index.local import LocalIndex
from metaembed_demo.index.qdrant.index import SPARE, QdrantIndex
from tests.support.device_index import DeviceIndex, Float16Index
from tests.support.rest_qdrant import serving
from tests.support.sample_pages import random_vectors, unit

Make = Callable[..., MultiVectorIndex]  # (r_c, dim) -> an empty index

FULL = STOPS[-1]
BUDGETS = [*STOPS, Budget(3, 5), Budget(16, 20), Budget(1, 64), Budget(99, 99)]


def on_qdrant(location: str, r_c: int, dim: int, budgets: Budgets | None = None) -> QdrantIndex:
    return QdrantIndex.open(location, "pages", r_c, dim, budgets=budgets)


BACKENDS: dict[str, Callable[[Path, ExitStack], Make]] = {
    "memory": lambda folder, stack: LocalIndex,
    "device, bfloat16": lambda folder, stack: DeviceIndex,
    "device, float16": lambda folder, stack: Float16Index,
    "qdrant in memory": lambda folder, stack: partial(on_qdrant, ":memory:"),
    "qdrant in a folder": lambda folder, stack: partial(on_qdrant, str(folder / "local")),
    "qdrant's engine": lambda folder, stack: partial(on_qdrant, f"edge:{folder / 'edge'}"),
    "qdrant by REST": lambda folder, stack: partial(on_qdrant, stack.enter_context(serving())),
}


@pytest.fixture(params=BACKENDS)
def make(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes empty indexes; requests to Qdrant carry few pages, so that a few pages need several."""
    monkeypatch.setattr("metaembed_demo.index.qdrant.index.BATCH", 8)
    with ExitStack() as stack:
        empty = BACKENDS[request.param](tmp_path, stack)

        def remembering(r_c: int, dim: int, budgets: Budgets | None = None) -> MultiVectorIndex:
            index = empty(r_c, dim, budgets=budgets)
            stack.callback(index.close)
            return index

        yield remembering


def names(n: int) -> list[str]:
    return [f"p{i}" for i in range(n)]


def kept(*shape: int, seed: int = 0) -> FloatArray:
    """Random unit rows that float16 holds without loss."""
    return random_vectors(seed, *shape).astype(np.float16).astype(np.float32)


def naive(query: FloatArray, vectors: FloatArray, budget: Budget) -> FloatArray:
    """MaxSim written out: (n,) float64."""
    cosines = np.einsum("id,njd->nij", query[: budget.r_q], vectors[:, : budget.r_c], dtype=np.float64)
    return cosines.max(axis=2).sum(axis=1)


def test_every_budget_gives_the_best_pages_with_their_maxsim(make: Make) -> None:
    index, vectors, query = make(64, 16), kept(40, 64, 16), random_vectors(1, 16, 16)
    index.add(names(40), vectors)
    some = [31, 4, 15, 9, 26]
    for budget in BUDGETS:
        scores = naive(query, vectors, budget)
        best = np.argsort(-scores)[:10]
        for exact in (True, False):
            hits = index.search(query, budget, 10, exact=exact)
            assert [hit.page_id for hit in hits] == [f"p{i}" for i in best], budget
            assert [hit.rank for hit in hits] == list(range(1, 11))
            np.testing.assert_allclose([hit.score for hit in hits], scores[best], atol=1e-5)
        hits = index.rerank(query, budget, [f"p{i}" for i in some], 3)
        best_of_some = sorted(some, key=lambda i: -scores[i])[:3]
        assert [hit.page_id for hit in hits] == [f"p{i}" for i in best_of_some], budget
    assert index.rerank(query, FULL, [], 3) == []


def test_a_page_that_shines_only_behind_the_budget_is_not_lifted_by_it(make: Make) -> None:
    """Tokens 1-5 point left on page `plain`; `late` has what is asked for, but as its sixth token."""
    index = make(8, 4)
    east, north, west = np.eye(4)[0], np.eye(4)[1], -np.eye(4)[0]
    late = np.array([west] * 5 + [east] * 3, np.float32)
    plain = np.array([north] * 8, np.float32)
    index.add(["late", "plain"], np.stack([late, plain]))
    query = np.array([east], np.float32)
    assert [(hit.page_id, hit.score) for hit in index.search(query, Budget(1, 5), 2)] == [
        ("plain", 0.0),
        ("late", -1.0),
    ]
    assert [(hit.page_id, hit.score) for hit in index.search(query, Budget(1, 6), 2)] == [
        ("late", 1.0),
        ("plain", 0.0),
    ]


def test_equal_scores_come_in_the_order_of_adding(make: Make) -> None:
    index, same = make(2, 4), kept(1, 2, 4)
    count = SPARE + 12  # more ties than a first look brings
    index.add(names(count), np.repeat(same, count, axis=0))
    index.remove(["p0", "p2"])
    index.add(["p0"], same)
    left = ["p1", *(f"p{i}" for i in range(3, count)), "p0"]
    assert index.ids == left
    for budget in (Budget(1, 1), Budget(2, 2)):
        assert [hit.page_id for hit in index.search(same[0], budget, 4)] == left[:4]
        assert [hit.page_id for hit in index.rerank(same[0], budget, left[::-1], 4)] == left[:4]
        assert [hit.page_id for hit in index.search(same[0], budget, count)] == left


def test_adding_and_removing_leaves_what_a_plain_dict_would_hold(make: Make) -> None:
    rng, index, model = np.random.default_rng(3), make(4, 8), {}
    query = random_vectors(4, 3, 8)
    for step in range(20):
        if model and rng.random() < 0.4:
            gone = [str(name) for name in rng.choice(list(model), size=min(len(model), 3), replace=False)]
            index.remove(gone)
            for page_id in gone:
                del model[page_id]
        else:
            vectors = kept(2, 4, 8, seed=100 + step)
            ids = [f"{step}a", f"{step}b"]
            index.add(ids, vectors)
            model.update(zip(ids, vectors, strict=True))
        assert len(index) == len(model)
    assert index.ids == list(model)
    np.testing.assert_array_equal(index.vectors(list(model)), np.stack(list(model.values())))
    scores = naive(query, np.stack(list(model.values())), Budget(3, 4))
    expected = [list(model)[i] for i in np.argsort(-scores)[:5]]
    assert [hit.page_id for hit in index.search(query, Budget(3, 4), 5)] == expected


def test_a_page_added_again_is_the_new_one(make: Make) -> None:
    index, old, new = make(2, 4), kept(3, 2, 4), kept(1, 2, 4, seed=9)
    index.add(names(3), old)
    index.remove(["p1"])
    assert "p1" not in index
    assert "p1" not in [hit.page_id for hit in index.search(old[1], FULL, 3)]
    index.add(["p1"], new)
    assert index.ids == ["p0", "p2", "p1"]
    np.testing.assert_array_equal(index.vectors(["p1"]), new)
    assert index.search(new[0], FULL, 1)[0].page_id == "p1"


def test_more_hits_than_pages_are_all_pages(make: Make) -> None:
    index, vectors = make(4, 8), kept(5, 4, 8)
    index.add(names(5), vectors)
    for exact in (True, False):
        assert sorted(hit.page_id for hit in index.search(vectors[0], FULL, 50, exact=exact)) == names(5)
        assert index.search(vectors[0], FULL, 0, exact=exact) == []


def test_an_empty_index_finds_nothing(make: Make) -> None:
    index, query = make(8, 16), random_vectors(0, 4, 16)
    assert index.search(query, FULL, 5) == index.search(query, FULL, 5, exact=True) == []
    assert index.coarse(query, FULL, 5) == []
    assert index.ids == []
    assert len(index) == 0
    assert index.vectors([]).shape == (0, 8, 16)
    index.add([], np.empty((0, 8, 16), np.float32))
    index.remove([])
    assert len(index) == 0


def test_an_index_of_one_vector_a_page(make: Make) -> None:
    index, vectors, query = make(1, 8), kept(9, 1, 8), random_vectors(1, 3, 8)
    index.add(names(9), vectors)
    scores = naive(query, vectors, FULL)
    assert index.search(query, FULL, 1)[0].page_id == f"p{scores.argmax()}"
    np.testing.assert_array_equal(index.vectors(["p3", "p3"]), vectors[[3, 3]])


def test_bad_input_is_refused_and_changes_nothing(make: Make) -> None:
    index, vectors = make(8, 16), kept(3, 8, 16)
    index.add(names(3), vectors)
    with pytest.raises(ValueError, match="p1 is in the index already"):
        index.add(["new", "p1"], vectors[:2])
    with pytest.raises(ValueError, match="twice"):
        index.add(["x", "x"], vectors[:2])
    for bad in (vectors[:2], vectors[0], vectors[:1, :7], vectors[:1, :, :15]):
        with pytest.raises(ValueError, match="need vectors"):
            index.add(["x"], bad)
    for value in (np.nan, np.inf):
        spoilt = kept(20, 8, 16, seed=5)
        spoilt[19, 7, 15] = value  # the last of the last request
        with pytest.raises(ValueError, match="not finite"):
            index.add([f"x{i}" for i in range(20)], spoilt)
    with pytest.raises(KeyError, match="nope"):
        index.remove(["p0", "nope"])
    with pytest.raises(KeyError, match="nope"):
        index.vectors(["p0", "nope"])
    with pytest.raises(KeyError, match="nope"):
        index.rerank(vectors[0], FULL, ["p0", "nope"], 1)
    for query in (np.zeros((4, 5), np.float32), np.zeros(16, np.float32)):
        with pytest.raises(ValueError, match="shape"):
            index.search(query, FULL, 3)
        with pytest.raises(ValueError, match="shape"):
            index.coarse(query, FULL, 3)
    assert index.ids == names(3)
    assert "new" not in index
    assert "p2" in index


def test_vectors_come_back_as_float16_keeps_them(make: Make) -> None:
    index, vectors = make(64, 128), random_vectors(2, 10, 64, 128)
    index.add(names(10), vectors)
    again = index.vectors(["p9", "p3"])
    assert again.dtype == np.float32
    np.testing.assert_array_equal(again, vectors[[9, 3]].astype(np.float16).astype(np.float32))


def test_bytes_per_page_are_two_for_each_component_of_the_prefix(make: Make) -> None:
    index = make(64, 128)
    assert [index.bytes_per_page(stop) for stop in STOPS] == [256, 1024, 2048, 4096, 16384]


@pytest.mark.parametrize("stops", ["1x1 4x8 32x128", "1x1 2x4 4x8 8x16 8x32 16x64", "4x8 16x64", "32x128"])
def test_an_encoders_own_stops_are_searched_exactly(make: Make, stops: str) -> None:
    budgets = Budgets.parse(stops)
    r_q, r_c = budgets.full.r_q, budgets.full.r_c
    index, vectors, query = make(r_c, 16, budgets), kept(30, r_c, 16), random_vectors(1, r_q, 16)
    index.add(names(30), vectors)
    assert index.budgets == budgets
    for budget in (*budgets, Budget(1, 1), Budget(3, 5)):
        best = np.argsort(-naive(query, vectors, budget))[:10]
        assert [hit.page_id for hit in index.search(query, budget, 10)] == [f"p{i}" for i in best], budget


def test_budgets_of_other_pages_are_refused(make: Make) -> None:
    with pytest.raises(ValueError, match="Budgets up to 16x64 do not fit pages of 8 vectors"):
        make(8, 16, OURS)


def test_candidates_are_known_pages_and_hold_the_best_one(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """12 topics of 5 pages; each query asks about parts of one page."""
    monkeypatch.setattr("metaembed_demo.index.qdrant.index.candidates", lambda pages, budget, k, prefix: 10)
    index, rng = make(64, 16), np.random.default_rng(7)
    topics = unit(rng.standard_normal((12, 1, 16)))
    pages = unit(np.repeat(topics, 5, axis=0) + 0.15 * rng.standard_normal((60, 1, 16)))
    vectors = unit(pages + 0.05 * rng.standard_normal((60, 64, 16)))
    index.add(names(60), vectors)
    for budget in STOPS:
        for about in (0, 31, 59):
            query = unit(vectors[about, :16] + 0.02 * rng.standard_normal((16, 16)))
            found = list(index.coarse(query, budget, 1))
            assert len(found) == len(set(found)) >= 10
            assert set(found) <= set(names(60))
            best = index.search(query, budget, 1, exact=True)[0]
            assert best.page_id in found
            assert index.search(query, budget, 1) == [best]


def test_saved_it_loads_as_the_in_memory_index(make: Make, tmp_path: Path) -> None:
    index, vectors = make(8, 16), kept(20, 8, 16)
    index.add(names(20), vectors)
    index.remove(["p3"])
    index.save(tmp_path / "saved")
    again = LocalIndex.load(tmp_path / "saved")
    assert again.ids == index.ids
    np.testing.assert_array_equal(again.vectors(again.ids), index.vectors(index.ids))
    query = random_vectors(2, 4, 16)
    assert [hit.page_id for hit in again.search(query, FULL, 5)] == [
        hit.page_id for hit in index.search(query, FULL, 5)
    ]


def test_callers_need_not_ask_for_the_class(make: Make, tmp_path: Path) -> None:
    index, vectors = make(8, 16), kept(40, 8, 16)
    index.add(names(40), vectors)
    assert "p1" in index
    assert "p99" not in index
    assert (index.storage, index.has_full, index.rescore, index.listing) == ("float16", True, 0, None)
    np.testing.assert_array_equal(index.full(["p2", "p0"]), vectors[[2, 0]])
    if index.in_process:
        assert index.copy().ids == index.ids
        assert index.stored_as("int8").storage == "int8"
    else:
        for refused in (index.copy, lambda: index.stored_as("int8"), lambda: index.write(tmp_path)):
            with pytest.raises(ValueError, match="Only an index in this process"):
                refused()


def test_scores_of_all_pages_and_of_some_come_in_the_order_of_the_index(make: Make) -> None:
    index, vectors = make(8, 16), kept(12, 8, 16)
    index.add(names(12), vectors)
    query = random_vectors(2, 4, 16)
    expected = naive(query, vectors, Budget(2, 4))
    np.testing.assert_allclose(index.scores(query, Budget(2, 4)), expected, atol=1e-4)
    some = index.scores(query, Budget(2, 4), ["p3", "p7", "p11"])
    np.testing.assert_allclose(some, expected[[3, 7, 11]], atol=1e-4)


def test_a_selection_is_searched_as_if_it_were_the_index(make: Make) -> None:
    index, vectors, query = make(64, 16), kept(40, 64, 16), random_vectors(1, 16, 16)
    index.add(names(40), vectors)
    chosen = [f"p{i}" for i in range(1, 40, 3)]
    for budget in (*STOPS, Budget(3, 5)):
        scores = naive(query, vectors, budget)
        best = sorted(chosen, key=lambda page_id: -scores[int(page_id[1:])])[:5]
        for exact in (True, False):
            hits = index.search(query, budget, 5, exact, among=chosen)
            assert [hit.page_id for hit in hits] == best, budget
        found = list(index.coarse(query, budget, 5, among=chosen))
        assert set(best) <= set(found) <= set(chosen)
    assert list(index.coarse(query, FULL, 5, among=[])) == index.search(query, FULL, 5, among=[]) == []
    with pytest.raises(KeyError, match="nope"):
        index.coarse(query, FULL, 5, among=["p1", "nope"])
