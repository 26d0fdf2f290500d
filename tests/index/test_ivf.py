"""Inverted lists as the coarse stage: what they find, and that they follow the index."""

import gc
import os
import threading
import weakref
from typing import Any

import faiss
import numpy as np
import pytest

from metaembed_demo.core.budgets import STOPS, Budget, Budgets
from metaembed_demo.core.types import FloatArray
from metaembed_demo.evaluation.exact_search import measure
from metaembed_demo.index.base import finish
from metaembed_demo.index.ivf import TokenLists
from metaembed_demo.index.ivf_builder import NICE, Listing, stand_back
from metaembed_demo.index.local import LocalIndex
from tests.support.sample_pages import random_vectors, unit

pytestmark = pytest.mark.slow

DIM = 32


def topical(n: int) -> tuple[FloatArray, FloatArray]:
    """Pages (n, 16, 32) of fifty topics, each token a way off; queries (40, 8, 32) about parts of one."""
    rng = np.random.default_rng(3)
    topics = rng.standard_normal((50, DIM))[rng.integers(50, size=n)]
    pages = unit((topics + rng.standard_normal((n, DIM)))[:, None] + 0.7 * rng.standard_normal((n, 16, DIM)))
    about = rng.choice(n, 40, replace=False)
    return pages, unit(pages[about, :8] + 0.05 * rng.standard_normal((40, 8, DIM)))


@pytest.fixture(scope="module")
def topics() -> tuple[FloatArray, FloatArray]:
    return topical(3_000)


@pytest.fixture
def listed(topics) -> tuple[LocalIndex, FloatArray]:
    index = LocalIndex(16, DIM, exact_up_to=0)
    index.add([f"p{i}" for i in range(len(topics[0]))], topics[0])
    index.make_lists()
    return index, topics[1]


@pytest.mark.parametrize("budget", STOPS, ids=str)
def test_the_lists_bring_most_of_the_best_ten(listed, budget: Budget) -> None:
    index, queries = listed
    found = []
    for query in queries:
        quick = {hit.page_id for hit in index.search(query, budget, 10)}
        exact = {hit.page_id for hit in index.search(query, budget, 10, exact=True)}
        found.append(len(quick & exact) / 10)
    assert len(index.coarse(queries[0], budget, 10)) < 1_000
    assert np.mean(found) > 0.8


@pytest.mark.parametrize("listing", [True, False], ids=["lists", "scan"])
def test_a_selection_is_all_that_is_looked_at(listed, monkeypatch, listing: bool) -> None:
    monkeypatch.setattr("metaembed_demo.index.local.LISTED", 100 if listing else 10**9)
    index, queries = listed
    chosen, found = index.ids[::3], []
    for query in queries:
        hits = index.search(query, Budget(8, 16), 10, among=chosen)
        exact = index.search(query, Budget(8, 16), 10, exact=True, among=chosen)
        assert {hit.page_id for hit in [*hits, *exact]} <= set(chosen)
        found.append(len({hit.page_id for hit in hits} & {hit.page_id for hit in exact}) / 10)
    assert len(index.coarse(queries[0], Budget(8, 16), 10, among=chosen)) < len(chosen)
    assert np.mean(found) > 0.8


def test_the_lists_follow_adds_removes_and_compaction(listed, topics) -> None:
    index, queries = listed
    best = [hit.page_id for hit in index.search(queries[0], Budget(8, 16), 5)]
    index.remove([best[0]])
    assert best[0] not in index.coarse(queries[0], Budget(8, 16), 5)
    index.add(["twin"], np.concatenate([queries[0], queries[0]])[None])
    assert index.search(queries[0], Budget(8, 16), 1)[0].page_id == "twin"
    index.remove([f"p{i}" for i in range(0, 3_000, 2) if f"p{i}" in index])  # slots move
    assert index.search(queries[0], Budget(8, 16), 1)[0].page_id == "twin"
    left = index.coarse(queries[1], Budget(8, 16), 5)
    assert all(page_id in index for page_id in left)
    assert set(left) <= set(index.ids)


