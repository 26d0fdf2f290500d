"""One tab of one visitor: its search, its documents, its studies. Returns HTML, without Gradio."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from metaembed_demo.app.views import documents_tab, storage_control
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.convert_storage import storage_of
from metaembed_demo.collection.notices import in_lines
from metaembed_demo.core.types import Upload

from .corpus_map import CorpusMap
from .corpus_study import CorpusStudy, QuerySource
from .jobs import Indexed, in_turn, index
from .page_state import DocumentsTab
from .search_state import SearchState
from .shelf import Shelf
from .tools import Tools

PROGRESS_EVERY_S = 0.15  # minimum interval between progress updates


@dataclass
class Visit(SearchState):
    """State of one tab: its search, and what it does to the visitor's documents."""

    pending: list[Upload] = field(default_factory=list)  # uploaded, not yet indexed
    stop: threading.Event = field(default_factory=threading.Event)  # cancels indexing
    indexing: bool = False
    study: CorpusStudy = field(init=False)  # the tabs Budget and Tokens
    map: CorpusMap = field(init=False)
    shelf: Shelf = field(init=False)
    used: float = 0.0  # time of this tab's last event, on the session's clock

    def begin(self, tools: Tools) -> None:
        super().begin(tools)
        self.study = CorpusStudy(tools.encoder, tools.explainer, tools.token_statistics)
        self.map, self.shelf = CorpusMap(self), Shelf(self)

    # Budget

    def budget_tab(self) -> str:
        """The Budget tab for the current state."""
        return self.study.budget(self.collection, self.budget, len(self.explanation_tabs.queries))

    def index_size(self) -> str:
        """The index size at each stop, at the current storage kind."""
        kind = storage_of(self.collection)
        return self.study.cost(self.collection, "fp16" if kind == "float16" else storage_control.NAMES[kind])

    def measure(self, kind: QuerySource) -> Iterator[str]:
        """Measure the five budgets on this visitor's pages."""
        past = self.explanation_tabs.queries
        steps = self.study.measure(kind, self.collection, self.budget, past)
        yield from in_turn(self.session, self.study.stop, steps)

    def read_all(self) -> Iterator[str]:
        """Compute the token statistics of this visitor's pages."""
        yield from in_turn(self.session, self.study.stop, self.study.read_all(self.collection))

    # Documents

    def documents_tab(self, news: str | None = None) -> DocumentsTab:
        """The Documents tab for the current state."""
        return DocumentsTab(
            news,
            self.shelf.listing(),
            self.storage_choice.statistics(self.collection, self.bytes_per_stop()),
        )

    def receive(self, files: Sequence[Upload]) -> DocumentsTab:
        """Accept uploaded files; `index_pending` indexes them."""
        if not self.indexing:  # otherwise a pending cancel would be lost
            self.stop.clear()
        self.pending += self.session.files.take(files)
        return DocumentsTab(documents_tab.waiting(len(files)), busy=True)

    def index_pending(self) -> Iterator[DocumentsTab]:
        """Index the received files until done or until `stop` is set. Yields the progress."""
        files, self.pending = self.pending, []
        refused, last = self.session.files.refusals(), 0.0
        if not files and not refused:
            return
        self.indexing = True
        try:
            with self.session.at_work():
                for at in index(self.session, self.tools.encoder, files, refused, self.stop):
                    if isinstance(at, Indexed):
                        ended = at
                    elif time.monotonic() - last >= PROGRESS_EVERY_S:
                        last = time.monotonic()
                        yield DocumentsTab(
                            documents_tab.progress(at.done, at.total, at.source, at.number), busy=True
                        )
        finally:
            self.session.files.release(files)
            self.indexing = False
        self.again()
        self.study.forget()
        yield self.documents_tab(documents_tab.outcome(_outcome(ended)))

    def remove(self, source: str) -> DocumentsTab:
        """Remove a document and repeat the open search. An unknown `source` is ignored."""
        if source in {document.source for document in self.collection.documents()}:
            self.collection.remove(source)
        return self._after_change()

    def clear(self) -> DocumentsTab:
        """Remove every document."""
        self.collection.clear()
        return self._after_change()

    def restore(self) -> DocumentsTab:
        """Restore removed sample pages; the visitor's own pages stay."""
        self.session.restore_samples()
        return self._after_change()

    def refresh(self, pages: bool = False) -> DocumentsTab:
        """Repeat the open search after a change of the scoring, or (`pages`) of the pages themselves."""
        self.explanation_tabs.forget_ranks()
        tab = self._after_change(pages)
        tab.news, tab.busy = None, self.indexing
        return tab

    def take_over(self, tools: Tools, collection: Collection, base: Collection) -> None:
        """Switch to another encoder and its vectors of the same pages, and repeat the open search."""
        self.storage_choice.stop.set()  # a conversion of the old index
        with self.session.lock:
            old, before = self.tools, self.session.base
            left = list(self.collection.pages.values())
            self.session.tools, self.session.collection, self.session.base = tools, collection, base
            asked = self.forget_search()
        if tools is not old:
            old.forget(before, left)
        self._ask_again(tools, asked)

    def follow(self) -> None:
        """Switch to the encoder that another tab of this visitor has chosen."""
        if self.session.tools is not None and self.session.tools is not self.tools:
            self._ask_again(self.session.tools, self.forget_search())

    def _ask_again(self, tools: Tools, text: str) -> None:
        self.begin(tools)
        if text or self.picture:
            self.search(text)

    def _after_change(self, pages: bool = True) -> DocumentsTab:
        self.study.forget(pages)
        if len(self.collection):
            self.again()
        else:
            self.forget_search()
        return self.documents_tab("")


def _outcome(ended: Indexed) -> documents_tab.Outcome:
    report = ended.report
    counts = (report.added, tuple(report.duplicates), tuple(report.problems), report.seconds)
    return documents_tab.Outcome(
        *counts,
        notices=tuple(in_lines(report.notices)),
        blank=report.blank,
        cancelled=ended.cancelled,
        error=ended.error,
    )
