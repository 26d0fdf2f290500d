"""The cascade: how many pages to score again after the scan of short prefixes in int8."""

from __future__ import annotations

import math
from itertools import pairwise

from metaembed_demo.core.budgets import Budget

PREFIX = Budget(8, 16)  # what the scan looks at
RECALL = 0.99  # of the exact ten best, unless a user asks for another share

# Share of the exact ten best at (16,64) -> how many pages the scan of (8,16) needs to bring them, on 5,000 to
# 100,000 real pages (benchmarks/results/index.json, "needed"); between these, and beyond, straight in the
# logarithms.
NEEDED = ((0.9, 100), (0.95, 220), (0.98, 500), (0.99, 1_000), (0.995, 1_800))
MEASURED_ON = 20_000  # pages
GROWTH = 0.2  # power of the number of pages by which the need grows beyond that
# A scan of many pages goes twice: over the first tokens of all, and over the whole prefix of the best.
GLANCE = 4  # page tokens looked at first; the kernels have a variant for so few
GLANCE_KEEPS = 8  # times the candidates go on: of 20,000 real pages, 5 lose 0.0009 of the recall, 8 0.0002
GLANCE_LEAST = 0.1  # of the pages go on at least: the need of the first look grows with about their root
GLANCE_MOST = 0.3  # of the pages; where more would go on, one scan is as quick
GLANCE_FROM = 16 * 256  # components of a prefix: 16 x 384 took 360 ns a page and core and the first look 160;
# 16 x 128 took 88 and the first look 68, so that there one scan is quicker
GLANCE_KINDS = ("float16", "int8")  # of storage; what others lose was not measured
OWN = 5  # candidates a hit where the scan looks at the whole budget: int8 alone may change the order
FEWEST = 50


def candidates(pages: int, budget: Budget, k: int, recall: float = RECALL) -> int:
    """How many of `pages` to score at `budget` so that the best `k` hold a share `recall` of the exact ones.

    Raises:
        ValueError: when `recall` is not above 0 and at most 1.

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
    """How many of `pages` a first look at few tokens should leave for `wanted` candidates; 0: do without one.

    components: of a page's prefix.

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
    """Candidates for ten hits, between the measured points.

    >>> [round(_needed(share)) for share in (0.5, 0.9, 0.97, 0.99)]
    [16, 100, 348, 1000]
    """
    points = [(-math.log(1 - share), math.log(n)) for share, n in NEEDED]
    at = -math.log(1 - recall)
    low, high = next(((a, b) for a, b in pairwise(points) if at <= b[0]), (points[-2], points[-1]))
    return math.exp(low[1] + (at - low[0]) / (high[0] - low[0]) * (high[1] - low[1]))
