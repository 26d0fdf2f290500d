"""Auto: compute only the cells that can still change a query's answer.

A cell is one query token against one page token. All pages are scored at a small prefix; pages whose score
lies more than a *gap* below the fifth are dropped; the rest is scored at the next prefix, and what is left at
the full budget: the cascade of index/cascade.py, with stages that are calibrated on the pages at hand.
Known-item queries are scored at every stage, and the gaps are the smallest that keep the first page, and the
first five, of the full budget for a chosen share of them. This is conformal prediction: for queries like
those of the calibration the share holds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from metaembed_demo.core.budgets import Budget, Budgets
from metaembed_demo.core.types import FloatArray

from .base import best
from .cascade import LEAST, Narrowed, Rows, Scores, Stage, in_full, kth, narrow, scanned

TOPS = (1, LEAST)  # the first page, and the first five as a set
SHARES = (0.98, 0.95)  # of queries that keep them
LEVELS = 60  # gap levels that are tried
FOLDS = 4  # of the calibration's queries: each is held out once, to say what is kept
LEAST_QUERIES, LEAST_PAGES = 30, 50  # below, the samples' calibration is used
MOST_STAGES, MOST_COUNT = 8, 10**9  # of a calibration that is read

Table = dict[Budget, FloatArray]  # budget -> MaxSim of all pages / r_q, -inf where it is not known


@dataclass(frozen=True)
class Calibration:
    """The stages, and what they keep of held-out queries.

    first, five: share of held-out queries with the same first page, and the same first five as a set.
    cells: mean share of all cells that were computed. queries: of the calibration. pages: of the corpus.
    """

    stages: tuple[Stage, ...]
    full: Budget
    first: float
    five: float
    cells: float
    queries: int
    pages: int

    def as_json(self) -> dict[str, Any]:
        stages = [[str(each.budget), round(each.gap, 6)] for each in self.stages]
        shares = {"first": self.first, "five": self.five, "cells": self.cells}
        return {
            "stages": stages,
            "full": str(self.full),
            **{name: round(share, 4) for name, share in shares.items()},
            "queries": self.queries,
            "pages": self.pages,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Calibration:
        """Raises ValueError, KeyError or TypeError when `value` is not what `as_json` gives."""
        rows, full = list(value["stages"]), Budget.parse(value["full"])
        if len(rows) > MOST_STAGES:
            raise ValueError(f"A calibration has at most {MOST_STAGES} stages, not {len(rows)}.")
        stages = tuple(Stage(Budget.parse(name), _bounded(gap, 2.0)) for name, gap in rows)
        for before, after in pairwise([*(each.budget for each in stages), full]):
            if before == after or before != before.clip(after.r_q, after.r_c):
                raise ValueError("The stages of a calibration grow up to its full budget.")
        first, five = (_bounded(value[name], 1.0) for name in ("first", "five"))
        cells = _bounded(value["cells"], float(MOST_STAGES))
        queries, pages = (value[name] for name in ("queries", "pages"))
        if not all(type(n) is int and 0 <= n <= MOST_COUNT for n in (queries, pages)):
            raise ValueError("A calibration counts its queries and pages.")
        return cls(stages, full, first, five, cells, queries, pages)


def _bounded(value: Any, most: float) -> float:
    """A number from 0 to `most`. Raises ValueError or TypeError for anything else."""
    found = float(value)
    if isinstance(value, bool | str) or not math.isfinite(found) or not 0 <= found <= most:
        raise ValueError(f"A number of a calibration lies between 0 and {most:g}, not at {value!r:.20}.")
    return found


def run(scores: Scores, pages: int, calibration: Calibration, k: int) -> Narrowed:
    """The pages that can be among the best `k`, with their MaxSim at the calibration's full budget."""
    return in_full(scores, narrow(scores, pages, calibration.stages, k), calibration.full)


def needed(scores: Scores, rows: Rows, best_row: int, full: Budget, budgets: Budgets) -> Budget:
    """The smallest stop of the dial from which on the first page is that of the full budget.

    Args:
        rows: the pages that are compared. best_row: the first of them at the full budget.
    """
    found = full
    for stop in reversed(_clipped(budgets, full)):
        if rows[best(scores(0, stop, rows), 1)[0]] != best_row:
            break
        found = stop
    return found


def paths_of(budgets: Budgets, quick: bool = False) -> list[tuple[Budget, ...]]:
    """The stages before the full budget that are tried; quick: those of the scanned prefix alone.

    Page tokens first, since query tokens of one text are close to one another; then query tokens, of which
    each stage computes those that are new. The stops of the dial are for encoders whose query tokens differ,
    the last two for indexes too large to score at more than the scanned prefix. The path of fewest cells is
    taken.

    >>> from metaembed_demo.core.budgets import OURS
    >>> for path in paths_of(OURS):
    ...     print(*path)
    1x4 1x16 1x64 4x64 8x64
    1x4 1x64 4x64 8x64
    1x4 1x16 1x64
    2x4 4x8 8x16
    1x4 1x16 8x16
    1x4 8x16
    """
    full, prefix, least = budgets.full, scanned(budgets), budgets[0].r_q
    inner = sorted({stop.r_c for stop in budgets})[1:-1]
    few, more = inner[:1], inner[-1:]
    wider = [Budget(r_q, full.r_c) for r_q in sorted({stop.r_q for stop in budgets})[:-1][-2:]]

    def pages(*ends: int) -> list[Budget]:
        return [Budget(least, r_c) for r_c in ends]

    scan = [end for end in few if end <= prefix.r_c]
    tried: list[Sequence[Budget]] = [
        [*pages(*few, *more, full.r_c), *wider],
        [*pages(*few, full.r_c), *wider],
        pages(*few, *more, full.r_c),
        budgets[1:-1],
        [*pages(*scan, prefix.r_c), prefix],
        [*pages(*scan), prefix],
    ]
    wanted = tried[-2:] if quick else tried
    return list(dict.fromkeys(_clipped(path, full) for path in wanted))


