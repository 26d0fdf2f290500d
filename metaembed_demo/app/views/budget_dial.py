"""The budget dial: the trained budgets with their quality curve, and Auto, where it sets itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from metaembed_demo.collection.calibration import AUTO
from metaembed_demo.collection.ranker import Automatic
from metaembed_demo.core.budgets import OURS, Budget, Budgets
from metaembed_demo.core.text import budget_text, bytes_text, ms_text, plural
from metaembed_demo.evaluation.quality_curve import Curve

from .html import safe


@dataclass(frozen=True)
class Setting:
    """The dial sets itself; `told`: what it did in the open search, if there is one."""

    told: Automatic | None = None


def dial(
    budget: Budget,
    bytes_per_page: Sequence[int],
    curve: Curve | None = None,
    readout: str = "",
    storage: str = "float16",
    auto: Setting | None = None,
    answer: Sequence[str] = (),
    budgets: Budgets = OURS,
) -> str:
    """The dial as HTML.

    Args:
        budget: the budget in use; one of the stops, or a free one.
        bytes_per_page: index bytes per page at each stop.
        curve: quality of the stops; None, or one of other stops, draws the dial without a curve.
        readout: HTML of the line on the right: the cost of the last move.
        storage: the storage kind; the curve was measured with one kind, which is noted for others.
        auto: where the dial sets itself; the thumb then is at the stop that the query needed.
        answer: the rank of the judged answer at each stop, if it is known.
        budgets: the stops.
    """
    told = auto.told if auto else None
    budget = (told and told.needed) or budget
    at, lit, trained = budgets.position(budget), budgets.reach(budget), budget in budgets
    curve = curve if curve and len(curve.scores) == len(budgets) else None
    heights, words_of = _heights(curve), _worded(budgets, bytes_per_page, curve)
    columns = "".join(
        _column(
            i,
            stop,
            bytes_per_page[i],
            curve,
            heights,
            words_of(stop),
            lit=i < lit,
            here=auto is None and stop == budget,
            answer=answer[i] if answer else "",
        )
        for i, stop in enumerate(budgets)
    )
    state = " auto" if auto else "" if trained else " free"
    title = _auto_title(told) if auto else _title(budget, budgets, curve, storage)
    words = _auto_words(told) if auto else words_of(budget)
    if answer and auto is None and trained:
        words += _answers_words(answer[budgets.index(budget)])
    count = "" if len(budgets) == len(OURS) else f";--stops:{len(budgets)}"
    many = " many" if len(budgets) > len(OURS) else ""  # sizes without words
    return (
        f'{ramp(budgets)}<section class="dial{state}" aria-labelledby="dial-title">'
        f'<div class="dial-row"><div class="slider{"" if curve else " flat"}{many}" role="slider" '
        f'tabindex="0" aria-label="Budget" '
        f'aria-valuemin="1" aria-valuemax="{len(budgets)}" aria-valuenow="{round(at) + 1}" '
        f'aria-valuetext="{words}" data-stop="{round(at)}" '
        f'data-exact="{int(trained and auto is None)}" style="--at:{at:.3f}{count}">'
        f"{_chart(heights, lit)}{_axis(curve)}{columns}"
        f'<span class="thumb" aria-hidden="true"></span></div>{_auto_stop(auto)}'
        f'<div class="dial-head"><h2 id="dial-title">{title}</h2>'
        f'<p class="readout" aria-live="polite">{readout}</p>{_promise(told)}</div></div></section>'
    )


def ramp(budgets: Budgets) -> str:
    """The shades of the groups of an encoder with other than five, as a style sheet of the whole page.

    The dial is always there, and drawn anew with another encoder. Gradio makes the rules of web/ more
    specific than these.
    """
    if len(budgets) == len(OURS):
        return ""
    groups = budgets.groups
    mixed = "".join(f"--shade-{each.index + 1}-of-{each.count}:{each.mixed('shade')};" for each in groups)
    marks = "".join(f"--mark-of-{each.index + 1}:{each.mixed('mark')};" for each in groups)
    shades = "".join(f".g{each.index}{{--shade:{each.shade}!important}}" for each in groups)
    return f"<style>body{{{mixed}{marks}}}{shades}</style>"


def _auto_stop(auto: Setting | None) -> str:
    """The stop beside the trained ones, a button."""
    cells = f"{auto.told.cells:.1%} of cells" if auto and auto.told else "sets itself"
    pressed = str(auto is not None).lower()
    return (
        f'<button type="button" class="auto-stop" data-stop="{AUTO}" aria-pressed="{pressed}" '
        'title="Compute only the cells that can still change the answer">'
        '<span class="track"></span><span class="name">Auto</span>'
        f'<span class="size num">{cells}</span></button>'
    )


def _auto_title(told: Automatic | None) -> str:
    if told is None:
        return "<b>Auto</b> <span>each query sets its own budget</span>"
    cells = (
        f'<b class="num">{told.cells:.1%}</b> of the cells, <b class="num">{told.full_pages:,}</b> '
        f"{'page' if told.full_pages == 1 else 'pages'} in full"
    )
    if told.needed is None:
        return f"<b>Auto</b> <span>{cells}</span>"
    name = f'<b class="num">{budget_text(told.needed.r_q, told.needed.r_c)}</b>'
    return f'<b>Auto</b> <span>this query needed {name} <span class="sep">·</span> {cells}</span>'


def _auto_words(told: Automatic | None) -> str:
    """The dial's value in words, where it sets itself."""
    if told is None or told.needed is None:
        return "Auto: each query sets its own budget"
    return f"Auto: this query needed {told.needed.r_q} query by {told.needed.r_c} candidate tokens"


