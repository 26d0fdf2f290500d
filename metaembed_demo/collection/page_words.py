"""PageWords: the lexical index of a collection's pages, brought in step when it is asked."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from metaembed_demo.index.words.word_index import Lexical, WordIndex

from .spelling import known_words
from .stored_page import StoredPage

FOLDER = "words"  # in a saved collection
TELL_FROM = 1_000  # missing pages whose indexing is logged
log = logging.getLogger(__name__)


class PageWords:
    """The words of pages, without image tags.

    A page that is put is split into terms at once and committed with the next search. Pages of a saved
    collection without a lexical index are read with the first search.
    """

    def __init__(self, index: WordIndex | None = None, missing: Iterable[str] = ()) -> None:
        self._index = index or WordIndex(known_words())
        self._missing = dict.fromkeys(missing)  # pages to be read
        self._lock = threading.RLock()

    def put(self, page: StoredPage) -> None:
        """Raises ValueError when the page is here already."""
        with self._lock:
            self._add(page)

    def _add(self, page: StoredPage) -> None:
        self._index.add(page.id, written(page), page.language)

    def drop(self, page_ids: Iterable[str]) -> None:
        with self._lock:
            gone = list(page_ids)
            self._index.remove([page_id for page_id in gone if page_id not in self._missing])
            for page_id in gone:
                self._missing.pop(page_id, None)

    def copy(self) -> PageWords:
        with self._lock:
            return PageWords(self._index.copy(), self._missing)

    def ready(self, pages: Mapping[str, StoredPage]) -> Lexical:
        """What searches every page. Raises ValueError as `read`."""
        return self.read(pages)

    def read(self, pages: Mapping[str, StoredPage]) -> WordIndex:
        """The index with every page in it. Raises ValueError when a page cannot be read from disk."""
        with self._lock:
            if len(self._missing) >= TELL_FROM:
                log.warning("The words of %d pages are indexed, once", len(self._missing))
            while self._missing:
                page = pages[next(iter(self._missing))]
                self._add(page)
                del self._missing[page.id]
            self._index.commit()
            return self._index

    def save(self, path: Path) -> None:
        """Write into the folder `path` of a collection, unless pages are still to be read.

        A failure is logged: what is missing is made again at the next search.
        """
        with self._lock:
            if self._missing:
                return
            try:
                self._index.save(path / FOLDER)
            except OSError as error:
                log.warning("The lexical index is not kept in %s: %s", path, error)

    @classmethod
    def load(cls, path: Path, page_ids: Iterable[str]) -> PageWords:
        """What was saved in the folder `path`, without pages that are not among `page_ids`."""
        index = WordIndex.load(path / FOLDER, known_words())
        return cls(index, index.sync(page_ids))


def written(page: StoredPage) -> Iterator[str]:
    """The words of a page, without image tags."""
    return (word.text for word in page.words if word.kind != "visual")