def test_lists_are_made_while_the_index_changes(topics, monkeypatch) -> None:
    """Pages that come and go during the making are in the lists as they are in the index."""
    index = LocalIndex(16, DIM, exact_up_to=0)
    index.add([f"p{i}" for i in range(3_000)], topics[0])
    twin = np.concatenate([topics[1][0], topics[1][0]])[None]
    train = TokenLists._train

    def meanwhile(lists: TokenLists, group: tuple[int, int], vectors: FloatArray, pages: int) -> None:
        if "twin" not in index:
            index.remove(["p0", "p1"])
            index.add(["twin"], twin)
        train(lists, group, vectors, pages)

    monkeypatch.setattr(TokenLists, "_train", meanwhile)
    index.make_lists()
    assert index.search(topics[1][0], Budget(8, 16), 1)[0].page_id == "twin"
    everywhere = {p for query in topics[1] for p in index.coarse(query, Budget(8, 16), 50)}
    assert everywhere <= set(index.ids)


@pytest.mark.parametrize(
    ("stops", "groups"),
    [
        ("1x1 4x8 8x16", [(0, 1), (1, 8), (8, 16)]),
        ("1x1 2x1 4x8 8x16", [(0, 1), (1, 8), (8, 16)]),
        ("4x8 8x16", [(0, 8), (8, 16)]),
        ("16x16", [(0, 16)]),
    ],
)
def test_lists_are_of_the_encoders_groups(
    topics: tuple[FloatArray, FloatArray], stops: str, groups: list[tuple[int, int]]
) -> None:
    pages, queries = topics
    index = LocalIndex(16, DIM, exact_up_to=100, budgets=Budgets.parse(stops))
    index.add([f"p{i}" for i in range(len(pages))], pages)
    index.make_lists()
    assert index._lists is not None
    assert index._lists.groups == index.copy()._lists.groups == groups  # type: ignore[union-attr]
    exact = [index.search(query, Budget(8, 16), 1, exact=True)[0].page_id for query in queries]
    assert [index.search(query, Budget(8, 16), 1)[0].page_id for query in queries] == exact
    assert index.search(queries[0], Budget(1, 1), 1), "below the smallest stop, its tokens are searched"


def test_too_few_pages_are_refused_with_the_way_out() -> None:
    with pytest.raises(ValueError, match="Scan the prefixes instead"):
        finish(TokenLists.making(list("0123456789"), lambda ids: random_vectors(0, len(ids), 16, DIM)))


# Copies


def asked(monkeypatch: pytest.MonkeyPatch) -> list[TokenLists]:
    """Lists, as they are asked for candidates."""
    found: list[TokenLists] = []
    candidates = TokenLists.candidates

    def noted(lists: TokenLists, *how: Any) -> np.ndarray:
        found.append(lists)
        return candidates(lists, *how)

    monkeypatch.setattr(TokenLists, "candidates", noted)
    return found


def test_a_copy_searches_the_same_lists_until_one_adds(listed, monkeypatch) -> None:
    index, queries = listed
    used = asked(monkeypatch)
    twin, other = index.copy(), index.copy()
    hits = index.search(queries[0], Budget(8, 16), 5)
    assert twin.search(queries[0], Budget(8, 16), 5) == hits
    assert len(used) == 2
    assert twin._lists._faiss is index._lists._faiss, "hundreds of megabytes at a million pages"

    gone = hits[0].page_id
    twin.remove([gone])
    assert index.search(queries[0], Budget(8, 16), 5) == hits
    assert gone not in twin.coarse(queries[0], Budget(8, 16), 5)

    page = np.concatenate([queries[0], queries[0]])[None]
    twin.add(["mine"], page)
    index.add(["yours"], page)
    assert twin._lists._faiss is not index._lists._faiss
    assert twin.search(queries[0], Budget(8, 16), 1)[0].page_id == "mine"
    assert index.search(queries[0], Budget(8, 16), 1)[0].page_id == "yours"
    assert other.search(queries[0], Budget(8, 16), 5) == hits
    assert len(index._lists._slots) == index._lists._faiss[0].ntotal == 3_001


def test_lists_of_a_copy_that_is_gone_are_changed_in_place(listed, topics) -> None:
    index, _ = listed
    before = index._lists._faiss
    index.copy()
    gc.collect()
    index.add(["late"], topics[0][:1])
    assert index._lists._faiss is before, "copying hundreds of megabytes would serve nobody"


def test_the_check_asks_as_the_user_does_and_makes_no_lists(listed, topics, monkeypatch) -> None:
    index, queries = listed
    used = asked(monkeypatch)
    assert measure(index, queries[0], Budget(8, 16), 10).here.scored < 1_000
    assert used

    plain = LocalIndex(16, DIM, exact_up_to=0)
    plain.add([f"p{i}" for i in range(3_000)], topics[0])
    plain.lists_from = 3_000
    begun: list[int] = []
    monkeypatch.setattr(Listing, "begin", lambda listing, ids, *_: begun.append(len(ids)))
    measure(plain, queries[0], Budget(8, 16), 10)
    assert begun == [], "for a copy that is thrown away"
    plain.search(queries[0], Budget(8, 16), 10)
    assert begun == [3_000]


