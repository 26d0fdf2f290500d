"""The search cascade: stages at growing budgets, each of which leaves fewer pages to the next.

A stage keeps either the best so many pages or those within a gap. An index too large to be scored whole has
stages of the first kind, whose sizes are measured on real pages (`stages`). A calibration (index/auto.py)
gives stages of the second kind, fitted to the pages at hand. Both run through `narrow`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.core.budgets import Budget, Budgets
from metaembed_demo.core.types import FloatArray

PREFIX = Budget(8, 16)  # budget of the scan, or its limit: see `scanned`
RECALL = 0.99  # default recall of the exact top ten

# Recall of the exact top ten at (16,64) -> candidates needed from the scan at (8,16), on 5,000 to 100,000
# real pages (benchmarks/results/index.json, "needed"); interpolated log-linearly.
NEEDED = ((0.9, 100), (0.95, 220), (0.98, 500), (0.99, 1_000), (0.995, 1_800))
MEASURED_ON = 20_000  # pages
GROWTH = 0.2  # exponent of the number of pages beyond that
# Large scans have two passes: the first tokens of all pages, then the whole prefix of the best pages.
GLANCE = 4  # page tokens of the first pass; the kernels have a variant for it
GLANCE_KEEPS = 8  # pages kept per candidate: on 20,000 real pages, 5 lose 0.0009 of the recall, 8 0.0002
GLANCE_LEAST = 0.1  # minimum share of pages kept
GLANCE_MOST = 0.3  # maximum share of pages kept; above, a single pass is as fast
GLANCE_FROM = 16 * 256  # minimum prefix components: 16 x 384 took 360 ns a page and core, the first pass 160;
# 16 x 128 took 88 and the first pass 68, so a single pass is faster there
GLANCE_KINDS = ("float16", "int8")  # storage kinds with measured loss
LEAST = 5  # pages that a stage with a gap leaves: gaps are measured from the fifth
SEEN = 1_000  # pages up to which `Narrowed.seen` are noted
MANY = 20  # scores per wanted row from which `top_rows` samples first
SAMPLE, SPARE = 10_000, 20  # sample size in scores, and safety margin in the sample
OWN = 5  # candidates per hit if the scan covers the whole budget: int8 may still change the order
FEWEST = 50

Rows = NDArray[np.int64]
# (first, budget, rows) -> MaxSim of query tokens `first` to r_q over r_c page tokens, of the pages at the
# ascending positions `rows`; None: of all pages.
Scores = Callable[[int, Budget, Rows | None], FloatArray]


def scanned(budgets: Budgets) -> Budget:
    """The budget of the scan: the largest stop within PREFIX; of larger stops alone, as much of the first.

    What recall it takes was measured on ours, at (8, 16).

    >>> [str(scanned(Budgets.parse(text))) for text in ("1x1 8x16 8x32", "4x8 32x128", "16x64", "4x6")]
    ['8x16', '4x8', '8x16', '4x6']
    """
    within = [stop for stop in budgets if stop == stop.clip(PREFIX.r_q, PREFIX.r_c)]
    return within[-1] if within else budgets[0].clip(PREFIX.r_q, PREFIX.r_c)


@dataclass(frozen=True)
class Stage:
    """A prefix and which pages go on: the best `most`, or without it those within `gap` of the fifth.

    gap: mean cosine (MaxSim divided by r_q), which compares across budgets.
    """

    budget: Budget
    gap: float = 0.0
    most: int = 0


@dataclass(frozen=True)
class Narrowed:
    """What stages left.

    rows: positions of pages, ascending. sums: their MaxSim at `at`, the last stage's budget; None without.
    cells: number of cosines computed. kept: pages left after each stage.
    seen: rows after the first stage that left at most SEEN; `rows` where none did.
    """

    rows: Rows
    sums: FloatArray | None
    at: Budget | None
    cells: int
    kept: tuple[int, ...]
    seen: Rows


def narrow(scores: Scores, pages: int, stages: Sequence[Stage], k: int) -> Narrowed:
    """Run the stages. At least `k` pages are left, and LEAST of them.

    A stage with the page tokens of the one before computes the further query tokens alone.

    Seven pages; the last is far behind and is not scored again:

    >>> means = np.array([0.9, 0.8, 0.8, 0.8, 0.8, 0.7, 0.1], np.float32)
    >>> def scores(first, budget, rows):
    ...     return means if rows is None else means[rows]
    >>> narrow(scores, 7, [Stage(Budget(1, 4), gap=0.2)], k=1).rows.tolist()
    [0, 1, 2, 3, 4, 5]
    """
    rows: Rows | None = None
    seen: Rows | None = None
    sums: FloatArray | None = None
    at, cells, kept = None, 0, list[int]()
    for stage in stages:
        if (pages if rows is None else len(rows)) <= max(k, LEAST):
            break
        sums, more = _scored(scores, rows, sums, at, stage.budget)
        at, cells = stage.budget, cells + more
        going = _going_on(stage, sums / np.float32(at.r_q), k)
        rows, sums = going if rows is None else rows[going], sums[going]
        kept.append(len(rows))
        seen = rows if seen is None and len(rows) <= SEEN else seen
    rows = np.arange(pages) if rows is None else rows
    return Narrowed(rows, sums, at, cells, tuple(kept), rows if seen is None else seen)


def in_full(scores: Scores, narrowed: Narrowed, full: Budget) -> Narrowed:
    """The same rows with their MaxSim at `full`."""
    sums, more = _scored(scores, narrowed.rows, narrowed.sums, narrowed.at, full)
    return replace(narrowed, sums=sums, at=full, cells=narrowed.cells + more)


def _scored(
    scores: Scores, rows: Rows | None, sums: FloatArray | None, at: Budget | None, budget: Budget
) -> tuple[FloatArray, int]:
    """The sums at `budget` after those of the budget `at`, and the number of cosines it took."""
    first = at.r_q if at is not None and at.r_c == budget.r_c else 0
    more = scores(first, budget, rows)
    cells = len(more) * (budget.r_q - first) * budget.r_c
    return more if not first or sums is None else sums + more, cells


def _going_on(stage: Stage, means: FloatArray, k: int) -> Rows:
    """Indices of the pages that go on, ascending."""
    if stage.most:
        return top_rows(means, stage.most)
    return np.flatnonzero(means >= min(kth(means, LEAST) - stage.gap, kth(means, k)))


def kth(means: FloatArray, k: int) -> float:
    """The k-th largest, or the smallest if there are fewer."""
    k = min(k, len(means))
    return float(np.partition(means, -k)[-k])


def top_rows(scores: FloatArray, n: int) -> Rows:
    """Indices of the largest `n` of `scores`, ascending; all if there are no more.

    Many scores are first filtered by a threshold from a sample: partitioning a million takes 10 ms.
    """
    if n >= len(scores):
        return np.arange(len(scores))
    some = np.flatnonzero(scores >= _floor(scores, n)) if len(scores) > MANY * n else None
    if some is None or len(some) <= n:
        return np.sort(np.argpartition(-scores, n)[:n])
    return np.sort(some[np.argpartition(-scores[some], n)[:n]])


def _floor(scores: FloatArray, n: int) -> np.float32:
    """A threshold that, estimated from a sample, somewhat more than 2 `n` of `scores` reach."""
    sample = scores[:: max(1, len(scores) // SAMPLE)]
    at = min(len(sample), round(2 * n * len(sample) / len(scores)) + SPARE)
    floor: np.float32 = np.partition(sample, -at)[-at]
    return floor


def stages(pages: int, prefix: Budget, dim: int, wanted: int, kind: str) -> list[Stage]:
    """The stages without a calibration: one scan of the prefix, or two, that leave `wanted` pages.

    prefix: at most PREFIX. dim: components of a vector. kind: how vectors are stored.

    >>> [(str(stage.budget), stage.most) for stage in stages(100_000, PREFIX, 384, 1_380, "float16")]
    [('8x4', 11040), ('8x16', 1380)]
    """
    looks = prefix.r_c == PREFIX.r_c and kind in GLANCE_KINDS
    few = glance(pages, prefix.r_c * dim, wanted) if looks else 0
    first = [Stage(Budget(prefix.r_q, GLANCE), most=few)] if few else []
    return [*first, Stage(prefix, most=wanted)]


def candidates(pages: int, budget: Budget, k: int, recall: float = RECALL, prefix: Budget = PREFIX) -> int:
    """Number of candidates to rescore at `budget` for an expected `recall` of the exact top `k`.

    prefix: what the scan reads.

    Raises:
        ValueError: when `recall` is not in (0, 1].

    >>> candidates(100_000, Budget(8, 16), 10), candidates(20_000, Budget(16, 64), 10)
    (50, 1000)
    >>> candidates(20_000, Budget(16, 64), 10, recall=1)
    20000
    """
    if not 0 < recall <= 1:
        raise ValueError(f"A recall target lies above 0 and is at most 1, not {recall}.")
    if recall == 1:
        return pages
    if budget == budget.clip(prefix.r_q, prefix.r_c):
        return min(pages, max(FEWEST, OWN * k))
    grown = max(1.0, pages / MEASURED_ON) ** GROWTH
    return min(pages, max(FEWEST, OWN * k, round(_needed(recall) * grown * k / 10)))


def glance(pages: int, components: int, wanted: int) -> int:
    """Number of pages that the first pass keeps for `wanted` candidates; 0: use a single pass.

    components: number of components of a page's prefix.

    >>> glance(1_000_000, 16 * 384, 2_187), glance(20_000, 16 * 384, 1_000), glance(20_000, 16 * 384, 50)
    (100000, 0, 2000)
    >>> glance(1_000_000, 16 * 128, 2_187)
    0
    """
    if components < GLANCE_FROM:
        return 0
    few = max(GLANCE_KEEPS * wanted, round(GLANCE_LEAST * pages))
    return few if few <= GLANCE_MOST * pages else 0


def _needed(recall: float) -> float:
    """Candidates for ten hits, interpolated between the measured points.

    >>> [round(_needed(share)) for share in (0.5, 0.9, 0.97, 0.99)]
    [16, 100, 348, 1000]
    """
    points = [(-math.log(1 - share), math.log(n)) for share, n in NEEDED]
    at = -math.log(1 - recall)
    low, high = next(((a, b) for a, b in pairwise(points) if at <= b[0]), (points[-2], points[-1]))
    return math.exp(low[1] + (at - low[0]) / (high[0] - low[0]) * (high[1] - low[1]))
