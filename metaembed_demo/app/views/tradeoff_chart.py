"""Chart of quality, latency and memory at the five stops. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from metaembed_demo.core.budgets import GROUPS
from metaembed_demo.core.text import DASH, bytes_text, ms_text

from .figure import Files, as_table, figure, nothing, ordinal
from .html import safe

GOOD = 0.95  # minimum share of the finest stop's quality for a coarser stop to be named in the title
FLOOR, CEILING = 26.0, 74.0  # heights of a panel's lowest and highest value, in percent
OVERLAP = "overlap@5"  # metric of queries without judgements: agreement, not quality
OVERLAP_KEEPS = "the first five pages"


# Quality, latency, memory


@dataclass(frozen=True)
class Point:
    """One stop: quality with its 95% interval, ms per search, and index bytes per page.

    Values that were not measured are None.
    """

    label: str
    quality: float | None
    low: float | None
    high: float | None
    p50_ms: float
    p95_ms: float
    bytes_per_page: int


def tradeoff(points: Sequence[Point], quality_name: str, current: int) -> str:
    """Quality, latency and memory of the stops in three panels.

    Args:
        points: one per stop, coarse to fine.
        quality_name: such as "nDCG@5".
        current: the stop in use, 0 to 4.
    """
    if not points:
        return nothing(
            "tradeoff",
            "Nothing has been measured yet",
            "After a measurement, quality, speed and size of the budgets are shown here side by side.",
        )
    name = quality_name if all(p.low is None for p in points) else f"{quality_name}, 95% interval"
    panels = (
        _panel(name, points, current, _quality(points)),
        _panel("Latency in ms, median and p95", points, current, _latency(points)),
        _panel("Bytes a page, log scale", points, current, _memory(points)),
    )
    head = ["Stop", quality_name, "95% interval", "Median", "p95", "A page"]
    body = f'<div class="trade">{"".join(panels)}</div>' + as_table(
        "All values as a table", head, [_point_row(point) for point in points]
    )
    return figure(
        "tradeoff", _worth(points, current, quality_name), body, *_point_files(points, quality_name)
    )


def _point_files(points: Sequence[Point], quality_name: str) -> Files:
    names = ["budget", "quality", "low", "high", "p50_ms", "p95_ms", "bytes_per_page"]
    rows: list[list[object]] = [
        [_plain(p.label), *map(_short, (p.quality, p.low, p.high, p.p50_ms, p.p95_ms)), p.bytes_per_page]
        for p in points
    ]
    data = {"quality": quality_name, "stops": [dict(zip(names, row, strict=True)) for row in rows]}
    return data, [list[object](names), *rows]


def _short(value: float | None) -> float | None:
    """A number for a file, rounded to its significant digits."""
    return None if value is None else round(value, 4)


def _plain(label: str) -> str:
    """A budget as typed (8x16), for files."""
    return label.replace("×", "x")


def _worth(points: Sequence[Point], current: int, quality_name: str) -> str:
    """The finding: the share of the finest stop's quality kept by the current or the first good stop."""
    kept_of = OVERLAP_KEEPS if quality_name == OVERLAP else "the quality"
    fine = points[-1]
    kept = [(p.quality / fine.quality if p.quality is not None and fine.quality else None) for p in points]
    at = current if current < len(points) - 1 else _good(kept)
    point, share = points[at], kept[at]
    memory = _fraction(fine.bytes_per_page / max(point.bytes_per_page, 1))
    if at == len(points) - 1:
        size = bytes_text(fine.bytes_per_page)
        return f"{fine.label} answers in {ms_text(fine.p50_ms)} and takes {size} a page"
    if share is None:
        return f"{point.label} answers in {ms_text(point.p50_ms)} at {memory} of the memory of {fine.label}"
    if share >= 1.005:
        more = f"{share * 100 - 100:.0f}% higher"
        return f"{point.label} scores {more} than {fine.label} at {memory} of the memory"
    if share >= 0.995:
        return f"{point.label} is as good as {fine.label} at {memory} of the memory"
    return f"{point.label} keeps {share * 100:.0f}% of {kept_of} at {memory} of the memory"


def _good(kept: Sequence[float | None]) -> int:
    found = (i for i, share in enumerate(kept[:-1]) if share is not None and share >= GOOD)
    return next(found, max(len(kept) - 2, 0))


def _fraction(times: float) -> str:
    """
    >>> [_fraction(n) for n in (1, 2, 4, 8, 11, 64)]
    ['all', 'half', 'a quarter', 'an eighth', 'an 11th', 'a 64th']
    """
    n = round(times)
    special = {0: "all", 1: "all", 2: "half", 4: "a quarter"}.get(n)
    article = "an" if n in (8, 11, 18) or 80 <= n < 90 else "a"
    return special or f"{article} {ordinal(n)}"


