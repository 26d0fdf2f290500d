"""Col-Bandit (arXiv 2602.02827, algorithm 1): reveal MaxSim entries until the first pages are separated.

Each page is an arm whose score is the sum of T entries h(page, query token), the best match among the page's
tokens. An entry costs r_c cells. Bounds of a page's score are what its revealed entries and the range of the
others allow, narrowed by the decision radius around the estimate T * mean:

    r = alpha * T * s * sqrt(2 * rho * log(5 / delta) / n)

with s the standard deviation of the n revealed entries and rho the correction for drawing without
replacement, both of the empirical Bernstein-Serfling inequality (Bardenet and Maillard 2015, theorem 4.3);
its term in 1 / n, which the paper leaves out, is left out. While the weakest of the first k may lie below the
strongest of the others, the wider of the two reveals one more entry: the one with the widest range, or with
probability EPSILON any. Here all ranges are [-1, 1], as in the paper's setting without a nearest-neighbour
stage; a permutation shared by all pages says which of equal ones comes next, since nested query tokens are in
an order of their own. Before two entries are known only their ranges bound a page.

The first k are then revealed in full, for their order, which the paper does not do. Entries are counted, no
time is measured: they are looked up in a matrix that was computed whole.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.core.budgets import STOPS
from metaembed_demo.evaluation.evaluate import quality
from metaembed_demo.evaluation.metrics import Row
from metaembed_demo.index.auto import Calibration
from metaembed_demo.index.base import stage_scorer
from metaembed_demo.index.cascade import narrow
from metaembed_demo.index.maxsim import cosines

if TYPE_CHECKING:
    from benchmarks.quality.ways import Asked

SETS = ("long", "business")
ALPHAS = (0.3, 1.0, 3.0, 10.0)  # the paper goes to 1
FIVE = 5
R_C = STOPS[-1].r_c  # cells of an entry
EPSILON, DELTA = 0.1, 0.01  # of the paper's experiments
LOW, HIGH = -1.0, 1.0  # of an entry that is not revealed, a cosine

Entries = NDArray[np.float64]  # (n, T): of a page and a query token


@dataclass(frozen=True)
class Separated:
    """Rows of the first k, best first, and the share of the entries that were revealed."""

    rows: list[int]
    revealed: float


class Table:
    """What is known of the entries (n, T)."""

    def __init__(self, entries: Entries, alpha: float, seed: int) -> None:
        n, self.tokens = entries.shape
        self.values, self.alpha = entries.tolist(), alpha
        self.chance = random.Random(seed)
        turns = self.chance.sample(range(self.tokens), self.tokens)
        self.left = [list(turns) for _ in range(n)]  # tokens that are not revealed, in their turns
        self.total, self.squares = [0.0] * n, [0.0] * n
        self.estimate = np.full(n, self.tokens * (LOW + HIGH) / 2)
        self.low, self.high = np.full(n, self.tokens * LOW), np.full(n, self.tokens * HIGH)

    def reveal(self, row: int, token: int | None = None) -> None:
        """One more entry of a page: `token`, or the one that the policy picks."""
        left = self.left[row]
        if token is not None:
            left.remove(token)
        else:
            explore = self.chance.random() < EPSILON
            token = left.pop(self.chance.randrange(len(left)) if explore else 0)
        value = self.values[row][token]
        self.total[row] += value
        self.squares[row] += value * value
        self._bound(row)

    def _bound(self, row: int) -> None:
        unknown, total = len(self.left[row]), self.total[row]
        n = self.tokens - unknown
        estimate = self.tokens * total / n
        low, high = total + unknown * LOW, total + unknown * HIGH
        if n >= 2:
            spread = math.sqrt(max(0.0, self.squares[row] / n - (total / n) ** 2))
            radius = self.alpha * self.tokens * spread * _shrunk(n, self.tokens)
            low, high = max(low, estimate - radius), min(high, estimate + radius)
        self.estimate[row], self.low[row], self.high[row] = estimate, low, high


def first_pages(entries: Entries, k: int, alpha: float, known: int = 0, seed: int = 0) -> Separated:
    """The first `k` pages by the sum of their `entries`, revealing as few as the bounds allow.

    Args:
        alpha: relaxation; 1: the radius as it stands, smaller ones reveal less and err more.
        known: so many query tokens are revealed for every page before, and not counted.

    Two pages are far below the first, and half of the entries tell so:

    >>> entries = np.array([[0.9] * 8, [0.2] * 8, [0.1] * 8])
    >>> found = first_pages(entries, 1, alpha=0.3)
    >>> found.rows, found.revealed < 0.7
    ([0], True)
    """
    n = len(entries)
    k = min(k, n)
    table = Table(entries, alpha, seed)
    for row in range(n):
        for token in range(known):
            table.reveal(row, token)
    while k < n:
        first = np.argpartition(-table.estimate, k - 1)[:k]
        others = table.high.copy()
        others[first] = -np.inf
        weakest, strongest = int(first[table.low[first].argmin()]), int(others.argmax())
        if table.low[weakest] >= table.high[strongest]:
            break
        open_ones = [row for row in (weakest, strongest) if table.left[row]]
        if not open_ones:  # both are known in full, and equal
            break
        table.reveal(max(open_ones, key=lambda row: table.high[row] - table.low[row]))
    first = np.argsort(-table.estimate, kind="stable")[:k]
    for row in first.tolist():
        for token in tuple(table.left[row]):
            table.reveal(row, token)
    rows = sorted(first.tolist(), key=lambda row: (-table.estimate[row], row))
    unknown = sum(map(len, table.left))
    return Separated(rows, 1 - (unknown + n * known) / entries.size)


@cache
def _shrunk(n: int, tokens: int) -> float:
    rho = 1 - (n - 1) / tokens if n <= tokens / 2 else (1 - n / tokens) * (1 + 1 / n)
    return math.sqrt(2 * rho * math.log(5 / DELTA) / n)


# Rows


@dataclass(frozen=True)
class Seen:
    """A query's entries of all pages, the rows that Auto's stages left, and the cells it took them."""

    key: str
    entries: Entries
    left: NDArray[np.int64]
    cells: int


def rows_of(asked: Asked, calibration: Calibration) -> list[Row]:
    """Over all pages, and over those that Auto's stages leave, whose last stage may have revealed entries."""
    index, pages = asked.collection.index, len(asked.collection)
    vectors = index.vectors(index.ids).astype(np.float32)
    seen = []
    for key, query in asked.vectors.items():
        left = narrow(stage_scorer(index, query), pages, calibration.stages, FIVE)
        entries = cosines(query, vectors).max(2).astype(np.float64)
        seen.append(Seen(key, entries, left.rows, left.cells))
    last = calibration.stages[-1].budget
    known = last.r_q if last.r_c == calibration.full.r_c else 0
    ways = [(alpha, after) for after in (None, known) for alpha in ALPHAS]
    return [_row(asked, index.ids, seen, alpha, after) for alpha, after in ways]


