"""What was computed from pages, shared by sessions: kept by what a page holds, never by its id alone."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from metaembed_demo.collection.stored_page import StoredPage

T = TypeVar("T")


class PageCache(Generic[T]):
    """Values of at most `most` pages and `most_bytes`, the last used. Thread-safe.

    A page of the same id and other content has a value of its own, so that nobody's page shows or changes
    another one's. The id is part of the key because it is known without reading a page's picture.
    """

    def __init__(self, most: int, most_bytes: int = 0, size: Callable[[T], int] = lambda value: 0) -> None:
        """size: bytes of a value."""
        self._most, self._most_bytes, self._size = most, most_bytes, size
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, page: StoredPage) -> T | None:
        """The value of a page with this content, if it is kept."""
        with self._lock:
            met = any(page_id == page.id for page_id, _ in self._kept)
        if not met:
            return None  # without making its picture
        key = page.id, page.digest
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, page: StoredPage, value: T) -> None:
        """Keep the value of a page."""
        key = page.id, page.digest
        with self._lock:
            self._kept[key] = value
            while len(self._kept) > self._most or (len(self._kept) > 1 and self._bytes() > self._most_bytes):
                self._kept.popitem(last=False)

    def forget(self, pages: Iterable[StoredPage]) -> None:
        """Drop the values of these pages."""
        with self._lock:
            ids = {page_id for page_id, _ in self._kept}
        gone = [(page.id, page.digest) for page in pages if page.id in ids]
        with self._lock:
            for key in gone:
                self._kept.pop(key, None)

    def _bytes(self) -> int:
        return sum(map(self._size, self._kept.values()))