@pytest.mark.parametrize("kind", ["int8", "binary"])
def test_another_storage_keeps_the_lists(listed, kind: str, monkeypatch) -> None:
    index, queries = listed
    index.remove(["p5", "p17"])
    found = list(index.coarse(queries[0], Budget(8, 16), 10))
    made = index.stored_as(kind)
    used = asked(monkeypatch)
    assert sorted(made.coarse(queries[0], Budget(8, 16), 10)) == sorted(found)
    assert used == [made._lists]


# Made beside the searches


def many(topics: tuple[FloatArray, FloatArray]) -> LocalIndex:
    """An index that has so many pages that its first search has lists made."""
    index = LocalIndex(16, DIM, exact_up_to=0)
    index.add([f"p{i}" for i in range(3_000)], topics[0])
    index.lists_from = 3_000
    return index


@pytest.fixture
def large(topics) -> LocalIndex:
    return many(topics)


def test_the_first_search_has_lists_made_for_the_index_and_its_copies(large, topics, monkeypatch) -> None:
    used = asked(monkeypatch)
    before, small = large.copy(), large.copy()
    small.remove(["p0"])  # has too few pages for lists by now
    go_on = threading.Event()
    train = TokenLists._train

    def slow(lists: TokenLists, *rest) -> None:
        assert go_on.wait(30)
        train(lists, *rest)

    monkeypatch.setattr(TokenLists, "_train", slow)
    large.search(topics[1][0], Budget(8, 16), 5)
    assert not used, "this one scans"
    assert large.listing == before.listing == (0, 3_000)
    before.search(topics[1][0], Budget(8, 16), 5)
    assert [t.name for t in threading.enumerate()].count("metaembed-lists") == 1, "not one for each copy"
    coded = large.stored_as("int8")
    assert coded.listing == (0, 3_000)
    go_on.set()
    assert large._listing.wait(60)
    assert large.listing is None
    for index, lists in ((large, 1), (before, 2), (small, 2), (coded, 3)):
        index.search(topics[1][0], Budget(8, 16), 5)
        assert len(used) == lists
    assert large.copy().listing is None


@pytest.mark.parametrize("error", [MemoryError(), ValueError("too few")], ids=["memory", "value"])
def test_a_failure_is_told_once_and_not_tried_again(large, topics, error, monkeypatch, caplog) -> None:
    tried = []

    def fails(*_) -> None:
        tried.append(1)
        raise error

    monkeypatch.setattr(TokenLists, "_train", fails)
    for _ in range(3):
        assert large.search(topics[1][0], Budget(8, 16), 5)
        assert large._listing.wait(30)
    assert large.copy().search(topics[1][0], Budget(8, 16), 5)
    assert large.listing is None
    assert tried == [1]
    assert [r.message for r in caplog.records].count(
        "No inverted lists could be made of 3000 pages; searches scan them instead"
    ) == 1


def test_the_work_ends_with_the_last_index_that_wants_it(topics, monkeypatch) -> None:
    begun, go_on, steps = threading.Event(), threading.Event(), []

    def slow(lists: TokenLists, group: tuple[int, int], *_) -> None:
        steps.append(group)
        begun.set()
        assert go_on.wait(30)

    monkeypatch.setattr(TokenLists, "_train", slow)
    index = many(topics)
    index.search(topics[1][0], Budget(8, 16), 5)
    assert begun.wait(30)
    listing, dropped = index._listing, weakref.ref(index)
    del index
    gc.collect()
    assert dropped() is None, "the thread at work keeps none of those that it works for"
    go_on.set()
    assert listing.wait(30)
    assert steps == [(0, 1)], "the first of four steps was the last"


def test_a_thread_that_stands_back_leaves_the_others_as_they_are() -> None:
    def threads_and_niceness() -> tuple[int, int]:
        return faiss.omp_get_max_threads(), os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    here = threads_and_niceness()
    there = []
    thread = threading.Thread(target=lambda: there.append((stand_back(), threads_and_niceness())[1]))
    thread.start()
    thread.join()
    assert there == [(1, NICE)]
    assert threads_and_niceness() == here
