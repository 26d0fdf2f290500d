"""Collection: the pages that a user searches. An index, the stored pages, and what adds and removes them."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from time import perf_counter
from typing import cast

from . import shelf
from .config import LIMITS, Limits
from .encoder import Encoder
from .index import FaissIndex, MultiVectorIndex
from .ingest import Problem, Upload, count_pages, read_files
from .reading import read
from .records import Embedding, Page
from .stored import Place, StoredPage

__all__ = ["Collection", "Document", "Problem", "Progress", "Report", "StoredPage", "Upload"]

log = logging.getLogger(__name__)
# For the command line: the page limit of a session protects a shared server only.
NO_SESSION = replace(LIMITS, max_session_pages=sys.maxsize)
ENCODE_BATCH = 4  # pages; enough to keep two cores busy, few enough that a cancel is prompt


@dataclass(frozen=True)
class Progress:
    """Where `Collection.add` stands: `done` of `total` pages, the last one page `number` of `source`."""

    done: int
    total: int
    source: str
    number: int  # 0 when a whole file is meant
    message: str | None = None  # a problem's or a duplicate's


@dataclass
class Report:
    """What `Collection.add` did; filled as it goes. `finished` means that every file was looked at."""

    added: int = 0
    duplicates: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    seconds: float = 0.0
    finished: bool = False


@dataclass(frozen=True)
class Document:
    """One source in the collection. `shared` of its pages are indexed under another source too."""

    source: str
    pages: int
    kind: str  # "pdf" or "image"
    shared: int = 0


class Collection:
    """Pages by id, their vectors, and where each one comes from. Safe to use from several threads.

    Readers that need pages and index to agree over several calls hold `lock`.
    """

    def __init__(self, encoder_fingerprint: str, r_c: int, dim: int) -> None:
        self.fingerprint = encoder_fingerprint
        self.index: MultiVectorIndex = FaissIndex(r_c, dim)
        self.pages: dict[str, StoredPage] = {}
        self.lock = threading.RLock()
        self._places: dict[Place, str] = {}  # every (source, number), aliases too -> page id

    @classmethod
    def for_encoder(cls, encoder: Encoder) -> Collection:
        """An empty one that fits `encoder`."""
        return cls(encoder.fingerprint, encoder.r_c, encoder.dim)

    def __len__(self) -> int:
        return len(self.pages)

    def check_encoder(self, encoder: Encoder) -> None:
        """Raises ValueError when the vectors here come from another encoder."""
        if encoder.fingerprint != self.fingerprint:
            raise ValueError(
                f"This index was made by another encoder ({self.fingerprint}, not {encoder.fingerprint}). "
                "Index the files again."
            )

    # Adding

    def add(
        self, files: Sequence[Upload], encoder: Encoder, report: Report, limits: Limits = LIMITS
    ) -> Generator[Progress, None, None]:
        """Read, encode and index `files`, a page at a time, telling the progress after each.

        Closing the generator cancels: pages read so far are still encoded and stay searchable.

        Raises:
            ValueError: when `encoder` is not the one this collection was made with.
        """
        self.check_encoder(encoder)
        return _Adding(self, encoder, report, limits).run(files)

    def put(self, page: StoredPage, embedding: Embedding) -> None:
        """Index one page. Raises ValueError when its id is there already."""
        with self.lock:
            self.index.add([page.id], embedding.vectors[None])
            self._keep(page)

    def note_place(self, page_id: str, place: Place) -> None:
        """Remember that the content of `page_id` is found at `place` as well."""
        with self.lock:
            page = self.pages[page_id]
            if place not in self._places:
                self._keep(page.at([*page.places, place]))

    def holder(self, place: Place) -> str | None:
        """The id of the page at (source, number), if there is one."""
        return self._places.get(place)

    def free_name(self, source: str, number: int, page_id: str) -> str:
        """`source`, or "name (2).pdf" and so on: the first name under which this page clashes with nothing.

        A name whose page of that number is this very page counts as fitting.
        """
        with self.lock:
            taken = {place[0] for place in self._places}
            stem, suffix = _split_name(source)
            n = 2
            while True:
                name = f"{stem} ({n}){suffix}"
                if name not in taken or self.holder((name, number)) == page_id:
                    return name
                n += 1

    # Looking and removing

    def documents(self) -> list[Document]:
        """Every source with its page count, in the order of their first pages."""
        with self.lock:
            counts: dict[str, list[int]] = {}
            for page in self.pages.values():
                sources = {source for source, _ in page.places}
                for source, _ in page.places:
                    count = counts.setdefault(source, [0, 0])
                    count[0] += 1
                    count[1] += len(sources) > 1
            return [Document(s, pages, kind_of(s), shared) for s, (pages, shared) in counts.items()]

    def remove(self, source: str) -> int:
        """Take a document out, and with it the pages that no other document holds. Returns how many.

        Raises:
            KeyError: when there is no such document.
        """
        with self.lock:
            mine = [page for page in self.pages.values() if any(s == source for s, _ in page.places)]
            if not mine:
                raise KeyError(f"There is no document called {source}.")
            gone = []
            for page in mine:
                left = [place for place in page.places if place[0] != source]
                for place in set(page.places) - set(left):
                    del self._places[place]
                if left:
                    self.pages[page.id] = page.at(left)
                else:
                    gone.append(page.id)
            self.index.remove(gone)
            for page_id in gone:
                del self.pages[page_id]
            return len(gone)

    def clear(self) -> None:
        """Take every page out."""
        with self.lock:
            self.index = FaissIndex(self.index.r_c, self.index.dim)  # gives the memory back, too
            self.pages.clear()
            self._places.clear()

    def copy(self) -> Collection:
        """The same pages in an index of their own; the pictures are shared."""
        twin = Collection(self.fingerprint, self.index.r_c, self.index.dim)
        twin.merge(self)
        return twin

    def merge(self, other: Collection) -> int:
        """Add the pages of `other` that are missing here. Returns how many.

        A source whose name stands for something else here comes under a new name, as in `add`.

        Raises:
            ValueError: when the two were made by different encoders.
        """
        if other.fingerprint != self.fingerprint:
            raise ValueError("The two collections were made by different encoders.")
        with other.lock:
            pages = list(other.pages.values())
            vectors = other.index.vectors([page.id for page in pages])
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

    def _keep(self, page: StoredPage) -> None:
        self.pages[page.id] = page
        for place in page.places:
            self._places[place] = page.id

    # Disk

    def save(self, path: Path) -> int:
        """Write everything into the folder `path`, replacing an index that is there. Returns its bytes.

        A crash at any instant leaves the last good state.

        Raises:
            ValueError: when `path` is a file, or a folder that holds something else than an index.
        """
        with self.lock:
            return shelf.save(path, self.fingerprint, self.index, list(self.pages.values()))

    @classmethod
    def load(cls, path: Path, encoder_fingerprint: str) -> Collection:
        """Read what `save` wrote.

        Raises:
            ValueError: when the folder is missing, not ours, of another version, made by another encoder,
                or damaged. The message says which and what to do.
        """
        index, pages = shelf.load(path, encoder_fingerprint)
        collection = cls(encoder_fingerprint, index.r_c, index.dim)
        collection.index = index
        for page in pages:
            collection._keep(page)
        return collection


class _Adding:
    """One run of `Collection.add`."""

    def __init__(self, home: Collection, encoder: Encoder, report: Report, limits: Limits) -> None:
        self.home, self.encoder, self.report, self.limits = home, encoder, report, limits
        self.done = self.total = 0
        self.batch: list[Page] = []  # read, not yet encoded
        self.names: dict[str, str] = {}  # source -> the name it goes by after a clash
        self.last: dict[str, int] = {}  # source -> its last page number
        self.again: dict[str, list[tuple[int, str]]] = {}  # source -> pages that were there already

    def run(self, files: Sequence[Upload]) -> Generator[Progress, None, None]:
        started = perf_counter()
        self.total = count_pages(files, self.limits)
        try:
            # Closed at once on a cancel, so that open files and unpacked archives go away.
            items = cast(Generator[Page | Problem, None, None], read_files(files, self.limits))
            with contextlib.closing(items):
                for item in items:
                    if isinstance(item, Problem):
                        yield self._problem(item)
                    elif self._full():
                        self._flush()
                        yield self._problem(self._no_room(item))
                        return
                    else:
                        yield self._page(item)
            self._flush()
            self.report.finished = True
        except (GeneratorExit, KeyboardInterrupt):
            self._flush()  # what was read before the cancel stays
            raise
        finally:
            # After an error of the encoder the batch is dropped: it would only fail again.
            self.report.seconds += perf_counter() - started

    def _page(self, page: Page) -> Progress:
        self._begin_again(page)
        if page.id in self.home.pages or any(waiting.id == page.id for waiting in self.batch):
            self._flush()  # so that places and names are settled up to here
            return self._duplicate(page)
        try:
            page = read(page)
        except Exception as error:
            # One odd page must not cost the user the rest of the batch; the log has the whole story.
            log.exception("%s page %d could not be read", page.source, page.number)
            return self._problem(
                Problem(page.source, f"{page.source} page {page.number} could not be read: {error}")
            )
        self.batch.append(page)
        if len(self.batch) >= ENCODE_BATCH:
            self._flush()
        return self._progress(page.source, page.number, None, 1)

    def _flush(self) -> None:
        batch, self.batch = self.batch, []
        if not batch:
            return
        embeddings = self.encoder.encode_pages(batch)
        for page, embedding in zip(batch, embeddings, strict=True):
            stored = StoredPage.of(page)
            with self.home.lock:
                if page.id in self.home.pages:  # another thread added it meanwhile
                    self._duplicate(page)
                else:
                    self.home.put(stored.at([(self._name(page), page.number)]), embedding)
                    self.report.added += 1

    def _begin_again(self, page: Page) -> None:
        """A source that starts over is another upload of that name."""
        if page.number <= self.last.get(page.source, 0):
            self._flush()
            self.names.pop(page.source, None)
            self.again.pop(page.source, None)
        self.last[page.source] = page.number

    def _name(self, page: Page) -> str:
        """What the page's source goes by: another name from the first page that clashes on."""
        name = self.names.get(page.source, page.source)
        if self.home.holder((name, page.number)) in (None, page.id):
            return name
        name = self.names[page.source] = self.home.free_name(page.source, page.number, page.id)
        for number, page_id in self.again.pop(page.source, []):
            if page_id in self.home.pages:
                self.home.note_place(page_id, (name, number))
        return name

    def _duplicate(self, page: Page) -> Progress:
        with self.home.lock:
            first = self.home.pages[page.id]
            place = (self._name(page), page.number)
            if self.home.holder(place) == page.id:
                message = f"{page.source} page {page.number} is already indexed."
                self.again.setdefault(page.source, []).append((page.number, page.id))
            else:
                message = (
                    f"{page.source} page {page.number} is the same as {first.source} page {first.number}."
                )
                self.home.note_place(page.id, place)
        self.report.duplicates.append(message)
        return self._progress(page.source, page.number, message, 1)

    def _full(self) -> bool:
        return len(self.home) + len(self.batch) >= self.limits.max_session_pages

    def _no_room(self, page: Page) -> Problem:
        return Problem(
            page.source,
            f"{page.source} page {page.number} and what follows was left out: the index is full at "
            f"{self.limits.max_session_pages} pages. Remove documents, or raise METAEMBED_MAX_SESSION_PAGES.",
        )

    def _problem(self, problem: Problem) -> Progress:
        self.report.problems.append(problem)
        return self._progress(problem.source, 0, problem.message, 0)

    def _progress(self, source: str, number: int, message: str | None, pages: int) -> Progress:
        self.done += pages
        self.total = max(self.total, self.done)
        return Progress(self.done, self.total, source, number, message)


def kind_of(source: str) -> str:
    """ "pdf" or "image", from the name: `ingest` has made sure that names and contents agree."""
    return "pdf" if source.lower().endswith(".pdf") else "image"


def _split_name(source: str) -> tuple[str, str]:
    """
    >>> _split_name("box.zip/in/a.b.pdf"), _split_name("folder.d/noname")
    (('box.zip/in/a.b', '.pdf'), ('folder.d/noname', ''))
    """
    suffix = PurePosixPath(source).suffix
    return source[: len(source) - len(suffix)], suffix
