"""Where the judged answer of the open question ranks at the stops, now and in this collection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from metaembed_demo.app.views.judged import HITS
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.modes import MEANING
from metaembed_demo.collection.ranker import How
from metaembed_demo.collection.search import alignment_in, explain_hit
from metaembed_demo.core.types import Hit, Trace
from metaembed_demo.evaluation.climbs import AnswersOf, asked

from .explanation_tabs import ExplanationTabs

MOST_PAGES = 5_000  # up to which every page is ranked at every stop


@dataclass(frozen=True)
class JudgedAnswer:
    """The pages that answer the open question, and the rank of the best of them at each stop.

    ranks: None where that page is not among those found.
    """

    pages: frozenset[str]
    page_id: str
    ranks: tuple[int | None, ...]


def judged_answer(
    answers: AnswersOf, collection: Collection, trace: Trace, tabs: ExplanationTabs, how: How
) -> JudgedAnswer | None:
    """None where the question is not a judged one, or no page that answers it is searched.

    Args:
        how: the mode, the filter and the refinement in use.
    """
    grades = answers.get(asked(trace.query_text)) if not trace.query_image else None
    if not grades:
        return None
    with collection.lock:
        known = [
            page_id
            for page_id in grades
            if page_id in collection.pages and how.only.matches(collection.pages[page_id])
        ]
        if not known:
            return None
        ranks = _ranks(collection, trace, tabs, replace(how, auto=None).of_text(trace.query_text))
    last = ranks[-1]
    best = min(known, key=lambda page_id: (-grades[page_id], last.get(page_id, len(collection.pages))))
    return JudgedAnswer(frozenset(known), best, tuple(of_stop.get(best) for of_stop in ranks))


def with_answer(collection: Collection, trace: Trace, answer: JudgedAnswer | None) -> Trace:
    """`trace` with the cosines of the answer too, if it ranks beyond the hits."""
    if answer is None or not _rank(trace, answer) or answer.page_id in trace.cosines:
        return trace
    with collection.lock:
        if answer.page_id not in collection.pages:
            return trace
        found = explain_hit(collection, trace, answer.page_id)
    return replace(trace, cosines=found.cosines)


def beyond(trace: Trace, answer: JudgedAnswer | None) -> Hit | None:
    """The answer as a hit, where it ranks beyond those of `trace`, which has its cosines."""
    rank = _rank(trace, answer) if answer else None
    if answer is None or rank is None or answer.page_id not in trace.cosines:
        return None
    return Hit(answer.page_id, float(sum(alignment_in(trace, answer.page_id).gains)), rank)


def _rank(trace: Trace, answer: JudgedAnswer) -> int | None:
    """The answer's rank at the trace's stop where that is beyond the hits; None at a free budget."""
    if answer.page_id in {hit.page_id for hit in trace.hits} or trace.budget not in trace.budgets:
        return None
    return answer.ranks[trace.budgets.index(trace.budget)]


def _ranks(collection: Collection, trace: Trace, tabs: ExplanationTabs, how: How) -> Sequence[dict[str, int]]:
    """Page id -> rank at each stop: of all pages by meaning, of the best hits otherwise."""
    if how.mode == MEANING and len(collection) <= MOST_PAGES:
        return tabs.all_ranks(collection, trace)
    return tabs.best_ranks(collection, trace, how, HITS)
