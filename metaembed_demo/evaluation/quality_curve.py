"""Quality at the five budgets, for the budget control."""

from __future__ import annotations

from dataclasses import dataclass

from metaembed_demo.core.budgets import STOPS, Budget, position


@dataclass(frozen=True)
class Curve:
    """Quality at the five budgets.

    scores: nDCG@5 per budget, in 0..1.
    questions: number of queries measured.
    floors: per budget, the 5th percentile over queries of the best hit's mean cosine per query token; empty
        if not measured.
    """

    scores: tuple[float, ...]
    questions: int
    floors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.scores) != len(STOPS):
            raise ValueError(f"A curve has {len(STOPS)} scores, one for each stop, not {len(self.scores)}.")

    def is_weak(self, score: float, budget: Budget) -> bool:
        """Whether the MaxSim `score` of a best hit is below the floor of answerable queries."""
        return bool(self.floors) and score / budget.r_q < self.floors[round(position(budget))]
