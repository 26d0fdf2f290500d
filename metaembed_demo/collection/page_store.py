"""PageStore: the pages of a collection by id. Pages of a large saved collection are loaded on demand."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, MutableMapping
from typing import Protocol

from .filters import Filtered
from .stored_page import Place, StoredPage

KEPT = 64  # pages loaded from disk that stay in memory (least recently used ones are dropped)


class Saved(Filtered, Protocol):
    """A page on disk."""

    def load(self) -> StoredPage:
        """Read the page. Raises ValueError when it is damaged or missing."""
        ...


class PageStore(MutableMapping[str, StoredPage]):
    """Pages in the order they were added."""

    def __init__(self) -> None:
        self._pages: dict[str, StoredPage | Saved] = {}
        self._read: OrderedDict[str, StoredPage] = OrderedDict()

    def __getitem__(self, page_id: str) -> StoredPage:
        page = self._pages[page_id]
        if isinstance(page, StoredPage):
            return page
        found = self._read.get(page_id)
        if found is None:
            found = self._read[page_id] = page.load()
        self._read.move_to_end(page_id)
        if len(self._read) > KEPT:
            self._read.popitem(last=False)
        return found

    def __setitem__(self, page_id: str, page: StoredPage) -> None:
        self.keep(page_id, page)

    def __delitem__(self, page_id: str) -> None:
        del self._pages[page_id]
        self._read.pop(page_id, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._pages)

    def __len__(self) -> int:
        return len(self._pages)

    def __contains__(self, page_id: object) -> bool:
        return page_id in self._pages

    def keep(self, page_id: str, page: StoredPage | Saved) -> None:
        """Store a page that is in memory or on disk."""
        self._pages[page_id] = page
        self._read.pop(page_id, None)

    def places(self, page_id: str) -> tuple[Place, ...]:
        """A page's places, without loading it."""
        return self._pages[page_id].places

    def entries(self) -> Iterator[tuple[str, StoredPage | Saved]]:
        """Every id and its page, without loading those on disk."""
        return iter(self._pages.items())
