"""One visitor at the page: searching, moving the dial, adding documents; the answers as HTML. No Gradio."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from metaembed_demo.app.views import alignment_chart, documents_tab, search_tab, storage_control, timing_chart
from metaembed_demo.app.views.budget_dial import dial, readout
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.convert_storage import kind_of
from metaembed_demo.collection.search import explain_hit, research, search
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.budgets import STOPS, Budget
from metaembed_demo.core.config import LIMITS
from metaembed_demo.core.text import check_length, clean
from metaembed_demo.core.types import FloatArray, Query, Trace, Upload
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.evaluation.quality_curve import Curve
from metaembed_demo.explain.explainer import Explainer
from metaembed_demo.explain.token_statistics import Habit
from metaembed_demo.index.maxsim import align, prefix_gains

from .corpus_study import Kind, Survey
from .explanation_tabs import Panel, nearest
from .jobs import Indexed, index, job, picture
from .links import Link, link, trace_json
from .page_state import EMPTY, Screen, Shelf
from .session import Session
from .storage_choice import Storing

HITS = 10
PROGRESS_EVERY_S = 0.15  # the bar moves at most this often
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tools:
    """What all visitors share: the encoder, the quality curve of the dial, the example queries."""

    encoder: Encoder
    curve: Curve | None = None
    examples: Sequence[str] = ()
    samples: bool = True  # whether there is a sample corpus to bring back
    explainer: Explainer | None = None  # None where the encoder cannot tell what it read
    notice: str = ""  # why another encoder than the one asked for is in use
    habits: dict[str, Habit] = field(default_factory=dict)  # of pages read by any visitor


@dataclass
class Visit:
    """One visitor: their session, and what only the page needs to know of them."""

    tools: Tools
    session: Session
    picture: Upload | None = None  # the picture beside the query box
    inbox: list[Upload] = field(default_factory=list)  # uploaded, not yet indexed
    stop: threading.Event = field(default_factory=threading.Event)  # asks indexing to end
    indexing: bool = False
    panel: Panel = field(init=False)  # the evidence tabs
    survey: Survey = field(init=False)  # the rooms Budget and Tokens
    storing: Storing = field(default_factory=Storing)  # how the pages are kept
    shown: tuple[str, int] | None = None  # id and rank of the picture that the browser holds

    def __post_init__(self) -> None:
        self.panel = Panel(self.tools.explainer)
        self.survey = Survey(self.tools.encoder, self.tools.explainer, self.tools.habits)

    @property
    def collection(self) -> Collection:
        return self.session.collection

    # Searching

    def arrive(self, link: Link | None = None) -> Screen:
        """The page as a browser that has just loaded needs it, at the view that `link` names."""
        self.shown = None
        if link is None or not link.query:
            return self.screen()
        self.session.budget = link.budget.clip(self.tools.encoder.r_q, self.tools.encoder.r_c)
        self.picture = None
        screen = self.search(link.query)
        if link.hit and self.session.trace and link.hit != self.session.chosen:
            self.shown = None
            self._take(self.session.trace, link.hit, beyond=self._has(link.hit))
            return self.screen()
        return screen

    def search(self, text: str) -> Screen:
        """Encode the query, with the picture if there is one, and open the best hit.

        An empty query goes back to the start.
        """
        text = clean(text)
        if not text.strip() and self.picture is None:
            self.session.forget_search()
            return self.screen()
        if not len(self.collection):
            return self.screen()
        try:
            check_length(text, LIMITS.max_query_characters)
            query = Query(text.strip(), picture(self.picture) if self.picture else None)
            trace = search(self.collection, self.tools.encoder, query, self.session.budget, HITS)
            self.panel.ask(query, trace)
            self.panel.note(trace)
        except Exception as error:  # whatever the encoder meets, the visitor gets words and a way on
            if not isinstance(error, ValueError):
                log.exception("The search for %.100r failed", text)
            self.session.forget_search()
            told = text[: LIMITS.max_query_characters]
            return self._failed(str(error) or type(error).__name__, told)
        self._take(trace, None)
        return self.screen()

    def move(self, budget: Budget) -> Screen:
        """Another budget for the same query, with no encoding."""
        start = time.perf_counter()
        self.session.budget = budget.clip(self.tools.encoder.r_q, self.tools.encoder.r_c)
        if self.session.trace is None:
            return Screen(dial=self._dial(""), storage=self.storage())
        self._again()
        self.panel.note(self.session.trace)
        screen = self.screen()
        screen.dial = self._dial(readout(True, (time.perf_counter() - start) * 1000, 0, 0))
        return screen

    def choose(self, page_id: str) -> Screen:
        """Open another hit. An id that is not among the hits changes nothing."""
        trace = self.session.trace
        if trace is None or page_id not in {hit.page_id for hit in trace.hits}:
            return Screen()
        self._take(trace, page_id)
        screen = self.screen()
        screen.dial = screen.header = None
        return screen

    def _take(self, trace: Trace, chosen: str | None, beyond: bool = False) -> None:
        """Keep `trace` with the hit `chosen` explained; the best hit where that one is gone.

        beyond: also a page that is not among the hits.
        """
        ids = [hit.page_id for hit in trace.hits]
        if chosen not in ids and not beyond:
            chosen = ids[0] if ids else None
        with self.session.lock, self.collection.lock:
            if chosen is not None and chosen in self.collection.pages:
                trace = explain_hit(self.collection, trace, chosen)
            self.session.trace, self.session.chosen = trace, chosen

    def _again(self) -> None:
        """Rank the kept query once more, after a move of the dial or a change of the pages."""
        trace = self.session.trace
        if trace is not None:
            self._take(research(self.collection, trace, self.session.budget, HITS), self.session.chosen)

    # The search side as HTML

    def screen(self) -> Screen:
        """Every region of the search side for the state that is."""
        screen = Screen(self._header(), footer=self._footer(), **EMPTY)
        trace = self.session.trace
        screen.dial, screen.storage = self._dial(_cost(trace)), self.storage()
        if not len(self.collection):
            screen.results = search_tab.no_pages(self.tools.samples)
        elif trace is None or not trace.hits:
            screen.results = search_tab.no_query(len(self.collection), next(iter(self.tools.examples), None))
        else:
            self._show(trace, screen)
        if screen.page == "":
            self.shown = None
        return screen

    def _show(self, trace: Trace, screen: Screen) -> None:
        chosen = self.session.chosen
        with self.collection.lock:
            wanted = dict.fromkeys([*(hit.page_id for hit in trace.hits), *([chosen] if chosen else [])])
            pages = {page_id: self.collection.pages[page_id] for page_id in wanted if self._has(page_id)}
            vectors = dict(zip(pages, self.collection.index.vectors(list(pages)), strict=True))
        query, r_c = trace.query_vectors[: trace.budget.r_q], trace.budget.r_c
        gains = {
            page_id: prefix_gains(align(page_id, query, rows[:r_c])).tolist()
            for page_id, rows in vectors.items()
        }
        screen.results = search_tab.results(trace, pages, gains, chosen, self._is_weak(trace))
        how = storage_control.scored(trace)
        screen.timing = timing_chart.timing(trace.timings, trace.pages_searched, trace.candidates, how)
        screen.timing += self.panel.history()
        if trace.alignment is None or chosen is None or chosen not in pages:
            return
        self._explain(trace, pages[chosen], vectors[chosen], screen)
        screen.link = link(trace, chosen, trace_json(trace, pages, self.panel.explanation))

    def _explain(self, trace: Trace, page: StoredPage, rows: FloatArray, screen: Screen) -> None:
        """The regions about the chosen hit; `rows` (R_c, D) are its vectors."""
        assert trace.alignment is not None
        full = align(page.id, trace.query_vectors, rows).similarity
        self.panel.explain(page, trace)
        screen.alignment = alignment_chart.alignment(trace.alignment, full, trace.budget)
        screen.marks = self.panel.marks(trace)
        screen.pagemap = self.panel.page_map(trace)
        screen.ranks = self.panel.ranks(self.collection, trace, page.id)
        screen.compare = self.panel.compare(self.collection, trace, page)
        screen.page = self._picture_of(page, trace)

    def open_at(self, page_id: str, budget: Budget) -> Screen:
        """Open one page at one budget, as a click on its line of ranks asks."""
        self.session.budget = budget.clip(self.tools.encoder.r_q, self.tools.encoder.r_c)
        trace = self.session.trace
        if trace is None or not self._has(page_id):
            return Screen()
        self._take(research(self.collection, trace, self.session.budget, HITS), page_id, beyond=True)
        return self.screen()

    def side(self, action: str, value: str = "") -> Screen:
        """Change side A of the comparison: pin, unpin, or other with a budget."""
        trace, chosen = self.session.trace, self.session.chosen
        if trace is None or chosen is None or not self._has(chosen):
            return Screen()
        if action == "pin":
            self.panel.pin(trace)
        elif action == "unpin":
            self.panel.unpin()
        elif action == "other":
            self.panel.set_other(Budget.parse(value).clip(self.tools.encoder.r_q, self.tools.encoder.r_c))
        return Screen(compare=self.panel.compare(self.collection, trace, self.collection.pages[chosen]))

    def test(self) -> Iterator[Screen]:
        """Test the explanation of the chosen hit."""
        if self.session.trace is not None:
            with job(self.session, self.panel.stop):
                for told in self.panel.test(self.session.trace):
                    yield Screen(pagemap=told)

    def _is_weak(self, trace: Trace) -> bool:
        """Whether no page stands out. Of what was not measured, as pictures as queries, nothing is said."""
        curve = self.tools.curve
        if curve is None or trace.query_image or trace.storage not in storage_control.SCORE_ALIKE:
            return False
        return curve.is_weak(trace.hits[0].score, trace.budget)

    def _has(self, page_id: str) -> bool:
        return page_id in self.collection.pages

    def _picture_of(self, page: StoredPage, trace: Trace) -> str | None:
        """The large picture, or None where the browser holds it already: it is most of what is sent."""
        rank = next((hit.rank for hit in trace.hits if hit.page_id == page.id), None)
        if rank is None:  # opened from its line of ranks, far down
            rank = self.panel.all_ranks(self.collection, trace)[nearest(trace.budget)][page.id]
        if self.shown == (page.id, rank):
            return None
        self.shown = (page.id, rank)
        return search_tab.page(page, rank, self.panel.reading())

    def _failed(self, message: str, query: str) -> Screen:
        self.shown = None
        told = {"dial": self._dial(_cost(None)), "storage": self.storage(), "footer": self._footer()}
        return Screen(results=search_tab.failure(message, query), **told, **EMPTY)

    def _header(self) -> str:
        encoder = self.tools.encoder
        return search_tab.header(encoder.name, encoder.device, len(self.collection), self.tools.notice)

    def _dial(self, told: str) -> str:
        kind = kind_of(self.collection)
        return dial(self.session.budget, self.bytes_per_stop(), self.tools.curve, told, kind)

    def storage(self) -> str:
        """The storage control for the state that is."""
        return self.storing.control(self.collection, self.session.budget, self.session.trace)

    def _footer(self) -> str:
        pages = len(self.collection)
        vectors = pages * self.collection.index.r_c
        return search_tab.footer(self.session.trace, pages, vectors, pages * self.bytes_per_stop()[-1])

    def bytes_per_stop(self) -> list[int]:
        """Index bytes a page at each of the five stops."""
        return [self.collection.index.bytes_per_page(stop) for stop in STOPS]

    # Budget

    def budget_room(self) -> str:
        """The Budget room for the state that is."""
        return self.survey.room(self.collection, self.session.budget, len(self.panel.queries))

    def cost_room(self) -> str:
        """What an index costs, kept as this one is."""
        kind = kind_of(self.collection)
        return self.survey.cost(self.collection, "fp16" if kind == "float16" else storage_control.NAMES[kind])

    def measure(self, kind: Kind) -> Iterator[str]:
        """Measure the five budgets on this visitor's pages."""
        with job(self.session, self.survey.stop):
            yield from self.survey.measure(kind, self.collection, self.session.budget, self.panel.queries)

    def read_all(self) -> Iterator[str]:
        """What every token reads of this visitor's pages."""
        with job(self.session, self.survey.stop):
            yield from self.survey.read_all(self.collection)

    # Documents

    def shelf(self, news: str | None = None) -> Shelf:
        """The Documents tab for the state that is."""
        return Shelf(
            news,
            documents_tab.listing(self.collection.documents(), len(self.collection), self.tools.samples),
            self.storing.statistics(self.collection, self.bytes_per_stop()),
        )

    def receive(self, files: Sequence[Upload]) -> Shelf:
        """Take uploaded files in; `index_inbox` indexes them."""
        if not self.indexing:  # else a cancel that is on its way would be lost
            self.stop.clear()
        self.inbox += self.session.locker.take(files)
        return Shelf(documents_tab.waiting(len(files)), busy=True)

    def index_inbox(self) -> Iterator[Shelf]:
        """Index what was received, page by page, until done or until `stop` is set."""
        files, self.inbox = self.inbox, []
        refused, last = self.session.locker.refusals(), 0.0
        if not files and not refused:
            return
        self.indexing = True
        try:
            with self.session.at_work():
                for at in index(self.collection, self.tools.encoder, files, refused, self.stop):
                    if isinstance(at, Indexed):
                        ended = at
                    elif time.monotonic() - last >= PROGRESS_EVERY_S:
                        last = time.monotonic()
                        yield Shelf(
                            documents_tab.progress(at.done, at.total, at.source, at.number), busy=True
                        )
        finally:
            self.session.locker.release(files)
            self.indexing = False
        self._again()
        self.survey.forget()
        yield self.shelf(documents_tab.outcome(_outcome(ended)))

    def remove(self, source: str) -> Shelf:
        """Take a document out and rank the open search again. An unknown one changes nothing."""
        if source in {document.source for document in self.collection.documents()}:
            self.collection.remove(source)
        return self._after_change()

    def clear(self) -> Shelf:
        """Take every document out."""
        self.collection.clear()
        return self._after_change()

    def restore(self) -> Shelf:
        """Bring back the sample pages that were removed; the visitor's own stay."""
        self.session.restore_samples()
        return self._after_change()

    def stored_anew(self, pages: bool = False) -> Shelf:
        """The pages are scored in another way, or (`pages`) there are others: ask the open search again."""
        self.panel.forget_ranks()
        shelf = self._after_change(pages)
        shelf.news, shelf.busy = None, self.indexing
        return shelf

    def take_over(self, tools: Tools, collection: Collection, base: Collection) -> None:
        """Go on with another encoder's tools and its vectors of the same pages; ask the open search anew."""
        asked = self.session.trace.query_text if self.session.trace else ""
        self.storing.stop.set()  # of an index that is left behind
        with self.session.lock:
            self.tools, self.session.collection, self.session.base = tools, collection, base
            self.session.forget_search()
        self.panel, self.storing = Panel(tools.explainer), Storing()
        self.survey = Survey(tools.encoder, tools.explainer, tools.habits)
        if asked or self.picture:
            self.search(asked)
        self.shown = None  # the answer to that search was not sent

    def _after_change(self, pages: bool = True) -> Shelf:
        self.survey.forget(pages)
        if len(self.collection):
            self._again()
        else:
            self.session.forget_search()
        return self.shelf("")


def _outcome(ended: Indexed) -> documents_tab.Outcome:
    report = ended.report
    told = (report.added, tuple(report.duplicates), tuple(report.problems), report.seconds)
    return documents_tab.Outcome(*told, cancelled=ended.cancelled, error=ended.error)


def _cost(trace: Trace | None) -> str:
    if trace is None:
        return '<span class="hint">Arrow keys or a click move it</span>'
    return readout(False, 0.0, trace.timings["rerank"], trace.timings["total"])