def table(scores: Scores, full: Budget, paths: Sequence[Sequence[Budget]]) -> Table:
    """What a calibration needs of a query: the scores of all pages at every budget of `paths`."""
    budgets = {*(budget for path in paths for budget in path), full}
    return {budget: scores(0, budget, None) / np.float32(budget.r_q) for budget in budgets}


def calibrate(
    tables: Sequence[Table],
    full: Budget,
    paths: Sequence[tuple[Budget, ...]],
    shares: tuple[float, float] = SHARES,
) -> Calibration:
    """The stages for these queries (each as its `table`), from the path of fewest cells.

    Args:
        full: the budget whose first pages are to be kept.
        shares: of queries that are to keep the first page, and the first five.

    Raises:
        ValueError: when there are too few queries or pages to say anything.
    """
    pages = len(tables[0][full]) if tables else 0
    if len(tables) < LEAST_QUERIES or pages < LEAST_PAGES:
        least = f"{LEAST_QUERIES} queries and {LEAST_PAGES} pages"
        raise ValueError(f"A calibration needs {least}, not {len(tables)} and {pages}.")
    chosen = min(paths, key=lambda path: _kept(_fitted(path, tables, full, shares), tables, full)[2])
    kept = []
    for fold in range(FOLDS):
        others = [table for at, table in enumerate(tables) if at % FOLDS != fold]
        kept.append(_kept(_fitted(chosen, others, full, shares), tables[fold::FOLDS], full))
    first, five, cells = np.mean(kept, axis=0).tolist()
    return Calibration(_fitted(chosen, tables, full, shares), full, first, five, cells, len(tables), pages)


def _fitted(
    path: Sequence[Budget], tables: Sequence[Table], full: Budget, shares: tuple[float, float]
) -> tuple[Stage, ...]:
    """The stages of the lowest common level of gaps at which the shares of `tables` are kept.

    One level for all stages makes the choices nested, which the conformal argument needs; n + 1 in place of n
    is its correction for few queries.
    """
    if not path:  # nothing but the full budget to score at
        return ()
    needed = np.array([[_needed(table[budget], table[full]) for budget in path] for table in tables])
    gaps = needed[:, :, -1].max(axis=0)
    for level in np.linspace(min(shares), 1, LEVELS):
        tried = np.quantile(needed[:, :, -1], level, axis=0, method="higher")
        kept = (needed <= tried[None, :, None]).all(axis=1).sum(axis=0)  # queries, for each of TOPS
        if (kept >= np.array(shares) * (len(tables) + 1)).all():
            gaps = tried
            break
    return tuple(Stage(budget, float(gap)) for budget, gap in zip(path, gaps, strict=True))


def _needed(means: FloatArray, full: FloatArray) -> list[float]:
    """For each of TOPS the gap that keeps the first pages of the full budget at a stage."""
    order, floor = np.argsort(-full, kind="stable"), kth(means, LEAST)
    return [max(0.0, floor - float(means[order[:top]].min())) for top in TOPS]


def _kept(stages: Sequence[Stage], tables: Sequence[Table], full: Budget) -> tuple[float, float, float]:
    """Shares of queries that keep the first and the first five, and the mean share of cells."""
    same, cells = np.zeros((len(tables), len(TOPS))), []
    whole = len(tables[0][full]) * full.r_q * full.r_c
    for at, of_query in enumerate(tables):
        found = narrow(_scores_of(of_query), len(of_query[full]), stages, LEAST)
        order, left = np.argsort(-of_query[full], kind="stable"), set(found.rows.tolist())
        same[at] = [left.issuperset(order[:top].tolist()) for top in TOPS]
        cells.append(in_full(_scores_of(of_query), found, full).cells / whole)
    return float(same[:, 0].mean()), float(same[:, 1].mean()), float(np.mean(cells))


def _scores_of(of_query: Table) -> Scores:
    def scores(first: int, budget: Budget, rows: Rows | None) -> FloatArray:
        whole = of_query[budget] * np.float32(budget.r_q)
        if first:  # only ever after the stage of those tokens
            whole = whole - of_query[Budget(first, budget.r_c)] * np.float32(first)
        return whole if rows is None else whole[rows]

    return scores


def _clipped(path: Sequence[Budget], full: Budget) -> tuple[Budget, ...]:
    """The path within an encoder's tokens, without stages that cost as much as the full budget."""
    found = dict.fromkeys(budget.clip(full.r_q, full.r_c) for budget in path)
    return tuple(budget for budget in found if budget != full)
