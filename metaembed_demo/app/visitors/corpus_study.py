"""Measurements over all of a visitor's pages: quality per budget, and token statistics.

Both are long jobs, which can be stopped: they yield their room as it is when they begin and when they end,
and in between how far they are.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from metaembed_demo.app.views import budget_tab
from metaembed_demo.app.views.figure import origin
from metaembed_demo.app.views.index_size_chart import scale
from metaembed_demo.app.views.reliability_chart import reliability
from metaembed_demo.collection import fitting
from metaembed_demo.collection.calibration import Kept
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.budgets import Budget
from metaembed_demo.core.config import PATHS
from metaembed_demo.core.text import short_name
from metaembed_demo.core.types import Query, Upload
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.evaluation import mmr_effect
from metaembed_demo.evaluation.advice import Advice, advised
from metaembed_demo.evaluation.budget_study import Kind, Labels, Worth, measure, read_labels
from metaembed_demo.evaluation.decision import FIT_LABELS, Origin, Source
from metaembed_demo.evaluation.known_items import Asked, known_items
from metaembed_demo.evaluation.mmr_effect import MmrEffect
from metaembed_demo.evaluation.quality_curve import Curve
from metaembed_demo.evaluation.search_times import scoring_times
from metaembed_demo.explain.explainer import Explainer
from metaembed_demo.explain.page_cache import PageCache
from metaembed_demo.explain.sample_statistics import Known
from metaembed_demo.explain.token_statistics import PageStatistics, TokenStatistics, page_statistics, summary

from .decision_sheet import DecisionSheet
from .page_state import StudyRooms

MOST_QUERIES = 1000  # in a visitor's labels
MOST_PAST = 60  # queries of the session used for a measurement
CURVES: dict[Kind, str] = {"labels": "of your queries", "known items": "queries drawn from these pages"}
TIMING = "Timing how long this machine scores a page"
SHIPPED = "not here: shipped with the encoder"
QuerySource = Literal["known", "labels", "session"]
log = logging.getLogger(__name__)


@dataclass
class CorpusStudy:
    """State of one visitor's tabs Budget and Tokens."""

    encoder: Encoder
    explainer: Explainer | None
    token_statistics: PageCache[PageStatistics]  # shared by all visitors
    samples: Known = field(default_factory=dict)  # what is shipped of the sample pages
    origin: Origin | None = None  # what was measured, and where it comes from
    sheet: DecisionSheet = field(default_factory=DecisionSheet)
    share: float = 0.95  # share of full quality that "find my budget" requires
    labels: Labels | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    read: list[TokenStatistics] = field(default_factory=list)
    problem: str = ""
    pages: int = 0  # number of pages that `read` was computed from
    asking: str = ""  # the progress of a measurement when it began, as HTML
    measuring: str = ""  # the same of a measurement of every way
    reading: str = ""  # the same of reading all pages
    unread: int = 0  # pages that were not read for it

    def forget(self, pages: bool = True) -> None:
        """Drop measurements. `pages`: the pages changed, not only their scoring."""
        self.origin = None
        self.sheet.forget()
        if pages:
            self.read, self.labels = [], None

    # Budget

    @property
    def worth(self) -> Worth | None:
        """What was measured on these pages."""
        return self.origin.worth if self.origin else None

    @property
    def curve(self) -> Curve | None:
        """The measured quality for the dial; None for searches that nobody judged."""
        origin = self.origin
        if origin is None or origin.worth.kind not in CURVES:
            return None
        scores = tuple(stop.quality for stop in origin.worth.stops)
        return Curve(scores, origin.worth.queries, CURVES[origin.worth.kind], origin.storage)

    @cached_property
    def mmr(self) -> MmrEffect | None:
        """What is shipped of the encoder."""
        return mmr_effect.read(PATHS.assets / mmr_effect.NAME, self.encoder.fingerprint)

    def decision(self, collection: Collection, samples: Kept | None) -> str:
        """The sheet."""
        advice = self._advice()
        return self.sheet.html(
            collection, self.encoder, samples, self.origin, advice, self.share, self.measuring
        )

    def measure_ways(self, collection: Collection, samples: Kept | None) -> Iterator[StudyRooms]:
        """Measure every way with the queries of the last measurement. The sheet is also drawn when a storage
        kind is done.
        """
        self.stop.clear()
        try:
            for step in self.sheet.measure(collection, self.encoder, self.stop, samples):
                told = budget_tab.counted(f"{step.kind}: asked", step.done, step.total, "query")
                if self.measuring and not step.found:
                    yield StudyRooms(done=budget_tab.gone_on("sheet", told, step.done, step.total))
                    continue
                self.measuring = budget_tab.progress(told, step.done, step.total)
                yield StudyRooms(sheet=self.decision(collection, samples))
        except ValueError as error:
            self.sheet.problem = str(error)
        finally:
            self.measuring = ""
        yield StudyRooms(sheet=self.decision(collection, samples))

    def budget(self, collection: Collection, now: Budget, searches: int, running: str = "") -> StudyRooms:
        """The Budget tab; `running` is the HTML of what runs, unless that is a measurement."""
        state = budget_tab.State(
            pages=len(collection),
            now=now,
            worth=self.worth,
            advice=self._advice(),
            share=self.share,
            searches=searches,
            labels=self.labels,
            problem=self.problem,
            running=running or self.asking,
            origin=self.origin,
            budgets=self.encoder.budgets,
            mmr=self.mmr,
        )
        return StudyRooms(ways=budget_tab.ways(state), worth=budget_tab.worth(state))

    def cost(self, collection: Collection, kept: str = "fp16") -> str:
        """The index size at each stop, for any number of pages. `kept`: name of the storage kind."""
        index = collection.index
        sizes = [index.bytes_per_page(stop) for stop in self.encoder.budgets]
        made_by = self.encoder.name, self.encoder.fingerprint, index.storage
        told = Source(0, "none: arithmetic on the index's layout", len(collection), *made_by).as_json()
        pages, at = max(len(collection), 1), self.sheet.at(collection)
        return scale(
            sizes, pages, index.dim, kept, at, origin({**told, "sheet_pages": at}), self.encoder.budgets
        )

    def reliability(self, now: Budget) -> str:
        """How well the chances of this encoder's hits hold."""
        encoder, told = self.encoder, ""
        fit = fitting.calibration_of(encoder.fingerprint)
        if fit is not None:
            queries, made_by = fit.own + fit.foreign, (encoder.name, encoder.fingerprint, "float16")
            source = Source(queries, FIT_LABELS, fit.pages, *made_by, "when the sample corpus was read")
            if fitting.is_shipped(encoder.fingerprint):
                source = replace(source, measured=SHIPPED, machine=SHIPPED)
            told = origin(source.as_json())
        current = fit.budgets.nearest(now) if fit else 0
        return reliability(fit, current, told)

    def _advice(self) -> Advice | str:
        """The recommended budget, or why there is none."""
        return advised(self.worth, self.share) if self.worth else ""

    def measure(
        self, kind: QuerySource, collection: Collection, now: Budget, past: Sequence[Query]
    ) -> Iterator[StudyRooms]:
        """Measure the budgets on these pages."""
        self.stop.clear()
        self.problem = ""
        searches = len(past)
        try:
            asked = self._asked(kind, collection, past)
            storage, fingerprint = collection.index.storage, self.encoder.fingerprint
            for step in measure(collection, self.encoder, asked, self.stop):
                if step.worth:
                    self.sheet.forget()
                    self.origin = Origin(self.encoder.name, fingerprint, storage, step.worth)
                    self.sheet.asked = asked
                told = budget_tab.counted("Asked", step.done, step.total, "query")
                if self.asking:
                    yield StudyRooms(done=budget_tab.gone_on("ways", told, step.done, step.total))
                    continue
                self.asking = budget_tab.progress(told, step.done, step.total)
                yield StudyRooms(ways=self.budget(collection, now, searches).ways)
            if self.origin is not None and self.sheet.times is None:
                yield StudyRooms(done=budget_tab.gone_on("ways", TIMING, 1, 1))
                self.sheet.times = scoring_times(self.encoder.budgets, collection.index.dim)
        except ValueError as error:
            self.problem = str(error)
        finally:
            self.asking = ""
        yield self.budget(collection, now, searches)

    def _asked(
        self, kind: QuerySource, collection: Collection, past: Sequence[Query]
    ) -> list[Asked] | Labels:
        if kind == "labels":
            if self.labels is None:
                raise ValueError("There are no labels yet. Drop queries.jsonl and qrels.tsv together.")
            return self.labels
        if kind == "session":
            return [Asked(query) for query in past[-MOST_PAST:]]
        found = known_items(collection)
        if not found:
            raise ValueError("These pages hold too little text to draw queries from. Use labels instead.")
        return found

    def take_labels(self, files: Sequence[Upload], collection: Collection) -> None:
        """Read queries.jsonl and qrels that were dropped together; sets `problem` on an error."""
        self.labels, self.problem = None, ""
        queries = [file for file in files if file.name.lower().endswith((".jsonl", ".json"))]
        qrels = [file for file in files if file.name.lower().endswith((".tsv", ".txt", ".csv"))]
        if len(queries) != 1 or len(qrels) != 1:
            self.problem = f"Drop two files together: {_missing(files, queries, qrels)}."
            return
        try:
            labels = read_labels(queries[0].path, qrels[0].path, collection)
        except ValueError as error:
            self.problem = str(error)
            return
        if len(labels.queries) > MOST_QUERIES:
            self.problem = f"{len(labels.queries):,} queries are too many; keep at most {MOST_QUERIES:,}."
            return
        self.labels = replace(labels, names=(queries[0].name, qrels[0].name))

    # Tokens

    def tokens(self, empty: bool = False) -> str:
        """The Tokens tab, with the progress of reading all pages; `empty`: there are no pages."""
        able, budgets = self.explainer is not None, self.encoder.budgets
        return budget_tab.tokens(self.read, self.pages, able, self.reading, empty, self.unread, budgets)

    def take_known(self, collection: Collection) -> None:
        """Show the statistics of those pages that have been read already, such as the samples."""
        if self.read:
            return
        with collection.lock:
            pages = list(collection.pages.values())
        found = [known for page in pages if (known := self._known(page)) is not None]
        self.read, self.pages, self.unread = summary(found), len(found), len(pages) - len(found)

    def _known(self, page: StoredPage) -> PageStatistics | None:
        words, statistics = self.samples.get(page.id, (None, None))
        # The id alone could be that of a visitor's page, see `StoredPage.digest`.
        return statistics if words is page.words else self.token_statistics.get(page)

    def _reading(
        self, page: StoredPage, at: StudyRooms
    ) -> Generator[StudyRooms, None, PageStatistics | None]:
        """A page's statistics; `at` after each step. None where it was stopped."""
        assert self.explainer is not None
        statistics = self._known(page)
        for step in self.explainer.looking(page) if statistics is None else ():
            if not isinstance(step, tuple):
                statistics = page_statistics(step.evidence, self.encoder.budgets, page.words)
                self.token_statistics.put(page, statistics)
            elif self.stop.is_set():
                break
            else:
                yield at
        return statistics

    def read_all(self, collection: Collection) -> Iterator[StudyRooms]:
        """Compute the token statistics of every page."""
        if self.explainer is None:
            return
        self.stop.clear()
        with collection.lock:
            pages = list(collection.pages.values())
        found: list[PageStatistics] = []
        told = budget_tab.counted("Read", 0, len(pages), "page")
        self.reading = budget_tab.progress(told, 0, len(pages))
        try:
            yield StudyRooms(tokens=self.tokens(empty=not pages))
            for done, page in enumerate(pages, 1):
                if self.stop.is_set():
                    break
                told = budget_tab.counted("Read", done, len(pages), "page")
                at = StudyRooms(done=budget_tab.gone_on("token-statistics", told, done, len(pages)))
                statistics = yield from self._reading(page, at)
                if statistics is not None:
                    found.append(statistics)
                if done % 4 == 0:
                    yield at
        finally:
            self.reading = ""
        self.read, self.pages, self.unread = summary(found), len(found), len(pages) - len(found)
        yield StudyRooms(tokens=self.tokens(empty=not pages))


def _missing(files: Sequence[Upload], queries: Sequence[Upload], qrels: Sequence[Upload]) -> str:
    """What the files lack to be a pair of queries and judgements."""
    came = ", ".join(short_name(file.name) for file in files) or "nothing"
    if len(queries) > 1 or len(qrels) > 1:
        return f"{came} came; one file of queries and one of judgements are read"
    lacking = [] if queries else ["queries.jsonl (a line a query)"]
    lacking += [] if qrels else ["qrels.tsv (the judgements, tab-separated)"]
    return f"{came} came, {' and '.join(lacking)} is missing"
