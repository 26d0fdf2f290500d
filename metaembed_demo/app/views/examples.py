"""The example questions as HTML, and what the landing needs to play the first of them."""

from __future__ import annotations

from collections.abc import Sequence

from metaembed_demo.collection.modes import MEANING
from metaembed_demo.core.budgets import STOPS
from metaembed_demo.core.text import budget_text
from metaembed_demo.evaluation.climbs import Climb

from .figure import nth
from .html import safe


def examples(climbs: Sequence[Climb]) -> str:
    """Example questions as buttons; those that are measured say how far their answer climbs."""
    if not climbs:
        return ""
    return f'<p class="examples"><span>Try</span>{"".join(map(_chip, climbs))}</p>'


def _chip(climb: Climb) -> str:
    question = safe(climb.question)
    if not climb.ranks:
        return f'<button type="button" data-query="{question}">{question}</button>'
    first, last = (budget_text(stop.r_q, stop.r_c) for stop in (STOPS[0], STOPS[-1]))
    start, end = nth(climb.ranks[0]), nth(climb.ranks[-1])
    told = f"By meaning, its answer among the sample pages ranks {start} at {first} and {end} at {last}"
    return (
        f'<button type="button" data-query="{question}" data-mode="{MEANING}" title="{told}">'
        f'<span>{question}</span><small class="num">{start} → {end}</small></button>'
    )
