"""A hit's score as a bar, split by nested group of tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metaembed_demo.core.budgets import Budget, Budgets, Group


def score_bar(gains: Sequence[float], top: float, side: str = "query") -> str:
    """One hit's score split by token group.

    Args:
        gains: contributions of the groups (`maxsim.prefix_gains`, or `candidate_gains`).
        top: the score at full width, usually that of the best hit.
        side: "query" or "candidate", whose groups they are.
    """
    top = max(top, 1e-9)
    parts = [max(float(gain), 0.0) / top * 100 for gain in gains]
    squeeze = min(1.0, 100 / max(sum(parts), 1e-9))
    cells = "".join(  # without quotes: there are fifty cells in ten hits, and a quote is two bytes in JSON
        f"<i class=g{at} style=width:{part * squeeze:.1f}%></i>" for at, part in enumerate(parts) if part > 0
    )
    told = ", ".join(f"{gain:.2f}" for gain in np.trim_zeros(np.asarray(gains), "b"))
    words = f"Score by groups of {side} tokens: {told or '0.00'}"
    return f'<span class="bar" role="img" aria-label="{words}">{cells}</span>'


def _tokens(word: str, group: Group, side: str) -> str:
    first, end = group.span(side)
    return f"{word} token{'' if first + 1 == end else 's'} {group.label(side)}".strip()


def legend(budgets: Budgets, budget: Budget) -> str:
    """The legend of the shades; groups beyond `budget` are dimmed, those without query tokens left out."""
    reach = budgets.reach(budget)
    keys = "".join(
        f'<span class="key g{g.index}{"" if g.index < reach else " off"}">{g.label("query")}</span>'
        for g in budgets.groups
        if g.label("query")
    )
    return f'<p class="legend">Query tokens {keys}</p>'
