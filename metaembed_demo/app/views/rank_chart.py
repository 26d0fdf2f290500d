"""The rank chart: ranks of the best pages at all stops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metaembed_demo.core.budgets import OURS, Budgets
from metaembed_demo.core.text import count_text

from . import plot
from .figure import Files, Go, as_table, named, nothing, ordinal

SHOWN = 10  # ranks with their own row; lower ranks share the rows below
FIRST = 5  # pages compared between the coarsest and the finest stop
GAP = 0.5  # rows between rank SHOWN and the lower ones
ROW = 36  # px
NAMED = 0.61  # of the plot's width is left of the pages' names


# Ranks across the budgets


@dataclass(frozen=True)
class Line:
    """One page of the bump chart.

    where: file and page number for display. ranks: a 1-based rank a stop, coarse to fine.
    """

    page_id: str
    title: str
    where: str
    ranks: tuple[int, ...]

    def __post_init__(self) -> None:
        if min(self.ranks, default=0) < 1:
            raise ValueError(f"A line has ranks from 1 on, not {self.ranks}.")


def ranks(
    lines: Sequence[Line],
    current: int,
    chosen: str | None,
    words: bool = False,
    budgets: Budgets = OURS,
) -> str:
    """The pages of one query across all budgets, as a bump chart.

    Args:
        lines: the pages, each with its rank at every stop; legible up to about fifteen.
        current: the number of the stop in use.
        chosen: id of the open page, which is emphasised; None or an id that is not drawn emphasises none.
        words: whether words rank the results too, which these ranks leave out. budgets: the stops.
    """
    if not lines:
        return nothing(
            "ranks",
            "No ranks to compare yet",
            "Ask something: each page found is then followed from "
            f"{named(budgets[0])} to {named(budgets.full)}.",
        )
    ordered = sorted(lines, key=lambda line: line.ranks[current])
    open_line = next((line for line in ordered if line.page_id == chosen), None)
    names = [named(stop) for stop in budgets]
    title = _page_finding(open_line.ranks, names) if open_line else _first_finding(lines, names)
    told = "A point, or a rank in the table, opens its page at that budget."
    told += " These are the ranks by meaning alone." if words else ""
    return plot.chart(
        "ranks",
        title,
        _plot(ordered, current, open_line, budgets),
        as_table("All ranks as a table", ["Page", *names], [_row(line, current) for line in ordered]),
        _files(ordered, current, open_line, budgets),
        told,
    )


def _files(lines: Sequence[Line], current: int, chosen: Line | None, budgets: Budgets) -> Files:
    data = {
        "budgets": [str(stop) for stop in budgets],
        "current": str(budgets[current]),
        "chosen": chosen.page_id if chosen else None,
        "pages": [
            {"id": v.page_id, "title": v.title, "where": v.where, "ranks": list(v.ranks)} for v in lines
        ],
    }
    rows: list[list[object]] = [[v.page_id, v.title, v.where, *v.ranks] for v in lines]
    return data, [["page_id", "title", "where", *map(str, budgets)], *rows]


def _page_finding(ranks: Sequence[int], names: Sequence[str]) -> str:
    """The finding about one page's ranks."""
    coarse, fine = ranks[0], ranks[-1]
    if len(set(ranks)) == 1:
        return f"All {count_text(len(ranks))} budgets rank it {ordinal(fine)}"
    if coarse == fine:
        odd = max(range(len(ranks)), key=lambda i: abs(ranks[i] - fine))
        return f"{names[0]} and {names[-1]} both rank it {ordinal(fine)}; {names[odd]} {ordinal(ranks[odd])}"
    if fine == 1:
        enough = next(i for i in range(len(ranks)) if set(ranks[i:]) == {1})
        finds = "finds it" if enough == len(ranks) - 1 else "is enough to find it"
        return f"{names[enough]} {finds}; {names[0]} ranks it {ordinal(coarse)}"
    if coarse == 1:
        return f"{names[0]} puts it first; {names[-1]} only {ordinal(fine)}"
    way = "up" if fine < coarse else "down"
    return f"{names[-1]} ranks it {ordinal(fine)}, {way} from {ordinal(coarse)} at {names[0]}"


def _first_finding(lines: Sequence[Line], names: Sequence[str]) -> str:
    """The finding about all pages: how many of the finest stop's top pages are not in the coarsest's top."""
    coarse, fine = names[0], names[-1]
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


