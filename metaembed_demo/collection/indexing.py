"""Adding: files on their way into a collection, with their progress, problems and duplicates."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, cast

from metaembed_demo.core.config import Limits
from metaembed_demo.core.types import Page, Problem, Upload
from metaembed_demo.documents.sandbox.client import Rendered, Unread, count_pages, read_files
from metaembed_demo.encoders.base import Encoder

from .progress import Progress, Report
from .stored_page import StoredPage

if TYPE_CHECKING:
    from .collection import Collection

log = logging.getLogger(__name__)
ENCODE_BATCH = 4  # pages; enough to keep two cores busy, few enough that a cancel is prompt


class Adding:
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
            self._flush()
            self.report.finished = True
        except (GeneratorExit, KeyboardInterrupt):
            self._flush()  # what was read before the cancel stays
            raise
        finally:
            # After an error of the encoder the batch is dropped: it would only fail again.
            self.report.seconds += perf_counter() - started

    def _page(self, rendered: Rendered) -> Progress:
        page = rendered.page
        self._begin_again(page)
        if page.id in self.home.pages or any(waiting.id == page.id for waiting in self.batch):
            self._flush()  # so that places and names are settled up to here
            return self._duplicate(page)
        try:
            page = rendered.read()
        except Unread as error:
            return self._problem(Problem(page.source, f"{page.source} page {page.number} {error}"))
        except Exception as error:
            # One odd page must not cost the user the rest of the batch; the log has the whole story.
            if not isinstance(error, ImportError):  # which says what to install
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
