"""The MultiVectorIndex protocol, and checks and sorting shared by its implementations."""

from __future__ import annotations

from collections.abc import Container, Generator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.core.budgets import Budget
from metaembed_demo.core.types import FloatArray, Hit


class MultiVectorIndex(Protocol):
    """Pages of R_c vectors each, searched by MaxSim at any budget; larger budgets are clipped."""

    r_c: int
    dim: int

    @property
    def ids(self) -> list[str]:
        """Page ids in the order they were added."""
        ...

    def __len__(self) -> int: ...

    def add(self, ids: Sequence[str], vectors: FloatArray) -> None:
        """Add pages with `vectors` (n, R_c, D) float32.

        Raises:
            ValueError: on an existing or duplicate id, or another shape; nothing is added.
        """
        ...

    def remove(self, ids: Sequence[str]) -> None:
        """Remove pages. Raises KeyError when an id is unknown; nothing is removed then."""
        ...

    def coarse(self, query: FloatArray, budget: Budget, k: int) -> Sequence[str]:
        """Candidate ids for the top `k` pages of `query` (R_q, D); all pages if exact search is cheap."""
        ...

    def rerank(self, query: FloatArray, budget: Budget, ids: Sequence[str], k: int) -> list[Hit]:
        """The top `k` of the pages `ids` by MaxSim; ties in the order of adding."""
        ...

    def search(self, query: FloatArray, budget: Budget, k: int, exact: bool = False) -> list[Hit]:
        """`coarse`, then `rerank`; with `exact` every page is scored, by its full vectors."""
        ...

    def vectors(self, ids: Sequence[str]) -> FloatArray:
        """(n, R_c, D) float32 vectors that hits are scored by. Raises KeyError when an id is unknown."""
        ...

    def bytes_per_page(self, budget: Budget) -> int:
        """Bytes of the first r_c vectors of a page in the index."""
        ...

    def save(self, path: Path) -> None:
        """Write to the folder `path`, created if missing."""
        ...


def check_new(ids: Sequence[str], vectors: FloatArray, known: Container[str], r_c: int, dim: int) -> None:
    """Raises ValueError unless `vectors` are (n, r_c, dim) and finite, and `ids` new and unique."""
    if np.shape(vectors) != (len(ids), r_c, dim):
        raise ValueError(f"{len(ids)} pages need vectors {(len(ids), r_c, dim)}, not {np.shape(vectors)}.")
    if len(set(ids)) != len(ids):
        raise ValueError("The same page id comes twice in one call.")
    here = next((page_id for page_id in ids if page_id in known), None)
    if here is not None:
        raise ValueError(f"Page {here} is in the index already; remove it first.")
    if not np.isfinite(vectors).all():
        raise ValueError("The vectors hold values that are not finite.")


def cut(query: FloatArray, budget: Budget, r_c: int, dim: int) -> tuple[FloatArray, int]:
    """The query's first r_q vectors, and r_c, both clipped. Raises ValueError on another shape."""
    if query.ndim != 2 or query.shape[1] != dim:
        raise ValueError(f"A query for this index has shape (R_q, {dim}), not {query.shape}.")
    return np.asarray(query[: budget.r_q], dtype=np.float32), min(budget.r_c, r_c)


def best(scores: FloatArray, k: int) -> NDArray[np.int64]:
    """Indices of the top `k` of `scores` (n,); stable for ties.

    Scores are rounded first: a page's score varies by 1e-6 between chunks.

    >>> best(np.array([1.0, 3.0, 2.0, 3.0000001], np.float32), 3).tolist()
    [1, 3, 2]
    """
    rounded = np.round(scores.astype(np.float64), 5)
    if k >= len(scores):
        keep = np.arange(len(scores))
    elif k < 1:
        return np.empty(0, np.int64)
    else:  # all ties with the k-th, so that the order of adding decides
        keep = np.flatnonzero(rounded >= np.partition(rounded, -k)[-k])
    return keep[np.lexsort((keep, -rounded[keep]))][:k]


T = TypeVar("T")


def finish(steps: Generator[Any, None, T]) -> T:
    """Exhaust a generator; returns its value.

    >>> def two():
    ...     yield 1
    ...     return "made"
    >>> finish(two())
    'made'
    """
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            made: T = ended.value
            return made