def _row(asked: Asked, ids: Sequence[str], seen: Sequence[Seen], alpha: float, known: int | None) -> Row:
    """known: entries that Auto's stages revealed of each page they leave; None: over all pages."""
    rankings, cells, same = {}, [], np.zeros(2)
    for query in seen:
        best = np.argsort(-query.entries.sum(1), kind="stable")[:FIVE].tolist()
        if known is None:
            found = first_pages(query.entries, FIVE, alpha)
            rows, share = found.rows, found.revealed
        else:
            found = first_pages(query.entries[query.left], FIVE, alpha, known)
            rows = query.left[found.rows].tolist()
            share = query.cells / (query.entries.size * R_C) + found.revealed * len(query.left) / len(ids)
        same += rows[:1] == best[:1], set(rows) == set(best)
        rankings[query.key] = [ids[row] for row in rows]
        cells.append(share)
    first, five = (same / len(cells)).round(4).tolist()
    of_all = quality(rankings, asked.judgements)
    return {
        "name": "Col-Bandit" if known is None else "Auto, then Col-Bandit",
        "alpha": alpha,
        "cells": round(float(np.mean(cells)), 5),
        "ndcg@5": of_all["ndcg@5"],
        "ci95": {"ndcg@5": of_all["ci95"]["ndcg@5"]},
        "same_first": first,
        "same_five": five,
    }