def _plot(lines: Sequence[Line], current: int, chosen: Line | None, budgets: Budgets) -> plot.Plot:
    names = [named(stop) for stop in budgets]
    rows = _Rows.of(lines)
    ends = (-0.5, len(budgets) - 0.5)
    ticks = {rank - 0.5: str(rank) for rank in range(1, rows.top + 1)}
    shapes = [plot.band(current - 0.5, current + 0.5), *(_shade(budgets, at) for at in range(current + 1))]
    if rows.total > rows.top:
        edge = rows.top + GAP / 2
        ticks[rows.top + GAP + 0.5] = "lower"
        shapes.append(plot.line(ends, (edge, edge), plot.EDGE, dash="dash"))
    layout = plot.layout(
        round(rows.total * ROW) + 36,
        (36, 0, 32, 4),
        xaxis=plot.stops(names, current, domain=[0, NAMED], side="top", showline=False),
        yaxis=plot.axis(ticks, range=[rows.total, 0], automargin=False, showline=False, showgrid=False),
        shapes=shapes,
        annotations=[_name(line, rows, line is chosen, 42) for line in lines]
        + [plot.note("Rank", 0, 1, xshift=-36, yshift=8, yanchor="bottom")],
    )
    short = [_name(line, rows, line is chosen, 16)["text"] for line in lines]
    narrow = {f"annotations[{i}].text": text for i, text in enumerate(short)}
    traces = [_trace(i, line, rows, current, line is chosen, names) for i, line in enumerate(lines)]
    traces.sort(key=lambda trace: trace["line"]["color"] == plot.ACCENT)  # the open page on top
    words = f"Ranks of each page, downwards, at {count_text(len(names))} budgets from left to right"
    return plot.Plot(words, traces, layout, narrow)


def _shade(budgets: Budgets, stop: int) -> plot.Layout:
    """The stop's shade, under its name."""
    return plot.line((stop - 0.5, stop + 0.5), (1, 1), budgets.groups[stop].shade, 4, yref="paper")


def _trace(at: int, line: Line, rows: _Rows, current: int, chosen: bool, names: Sequence[str]) -> plot.Trace:
    """One page: its line and a point a stop, in place of which ranks beyond SHOWN are written out."""
    stops = range(len(names))
    far = [rank > SHOWN for rank in line.ranks]
    color = plot.ACCENT if chosen else plot.MUTED
    marker = {
        "size": [28 if each else 12 if chosen else 9 for each in far],
        "color": [plot.WELL if far[stop] and stop == current else plot.PAPER for stop in stops],
        "line": {"color": color, "width": [0 if each else 2.5 if chosen else 1.5 for each in far]},
        "opacity": 1,
    }
    return plot.trace(
        stops,
        [rows.place(stop, rank) for stop, rank in enumerate(line.ranks)],
        "%{meta}<br>%{hovertext}",
        meta=f"<b>{plot.plain(line.title)}</b><br>{plot.plain(line.where)}",
        hovertext=[f"rank {rank:,} at {name}" for rank, name in zip(line.ranks, names, strict=True)],
        mode="lines+markers+text",
        line=plot.page_line(chosen, shape="spline", smoothing=0.7),
        marker=marker,
        text=[ordinal(rank) if each else "" for each, rank in zip(far, line.ranks, strict=True)],
        textfont={"size": 12, "color": color},
        customdata=[at * len(names) + stop for stop in stops],
    )


def _name(line: Line, rows: _Rows, chosen: bool, most: int) -> plot.Layout:
    title = plot.plain(plot.cut(line.title, most))
    title = f"<b>{title}</b>" if chosen else title
    text = f"{title}<br><span style='font-size:12px'>{plot.plain(plot.cut(line.where, most))}</span>"
    y = rows.place(len(line.ranks) - 1, line.ranks[-1])
    return plot.page_name(text, NAMED + 0.01, y, chosen, yref="y")


def _row(line: Line, current: int) -> list[str | Go]:
    cells = [
        Go(f"{rank:,}", {"page": line.page_id, "stop": str(stop)}, stop == current)
        for stop, rank in enumerate(line.ranks)
    ]
    return [f"{line.title}, {line.where}", *cells]
