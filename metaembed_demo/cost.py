"""What a budget costs: quality against latency and memory, and the timings of a session. Charts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from metaembed_demo.app.theme import GROUPS, reach

from .charts import Files, as_table, figure, nothing, ordinal, table
from .plots import STAGES
from .records import Budget
from .text import DASH, budget_text, bytes_text, ms_text, safe

GOOD = 0.95  # of the finest stop's quality, from which a coarser one is worth naming
FLOOR, CEILING = 26.0, 74.0  # percent of a panel's height that its lowest and highest value stand at
KEPT = 60  # searches that have room as columns
INKS = (88, 60, 40, 24, 12)  # percent, one a stage, as in `plots.timing`
OTHER = "Other"
OVERLAP = "overlap@5"  # of queries that nobody judged: agreement, which is not called quality
OVERLAP_KEEPS = "the first five pages"


# Quality, latency, memory


@dataclass(frozen=True)
class Point:
    """One stop: its quality with the ends of its 95% interval, ms a search, and index bytes a page.

    What was not measured is None.
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
        points: one a stop, coarse to fine.
        quality_name: such as "nDCG@5".
        current: the stop in use, 0 to 4.
    """
    if not points:
        return nothing(
            "tradeoff",
            "Nothing has been measured yet",
            "Once each budget was timed, its quality, speed and size stand here side by side.",
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
    """A number of a file, without the digits that nobody measured."""
    return None if value is None else round(value, 4)


def _plain(label: str) -> str:
    """A budget as it is typed, for files."""
    return label.replace("×", "x")


def _worth(points: Sequence[Point], current: int, quality_name: str) -> str:
    """What the stop in use, or the first one good enough, keeps of the finest one's quality."""
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
    """One panel. Its marks stand at the middles of equal columns."""
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
    if high - low < 0.05:  # a flat curve is drawn flat, not as noise
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


# A session's searches


@dataclass(frozen=True)
class Past:
    """One search or move of the dial. `timings` are ms by stage, as in `Trace.timings`."""

    query: str
    budget: str
    timings: dict[str, float]


def history(searches: Sequence[Past]) -> str:
    """Latency by stage of each search of a session, oldest first, and its percentiles by budget."""
    if not searches:
        return nothing(
            "history",
            "No search yet",
            "Each search and each move of the dial adds a column here, split by stage.",
        )
    shown, rows = searches[-KEPT:], _by_budget(searches)
    top = max(max(_total(past) for past in shown), 1e-9)
    columns = "".join(_column(past, top) for past in shown)
    oldest = "oldest" if len(shown) == len(searches) else f"{KEPT} ago"
    words = f"Latency by stage of {_searches(len(shown))}. {_past_finding(searches)}"
    body = (
        f'{_keys()}<div class="past"><span class="past-top num">{ms_text(top)}</span>'
        f'<div class="past-columns" role="img" aria-label="{words}">{columns}</div></div>'
        f'<p class="past-axis" aria-hidden="true"><span>{oldest}</span><span>newest search</span></p>'
        + table(["Budget", "Searches", "Median", "p95"], rows, [_shade(name) for name, *_ in rows])
        + as_table(
            "Each search as a table",
            ["Query", "Budget", "Total"],
            [[past.query, _budget_name(past.budget), ms_text(_total(past))] for past in reversed(searches)],
        )
    )
    note = (
        "Wall time on the server; the strip under a column is the shade of its budget. A move of the dial "
        "encodes nothing, and counts as a search here."
    )
    return figure("history", _past_finding(searches), body, *_past_files(searches), note)


def _past_files(searches: Sequence[Past]) -> Files:
    stages = [*STAGES, "total"]
    data = [
        {"query": p.query, "budget": _plain(p.budget), "ms": {k: _short(v) for k, v in p.timings.items()}}
        for p in searches
    ]
    rows: list[list[object]] = [
        [p.query, _plain(p.budget), *(_short(p.timings.get(stage)) for stage in stages)] for p in searches
    ]
    return data, [["query", "budget", *(f"{stage}_ms" for stage in stages)], *rows]


def _keys() -> str:
    """The stages in their tints."""
    keys = "".join(
        f'<span><i class="chip" style="--tint:{ink}%"></i>{name}</span>'
        for name, ink in zip([*STAGES.values(), OTHER], INKS, strict=True)
    )
    return f'<p class="past-keys">{keys}</p>'


def _searches(n: int) -> str:
    return f"{n:,} search{'' if n == 1 else 'es'}"


def _total(past: Past) -> float:
    return max(past.timings.get("total", 0.0), sum(past.timings.get(stage, 0.0) for stage in STAGES))


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))


def _past_finding(searches: Sequence[Past]) -> str:
    """Searches against moves of the dial where there are both, else the median."""
    moves = [_total(past) for past in searches if not past.timings.get("encode")]
    asked = [_total(past) for past in searches if past.timings.get("encode")]
    if moves and asked:
        return f"A search takes {ms_text(_median(asked))}, a move of the dial {ms_text(_median(moves))}"
    if len(searches) == 1:
        return f"One {'search' if asked else 'move of the dial'}, {ms_text(_total(searches[0]))}"
    if asked:
        return f"Half of {len(asked)} searches took less than {ms_text(_median(asked))}"
    return f"Half of {len(moves)} moves of the dial took less than {ms_text(_median(moves))}"


def _column(past: Past, top: float) -> str:
    stages = [past.timings.get(stage, 0.0) for stage in STAGES]
    parts = [*stages, _total(past) - sum(stages)]
    cells = "".join(
        f'<i style="height:{ms / top * 100:.2f}%;--tint:{ink}%"></i>'
        for ms, ink in reversed(list(zip(parts, INKS, strict=True)))
        if ms / top > 0.0005
    )
    words = f"{past.query or 'picture'} at {_budget_name(past.budget)}: {ms_text(_total(past))}"
    shade = _shade(past.budget)
    return f'<span title="{safe(words)}" style="--shade:{shade}"><span>{cells}</span><b></b></span>'


def _budget(text: str) -> Budget | None:
    try:
        return Budget.parse(text)
    except ValueError:
        return None


def _shade(text: str) -> str:
    budget = _budget(text)
    return GROUPS[reach(budget) - 1].shade if budget else "var(--edge)"


def _budget_name(text: str) -> str:
    budget = _budget(text)
    return budget_text(budget.r_q, budget.r_c) if budget else text


def _by_budget(searches: Sequence[Past]) -> list[list[str]]:
    """Budget, how many searches, their median and 95th percentile; coarse to fine."""

    def order(past: Past) -> tuple[int, int, str]:
        budget = _budget(past.budget)
        return (budget.r_q, budget.r_c, "") if budget else (10**6, 0, past.budget)

    rows = []
    for _, same in groupby(sorted(searches, key=order), key=order):
        found = list(same)
        totals = [_total(past) for past in found]
        p50, p95 = (ms_text(float(np.percentile(totals, q))) for q in (50, 95))
        rows.append([_budget_name(found[0].budget), f"{len(found)}", p50, p95])
    return rows
