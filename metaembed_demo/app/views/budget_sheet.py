"""The sheet of the Budget room: every way to search N pages, with what it costs. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from metaembed_demo.collection.modes import MODES
from metaembed_demo.core.budgets import OURS, Budgets
from metaembed_demo.core.text import DASH, bytes_text, ms_text, plural
from metaembed_demo.evaluation.budget_sheet import Figure, Row
from metaembed_demo.evaluation.decision import quality_text

from .figure import as_typed, figure, save_buttons
from .html import json_attribute, safe
from .storage_control import NAMES as KIND_NAMES

SIZES = {10_000: "10 thousand", 100_000: "100 thousand", 10**6: "1 million", 10**7: "10 million"}
COLUMNS = {"memory": "Memory", "disk": "Disk", "quality": "Quality", "latency": "Latency"}
ALL = "all"
WHAT = (
    "Measured: on this machine, these pages. Computed: arithmetic from measured parts, as docs/scale.md has "
    "it. GB is 10⁹ bytes. An index that is made for a stop alone keeps that stop’s vectors; one for "
    "every stop takes what 16×64 takes. Opened from a folder, float16 needs only the scanned "
    "prefixes in memory."
)


@dataclass(frozen=True)
class Shown:
    """What is chosen in the sheet.

    pages: the number it is made for; own: those there are. storage, mode: one of them, or ALL.
    sort: a column, or "" for the order of stops. problem: why a typed number was not taken.
    """

    pages: int
    own: int
    storage: str
    mode: str = ALL
    sort: str = ""
    problem: str = ""
    budgets: Budgets = OURS  # of the encoder


def sheet(
    rows: Sequence[Row],
    shown: Shown,
    quality: str,
    decision: str,
    every: str,
    running: str = "",
    more: str = "",
) -> str:
    """The sheet as HTML.

    Args:
        rows: all ways. quality: name of the metric. decision: Markdown to copy; "" where nothing is measured.
        every: the label of the button that measures every way, "" for none. running: its progress.
        more: attributes of the figure, see `figure.origin`.
    """
    drawn = [row for row in rows if _is_shown(row, shown)]
    if shown.sort:
        drawn.sort(key=lambda row: _order(getattr(row, shown.sort), shown.sort))
    names: list[object] = ["stop", "storage", "mode"]
    names += [f"{name}{part}" for name in COLUMNS for part in ("", "_measured", "_from")]
    csv: list[list[object]] = [names, *(_csv(row) for row in rows)]
    data = {"pages": shown.pages, "quality": quality, "rows": [row.as_json() for row in rows]}
    title = f"What each way takes and gives at {_pages(shown.pages)}"
    body = f"{_controls(shown)}{_table(drawn, shown, quality)}{_legend(drawn)}"
    actions = _actions(decision, every, bool(running))
    save = save_buttons("PNG", "JSON", "CSV", *(["Queries"] if "data-queries" in more else []))
    drawing = figure("sheet", title, body, data, csv, save=save, more=more)
    return f'<section class="budget-sheet">{drawing}{actions}{running}</section>'


def _is_shown(row: Row, shown: Shown) -> bool:
    way = row.way
    kept = shown.storage == ALL or way.storage in (shown.storage, "")
    return kept and shown.mode in (ALL, way.mode)


def _order(found: Figure, column: str) -> tuple[bool, float]:
    """Best first, what is unknown last."""
    value = found.value or 0.0
    return found.value is None, -value if column == "quality" else value


def _controls(shown: Shown) -> str:
    sizes = {shown.own: f"these {shown.own:,}"} | SIZES
    typed = "" if shown.pages in sizes else f"{shown.pages:,}"
    problem = f'<p class="problem" role="alert">{safe(shown.problem)}</p>' if shown.problem else ""
    return (
        '<div class="sheet-set" data-undrawn>'
        f"{_choice('pages', 'Pages', sizes, shown.pages)}"
        '<label class="sheet-typed"><span class="hidden">Another number of pages</span>'
        '<input type="text" inputmode="numeric" placeholder="other" data-set="pages" '
        f'value="{typed}"></label>'
        f"{_choice('storage', 'Storage', {**KIND_NAMES, ALL: 'all'}, shown.storage)}"
        f"{_choice('mode', 'By', {**{mode: mode for mode in MODES}, ALL: 'all'}, shown.mode)}</div>{problem}"
    )


def _choice(name: str, label: str, of: dict[int, str] | dict[str, str], now: int | str) -> str:
    buttons = "".join(
        f'<button type="button" data-action="{name}" data-value="{value}" '
        f'aria-pressed="{"true" if value == now else "false"}">{safe(text)}</button>'
        for value, text in of.items()
    )
    return (
        f'<div class="control" role="group" aria-label="{label}"><span>{label}</span>'
        f'<span class="stops num">{buttons}</span></div>'
    )


def _table(rows: Sequence[Row], shown: Shown, quality: str) -> str:
    heads = "".join(
        _head(name, quality if name == "quality" else text, shown.sort) for name, text in COLUMNS.items()
    )
    body = "".join(_row(row, shown) for row in rows)
    return (
        '<div class="sheet-box" tabindex="0" role="region" aria-label="The sheet, which scrolls sideways">'
        '<table class="figures named num"><thead><tr>'
        f'<th scope="col"{_sorted(not shown.sort)}>{_sorter("", "Way")}</th>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _head(name: str, text: str, sort: str) -> str:
    way = "descending" if name == "quality" else "ascending"
    return f'<th scope="col"{_sorted(name == sort, way)}>{_sorter(name, text)}</th>'


def _sorted(here: bool, way: str = "ascending") -> str:
    return f' aria-sort="{way}"' if here else ""


def _sorter(name: str, text: str) -> str:
    return f'<button type="button" class="go" data-action="sort" data-value="{name}">{safe(text)}</button>'


def _row(row: Row, shown: Shown) -> str:
    way = row.way
    name = as_typed(way.name) or "Words alone"
    told = [way.mode] if way.name else []
    told += [KIND_NAMES[way.storage]] if shown.storage == ALL and way.storage else []
    groups = shown.budgets.groups
    shade = groups[shown.budgets.nearest(way.stop)].shade if way.stop else "var(--edge)"
    small = f" <small>{' · '.join(told)}</small>" if told else ""
    return (
        f'<tr><th scope="row"><span class="key" style="--shade:{shade}"></span> {name}{small}</th>'
        f"{_cell(row.memory, bytes_text)}{_cell(row.disk, bytes_text)}"
        f"{_cell(row.quality, lambda _: quality_text(row.quality))}"
        f"{_cell(row.latency, _ms(row.latency))}</tr>"
    )


def _ms(found: Figure) -> Callable[[float], str]:
    p95 = f", p95 {ms_text(found.high)}" if found.high is not None else ""
    return lambda value: f"{ms_text(value)}{p95}"


def _cell(found: Figure, text: Callable[[float], str]) -> str:
    if found.value is None:
        return f'<td class="unknown" title="{safe(found.told)}">{DASH}<small>not measured</small></td>'
    kind = "measured" if found.measured else "computed"
    return f'<td class="{kind}" title="{safe(found.told)}">{text(found.value)}<small>{kind}</small></td>'


def _legend(rows: Sequence[Row]) -> str:
    """From what the figures are: of the first row with each kind of source."""
    told = dict[str, str]()
    for row in rows:
        for column, name in COLUMNS.items():
            found: Figure = getattr(row, column)
            if found.value is not None:
                kind = "measured" if found.measured else "computed"
                example = f"{as_typed(row.way.name) or 'words'} {row.way.mode if row.way.name else 'alone'}"
                told.setdefault(f"{name}, {kind}", f"{found.told} ({example})")
    items = "".join(f"<dt>{safe(name)}</dt><dd>{safe(text)}</dd>" for name, text in told.items())
    return (
        '<details class="as-table"><summary>From what each figure is</summary>'
        f"<dl>{items}</dl><p>{WHAT}</p></details>"
    )


def _actions(decision: str, every: str, busy: bool) -> str:
    off = " disabled" if busy else ""
    copy = (
        f'<button type="button" class="quiet" {json_attribute("decision", decision)}>Copy decision</button>'
        '<span class="copied hint" role="status"></span>'
        if decision
        else ""
    )
    measure = (
        f'<button type="button" class="quiet" data-action="ways"{off}>{safe(every)}</button>' if every else ""
    )
    return f'<div class="ways">{copy}{measure}</div>' if copy or measure else ""


def _pages(n: int) -> str:
    return f"{SIZES[n]} pages" if n in SIZES else plural(n, "page")


def _csv(row: Row) -> list[object]:
    cells: list[object] = [row.way.name or "any", row.way.storage or "none", row.way.mode]
    for name in COLUMNS:
        found: Figure = getattr(row, name)
        cells += [found.value, "measured" if found.measured else "computed", found.told]
    return cells


def checked(text: str, most: int) -> int:
    """A number of pages as typed: 250000, 250,000, 2.5e5.

    Raises:
        ValueError: with the remedy, for anything else.

    >>> checked("2.5e5", 10**9), checked("1 000", 10**9)
    (250000, 1000)
    """
    try:
        value = float(text.replace(",", "").replace(" ", "").replace("’", "")[:20])
        pages = int(value)
    except (ValueError, OverflowError):
        pages, value = 0, 1
    if pages != value or not 1 <= pages <= most:
        raise ValueError(f"{text[:20]!r} is not a number of pages. Type one from 1 to {most:,}.")
    return pages
