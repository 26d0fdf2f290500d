"""nDCG, recall, reciprocal rank, overlap and Kendall's tau, with bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.core.types import FloatArray

from .beir import Unit

K = 5  # cutoff of overlap and nDCG


def overlap(best: Sequence[str], other: Sequence[str], k: int = K) -> float:
    """Share of the first `k` (or fewer) items of `best` that are among the first `k` of `other`.

    >>> overlap("abcde", "eabxy"), overlap("abc", "cab"), overlap("abc", "xab", k=2)
    (0.6, 1.0, 0.5)
    """
    wanted = set(best[:k])
    return len(wanted & set(other[:k])) / len(wanted) if wanted else 1.0


def kendall_tau(a: Sequence[str], b: Sequence[str]) -> float:
    """Kendall's tau over the common items: share of concordant pairs minus share of discordant pairs.

    Without ties this equals tau-b. With fewer than two common items: 1.0 for equal rankings, else 0.0.

    >>> [kendall_tau("abc", other) for other in ("abc", "cba", "xacb", "xyz")]
    [1.0, -1.0, 0.3333333333333333, 0.0]
    """
    places = {item: place for place, item in enumerate(b)}
    order = np.array([places[item] for item in a if item in places])
    if len(order) < 2:
        return float(list(a) == list(b))
    first, second = np.triu_indices(len(order), 1)
    return float(np.sign(order[second] - order[first]).mean())


Row = dict[str, Any]
RESAMPLES = 2000  # of the bootstrap


def ndcg(gains: Sequence[float], judged: Sequence[float], k: int) -> float:
    """Normalised discounted cumulative gain with linear gains, as in trec_eval and BEIR.

    gains: grades by rank; judged: all grades above 0.

    >>> ndcg([0, 1], [1], k=5) == 1 / math.log2(3)
    True
    >>> ndcg([2, 1], [1, 2], k=5)
    1.0
    """
    ideal = _discounted(sorted(judged, reverse=True)[:k])
    return _discounted(gains[:k]) / ideal if ideal else 0.0


def recall(met: Sequence[int], judged: int, k: int) -> float:
    """Recall@k: share of the `judged` units in the first `k` ranks; `met` has their number per rank.

    >>> recall([0, 1, 0, 1], judged=4, k=3)
    0.25
    """
    return sum(met[:k]) / judged if judged else 0.0


def reciprocal_rank(met: Sequence[int]) -> float:
    """1 / rank of the first relevant unit, 0 without one.

    >>> reciprocal_rank([0, 0, 1])
    0.3333333333333333
    """
    return next((1 / rank for rank, found in enumerate(met, 1) if found), 0.0)


def grade(ranking: Sequence[set[Unit]], judged: Mapping[Unit, int]) -> tuple[list[int], list[int]]:
    """Per rank, the highest grade and the number of judged units not seen at earlier ranks.

    >>> a, b, c = ("page", "a"), ("page", "b"), ("page", "c")
    >>> grade([{c}, {a, b}, {a}], {a: 2, b: 1})
    ([0, 2, 0], [0, 2, 0])
    """
    gains, counts = [], []
    left = dict(judged)
    for units in ranking:
        found = [left.pop(unit) for unit in units & left.keys()]
        gains.append(max(found, default=0))
        counts.append(len(found))
    return gains, counts


def interval(values: FloatArray | NDArray[np.float64]) -> list[float]:
    """95% percentile bootstrap interval of the mean of `values` (n,), with RESAMPLES resamples.

    The seed is fixed, so all rows of a report resample the same queries.

    >>> interval(np.ones(8))
    [1.0, 1.0]
    """
    drawn = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    return [round(float(edge), 4) for edge in np.percentile(values[drawn].mean(1), [2.5, 97.5])]


def gain(row: Row, other: Row) -> Row:
    """Difference of mean nDCG@5 between `row` and `other` in points, with its paired 95% interval."""
    values = np.array([row["each"][key] - other["each"][key] for key in row["each"]])
    return {"points": round(100 * float(values.mean()), 2), "ci95": [100 * edge for edge in interval(values)]}


def rank(scores: FloatArray, ids: Sequence[str]) -> list[str]:
    """`ids` by descending score (n,); stable for ties.

    >>> rank(np.array([1, 2, 2], dtype=np.float32), ["a", "b", "c"])
    ['b', 'c', 'a']
    """
    return [ids[at] for at in np.argsort(-scores, kind="stable")]


def _discounted(gains: Sequence[float]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))
