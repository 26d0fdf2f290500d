"""One tab's search: asking, moving the dial, opening hits. No Gradio."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from PIL.Image import Image

from metaembed_demo.app.views.judged import HITS
from metaembed_demo.collection.convert_storage import storage_of
from metaembed_demo.collection.facets import NoPageLeft
from metaembed_demo.collection.filters import PageFilter
from metaembed_demo.collection.modes import MODES
from metaembed_demo.collection.ranker import How
from metaembed_demo.collection.search import explain_hit, has_seen, research, search
from metaembed_demo.core.budgets import Budget
from metaembed_demo.core.config import LIMITS
from metaembed_demo.core.text import check_length, clean
from metaembed_demo.core.types import Query, Trace, Upload

from .jobs import in_turn, picture
from .links import Link, picture_name, trace_json
from .page_state import REGION_OF, Screen
from .search_screen import SearchScreen

log = logging.getLogger(__name__)


@dataclass
class SearchState(SearchScreen):
    """What one tab searches and shows.

    own: the visitor's choice of what ranks pages, while an example is shown in a mode of its own.
    played: whether the landing has moved the dial last, and not the visitor.
    """

    own: tuple[str, int, str] | None = None
    played: bool = False

    def forget_search(self) -> str:
        """Drop the last search. Returns its text, "" where there was none."""
        with self.session.lock:
            text = self.trace.query_text if self.trace else ""
            self.trace, self.chosen, self.unanswered = None, None, None
        return text

    def arrive(self, link: Link | None = None, picture: str = "") -> Screen:
        """All regions for a page that has just loaded or goes back, at the view that `link` names.

        picture: name of the query picture, if there is one; another one that the tab has is dropped.
        """
        self._held.clear()
        self.sliders, self.arrived = None, True
        if link is None:
            return self.screen()
        self.tab = REGION_OF.get(link.tab, self.tab)
        if self.picture is not None and picture_name(self.picture) != picture:
            self.picture = self.session.files.swap(self.picture, [])
        if not link.query and self.picture is None:
            self.forget_search()
            return self.screen()
        r_q, r_c = self.tools.encoder.r_q, self.tools.encoder.r_c
        self.budget = (link.budget or self.budgets.full).clip(r_q, r_c)
        self.only, self.auto.on = link.only, link.auto
        self.ranking.take(link.mode, link.steps, link.complement)
        self._store_as(link.storage)
        self._compare_with(link.pinned, (link.other or self.budgets[0]).clip(r_q, r_c))
        screen = self.search(link.query)
        if link.hit and self.trace and link.hit != self.chosen:
            self._take(self.trace, link.hit, beyond=self._has(link.hit))
            return self.screen()
        return screen

    def _store_as(self, kind: str) -> None:
        """Convert the pages to a storage kind, "" for as they are. Told in the control if it fails."""
        if kind and kind != storage_of(self.collection):
            steps = self.storage_choice.convert(self.collection, kind)
            for _ in in_turn(self.session, self.storage_choice.stop, steps):
                pass
            self.explanation_tabs.forget_ranks()

    def _compare_with(self, pinned: str, budget: Budget) -> None:
        """Set side A of the comparison: a query, "" for that of the search, and its budget."""
        tabs = self.explanation_tabs
        held = tabs.pinned
        if not pinned:
            tabs.pinned = held if held is not None and held.query_image else None  # no link names a picture
            tabs.other = budget
        elif held is None or (held.query_text, held.budget) != (pinned, budget):
            with suppress(Exception):  # the search beside it tells what is wrong
                tabs.pin(self._ask(Query(pinned), budget))

    def ask(self, text: str) -> Screen:
        """A search of the visitor's own: in the mode and at the budget that were theirs before an example."""
        if self.own is not None:
            self.ranking.take(*self.own)
        if self.played:
            self.budget = self.budgets.full
        self.own, self.played = None, False
        return self.search(text)

    def ask_example(self, text: str, mode: str = "") -> Screen:
        """Search for an example, in the mode that its claim is of, if it makes one."""
        if mode in MODES:
            self.own = self.own or (self.ranking.mode, self.ranking.steps, self.ranking.complement)
            self.ranking.take(mode, 0, self.ranking.complement)
        elif self.own is not None:
            return self.ask(text)
        return self.search(text)

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
            trace = self._ask(query, self.budget)
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

    def _ask(self, query: Query, budget: Budget) -> Trace:
        explains = self.explanation_tabs.explains
        return search(
            self.collection, self.tools.encoder, query, budget, HITS, self._how(), evidence=explains
        )

    def _read(self, file: Upload) -> Image:
        return picture(file, self.session.shares.pictures, self.session.client)

    def move(self, budget: Budget, played: bool = False) -> Screen:
        """Search again with the same query embedding at another budget. played: by the landing."""
        self.auto.on, self.played = False, played
        return self._moved(budget)

    def set_itself(self) -> Screen:
        """Let the budget set itself, for the open search and those to come."""
        self.auto.on = True
        return self._moved(self.budgets.full)

    def _moved(self, budget: Budget) -> Screen:
        self.budget = budget.clip(self.tools.encoder.r_q, self.tools.encoder.r_c)
        if self.trace is None:
            return Screen(dial=self._dial("", self.bytes_per_stop()), storage=self.storage())
        self.again()
        if self.trace is not None:
            self.explanation_tabs.note(self.trace)
        return self.screen()

    def limit(self, only: str | Mapping[str, Any]) -> Screen:
        """Search again among some pages, as `PageFilter.of` takes them. What is malformed is ignored."""
        with suppress(ValueError):
            self.only = PageFilter.of(only)
        self.again()
        return self.screen()

    def rank_by(self, mode: str, steps: int | str, complement: str = "") -> Screen:
        """Search again in another mode, or with the query refined in so many steps by a complement."""
        self.own = None
        self.ranking.take(mode, steps, complement)
        if self.trace is not None and not has_seen(self.trace, self._how().complement):
            return self.search(self.trace.query_text)
        self.again()
        return self.screen()

    def _how(self) -> How:
        auto = self.auto.of(self.session, self.tools.encoder)
        return replace(self.ranking.how(self.only, self.complement), auto=auto)

    def choose(self, page_id: str) -> Screen:
        """Open another hit, or the judged answer. An id that is not among these is ignored."""
        trace, answer = self.trace, self.answer.page_id if self.answer else ""
        among = trace is not None and page_id in {hit.page_id for hit in trace.hits}
        if trace is None or (not among and (page_id != answer or not self._has(answer))):
            return Screen()
        self._take(trace, page_id, beyond=True)
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
        if self.tab == "pagemap":
            self._open_tab(trace, page, screen)
        return screen

    def trace_record(self) -> str:
        """The region `link` with the trace of the open search as JSON, for copying."""
        trace, chosen = self.trace, self.chosen
        if trace is None or chosen is None:
            return self._link(trace, chosen)
        if self.tools.explainer is not None:
            self.explain()
        with self.collection.lock:
            ids = [hit.page_id for hit in trace.hits if self._has(hit.page_id)]
            pages = {page_id: self.collection.pages[page_id] for page_id in ids}
        return self._link(trace, chosen, trace_json(trace, pages, self.explanation_tabs.explanation))

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
        """Change side A of the ranks. `action`: "pin", "unpin", or "other" with a budget as `value`."""
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
        ranks = self.explanation_tabs.ranks(self.collection, trace, chosen)
        return Screen(ranks=ranks, link=self._link(trace, chosen))

    def make_map(self, kind: str = "") -> Iterator[Screen]:
        """Explain the open hit, where the encoder takes its time for that; by its second account if `kind`
        is that.
        """
        trace, page, tabs = self.trace, self.collection.pages.get(self.chosen or ""), self.explanation_tabs
        if trace is None or page is None:
            return
        for html in in_turn(self.session, tabs.stop, tabs.make_map(page, trace, kind)):
            if self.trace is trace and self.chosen == page.id:  # else another hit is open
                yield Screen(pagemap=html, marks=tabs.marks(trace, self._address))
        now = self.trace
        if now is not None and now is not trace and self.chosen == page.id:  # the dial was moved meanwhile
            tabs.follow(page, now)
            yield Screen(pagemap=tabs.page_map(now), marks=tabs.marks(now, self._address))

    def test(self) -> Iterator[Screen]:
        """Run the occlusion test on the explanation of the open hit."""
        if self.trace is not None:
            test = self.explanation_tabs.test(self.trace)
            for html in in_turn(self.session, self.explanation_tabs.stop, test):
                yield Screen(pagemap=html)
