"""Chart of quality, latency and memory at the stops. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from metaembed_demo.core.budgets import OURS, Budgets
from metaembed_demo.core.text import DASH, bytes_text, ms_text

from . import plot
from .figure import Files, Go, as_table, nothing, ordinal

GOOD = 0.95  # minimum share of the finest stop's quality for a coarser stop to be named in the title
OVERLAP = "overlap@5"  # metric of queries without judgements: agreement, not quality
OVERLAP_KEEPS = "the first five pages"


Values = Sequence[float | None]  # one a stop; None: not measured


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


def tradeoff(
    points: Sequence[Point], quality_name: str, current: int, more: str = "", budgets: Budgets = OURS
) -> str:
    """Quality, latency and memory of the stops in three panels.

    Args:
        points: one per stop, coarse to fine.
        quality_name: such as "nDCG@5".
        current: number of the stop in use. more: attributes, see `figure.origin`. budgets: the stops.
    """
    if not points:
        return nothing(
            "tradeoff",
            "Nothing has been measured yet",
            "After a measurement, quality, speed and size of the budgets are shown here side by side.",
        )
    return plot.chart(
        "tradeoff",
        _worth(points, current, quality_name),
        _plot(points, quality_name, current, [group.shade for group in budgets.groups]),
        as_table(
            "All values as a table",
            ["Stop", quality_name, "95% interval", "Median", "p95", "A page"],
            [_point_row(point) for point in points],
        ),
        _point_files(points, quality_name),
        "A point, or a stop in the table, searches at that budget.",
        more,
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


def _plot(points: Sequence[Point], quality_name: str, current: int, shades: Sequence[str]) -> plot.Plot:
    quality, p50 = [p.quality for p in points], [p.p50_ms for p in points]
    tops, sizes = [max(p.p50_ms, p.p95_ms) for p in points], [p.bytes_per_page for p in points]
    name = quality_name if all(p.low is None for p in points) else f"{quality_name}, 95% interval"
    above = [q if p.high is None else p.high for p, q in zip(points, quality, strict=True)]
    traces = [
        _trace(1, points, shades, quality, [p.low for p in points], [p.high for p in points]),
        _trace(2, points, shades, p50, p50, tops),
        _trace(3, points, shades, sizes),
        _labels(1, above, [DASH if q is None else f"{q:.2f}" for q in quality]),
        _labels(2, p50, [_ms(ms) for ms in p50], "bottom center"),
        _labels(2, tops, [_ms(p.p95_ms) for p in points], color=plot.MUTED),
        _labels(3, sizes, [bytes_text(size) for size in sizes]),
    ]
    titles = (name, "Latency in ms, median and p95", "Bytes a page, log scale")
    ranges = (
        _spread([v for p in points for v in (p.quality, p.low, p.high) if v is not None], 0.05),
        _spread([0.0, *p50, *tops]),
        _spread([math.log10(max(size, 1)) for size in sizes]),
    )
    grid = {"rows": 1, "columns": 3, "pattern": "independent", "xgap": 0.25, "ygap": 0.4}
    layout = plot.layout(236, (0, 0, 40, 28), grid=grid, shapes=[], annotations=[])
    for i, (title, within) in enumerate(zip(titles, ranges, strict=True)):
        at = str(i + 1) if i else ""
        layout["shapes"].append(plot.band(current - 0.5, current + 0.5, at))
        layout["annotations"].append(plot.heading(title, (at, at), 12))
        layout[f"xaxis{at}"] = plot.stops([p.label for p in points], current)
        layout[f"yaxis{at}"] = {"range": within, "visible": False, "type": "log" if i == 2 else "linear"}
    if not any(q is not None for q in quality):
        middle = {"xref": "x domain", "yref": "y domain", "xanchor": "center"}
        layout["annotations"].append(plot.note("Not measured yet", 0.5, 0.5, **middle))
    narrow = {"height": 660, "grid.rows": 3, "grid.columns": 1}
    return plot.Plot(f"{name}, latency in ms and bytes a page at each stop", traces, layout, narrow)


def _trace(
    panel: int,
    points: Sequence[Point],
    shades: Sequence[str],
    values: Values,
    low: Values = (),
    high: Values = (),
) -> plot.Trace:
    """The line of one panel. low, high: the ends of its whiskers."""

    def lengths(ends: Values) -> list[float | None]:
        return [None if a is None or b is None else abs(a - b) for a, b in zip(ends, values, strict=True)]

    marks = {"size": 11, "color": list(shades[: len(points)]), "opacity": 1}
    trace = plot.trace(
        range(len(points)),
        values,
        [_told(point, panel) for point in points],
        **_on(panel),
        connectgaps=True,
        mode="lines+markers",
        line={"color": plot.INK, "width": 1.5},
        marker=marks | {"line": {"color": plot.INK, "width": 1.5}},
        customdata=list(range(len(points))),
    )
    if low:
        bars = {"type": "data", "symmetric": False, "array": lengths(high), "arrayminus": lengths(low)}
        trace["error_y"] = bars | {"color": plot.MUTED, "thickness": 1, "width": 3}
    return trace


def _on(panel: int) -> plot.Trace:
    return {"xaxis": f"x{panel}", "yaxis": f"y{panel}"} if panel > 1 else {}


def _labels(
    panel: int, values: Values, texts: Sequence[str], where: str = "top center", color: str = plot.SOFT
) -> plot.Trace:
    """Texts beside the points at the values."""
    look = {"mode": "markers+text", "marker": {"size": 11, "opacity": 0}, "cliponaxis": False}
    text = {"text": texts, "textposition": where, "textfont": {"size": 13, "color": color}}
    return plot.trace(range(len(values)), values) | _on(panel) | look | text


def _ms(ms: float) -> str:
    return f"{ms:.1f}" if ms < 99.95 else f"{ms:,.0f}"


def _told(p: Point, panel: int) -> str:
    """What is shown at a point."""
    if panel == 2:
        return f"<b>{p.label}</b><br>median {ms_text(p.p50_ms)}<br>p95 {ms_text(p.p95_ms)}"
    if panel == 3:
        return f"<b>{p.label}</b><br>{bytes_text(p.bytes_per_page)} a page"
    quality = DASH if p.quality is None else f"{p.quality:.3f}"
    known = p.low is not None and p.high is not None
    return f"<b>{p.label}</b><br>{quality}" + (
        f"<br>95% interval {p.low:.3f}{DASH}{p.high:.3f}" if known else ""
    )


def _spread(values: Sequence[float], least: float = 0.0) -> list[float]:
    """The range of an axis around the values, with room for their labels.

    least: spread below which a curve is drawn flatter, so that noise is not magnified.
    """
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = max(high - low, least, 1e-9) * 0.3 + max(least - (high - low), 0.0) / 2
    return [low - room, high + room]


def _point_row(p: Point) -> list[str | Go]:
    quality = DASH if p.quality is None else f"{p.quality:.2f}"
    interval = DASH if p.low is None or p.high is None else f"{p.low:.2f}{DASH}{p.high:.2f}"
    stop = Go(p.label, {"action": "use", "value": _plain(p.label)})
    return [stop, quality, interval, ms_text(p.p50_ms), ms_text(p.p95_ms), bytes_text(p.bytes_per_page)]