@dataclass(frozen=True)
class _Mark:
    """One value in a panel: heights in percent, and its label. `low` and `high` are the whisker's ends."""

    at: float
    label: str
    low: float | None = None
    high: float | None = None
    top_label: str = ""


def _panel(name: str, points: Sequence[Point], current: int, marks: Sequence[_Mark | None]) -> str:
    """One panel. Its marks are centered in equal columns."""
    width = 100 / len(points)
    xs = [(i + 0.5) * width for i in range(len(points))]
    line = " ".join(f"{x:.2f},{100 - m.at:.2f}" for x, m in zip(xs, marks, strict=True) if m)
    drawn = "".join(
        _mark(m, x, group.shade, i == current)
        for i, (m, x, group) in enumerate(zip(marks, xs, GROUPS, strict=False))
        if m
    )
    stops = "".join(
        f'<span class="num{" trade-here" if i == current else ""}">{safe(p.label)}</span>'
        for i, p in enumerate(points)
    )
    words = ", ".join(f"{p.label} {m.label}" for p, m in zip(points, marks, strict=True) if m)
    empty = "" if line else '<p class="trade-none">Not measured yet</p>'
    band = f'<span class="trade-band" style="left:{current * width:.2f}%;width:{width:.2f}%"></span>'
    return (
        f'<section class="trade-panel"><h4>{safe(name)}</h4><div class="trade-plot" role="img" '
        f'aria-label="{safe(name)}: {safe(words) or "not measured yet"}">{band}'
        '<svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">'
        f'<polyline points="{line}"/></svg>{drawn}{empty}</div>'
        f'<div class="trade-stops" aria-hidden="true">{stops}</div></section>'
    )


def _mark(mark: _Mark, x: float, shade: str, here: bool) -> str:
    whisker = over = ""
    top = mark.at
    if mark.low is not None and mark.high is not None and mark.high > mark.low:
        top = mark.high
        whisker = f'<i class="trade-whisker" style="bottom:{mark.low:.2f}%;height:{top - mark.low:.2f}%"></i>'
    label_at = mark.at if mark.top_label else top
    if mark.top_label:
        over = f'<span class="trade-value num" style="bottom:{top:.2f}%">{mark.top_label}</span>'
    under = " trade-under" if mark.top_label else ""
    return (
        f'<span class="trade-mark{" trade-here" if here else ""}" style="left:{x:.2f}%;--shade:{shade}">'
        f'{whisker}<i class="trade-dot" style="bottom:{mark.at:.2f}%"></i>{over}'
        f'<span class="trade-value trade-main num{under}" style="bottom:{label_at:.2f}%">{mark.label}'
        "</span></span>"
    )


def _height(value: float, low: float, high: float) -> float:
    return FLOOR + (CEILING - FLOOR) * (value - low) / max(high - low, 1e-9)


def _quality(points: Sequence[Point]) -> list[_Mark | None]:
    found = [v for p in points for v in (p.quality, p.low, p.high) if v is not None]
    low, high = (min(found), max(found)) if found else (0.0, 1.0)
    if high - low < 0.05:  # a flat curve is drawn flat, without magnifying noise
        low, high = (low + high) / 2 - 0.025, (low + high) / 2 + 0.025

    def place(value: float | None) -> float | None:
        return None if value is None else _height(value, low, high)

    return [
        None
        if p.quality is None
        else _Mark(_height(p.quality, low, high), f"{p.quality:.2f}", place(p.low), place(p.high))
        for p in points
    ]


def _latency(points: Sequence[Point]) -> list[_Mark | None]:
    high = max(max(p.p50_ms, p.p95_ms) for p in points)
    return [
        _Mark(
            _height(p.p50_ms, 0, high),
            _ms(p.p50_ms),
            _height(p.p50_ms, 0, high),
            _height(p.p95_ms, 0, high),
            _ms(p.p95_ms),
        )
        for p in points
    ]


def _ms(ms: float) -> str:
    return f"{ms:.1f}" if ms < 99.95 else f"{ms:,.0f}"


def _memory(points: Sequence[Point]) -> list[_Mark | None]:
    logs = [math.log(max(p.bytes_per_page, 1)) for p in points]
    return [
        _Mark(_height(log, min(logs), max(logs)), bytes_text(p.bytes_per_page))
        for p, log in zip(points, logs, strict=True)
    ]


def _point_row(p: Point) -> list[str]:
    quality = DASH if p.quality is None else f"{p.quality:.2f}"
    interval = DASH if p.low is None or p.high is None else f"{p.low:.2f}{DASH}{p.high:.2f}"
    return [p.label, quality, interval, ms_text(p.p50_ms), ms_text(p.p95_ms), bytes_text(p.bytes_per_page)]
