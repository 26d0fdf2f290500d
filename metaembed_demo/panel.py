"""The evidence beside a visitor's chosen hit: its map and test, its ranks, the comparison, times.

It keeps what the visitor's last query needs to be explained, and gives HTML. No Gradio.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from . import cost, why
from .charts import Line, ranks
from .collection import Collection, StoredPage
from .compare import Side, nothing, side_by_side
from .dial import position
from .evidence import Evidence
from .explain import Explainer, Explanation, Occlusion, Verdict, attended, trial
from .maxsim import align
from .records import STOPS, Budget, FloatArray, Query, Trace

LINES = 8  # pages in the bump chart
PAST = 60  # searches in the history
Ranks = list[dict[str, int]]  # page id -> rank, for each of the five stops


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
    past: deque[cost.Past] = field(default_factory=lambda: deque(maxlen=PAST))
    queries: list[Query] = field(default_factory=list)  # asked in this session, each once
    stop: threading.Event = field(default_factory=threading.Event)  # asks the test to end
    explanation: Explanation | None = None  # of the chosen hit
    _verdict: tuple[object, Verdict] | None = None
    _ranks: tuple[object, Ranks] | None = None

    def ask(self, query: Query, trace: Trace) -> None:
        """A new query was searched for."""
        evidence = self.explainer.encoder.query_evidence(query) if self.explainer else None
        self.asked = Asked(trace.query_text, trace.query_vectors, evidence)
        if query not in self.queries:
            self.queries = [*self.queries[1 - PAST :], query]

    def note(self, trace: Trace) -> None:
        """Remember what a search or a move of the dial cost."""
        self.past.append(cost.Past(trace.query_text or "a picture", str(trace.budget), dict(trace.timings)))

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
        return why.reading(found.words, found.looked.evidence.read()) if found else ""

    def marks(self, trace: Trace) -> str:
        """Where the score comes from, for the overlay."""
        found = self.explanation
        return why.marks(found, trace.alignment) if found and trace.alignment else ""

    def page_map(self, trace: Trace) -> str:
        if self.explanation is None or trace.alignment is None:
            return why.no_map()
        kept = self._verdict
        told = why.verdict(kept[1]) if kept and kept[0] == _state(trace) else ""
        return why.page_map(self.explanation, trace.alignment, told)

    def history(self) -> str:
        return cost.history(list(self.past))

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
        """Every page's rank at the five stops, kept until the query or the pages change."""
        with collection.lock:
            ids = list(collection.index.ids)
            key = (id(trace.query_vectors), hash(tuple(ids)))
            if self._ranks is None or self._ranks[0] != key:
                self._ranks = (key, [_ranks(collection, trace.query_vectors, stop, ids) for stop in STOPS])
        return self._ranks[1]

    # Comparing

    def compare(self, collection: Collection, trace: Trace, page: StoredPage) -> str:
        """The chosen hit as two queries, or two budgets, see it."""
        asked = self.asked
        if not self.explainer or not asked or not asked.evidence:
            return nothing()
        first, budget = self.pinned or (asked, self.other)
        with collection.lock:
            rows = collection.index.vectors([page.id])[0]
            ids = list(collection.index.ids)
            sides = [
                self._side(name, one, at, page, rows, _ranks(collection, one.vectors, at, ids)[page.id])
                for name, one, at in (("A", first, budget), ("B", asked, trace.budget))
            ]
        return side_by_side(sides[0], sides[1], self.pinned is not None)

    def _side(
        self, name: str, asked: Asked, budget: Budget, page: StoredPage, rows: FloatArray, rank: int
    ) -> Side:
        assert self.explainer
        assert asked.evidence
        budget = budget.clip(len(asked.vectors), len(rows))
        alignment = align(page.id, asked.vectors[: budget.r_q], rows[: budget.r_c])
        explained = self.explainer.explain(page, asked.evidence, asked.vectors, alignment)
        return Side(name, asked.text or "a picture", budget, rank, alignment, explained)

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
                yield why.page_map(found, alignment, why.testing(*step))
        yield self.page_map(trace)


def nearest(budget: Budget) -> int:
    """The stop, 0 to 4, that a budget is closest to on the dial.

    >>> nearest(Budget(8, 16)), nearest(Budget(7, 20))
    (3, 3)
    """
    return round(position(budget))


def _ranks(collection: Collection, vectors: FloatArray, budget: Budget, ids: Sequence[str]) -> dict[str, int]:
    index = collection.index
    hits = index.rerank(vectors, budget.clip(len(vectors), index.r_c), ids, len(ids))
    return {hit.page_id: hit.rank for hit in hits}


def _state(trace: Trace) -> object:
    page = trace.alignment.page_id if trace.alignment else None
    return (id(trace.query_vectors), trace.budget, page)
