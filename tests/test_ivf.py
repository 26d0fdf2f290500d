"""Inverted lists as the coarse stage: what they find, and that they follow the index."""

import numpy as np
import pytest
from made import random_vectors, unit

from metaembed_demo.ivf import TokenLists
from metaembed_demo.local import LocalIndex
from metaembed_demo.records import STOPS, Budget, FloatArray

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
    trained = TokenLists.trained

    def meanwhile(vectors: FloatArray, pages: int) -> TokenLists:
        index.remove(["p0", "p1"])
        index.add(["twin"], twin)
        return trained(vectors, pages)

    monkeypatch.setattr(TokenLists, "trained", meanwhile)
    index.make_lists()
    assert index.search(topics[1][0], Budget(8, 16), 1)[0].page_id == "twin"
    everywhere = {p for query in topics[1] for p in index.coarse(query, Budget(8, 16), 50)}
    assert everywhere <= set(index.ids)


def test_too_few_pages_are_refused_with_the_way_out() -> None:
    with pytest.raises(ValueError, match="Scan the prefixes instead"):
        TokenLists.trained(random_vectors(0, 10, 16, DIM), 10)
