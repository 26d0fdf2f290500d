"""What query refinement did: the scores of its pool over the steps, and where each query token went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metaembed_demo.core.text import DASH
from metaembed_demo.core.types import FloatArray

from .figure import Files, as_table, figure, ordinal
from .html import safe

POINTS = 26  # of a line at most
NAMED = 6  # of the first pages, beside their lines
GAP = 11  # percent of the chart's height between two names
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
    low = min(float(page.scores.min()) for page in pages)
    high = max(float(page.scores.max()) for page in pages)
    span = (high - low) or 1.0
    at = sorted({round(i * steps / (POINTS - 1)) for i in range(POINTS)})

    def top(score: float) -> float:
        return (high - score) / span * 100

    lines = "".join(
        f'<polyline{_open(page, chosen)} points="'
        + " ".join(f"{x / steps * 100:.3g},{top(float(page.scores[x])):.3g}" for x in at)
        + '"/>'
        for page in sorted(pages, key=lambda page: page.page_id == chosen)  # the open page on top
    )
    first = sorted((page for page in pages if page.after), key=lambda page: page.after or 0)[:NAMED]
    names = "".join(
        f'<span{_open(page, chosen)} style="top:{y:.1f}%"><b>{page.after}</b> {safe(page.name)}</span>'
        for page, y in _apart([(page, top(float(page.scores[-1]))) for page in first])
    )
    fell = f"Divergence from the consensus of both rankings: {losses[0]:.2g} to {losses[-1]:.2g} nats."
    body = (
        '<div class="path-body"><div class="path"><p class="path-scale num" aria-hidden="true">'
        f"<span>{high:.2f}</span><span>MaxSim</span><span>{low:.2f}</span></p>"
        '<svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">'
        f'{lines}</svg><div class="path-names" aria-hidden="true">{names}</div>'
        '<p class="path-axis num" aria-hidden="true"><span>0</span><span>steps</span>'
        f'<span>{steps}</span></p></div><div><p class="path-told">{_towards(moved)} {fell}</p>'
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
        + "</div></div>"
    )
    return figure("refinement", _finding(pages, steps), body, *_files(pages, moved, losses), NOTE)


def _open(page: PoolPage, chosen: str | None) -> str:
    return ' class="path-open"' if page.page_id == chosen else ""


def _apart(places: Sequence[tuple[PoolPage, float]]) -> list[tuple[PoolPage, float]]:
    """The names from the top, moved so that none covers another."""
    found: list[tuple[PoolPage, float]] = []
    for i, (page, y) in enumerate(sorted(places, key=lambda place: place[1])):
        least = found[-1][1] + GAP if found else 0.0
        found.append((page, min(max(y, least), 100 - GAP * (len(places) - 1 - i))))
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