def _promise(told: Automatic | None) -> str:
    """What Auto keeps, by which calibration, and how the needed stop was found."""
    if told is None:
        return ""
    full = told.auto.full
    promise = told.auto.promise().replace(str(full), budget_text(full.r_q, full.r_c))
    if told.needed is None and promise:
        promise = "Words alone rank the pages, so only those they found were scored, all in full"
    parts = [promise, told.auto.note]
    if told.needed is not None:
        parts.append(
            "Needed: the smallest stop from which on the first page by meaning stays, of "
            f"{plural(told.among, 'page')}"
        )
    said = ". ".join(part.rstrip(".") for part in parts if part)
    said = f"{said[:1].upper()}{said[1:]}."
    return f'<details class="promise"><summary>What Auto keeps</summary><p>{said}</p></details>'


def _title(budget: Budget, budgets: Budgets, curve: Curve | None, storage: str) -> str:
    name = f'<b class="num">{budget_text(budget.r_q, budget.r_c)}</b>'
    tokens = f"{budget.r_q} query {_tokens(budget.r_q)}, {budget.r_c} a page"
    if budget not in budgets:
        return f"{name} <span>{tokens}: an untrained stop</span>"
    if curve is None:
        return f"{name} <span>{tokens}</span>"
    score = curve.scores[budgets.index(budget)]
    kept = "" if storage == curve.storage else f", as {curve.storage}"
    return (
        f"{name} <span>{tokens}</span>"
        f'<span class="worth">nDCG@5 <b class="num">{score:.2f}</b> '
        f"on {curve.questions} {curve.source}{kept}</span>"
    )


def _tokens(n: int) -> str:
    return "token" if n == 1 else "tokens"


def _worded(budgets: Budgets, bytes_per_page: Sequence[int], curve: Curve | None) -> Callable[[Budget], str]:
    """Gives the dial's value in words, for a screen reader."""

    def words(budget: Budget) -> str:
        tokens = f"{budget.r_q} query by {budget.r_c} candidate tokens"
        if budget not in budgets:
            return f"{tokens}, untrained stop"
        stop = budgets.index(budget)
        quality = f", nDCG@5 {curve.scores[stop]:.2f}" if curve else ""
        return f"{tokens}, {bytes_text(bytes_per_page[stop])} a page{quality}"

    return words


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
    wide = 100 / len(heights)
    xs = [(i + 0.5) * wide for i in range(len(heights))]
    ys = [100 - h for h in heights]
    edges = [ys[0], *((a + b) / 2 for a, b in pairwise(ys)), ys[-1]]
    bands = "".join(
        f'<polygon class="band g{i}{" on" if i < lit else ""}" points="'
        f"{i * wide:g},100 {i * wide:g},{edges[i]:.1f} {xs[i]:g},{ys[i]:.1f} {(i + 1) * wide:g},"
        f'{edges[i + 1]:.1f} {(i + 1) * wide:g},100"/>'
        for i in range(len(heights))
    )
    line = " ".join(f"{x:g},{y:.1f}" for x, y in zip(xs, ys, strict=True))
    return (
        '<svg class="curve" viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">'
        f'{bands}<polyline points="{line}"/></svg>'
    )


def _axis(curve: Curve | None) -> str:
    return '<span class="axis" aria-hidden="true">nDCG@5</span>' if curve else ""


def _column(
    i: int,
    stop: Budget,
    size: int,
    curve: Curve | None,
    heights: list[float] | None,
    words: str,
    *,
    lit: bool,
    here: bool,
    answer: str = "",
) -> str:
    point = ""
    if curve is not None and heights is not None:
        point = (
            f'<span class="point" style="bottom:{heights[i]:.1f}%"></span>'
            f'<span class="quality num" style="bottom:{heights[i]:.1f}%">{curve.scores[i]:.2f}</span>'
        )
    marks = (" on" if lit else "") + (" here" if here else "")
    return (
        f'<span class="stop g{i}{marks}" data-stop="{i}" aria-hidden="true" '
        f'data-words="{words}{_answers_words(answer)}">'
        f'<span class="plot">{point}</span><span class="track"></span>'
        f'<span class="name num">{budget_text(stop.r_q, stop.r_c)}</span>'
        f'<span class="size num">{bytes_text(size)}<span class="wide"> a page</span></span>'
        f"{_answer(i, answer)}</span>"
    )


def _answers_words(answer: str) -> str:
    return f", this answer {answer.replace('>', 'beyond ')}" if answer else ""


def _answer(i: int, answer: str) -> str:
    """The rank of the judged answer under a stop."""
    if not answer:
        return ""
    label = '<span class="answer-name"><span class="wide">this </span>answer</span>' if i == 0 else ""
    first = ' first"' if answer == "1st" else '"'
    return f'<span class="answer">{label}<b class="num{first}>{safe(answer)}</b></span>'


def readout(scoring_ms: float, total_ms: float) -> str:
    """What the budget costs in the open search, as HTML; the same after a search and after a move.

    Args:
        scoring_ms: time of the scoring, which depends on the budget. total_ms: of the whole search.
    """
    return (
        f'<b class="num">{ms_text(scoring_ms)}</b> scoring at this budget '
        '<span class="in-all"><span class="sep">·</span> '
        f'<span class="num">{ms_text(total_ms)}</span> in all</span>'
    )
