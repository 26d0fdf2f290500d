"""Collection: the pages that a user searches, as an index, the stored pages and their places."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from metaembed_demo.core.config import LIMITS
from metaembed_demo.core.types import Embedding
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.index.base import MultiVectorIndex
from metaembed_demo.index.local import LocalIndex

from . import persistence
from .page_store import PageStore
from .stored_page import Place, StoredPage

# For the command line: the page limit of a session only protects a shared server.
NO_SESSION = LIMITS.model_copy(update={"max_session_pages": sys.maxsize})


@dataclass(frozen=True)
class Document:
    """One source in the collection. `shared` counts its pages that another source holds too."""

    source: str
    pages: int
    kind: str  # "pdf" or "image"
    shared: int = 0


class Collection:
    """Pages by id, their vectors and places. Safe to use from several threads.

    Readers that need pages and index to agree over several calls hold `lock`.
    """

    def __init__(self, encoder_fingerprint: str, r_c: int, dim: int) -> None:
        self.fingerprint = encoder_fingerprint
        self.index: MultiVectorIndex = LocalIndex(r_c, dim)
        self.pages = PageStore()
        self.lock = threading.RLock()
        self._places: dict[Place, str] = {}  # every (source, number), including aliases -> page id
        self._languages: dict[str, int] | None = None  # counted when they are asked for

    @classmethod
    def for_encoder(cls, encoder: Encoder) -> Collection:
        """An empty collection for `encoder`."""
        return cls(encoder.fingerprint, encoder.r_c, encoder.dim)

    def __len__(self) -> int:
        return len(self.pages)

    def check_encoder(self, encoder: Encoder) -> None:
        """Raises ValueError when the collection was made by another encoder."""
        if encoder.fingerprint != self.fingerprint:
            raise ValueError(
                f"This index was made by another encoder ({self.fingerprint}, not {encoder.fingerprint}). "
                "Index the files again."
            )

    # Indexing

    def put(self, page: StoredPage, embedding: Embedding) -> None:
        """Index one page. Raises ValueError when its id is already indexed."""
        with self.lock:
            self.index.add([page.id], embedding.vectors[None])
            self._keep(page)

    def note_place(self, page_id: str, place: Place) -> None:
        """Add `place` to the places of `page_id`."""
        with self.lock:
            page = self.pages[page_id]
            if place not in self._places:
                self._keep(page.at([*page.places, place]))

    def holder(self, place: Place) -> str | None:
        """The id of the page at (source, number), if there is one."""
        return self._places.get(place)

    def free_name(self, source: str, number: int, page_id: str) -> str:
        """The first of "name (2).pdf", "name (3).pdf", ... that is free or has this page as its `number`."""
        with self.lock:
            taken = {place[0] for place in self._places}
            stem, suffix = _split_name(source)
            n = 2
            while True:
                name = f"{stem} ({n}){suffix}"
                if name not in taken or self.holder((name, number)) == page_id:
                    return name
                n += 1

    # Listing and removing

    def languages(self) -> dict[str, int]:
        """Language code -> number of its pages, the most frequent first."""
        with self.lock:
            if self._languages is None:
                found = Counter(page.language for _, page in self.pages.entries() if page.language)
                self._languages = dict(found.most_common())
            return self._languages

    def ids_in(self, language: str) -> list[str]:
        """Ids of the pages in `language`, in the order of the index; of all pages if it is empty."""
        with self.lock:
            if not language:
                return self.index.ids
            of = {page_id for page_id, page in self.pages.entries() if page.language == language}
            return [page_id for page_id in self.index.ids if page_id in of]

    def check_language(self, language: str) -> None:
        """Raises ValueError when no page is in `language`; the message names the languages of the pages."""
        known = self.languages()
        if language and language not in known:
            here = f"is in {', '.join(known)}" if known else "has a known one"
            raise ValueError(f"No page is in the language {language[:20]!r}; what is indexed {here}.")

    def documents(self) -> list[Document]:
        """Every source with its page count, in the order of their first pages."""
        with self.lock:
            counts: dict[str, list[int]] = {}
            for page_id in self.pages:
                places = self.pages.places(page_id)
                sources = {source for source, _ in places}
                for source, _ in places:
                    count = counts.setdefault(source, [0, 0])
                    count[0] += 1
                    count[1] += len(sources) > 1
            return [Document(s, pages, document_kind(s), shared) for s, (pages, shared) in counts.items()]

    def remove(self, source: str) -> int:
        """Remove a document and the pages that no other document holds. Returns the number of pages removed.

        Raises:
            KeyError: when there is no such document.
        """
        with self.lock:
            places_of = ((page_id, page.places) for page_id, page in self.pages.entries())
            mine = [(page_id, places) for page_id, places in places_of if source in dict(places)]
            if not mine:
                raise KeyError(f"There is no document called {source}.")
            gone, self._languages = list[str](), None
            for page_id, places in mine:
                left = [place for place in places if place[0] != source]
                for place in set(places) - set(left):
                    del self._places[place]
                if left:
                    self.pages[page_id] = self.pages[page_id].at(left)
                else:
                    gone.append(page_id)
            self.index.remove(gone)
            for page_id in gone:
                del self.pages[page_id]
            return len(gone)

    def clear(self) -> None:
        """Remove every page."""
        with self.lock:
            self.index.remove(self.index.ids)
            self.pages.clear()
            self._places.clear()
            self._languages = None

    def copy(self) -> Collection:
        """A copy with its own index; pictures and vectors are shared."""
        twin = Collection(self.fingerprint, self.index.r_c, self.index.dim)
        if not self.index.in_process:
            twin.merge(self)
            return twin
        with self.lock:
            twin.index = self.index.copy()
            twin._fill(self.pages)
        return twin

    def merge(self, other: Collection) -> int:
        """Add the pages of `other` that are missing here. Returns the number added.

        A source is renamed if its name is taken here, as in `index_files`.

        Raises:
            ValueError: when the two were made by different encoders.
        """
        if other.fingerprint != self.fingerprint:
            raise ValueError("The two collections were made by different encoders.")
        with other.lock:
            pages = list(other.pages.values())
            vectors = other.index.full([page.id for page in pages])
        with self.lock:
            names = self._names_for(pages)
            added = 0
            for page, vector in zip(pages, vectors, strict=True):
                places = [(names[source], number) for source, number in page.places]
                if page.id in self.pages:
                    for place in places:
                        self.note_place(page.id, place)
                else:
                    self.put(page.at(places), Embedding(vector))
                    added += 1
            return added

    def _names_for(self, pages: Sequence[StoredPage]) -> dict[str, str]:
        names: dict[str, str] = {}
        for page in pages:
            for source, number in page.places:
                if self.holder((source, number)) not in (None, page.id) and names.get(source) in (
                    None,
                    source,
                ):
                    names[source] = self.free_name(source, number, page.id)
                names.setdefault(source, source)
        return names

    def _fill(self, pages: PageStore) -> None:
        """Add all of `pages`, without loading those on disk."""
        for page_id, page in pages.entries():
            self.pages.keep(page_id, page)
            self._places.update(dict.fromkeys(page.places, page_id))

    def _keep(self, page: StoredPage) -> None:
        self.pages[page.id], self._languages = page, None
        for place in page.places:
            self._places[place] = page.id

    # Disk

    def save(self, path: Path) -> int:
        """Write the collection into the folder `path`, replacing an index there. Returns its size in bytes.

        A crash at any instant leaves the previous state.

        Raises:
            ValueError: when `path` is a file, or a folder that holds something other than an index.
        """
        with self.lock:
            return persistence.save(path, self.fingerprint, self.index, self.pages)

    @classmethod
    def load(cls, path: Path, encoder_fingerprint: str) -> Collection:
        """Read what `save` wrote.

        Raises:
            ValueError: when the folder is missing, no index, of another format, made by another encoder, or
                damaged. The message says which, and gives a remedy.
        """
        index, pages = persistence.load(path, encoder_fingerprint)
        collection = cls(encoder_fingerprint, index.r_c, index.dim)
        collection.index = index
        collection._fill(pages)
        return collection


def document_kind(source: str) -> str:
    """ "pdf" or "image", by the name, which the loader has checked against the content."""
    return "pdf" if source.lower().endswith(".pdf") else "image"


def _split_name(source: str) -> tuple[str, str]:
    """
    >>> _split_name("box.zip/in/a.b.pdf"), _split_name("folder.d/noname")
    (('box.zip/in/a.b', '.pdf'), ('folder.d/noname', ''))
    """
    suffix = PurePosixPath(source).suffix
    return source[: len(source) - len(suffix)], suffix
