"""Indexing files into a collection, with progress, problems and duplicates."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator, Sequence
from time import perf_counter, time
from typing import cast

from metaembed_demo.core.config import LIMITS, Limits
from metaembed_demo.core.moments import spot
from metaembed_demo.core.types import Embedding, Notice, Page, Problem, Upload
from metaembed_demo.documents.sandbox.client import Rendered, Unread, count_pages, read_files
from metaembed_demo.encoders.base import Encoder, Limited

from . import memory
from .collection import Collection
from .progress import Progress, Report
from .stored_page import Place, StoredPage

log = logging.getLogger(__name__)
ENCODE_BATCH = 4  # pages; keeps two cores busy, and small enough for a prompt cancel


def index_files(
    collection: Collection,
    files: Sequence[Upload],
    encoder: Encoder,
    report: Report,
    limits: Limits = LIMITS,
    dated: bool = True,
) -> Generator[Progress, None, None]:
    """Read, encode and index `files` into `collection`. Yields the progress after each page.

    `report` is updated along the way. Closing the generator cancels: pages read so far are still encoded and
    stay searchable. dated: pages keep the time at which they are added.

    Raises:
        ValueError: immediately, when `collection` was made by another encoder.
    """
    collection.check_encoder(encoder)
    return _Indexing(collection, encoder, report, limits, dated).run(files)


def _where(page: Page | StoredPage) -> str:
    return f"{page.source} {spot(page.source, page.number, 'page ')}"


class Places:
    """Assigns a place in `home` to each new page, with a new source name on a clash, and notes duplicates.

    Pages must come in the order of their files. `home` may be replaced by a copy of it between two pages.
    """

    def __init__(self, home: Collection) -> None:
        self.home = home
        self._names: dict[str, str] = {}  # source -> its new name after a clash
        self._last: dict[str, int] = {}  # source -> its last page number
        self._again: dict[str, list[Place]] = {}  # source -> (page id, number) of already indexed pages

    def starts_over(self, page: Page) -> bool:
        """Whether page numbers of its source restart at `page`, which means another upload of that name."""
        return page.number <= self._last.get(page.source, 0)

    def meet(self, page: Page) -> None:
        """Register `page` as the next one. A new upload of the same name gets its own name."""
        if self.starts_over(page):
            self._names.pop(page.source, None)
            self._again.pop(page.source, None)
        self._last[page.source] = page.number

    def place(self, page: Page) -> Place:
        """The place of `page`. From the first page that clashes, its source goes under a new name."""
        name = self._names.get(page.source, page.source)
        if self.home.holder((name, page.number)) in (None, page.id):
            return name, page.number
        name = self._names[page.source] = self.home.free_name(page.source, page.number, page.id)
        for page_id, number in self._again.pop(page.source, []):
            if page_id in self.home.pages:
                self.home.note_place(page_id, (name, number))
        return name, page.number

    def duplicate(self, page: Page) -> str:
        """Note another place of `page`, whose content `home` holds. Returns a message for the user."""
        with self.home.lock:
            first, place = self.home.pages[page.id], self.place(page)
            if self.home.holder(place) == page.id:
                self._again.setdefault(page.source, []).append((page.id, page.number))
                return f"{_where(page)} is already indexed."
            self.home.note_place(page.id, place)
            return f"{_where(page)} is the same as {_where(first)}."


class _Indexing:
    """One run of `index_files`."""

    def __init__(
        self, home: Collection, encoder: Encoder, report: Report, limits: Limits, dated: bool
    ) -> None:
        self.home, self.encoder, self.report, self.limits = home, encoder, report, limits
        self.dated = dated
        self.places = Places(home)
        self.done = self.total = 0
        self.batch: list[Page] = []  # read, not yet encoded
        self.no_memory = ""  # why no more pages are taken

    def run(self, files: Sequence[Upload]) -> Generator[Progress, None, None]:
        started = perf_counter()
        self.total = count_pages(files, self.limits)
        try:
            # Closed immediately on a cancel, so that open files and unpacked archives are removed.
            items = cast(Generator[Rendered | Problem, None, None], read_files(files, self.limits))
            with contextlib.closing(items):
                for item in items:
                    if isinstance(item, Problem):
                        yield self._problem(item)
                    elif self._full():
                        self._flush()
                        yield self._problem(self._no_room(item.page))
                        return
                    else:
                        yield self._page(item)
                    if self.no_memory:
                        return
            self._flush()
            self.report.finished = not self.no_memory
        except (GeneratorExit, KeyboardInterrupt):
            self._flush()  # pages read before the cancel are kept
            raise
        finally:
            # After an encoder error the batch is dropped, because it would fail again.
            self.report.seconds += perf_counter() - started

    def _page(self, rendered: Rendered) -> Progress:
        page = rendered.page
        if self.places.starts_over(page):
            self._flush()  # under the name of the previous upload
        self.places.meet(page)
        if page.id in self.home.pages or any(waiting.id == page.id for waiting in self.batch):
            self._flush()  # so that all earlier pages have their places
            return self._progress(page.source, page.number, self._duplicate(page), 1)
        try:
            page = rendered.read()
        except Unread as error:
            return self._problem(Problem(page.source, f"{_where(page)} {error}"))
        except Exception as error:
            # One faulty page must not lose the rest of the batch; the traceback goes to the log.
            if not isinstance(error, ImportError):  # its message says what to install
                log.exception("%s page %d could not be read", page.source, page.number)
            return self._problem(Problem(page.source, f"{_where(page)} could not be read: {error}"))
        for text in page.notices:
            self.report.note(Notice.of(page.source, page.number, text))
        if not page.words:  # its notice says so
            self.report.blank += 1
            return self._progress(page.source, page.number, None, 1)
        self.batch.append(page)
        if len(self.batch) >= ENCODE_BATCH:
            self._flush()
        return self._progress(page.source, page.number, None, 1)

    def _flush(self) -> None:
        batch, self.batch = self.batch, []
        if not batch:
            return
        embeddings = self.encoder.encode_pages(batch)
        if isinstance(self.encoder, Limited):
            for page in batch:
                if text := self.encoder.left_out(page):
                    self.report.note(Notice.of(page.source, page.number, text))
        for page, embedding in zip(batch, embeddings, strict=True):
            stored = StoredPage.of(page, int(time()) if self.dated else 0)
            with self.home.lock:
                if page.id in self.home.pages:  # another thread added it meanwhile
                    self._duplicate(page)
                elif self._lacks_memory(stored, embedding):
                    return
                else:
                    self.home.put(stored.at([self.places.place(page)]), embedding)
                    self.report.added += 1

    def _lacks_memory(self, page: StoredPage, embedding: Embedding) -> bool:
        """Whether there is no memory for a page, which is told once."""
        more = memory.cost(page, *embedding.vectors.shape)
        self.no_memory = memory.no_room(self.home, more, self.limits)
        if self.no_memory:
            text = f"{_where(page)} and what follows was left out. {self.no_memory}"
            self.report.note(Problem(page.source, text))
        return bool(self.no_memory)

    def _duplicate(self, page: Page) -> str:
        message = self.places.duplicate(page)
        self.report.duplicates.append(message)
        return message

    def _full(self) -> bool:
        return len(self.home) + len(self.batch) >= self.limits.max_session_pages

    def _no_room(self, page: Page) -> Problem:
        return Problem(
            page.source,
            f"{_where(page)} and what follows was left out: the index is full at "
            f"{self.limits.max_session_pages} pages. Remove documents, or raise METAEMBED_MAX_SESSION_PAGES.",
        )

    def _problem(self, problem: Problem) -> Progress:
        self.report.note(problem)
        message = None if isinstance(problem, Notice) else problem.message
        return self._progress(problem.source, 0, message, 0)

    def _progress(self, source: str, number: int, message: str | None, pages: int) -> Progress:
        self.done += pages
        self.total = max(self.total, self.done)
        return Progress(self.done, self.total, source, number, message)
