"""The evidence tabs of a visitor's open hit: page map and test, ranks, timing. Returns HTML."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from metaembed_demo.app.views import occlusion_test, timing_chart
from metaembed_demo.app.views import page_map as page_map_module
from metaembed_demo.app.views.rank_chart import Line, ranks
from metaembed_demo.app.views.rank_ribbons import Side, Titled, ribbons
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.facets import NoPageLeft
from metaembed_demo.collection.filters import EVERY, PageFilter
from metaembed_demo.collection.modes import MEANING
from metaembed_demo.collection.ranker import How, Ranker
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.budgets import OURS, Budget, Budgets
from metaembed_demo.core.moments import spot
from metaembed_demo.core.types import FloatArray, Query, Trace
from metaembed_demo.encoders.attribution import Evidence
from metaembed_demo.explain.explainer import Explainer, Explanation
from metaembed_demo.explain.occlusion import Occlusion, Verdict, attended, trial

LINES = 12  # pages in the bump chart, at most, and the open one
PAST = 60  # searches in the history
KEPT_RANKS = 12  # rankings: the stops of two queries, and free budgets
Address = Callable[[str, str], str]  # page id, name -> URL
Ranks = list[dict[str, int]]  # page id -> rank, for each stop


@dataclass(frozen=True, eq=False)
class Ranked:
    """The ranking of all pages `ids` for a query (R_q, D) at a budget, scored as `how` says."""

    vectors: FloatArray
    how: tuple[str, int]  # storage kind, and how many of the best are rescored by their full vectors
    ids: tuple[str, ...]
    ranks: dict[str, int]


@dataclass(frozen=True, eq=False)
class BestRanked:
    """The best pages of `trace`'s query among `ids` at the stops, ranked and scored as `how` says."""

    trace: Trace
    how: tuple[How, str, int]  # then the storage kind, and how many of the best are rescored
    ids: tuple[str, ...]
    ranks: Ranks

    def serves(self, trace: Trace, how: tuple[How, str, int], ids: tuple[str, ...]) -> bool:
        """Whether a search for the same query would give the same."""
        same = (
            self.trace.query_vectors is trace.query_vectors and self.trace.second_query is trace.second_query
        )
        return same and (self.how, self.ids) == (how, ids)


