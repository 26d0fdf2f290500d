"""The example questions as HTML, and what the landing needs to play the first of them."""

from __future__ import annotations

from collections.abc import Sequence

from metaembed_demo.collection.modes import MEANING
from metaembed_demo.core.budgets import OURS, Budgets
from metaembed_demo.core.text import budget_text
from metaembed_demo.evaluation.climbs import Climb

from .figure import nth
from .html import safe

LEAD = "Every page is kept as {} nested Meta Tokens; the dial sets how many of them a search reads."


def examples(climbs: Sequence[Climb], budgets: Budgets = OURS) -> str:
    """What this is in a sentence, and example questions as buttons, which say how their answer climbs."""
    chips = "".join(_chip(climb, budgets) for climb in climbs)
    lead = f'<p class="lead">{LEAD.format(budgets.full.r_c)}</p>'
    return lead + (f'<p class="examples"><span>Try</span>{chips}</p>' if climbs else "")


def _chip(climb: Climb, budgets: Budgets) -> str:
    question = safe(climb.question)
    if not climb.ranks:
        return f'<button type="button" data-query="{question}">{question}</button>'
    first, last = (budget_text(stop.r_q, stop.r_c) for stop in (budgets[0], budgets.full))
    start, end = nth(climb.ranks[0]), nth(climb.ranks[-1])
    told = f"By meaning, its answer among the sample pages ranks {start} at {first} and {end} at {last}"
    return (
        f'<button type="button" data-query="{question}" data-mode="{MEANING}" title="{told}">'
        f'<span>{question}</span><small class="num">{start} → {end}</small></button>'
    )


def query_words() -> str:
    """The words of the query as buttons, which web/query_words.js makes of the explanation."""
    name = '<span class="hint" id="query-words-name">Answered, word by word</span>'
    return (
        f'<div class="query-words" hidden>{name}<span role="group" aria-labelledby="query-words-name"></span>'
        '<span class="hint" role="status"></span></div>'
    )
