"""Chart of the chances that hits answer: what is predicted against what was found. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from metaembed_demo.core.budgets import Budgets
from metaembed_demo.core.text import DASH
from metaembed_demo.index.fit import Bins, FitCalibration

from . import plot
from .figure import Row, as_table, as_typed, named, nothing

Z = 1.96  # of a 95% interval
HEAD = ["stop", "predicted", "found", "low", "high", "queries"]


def reliability(fit: FitCalibration | None, current: int, more: str = "") -> str:
    """Predicted chance against found share, at every stop; the current one with its intervals.

    Args:
        fit: the calibration of the encoder, None without one. current: number of the stop in use.
        more: attributes, see `figure.origin`.
    """
    if fit is None or not any(fit.reliability):
        text = "The chances of this encoder's hits were not tried on judged queries."
        return nothing("reliability", "No reliability to show", text)
    rows = _rows(fit.reliability, fit.budgets)
    note = (
        f"{fit.own} judged questions of the sample corpus ({fit.pages} pages) and {fit.foreign} that no page "
        "answers, either kind weighing one half; each was held out from the curve that tells its chance. On "
        "the diagonal, hits that are said to fit with 70% answer in 70 of 100 cases. A point is a tenth of "
        "the chances; whiskers are 95% intervals of the current stop."
    )
    head = ["Stop", "Predicted", "Found", "95% interval", "Queries"]
    tables = as_table("All values as a table", head, _cells(rows))
    title, files = _finding(fit, current), plot.records(HEAD, rows)
    return plot.chart("reliability", title, _plot(fit, current), tables, files, note, more)


def error(bins: Bins) -> float:
    """Mean distance of predicted and found, by queries.

    >>> error(((0.1, 0.2, 1), (0.5, 0.5, 3)))
    0.025
    """
    total = sum(count for *_, count in bins)
    return sum(abs(predicted - found) * count for predicted, found, count in bins) / max(total, 1)


def interval(found: float, count: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share.

    >>> [round(edge, 3) for edge in interval(0.5, 20)]
    [0.299, 0.701]
    """
    below = 1 + Z * Z / count
    middle = (found + Z * Z / (2 * count)) / below
    reach = Z * math.sqrt(found * (1 - found) / count + Z * Z / (4 * count * count)) / below
    return max(0.0, middle - reach), min(1.0, middle + reach)


def _finding(fit: FitCalibration, current: int) -> str:
    off = error(fit.reliability[current])
    return f"At {named(fit.budgets[current])} a predicted chance is off by {100 * off:.0f} points on average"


def _rows(of: Sequence[Bins], budgets: Budgets) -> list[list[Any]]:
    return [
        [str(stop), predicted, found, *(round(edge, 3) for edge in interval(found, count)), count]
        for stop, bins in zip(budgets, of, strict=True)
        for predicted, found, count in bins
    ]


def _cells(rows: Sequence[Sequence[Any]]) -> list[Row]:
    return [
        [as_typed(stop), f"{predicted:.0%}", f"{found:.0%}", f"{low:.0%}{DASH}{high:.0%}", str(count)]
        for stop, predicted, found, low, high, count in rows
    ]


def _plot(fit: FitCalibration, current: int) -> plot.Plot:
    order = [at for at in range(len(fit.budgets)) if at != current] + [current]  # the current one on top
    traces = [_trace(fit.reliability[at], fit.budgets, at, at == current) for at in order]
    percent = {place / 100: f"{place}%" for place in (0, 25, 50, 75, 100)}
    layout = plot.layout(
        360,
        (56, 24, 40, 48),
        xaxis=plot.axis(percent, "predicted chance that a first hit answers", range=[-0.02, 1.02]),
        yaxis=plot.axis(percent, "found to answer", range=[-0.02, 1.05]),
        shapes=[plot.line((0, 1), (0, 1), plot.MUTED, dash="dot", layer="below")],
    )
    return plot.Plot(
        "Share of first hits that answer by the predicted chance, one line a stop", traces, layout
    )


def _trace(bins: Bins, budgets: Budgets, at: int, current: bool) -> plot.Trace:
    shade, name = budgets.groups[at].shade, named(budgets[at])
    spans = [interval(found, count) for _, found, count in bins]
    told = [
        f"<b>{name}</b><br>predicted {predicted:.0%}<br>found {found:.0%}, 95% interval {low:.0%}{DASH}"
        f"{high:.0%}<br>{count} queries"
        for (predicted, found, count), (low, high) in zip(bins, spans, strict=True)
    ]
    trace = plot.trace(
        [predicted for predicted, *_ in bins],
        [found for _, found, _ in bins],
        told,
        mode="lines+markers",
        name=name,
        line={"color": shade, "width": 2 if current else 1},
        marker={"size": 9 if current else 6, "color": shade},
        opacity=1 if current else 0.5,
    )
    if current:
        trace["error_y"] = {
            "type": "data",
            "array": [high - found for (_, found, _), (_, high) in zip(bins, spans, strict=True)],
            "arrayminus": [found - low for (_, found, _), (low, _) in zip(bins, spans, strict=True)],
            "color": plot.MUTED,
            "thickness": 1,
            "width": 3,
        }
    return trace
