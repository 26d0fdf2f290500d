"""Collection: the pages that a user searches, as an index, the stored pages and their places."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from metaembed_demo.core.budgets import Budgets
from metaembed_demo.core.config import LIMITS
from metaembed_demo.core.moments import is_media, moment_of
from metaembed_demo.core.types import Embedding, FloatArray
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.index.base import MultiVectorIndex
from metaembed_demo.index.gpu import index_for
from metaembed_demo.index.selection import Selection
from metaembed_demo.index.words.word_index import Lexical

from . import memory, persistence
from .calibration import Kept
from .facets import Facets, NoPageLeft, Selecting
from .filters import PageFilter
from .page_store import PageStore
from .page_words import PageWords
from .stored_page import Place, StoredPage

# For the command line: the limits of a session only protect a shared server.
NO_SESSION = LIMITS.model_copy(
    update=dict.fromkeys(("max_session_pages", "max_session_memory", "max_memory"), sys.maxsize)
)


@dataclass(frozen=True)
class Document:
    """One source in the collection. `shared` counts its pages that another source holds too."""

    source: str
    pages: int
    kind: str  # "pdf", "image" or "media"
    shared: int = 0


class Collection:
    """Pages by id, their vectors and places. Safe to use from several threads.

    Readers that need pages and index to agree over several calls hold `lock`.
    """

    def __init__(
        self,
        encoder_fingerprint: str,
        r_c: int,
        dim: int,
        budgets: Budgets | None = None,
        device: str = "CPU",
    ) -> None:
        """budgets: of the encoder; None: ours within `r_c` page tokens. device: of the encoder; the index is
        on its GPU if it has one.
        """
        self.fingerprint = encoder_fingerprint
        self.index: MultiVectorIndex = index_for(device)(r_c, dim, budgets=budgets)
        self.pages = PageStore()
        self.words = PageWords()
        self.calibrations = Kept()
        self.lock = threading.RLock()
        self.on_removed: Callable[[Sequence[StoredPage]], None] | None = None  # called with pages that left
        self._places: dict[Place, str] = {}  # every (source, number), including aliases -> page id
        self._sources: Counter[str] = Counter()  # source -> its places
        self._costs: dict[str, int] = {}  # page put here -> bytes, see collection/memory.py
        self._held = 0  # their sum
        self._selecting = Selecting()
        memory.watch(self)

    @classmethod
    def for_encoder(cls, encoder: Encoder) -> Collection:
        """An empty collection for `encoder`."""
        return cls(encoder.fingerprint, encoder.r_c, encoder.dim, encoder.budgets, encoder.device)

    def __len__(self) -> int:
        return len(self.pages)

    @property
    def held(self) -> int:
        """Bytes of the pages that were put here, estimated. Those of a copied collection are not counted."""
        return self._held

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
            self.words.put(page)
            self.calibrations.note(1)
            self._keep(page)
            self._count(page.id, memory.cost(page, self.index.r_c, self.index.dim))

    def note_place(self, page_id: str, place: Place) -> None:
        """Add `place` to the places of `page_id`."""
        self.note_places(page_id, [place])

    def note_places(self, page_id: str, places: Iterable[Place]) -> None:
        """Add those of `places` that no page has to the places of `page_id`."""
        with self.lock:
            page = self.pages[page_id]
            new = [place for place in dict.fromkeys(places) if place not in self._places]
            if new:
                self._keep(page.at([*page.places, *new]))
                self._count(page_id, memory.cost_of(new))

    def holder(self, place: Place) -> str | None:
        """The id of the page at (source, number), if there is one."""
        return self._places.get(place)

    def free_name(self, source: str, number: int, page_id: str) -> str:
        """The first of "name (2).pdf", "name (3).pdf", ... that is free or has this page as its `number`."""
        with self.lock:
            stem, suffix = _split_name(source)
            n = 2
            while True:
                name = f"{stem} ({n}){suffix}"
                if name not in self._sources or self.holder((name, number)) == page_id:
                    return name
                n += 1

    # Listing and removing

    def facets(self) -> Facets:
        """What the pages can be told apart by."""
        with self.lock:
            return self._selecting.facets(self.pages)

    def select(self, only: PageFilter) -> Selection | None:
        """Ids of the pages that `only` matches, in the order of the index; None for an empty filter.

        Raises:
            NoPageLeft: when there is none. The message says which part of the filter excludes all.
        """
        with self.lock:
            if not only:
                return None
            found = self._selecting.select(only, self.pages, self.index)
            if not found:
                raise NoPageLeft(self._selecting.why_none(only, self.pages))
            return found

    @property
    def has_moments(self) -> bool:
        """Whether there is a video or sound among the documents."""
        with self.lock:
            return self._selecting.has_moments(self._sources)

    def one_a_moment(self, page_ids: Iterable[str]) -> list[str]:
        """The ids, best first, without those whose moment has come before by its other modality."""
        found: dict[object, str] = {}
        for page_id in page_ids:
            source, number = self.pages.places(page_id)[0]
            moment = moment_of(source, number)
            found.setdefault((source, moment.seconds) if moment else page_id, page_id)
        return list(found.values())

    def with_moments(self, page_ids: Sequence[str]) -> list[str]:
        """A ranking of pages as one of moments: the ids that `one_a_moment` leaves out come last."""
        if not self.has_moments:
            return list(page_ids)
        return list(dict.fromkeys([*self.one_a_moment(page_ids), *page_ids]))

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

    def sources(self) -> set[str]:
        """The names of all documents."""
        with self.lock:
            return set(self._sources)

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
            gone = list[str]()
            self._selecting.changed()
            for page_id, places in mine:
                left = [place for place in places if place[0] != source]
                for place in set(places) - set(left):
                    self._drop_place(place)
                if left:
                    self.pages[page_id] = self.pages[page_id].at(left)
                else:
                    gone.append(page_id)
            self._drop(gone)
            return len(gone)

    def drop(self, gone: Sequence[str]) -> None:
        """Remove pages by their ids, from all documents."""
        with self.lock:
            self._selecting.changed()
            for page_id in gone:
                for place in self.pages[page_id].places:
                    self._drop_place(place)
            self._drop(gone)

    def clear(self) -> None:
        """Remove every page."""
        with self.lock:
            self._places.clear()
            self._sources.clear()
            self._selecting.changed()
            self._drop(self.index.ids)

    def _drop(self, gone: Sequence[str]) -> None:
        """Remove pages whose places are gone."""
        left = [self.pages[page_id] for page_id in gone] if self.on_removed else []
        self.index.remove(gone)
        self.words.drop(gone)
        self.calibrations.note(len(gone))
        for page_id in gone:
            del self.pages[page_id]
            self._held -= self._costs.pop(page_id, 0)
        if self.on_removed:
            self.on_removed(left)

    def _drop_place(self, place: Place) -> None:
        del self._places[place]
        self._sources[place[0]] -= 1
        if not self._sources[place[0]]:
            del self._sources[place[0]]

    def _count(self, page_id: str, more: int) -> None:
        self._costs[page_id] = self._costs.get(page_id, 0) + more
        self._held += more

    def copy(self) -> Collection:
        """A copy with its own index; pictures and vectors are shared."""
        twin = Collection(self.fingerprint, self.index.r_c, self.index.dim, self.index.budgets)
        if not self.index.in_process:
            twin.merge(self)
            return twin
        with self.lock:
            twin.index, twin.words = self.index.copy(), self.words.copy()
            twin.calibrations = self.calibrations.copy()
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
        return self.take(pages, vectors)

    def take(self, pages: Sequence[StoredPage], vectors: Iterable[FloatArray]) -> int:
        """Add the pages that are missing here, and the places of the others. Returns the number added.

        vectors: (R_c, D) of each page. A source is renamed as in `merge`.
        """
        with self.lock:
            names = self._names_for(pages)
            added = 0
            for page, vector in zip(pages, vectors, strict=True):
                places = [(names[source], number) for source, number in page.places]
                if page.id in self.pages:
                    self.note_places(page.id, places)
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
            self._put_places(page.places, page_id)

    def _keep(self, page: StoredPage) -> None:
        self.pages[page.id] = page
        self._selecting.changed()
        self._put_places(page.places, page.id)

    def _put_places(self, places: Iterable[Place], page_id: str) -> None:
        for place in places:
            self._sources[place[0]] += place not in self._places
            self._places[place] = page_id

    # Disk

    def lexical(self) -> Lexical:
        """What searches all pages by words. Raises ValueError as `PageWords.ready`, here or on Qdrant."""
        with self.lock:
            return self.words.ready(self.pages)

    def save(self, path: Path, words: bool = True) -> int:
        """Write the collection into the folder `path`, replacing an index there. Returns its size in bytes.

        words: with the lexical index, which can be made again.

        A crash at any instant leaves the previous state.

        Raises:
            ValueError: when `path` is a file, or a folder that holds something other than an index.
        """
        with self.lock:
            kept = self.calibrations.as_json()
            persistence.save(path, self.fingerprint, self.index, self.pages, kept)
            if words:
                self.words.save(path)
            return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())

    @classmethod
    def load(cls, path: Path, encoder_fingerprint: str, device: str = "CPU") -> Collection:
        """Read what `save` wrote. `device` as for a new collection.

        Raises:
            ValueError: when the folder is missing, no index, of another format, made by another encoder, or
                damaged. The message says which, and gives a remedy.
        """
        index, pages = persistence.load(path, encoder_fingerprint, index_for(device))
        collection = cls(encoder_fingerprint, index.r_c, index.dim, index.budgets)
        collection.index, collection.words = index, PageWords.load(path, index.ids)
        collection.calibrations = persistence.calibrations(path)
        collection._fill(pages)
        return collection


def document_kind(source: str) -> str:
    """ "pdf", "image" or "media", by the name, which the loader has checked against the content."""
    if is_media(source):
        return "media"
    return "pdf" if source.lower().endswith(".pdf") else "image"


def _split_name(source: str) -> tuple[str, str]:
    """
    >>> _split_name("box.zip/in/a.b.pdf"), _split_name("folder.d/noname")
    (('box.zip/in/a.b', '.pdf'), ('folder.d/noname', ''))
    """
    suffix = PurePosixPath(source).suffix
    return source[: len(source) - len(suffix)], suffix
