"""One tab of one visitor: its search, its documents, its studies. Returns HTML, without Gradio."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from metaembed_demo.app.views import budget_tab, documents_tab, storage_control
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.convert_storage import storage_of
from metaembed_demo.core.types import Upload
from metaembed_demo.encoders.base import Reader
from metaembed_demo.evaluation.quality_curve import Curve

from .corpus_map import CorpusMap
from .corpus_study import CorpusStudy, QuerySource
from .jobs import in_turn
from .page_state import DocumentsTab, Screen, StudyRooms
from .search_screen import cost_of
from .search_state import SearchState
from .shelf import Shelf
from .tools import Tools
from .upload_queue import uploads_of


@dataclass
class Visit(SearchState):
    """State of one tab: its search, and what it does to the visitor's documents."""

    stop: threading.Event = field(default_factory=threading.Event)  # cancels a switch to another encoder
    study: CorpusStudy = field(init=False)  # the tabs Budget and Tokens
    map: CorpusMap = field(init=False)
    shelf: Shelf = field(init=False)
    switching: bool = field(default=False, init=False)  # to another encoder
    used: float = 0.0  # time of this tab's last event, on the session's clock
    _told: int = field(default=0, init=False)  # uploads whose result this tab shows
    _following: bool = field(default=False, init=False)

    def begin(self, tools: Tools) -> None:
        super().begin(tools)
        self.study = CorpusStudy(
            tools.encoder, tools.explainer, tools.token_statistics, tools.sample_statistics
        )
        tab = weakref.proxy(self)  # or the tab would hold itself, and its pages with it
        self.map, self.shelf = CorpusMap(tab), Shelf(tab)

    # Budget

    def budget_tab(self) -> StudyRooms:
        """The Budget tab for the current state."""
        return self.study.budget(self.collection, self.budget, len(self.explanation_tabs.queries))

    def reading_labels(self, files: Sequence[Upload]) -> StudyRooms:
        """The Budget tab while dropped files are read."""
        searches = len(self.explanation_tabs.queries)
        running = budget_tab.reading([file.name for file in files])
        return self.study.budget(self.collection, self.budget, searches, running)

    @property
    def curve(self) -> Curve | None:
        return self.study.curve or super().curve

    def dial(self) -> Screen:
        """The dial alone, after its curve has changed."""
        return Screen(dial=self._dial(cost_of(self.trace), self.bytes_per_stop()))

    def sheet(self) -> str:
        """The sheet of every way to search so many pages."""
        return self.study.decision(self.collection, self.session.base.calibrations)

    def measure_ways(self) -> Iterator[StudyRooms]:
        """Measure every storage kind, mode and Auto on this visitor's pages."""
        steps = self.study.measure_ways(self.collection, self.session.base.calibrations)
        yield from in_turn(self.session, self.study.stop, steps)

    def reliability(self) -> str:
        """How well the chances of this encoder's hits hold."""
        return self.study.reliability(self.budget)

    def index_size(self) -> str:
        """The index size at each stop, at the current storage kind."""
        kind = storage_of(self.collection)
        return self.study.cost(self.collection, "fp16" if kind == "float16" else storage_control.NAMES[kind])

    def measure(self, kind: QuerySource) -> Iterator[StudyRooms]:
        """Measure the budgets on this visitor's pages."""
        past = self.explanation_tabs.queries
        steps = self.study.measure(kind, self.collection, self.budget, past)
        yield from in_turn(self.session, self.study.stop, steps)

    def tokens_tab(self) -> str:
        """The Tokens tab, with what is known of this visitor's pages."""
        self.study.take_known(self.collection)
        return self.study.tokens(empty=not len(self.collection))

    def read_all(self) -> Iterator[StudyRooms]:
        """Compute the token statistics of this visitor's pages."""
        yield from in_turn(self.session, self.study.stop, self.study.read_all(self.collection))

    # Documents

    def documents_tab(self, news: str | None = None) -> DocumentsTab:
        """The Documents tab for the current state."""
        return DocumentsTab(
            news,
            self.shelf.listing(),
            self.storage_choice.statistics(self.collection, self.budgets),
        )

    def receive(self, files: Sequence[Upload]) -> DocumentsTab:
        """Accept uploaded files, which are indexed after those that came before."""
        self.session.removal = None
        queue, held = uploads_of(self.session), self.session.files
        queue.add(held.take(files), held.refusals(), self.tools.encoder)
        return DocumentsTab(queue.state().news, busy=queue.busy)

    def index_pending(self) -> Iterator[DocumentsTab]:
        """Follow the session's uploads until all are indexed or cancelled. Yields the progress.

        Nothing if this tab follows them already, or has told their result.
        """
        if self._following:
            return
        self._following = True
        try:
            for at in uploads_of(self.session).follow(self._told):
                if at.ended > self._told:
                    self._told = at.ended
                    self.again()
                    self.study.forget()
                    yield replace(self.documents_tab(at.news), busy=at.busy)
                else:
                    yield DocumentsTab(at.news, busy=at.busy)
        finally:
            self._following = False

    def cancel(self) -> None:
        """Stop indexing, for all uploads, or the switch to another encoder. What was done stays."""
        self.stop.set()
        uploads_of(self.session).cancel()

    def unread_languages(self) -> dict[str, int]:
        """ISO 639-1 code -> number of pages, of languages that the encoder does not read; the most first."""
        encoder = self.tools.encoder
        if not isinstance(encoder, Reader):
            return {}
        spoken = self.collection.facets().languages
        return {code: count for code, count in spoken.items() if code not in encoder.languages}

    def remove(self, source: str) -> DocumentsTab:
        """Remove a document and repeat the open search. An unknown `source` is ignored."""
        self.session.remove({source})
        return self._after_change(self._removed(source))

    def clear(self) -> DocumentsTab:
        """Remove every document."""
        many = len(self.collection.sources())
        self.session.remove(self.collection.sources())
        return self._after_change(
            self._removed("The only document" if many == 1 else f"All {many} documents")
        )

    def _removed(self, what: str) -> str:
        removal = self.session.removal
        return documents_tab.removed(what, len(removal.pages)) if removal else ""

    def undo(self) -> DocumentsTab:
        """Put back what was removed last, unless something changed since."""
        return self._after_change(documents_tab.put_back(self.session.undo()))

    def restore(self) -> DocumentsTab:
        """Restore removed sample pages; the visitor's own pages stay."""
        self.session.removal = None
        self.session.restore_samples()
        return self._after_change()

    def refresh(self, pages: bool = False) -> DocumentsTab:
        """Repeat the open search after a change of the scoring, or (`pages`) of the pages themselves."""
        self.explanation_tabs.forget_ranks()
        if pages:
            self.session.removal = None
        tab = self._after_change(pages=pages)
        tab.news, tab.busy = None, uploads_of(self.session).busy
        return tab

    def take_over(
        self, tools: Tools, collection: Collection, base: Collection, ready: Callable[[], bool] = lambda: True
    ) -> bool:
        """Switch to another encoder and its vectors of the same pages, and repeat the open search.

        Nothing, and false, unless `ready` says that they are all. An upload that begins then waits for it.
        """
        with self.session.lock:
            if not ready():
                return False
            self.storage_choice.stop.set()  # a conversion of the old index
            self.session.removal = None  # vectors of the other encoder
            old, before = self.tools, self.session.base
            left = list(self.collection.pages.values())
            self.session.tools, self.session.collection, self.session.base = tools, collection, base
            asked = self.forget_search()
        if tools is not old:
            old.forget(before, left)
        self._ask_again(tools, asked)
        return True

    def follow(self) -> None:
        """Switch to the encoder that another tab of this visitor has chosen."""
        if self.session.tools is not None and self.session.tools is not self.tools:
            self._ask_again(self.session.tools, self.forget_search())

    def _ask_again(self, tools: Tools, text: str) -> None:
        self.begin(tools)
        if text or self.picture:
            self.search(text)

    def _after_change(self, news: str = "", pages: bool = True) -> DocumentsTab:
        self.study.forget(pages)
        if len(self.collection):
            self.again()
        else:
            self.forget_search()
        return self.documents_tab(news)
