"""Does anything fit? The note above the hits, and each hit's mean cosine and chance."""

from __future__ import annotations

from metaembed_demo.core.types import Hit, Trace

from . import language_note
from .html import safe

WHAT = '<p class="hint">A token: the mean cosine. Fits: how often such a first page answers.</p>'


def note(trace: Trace, reader: str = "") -> str:
    """What is said above the hits: that nothing fits well, or that the encoder does not read the language.

    reader: the name of an encoder that may read it; "" for none.
    """
    if trace.unread_language is not None:
        told = safe(trace.unread_language.sentence(trace.mode))
        return f'<div class="note" role="status"><p>{told}</p>{language_note.switch(reader)}</div>'
    if trace.fit is None or trace.fit.verdict != "nothing":
        return ""
    share = percent(trace.fit.first)
    of = f"Of questions whose first page scores like this one, {share} find the answer on it."
    larger = ""
    if trace.fit.at:
        larger = (
            f'<button type="button" class="do" data-action="budget" data-value="{trace.budgets.full}">'
            "Try the full budget</button>"
        )
    return f'<div class="note" role="status"><p><b>{safe(trace.fit.sentence)}</b> {of}</p>{larger}</div>'


def of_hit(trace: Trace, hit: Hit) -> str:
    """The mean cosine of a hit, and the chance that it answers."""
    if trace.fit is None or hit.page_id not in trace.fit.chances:
        return ""
    told = f"{hit.score / trace.budget.r_q:.2f} a token"
    if trace.unread_language is None:  # chances are those of questions in languages that are read
        told += f" · fits {percent(trace.fit.chances[hit.page_id])}"
    return f'<span class="fit">{told}</span>'


def percent(chance: float) -> str:
    """
    >>> percent(0.004), percent(0.917), percent(0.999)
    ('under 1%', '92%', 'over 99%')
    """
    if chance < 0.01:
        return "under 1%"
    return "over 99%" if chance > 0.99 else f"{chance:.0%}"
