"""The words of a collection whose index is on Qdrant: they rank there, phrases and spellings here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from metaembed_demo.index.qdrant.index import QdrantIndex
from metaembed_demo.index.qdrant.words import QdrantLexical, QdrantWords
from metaembed_demo.index.words.weights import average_length
from metaembed_demo.index.words.word_index import Lexical, entry_of

from .page_words import PageWords, written
from .stored_page import StoredPage

if TYPE_CHECKING:
    from .collection import Collection

STEP = 1_000  # pages written at a time
READ_UP_TO = 5_000  # pages whose words are read here for phrases and spellings, if none are kept


class WordsOnQdrant(PageWords):
    """Keeps the words on Qdrant in step; those of `local` as well, while they are there."""

    def __init__(self, local: PageWords, index: QdrantIndex, languages: Iterable[str]) -> None:
        super().__init__(local._index, local._missing)
        self._there, self._remote = QdrantWords(index.link), index
        self._languages = list(languages)
        self._complete = False

    def put(self, page: StoredPage) -> None:
        """When Qdrant does not take the words, the page is removed there again."""
        super().put(page)
        try:
            self._there.put([(page.id, entry_of(written(page), page.language))])
        except BaseException:
            super().drop([page.id])
            self._remote.remove([page.id])
            raise

    def ready(self, pages: Mapping[str, StoredPage]) -> Lexical:
        """Raises ValueError when words cannot be searched there; it says what to do."""
        if not self._complete and (lacking := self._there.lacking()):
            raise ValueError(
                f"The collection on Qdrant {lacking}, so it is searched by meaning alone. "
                f"Push the index again: python -m metaembed_demo push"
            )
        self._complete = True
        here = self.read(pages) if len(self._missing) <= READ_UP_TO else None
        return QdrantLexical(self._remote.link, here, self._languages)


def push_words(collection: Collection, remote: QdrantIndex, new: Sequence[str]) -> Iterator[int]:
    """Write the words of the pages `new` to Qdrant, or those of all; yields the number written.

    Raises:
        ValueError: when a page cannot be read from disk.
        ConnectionError, PermissionError, RuntimeError: as `QdrantIndex` says.
    """
    with collection.lock:
        here, ids = collection.words.read(collection.pages), collection.index.ids
    there = QdrantWords(remote.link)
    average = average_length(
        entry for start in range(0, len(ids), STEP) for _, entry in here.entries(ids[start : start + STEP])
    )
    whole = there.begin(average, len(new))
    due = ids if whole else new
    for start in range(0, len(due), STEP):
        batch = due[start : start + STEP]
        there.put(here.entries(batch))
        yield start + len(batch)
    if whole:
        there.end()
