"""The MultiVectorIndex protocol, and checks and sorting shared by its implementations."""

from __future__ import annotations

from collections.abc import Container, Generator, Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.core.budgets import Budget, Budgets
from metaembed_demo.core.types import FloatArray, Hit

from .cascade import RECALL, Rows, Scores


class MultiVectorIndex(Protocol):
    """Pages as R_c vectors each, searched by MaxSim at any budget.

    Budgets are clipped to the tokens of the query and the index. Without `in_process`, the methods `copy`,
    `stored_as`, `storing_as` and `write` raise ValueError.
    """

    r_c: int
    dim: int
    budgets: Budgets  # of the encoder: where prefixes of pages end, and what a scan reads
    recall: float  # target recall of the coarse stage, relative to exact search
    rescore: int  # number of best pages to rescore with full vectors; 0 for none
    exact_up_to: int  # pages up to which a search scores all of them

    @property
    def in_process(self) -> bool:
        """Whether the vectors are in this process or its files, and not on a server."""
        ...

    @property
    def storage(self) -> str:
        """The storage kind of the vectors: one of `quantization.KINDS`."""
        ...

    @property
    def has_full(self) -> bool:
        """Whether full (float16) vectors are stored, and not only codes."""
        ...

    @property
    def listing(self) -> tuple[int, int] | None:
        """Pages in the inverted lists being built, and their total; None if none are."""
        ...

    @property
    def ids(self) -> list[str]:
        """Page ids in the order they were added."""
        ...

    def __len__(self) -> int: ...

    def __contains__(self, page_id: str) -> bool: ...

    def add(self, ids: Sequence[str], vectors: FloatArray) -> None:
        """Add pages with `vectors` (n, R_c, D) float32.

        Raises:
            ValueError: on an existing or duplicate id, or another shape; nothing is added.
        """
        ...

    def remove(self, ids: Sequence[str]) -> None:
        """Remove pages. Raises KeyError when an id is unknown; nothing is removed then."""
        ...

    def coarse(
        self, query: FloatArray, budget: Budget, k: int, among: Sequence[str] | None = None
    ) -> Sequence[str]:
        """Candidate ids for the top `k` pages of `query` (R_q, D); all pages if exact search is cheap.

        among: the ids to choose from, which alone are scanned; None: all. KeyError when one is unknown.
        """
        ...

    def rerank(self, query: FloatArray, budget: Budget, ids: Sequence[str], k: int) -> list[Hit]:
        """The top `k` of the pages `ids` by MaxSim; ties in the order of adding."""
        ...

    def scores(self, query: FloatArray, budget: Budget, ids: Sequence[str] | None = None) -> FloatArray:
        """MaxSim (n,) float32 of the pages `ids`, which are in the order of the index; None: of all."""
        ...

    def stage_scores(self, query: FloatArray, budget: Budget, rows: Rows | None = None) -> FloatArray:
        """As `scores`, of the pages at the ascending positions `rows`, as a stage of the cascade needs them.

        Where a search would not score all pages, small budgets are scored by int8 prefixes.
        """
        ...

    def at(self, rows: Rows) -> Sequence[str]:
        """The ids of the pages at the positions `rows`."""
        ...

    def search(
        self,
        query: FloatArray,
        budget: Budget,
        k: int,
        exact: bool = False,
        among: Sequence[str] | None = None,
    ) -> list[Hit]:
        """`coarse`, then `rerank`; with `exact` every page (of `among`) is scored, by its full vectors."""
        ...

    def vectors(self, ids: Sequence[str]) -> FloatArray:
        """(n, R_c, D) float32 vectors that hits are scored with. Raises KeyError when an id is unknown."""
        ...

    def full(self, ids: Sequence[str]) -> FloatArray:
        """(n, R_c, D) float32: the full vectors (float16 precision); decoded codes if there are none.

        Raises:
            KeyError: when an id is unknown.
        """
        ...

    def bytes_per_page(self, budget: Budget) -> int:
        """Bytes of the first r_c vectors of a page in the index."""
        ...

    def copy(self, new_lists: bool = True) -> MultiVectorIndex:
        """An independent copy that shares the vectors.

        new_lists: whether the copy may build inverted lists as it grows; existing ones are kept.
        """
        ...

    def stored_as(self, kind: str, keep_full: bool = True) -> MultiVectorIndex:
        """The same pages stored as `kind`; this index is unchanged and can be searched meanwhile.

        The full vectors move to a file, or are dropped if not `keep_full`. PQ is trained on the pages.

        Raises:
            ValueError: on an unknown kind, too few pages for a codebook, or if this index has no full vectors
                to make another kind from.
        """
        ...

    def storing_as(self, kind: str, keep_full: bool = True) -> Generator[int, None, MultiVectorIndex]:
        """`stored_as` as a generator of the number of pages converted; closing it cancels."""
        ...

    def save(self, path: Path) -> None:
        """Write to the folder `path`, created if missing."""
        ...

    def write(self, path: Path) -> dict[str, Any]:
        """Write the files that `path` lacks. Returns the head (index/segments.py) for the caller to store."""
        ...

    def close(self) -> None:
        """Close connections and release folder locks. The index cannot be used afterwards."""
        ...


def stage_scorer(index: MultiVectorIndex, query: FloatArray) -> Scores:
    """`stage_scores` of a query (R_q, D), as the stages of a cascade ask for them."""

    def scores(first: int, budget: Budget, rows: Rows | None) -> FloatArray:
        return index.stage_scores(query[first:], Budget(budget.r_q - first, budget.r_c), rows)

    return scores


class Elsewhere:
    """Base of indexes whose float16 vectors are outside this process.

    `recall` and `rescore` are read-only in effect: a server does not use them.
    """

    recall, rescore, exact_up_to = RECALL, 0, 0
    in_process = False
    storage, has_full = "float16", True
    listing: tuple[int, int] | None = None

    def scores(
        self: MultiVectorIndex, query: FloatArray, budget: Budget, ids: Sequence[str] | None = None
    ) -> FloatArray:
        wanted = self.ids if ids is None else list(ids)
        found = {hit.page_id: hit.score for hit in self.rerank(query, budget, wanted, len(wanted))}
        return np.array([found[page_id] for page_id in wanted], np.float32)

    def stage_scores(
        self: MultiVectorIndex, query: FloatArray, budget: Budget, rows: Rows | None = None
    ) -> FloatArray:
        return self.scores(query, budget, None if rows is None else self.at(rows))

    def at(self: MultiVectorIndex, rows: Rows) -> Sequence[str]:
        ids = self.ids
        return [ids[row] for row in rows.tolist()]

    def copy(self, new_lists: bool = True) -> NoReturn:
        raise self._refusal()

    def stored_as(self, kind: str, keep_full: bool = True) -> NoReturn:
        raise self._refusal()

    def storing_as(self, kind: str, keep_full: bool = True) -> NoReturn:
        raise self._refusal()

    def write(self, path: Path) -> NoReturn:
        raise self._refusal()

    def _refusal(self) -> ValueError:
        what = type(self).__name__
        return ValueError(f"Only an index in this process is copied or kept another way, not {what}.")


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
