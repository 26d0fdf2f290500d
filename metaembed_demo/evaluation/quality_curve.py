"""Quality at the five stops, as the dial draws it."""

from __future__ import annotations

from dataclasses import dataclass

from metaembed_demo.core.budgets import STOPS, Budget, position


@dataclass(frozen=True)
class Curve:
    """Quality at the five stops.

    scores: nDCG@5 of each stop, between 0 and 1.
    questions: how many questions they were measured on.
    floors: mean cosine a query token that the best hit of 19 in 20 of those questions reaches at each
        stop; empty where it was not measured.
    """

    scores: tuple[float, ...]
    questions: int
    floors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.scores) != len(STOPS):
            raise ValueError(f"A curve has {len(STOPS)} scores, one for each stop, not {len(self.scores)}.")

    def is_weak(self, score: float, budget: Budget) -> bool:
        """Whether a best hit of MaxSim `score` is lower than what questions with an answer reach."""
        return bool(self.floors) and score / budget.r_q < self.floors[round(position(budget))]
