"""One ranking from two: reciprocal ranks, and the weighted sum of standard scores.

All functions take scores (n,) of the same n pages by both rankers; a page that a ranker does not rank, as
BM25 one without a word of the query, has the score 0 in a sum and NaN in a ranking.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Scores = NDArray[np.float64]
RRF_K = 60  # of Cormack, Clarke and Büttcher (SIGIR 2009)


def rrf(*rankers: ArrayLike, k: float = RRF_K) -> Scores:
    """Sum of 1 / (k + rank) over rankers, each scores (n,); (n,), greater is better.

    Ranks begin with 1; equal scores share the best of their ranks. NaN adds nothing.

    >>> rrf([3, 2, 1], [0.1, 0.9, np.nan], k=1).tolist()  # 1/2 + 1/3, 1/3 + 1/2, 1/4
    [0.8333333333333333, 0.8333333333333333, 0.25]
    """
    return np.sum([_reciprocal(np.asarray(scores, np.float64), k) for scores in rankers], axis=0)


def zsum(meaning: ArrayLike, words: ArrayLike, weight: float) -> Scores:
    """z(meaning) + weight * z(words), (n,): scores with mean 0 and standard deviation 1 among these n pages.

    >>> zsum([3, 1], [0, 8], 0.5).tolist()
    [0.5, -0.5]
    """
    return sum(shares(meaning, words, weight))  # type: ignore[return-value]


def shares(meaning: ArrayLike, words: ArrayLike, weight: float) -> tuple[Scores, Scores]:
    """The two terms of `zsum`, each (n,), for showing what a page owes to which.

    >>> [term.tolist() for term in shares([3, 1], [0, 8], 0.5)]
    [[1.0, -1.0], [-0.5, 0.5]]
    """
    return standard(meaning), weight * standard(words)


def standard(scores: ArrayLike) -> Scores:
    """Standard scores (n,); all 0 where the scores are equal, so that they decide nothing.

    >>> standard([1, 3]).tolist(), standard([5, 5, 5]).tolist(), standard([]).tolist()
    ([-1.0, 1.0], [0.0, 0.0, 0.0], [])
    """
    values = np.asarray(scores, np.float64)
    if not values.size:
        return values
    spread = values.std()
    if spread <= 1e-9 * max(1.0, float(np.abs(values).max())):
        return np.zeros_like(values)
    return (values - values.mean()) / spread


def pool(meaning: ArrayLike, words: ArrayLike, k: int) -> NDArray[np.int64]:
    """Places of the pages among the `k` best of either ranker, ascending. NaN ranks last and is left out.

    >>> pool([9, 8, 1, 0], [np.nan, 0.5, 0.1, 7], 1).tolist()
    [0, 3]
    """
    of = [np.asarray(scores, np.float64) for scores in (meaning, words)]
    best = [order[~np.isnan(scores[order])] for scores in of if len(order := _order(scores)[:k])]
    return np.unique(np.concatenate(best)) if best else np.empty(0, np.int64)


def _order(scores: Scores) -> NDArray[np.int64]:
    return np.argsort(-scores, kind="stable")  # NaN last


def _reciprocal(scores: Scores, k: float) -> Scores:
    ranked = ~np.isnan(scores)
    descending = np.sort(-scores[ranked])
    found = np.zeros(len(scores))
    found[ranked] = 1 / (k + 1 + np.searchsorted(descending, -scores[ranked]))
    return found
