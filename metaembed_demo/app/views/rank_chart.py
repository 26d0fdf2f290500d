"""The rank chart: ranks of the best pages at all five stops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from metaembed_demo.core.budgets import GROUPS, STOPS

from .figure import NAMES, Files, as_table, figure, nothing, ordinal
from .html import safe

SHOWN = 10  # ranks with their own row; lower ranks share the rows below
FIRST = 5  # pages compared between the coarsest and the finest stop
GAP = 0.5  # rows between rank SHOWN and the lower ones
OPEN = ' class="ranks-open"'


# Ranks across the budgets


@dataclass(frozen=True)
class Line:
    """One page of the bump chart.

    where: file and page number for display. ranks: five 1-based ranks, coarse to fine.
    """

    page_id: str
    title: str
    where: str
    ranks: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.ranks) != len(STOPS) or min(self.ranks) < 1:
            raise ValueError(f"A line has {len(STOPS)} ranks from 1 on, not {self.ranks}.")


def ranks(lines: Sequence[Line], current: int, chosen: str | None, words: bool = False) -> str:
    """The pages of one query across all five budgets, as a bump chart.

    Args:
        lines: the pages, each with its rank at every stop; legible up to about fifteen.
        current: the stop in use, 0 to 4.
        chosen: id of the open page, which is emphasised; None or an id that is not drawn emphasises none.
        words: whether words rank the results too, which these ranks leave out.
    """
    if not lines:
        return nothing(
            "ranks",
            "No ranks to compare yet",
            "Ask something: each page found is then followed from 1×1 to 16×64.",
        )
    ordered = sorted(lines, key=lambda line: line.ranks[current])
    open_line = next((line for line in ordered if line.page_id == chosen), None)
    rows = _Rows.of(lines)
    at = open_line or ordered[0]
    drawn = "".join(_line(line, rows, current, line is open_line, line is at) for line in ordered)
    heads = "".join(
        f'<span class="{_marks(i, current)}" style="--shade:{group.shade}">{name}</span>'
        for i, (name, group) in enumerate(zip(NAMES, GROUPS, strict=True))
    )
    body = (
        f'<div class="ranks" style="--rows:{rows.total:g};--current:{current}">'
        f'<span class="ranks-axis">Rank</span><div class="ranks-stops num" aria-hidden="true">{heads}</div>'
        f'<div class="ranks-scale num" aria-hidden="true">{_rank_labels(rows)}</div>'
        '<div class="ranks-plot" role="group" aria-label="Ranks at five budgets. Left and right keys move '
        'along a page, up and down to the next page.">'
        f'<span class="ranks-band"></span>{_lower_edge(rows)}{drawn}</div></div>{_list(ordered, chosen)}'
        f"{as_table('All ranks as a table', ['Page', *NAMES], [_row(line) for line in ordered])}"
    )
    title = _page_finding(open_line.ranks) if open_line else _first_finding(lines)
    files = _files(ordered, current, open_line)
    note = "A point opens its page at that budget." + (
        " These are the ranks by meaning alone." if words else ""
    )
    return figure("ranks", title, body, *files, note)


def _files(lines: Sequence[Line], current: int, chosen: Line | None) -> Files:
    data = {
        "budgets": [str(stop) for stop in STOPS],
        "current": str(STOPS[current]),
        "chosen": chosen.page_id if chosen else None,
        "pages": [
            {"id": v.page_id, "title": v.title, "where": v.where, "ranks": list(v.ranks)} for v in lines
        ],
    }
    rows: list[list[object]] = [[v.page_id, v.title, v.where, *v.ranks] for v in lines]
    return data, [["page_id", "title", "where", *map(str, STOPS)], *rows]


def _marks(i: int, current: int) -> str:
    return ("ranks-on" if i <= current else "") + (" ranks-here" if i == current else "")


def _page_finding(ranks: Sequence[int]) -> str:
    """The finding about one page's ranks."""
    coarse, fine = ranks[0], ranks[-1]
    if len(set(ranks)) == 1:
        return f"All five budgets rank it {ordinal(fine)}"
    if coarse == fine:
        odd = max(range(len(ranks)), key=lambda i: abs(ranks[i] - fine))
        return f"{NAMES[0]} and {NAMES[-1]} both rank it {ordinal(fine)}; {NAMES[odd]} {ordinal(ranks[odd])}"
    if fine == 1:
        enough = next(i for i in range(len(ranks)) if set(ranks[i:]) == {1})
        finds = "finds it" if enough == len(ranks) - 1 else "is enough to find it"
        return f"{NAMES[enough]} {finds}; {NAMES[0]} ranks it {ordinal(coarse)}"
    if coarse == 1:
        return f"{NAMES[0]} puts it first; {NAMES[-1]} only {ordinal(fine)}"
    way = "up" if fine < coarse else "down"
    return f"{NAMES[-1]} ranks it {ordinal(fine)}, {way} from {ordinal(coarse)} at {NAMES[0]}"


