"""Comparison of one hit for two queries or two budgets, side by side, as HTML. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metaembed_demo.core.budgets import GROUPS, STOPS, Budget
from metaembed_demo.core.text import budget_text, plural
from metaembed_demo.core.types import Alignment, Box, FloatArray, Word
from metaembed_demo.explain.explainer import Explanation

from .figure import SAVE, savable
from .html import safe
from .outlines import outlines
from .page_map import spread

LISTED = 8  # words whose shares differ most
LEAST = 0.04  # minimum strength of a drawn word, relative to the strongest
LEAST_DIFFERENCE = 0.001  # minimum difference of a listed word's shares
ONLY = 0.005  # share of the score below which a word counts as absent from a side


@dataclass(frozen=True, eq=False)
class Side:
    """A query at a budget, with its alignment and explanation of the hit."""

    name: str  # A or B
    query: str
    budget: Budget
    rank: int
    alignment: Alignment
    explained: Explanation

    @property
    def score(self) -> float:
        return float(self.alignment.gains.sum())


def side_by_side(a: Side, b: Side, pinned: bool) -> str:
    """Both maps, and the words whose share of the score differs most.

    Args:
        pinned: whether A is a pinned search; otherwise it is B's query at another budget.
    """
    shares = [spread(side.explained, side.alignment) for side in (a, b)]
    rows = _rows(a, shares[0][0], shares[1][0])
    files = savable(
        "compare", {"A": _side_json(a), "B": _side_json(b), "words": rows}, [["word", "A", "B"], *rows]
    )
    return (
        f'<figure class="compare" {files}><h3>{_finding(a, b)}</h3>{_control(a, pinned)}'
        f'<div class="sides">{_side(a, *shares[0])}{_side(b, *shares[1])}</div>'
        f"{_differences(a, b, shares[0][0], shares[1][0])}"
        "<figcaption>Each side's words are shares of its own score, so that two budgets can be compared."
        f"</figcaption>{SAVE}</figure>"
    )


def _side_json(side: Side) -> dict[str, object]:
    return {"query": side.query, "budget": str(side.budget), "rank": side.rank, "score": round(side.score, 4)}


def _rows(a: Side, first: FloatArray, second: FloatArray) -> list[list[object]]:
    """Each word with its share of A's score and of B's, for the files."""
    both = np.maximum(first, second)
    order = [i for i in np.argsort(-both, kind="stable") if both[i] >= ONLY]
    words = a.explained.words
    return [[words[i].text, round(float(first[i]), 5), round(float(second[i]), 5)] for i in order]


def nothing() -> str:
    return '<p class="hint">Search first: then a hit can be seen by two queries, or at two budgets.</p>'


def _finding(a: Side, b: Side) -> str:
    ranks = f"rank {a.rank} for A, {b.rank} for B"
    if a.query == b.query and a.budget == b.budget:
        return f"A and B are the same search: {ranks}"
    if a.query != b.query:
        return f"Two queries on this page: {ranks}"
    if a.rank == b.rank:
        return f"Rank {a.rank} at {budget_text(a.budget.r_q, a.budget.r_c)} and at {_name(b)}"
    better = "up" if b.rank < a.rank else "down"
    return f"{_name(b)} moves this page {better} from rank {a.rank} to {b.rank}"


def _name(side: Side) -> str:
    return budget_text(side.budget.r_q, side.budget.r_c)


def _control(a: Side, pinned: bool) -> str:
    stops = "".join(
        f'<button type="button" data-action="other" data-value="{stop}" '
        f'aria-pressed="{"true" if stop == a.budget else "false"}">{budget_text(stop.r_q, stop.r_c)}</button>'
        for stop in STOPS
    )
    keep = (
        '<button type="button" class="quiet" data-action="unpin">Let A follow the query again</button>'
        if pinned
        else '<button type="button" class="quiet" data-action="pin">Keep this search as A</button>'
    )
    return f'<div class="control"><span>Budget of A</span><span class="stops num">{stops}</span>{keep}</div>'


def _side(side: Side, shares: FloatArray, groups: np.ndarray) -> str:
    return (
        f'<section aria-label="Side {side.name}"><h4>{side.name} <span class="num">{_name(side)}, score '
        f'{side.score:.2f}</span></h4><p class="asked">{safe(side.query)}</p>'
        f'<span class="sheet"><img alt="" data-copy>{_overlay(side, shares, groups)}</span></section>'
    )


def _overlay(side: Side, shares: FloatArray, groups: np.ndarray) -> str:
    top = max(float(shares.max(initial=0.0)), 1e-9)
    words = side.explained.words
    marks = [
        _rectangle(word.box, f"fill:var(--mark-{int(groups[i]) + 1});opacity:{_ink(shares[i] / top):.2f}")
        for i, word in enumerate(words)
        if shares[i] > LEAST * top and word.kind != "visual"
    ]
    return _layer("outlines", outlines(words, shares)) + _layer("overlay", marks)


def _ink(strength: float) -> float:
    return float(0.15 + 0.6 * np.sqrt(strength))


def _rectangle(box: Box, style: str) -> str:
    x0, y0, x1, y1 = (round(edge * 1000) for edge in box)
    return f'<rect x="{x0}" y="{y0}" width="{x1 - x0}" height="{y1 - y0}" style="{style}"/>'


def _layer(name: str, marks: Sequence[str]) -> str:
    return (
        f'<svg class="{name}" viewBox="0 0 1000 1000" preserveAspectRatio="none" aria-hidden="true">'
        f"{''.join(marks)}</svg>"
    )


def _differences(a: Side, b: Side, first: FloatArray, second: FloatArray) -> str:
    """Distinct words by the difference of their shares."""
    found = _by_text(a.explained.words, first, second)
    found = [row for row in found if abs(row[1] - row[2]) > LEAST_DIFFERENCE][:LISTED]
    if not found:
        return '<p class="hint">Both sides weigh the words alike.</p>'
    top = max(max(row[1], row[2]) for row in found)
    rows = "".join(
        f'<tr><th scope="row">{safe(text)}{_only(one, two)}</th>'
        f"{_bar(one, top, 'a')}{_bar(two, top, 'b')}</tr>"
        for text, one, two in found
    )
    same = len(set(a.alignment.winners.tolist()) & set(b.alignment.winners.tolist()))
    return (
        '<table class="figures named num differ"><caption>Words that differ most, as shares of each score'
        '</caption><thead><tr><th scope="col">Word</th><th scope="col">A</th><th scope="col">B</th></tr>'
        f'</thead><tbody>{rows}</tbody></table><p class="hint num">{plural(same, "candidate token")} '
        f"win{'s' if same == 1 else ''} on both sides, of {len(set(a.alignment.winners.tolist()))} in A and "
        f"{len(set(b.alignment.winners.tolist()))} in B.</p>"
    )


def _by_text(words: Sequence[Word], first: FloatArray, second: FloatArray) -> list[tuple[str, float, float]]:
    """Each text with its share on either side, the largest difference first. Excludes picture cells."""
    found: dict[str, tuple[str, float, float]] = {}
    for word, one, two in zip(words, first.tolist(), second.tolist(), strict=True):
        key = word.text.strip(".,;:!?()\"'").casefold()
        if key:
            text, before, after = found.get(key, (word.text, 0.0, 0.0))
            found[key] = (text, before + one, after + two)
    return sorted(found.values(), key=lambda row: -abs(row[1] - row[2]))


def _only(first: float, second: float) -> str:
    if first < ONLY <= second:
        return ' <span class="only">only in B</span>'
    if second < ONLY <= first:
        return ' <span class="only">only in A</span>'
    return ""


def _bar(share: float, top: float, side: str) -> str:
    return (
        f'<td><span class="track {side}"><i style="width:{share / top * 100:.0f}%;'
        f'--shade:{GROUPS[0].shade}"></i></span> {share * 100:.1f}%</td>'
    )
