"""One tab's search: the query, the open hit, the budget, and the HTML that shows them. No Gradio."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from PIL.Image import Image

from metaembed_demo.app.views import filter_control, search_tab, storage_control
from metaembed_demo.app.views.alignment_chart import alignment
from metaembed_demo.app.views.budget_dial import Setting, dial, readout
from metaembed_demo.app.views.timing_chart import timing
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.convert_storage import storage_of
from metaembed_demo.collection.facets import NoPageLeft
from metaembed_demo.collection.filters import EVERY, PageFilter
from metaembed_demo.collection.modes import WORDS
from metaembed_demo.collection.ranker import How
from metaembed_demo.collection.search import alignment_in, explain_hit, has_seen, research, search
from metaembed_demo.collection.second_encoder import Complements, SecondEncoder
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.budgets import STOPS, Budget
from metaembed_demo.core.config import LIMITS
from metaembed_demo.core.text import check_length, clean
from metaembed_demo.core.types import Query, Trace, Upload
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.evaluation.quality_curve import Curve
from metaembed_demo.explain.explainer import Explainer
from metaembed_demo.explain.page_cache import PageCache
from metaembed_demo.explain.token_statistics import PageStatistics
from metaembed_demo.index.maxsim import prefix_gains

from .auto_choice import AutoChoice
from .explanation_tabs import ExplanationTabs, nearest
from .jobs import in_turn, picture
from .links import Link, link, trace_json
from .page_state import EMPTY, REGION_OF, Screen
from .ranking_choice import RankingChoice
from .session import Session
from .storage_choice import StorageChoice

HITS = 10
KNOWN = 2000  # pages with cached token statistics
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tools:
    """Shared by all visitors: the encoder, the quality curve of the dial, the example queries."""

    encoder: Encoder
    curve: Curve | None = None
    examples: Sequence[str] = ()
    samples: bool = True  # whether there is a sample corpus to restore
    explainer: Explainer | None = None  # None when the encoder gives no evidence
    notice: str = ""  # why the configured encoder is not in use
    token_statistics: PageCache[PageStatistics] = field(default_factory=lambda: PageCache(KNOWN))
    complements: Complements = field(default_factory=Complements)  # for query refinement

    def forget(self, base: Collection, pages: Iterable[StoredPage]) -> None:
        """Drop what was computed from `pages`, unless they are those of the sample corpus `base`."""
        own = [page for page in pages if not _is_in(base, page)]
        if self.explainer:
            self.explainer.forget(own)
        self.token_statistics.forget(own)


def _is_in(base: Collection, page: StoredPage) -> bool:
    same = base.pages.get(page.id)
    return same is not None and (same is page or same.digest == page.digest)


@dataclass
class SearchState:
    """What one tab searches and shows. Tabs of a visitor share the `session`."""

    tools: Tools
    session: Session
    picture: Upload | None = None  # the query picture
    trace: Trace | None = None  # the last search
    chosen: str | None = None  # page id of the open hit
    budget: Budget = STOPS[-1]
    only: PageFilter = EVERY  # the pages to search
    unanswered: tuple[str, str] | None = None  # a query for which that leaves no page, and why
    ranking: RankingChoice = field(default_factory=RankingChoice)  # what ranks the pages
    auto: AutoChoice = field(default_factory=AutoChoice)  # whether the budget sets itself
    tab: str = "alignment"  # the open evidence tab, a region of `Screen`
    explanation_tabs: ExplanationTabs = field(init=False)  # the evidence tabs
    storage_choice: StorageChoice = field(init=False)  # the storage control
    _held: dict[str, str] = field(default_factory=dict)  # region -> HTML last sent to the browser

    def __post_init__(self) -> None:
        self.begin(self.tools)

    def begin(self, tools: Tools) -> None:
        """Start over with an encoder's `tools`."""
        self.tools = tools
        self.explanation_tabs, self.storage_choice = ExplanationTabs(tools.explainer), StorageChoice()
        self.session.collection.on_removed = partial(tools.forget, self.session.base)

    @property
    def collection(self) -> Collection:
        return self.session.collection

    def forget_search(self) -> str:
        """Drop the last search. Returns its text, "" where there was none."""
        with self.session.lock:
            text = self.trace.query_text if self.trace else ""
            self.trace, self.chosen, self.unanswered = None, None, None
        return text

    def changed(self, screen: Screen) -> dict[str, str]:
        """The regions of `screen` that differ from what the browser has. Records them as sent."""
        found = {name: html for name, html in vars(screen).items() if html is not None}
        found = {name: html for name, html in found.items() if self._held.get(name) != html}
        self._held |= found
        return found

    # Searching

    def arrive(self, link: Link | None = None) -> Screen:
        """All regions for a page that has just loaded, at the view that `link` names."""
        self._held.clear()
        self.tab = REGION_OF.get(link.tab, self.tab) if link else self.tab
        if link is None or not link.query:
            return self.screen()
        self.budget = link.budget.clip(self.tools.encoder.r_q, self.tools.encoder.r_c)
        self.picture, self.only, self.auto.on = None, link.only, link.auto
        self.ranking.take(link.mode, link.steps, link.complement)
        screen = self.search(link.query)
        if link.hit and self.trace and link.hit != self.chosen:
            self._take(self.trace, link.hit, beyond=self._has(link.hit))
            return self.screen()
        return screen

    def search(self, text: str) -> Screen:
        """Search with the text and the query picture, if there is one, and open the best hit.

        An empty query resets the search.
        """
        text = clean(text)
        if not text.strip() and self.picture is None:
            self.forget_search()
            return self.screen()
        if not len(self.collection):
            return self.screen()
        try:
            check_length(text, LIMITS.max_query_characters)
            query = Query(text.strip(), self._read(self.picture) if self.picture else None)
            trace = search(
                self.collection,
                self.tools.encoder,
                query,
                self.budget,
                HITS,
                self._how(),
                evidence=self.explanation_tabs.explains,
            )
            self.explanation_tabs.ask(query)
            self.explanation_tabs.note(trace)
        except NoPageLeft as error:
            self.forget_search()
            self.unanswered = text, str(error)
            return self.screen()
        except Exception as error:  # the visitor gets a message for any error of the encoder
            if not isinstance(error, ValueError):
                log.exception("The search for %.100r failed", text)
            self.forget_search()
            return self._failed(str(error) or type(error).__name__, text[: LIMITS.max_query_characters])
        self._take(trace, None)
        return self.screen()

    def _read(self, file: Upload) -> Image:
        return picture(file, self.session.shares.pictures, self.session.client)

    def move(self, budget: Budget) -> Screen:
        """Search again with the same query embedding at another budget."""
        self.auto.on = False
        return self._moved(budget)

    def set_itself(self) -> Screen:
        """Let the budget set itself, for the open search and those to come."""
        self.auto.on = True
        return self._moved(STOPS[-1])

    def _moved(self, budget: Budget) -> Screen:
        start = time.perf_counter()
        self.budget = budget.clip(self.tools.encoder.r_q, self.tools.encoder.r_c)
        if self.trace is None:
            return Screen(dial=self._dial("", self.bytes_per_stop()), storage=self.storage())
        self.again()
        if self.trace is not None:
            self.explanation_tabs.note(self.trace)
        return self.screen(lambda: readout(True, (time.perf_counter() - start) * 1000, 0, 0))

    def limit(self, only: str | Mapping[str, Any]) -> Screen:
        """Search again among some pages, as `PageFilter.of` takes them. What is malformed is ignored."""
        with suppress(ValueError):
            self.only = PageFilter.of(only)
        self.again()
        return self.screen()

    def rank_by(self, mode: str, steps: int | str, complement: str = "") -> Screen:
        """Search again in another mode, or with the query refined in so many steps by a complement."""
        self.ranking.take(mode, steps, complement)
        if self.trace is not None and not has_seen(self.trace, self._how().complement):
            return self.search(self.trace.query_text)
        self.again()
        return self.screen()

    @property
    def complement(self) -> SecondEncoder | None:
        """The chosen second encoder that refines, if it can."""
        return self.tools.complements.get(self.ranking.complement, self.tools.encoder)

    def ranking_control(self, done: tuple[int, int] | None = None) -> str:
        """The control of what ranks pages. done: pages that the complement has read, of how many."""
        names = self.tools.complements.names(self.tools.encoder)
        return self.ranking.control(self.collection, self.trace, self.chosen, names, done)

    def _how(self) -> How:
        auto = self.auto.of(self.session, self.tools.encoder)
        return replace(self.ranking.how(self.only, self.complement), auto=auto)

    def choose(self, page_id: str) -> Screen:
        """Open another hit. An id that is not among the hits is ignored."""
        trace = self.trace
        if trace is None or page_id not in {hit.page_id for hit in trace.hits}:
            return Screen()
        self._take(trace, page_id)
        return self.screen()

    def _take(self, trace: Trace, chosen: str | None, beyond: bool = False) -> None:
        """Set `trace` and open the hit `chosen`, or the best hit if `chosen` is not among the hits.

        beyond: accept a page that is not among the hits.
        """
        ids = [hit.page_id for hit in trace.hits]
        if chosen not in ids and not beyond:
            chosen = ids[0] if ids else None
        with self.session.lock, self.collection.lock:
            if chosen is not None and chosen in self.collection.pages:
                trace = explain_hit(self.collection, trace, chosen)
            self.trace, self.chosen, self.unanswered = trace, chosen, None

    def again(self) -> None:
        """Search again with the same query, after a change of the budget, the filter or the pages."""
        if self.trace is not None:
            self._research(self.trace, self.chosen)
        elif self.unanswered is not None:
            self.search(self.unanswered[0])

    def _research(self, trace: Trace, chosen: str | None, beyond: bool = False) -> None:
        how = self._how()
        try:
            found = research(self.collection, trace, self.budget, HITS, how)
        except NoPageLeft as error:
            self.unanswered = self.forget_search(), str(error)
        else:
            self._take(found, chosen, beyond)

    # The search side as HTML

    def screen(self, cost: Callable[[], str] | None = None) -> Screen:
        """Every region of the search side for the current state, with only the open evidence tab.

        cost: returns the dial's readout, called last; None: the cost of the search.
        """
        trace, sizes = self.trace, self.bytes_per_stop()
        screen = Screen(self._header(), footer=self._footer(sizes), storage=self.storage(), **EMPTY)
        screen.ranking = self.ranking_control()
        screen.only = filter_control.control(self.only, self.collection.facets())
        if not len(self.collection):
            screen.results = search_tab.no_pages(self.tools.samples)
        elif self.unanswered is not None:
            screen.results = filter_control.none_left(self.unanswered[1])
        elif trace is not None and not trace.hits and trace.mode == WORDS:
            screen.results = search_tab.no_words(trace)
        elif trace is None or not trace.hits:
            screen.results = search_tab.no_query(len(self.collection), next(iter(self.tools.examples), None))
        else:
            self._show(trace, screen)
        screen.dial = self._dial(cost() if cost else _cost(trace), sizes)
        return screen

    def _show(self, trace: Trace, screen: Screen) -> None:
        chosen = self.chosen
        with self.collection.lock:
            wanted = dict.fromkeys([*(hit.page_id for hit in trace.hits), *([chosen] if chosen else [])])
            pages = {page_id: self.collection.pages[page_id] for page_id in wanted if self._has(page_id)}
        gains = {
            page_id: prefix_gains(alignment_in(trace, page_id)).tolist()
            for page_id in pages
            if page_id in trace.cosines
        }
        spoken = self.collection.facets().languages
        screen.results = search_tab.results(trace, pages, gains, chosen, self._address, spoken)
        if trace.alignment is None or chosen is None or chosen not in pages:
            self._open_tab(trace, None, screen)
            return
        page = pages[chosen]
        rank, explains = self._rank(page, trace), self.explanation_tabs.explains
        met = self.ranking.met(page, trace)
        screen.page = search_tab.page(page, rank, self._address, overlay=explains, met=met)
        screen.link = link(trace, chosen)
        self.explanation_tabs.follow(page, trace)
        screen.marks = self.explanation_tabs.marks(trace, self._address)
        self._open_tab(trace, page, screen)

    def _open_tab(self, trace: Trace, page: StoredPage | None, screen: Screen) -> None:
        """Draw the open evidence tab; the others are drawn when they are opened."""
        if self.tab == "timing":
            how = storage_control.scored(trace)
            screen.timing = timing(trace.timings, trace.pages_searched, trace.candidates, how)
            screen.timing += self.explanation_tabs.history()
        elif page is None or trace.alignment is None:
            return
        elif self.tab == "alignment":
            screen.alignment = alignment(trace.alignment, trace.cosines[page.id], trace.budget)
        elif self.tab == "ranks":
            screen.ranks = self.explanation_tabs.ranks(self.collection, trace, page.id)
        elif self.explanation_tabs.explains and self.explanation_tabs.explanation is None:
            return  # requested by the page afterwards, see `explain`
        elif self.tab == "compare":
            screen.compare = self.explanation_tabs.compare(self.collection, trace, page)
        elif self.tab == "pagemap":
            screen.pagemap = self.explanation_tabs.page_map(trace)

    def open_tab(self, name: str) -> Screen:
        """Open the evidence tab `name`, one of `links.TABS`, and draw it."""
        self.tab = REGION_OF.get(name, self.tab)
        screen = Screen()
        if self.trace is not None:
            page = self.collection.pages.get(self.chosen or "")
            if page is not None:
                self.explanation_tabs.follow(page, self.trace)
            self._open_tab(self.trace, page, screen)
        return screen

    def explain(self) -> Screen:
        """Explain the open hit: the marks on its page, and the open tab if it depends on them."""
        self._held.pop("marks", None)  # the page asked, so it does not have them
        trace, page = self.trace, self.collection.pages.get(self.chosen or "")
        screen = Screen()
        if trace is None or page is None:
            return screen
        self.explanation_tabs.explain(page, trace)
        screen.marks = self.explanation_tabs.marks(trace, self._address)
        if self.tab in ("pagemap", "compare"):
            self._open_tab(trace, page, screen)
        return screen

    def trace_record(self) -> str:
        """The region `link` with the trace of the open search as JSON, for copying."""
        trace, chosen = self.trace, self.chosen
        if trace is None or chosen is None:
            return link(trace, chosen)
        if self.tools.explainer is not None:
            self.explain()
        with self.collection.lock:
            ids = [hit.page_id for hit in trace.hits if self._has(hit.page_id)]
            pages = {page_id: self.collection.pages[page_id] for page_id in ids}
        return link(trace, chosen, trace_json(trace, pages, self.explanation_tabs.explanation))

    def _address(self, page_id: str, name: str) -> str:
        """The URL of a page's picture or data, see app/server/pictures.py."""
        return f"pictures/{self.session.picture_key}/{page_id}/{name}"

    def _rank(self, page: StoredPage, trace: Trace) -> int:
        rank = next((hit.rank for hit in trace.hits if hit.page_id == page.id), None)
        if rank is None:  # opened from the rank chart, beyond the hits
            rank = self.explanation_tabs.all_ranks(self.collection, trace)[nearest(trace.budget)][page.id]
        return rank

    def open_at(self, page_id: str, budget: Budget) -> Screen:
        """Open a page at a budget, after a click in the rank chart."""
        self.auto.on = False
        self.budget = budget.clip(self.tools.encoder.r_q, self.tools.encoder.r_c)
        trace = self.trace
        if trace is None or not self._has(page_id):
            return Screen()
        self._research(trace, page_id, beyond=True)
        return self.screen()

    def side(self, action: str, value: str = "") -> Screen:
        """Change side A of the comparison. `action`: "pin", "unpin", or "other" with a budget as `value`."""
        trace, chosen = self.trace, self.chosen
        if trace is None or chosen is None or not self._has(chosen):
            return Screen()
        if action == "pin":
            self.explanation_tabs.pin(trace)
        elif action == "unpin":
            self.explanation_tabs.unpin()
        elif action == "other":
            self.explanation_tabs.set_other(
                Budget.parse(value).clip(self.tools.encoder.r_q, self.tools.encoder.r_c)
            )
        return Screen(
            compare=self.explanation_tabs.compare(self.collection, trace, self.collection.pages[chosen])
        )

    def test(self) -> Iterator[Screen]:
        """Run the occlusion test on the explanation of the open hit."""
        if self.trace is not None:
            test = self.explanation_tabs.test(self.trace)
            for html in in_turn(self.session, self.explanation_tabs.stop, test):
                yield Screen(pagemap=html)

    def _has(self, page_id: str) -> bool:
        page = self.collection.pages.get(page_id)
        return page is not None and self.only.matches(page)

    def _failed(self, message: str, query: str) -> Screen:
        sizes = self.bytes_per_stop()
        screen = Screen(dial=self._dial(_cost(None), sizes), storage=self.storage(), **EMPTY)
        screen.results, screen.footer = search_tab.failure(message, query), self._footer(sizes)
        return screen

    def _header(self) -> str:
        encoder = self.tools.encoder
        pages, notice, kept = len(self.collection), self.tools.notice, storage_of(self.collection)
        return search_tab.header(encoder.name, encoder.device, pages, notice, kept)

    def _dial(self, cost: str, sizes: Sequence[int]) -> str:
        kind, told = storage_of(self.collection), self.trace.auto if self.trace else None
        auto = Setting(told) if self.auto.on else None
        return dial(self.budget, sizes, self.tools.curve, cost, kind, auto)

    def storage(self) -> str:
        """The storage control for the current state."""
        return self.storage_choice.control(self.collection, self.budget, self.trace)

    def _footer(self, sizes: Sequence[int]) -> str:
        pages = len(self.collection)
        vectors = pages * self.collection.index.r_c
        return search_tab.footer(self.trace, pages, vectors, pages * sizes[-1])

    def bytes_per_stop(self) -> list[int]:
        """Index bytes per page at each of the five stops."""
        return [self.collection.index.bytes_per_page(stop) for stop in STOPS]


def _cost(trace: Trace | None) -> str:
    if trace is None:
        return '<span class="hint">Arrow keys or a click move it</span>'
    scoring = trace.timings["rerank"] + (trace.timings["coarse"] if trace.auto else 0.0)  # Auto's stages
    return readout(False, 0.0, scoring, trace.timings["total"])
