"""Timing charts: the current search by stage, and every search of the session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from metaembed_demo.core.budgets import OURS, Budget, Budgets
from metaembed_demo.core.text import budget_text, ms_text, plural

from . import plot
from .figure import SAVE, Files, as_table, nothing, savable, table
from .tradeoff_chart import _plain, _short

KEPT = 60  # searches shown as columns
INKS = (88, 72, 58, 44, 32, 20, 10)  # percent, one per stage
OTHER = "Other"


# A session's searches


@dataclass(frozen=True)
class Past:
    """One search or move of the dial. `timings` are ms by stage, as in `Trace.timings`."""

    query: str
    budget: str
    timings: dict[str, float]


def history(searches: Sequence[Past], budgets: Budgets = OURS) -> str:
    """Latency by stage of each search of a session, oldest first, and its percentiles by budget."""
    if not searches:
        return nothing(
            "history",
            "No search yet",
            "Each search and each move of the dial adds a column here, split by stage.",
        )
    rows = _by_budget(searches)
    tables = table(
        ["Budget", "Searches", "Median", "p95"], rows, [_shade(name, budgets) for name, *_ in rows]
    ) + as_table(
        "Each search as a table",
        ["Query", "Budget", "Total"],
        [[past.query, _budget_name(past.budget), ms_text(_total(past))] for past in reversed(searches)],
    )
    told = (
        "Wall time on the server; the strip under a column is the shade of its budget. A move of the dial "
        "encodes nothing, and counts as a search here."
    )
    return plot.chart(
        "history", _past_finding(searches), _plot(searches, budgets), tables, _past_files(searches), told
    )


def _plot(searches: Sequence[Past], budgets: Budgets) -> plot.Plot:
    shown = searches[-KEPT:]
    x = range(len(searches) - len(shown) + 1, len(searches) + 1)
    parts = [[past.timings.get(stage, 0.0) for stage in STAGES] for past in shown]
    for past, column in zip(shown, parts, strict=True):
        column.append(max(_total(past) - sum(column), 0.0))
    stages = zip([*STAGES.values(), OTHER], INKS, zip(*parts, strict=True), strict=True)
    look = {"color": plot.INK, "line": {"width": 0}}
    traces = [
        plot.trace(x, [round(ms, 3) for ms in part], type="bar", name=name, marker=look, opacity=ink / 100)
        for name, ink, part in stages
        if max(part) > 0.0005
    ]
    shades = {"color": [_shade(past.budget, budgets) for past in shown]}
    strip = plot.trace(x, [1] * len(x), type="bar", yaxis="y2", marker=shades)
    told = [_told(past) for past in shown]
    top = plot.trace(x, list(map(_total, shown)), told, mode="markers", opacity=0)
    few = max(12 - len(x), 0)  # a column is not wider than a twelfth
    across = {"range": [x[0] - 0.6 - few, x[-1] + 0.6], "tickvals": list(x[:: -max(len(x) // 6, 1)])}
    across |= {"title": {"text": "searches, the newest on the right"}, "anchor": "y2"}
    layout = plot.layout(
        248,
        (48, 0, 56, 40),
        hovermode="x",
        xaxis=across | {"showline": False},
        yaxis=plot.axis(title="ms", domain=[0.06, 1], rangemode="tozero"),
        yaxis2={"domain": [0, 0.04], "range": [0, 1], "visible": False},
    )
    words = f"Milliseconds of each search by stage, {plural(len(shown), 'column')}, oldest to newest"
    return plot.Plot(words, [*traces, strip, top], layout)


def _told(past: Past) -> str:
    """What is shown at a column."""
    stages = [
        f"{name} {ms_text(past.timings[stage])}" for stage, name in STAGES.items() if past.timings.get(stage)
    ]
    head = f"<b>{plot.plain(plot.cut(past.query or 'picture', 60))}</b>"
    return "<br>".join([head, f"{_budget_name(past.budget)}: {ms_text(_total(past))} in all", *stages])


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


def _total(past: Past) -> float:
    return max(past.timings.get("total", 0.0), sum(past.timings.get(stage, 0.0) for stage in STAGES))


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))


def _past_finding(searches: Sequence[Past]) -> str:
    """The finding: medians of searches and of moves of the dial."""
    moves = [_total(past) for past in searches if not past.timings.get("encode")]
    asked = [_total(past) for past in searches if past.timings.get("encode")]
    if moves and asked:
        return f"A search takes {ms_text(_median(asked))}, a move of the dial {ms_text(_median(moves))}"
    if len(searches) == 1:
        return f"One {'search' if asked else 'move of the dial'}, {ms_text(_total(searches[0]))}"
    if asked:
        return f"Half of {len(asked)} searches took less than {ms_text(_median(asked))}"
    return f"Half of {len(moves)} moves of the dial took less than {ms_text(_median(moves))}"


def _budget(text: str) -> Budget | None:
    try:
        return Budget.parse(text)
    except ValueError:
        return None


def _shade(text: str, budgets: Budgets) -> str:
    budget = _budget(text)
    return budgets.groups[budgets.reach(budget) - 1].shade if budget else plot.EDGE


def _budget_name(text: str) -> str:
    budget = _budget(text)
    return budget_text(budget.r_q, budget.r_c) if budget else text


def _by_budget(searches: Sequence[Past]) -> list[list[str]]:
    """Rows of budget, number of searches, median and 95th percentile; coarse to fine."""

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


STAGES = {
    "encode": "Encoding",
    "coarse": "Coarse search",
    "rerank": "Re-ranking",
    "words": "Words",
    "refine": "Refinement",
    "align": "Aligning",
}


def timing(timings: dict[str, float], pages: int, candidates: int, how: str = "exactly") -> str:
    """Stage timings as one stacked bar under a title that states the finding.

    Args:
        timings: milliseconds by stage, as in `Trace.timings`.
        pages: pages in the index; candidates: pages scored; how: the way they were scored.
    """
    stages = {stage: timings[stage] for stage in STAGES if stage in timings}
    total = max(timings.get("total", 0.0), sum(stages.values()), 1e-9)
    rest = total - sum(stages.values())
    shown = [(STAGES[s], ms) for s, ms in stages.items()] + ([(OTHER, rest)] if rest >= 0.05 else [])
    inks = [ink for stage, ink in zip(STAGES, INKS, strict=False) if stage in stages] + [INKS[-1]]
    bar = "".join(
        f'<i style="width:{ms / total * 100:.2f}%;--tint:{ink}%" title="{name}: {ms_text(ms)}"></i>'
        for (name, ms), ink in zip(shown, inks, strict=False)
        if ms > 0
    )
    rows = "".join(
        f'<tr><th scope="row"><i class="chip" style="--tint:{ink}%"></i>{name}</th>'
        f"<td>{ms_text(ms)}</td><td>{ms / total * 100:.0f}%</td></tr>"
        for (name, ms), ink in zip(shown, inks, strict=False)
    )
    scored = f"{candidates:,} of {pages:,} pages were scored {how}."
    return (
        f'<figure class="timing" {savable("timing", timings, [["stage", "ms"], *shown])}>'
        f"<h3>{_slowest(shown, total)}</h3>"
        f'<div class="stack" role="img" aria-label="{_stage_words(shown)}">{bar}</div>'
        f'<table class="figures named num"><thead class="hidden"><tr><th>Stage</th>'
        f"<th>Milliseconds</th><th>Share</th></tr>"
        f"</thead><tbody>{rows}</tbody><tfoot><tr><th scope='row'>In all</th><td>{ms_text(total)}</td>"
        f"<td>100%</td></tr></tfoot></table>"
        f"<figcaption>Wall time on the server, without drawing the page. {scored}</figcaption>{SAVE}</figure>"
    )


def _slowest(stages: Sequence[tuple[str, float]], total: float) -> str:
    name, ms = max(stages, key=lambda stage: stage[1])
    if stages[0][1] == 0.0:  # a change of budget, storage or pages reuses the query embedding
        return f"Nothing was encoded again: {ms_text(total)} in all"
    takes = "takes" if name not in (OTHER, "Words") else "work takes" if name == OTHER else "take"
    return f"{name} {takes} {ms / total * 100:.0f}% of {ms_text(total)}"


def _stage_words(stages: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{name} {ms_text(ms)}" for name, ms in stages)
