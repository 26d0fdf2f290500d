"""MaxSim, alignment and prefix gains on arrays.

Scores are the sum over query tokens (paper, equation 1), not divided by their number.
A smaller budget is a slice: `maxsim(q[:r_q], c[:, :r_c])`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.core.budgets import Budgets
from metaembed_demo.core.types import Alignment, FloatArray

from . import maxsim_kernels

# Page components cast to float32 per chunk: 4 MiB, fits in a core's cache.
CHUNK_COMPONENTS = 1 << 20

# Multiply-adds from which loading numba is worthwhile: 500 pages at (16, 64), 2 ms in numpy.
KERNEL_FROM = 500 * 16 * 64 * 128
# The same once numba is loaded: below, numpy is faster than the call overhead.
KERNEL_AFTER = 8 * 16 * 64 * 128


def maxsim(q: FloatArray, c: NDArray[Any], rows: NDArray[np.int64] | None = None) -> FloatArray:
    """Late interaction of one query with many pages: for each page, sum over i of max over j of <q_i, c_j>.

    Large inputs use the compiled kernels if available, others `maxsim_numpy`.

    Args:
        q: query vectors (r_q, D).
        c: page vectors (n, r_c, D), float32 or float16 (cast in chunks).
        rows: which of the n pages to score (m,) int64; None means all in order.

    Returns:
        Scores (m,) float32.

    Raises:
        IndexError: when a row is not one of the n pages.
        ValueError: when the shapes do not fit together or either side has no token.

    Query token 1 has a match in both pages, query token 2 only in the first:

    >>> q = np.array([[1, 0], [0, 1]], dtype=np.float32)
    >>> pages = np.array([[[1, 0], [0, 1]], [[1, 0], [1, 0]]], dtype=np.float32)
    >>> maxsim(q, pages).tolist()
    [2.0, 1.0]
    >>> maxsim(q[:1], pages[:, :1]).tolist()  # budget 1x1 cannot tell them apart
    [1.0, 1.0]
    >>> maxsim(q, pages, np.array([1])).tolist()
    [1.0]
    """
    _check(q, c)
    m = len(c) if rows is None else len(rows)
    # Casting float16 pages in numpy costs as much as sixteen query tokens.
    tokens = max(len(q), 16) if c.dtype == np.float16 else len(q)
    worth = m * tokens * c.shape[1] * c.shape[2] >= (KERNEL_AFTER if maxsim_kernels.loaded() else KERNEL_FROM)
    if (
        worth
        and c.dtype in (np.float16, np.float32)
        and c.strides[2] == c.itemsize
        and maxsim_kernels.available()
    ):
        return maxsim_kernels.maxsim_float(np.asarray(q, dtype=np.float32), c, rows)
    return maxsim_numpy(q, c, rows)


def maxsim_numpy(q: FloatArray, c: NDArray[Any], rows: NDArray[np.int64] | None = None) -> FloatArray:
    """`maxsim` in numpy, in chunks of pages: the reference for the kernels."""
    _check(q, c)
    if rows is not None and len(rows) and not 0 <= np.min(rows) <= np.max(rows) < len(c):
        raise IndexError(f"Rows are 0 to {len(c) - 1} here, not {np.min(rows)} to {np.max(rows)}.")
    q = np.asarray(q, dtype=np.float32)
    _, r_c, dim = c.shape
    m = len(c) if rows is None else len(rows)
    scores = np.empty(m, dtype=np.float32)
    step = max(1, CHUNK_COMPONENTS // (r_c * dim))
    for start in range(0, m, step):
        part = c[start : start + step] if rows is None else c[rows[start : start + step]]
        chunk = np.asarray(part, dtype=np.float32)
        # Page tokens last, so that the maximum runs over contiguous memory.
        similarity = (q @ chunk.reshape(-1, dim).T).reshape(len(q), len(chunk), r_c)
        scores[start : start + step] = similarity.max(axis=2).sum(axis=0)
    return scores


def align(page_id: str, q: FloatArray, c_one: NDArray[Any]) -> Alignment:
    """The page token that gives each query token its maximum, on one page.

    Args:
        page_id: copied into the result.
        q: query vectors (r_q, D).
        c_one: vectors of that page (r_c, D).

    Raises:
        ValueError: when the shapes do not fit together or either side has no token.

    >>> q = np.array([[1, 0], [0, 1]], dtype=np.float32)
    >>> found = align("p", q, np.array([[0, 1], [1, 0], [-1, 0]], dtype=np.float32))
    >>> found.similarity.tolist()
    [[0.0, 1.0, -1.0], [1.0, 0.0, 0.0]]
    >>> found.winners.tolist(), found.gains.tolist()
    ([1, 0], [1.0, 1.0])
    """
    return alignment_of(page_id, cosines(q, c_one[None])[0])


def cosines(q: FloatArray, c: NDArray[Any]) -> FloatArray:
    """Every query token against every candidate token: (n, r_q, r_c) float32.

    Args:
        q: query vectors (r_q, D).
        c: vectors of n pages (n, r_c, D).

    Raises:
        ValueError: when the shapes do not fit together or either side has no token.
    """
    _check(q, c)
    return np.matmul(np.asarray(q, dtype=np.float32), np.asarray(c, dtype=np.float32).swapaxes(1, 2))


def alignment_of(page_id: str, similarity: FloatArray) -> Alignment:
    """The alignment that the cosines (r_q, r_c) of one page make."""
    winners = similarity.argmax(axis=1).astype(np.int64)
    return Alignment(page_id, similarity, winners, similarity.max(axis=1))


def prefix_gains(alignment: Alignment, budgets: Budgets) -> FloatArray:
    """(n,) float32 score contribution of each nested group of query tokens; of ours 1 | 2 | 3-4 | 5-8 | 9-16.

    Groups beyond the search's r_q contribute 0; query tokens beyond the last group's belong to it.

    >>> from metaembed_demo.core.budgets import OURS
    >>> one_each = Alignment("p", np.ones((8, 1), np.float32), np.zeros(8, np.int64), np.ones(8, np.float32))
    >>> prefix_gains(one_each, OURS).tolist()
    [1.0, 1.0, 2.0, 4.0, 0.0]
    """
    spans, last = budgets.query_spans, len(budgets) - 1
    return np.array(
        [alignment.gains[a : None if g == last else b].sum() for g, (a, b) in enumerate(spans)],
        dtype=np.float32,
    )


def candidate_gains(alignment: Alignment, budgets: Budgets) -> FloatArray:
    """(n,) gain of each nested group of page tokens; of ours 1 | 2-4 | 5-8 | 9-16 | 17-64.

    The increase of the score when the group is added, for all r_q query tokens. Groups beyond the search's
    r_c contribute 0; all sum to the score.

    >>> from metaembed_demo.core.budgets import OURS
    >>> similarity = np.array([[0.25, 0.5, 0.25, 0.0, 0.75]], dtype=np.float32)
    >>> found = Alignment("p", similarity, np.array([4]), np.array([0.75], np.float32))
    >>> candidate_gains(found, OURS).tolist()
    [0.25, 0.25, 0.25, 0.0, 0.0]
    """
    r_c = alignment.similarity.shape[1]
    scores = [alignment.similarity[:, : min(end, r_c)].max(axis=1).sum() for _, end in budgets.page_spans]
    return np.diff(np.array([0.0, *scores])).astype(np.float32)


def _check(q: FloatArray, c: NDArray[Any]) -> None:
    if q.ndim != 2 or c.ndim != 3 or q.shape[1] != c.shape[2]:
        raise ValueError(
            f"MaxSim needs a query (r_q, D) and pages (n, r_c, D) of one D, not {q.shape} and {c.shape}."
        )
    if not q.shape[0] or not c.shape[1]:
        raise ValueError("MaxSim needs at least one token on either side.")
