"""The evidence beside a visitor's chosen hit: its map and test, its ranks, the comparison, times.

It keeps what the visitor's last query needs to be explained, and gives HTML. No Gradio.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from metaembed_demo.app.views import page_map as page_map_module
from metaembed_demo.app.views import timing_chart
from metaembed_demo.app.views.comparison import Side, nothing, side_by_side
from metaembed_demo.app.views.rank_chart import Line, ranks
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.budgets import STOPS, Budget, position
from metaembed_demo.core.types import FloatArray, Query, Trace
from metaembed_demo.encoders.attribution import Evidence
from metaembed_demo.explain.explainer import Explainer, Explanation
from metaembed_demo.explain.occlusion import Occlusion, Verdict, attended, trial
from metaembed_demo.index.maxsim import align

LINES = 8  # pages in the bump chart
PAST = 60  # searches in the history
KEPT_RANKS = 12  # rankings: five stops of two queries, and free budgets
Ranks = list[dict[str, int]]  # page id -> rank, for each of the five stops


@dataclass(frozen=True, eq=False)
class Ranked:
    """All pages ranked for a query (R_q, D) at a budget, and which pages those were."""

    vectors: FloatArray
    ids: tuple[str, ...]
    ranks: dict[str, int]


@dataclass(frozen=True, eq=False)
class Asked:
    """A query that can be explained: its text, its vectors (R_q, D), what its tokens read."""

    text: str
    vectors: FloatArray
    evidence: Evidence | None


@dataclass
class Panel:
    """What one visitor's evidence tabs show."""

    explainer: Explainer | None
    asked: Asked | None = None
    pinned: tuple[Asked, Budget] | None = None  # side A of the comparison, when it is kept
    other: Budget = STOPS[0]  # side A's budget while nothing is pinned
    past: deque[timing_chart.Past] = field(default_factory=lambda: deque(maxlen=PAST))
    queries: list[Query] = field(default_factory=list)  # asked in this session, each once
    stop: threading.Event = field(default_factory=threading.Event)  # asks the test to end
    explanation: Explanation | None = None  # of the chosen hit
    _verdict: tuple[object, Verdict] | None = None
    _ranks: dict[tuple[int, Budget], Ranked] = field(default_factory=dict)

    def ask(self, query: Query, trace: Trace) -> None:
        """A new query was searched for."""
        evidence = self.explainer.encoder.query_evidence(query) if self.explainer else None
        self.asked = Asked(trace.query_text, trace.query_vectors, evidence)
        if query not in self.queries:
            self.queries = [*self.queries[1 - PAST :], query]

    def note(self, trace: Trace) -> None:
        """Remember what a search or a move of the dial cost."""
        self.past.append(
            timing_chart.Past(trace.query_text or "a picture", str(trace.budget), dict(trace.timings))
        )

    def explain(self, page: StoredPage, trace: Trace) -> None:
        """Explain the chosen hit, or nothing where the encoder cannot tell what it read."""
        self.explanation = None
        if self.explainer and self.asked and self.asked.evidence and trace.alignment:
            self.explanation = self.explainer.explain(
                page, self.asked.evidence, trace.query_vectors, trace.alignment
            )

    # The tabs

    def reading(self) -> str:
        """What each candidate token reads of the chosen page, for its overlay."""
        found = self.explanation
        return page_map_module.reading(found.words, found.looked.evidence.read()) if found else ""

    def marks(self, trace: Trace) -> str:
        """Where the score comes from, for the overlay."""
        found = self.explanation
        return page_map_module.marks(found, trace.alignment) if found and trace.alignment else ""

    def page_map(self, trace: Trace) -> str:
        if self.explanation is None or trace.alignment is None:
            return page_map_module.no_map()
        kept = self._verdict
        told = page_map_module.verdict(kept[1]) if kept and kept[0] == _state(trace) else ""
        return page_map_module.page_map(self.explanation, trace.alignment, told, trace.by_full_vectors)

    def history(self) -> str:
        return timing_chart.history(list(self.past))

    def ranks(self, collection: Collection, trace: Trace, chosen: str | None) -> str:
        """The bump chart of the pages that come first at some budget."""
        found = self.all_ranks(collection, trace)
        now = nearest(trace.budget)
        wanted = sorted(found[now], key=lambda page_id: found[now][page_id])[:LINES]
        if chosen in found[now] and chosen not in wanted:
            wanted[-1] = str(chosen)
        with collection.lock:
            pages = [collection.pages[page_id] for page_id in wanted if page_id in collection.pages]
        lines = [
            Line(page.id, page.title, f"p. {page.number}", tuple(rank[page.id] for rank in found))
            for page in pages
        ]
        return ranks(lines, now, chosen)

    def all_ranks(self, collection: Collection, trace: Trace) -> Ranks:
        """Every page's rank at the five stops."""
        with collection.lock:
            return [self._ranked(collection, trace.query_vectors, stop) for stop in STOPS]

    def forget_ranks(self) -> None:
        """The pages are scored in another way: rankings that were kept no longer hold."""
        self._ranks.clear()

    def _ranked(self, collection: Collection, vectors: FloatArray, budget: Budget) -> dict[str, int]:
        """Page id -> rank at `budget`, kept for the last few queries and budgets while the pages stay."""
        index = collection.index
        budget = budget.clip(len(vectors), index.r_c)
        ids = tuple(index.ids)
        kept = self._ranks.get((id(vectors), budget))
        if kept is None or kept.vectors is not vectors or kept.ids != ids:
            hits = index.rerank(vectors, budget, ids, len(ids)) if ids else []
            kept = Ranked(vectors, ids, {hit.page_id: hit.rank for hit in hits})
            if len(self._ranks) >= KEPT_RANKS:
                self._ranks.pop(next(iter(self._ranks)))
            self._ranks[id(vectors), budget] = kept
        return kept.ranks

    # Comparing

    def compare(self, collection: Collection, trace: Trace, page: StoredPage) -> str:
        """The chosen hit as two queries, or two budgets, see it."""
        asked = self.asked
        if not self.explainer or not asked or not asked.evidence:
            return nothing()
        first, budget = self.pinned or (asked, self.other)
        with collection.lock:
            if page.id not in collection.pages:  # removed while it was open
                return nothing()
            rows = collection.index.vectors([page.id])[0]
            ranks = [
                self._ranked(collection, one.vectors, at)[page.id]
                for one, at in ((first, budget), (asked, trace.budget))
            ]
        a = self._first(first, budget, page, rows, ranks[0])
        if self.explanation and trace.alignment:  # B is the hit as it is shown
            b = Side("B", _name(asked), trace.budget, ranks[1], trace.alignment, self.explanation)
            return side_by_side(a, b, self.pinned is not None)
        return nothing()

    def _first(self, asked: Asked, budget: Budget, page: StoredPage, rows: FloatArray, rank: int) -> Side:
        assert self.explainer
        assert asked.evidence
        budget = budget.clip(len(asked.vectors), len(rows))
        alignment = align(page.id, asked.vectors[: budget.r_q], rows[: budget.r_c])
        explained = self.explainer.explain(page, asked.evidence, asked.vectors, alignment)
        return Side("A", _name(asked), budget, rank, alignment, explained)

    def pin(self, trace: Trace) -> None:
        """Keep the query and budget in use as side A."""
        if self.asked:
            self.pinned = (self.asked, trace.budget)

    def unpin(self) -> None:
        self.pinned = None

    def set_other(self, budget: Budget) -> None:
        """Side A at another budget."""
        if self.pinned:
            self.pinned = (self.pinned[0], budget)
        else:
            self.other = budget

    # Testing

    def test(self, trace: Trace) -> Iterator[str]:
        """Run the occlusion test on the chosen hit; the page map with its progress, then with its result."""
        found, alignment = self.explanation, trace.alignment
        if self.explainer is None or found is None or alignment is None:
            return
        self.stop.clear()
        occlusion = Occlusion(self.explainer.encoder, found.looked, trace.query_vectors, trace.budget)
        for step in trial(occlusion, found.total, attended(found.looked, alignment)):
            if self.stop.is_set():
                break
            if isinstance(step, Verdict):
                self._verdict = (_state(trace), step)
            else:
                yield page_map_module.page_map(
                    found, alignment, page_map_module.testing(*step), trace.by_full_vectors
                )
        yield self.page_map(trace)


def nearest(budget: Budget) -> int:
    """The stop, 0 to 4, that a budget is closest to on the dial.

    >>> nearest(Budget(8, 16)), nearest(Budget(7, 20))
    (3, 3)
    """
    return round(position(budget))


def _name(asked: Asked) -> str:
    return asked.text or "a picture"


def _state(trace: Trace) -> object:
    page = trace.alignment.page_id if trace.alignment else None
    return (id(trace.query_vectors), trace.budget, page)
