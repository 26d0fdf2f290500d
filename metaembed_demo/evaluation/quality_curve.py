"""Quality at an encoder's stops, for the budget control."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Curve:
    """Quality at an encoder's stops.

    scores: nDCG@5 per stop, in 0..1.
    questions: number of queries measured. source: what they were. storage: how the vectors were kept.
    """

    scores: tuple[float, ...]
    questions: int
    source: str = "sample questions"
    storage: str = "float16"
