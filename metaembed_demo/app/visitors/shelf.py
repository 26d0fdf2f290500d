"""The documents of one tab: which are the visitor's own, and the one whose pages are shown. No Gradio."""

from __future__ import annotations

from dataclasses import dataclass

from metaembed_demo.app.views import document_rows
from metaembed_demo.collection.filters import PageFilter

from .search_state import SearchState


@dataclass
class Shelf:
    """The list of documents of one tab."""

    visit: SearchState
    opened: str | None = None  # the document whose pages are shown

    def listing(self) -> str:
        pages = self.visit.collection
        return document_rows.listing(
            pages.documents(), len(pages), self.visit.tools.samples, self.own(), self._opened()
        )

    def own(self) -> list[str]:
        """Names of the documents with a page that the sample corpus does not have at that place."""
        pages, base = self.visit.collection, self.visit.session.base
        with pages.lock:
            places = [(page_id, place) for page_id, page in pages.pages.entries() for place in page.places]
        return list(dict.fromkeys(place[0] for page_id, place in places if base.holder(place) != page_id))

    def open(self, source: str) -> str:
        """Show a document's pages, or hide those that are shown. Returns the list."""
        self.opened = None if source == self.opened else source
        return self.listing()

    def _opened(self) -> document_rows.Opened | None:
        pages = self.visit.collection
        if self.opened is None:
            return None
        with pages.lock:
            found = sorted(
                (number, page_id)
                for page_id, page in pages.pages.entries()
                for source, number in page.places
                if source == self.opened
            )
            shown = [pages.pages[page_id] for _, page_id in found]
        numbers = [number for number, _ in found]
        return document_rows.Opened(self.opened, shown, numbers, self.visit._address) if shown else None

    def filter(self, source: str = "") -> PageFilter:
        """Of one document, or of all the visitor's own. Raises ValueError when they do not fit into one."""
        return PageFilter.of_documents([source] if source else self.own())
