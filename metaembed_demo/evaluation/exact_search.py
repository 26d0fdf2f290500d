"""How far a search agrees with one that scores every page by its full vectors, and what either costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TypeVar

from metaembed_demo.core.budgets import Budget
from metaembed_demo.core.types import FloatArray, Hit
from metaembed_demo.index.base import MultiVectorIndex

REFINE = 50  # of the best pages that are scored again by their full vectors, where that is asked for
DEEP = 100  # ranks looked through for a page that only one of two searches has among its hits
BRIEF_MS = 250  # what takes less is timed twice, for the first run may wait for a file or a compiler
T = TypeVar("T")


@dataclass(frozen=True)
class Way:
    """One way of asking: page ids in order, milliseconds of wall time, how many pages were scored."""

    hits: tuple[str, ...]
    ms: float
    scored: int


@dataclass(frozen=True)
class Move:
    """A page that stands elsewhere among the exact hits. A rank is 1-based, None beyond the first DEEP."""

    page_id: str
    here: int | None
    exact: int | None


@dataclass(frozen=True)
class Exactness:
    """A search as it is, and by the full vectors of all `pages`; both at one budget, for one query.

    refined: the same search with the best REFINE scored again by their full vectors; None where the index
        keeps those, or does so already.
    moves: pages among the hits of either that do not have the same rank in both, by their exact rank.
    """

    pages: int
    here: Way
    exact: Way
    refined: Way | None
    moves: tuple[Move, ...]

    def agree(self, way: Way) -> int:
        """How many of the exact hits `way` has, in any order."""
        return len(set(way.hits) & set(self.exact.hits))


def measure(index: MultiVectorIndex, query: FloatArray, budget: Budget, k: int) -> Exactness:
    """Ask `query` (R_q, D) for its best `k` pages at `budget`, each way; `index` stays as it is.

    Raises:
        ValueError: when the full vectors were given up, so that there is nothing exact to compare with.
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
    refined = None
    if still.storage != "float16" and not still.refine:
        still.refine = REFINE
        refined = _asked(still, query, budget, k)
    return Exactness(pages, here, exact, refined, _moves(here.hits, exact.hits, found, true))


def _asked(index: MultiVectorIndex, query: FloatArray, budget: Budget, k: int) -> Way:
    def ask() -> tuple[list[Hit], int]:
        candidates = index.coarse(query, budget, k)
        return index.rerank(query, budget, candidates, k), len(candidates)

    (hits, scored), ms = _timed(ask)
    return Way(_ids(hits), ms, scored)


def _timed(ask: Callable[[], T]) -> tuple[T, float]:
    """What `ask` gives, and its milliseconds."""
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
    """Args: the hits of both searches, and the first DEEP of both.

    >>> _moves(["a", "c"], ["a", "b"], ["a", "c", "b"], ["a", "b"])
    (Move(page_id='b', here=3, exact=2), Move(page_id='c', here=2, exact=None))
    """
    ranks_here, ranks_exact = _ranks(here, found), _ranks(exact, true)
    moves = [Move(each, ranks_here.get(each), ranks_exact.get(each)) for each in {*exact, *here}]
    moved = [move for move in moves if move.here != move.exact]
    return tuple(sorted(moved, key=lambda move: (move.exact or DEEP + 1, move.here or DEEP + 1)))


def _ranks(hits: Sequence[str], deep: Sequence[str]) -> dict[str, int]:
    """Page id -> rank. More hits mean more candidates, so `deep` may put a page where `hits` has another."""
    later = {page_id: max(rank, len(hits) + 1) for rank, page_id in enumerate(deep, 1)}
    return {**later, **{page_id: rank for rank, page_id in enumerate(hits, 1)}}


def _ids(hits: Sequence[Hit]) -> tuple[str, ...]:
    return tuple(hit.page_id for hit in hits)
