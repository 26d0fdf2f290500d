"""Quality at the five budgets, for the budget control."""

from __future__ import annotations

from dataclasses import dataclass

from metaembed_demo.core.budgets import STOPS


@dataclass(frozen=True)
class Curve:
    """Quality at the five budgets.

    scores: nDCG@5 per budget, in 0..1.
    questions: number of queries measured. source: what they were. storage: how the vectors were kept.
    """

    scores: tuple[float, ...]
    questions: int
    source: str = "sample questions"
    storage: str = "float16"

    def __post_init__(self) -> None:
        if len(self.scores) != len(STOPS):
            raise ValueError(f"A curve has {len(STOPS)} scores, one for each stop, not {len(self.scores)}.")