@dataclass
class ExplanationTabs:
    """State of one visitor's evidence tabs."""

    explainer: Explainer | None
    pinned: Trace | None = None  # side A of the ranks, if pinned
    other: Budget = OURS[0]  # side A's budget while nothing is pinned
    past: deque[timing_chart.Past] = field(default_factory=lambda: deque(maxlen=PAST))
    queries: list[Query] = field(default_factory=list)  # distinct queries of this session
    stop: threading.Event = field(default_factory=threading.Event)  # cancels the test
    explanation: Explanation | None = None  # of the open hit
    _verdict: tuple[object, Verdict] | None = None
    _query_words: tuple[Evidence, dict[str, Any]] | None = None  # of the last query
    _ranks: dict[tuple[int, Budget], Ranked] = field(default_factory=dict)
    _best: BestRanked | None = None
    _mapped: str | None = None  # the page whose evidence is being made
    _progress: str = ""  # what is shown meanwhile
    _stopped: str | None = None  # the page for which that was stopped

    @property
    def explains(self) -> bool:
        """Whether the encoder gives evidence."""
        return self.explainer is not None

    @property
    def waits(self) -> bool:
        """Whether a page is explained only when the visitor asks for it."""
        return self.explainer is not None and self.explainer.waits

    def ask(self, query: Query) -> None:
        """Record a new query."""
        if query not in self.queries:
            self.queries = [*self.queries[1 - PAST :], query]

    def note(self, trace: Trace) -> None:
        """Record the timings of a search or a change of the budget."""
        self.past.append(
            timing_chart.Past(trace.query_text or "a picture", str(trace.budget), dict(trace.timings))
        )

    def follow(self, page: StoredPage, trace: Trace) -> None:
        """Explain another hit if its evidence is cached. Otherwise `explain` or `make_map` computes it."""
        self.explanation = None
        if self._mapped not in (None, page.id):
            self.stop.set()
        if self.explainer is not None and self.explainer.has(page):
            self.explain(page, trace)

    def explain(self, page: StoredPage, trace: Trace) -> None:
        """Explain the open hit, if the encoder gives evidence, and of this page without a wait."""
        self.explanation = None
        if self.explainer and self.explainer.waits and not self.explainer.has(page):
            return
        if self.explainer and trace.query_evidence and trace.alignment:
            self.explanation = self.explainer.explain(
                page, trace.query_evidence, trace.query_vectors, trace.alignment
            )

    # The tabs

    def reading(self, page_id: str, name: str) -> str | None:
        """What each candidate token reads of a page, as JSON; None if that page is not the explained one."""
        found = self.explanation
        if found is None or found.looked.page.id != page_id or name != self._reading_name():
            return None
        return page_map_module.reading(found.words, found.looked.evidence.read())

    def marks(self, trace: Trace, address: Address) -> str:
        """The score's parts for the overlay, or a placeholder that makes the page's script request them."""
        found = self.explanation
        if not self.explains or trace.alignment is None:
            return ""
        page_id = trace.alignment.page_id
        if found is None:
            return "" if self.waits else page_map_module.pending(page_id)
        if self._query_words is None or self._query_words[0] is not found.query:
            self._query_words = found.query, page_map_module.query_words(found.query)
        reading_at = address(page_id, self._reading_name())
        return page_map_module.marks(found, trace.alignment, reading_at, self._query_words[1], trace.budgets)

    def _reading_name(self) -> str:
        assert self.explainer
        return f"{self.explainer.encoder.fingerprint.rsplit('-', 1)[-1][:8]}.json"

    def page_map(self, trace: Trace) -> str:
        if self.explanation is None and self.explainer and self.waits:
            page_id = trace.alignment.page_id if trace.alignment else None
            if self._mapped == page_id:
                return self._progress
            begin = self.explainer.encoder.device != "CPU" and page_id != self._stopped
            return occlusion_test.offered(begin)
        if self.explanation is None or trace.alignment is None:
            return page_map_module.no_map()
        kept = self._verdict
        verdict = occlusion_test.verdict(kept[1]) if kept and kept[0] == self._state(trace) else ""
        return self._drawn(self.explanation, trace, verdict)

    def _drawn(self, found: Explanation, trace: Trace, verdict: str) -> str:
        assert trace.alignment
        second = self.explainer.second if self.explainer else None
        other = found.looked.evidence.kind if found.kind == second else second
        return page_map_module.page_map(
            found,
            trace.alignment,
            verdict,
            trace.by_full_vectors,
            other,
            trace.budgets,
            trace.similarity,
        )

    def history(self, budgets: Budgets) -> str:
        return timing_chart.history(list(self.past), budgets)

    def ranks(self, collection: Collection, trace: Trace, chosen: str | None) -> str:
        """The ranking at side A beside the one now, and the chart of the pages that any stop puts first."""
        budgets = trace.budgets
        now = budgets.nearest(trace.budget)
        other = self.other.clip(len(trace.query_vectors), collection.index.r_c)
        first = replace(self.pinned or replace(trace, budget=other), only=trace.only)
        with collection.lock:
            found = self.all_ranks(collection, trace)
            if not found[0]:
                return ranks([], 0, None, budgets=budgets)
            a, b = (
                Side(
                    _name(one),
                    one.budget,
                    self._ranked(collection, one, one.budget),
                    budgets.nearest(one.budget),
                )
                for one in (first, trace)
            )
            wanted = _first_pages(found, chosen)
            pages = {each: collection.pages[each] for each in dict.fromkeys([*a.top, *b.top, *wanted])}
        if first.query_vectors is not trace.query_vectors:  # its pages open for the query now
            a = replace(a, stop=now)
        at = {each: spot(page.source, page.number) for each, page in pages.items()}
        titled = {each: Titled(page.title, f"{page.source} {at[each]}") for each, page in pages.items()}
        lines = [
            Line(each, pages[each].title, at[each], tuple(rank[each] for rank in found)) for each in wanted
        ]
        compared = ribbons(a, b, titled, chosen, self.pinned is not None, budgets)
        return compared + ranks(lines, now, chosen, trace.mode != MEANING, budgets)

    def all_ranks(self, collection: Collection, trace: Trace) -> Ranks:
        """The rank of every page that the trace's filter allows at the stops."""
        with collection.lock:
            return [self._ranked(collection, trace, stop) for stop in trace.budgets]

    def best_ranks(self, collection: Collection, trace: Trace, how: How, k: int) -> Ranks:
        """The ranks of the best `k` pages at each stop, as searches of this kind find them.

        Cached for the last query. The caller holds the collection's lock.
        """
        index, vectors = collection.index, trace.query_vectors
        ids, scored = _searched(collection, how.only), (how, index.storage, index.rescore)
        if self._best is not None and self._best.serves(trace, scored, ids):
            return self._best.ranks
        found, unread = Ranks(), False
        for stop in trace.budgets if ids else ():
            budget = stop.clip(len(vectors), index.r_c)
            ranker = Ranker(collection, vectors, trace.query_text, budget, how, trace.second_query)
            found.append({hit.page_id: hit.rank for hit in ranker.hits(k)})
            unread |= bool(ranker.unread)
        found = found or [{} for _ in trace.budgets]
        # While the complement is to read pages, its part is missing.
        self._best = None if unread else BestRanked(trace, scored, ids, found)
        return found

    def forget_ranks(self) -> None:
        """Drop cached rankings after a change of the scoring."""
        self._ranks.clear()
        self._best = None

    def _ranked(self, collection: Collection, trace: Trace, budget: Budget) -> dict[str, int]:
        """Page id -> rank at `budget`. Cached for the last KEPT_RANKS queries and budgets."""
        index, vectors = collection.index, trace.query_vectors
        budget = budget.clip(len(vectors), index.r_c)
        how = index.storage, index.rescore
        ids = _searched(collection, trace.only or EVERY)
        kept = self._ranks.get((id(vectors), budget))
        if kept is None or kept.vectors is not vectors or (kept.ids, kept.how) != (ids, how):
            hits = index.rerank(vectors, budget, ids, len(ids)) if ids else []
            order = collection.with_moments([hit.page_id for hit in hits])
            kept = Ranked(vectors, how, ids, {page_id: rank for rank, page_id in enumerate(order, 1)})
            if len(self._ranks) >= KEPT_RANKS:
                self._ranks.pop(next(iter(self._ranks)))
            self._ranks[id(vectors), budget] = kept
        return kept.ranks

    def pin(self, trace: Trace) -> None:
        """Pin the current query and budget as side A."""
        self.pinned = trace

    def unpin(self) -> None:
        self.pinned = None

    def set_other(self, budget: Budget) -> None:
        """Set the budget of side A."""
        if self.pinned:
            self.pinned = replace(self.pinned, budget=budget)
        else:
            self.other = budget

    # Mapping and testing

    def make_map(self, page: StoredPage, trace: Trace, kind: str = "") -> Iterator[str]:
        """Make the evidence of the open hit, or the encoder's second account of it, if `kind` is that.

        Yields the progress, then the page map; the offer if it was stopped.
        """
        if self.explainer is None:
            return
        self.stop.clear()
        self._mapped, self._stopped = page.id, None
        try:
            for step in self.explainer.looking(page):
                if isinstance(step, tuple):
                    self._progress = occlusion_test.mapping(*step)
                    yield self._progress
                if self.stop.is_set():
                    self._stopped = page.id
                    break
            else:
                self.explain(page, trace)
            if kind == self.explainer.second:
                yield from self._explain_again(trace)
        finally:
            self._mapped = None
        yield self.page_map(trace)

    def _explain_again(self, trace: Trace) -> Iterator[str]:
        found, alignment = self.explanation, trace.alignment
        if self.explainer is None or found is None or alignment is None:
            return
        for step in self.explainer.explain_again(found, trace.query_vectors, alignment):
            if self.stop.is_set():
                return
            if isinstance(step, tuple):
                yield self._drawn(found, trace, occlusion_test.steps(*step))
            else:
                self.explanation = step

    def _state(self, trace: Trace) -> object:
        """What a verdict is of."""
        page = trace.alignment.page_id if trace.alignment else None
        kind = self.explanation.kind if self.explanation else None
        return (id(trace.query_vectors), trace.budget, page, kind)

    def test(self, trace: Trace) -> Iterator[str]:
        """Run the occlusion test on the open hit. Yields the page map with progress, then with the result."""
        found, alignment = self.explanation, trace.alignment
        if self.explainer is None or found is None or alignment is None:
            return
        self.stop.clear()
        occlusion = Occlusion(self.explainer.encoder, found.looked, trace.query_vectors, trace.budget)
        for step in trial(occlusion, found.total, attended(found.looked, alignment)):
            if self.stop.is_set():
                break
            if isinstance(step, Verdict):
                self._verdict = (self._state(trace), step)
            else:
                yield self._drawn(found, trace, occlusion_test.testing(*step))
        yield self.page_map(trace)


def _searched(collection: Collection, only: PageFilter) -> tuple[str, ...]:
    """The ids of the pages that a filter allows."""
    try:
        chosen = collection.select(only)
    except NoPageLeft:  # removed in another tab
        return ()
    return tuple(collection.index.ids if chosen is None else chosen)


def _first_pages(found: Ranks, chosen: str | None) -> list[str]:
    """The pages that come first at any stop: as many of each stop as give at most LINES in all, and `chosen`.

    >>> _first_pages([{"a": 1, "b": 2}, {"b": 1, "a": 2}], None), _first_pages([{"a": 1}, {"a": 1}], "gone")
    (['a', 'b'], ['a'])
    """
    ordered = [sorted(ranks, key=ranks.__getitem__) for ranks in found]
    wanted: list[str] = []
    for n in range(1, LINES + 1):
        union = list(dict.fromkeys(page_id for order in ordered for page_id in order[:n]))
        if len(union) > LINES:
            break
        wanted = union
    return wanted + ([chosen] if chosen and chosen in found[0] and chosen not in wanted else [])


def _name(trace: Trace) -> str:
    return trace.query_text or "a picture"
