"""The cheapest stop that keeps a share of the quality, held back where the queries are too few to tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from metaembed_demo.core.text import plural

from .budget_study import ADJECTIVES, StopWorth, Worth
from .metrics import RESAMPLES, K, interval

LEAST_QUERIES = 10  # fewer are too few for a bootstrap interval
MOST_TOLD = 1_000  # queries that are said to be needed


@dataclass(frozen=True)
class Doubt:
    """Two neighbouring stops whose paired interval contains the margin: the queries do not tell them apart.

    points: 95% interval of the coarser one's quality less the finer one's, in points of 0.01.
    """

    coarse: StopWorth
    fine: StopWorth
    points: tuple[float, float]


@dataclass(frozen=True)
class Advice:
    """The cheapest sufficient budget.

    share: its quality relative to the finest budget; interval: 95% interval, paired by query.
    memory, speed: factors by which the finest budget's bytes and median latency are larger.
    safe: the lower end of the interval suffices too, with at least 10 queries and more than 5 pages. Without
        it nothing is recommended.
    sentence: the finding; names the queries, the pages and the interval.
    sure: the cheapest stop of which the claim is safe, where `stop` is not; the finest one always is.
    doubts: neighbours that the queries cannot tell apart. more: queries that may do; 0: unknown.
    """

    stop: StopWorth
    share: float
    interval: tuple[float, float]
    memory: float
    speed: float
    safe: bool
    sentence: str
    sure: StopWorth
    doubts: tuple[Doubt, ...] = ()
    more: int = 0


def cheapest(worth: Worth, share: float = 0.95) -> Advice:
    """The coarsest budget with at least `share` of the finest budget's quality.

    Where none but the finest has, the coarsest of which the interval leaves it open, as a doubt.

    Raises:
        ValueError: when `share` is not in (0, 1], or the finest budget's quality is 0.
    """
    if not 0 < share <= 1:
        raise ValueError(f"The share of the quality to keep must be above 0 and at most 1, not {share}.")
    finest = worth.stops[-1]
    if finest.quality <= 0:
        raise ValueError(f"{finest.budget} finds none of the answers; there is nothing to keep a share of.")
    enough = share - 1e-9  # tolerance for rounding
    stop = next(stop for stop in worth.stops if stop.quality / finest.quality >= enough)
    if stop is finest:  # of a coarser one it may be open
        stop = next((each for each in worth.stops[:-1] if _paired(each.each, finest.each)[1] >= enough), stop)
    reached, memory = stop.quality / finest.quality, finest.bytes_per_page / stop.bytes_per_page
    low, high = _paired(stop.each, finest.each)
    safe = _is_safe(worth, stop, enough)
    sure = next(each for each in worth.stops if _is_safe(worth, each, enough))
    what = f"first {K} pages" if worth.kind == "session" else f"nDCG@{K}"
    kind = ADJECTIVES[worth.kind]
    asked = plural(worth.queries, f"{kind} query")
    over = f"on {asked} over {plural(worth.pages, 'page')}"
    # Round the lower end down, never up to the required share.
    span = f"95% interval {math.floor(100 * low + 1e-6)}% to {100 * high:.0f}%"
    if stop is finest:
        sentence = f"No smaller budget keeps {100 * share:g}% of {finest.budget}'s {what} {over}."
    elif safe:
        sentence = (
            f"{stop.budget} keeps {100 * reached:.0f}% of {finest.budget}'s {what} {over} ({span}), with "
            f"1/{memory:g} of the memory."
        )
    else:
        sentence = (
            f"{asked[:1].upper()}{asked[1:]} over {plural(worth.pages, 'page')} cannot tell whether "
            f"{stop.budget} keeps {100 * share:g}% of {finest.budget}'s {what}: "
            f"{100 * reached:.0f}% ({span})."
        )
    speed = finest.p50_ms / max(stop.p50_ms, 1e-6)
    doubts = () if safe else _doubts(worth, share)
    more = 0 if safe else _needed(worth.queries, abs(reached - share), max(reached - low, high - reached))
    return Advice(stop, reached, (low, high), memory, speed, safe, sentence, sure, doubts, more)


def advised(worth: Worth, share: float) -> Advice | str:
    """`cheapest`, or why it cannot be told."""
    try:
        return cheapest(worth, share)
    except ValueError as error:
        return str(error)


def _is_safe(worth: Worth, stop: StopWorth, enough: float) -> bool:
    finest = worth.stops[-1]
    if stop is finest:
        return True
    if worth.queries < LEAST_QUERIES or worth.pages <= K:
        return False
    return _paired(stop.each, finest.each)[0] >= enough


def _doubts(worth: Worth, share: float) -> tuple[Doubt, ...]:
    """Neighbours of which it is open whether the coarser one loses the margin."""
    margin = 100 * (1 - share) * worth.stops[-1].quality
    found = []
    for coarse, fine in pairwise(worth.stops):
        low, high = (100 * edge for edge in interval(np.array(coarse.each) - np.array(fine.each)))
        if low <= -margin <= high:
            found.append(Doubt(coarse, fine, (low, high)))
    return tuple(found)


def _needed(queries: int, room: float, reach: float) -> int:
    """Queries with which an interval that now reaches so far from its middle would fit into `room`.

    Its width shrinks with the root of their number. 0: more than MOST_TOLD, or unknown.

    >>> _needed(12, 0.02, 0.04), _needed(12, 0.001, 0.3), _needed(12, 0.0, 0.1)
    (48, 0, 0)
    """
    if room <= 0:
        return 0
    found = max(LEAST_QUERIES, math.ceil(queries * (reach / room) ** 2))
    return found if found <= MOST_TOLD else 0


def _paired(each: Sequence[float], finest: Sequence[float]) -> tuple[float, float]:
    """95% bootstrap interval of the ratio of means, over the same resampled queries."""
    drawn = np.random.default_rng(0).integers(len(finest), size=(RESAMPLES, len(finest)))
    means, whole = np.array(each)[drawn].mean(axis=1), np.array(finest)[drawn].mean(axis=1)
    low, high = np.percentile(means[whole > 0] / whole[whole > 0], [2.5, 97.5]).tolist()
    return low, high
