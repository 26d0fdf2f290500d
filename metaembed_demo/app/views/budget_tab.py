"""The tabs Budget and Tokens as HTML. Pure functions; untrusted text is escaped by `safe`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metaembed_demo.core.budgets import OURS, Budget, Budgets
from metaembed_demo.core.text import budget_text, count_text, plural, short_name
from metaembed_demo.evaluation.advice import Advice
from metaembed_demo.evaluation.budget_study import Labels, Worth
from metaembed_demo.evaluation.decision import QUALITY, Origin, doubts
from metaembed_demo.evaluation.mmr_effect import MmrEffect
from metaembed_demo.explain.token_statistics import TokenStatistics

from .figure import as_typed, named, nothing, origin, table
from .html import safe
from .mmr_chart import mmr
from .token_chart import specialisation
from .tradeoff_chart import OVERLAP_KEEPS, Point, tradeoff

SHARES = (0.9, 0.95, 0.98, 0.99)
NO_PAGES = "Add documents, or restore the sample corpus, under Documents: this then shows"
SOURCES = {
    "labels": "your labelled queries",
    "known items": "sentences drawn from the pages themselves. Such a query shares its words with its page, "
    "so it flatters every budget: read it as a comparison, not as the quality that people will see",
    "session": "the queries of this session. Nobody judged them, so this is agreement with the finest budget",
}


@dataclass(frozen=True)
class State:
    """State of the Budget tab."""

    pages: int
    now: Budget
    worth: Worth | None
    advice: Advice | str  # a message when there is no advice
    share: float
    searches: int  # of this session
    labels: Labels | None
    problem: str
    running: str
    origin: Origin | None = None  # of what was measured
    budgets: Budgets = OURS  # of the encoder
    mmr: MmrEffect | None = None


def ways(state: State) -> str:
    """What begins a measurement, and shows that one runs."""
    if not state.pages:
        text = f"{NO_PAGES} what each budget is worth on them."
        return f'<section class="tab-budget">{nothing("tradeoff", "No pages to measure yet", text)}</section>'
    return (
        '<section class="tab-budget">'
        f"<h2>What each budget is worth on these {plural(state.pages, 'page')}</h2>"
        f"{_ways(state)}{state.running}{_problem(state.problem)}</section>"
    )


def worth(state: State) -> str:
    """What was measured, and the recommended budget."""
    return f'<section class="tab-budget">{_found(state)}{_mmr(state)}</section>' if state.pages else ""


def _ways(state: State) -> str:
    """The buttons that start a measurement."""
    busy = " disabled" if state.running else ""
    labels = f"Measure with {plural(len(state.labels.queries), 'query')} of yours" if state.labels else ""
    ways = [
        ("known", "Measure with queries drawn from the pages", True),
        ("session", f"Measure with {_searches(state.searches)}", state.searches > 0),
        ("labels", labels, state.labels is not None),
    ]
    buttons = "".join(
        f'<button type="button" class="quiet" data-action="{name}"{busy}>{label}</button>'
        for name, label, shown in ways
        if shown
    )
    notes = f'<p class="hint">{safe(state.labels.told)}</p>' if state.labels and state.labels.told else ""
    return f'<div class="ways">{buttons}</div>{notes}'


def _searches(n: int) -> str:
    return "my last search" if n == 1 else f"my {n} searches"


def _problem(problem: str) -> str:
    return f'<p class="problem" role="alert">{safe(problem)}</p>' if problem else ""


def _found(state: State) -> str:
    if state.worth is None:
        return nothing(
            "tradeoff",
            "Not measured on these pages yet",
            f"Each way above asks some queries at all {count_text(len(state.budgets))} budgets on this "
            "machine, and compares what they find. With queries.jsonl and qrels.tsv of your own, the figures "
            "are quality as people judged it.",
        )
    worth = state.worth
    points = [
        Point(
            budget_text(s.budget.r_q, s.budget.r_c),
            s.quality,
            *s.interval,
            s.p50_ms,
            s.p95_ms,
            s.bytes_per_page,
        )
        for s in worth.stops
    ]
    budgets = state.budgets
    return (
        f"{_advice(state)}{tradeoff(points, QUALITY[worth.kind], _stop(state), _from(state), budgets)}"
        f'<p class="hint">Measured on {plural(worth.pages, "page")} with {plural(worth.queries, "query")}: '
        f"{SOURCES[worth.kind]}. Latency is one warm search on this machine, several repeats a query.</p>"
        f"{_agreement(worth, budgets)}"
    )


def _mmr(state: State) -> str:
    return mmr(state.mmr, _stop(state), state.budgets) if state.mmr else ""


def _stop(state: State) -> int:
    """The number of the stop in use; of a free budget, the last."""
    return state.budgets.index(state.now) if state.now in state.budgets else len(state.budgets) - 1


def _from(state: State) -> str:
    """Where the chart's numbers come from, and a row a query."""
    return origin(state.origin.as_json(), state.origin.worth.per_query()) if state.origin else ""


