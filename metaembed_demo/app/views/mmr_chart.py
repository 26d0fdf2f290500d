"""Chart of what MMR is worth: the encoder's curve beside that of one without it. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from metaembed_demo.core.budgets import Budgets
from metaembed_demo.core.text import budget_text
from metaembed_demo.evaluation.mmr_effect import MmrEffect

from . import plot
from .figure import as_table

NAMES = {"nested": "trained at every budget (MMR)", "alone": "trained at the finest budget alone"}


def mmr(found: MmrEffect, current: int, budgets: Budgets, more: str = "") -> str:
    """The two curves over the stops.

    Args:
        current: number of the stop in use. budgets: the encoder's. more: attributes, see `figure.origin`.
    """
    labels = [budget_text(stop.r_q, stop.r_c) for stop in budgets]
    rows = [
        [str(stop), round(whole, 4), round(alone, 4)]
        for stop, whole, alone in zip(budgets, found.nested, found.alone, strict=True)
    ]
    cells = [[label, f"{a:.3f}", f"{b:.3f}"] for label, (_, a, b) in zip(labels, rows, strict=True)]
    note = (
        f"Mean nDCG@5 over the dev sets {' and '.join(found.sets)} ({found.pages} pages, {found.queries} "
        "queries), not over your pages. Without MMR no token has a reason to be the first: all 64 are equal "
        "parts of the page, and a smaller budget reads some of them and leaves out the rest."
    )
    tables = as_table("All values as a table", ["Stop", "With MMR", "Without"], cells)
    files = plot.records(["budget", "with_mmr", "without_mmr"], rows)
    return plot.chart(
        "mmr", _finding(found, labels), _plot(found, labels, current), tables, files, note, more
    )


def _finding(found: MmrEffect, labels: Sequence[str]) -> str:
    lost = 100 * (found.nested[0] - found.alone[0])
    at_last = 100 * (found.nested[-1] - found.alone[-1])
    return (
        f"Without MMR, {labels[0]} scores {abs(lost):.0f} points {'less' if lost >= 0 else 'more'}, "
        f"{labels[-1]} {abs(at_last):.1f} {'less' if at_last >= 0 else 'more'}"
    )


def _plot(found: MmrEffect, labels: Sequence[str], current: int) -> plot.Plot:
    curves = {"nested": found.nested, "alone": found.alone}
    traces = [
        plot.trace(
            range(len(labels)),
            [round(value, 4) for value in values],
            [f"<b>{label}</b><br>{NAMES[key]}<br>{v:.3f}" for label, v in zip(labels, values, strict=True)],
            name=NAMES[key],
            mode="lines+markers",
            line=plot.page_line(key == "nested"),
            marker={"size": 9},
        )
        for key, values in curves.items()
    ]
    both = (*found.nested, *found.alone)
    room = max(max(both) - min(both), 0.05) * 0.1
    layout = plot.layout(
        260,
        (52, 0, 8, 72),
        xaxis=plot.stops(labels, current),
        yaxis=plot.axis(title="nDCG@5", range=[min(both) - room, max(both) + room]),
        legend={"orientation": "h", "x": 0, "y": -0.16, "yanchor": "top"},
        shapes=[plot.band(current - 0.5, current + 0.5)],
    )
    return plot.Plot("nDCG@5 at each stop, with MMR and without", traces, layout)
