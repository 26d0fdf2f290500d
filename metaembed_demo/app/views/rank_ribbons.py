"""Two rankings of the same pages as columns, joined by ribbons: at side A, and now. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from heapq import nsmallest

from metaembed_demo.core.budgets import OURS, Budget, Budgets
from metaembed_demo.core.text import budget_text, plural

from .figure import figure
from .html import safe

TOP = 10  # ranks in a column
ROW, THICK = 40, 22  # px: of a row, and of a ribbon
WIDTH, STUB = 104, 24  # px of the drawing between the columns, of a page that leaves


@dataclass(frozen=True)
class Side:
    """A ranking of all pages. ranks: page id -> rank, 1-based. stop: number of that for a click on a page."""

    query: str
    budget: Budget
    ranks: Mapping[str, int]
    stop: int

    @cached_property
    def top(self) -> list[str]:
        return nsmallest(TOP, self.ranks, key=self.ranks.__getitem__)

    @property
    def name(self) -> str:
        return budget_text(self.budget.r_q, self.budget.r_c)


@dataclass(frozen=True)
class Titled:
    """A page by its title, and its file and number."""

    title: str
    where: str


def ribbons(
    a: Side,
    b: Side,
    pages: Mapping[str, Titled],
    chosen: str | None,
    pinned: bool,
    budgets: Budgets = OURS,
) -> str:
    """The first ten at A and now.

    Args:
        pages: those of both columns. chosen: id of the open page.
        pinned: whether A is a pinned search; otherwise it is B's query at another budget.
        budgets: those that A can have.
    """
    rows = list(dict.fromkeys([*b.top, *a.top]))
    told: list[list[object]] = [
        [each, pages[each].title, pages[each].where, a.ranks.get(each), b.ranks.get(each)] for each in rows
    ]
    head: list[object] = ["page_id", "title", "where", "rank_a", "rank_now"]
    told_sides = {"A": _as_json(a), "now": _as_json(b)}
    body = (
        f'{_control(a, pinned, budgets)}<div class="ribbons" style="--row:{ROW}px">'
        f"{_column(a, None, pages, chosen)}"
        f"{_drawing(a, b, chosen)}{_column(b, a, pages, chosen)}</div>"
    )
    note = (
        "Ribbons join the same page: ▲ it stands higher now, ▼ lower, = where it was. A stub names the rank "
        "on the other side of a page that is not among its ten. These are the ranks by meaning alone."
    )
    data = {**told_sides, "pages": [dict(zip(map(str, head), row, strict=True)) for row in told]}
    return figure("compared", _finding(a, b), body, data, [head, *told], note)


def _as_json(side: Side) -> dict[str, object]:
    return {"query": side.query, "budget": str(side.budget)}


def _finding(a: Side, b: Side) -> str:
    kept = len(set(a.top) & set(b.top))
    of = f"{kept} of the first {plural(len(b.top), 'page')}"
    if a.query != b.query:
        return f"“{_cut(a.query)}” and this query share {of}"
    if a.budget == b.budget:
        return f"Both sides are {b.name}: choose another budget for A, or keep this search as A"
    if a.top == b.top:
        return f"{a.name} and {b.name} agree on the first {plural(len(b.top), 'page')}, in the same order"
    same = sum(one == other for one, other in zip(a.top, b.top, strict=True))
    return f"{b.name} keeps {of} at {a.name}, {same or 'none'} in place"


def _cut(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"


def _control(a: Side, pinned: bool, budgets: Budgets) -> str:
    stops = "".join(
        f'<button type="button" data-action="other" data-value="{stop}" '
        f'aria-pressed="{"true" if stop == a.budget else "false"}">{budget_text(stop.r_q, stop.r_c)}</button>'
        for stop in budgets
    )
    keep = (
        '<button type="button" class="quiet" data-action="unpin">Let A follow the query again</button>'
        if pinned
        else '<button type="button" class="quiet" data-action="pin">Keep this search as A</button>'
    )
    return (
        '<div class="control"><span>Budget of A</span><span class="stops num" role="group" '
        f'aria-label="Budget of A">{stops}</span>{keep}</div>'
    )


def _column(side: Side, other: Side | None, pages: Mapping[str, Titled], chosen: str | None) -> str:
    """A ranking. other: what its pages are compared with; None for side A."""
    rows = "".join(
        f'<li><button type="button" class="go" data-page="{safe(each)}" data-stop="{side.stop}"'
        f'{" aria-current=true" if each == chosen else ""} title="{safe(pages[each].where)}">'
        f'<b class="num">{side.ranks[each]}</b> <span>{safe(pages[each].title)}</span>'
        f"{_moved(side, other, each) if other else ''}</button></li>"
        for each in side.top
    )
    name = "A" if other is None else "Now"
    return (
        f'<section aria-label="Ranking {"at A" if other is None else "now"}"><h4>{name} '
        f'<span class="num">{side.name}</span></h4><p class="asked" title="{safe(side.query)}">'
        f"{safe(side.query)}</p><ol>{rows}</ol></section>"
    )


def _moved(side: Side, other: Side, page: str) -> str:
    was = other.ranks.get(page)
    if was is None:
        return '<i class="moved new">new</i>'
    by = was - side.ranks[page]
    kind, sign, words = _way(by)
    told = f"{words} {plural(abs(by), 'place')}" if by else words
    return (
        f'<i class="moved {kind}"><span aria-hidden="true">{sign}{f"{abs(by):,}" if by else ""}</span>'
        f'<span class="hidden">{told}</span></i>'
    )


def _way(by: int) -> tuple[str, str, str]:
    """
    >>> _way(3), _way(0)
    (('up', '▲', 'up'), ('stayed', '=', 'where it was'))
    """
    if not by:
        return "stayed", "=", "where it was"
    return ("up", "▲", "up") if by > 0 else ("down", "▼", "down")


def _drawing(a: Side, b: Side, chosen: str | None) -> str:
    left, right = a.top, b.top
    height = ROW * max(len(left), len(right), 1)
    marks = []
    for page in sorted(dict.fromkeys([*left, *right]), key=lambda each: each == chosen):  # it lies on top
        open_ = " open" if page == chosen else ""
        if page in left and page in right:
            kind, _, _ = _way(a.ranks[page] - b.ranks[page])
            marks.append(_ribbon(left.index(page), right.index(page), kind + open_))
        elif page in left:
            marks.append(_stub(left.index(page), b.ranks.get(page), "down" + open_, 0))
        else:
            marks.append(_stub(right.index(page), a.ranks.get(page), "up" + open_, 1))
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        f' aria-hidden="true">{"".join(marks)}</svg>'
    )


def _middle(row: int) -> float:
    return (row + 0.5) * ROW


def _ribbon(left: int, right: int, kind: str) -> str:
    y0, y1, half, bend = _middle(left), _middle(right), THICK / 2, WIDTH / 2
    return (
        f'<path class="{kind}" d="M0 {y0 - half}C{bend} {y0 - half} {bend} {y1 - half} {WIDTH} {y1 - half}'
        f'V{y1 + half}C{bend} {y1 + half} {bend} {y0 + half} 0 {y0 + half}Z"/>'
    )


def _stub(row: int, rank: int | None, kind: str, at: int) -> str:
    """A page that is on one side alone, with its rank on the other. at: 0 left, 1 right."""
    y, half, thin = _middle(row), THICK / 2, THICK / 6
    edge, tip = (0, STUB) if at == 0 else (WIDTH, WIDTH - STUB)
    told = "–" if rank is None else f"{rank:,}"
    anchor, x = ("start", tip + 4) if at == 0 else ("end", tip - 4)
    return (
        f'<path class="{kind}" d="M{edge} {y - half}L{tip} {y - thin}V{y + thin}L{edge} {y + half}Z"/>'
        f'<text class="num" x="{x}" y="{y}" dy="0.35em" text-anchor="{anchor}">{told}</text>'
    )