def _advice(state: State) -> str:
    """Find my budget: the required share, the answer and its confidence."""
    shares = "".join(
        f'<button type="button" data-action="share" data-value="{share}" '
        f'aria-pressed="{"true" if share == state.share else "false"}">{share:.0%}</button>'
        for share in SHARES
    )
    judged = state.worth is None or state.worth.kind != "session"
    whole = "full quality" if judged else f"{OVERLAP_KEEPS} of {named(state.budgets.full)}"
    answer, use = _answer(state.advice)
    return (
        '<div class="advice"><h3>Find my budget</h3><div class="control"><span>Keep at least</span>'
        f'<span class="stops num">{shares}</span><span>of {whole}</span></div>'
        f'<p class="answer num" aria-live="polite">{answer}</p>{use}</div>'
    )


def _answer(advice: Advice | str) -> tuple[str, str]:
    """The answer as HTML, and the button that searches at it; nothing is recommended that is not sure."""
    if isinstance(advice, str):
        return safe(advice), ""
    budget = (advice.stop if advice.safe else advice.sure).budget
    name = budget_text(budget.r_q, budget.r_c)
    said = (
        advice.sentence if advice.safe else " ".join([advice.sentence, *doubts(advice), f"Sure is {budget}."])
    )
    held = "" if advice.safe else "<b>No recommendation yet.</b> "
    use = f'<button type="button" class="quiet" data-action="use" data-value="{budget}">Search at {name}'
    return f"{held}{safe(as_typed(said))}", f"{use}</button>"


def _agreement(worth: Worth, budgets: Budgets) -> str:
    rows = [
        [budget_text(s.budget.r_q, s.budget.r_c), f"{s.overlap * 100:.0f}%", f"{s.tau:.2f}"]
        for s in worth.stops
    ]
    finest = budget_text(*(worth.stops[-1].budget.r_q, worth.stops[-1].budget.r_c))
    head = ["Budget", "First five shared", "Kendall tau, first 20"]
    return (
        f'<div class="agreement"><h4>How far each budget agrees with {finest}</h4>'
        f"{table(head, rows, [group.shade for group in budgets.groups])}</div>"
    )


def counted(verb: str, done: int, total: int, noun: str) -> str:
    """
    >>> counted("Asked", 3, 7, "query")
    'Asked 3 of 7 queries'
    """
    return f"{verb} {done} of {total} {plural(2, noun).removeprefix('2 ')}"


def progress(told: str, done: int, total: int) -> str:
    """A long job that has begun, with a stop button."""
    return (
        '<div class="running"><div class="bar-run" role="progressbar" aria-valuemin="0" '
        f'aria-valuemax="{total}" aria-valuenow="{done}" aria-label="{told}">'
        f'<i style="width:{done / max(total, 1) * 100:.0f}%"></i></div>'
        f'<p class="hint num"><span>{told}</span> '
        '<button type="button" class="quiet" data-action="stop">Stop</button></p></div>'
    )


def gone_on(region: str, told: str, done: int, total: int) -> str:
    """How far the job is that `region` shows as begun: web/progress.js changes the bar and words there, so
    that charts and the stop button stay.
    """
    return f'<i data-region="{region}" data-done="{done}" data-total="{total}">{told}</i>'


def reading(names: Sequence[str]) -> str:
    """What is shown while dropped labels are read."""
    named = safe(" and ".join(map(short_name, names)))
    return f'<div class="running"><p class="hint" role="status">Reading {named}</p></div>'


def tokens(
    found: Sequence[TokenStatistics],
    pages: int,
    able: bool,
    running: str = "",
    empty: bool = False,
    unread: int = 0,
    budgets: Budgets = OURS,
) -> str:
    """The Tokens tab: what each candidate token reads over all pages.

    Args:
        found: statistics per token; empty before they are computed.
        pages: number of pages they were computed from; able: whether the encoder gives evidence.
        empty: whether there are no pages; unread: the number of pages that are not among `pages`.
        budgets: the encoder's.
    """
    if not able:
        return nothing(
            "specialisation", "Nothing to show", "This encoder does not tell what its tokens read."
        )
    if empty:
        message = f"{NO_PAGES} where in them each Meta Token reads."
        found_none = nothing("specialisation", "No pages to read yet", message)
        return f'<section class="tab-tokens">{found_none}</section>'
    text = (
        "Meta Tokens are learned vectors that have read the whole input: neither words nor patches. The "
        "coarse ones come first in every budget. Over all pages, this is where each of them takes its words "
        "from."
    )
    label = f"Read the other {plural(unread, 'page')}" if found else "Read all pages"
    button = f'<button type="button" class="quiet" data-action="read">{label}</button>'
    if running or (found and not unread):
        button = ""
    chart = specialisation(found, budgets) if found else ""
    of = f'<p class="hint num">Read from {plural(pages, "page")}.</p>' if found else ""
    return (
        f'<section class="tab-tokens"><h2>What each Meta Token reads</h2><p class="lead">{text}</p>'
        f"{button}{running}{chart}{of}</section>"
    )
