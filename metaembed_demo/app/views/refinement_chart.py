"""What query refinement did: the scores of its pool over the steps, and where each query token went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metaembed_demo.core.text import DASH
from metaembed_demo.core.types import FloatArray

from . import plot
from .figure import Files, as_table, ordinal
from .html import safe

POINTS = 26  # of a line at most
NAMED = 6  # of the first pages, beside their lines
GAP = 0.1  # of the chart's height between two names
WIDTH = 0.56  # of the lines, as part of the chart's
NOTE = "MaxSim of the moved query with each page of the pool: the best pages by meaning and by words."


@dataclass(frozen=True)
class PoolPage:
    """A page of the pool. scores: (steps + 1,). before, after: 1-based ranks, None beyond the hits."""

    page_id: str
    name: str
    scores: FloatArray
    before: int
    after: int | None


@dataclass(frozen=True)
class Moved:
    """The page of the pool that a query token came closest to, and its cosine with that page's winner."""

    token: int
    name: str
    before: float
    after: float


def refinement(
    pages: Sequence[PoolPage], moved: Sequence[Moved], losses: FloatArray, chosen: str | None
) -> str:
    """The figure. losses: (steps + 1,) divergence from the consensus in nats. chosen: id of the open page."""
    steps = len(losses) - 1
    fell = f"Divergence from the consensus of both rankings: {losses[0]:.2g} to {losses[-1]:.2g} nats."
    tables = (
        f'<p class="path-told">{_towards(moved)} {fell}</p>'
        + as_table(
            "Scores and ranks as a table",
            ["Page", "MaxSim before", "after", "Rank before", "after"],
            [_row(page) for page in sorted(pages, key=lambda page: page.after or len(pages) + page.before)],
        )
        + as_table(
            "What each query token moved towards",
            ["Query token", "Page", "Cosine before", "after"],
            [[str(m.token), m.name, f"{m.before:.3f}", f"{m.after:.3f}"] for m in moved],
        )
    )
    drawn, files = _plot(pages, steps, chosen), _files(pages, moved, losses)
    return plot.chart("refinement", _finding(pages, steps), drawn, tables, files, NOTE)


def _plot(pages: Sequence[PoolPage], steps: int, chosen: str | None) -> plot.Plot:
    low, high = (float(f(float(f(page.scores)) for page in pages)) for f in (min, max))
    room = ((high - low) or 1.0) * 0.05
    low, high = low - room, high + room
    at = sorted({round(i * steps / (POINTS - 1)) for i in range(POINTS)})
    ordered = sorted(pages, key=lambda page: page.page_id == chosen)  # the open page on top
    first = sorted((page for page in pages if page.after), key=lambda page: page.after or 0)[:NAMED]
    places = _apart([(page, (float(page.scores[-1]) - low) / (high - low)) for page in first])
    names = [plot.page_name(_name(page, 60), WIDTH + 0.02, y, page.page_id == chosen) for page, y in places]
    layout = plot.layout(
        288,
        (56, 0, 8, 44),
        xaxis=plot.axis(title="steps", domain=[0, WIDTH], range=[0, steps]),
        yaxis=plot.axis(title="MaxSim", range=[low, high]),
        annotations=names,
    )
    narrow = {f"annotations[{i}].text": _name(page, 14) for i, (page, _) in enumerate(places)}
    words = "MaxSim of each page of the pool over the steps of refinement"
    return plot.Plot(words, [_trace(page, at, page.page_id == chosen) for page in ordered], layout, narrow)


def _trace(page: PoolPage, at: Sequence[int], chosen: bool) -> plot.Trace:
    return plot.trace(
        at,
        [round(float(page.scores[step]), 3) for step in at],
        "<b>%{meta}</b><br>MaxSim %{y:.2f} after %{x} steps",
        mode="lines",
        line=plot.page_line(chosen),
        meta=plot.plain(page.name),
    )


def _name(page: PoolPage, most: int) -> str:
    return f"{page.after}  {plot.plain(plot.cut(page.name, most))}"


def _apart(places: Sequence[tuple[PoolPage, float]]) -> list[tuple[PoolPage, float]]:
    """The names with their heights, 0 to 1, from the top, moved so that none covers another."""
    found: list[tuple[PoolPage, float]] = []
    for i, (page, y) in enumerate(sorted(places, key=lambda place: -place[1])):
        most = found[-1][1] - GAP if found else 1.0
        found.append((page, max(min(y, most), GAP * (len(places) - 1 - i))))
    return found


def _finding(pages: Sequence[PoolPage], steps: int) -> str:
    best = next((page for page in pages if page.after == 1), pages[0])
    if best.before == 1:
        others = sum(page.after is not None and page.after != page.before for page in pages)
        rest = f"; {others} others change places" if others > 1 else ""
        return f"After {steps} steps “{best.name}” is still first{rest}"
    return f"{steps} steps bring “{best.name}” from {ordinal(best.before)} to first"


def _towards(moved: Sequence[Moved]) -> str:
    most = max(moved, key=lambda each: each.after - each.before)
    return (
        f"Query token {most.token} moved most, towards “{safe(most.name)}”: cosine {most.before:.3f} to "
        f"{most.after:.3f}."
    )


def _row(page: PoolPage) -> list[str]:
    after = str(page.after) if page.after else DASH
    return [page.name, f"{page.scores[0]:.2f}", f"{page.scores[-1]:.2f}", str(page.before), after]


def _files(pages: Sequence[PoolPage], moved: Sequence[Moved], losses: FloatArray) -> Files:
    data = {
        "pages": [
            {
                "id": page.page_id,
                "name": page.name,
                "scores": [round(float(score), 3) for score in page.scores],
                "rank_before": page.before,
                "rank_after": page.after,
            }
            for page in pages
        ],
        "divergence": [round(float(loss), 5) for loss in losses],
        "tokens": [
            {"token": m.token, "towards": m.name, "before": round(m.before, 4), "after": round(m.after, 4)}
            for m in moved
        ],
    }
    head: list[object] = ["page_id", "page", "maxsim_before", "maxsim_after", "rank_before", "rank_after"]
    rows: list[list[object]] = [
        [p.page_id, p.name, round(float(p.scores[0]), 4), round(float(p.scores[-1]), 4), p.before, p.after]
        for p in pages
    ]
    return data, [head, *rows]
