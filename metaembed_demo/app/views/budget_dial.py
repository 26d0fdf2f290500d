"""The budget dial: five trained budgets with their quality curve."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from metaembed_demo.core.budgets import GROUPS, STOPS, Budget, position, reach
from metaembed_demo.core.text import budget_text, bytes_text, ms_text
from metaembed_demo.evaluation.quality_curve import Curve


def dial(
    budget: Budget,
    bytes_per_page: Sequence[int],
    curve: Curve | None = None,
    readout: str = "",
    storage: str = "float16",
) -> str:
    """The dial as HTML.

    Args:
        budget: the budget in use; one of the stops, or a free one.
        bytes_per_page: index bytes per page at each of the five stops.
        curve: quality of the stops; None draws the dial without a curve.
        readout: HTML of the line on the right: the cost of the last move.
        storage: the storage kind; the curve was measured with float16, which is noted for other kinds.
    """
    at = position(budget)
    lit = reach(budget)
    heights = _heights(curve)
    columns = "".join(
        _column(i, bytes_per_page[i], curve, heights, lit=i < lit, here=STOPS[i] == budget)
        for i in range(len(STOPS))
    )
    free = "" if budget.trained else " free"
    return (
        f'<section class="dial{free}" aria-labelledby="dial-title">'
        f'<div class="dial-head"><h2 id="dial-title">{_title(budget, curve, storage)}</h2>'
        f'<p class="readout" aria-live="polite">{readout}</p></div>'
        f'<div class="slider{"" if curve else " flat"}" role="slider" tabindex="0" aria-label="Budget" '
        f'aria-valuemin="1" aria-valuemax="{len(STOPS)}" aria-valuenow="{round(at) + 1}" '
        f'aria-valuetext="{_words(budget, bytes_per_page, curve)}" data-stop="{round(at)}" '
        f'data-exact="{int(budget.trained)}" style="--at:{at:.3f}">'
        f"{_chart(heights, lit)}{_axis(curve)}{columns}"
        f'<span class="thumb" aria-hidden="true"></span></div></section>'
    )


def _title(budget: Budget, curve: Curve | None, storage: str) -> str:
    name = f'<b class="num">{budget_text(budget.r_q, budget.r_c)}</b>'
    tokens = f"{budget.r_q} query {_tokens(budget.r_q)}, {budget.r_c} a page"
    if not budget.trained:
        return f"{name} <span>{tokens}: an untrained stop</span>"
    if curve is None:
        return f"{name} <span>{tokens}</span>"
    score = curve.scores[STOPS.index(budget)]
    kept = "" if storage == "float16" else ", as float16"
    return (
        f"{name} <span>{tokens} "
        f'<span class="worth"><span class="sep">·</span> nDCG@5 <b class="num">{score:.2f}</b> '
        f"on {curve.questions} sample questions{kept}</span></span>"
    )


def _tokens(n: int) -> str:
    return "token" if n == 1 else "tokens"


def _words(budget: Budget, bytes_per_page: Sequence[int], curve: Curve | None) -> str:
    """The dial's value in words, for a screen reader."""
    if not budget.trained:
        return f"{budget.r_q} query by {budget.r_c} candidate tokens, untrained stop"
    stop = STOPS.index(budget)
    quality = f", nDCG@5 {curve.scores[stop]:.2f}" if curve else ""
    size = bytes_text(bytes_per_page[stop])
    return f"{budget.r_q} query by {budget.r_c} candidate tokens, {size} a page{quality}"


def _heights(curve: Curve | None) -> list[float] | None:
    """Heights of the curve in percent: lowest score at 20, highest at 64 (labels need the rest)."""
    if curve is None:
        return None
    low, high = min(curve.scores), max(curve.scores)
    span = max(high - low, 0.05)  # a flat curve is drawn flat, without magnifying noise
    return [20 + 44 * (score - low) / span for score in curve.scores]


def _chart(heights: list[float] | None, lit: int) -> str:
    """The curve over the stops, one band per group; x in percent of the dial's width."""
    if heights is None:
        return ""
    xs = [(i + 0.5) * 20 for i in range(5)]
    ys = [100 - h for h in heights]
    edges = [ys[0], *((a + b) / 2 for a, b in pairwise(ys)), ys[-1]]
    bands = "".join(
        f'<polygon class="band{" on" if i < lit else ""}" style="--shade:{GROUPS[i].shade}" points="'
        f"{i * 20},100 {i * 20},{edges[i]:.1f} {xs[i]:.0f},{ys[i]:.1f} {i * 20 + 20},{edges[i + 1]:.1f} "
        f'{i * 20 + 20},100"/>'
        for i in range(5)
    )
    line = " ".join(f"{x:.0f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
    return (
        '<svg class="curve" viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">'
        f'{bands}<polyline points="{line}"/></svg>'
    )


def _axis(curve: Curve | None) -> str:
    return '<span class="axis" aria-hidden="true">nDCG@5</span>' if curve else ""


def _column(
    i: int, size: int, curve: Curve | None, heights: list[float] | None, *, lit: bool, here: bool
) -> str:
    stop = STOPS[i]
    point = ""
    if curve is not None and heights is not None:
        point = (
            f'<span class="point" style="bottom:{heights[i]:.1f}%"></span>'
            f'<span class="quality num" style="bottom:{heights[i]:.1f}%">{curve.scores[i]:.2f}</span>'
        )
    marks = (" on" if lit else "") + (" here" if here else "")
    return (
        f'<span class="stop{marks}" data-stop="{i}" aria-hidden="true" style="--shade:{GROUPS[i].shade}" '
        f'data-words="{_words(stop, [size] * 5, curve)}">'
        f'<span class="plot">{point}</span><span class="track"></span>'
        f'<span class="name num">{budget_text(stop.r_q, stop.r_c)}</span>'
        f'<span class="size num">{bytes_text(size)}<span class="wide"> a page</span></span></span>'
    )


def readout(moved: bool, server_ms: float, rerank_ms: float, total_ms: float) -> str:
    """The cost of the last search or move, as HTML.

    Args:
        moved: whether only the budget changed.
        server_ms: total server time for this answer.
        rerank_ms, total_ms: timings of the search.
    """
    if moved:
        return (
            f'<b class="num">{ms_text(server_ms)}</b> server time '
            '<span class="sep">·</span> re-ranked, nothing encoded again'
        )
    return (
        f'<b class="num">{ms_text(rerank_ms)}</b> of '
        f'<span class="num">{ms_text(total_ms)}</span> in this query depend on the dial'
    )
