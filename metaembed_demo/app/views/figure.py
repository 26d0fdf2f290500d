"""The common frame of charts in HTML. Pure functions.

A chart is a `figure`: a title that states the finding, the drawing, its numbers as a table, and buttons that
save it (web/figure_download.js).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from metaembed_demo.core.budgets import OURS, Budget
from metaembed_demo.core.text import TIMES, budget_text

from .html import json_attribute, safe

ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"]


def save_buttons(*kinds: str) -> str:
    """The last line of a chart: a button for each kind of file."""
    buttons = "".join(f'<button type="button" data-save="{kind.lower()}">{kind}</button>' for kind in kinds)
    return (
        '<div class="chart-foot" role="group" aria-label="Save this figure" data-undrawn>'
        f"<span>Save</span>{buttons}</div>"
    )


SAVE = save_buttons("PNG", "JSON", "CSV")
Files = tuple[object, list[list[object]]]  # what a chart saves as JSON, and the rows of its CSV


def named(stop: Budget) -> str:
    """A budget with its sign, as 8×16."""
    return budget_text(stop.r_q, stop.r_c)


# The frame


def figure(
    name: str,
    title: str,
    body: str,
    data: object,
    csv: Sequence[Sequence[object]],
    note: str = "",
    save: str = SAVE,
    more: str = "",
) -> str:
    """The frame of a chart. web/figure_download.js implements its buttons.

    Args:
        name: of the saved files, `metaembed-NAME.png`; letters and hyphens, not user input.
        title: the finding, as text. body: the drawing, as HTML. note: under the drawing, as text.
        data: content of the JSON file. csv: rows of cells, starting with the header.
        save: the buttons, from `save_buttons`. more: further attributes, from `origin`.
    """
    caption = f"<figcaption>{safe(note)}</figcaption>" if note else ""
    return (
        f'<figure class="chart chart-{name}" {savable(name, data, csv)} {more}><h3>{safe(title)}</h3>'
        f"{body}{caption}{save}</figure>"
    )


def origin(told: Mapping[str, object], queries: Sequence[Sequence[object]] = ()) -> str:
    """Attributes of a <figure>: what its files say of where it comes from, and a row a query to save."""
    rows = f" {json_attribute('queries', queries)}" if queries else ""
    return f"{json_attribute('from', told)}{rows}"


def savable(name: str, data: object, csv: Sequence[Sequence[object]]) -> str:
    """Attributes of a <figure> that ends with SAVE; see `figure`."""
    return f'data-figure="{name}" {json_attribute("json", data)} {json_attribute("rows", csv)}'


def nothing(name: str, title: str, text: str) -> str:
    """The empty state of a chart: what it will show, and how to get there."""
    points = " ".join(f"{12 + i * 24},{y}" for i, y in enumerate((40, 29, 21, 16, 13)))
    dots = "".join(
        f'<circle cx="{point.split(",")[0]}" cy="{point.split(",")[1]}" r="4" style="--shade:{group.shade}"/>'
        for point, group in zip(points.split(), OURS.groups, strict=True)
    )
    return (
        f'<div class="chart-nothing chart-{name}"><svg viewBox="0 0 120 52" width="120" height="52" '
        f'aria-hidden="true"><polyline points="{points}"/>{dots}</svg>'
        f"<h3>{safe(title)}</h3><p>{safe(text)}</p></div>"
    )


@dataclass(frozen=True)
class Go:
    """A cell of a table that is a button, and what a click on its point in the chart presses.

    data: its data attributes, which a script of the region reads. reached: whether it is a tab stop.
    """

    text: str
    data: dict[str, str]
    reached: bool = True

    def __str__(self) -> str:
        data = "".join(f' data-{name}="{safe(value)}"' for name, value in self.data.items())
        stop = "" if self.reached else ' tabindex="-1"'
        return f'<button type="button" class="go"{data}{stop}>{safe(self.text)}</button>'


Row = Sequence["str | Go"]


def as_table(summary: str, head: Sequence[str], rows: Sequence[Row]) -> str:
    """The numbers of a chart in a collapsed <details>; see `table`."""
    return f'<details class="as-table"><summary>{safe(summary)}</summary>{table(head, rows)}</details>'


def table(head: Sequence[str], rows: Sequence[Row], shades: Sequence[str] = ()) -> str:
    """A table of texts or buttons. The first cell of a row is its header, with a chip of its shade."""
    chips = [f'<span class="key" style="--shade:{shade}"></span> ' for shade in shades] or [""] * len(rows)
    heads = "".join(f'<th scope="col">{safe(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{chip}{_cell(name)}</th>'
        f"{''.join(f'<td>{_cell(cell)}</td>' for cell in cells)}</tr>"
        for chip, (name, *cells) in zip(chips, rows, strict=True)
    )
    return f'<table class="figures named num"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'


def _cell(cell: str | Go) -> str:
    return str(cell) if isinstance(cell, Go) else safe(cell)


def as_typed(name: str) -> str:
    """A budget with its sign.

    >>> as_typed("8x16"), as_typed("Auto")
    ('8×16', 'Auto')
    """
    return re.sub(r"(\d)x(\d)", rf"\1{TIMES}\2", name)


def ordinal(n: int) -> str:
    """
    >>> [ordinal(n) for n in (1, 10, 11, 22, 23, 112, 1204)]
    ['first', 'tenth', '11th', '22nd', '23rd', '112th', '1,204th']
    """
    if 1 <= n <= len(ORDINALS):
        return ORDINALS[n - 1]
    return nth(n)


def nth(n: int) -> str:
    """
    >>> [nth(n) for n in (1, 22, 23, 112, 1204)]
    ['1st', '22nd', '23rd', '112th', '1,204th']
    """
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n:,}{ending}"
