"""The search side of one tab as HTML: the hits, the open page, the open evidence tab, the dial. No Gradio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from secrets import token_urlsafe
from typing import Any

from metaembed_demo.app.views import filter_control, open_page, search_tab, storage_control, visit_mark
from metaembed_demo.app.views.alignment_chart import alignment
from metaembed_demo.app.views.budget_dial import Setting, dial, readout
from metaembed_demo.app.views.judged import ranks_told
from metaembed_demo.app.views.timing_chart import timing
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.convert_storage import storage_of
from metaembed_demo.collection.filters import EVERY, PageFilter
from metaembed_demo.collection.modes import WORDS
from metaembed_demo.collection.search import alignment_in
from metaembed_demo.collection.second_encoder import SecondEncoder
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.budgets import Budget, Budgets
from metaembed_demo.core.types import Trace, Upload
from metaembed_demo.evaluation.quality_curve import Curve
from metaembed_demo.index.maxsim import prefix_gains

from .auto_choice import AutoChoice
from .explanation_tabs import ExplanationTabs
from .judged_answer import JudgedAnswer, beyond, judged_answer, with_answer
from .links import link, picture_name, side_params, unanswered
from .page_state import EMPTY, Screen
from .ranking_choice import RankingChoice
from .session import Session
from .storage_choice import StorageChoice
from .tools import Tools


@dataclass
class SearchScreen:
    """What one tab has searched, and its HTML. Tabs of a visitor share the `session`."""

    tools: Tools
    session: Session
    picture: Upload | None = None  # the query picture
    trace: Trace | None = None  # the last search
    chosen: str | None = None  # page id of the open hit
    budget: Budget = field(init=False)
    only: PageFilter = EVERY  # the pages to search
    unanswered: tuple[str, str] | None = None  # a query for which that leaves no page, and why
    ranking: RankingChoice = field(default_factory=RankingChoice)  # what ranks the pages
    auto: AutoChoice = field(default_factory=AutoChoice)  # whether the budget sets itself
    answer: JudgedAnswer | None = None  # the judged answer of the open question
    tab: str = "alignment"  # the open evidence tab, a region of `Screen`
    explanation_tabs: ExplanationTabs = field(init=False)  # the evidence tabs
    storage_choice: StorageChoice = field(init=False)  # the storage control
    mark: str = field(default_factory=lambda: token_urlsafe(12))  # by which the browser knows this tab again
    arrived: bool = False  # whether it shows what its link names
    sliders: Budget | None = None  # the ends of the browser's free sliders; None: as the page is laid out
    _held: dict[str, str] = field(default_factory=dict)  # region -> HTML last sent to the browser

    def __post_init__(self) -> None:
        self.budget = self.budgets.full
        self.begin(self.tools)

    @property
    def budgets(self) -> Budgets:
        """The stops of the dial."""
        return self.tools.encoder.budgets

    def begin(self, tools: Tools) -> None:
        """Start over with an encoder's `tools`; a stop that it does not have becomes its largest."""
        at_stop, self.tools = self.budget in self.budgets, tools
        if at_stop and self.budget not in self.budgets:
            self.budget = self.budgets.full
        self.explanation_tabs = ExplanationTabs(tools.explainer, other=self.budgets[0])
        self.storage_choice = StorageChoice()
        self.session.collection.on_removed = partial(tools.forget, self.session.base)

    @property
    def collection(self) -> Collection:
        return self.session.collection

    def changed(self, screen: Screen) -> dict[str, str]:
        """The regions of `screen` that differ from what the browser has. Records them as sent."""
        found = {name: html for name, html in vars(screen).items() if html is not None}
        found = {name: html for name, html in found.items() if self._held.get(name) != html}
        self._held |= found
        return found

    @property
    def complement(self) -> SecondEncoder | None:
        """The chosen second encoder that refines, if it can."""
        return self.tools.complements.get(self.ranking.complement, self.tools.encoder)

    def ranking_control(self, done: tuple[int, int] | None = None) -> str:
        """The control of what ranks pages. done: pages that the complement has read, of how many."""
        names = self.tools.complements.names(self.tools.encoder)
        return self.ranking.control(self.collection, self.trace, self.chosen, names, done)

    def screen(self) -> Screen:
        """Every region of the search side for the current state, with only the open evidence tab."""
        trace, sizes, self.answer = self.trace, self.bytes_per_stop(), None
        screen = Screen(self._header(), footer=self._footer(sizes), storage=self.storage(), **EMPTY)
        screen.visit = visit_mark.region(self.mark, self.session.mark, self.session.own_documents())
        screen.ranking = self.ranking_control()
        screen.only = filter_control.control(self.only, self.collection.facets())
        if not len(self.collection):
            screen.results = search_tab.no_pages(self.tools.samples)
        elif self.unanswered is not None:
            screen.results = filter_control.none_left(self.unanswered[1])
            screen.link = unanswered(self.unanswered[0], self.only)
        elif trace is not None and not trace.hits and trace.mode == WORDS:
            screen.results = search_tab.no_words(trace)
        elif trace is None or not trace.hits:
            screen.results = search_tab.no_query(
                len(self.collection), next((each.question for each in self.tools.examples), None)
            )
        else:
            self._show(trace, screen)
        screen.dial = self._dial(cost_of(trace), sizes)
        return screen

    def _show(self, trace: Trace, screen: Screen) -> None:
        chosen, how = self.chosen, self.ranking.how(self.only, self.complement)
        answer = judged_answer(self.tools.answers, self.collection, trace, self.explanation_tabs, how)
        self.answer, trace = answer, with_answer(self.collection, trace, answer)
        with self.collection.lock:
            wanted = dict.fromkeys([*trace.cosines, *([chosen] if chosen else [])])
            pages = {page_id: self.collection.pages[page_id] for page_id in wanted if self._has(page_id)}
        gains = {
            page_id: prefix_gains(alignment_in(trace, page_id), trace.budgets).tolist()
            for page_id in pages
            if page_id in trace.cosines
        }
        spoken = self.collection.facets().languages
        words = {page_id: self.ranking.met(page, trace) for page_id, page in pages.items()}
        screen.results = search_tab.results(
            trace,
            pages,
            gains,
            chosen,
            self._address,
            spoken,
            words,
            judged=answer.pages if answer else (),
            beyond=beyond(trace, answer),
            reader=self.tools.reader,
        )
        if trace.alignment is None or chosen is None or chosen not in pages:
            self._open_tab(trace, None, screen)
            return
        page = pages[chosen]
        rank, explains = self._rank(page, trace), self.explanation_tabs.explains
        judged = answer is not None and page.id in answer.pages
        met = words[page.id]
        screen.page = open_page.page(page, rank, self._address, overlay=explains, met=met, judged=judged)
        screen.link = self._link(trace, chosen)
        self.explanation_tabs.follow(page, trace)
        screen.marks = self.explanation_tabs.marks(trace, self._address)
        self._open_tab(trace, page, screen)

    def _open_tab(self, trace: Trace, page: StoredPage | None, screen: Screen) -> None:
        """Draw the open evidence tab; the others are drawn when they are opened."""
        if self.tab == "timing":
            how = storage_control.scored(trace)
            screen.timing = timing(trace.timings, trace.pages_searched, trace.candidates, how)
            screen.timing += self.explanation_tabs.history(self.budgets)
        elif page is None or trace.alignment is None:
            return
        elif self.tab == "alignment":
            screen.alignment = alignment(
                trace.alignment, trace.cosines[page.id], trace.budget, trace.budgets, trace.similarity
            )
        elif self.tab == "ranks":
            screen.ranks = self.explanation_tabs.ranks(self.collection, trace, page.id)
        elif self.tab == "pagemap":
            tabs = self.explanation_tabs
            if tabs.explains and not tabs.waits and tabs.explanation is None:
                return  # requested by the page afterwards, see `explain`
            screen.pagemap = tabs.page_map(trace)

    def _address(self, page_id: str, name: str) -> str:
        """The URL of a page's picture or data, see app/server/pictures.py."""
        return f"pictures/{self.session.picture_key}/{page_id}/{name}"

    def _rank(self, page: StoredPage, trace: Trace) -> int:
        rank = next((hit.rank for hit in trace.hits if hit.page_id == page.id), None)
        if rank is None:  # opened from the rank chart, beyond the hits
            rank = self.explanation_tabs.all_ranks(self.collection, trace)[
                trace.budgets.nearest(trace.budget)
            ][page.id]
        return rank

    def _has(self, page_id: str) -> bool:
        page = self.collection.pages.get(page_id)
        return page is not None and self.only.matches(page)

    def _failed(self, message: str, query: str) -> Screen:
        sizes, self.answer = self.bytes_per_stop(), None
        screen = Screen(dial=self._dial(cost_of(None), sizes), storage=self.storage(), **EMPTY)
        screen.results, screen.footer = search_tab.failure(message, query), self._footer(sizes)
        screen.link = unanswered(query, self.only)
        return screen

    def _link(self, trace: Trace | None, chosen: str | None, record: Mapping[str, Any] | None = None) -> str:
        """The region `link`: what names this view, and the trace if the visitor has requested it."""
        kind, tabs = storage_of(self.collection), self.explanation_tabs
        more = {"storage": kind} if kind != "float16" else {}
        if trace is not None and trace.query_image:
            more |= {"picture": picture_name(self.picture)}
        return link(trace, chosen, record, more | side_params(tabs.pinned, tabs.other, self.budgets))

    def _header(self) -> str:
        encoder = self.tools.encoder
        pages, notice, kept = (
            len(self.collection),
            self.tools.notice or self.tools.told(),
            storage_of(self.collection),
        )
        return search_tab.header(encoder.name, encoder.device, pages, notice, kept)

    @property
    def curve(self) -> Curve | None:
        """The quality of the stops that the dial draws: that of the sample pages, or of the visitor's own."""
        return self.tools.curve

    def _dial(self, cost: str, sizes: Sequence[int]) -> str:
        kind, told = storage_of(self.collection), self.trace.auto if self.trace else None
        auto = Setting(told) if self.auto.on else None
        ranks = ranks_told(self.answer.ranks) if self.answer else ()
        return dial(self.budget, sizes, self.curve, cost, kind, auto, ranks, self.budgets)

    def storage(self) -> str:
        """The storage control for the current state."""
        return self.storage_choice.control(self.collection, self.budget, self.trace)

    def _footer(self, sizes: Sequence[int]) -> str:
        pages = len(self.collection)
        vectors = pages * self.collection.index.r_c
        return search_tab.footer(self.trace, pages, vectors, pages * sizes[-1])

    def bytes_per_stop(self) -> list[int]:
        """Index bytes per page at each stop."""
        return [self.collection.index.bytes_per_page(stop) for stop in self.budgets]


def cost_of(trace: Trace | None) -> str:
    if trace is None:
        return (
            '<span class="hint"><span class="by-mouse">Arrow keys or a click move it</span>'
            '<span class="by-touch">Tap a stop to move it</span></span>'
        )
    scoring = trace.timings["rerank"] + (trace.timings["coarse"] if trace.auto else 0.0)  # Auto's stages
    return readout(scoring, trace.timings["total"])