def _first_finding(lines: Sequence[Line]) -> str:
    """The finding about all pages: how many of the finest stop's top pages are not in the coarsest's top."""
    coarse, fine = NAMES[0], NAMES[-1]
    places = {line.ranks[-1]: line.ranks[0] for line in lines}
    n = next(i for i in range(FIRST + 1) if i == FIRST or i + 1 not in places)  # all of these are drawn
    if n == 0:
        return f"None of these pages comes first at {fine}"
    changed = sum(places[rank] > n for rank in range(1, n + 1))
    if changed and n > 1:
        return f"{changed} of the first {n} pages change between {coarse} and {fine}"
    if n == 1:
        return f"{coarse} and {fine} {'differ' if changed else 'agree'} on the first page"
    moved = (
        "in the same order" if all(places[rank] == rank for rank in range(1, n + 1)) else "in another order"
    )
    return f"{coarse} and {fine} agree on the first {n} pages, {moved}"


@dataclass(frozen=True)
class _Rows:
    """The row of each rank, from the top. Ranks beyond SHOWN are stacked in their order.

    lower: for each stop the ranks beyond SHOWN.
    """

    top: int
    lower: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, lines: Sequence[Line]) -> _Rows:
        at_stops = list(zip(*(line.ranks for line in lines), strict=True))
        lower = tuple(tuple(sorted(r for r in found if r > SHOWN)) for found in at_stops)
        return cls(min(SHOWN, max(map(max, at_stops))), lower)

    @property
    def total(self) -> float:
        most = max(map(len, self.lower))
        return self.top + (GAP + most if most else 0)

    def place(self, stop: int, rank: int) -> float:
        if rank <= SHOWN:
            return rank - 0.5
        return self.top + GAP + self.lower[stop].index(rank) + 0.5

    def percent(self, stop: int, rank: int) -> str:
        return f"{self.place(stop, rank) / self.total * 100:.2f}%"


def _rank_labels(rows: _Rows) -> str:
    labels = "".join(f'<span style="top:{rows.percent(0, r)}">{r}</span>' for r in range(1, rows.top + 1))
    if rows.total == rows.top:
        return labels
    return f'{labels}<span style="top:{(rows.top + GAP + 0.5) / rows.total * 100:.2f}%">lower</span>'


def _lower_edge(rows: _Rows) -> str:
    if rows.total == rows.top:
        return ""
    return f'<span class="ranks-edge" style="top:{(rows.top + GAP / 2) / rows.total * 100:.2f}%"></span>'


def _line(line: Line, rows: _Rows, current: int, chosen: bool, reached: bool) -> str:
    """One page: its curve, its five points, its title. `reached`: whether it is a tab stop."""
    path = _curve([(10 + 20 * i, rows.place(i, rank)) for i, rank in enumerate(line.ranks)])
    points = "".join(
        _point(line, i, rows.percent(i, rank), i == current, reached and i == current)
        for i, rank in enumerate(line.ranks)
    )
    return (
        f'<div class="ranks-line{" ranks-open" if chosen else ""}" data-page="{safe(line.page_id)}">'
        f'<svg viewBox="0 0 100 {rows.total:g}" preserveAspectRatio="none" aria-hidden="true">'
        f'<path class="ranks-touch" d="{path}"/><path d="{path}"/></svg>{points}'
        f'<span class="ranks-title" style="top:{rows.percent(len(STOPS) - 1, line.ranks[-1])}" '
        f'title="{safe(line.title)}, {safe(line.where)}"><b>{safe(line.title)}</b>'
        f"<span>{safe(line.where)}</span></span></div>"
    )


def _curve(points: Sequence[tuple[float, float]]) -> str:
    """An SVG path that is horizontal at every point."""
    x0, y0 = points[0]
    bends = "".join(
        f"C{(xa + xb) / 2:g} {ya:g} {(xa + xb) / 2:g} {yb:g} {xb:g} {yb:g}"
        for (xa, ya), (xb, yb) in pairwise(points)
    )
    return f"M{x0:g} {y0:g}{bends}"


def _point(line: Line, stop: int, top: str, here: bool, reached: bool) -> str:
    rank = line.ranks[stop]
    words = f"{line.title}, {line.where}: rank {rank:,} at {NAMES[stop]}. Open it there."
    kind, mark = ("", "<i></i>") if rank <= SHOWN else (" ranks-far", f"<span>{ordinal(rank)}</span>")
    return (
        f'<span class="ranks-point num{kind}{" ranks-here" if here else ""}" role="button" '
        f'tabindex="{0 if reached else -1}" data-page="{safe(line.page_id)}" data-stop="{stop}" '
        f'aria-label="{safe(words)}" '
        f'style="left:{10 + 20 * stop}%;top:{top};--shade:{GROUPS[stop].shade}">{mark}</span>'
    )


def _list(lines: Sequence[Line], chosen: str | None) -> str:
    """The titles, for narrow screens, in the order of the lines' last rows."""
    items = "".join(
        f'<li data-page="{safe(line.page_id)}"{OPEN if line.page_id == chosen else ""}>'
        f'<span class="num">{line.ranks[-1]:,}</span><span><b>{safe(line.title)}</b>'
        f"<span>{safe(line.where)}</span></span></li>"
        for line in sorted(lines, key=lambda line: line.ranks[-1])
    )
    return f'<div class="ranks-list" aria-hidden="true"><p>Rank at {NAMES[-1]}</p><ul>{items}</ul></div>'


def _row(line: Line) -> list[str]:
    return [f"{line.title}, {line.where}", *(f"{rank:,}" for rank in line.ranks)]
