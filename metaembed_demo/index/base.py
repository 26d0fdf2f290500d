"""The MultiVectorIndex protocol, and checks and sorting shared by its implementations."""

from __future__ import annotations

from collections.abc import Container, Generator, Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.core.budgets import Budget
from metaembed_demo.core.types import FloatArray, Hit

from .cascade import RECALL


class MultiVectorIndex(Protocol):
    """Pages as R_c vectors each, searched by MaxSim at any budget.

    A budget larger than what the query or the index holds means all there is. An index that is not
    `in_process` answers everything but `copy`, `stored_as`, `storing_as` and `write`, which raise ValueError.
    """

    r_c: int
    dim: int
    recall: float  # the share of the exact best that the coarse stage is to bring
    refine: int  # how many of the best are scored again by their full vectors; 0 for none
    exact_up_to: int  # pages; up to there a search scores them all

    @property
    def in_process(self) -> bool:
        """Whether the vectors lie in this process, or in files that it reads, and not on a server."""
        ...

    @property
    def storage(self) -> str:
        """How vectors are kept: one of `quantization.KINDS`."""
        ...

    @property
    def has_full(self) -> bool:
        """Whether the vectors are kept as they were added (in float16), and not their codes alone."""
        ...

    @property
    def listing(self) -> tuple[int, int] | None:
        """Pages in the inverted lists on their way, and of how many; None where none are made."""
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

    def full(self, ids: Sequence[str]) -> FloatArray:
        """(n, R_c, D) float32: the vectors as added, to float16; the codes' where those were given up.

        Raises:
            KeyError: when an id is unknown.
        """
        ...

    def bytes_per_page(self, budget: Budget) -> int:
        """Bytes of the first r_c vectors of a page in the index."""
        ...

    def copy(self, new_lists: bool = True) -> MultiVectorIndex:
        """The same pages; adding and removing here and there do not meet. Vectors are shared.

        new_lists: whether the copy may make inverted lists once it has grown; it keeps those there are.
        """
        ...

    def stored_as(self, kind: str, keep_full: bool = True) -> MultiVectorIndex:
        """The same pages kept as `kind`; this index stays as it is and can be searched meanwhile.

        The full vectors move to a file, or are given up if not `keep_full`. PQ is fitted to the pages.

        Raises:
            ValueError: on an unknown kind, too few pages for a codebook, or where the full vectors of this
                index were given up and another kind would have to be made from what is left.
        """
        ...

    def storing_as(self, kind: str, keep_full: bool = True) -> Generator[int, None, MultiVectorIndex]:
        """`stored_as`, telling how many pages are kept anew as it goes; closing it gives the work up."""
        ...

    def save(self, path: Path) -> None:
        """Write to the folder `path`, created if missing."""
        ...

    def write(self, path: Path) -> dict[str, Any]:
        """Write what `path` lacks. Returns the head (index/segments.py), for the caller to keep."""
        ...

    def close(self) -> None:
        """Let go of a connection or of a folder's lock, where there is one; the index is of no more use."""
        ...


class Elsewhere:
    """What every index answers that keeps its vectors in float16 outside of this process.

    `recall` and `refine` are there to be read: nobody tells a server of other values.
    """

    recall, refine, exact_up_to = RECALL, 0, 0
    in_process = False
    storage, has_full = "float16", True
    listing: tuple[int, int] | None = None

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
