"""Auto: compute only the cells that can still change a query's answer.

A cell is one query token against one page token. All pages are scored at a small prefix; pages whose score
lies more than a *gap* below the fifth are dropped; the rest is scored at the next prefix, and what is left at
the full budget. The gaps are calibrated on the pages at hand: known-item queries
are scored at every stage, and the gaps are the smallest that keep the first page, and the first five, of the
full budget for a chosen share of them. This is conformal prediction: for queries like those of the
calibration the share holds. Gaps are mean cosines (MaxSim divided by r_q), which compare across budgets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.core.budgets import STOPS, Budget
from metaembed_demo.core.types import FloatArray

# Stages before the full budget. Page tokens first, since query tokens of one text are close to one another;
# then the stops of the dial, for encoders whose query tokens differ. The path of fewest cells is taken.
PATHS = (
    (Budget(1, 4), Budget(1, 16), Budget(1, 64)),
    (Budget(1, 4), Budget(1, 16), Budget(1, 64), Budget(4, 64)),
    (Budget(1, 8), Budget(1, 64)),
    STOPS[1:-1],
)
TOPS = (1, 5)  # the first page, and the first five as a set
SHARES = (0.98, 0.95)  # of queries that keep them
LEVELS = 60  # gap levels that are tried
FOLDS = 4  # of the calibration's queries: each is held out once, to say what is kept
LEAST_QUERIES, LEAST_PAGES = 30, 50  # below, the samples' calibration is used

Scores = Callable[[Budget, "Rows | None"], FloatArray]  # MaxSim at a budget of some rows, None: of all
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Stage:
    """A prefix, and how far (mean cosine) below the fifth page another may lie to go on."""

    budget: Budget
    gap: float


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
    def from_json(cls, value: dict[str, Any]) -> Calibration:
        """Raises ValueError or KeyError when `value` is not what `as_json` gives."""
        stages = tuple(Stage(Budget.parse(name), float(gap)) for name, gap in value["stages"])
        first, five, cells = (float(value[name]) for name in ("first", "five", "cells"))
        counts = int(value["queries"]), int(value["pages"])
        return cls(stages, Budget.parse(value["full"]), first, five, cells, *counts)


@dataclass(frozen=True)
class Narrowed:
    """Rows that are left for the full budget, ascending, and the share of all cells computed with those."""

    rows: Rows
    cells: float
    kept: tuple[int, ...]  # pages after each stage


def narrow(scores: Scores, pages: int, calibration: Calibration, k: int) -> Narrowed:
    """Drop the pages that cannot be among the best at the full budget.

    Args:
        scores: MaxSim of a query, at a budget, of the given ascending rows.
        k: at least so many pages are left.

    Seven pages; the last is far behind at the first stage and is never scored again:

    >>> means = np.array([0.9, 0.8, 0.8, 0.8, 0.8, 0.7, 0.1], np.float32)
    >>> def scores(budget, rows):
    ...     return means if rows is None else means[rows]
    >>> found = Calibration((Stage(Budget(1, 4), 0.2),), Budget(16, 64), 1, 1, 0, 0, 7)
    >>> narrow(scores, 7, found, k=1).rows.tolist()
    [0, 1, 2, 3, 4, 5]
    """
    rows, cells, kept = np.arange(pages), 0.0, []
    for at, stage in enumerate(calibration.stages):
        if len(rows) <= max(k, max(TOPS)):
            break
        means = scores(stage.budget, rows if at else None) / np.float32(stage.budget.r_q)
        cells += len(rows) * _cells(stage.budget)
        rows = rows[means >= min(_kth(means, max(TOPS)) - stage.gap, _kth(means, k))]
        kept.append(len(rows))
    whole = pages * _cells(calibration.full)
    return Narrowed(rows, (cells + len(rows) * _cells(calibration.full)) / max(whole, 1), tuple(kept))


def calibrate(
    queries: Iterable[Scores], pages: int, full: Budget, shares: tuple[float, float] = SHARES
) -> Calibration:
    """The stages for these queries (each as its scores), from the path of fewest cells.

    Args:
        full: the budget whose first pages are to be kept.
        shares: of queries that are to keep the first page, and the first five.

    Raises:
        ValueError: when there are too few queries or pages to say anything.
    """
    paths = list(dict.fromkeys(_clipped(path, full) for path in PATHS))
    tables = [_table(scores, {*(b for path in paths for b in path), full}) for scores in queries]
    if len(tables) < LEAST_QUERIES or pages < LEAST_PAGES:
        needed = f"{LEAST_QUERIES} queries and {LEAST_PAGES} pages"
        raise ValueError(f"A calibration needs {needed}, not {len(tables)} and {pages}.")
    best = min(paths, key=lambda path: _kept(_fitted(path, tables, full, shares), tables, full)[2])
    kept = []
    for fold in range(FOLDS):
        others = [table for at, table in enumerate(tables) if at % FOLDS != fold]
        kept.append(_kept(_fitted(best, others, full, shares), tables[fold::FOLDS], full))
    first, five, cells = np.mean(kept, axis=0).tolist()
    return Calibration(_fitted(best, tables, full, shares), full, first, five, cells, len(tables), pages)


Table = dict[Budget, FloatArray]  # budget -> MaxSim of all pages / r_q


def _table(scores: Scores, budgets: set[Budget]) -> Table:
    return {budget: scores(budget, None) / np.float32(budget.r_q) for budget in budgets}


def _fitted(
    path: Sequence[Budget], tables: Sequence[Table], full: Budget, shares: tuple[float, float]
) -> tuple[Stage, ...]:
    """The stages of the lowest common level of gaps at which the shares of `tables` are kept.

    One level for all stages makes the choices nested, which the conformal argument needs; n + 1 in place of n
    is its correction for few queries.
    """
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
    order, floor = np.argsort(-full, kind="stable"), _kth(means, max(TOPS))
    return [max(0.0, floor - float(means[order[:top]].min())) for top in TOPS]


def _kept(stages: Sequence[Stage], tables: Sequence[Table], full: Budget) -> tuple[float, float, float]:
    """Shares of queries that keep the first and the first five, and the mean share of cells."""
    same, cells = np.zeros((len(tables), len(TOPS))), []
    calibration = Calibration(tuple(stages), full, 0, 0, 0, 0, 0)
    for at, table in enumerate(tables):
        found = narrow(_scores_of(table), len(table[full]), calibration, max(TOPS))
        order, left = np.argsort(-table[full], kind="stable"), set(found.rows.tolist())
        same[at] = [left.issuperset(order[:top].tolist()) for top in TOPS]
        cells.append(found.cells)
    return float(same[:, 0].mean()), float(same[:, 1].mean()), float(np.mean(cells))


def _scores_of(table: Table) -> Scores:
    def scores(budget: Budget, rows: Rows | None) -> FloatArray:
        whole = table[budget] * np.float32(budget.r_q)
        return whole if rows is None else whole[rows]

    return scores


def _kth(means: FloatArray, k: int) -> float:
    """The k-th largest, or the smallest if there are fewer."""
    k = min(k, len(means))
    return float(np.partition(means, -k)[-k])


def _clipped(path: Sequence[Budget], full: Budget) -> tuple[Budget, ...]:
    """The path within an encoder's tokens, without stages that cost as much as the full budget."""
    found = dict.fromkeys(budget.clip(full.r_q, full.r_c) for budget in path)
    return tuple(budget for budget in found if budget != full)


def _cells(budget: Budget) -> int:
    return budget.r_q * budget.r_c
