"""The chance that a hit answers its query, from the mean cosine a query token (MaxSim divided by r_q).

Mean cosines compare across queries, but not across budgets. So each of the stops has a logistic curve of
its own (Platt scaling, Platt 1999), fitted to the first hits of two kinds of queries, which weigh alike:
*own* ones, which a page of the corpus answers, and *foreign* ones, which none does. Budgets between the stops
have curves between theirs.

The more pages there are, the more closely one of them meets a foreign query by chance: every doubling moves
the curves by `growth`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metaembed_demo.core.budgets import OURS, Budget, Budgets
from metaembed_demo.core.types import FloatArray

Floats = NDArray[np.float64]
Bins = tuple[tuple[float, float, int], ...]  # mean predicted chance, share found to answer, queries

LEAST = 30  # queries of either kind
DOUBLINGS = -4.0, 6.0  # of the calibration's pages, within which growth is counted on
ROUNDS, RIDGE = 50, 1e-3  # of Newton's method; keeps the curve of kinds that do not overlap from being a step


@dataclass(frozen=True, slots=True)
class Logistic:
    """1 / (1 + exp(-slope * (mean - middle))). The slope is positive."""

    slope: float
    middle: float


@dataclass(frozen=True)
class FitCalibration:
    """A curve for each stop of an encoder's `budgets`.

    growth: how far a doubling of the pages moves the middles. pages: of the corpus of the calibration.
    own, foreign: number of queries. reliability: of each stop, by chances of held-out queries; () if untried.
    """

    stops: tuple[Logistic, ...]
    growth: float
    pages: int
    own: int
    foreign: int
    reliability: tuple[Bins, ...] = ()
    budgets: Budgets = OURS

    def __post_init__(self) -> None:
        numbers = [self.growth, *(number for stop in self.stops for number in (stop.slope, stop.middle))]
        count = len(self.budgets)
        if len(self.stops) != count or not np.isfinite(numbers).all():
            raise ValueError(f"A calibration of the fit has {count} curves of finite numbers.")
        if min(stop.slope for stop in self.stops) <= 0:
            raise ValueError("The first hits of own queries do not score above those of foreign ones.")
        found = [share for bins in self.reliability for *shares, _ in bins for share in shares]
        if len(self.reliability) not in (0, count) or not all(0 <= share <= 1 for share in found):
            raise ValueError(f"The reliability of the fit has shares at {count} stops.")
        if self.pages < 1:
            raise ValueError(f"A calibration of the fit has at least one page, not {self.pages}.")

    @classmethod
    def fit(
        cls,
        own: FloatArray,
        foreign: FloatArray,
        right: NDArray[np.bool_] | None = None,
        pages: int = 1,
        budgets: Budgets = OURS,
    ) -> FitCalibration:
        """Fit the curves, without growth.

        Args:
            own, foreign: mean cosines of the first hits at the stops, (stops, queries).
            right: (stops, queries of own), whether the first hit is an answer; None: all are.
            pages: searched.

        Raises:
            ValueError: for fewer than LEAST queries of a kind, or where scores do not tell the kinds apart.

        >>> own, foreign = np.linspace(0.4, 0.6, 60), np.linspace(0.2, 0.4, 60)
        >>> found = FitCalibration.fit(np.tile(own, (5, 1)), np.tile(foreign, (5, 1)), pages=100)
        >>> [round(found.chance(mean, OURS[0]), 2) for mean in (0.3, 0.4, 0.5)]
        [0.01, 0.5, 0.99]
        """
        if min(own.shape[1], foreign.shape[1]) < LEAST:
            counts = f"{own.shape[1]} and {foreign.shape[1]}"
            raise ValueError(f"A calibration of the fit needs {LEAST} queries of either kind, not {counts}.")
        answered = np.ones(own.shape, bool) if right is None else right
        stops = tuple(_curve(*each) for each in zip(own, foreign, answered, strict=True))
        return cls(stops, 0.0, pages, own.shape[1], foreign.shape[1], budgets=budgets)

    def chance(self, mean: float, budget: Budget, pages: int | None = None) -> float:
        """The chance that a first hit with this mean cosine answers; see `chances`."""
        return float(self.chances(mean, budget, pages))

    def chances(self, means: ArrayLike, budget: Budget, pages: int | None = None) -> Floats:
        """The same of many, if every second query has an answer.

        pages: searched; None: as many as in the calibration.
        """
        at, places = self.budgets.position(budget), np.arange(len(self.budgets))
        slope = np.interp(at, places, [stop.slope for stop in self.stops])
        middle = np.interp(at, places, [stop.middle for stop in self.stops])
        if pages:
            middle += self.growth * np.clip(np.log2(pages / self.pages), *DOUBLINGS)
        return _sigmoid(slope * (np.asarray(means, np.float64) - middle))

    def as_json(self) -> dict[str, Any]:
        return {
            "stops": [[round(stop.slope, 4), round(stop.middle, 5)] for stop in self.stops],
            "growth": round(self.growth, 5),
            "pages": self.pages,
            "own": self.own,
            "foreign": self.foreign,
            **({} if self.budgets == OURS else {"budgets": str(self.budgets)}),
            **(
                {"reliability": [list(map(list, bins)) for bins in self.reliability]}
                if self.reliability
                else {}
            ),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> FitCalibration:
        """Raises ValueError, TypeError or KeyError when `value` is not what `as_json` gives."""
        stops = tuple(Logistic(float(slope), float(middle)) for slope, middle in value["stops"])
        pages, own, foreign = (int(value[name]) for name in ("pages", "own", "foreign"))
        reliability = tuple(
            tuple((float(predicted), float(found), int(count)) for predicted, found, count in bins)
            for bins in value.get("reliability", ())
        )
        budgets = Budgets.parse(value["budgets"]) if "budgets" in value else OURS
        return cls(stops, float(value["growth"]), pages, own, foreign, reliability, budgets)


def _curve(own: FloatArray, foreign: FloatArray, right: NDArray[np.bool_]) -> Logistic:
    """Regularised logistic regression by Newton's method; both kinds of queries weigh one half."""
    means = np.concatenate([own, foreign]).astype(np.float64)
    answers = np.concatenate([right, np.zeros(len(foreign), bool)])
    weights = np.concatenate([np.full(n, 0.5 / n) for n in (len(own), len(foreign))])
    yes, no = answers.sum(), (~answers).sum()
    wanted = np.where(answers, (yes + 1) / (yes + 2), 1 / (no + 2))  # Platt's targets
    centre, scale = means.mean(), max(float(means.std()), 1e-9)
    terms = np.stack([(means - centre) / scale, np.ones(len(means))], axis=1)
    theta = np.zeros(2)
    for _ in range(ROUNDS):
        found = _sigmoid(terms @ theta)
        slopes = terms.T @ (weights * (found - wanted)) + RIDGE * np.array([theta[0], 0])
        bends = (terms * (weights * found * (1 - found))[:, None]).T @ terms + np.diag([RIDGE, 1e-9])
        step = np.linalg.solve(bends, slopes)
        theta -= np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-9:
            break
    slope = theta[0] / scale
    return Logistic(float(slope), float(centre - theta[1] / slope) if slope else float(centre))


def _sigmoid(values: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(values, -60, 60)))
