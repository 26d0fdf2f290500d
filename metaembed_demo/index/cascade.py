"""Sizes of the search cascade: candidates of the int8 prefix scan for exact rescoring."""

from __future__ import annotations

import math
from itertools import pairwise

from metaembed_demo.core.budgets import Budget

PREFIX = Budget(8, 16)  # budget of the scan
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
OWN = 5  # candidates per hit if the scan covers the whole budget: int8 may still change the order
FEWEST = 50


def candidates(pages: int, budget: Budget, k: int, recall: float = RECALL) -> int:
    """Number of candidates to rescore at `budget` for an expected `recall` of the exact top `k`.

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
    if budget.r_q <= PREFIX.r_q and budget.r_c <= PREFIX.r_c:
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
