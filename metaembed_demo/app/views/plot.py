"""Charts that plotly draws: figures as plain data for web/plots.js, in the frame of `figure`. Pure functions.

Data and layout are those of `plotly.graph_objects.Figure`, as dictionaries: the tests validate them with that
class, which would take 25 ms a chart here. Colours are custom properties of the page (`var(--ink)`), which
the script resolves in either mode; it also gives the template: fonts, axes, margins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from metaembed_demo.core.text import clean

from .figure import Files, figure, save_buttons
from .html import json_attribute, safe

Trace = dict[str, Any]
Layout = dict[str, Any]
INK, SOFT, MUTED, EDGE, HAIR = "var(--ink)", "var(--ink-soft)", "var(--muted)", "var(--edge)", "var(--hair)"
WELL, PAPER, ACCENT = "var(--well)", "var(--paper)", "var(--accent)"
SAVE = save_buttons("PNG", "SVG", "JSON", "CSV")


@dataclass(frozen=True)
class Plot:
    """A figure of plotly.

    A point with a `customdata` of n presses the n-th button of the chart's table when it is clicked.

    words: what is drawn along which axes, for who cannot see it.
    narrow: what replaces parts of the layout below 560 px, by their path, such as "xaxis.domain".
    """

    words: str
    traces: Sequence[Trace]
    layout: Layout
    narrow: Layout = field(default_factory=dict)

    def html(self) -> str:
        data = {"data": self.traces, "layout": self.layout, "narrow": self.narrow}
        return (
            f'<div class="plot" role="img" aria-label="{safe(self.words)}. The numbers are in the table." '
            f'style="min-height:{self.layout["height"]}px" {json_attribute("plot", data)}></div>'
        )


def chart(
    name: str, title: str, plot: Plot, tables: str, files: Files, note: str = "", more: str = ""
) -> str:
    """The plot in its frame, followed by its numbers as HTML tables; see `figure`."""
    save = save_buttons("PNG", "SVG", "JSON", "CSV", "Queries") if "data-queries" in more else SAVE
    return figure(name, title, plot.html() + tables, *files, note, save, more)


def records(names: Sequence[str], rows: Sequence[Sequence[object]]) -> Files:
    """Files of a table: a record a row as JSON, and the rows below their names as CSV."""
    return [dict(zip(names, row, strict=True)) for row in rows], [list(names), *map(list, rows)]


# Parts of figures


def trace(x: Sequence[Any], y: Sequence[Any], told: Sequence[str] | str = (), **more: Any) -> Trace:
    """Points, or bars if `more` gives that type; in the legend if it gives a name.

    told: what is shown at a point, one text a point or a template of plotly's for all; without it, nothing.
    """
    more = {"type": "scatter", "x": list(x), "y": list(y), "showlegend": "name" in more} | more
    if not told:
        return more | {"hoverinfo": "skip"}
    texts = {} if isinstance(told, str) else {"hovertext": list(told)}
    return more | texts | {"hovertemplate": f"{told if not texts else '%{hovertext}'}<extra></extra>"}


def layout(height: int, margin: tuple[int, int, int, int], **more: Any) -> Layout:
    """margin: left, right, above and below, in px."""
    return {"height": height, "margin": dict(zip("lrtb", margin, strict=True)), **more}


def axis(ticks: Mapping[Any, str] | None = None, title: str = "", **more: Any) -> Layout:
    """ticks: their texts by place; without, plotly chooses."""
    given = {} if ticks is None else {"tickvals": list(ticks), "ticktext": list(ticks.values())}
    return given | ({"title": {"text": title}} if title else {}) | more


def stops(names: Sequence[str], current: int, **more: Any) -> Layout:
    """An axis of stops, whose current one is bold."""
    ticks = {i: f"<b>{name}</b>" if i == current else name for i, name in enumerate(names)}
    return axis(ticks, range=[-0.5, len(names) - 0.5], **more)


def note(text: str, x: float, y: float, **more: Any) -> Layout:
    """A text whose left edge is at (x, y), in parts of the whole plot unless `more` says otherwise."""
    at = {"x": x, "y": y, "xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "middle"}
    return {"text": text, **at, "align": "left", "showarrow": False, **more}


def heading(text: str, axes: tuple[str, str] = ("", ""), above: int = 8) -> Layout:
    """The name of the panel of two axes, such as ("2", ""). above: px between them."""
    where = {"xref": f"x{axes[0]} domain", "yref": f"y{axes[1]} domain", "yshift": above}
    return note(f"<b>{text}</b>", 0, 1, yanchor="bottom", font={"size": 14, "color": INK}, **where)


def page_line(chosen: bool, **more: Any) -> Layout:
    """The look of a page's line. chosen: whether the page is open."""
    return {"color": ACCENT if chosen else MUTED, "width": 2.5 if chosen else 1.25, **more}


def page_name(text: str, x: float, y: float, chosen: bool, **more: Any) -> Layout:
    """A note beside a page's line."""
    return note(text, x, y, font={"color": INK if chosen else SOFT}, **more)


def line(
    x: tuple[float, float],
    y: tuple[float, float],
    color: str,
    width: int = 1,
    dash: str = "solid",
    **more: Any,
) -> Layout:
    """A straight shape."""
    ends = {"x0": x[0], "x1": x[1], "y0": y[0], "y1": y[1]}
    return {"type": "line", **ends, "line": {"color": color, "width": width, "dash": dash}, **more}


def band(x0: float, x1: float, axis: str = "", color: str = WELL) -> Layout:
    """A shape behind the traces over the full height of the axes `axis`, such as "2"."""
    where = {"xref": f"x{axis}", "yref": f"y{axis} domain", "x0": x0, "x1": x1, "y0": 0, "y1": 1}
    return {"type": "rect", **where, "fillcolor": color, "line": {"width": 0}, "layer": "below"}


def plain(text: str) -> str:
    """Text from documents for labels of plotly's, which take some tags; without what SVG cannot hold."""
    return clean(text).replace("&", "&amp;").replace("<", "&lt;")


def cut(text: str, most: int) -> str:
    """
    >>> cut("How to descale", 10)
    'How to de…'
    """
    return text if len(text) <= most else text[: most - 1].rstrip(" …") + "…"
