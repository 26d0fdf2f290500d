"""Compares a search with an exhaustive one over full vectors, in hits and latency."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TypeVar

from metaembed_demo.core.budgets import Budget
from metaembed_demo.core.types import FloatArray, Hit
from metaembed_demo.index.base import MultiVectorIndex

RESCORE = 50  # top pages rescored with full vectors
DEEP = 100  # ranks searched for a hit of only one of the two searches
BRIEF_MS = 250  # faster runs are timed twice, since the first may read files or compile
T = TypeVar("T")


@dataclass(frozen=True)
class Way:
    """One search: page ids in order, wall time in milliseconds, number of pages scored."""

    hits: tuple[str, ...]
    ms: float
    scored: int


@dataclass(frozen=True)
class Move:
    """A page with different ranks in both searches; 1-based, None beyond the first DEEP."""

    page_id: str
    here: int | None
    exact: int | None


@dataclass(frozen=True)
class Exactness:
    """A search (`here`) and an exhaustive search over the full vectors of all `pages`, at one budget.

    rescored: `here` with the top RESCORE rescored by full vectors; None if the index stores float16 or
        already rescores.
    moves: hits of either search with different ranks, by exact rank.
    """

    pages: int
    here: Way
    exact: Way
    rescored: Way | None
    moves: tuple[Move, ...]

    def agree(self, way: Way) -> int:
        """Number of exact hits among those of `way`."""
        return len(set(way.hits) & set(self.exact.hits))


def measure(index: MultiVectorIndex, query: FloatArray, budget: Budget, k: int) -> Exactness:
    """Ask `query` (R_q, D) for its best `k` pages at `budget`, each way; `index` stays as it is.

    Raises:
        ValueError: when the index has no full vectors.
    """
    if not index.has_full:
        raise ValueError("This index keeps no full vectors, so no search of it is exact.")
    # A copy, so that pages which come or go meanwhile count nowhere; with the lists, if any.
    still = index.copy(new_lists=False)
    pages = len(still)
    here = _asked(still, query, budget, k)
    hits, ms = _timed(lambda: still.search(query, budget, max(k, DEEP), exact=True))
    true = _ids(hits)
    exact = Way(true[:k], ms, pages)
    found = _ids(still.search(query, budget, DEEP))
    rescored = None
    if still.storage != "float16" and not still.rescore:
        still.rescore = RESCORE
        rescored = _asked(still, query, budget, k)
    return Exactness(pages, here, exact, rescored, _moves(here.hits, exact.hits, found, true))


def _asked(index: MultiVectorIndex, query: FloatArray, budget: Budget, k: int) -> Way:
    def ask() -> tuple[list[Hit], int]:
        candidates = index.coarse(query, budget, k)
        return index.rerank(query, budget, candidates, k), len(candidates)

    (hits, scored), ms = _timed(ask)
    return Way(_ids(hits), ms, scored)


def _timed(ask: Callable[[], T]) -> tuple[T, float]:
    """The result of `ask`, and its milliseconds."""
    started = perf_counter()
    found = ask()
    ms = (perf_counter() - started) * 1000
    if ms < BRIEF_MS:
        started = perf_counter()
        ask()
        ms = min(ms, (perf_counter() - started) * 1000)
    return found, ms


def _moves(
    here: Sequence[str], exact: Sequence[str], found: Sequence[str], true: Sequence[str]
) -> tuple[Move, ...]:
    """Pages with different ranks, given the hits and the first DEEP pages of both searches.

    >>> _moves(["a", "c"], ["a", "b"], ["a", "c", "b"], ["a", "b"])
    (Move(page_id='b', here=3, exact=2), Move(page_id='c', here=2, exact=None))
    """
    ranks_here, ranks_exact = _ranks(here, found), _ranks(exact, true)
    moves = [Move(each, ranks_here.get(each), ranks_exact.get(each)) for each in {*exact, *here}]
    moved = [move for move in moves if move.here != move.exact]
    return tuple(sorted(moved, key=lambda move: (move.exact or DEEP + 1, move.here or DEEP + 1)))


def _ranks(hits: Sequence[str], deep: Sequence[str]) -> dict[str, int]:
    """Page id -> rank. `deep` had more candidates, so its pages rank after all `hits` they are not in."""
    later = {page_id: max(rank, len(hits) + 1) for rank, page_id in enumerate(deep, 1)}
    return {**later, **{page_id: rank for rank, page_id in enumerate(hits, 1)}}


def _ids(hits: Sequence[Hit]) -> tuple[str, ...]:
    return tuple(hit.page_id for hit in hits)
