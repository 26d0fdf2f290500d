"""Reads files in a separate process, with the interface of documents/loader.py and documents/extraction.py.

When the process crashes, hangs or needs too much memory, the current file gets a Problem, the pages read so
far are kept, and a new process continues with the next file.
"""

from __future__ import annotations

import contextlib
import logging
import zipfile
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from metaembed_demo.core.config import LIMITS, Limits
from metaembed_demo.core.moments import spot
from metaembed_demo.core.text import clean
from metaembed_demo.core.types import Notice, Page, Problem, Skipped, Upload
from metaembed_demo.documents import extraction, loader, office
from metaembed_demo.documents.file_types import MEDIA, sniff
from metaembed_demo.documents.skipped import folded
from metaembed_demo.documents.subtitles import paired

from . import protocol
from .pool import PICTURES, UPLOADS, Lost, Unavailable, Worker, Workers

MOST_LOSSES = 5  # per archive; afterwards its remaining files are skipped
MOST_SAID = 2_000  # maximum characters of a message
CURE = "Save or print it to a new file and add that."
log = logging.getLogger(__name__)
T = TypeVar("T")


class Unread(Exception):
    """A page could not be read; the message gives the reason and a remedy."""


@dataclass(frozen=True, eq=False)
class Rendered:
    """A loaded page, without the words from OCR and the picture network.

    `reader` reads it in the process that loaded it, until the next page is requested.
    """

    page: Page
    reader: Callable[[Page], Page]

    def read(self) -> Page:
        """`extraction.read` of the page.

        Raises:
            Unread: when it took too long or too much memory, or crashed the process.
            RuntimeError: after the next page was requested or `read_files` was closed.
        """
        return self.reader(self.page)


class _Run:
    """One call of `read_files`."""

    def __init__(self, workers: Workers, limits: Limits) -> None:
        self.workers, self.limits = workers, limits
        self.worker: Worker | None = None
        self.page: Page | None = None  # the last page yielded
        self.place, self.name = 0, ""  # index and name of the current item of the file
        self.lost = False  # whether the process died while reading `page`

    def start(self) -> bool:
        """Acquire a process; False if files are read in the app."""
        if self.workers.available:
            with contextlib.suppress(Unavailable):
                self.worker = self.workers.take(self.limits)
        return self.workers.available

    def _ask(self, do: str, **more: Any) -> tuple[protocol.Message, list[bytes]]:
        if self.lost:
            raise Lost
        if self.worker is None:
            self.worker = self.workers.take(self.limits)
        try:
            return self.worker.ask(self.limits, do, **more)
        except Lost:
            self.worker = None
            raise

    def close(self) -> None:
        worker, self.worker, self.page = self.worker, None, None
        if worker is None:
            return
        if worker.usable:
            worker.worked = 0.0
            with contextlib.suppress(Lost):  # lets it close its files and remove its temporary ones
                worker.ask(LIMITS, "close")
        self.workers.give_back(worker)

    def count(self, file: Upload) -> int:
        """Number of pages of a file; 0 if unknown."""
        self._begin()
        try:
            message, _ = self._ask("count", **_request(file, self.limits))
            return self._checked(lambda: max(0, int(message["pages"])))
        except (Lost, Unavailable) as error:
            log.info("The pages of %s could not be counted: %s", file.name, error)
            return 0

    def file(self, file: Upload) -> Iterator[Page | Problem]:
        """The pages of one file. Terminates whatever happens to the process."""
        file = replace(file, name=clean(file.name))  # as `expand` does
        skip, again = 0, False
        for _ in range(MOST_LOSSES):
            self.place, self.name, self.lost = skip, file.name, False
            try:
                yield from self._items(file, skip)
                return
            except Lost as lost:
                if not self.lost:  # otherwise `read` has raised already
                    yield self._loss(lost)
            except Unavailable as error:
                yield Problem(file.name, f"{file.name} could not be read: {error}. Add it again later.")
                return
            # Other members of an archive may still be readable.
            unopened = self.name == file.name
            if unopened and (again or not _is_zip(file)):
                return
            skip, again = self.place + 1, unopened
        yield Problem(
            file.name,
            f"{file.name} holds {MOST_LOSSES} files that cannot be read, and what follows {self.name} was "
            "left out. Unpack it and add its files a few at a time.",
        )

    def _items(self, file: Upload, skip: int) -> Iterator[Page | Problem]:
        self._begin()
        self._ask("open", **_request(file, self.limits), skip=skip)
        while True:
            message, blobs = self._ask("next")
            if message.get("is") == "end":
                return
            item = self._checked(lambda: self._item(file, message, blobs))  # noqa: B023
            if item is not None:
                yield item

    def _item(self, file: Upload, message: protocol.Message, blobs: list[bytes]) -> Page | Problem | None:
        """The page or problem in a message; None at the start of a file or archive member."""
        if message["is"] == "item":
            place, name = int(message["index"]), self._own(file, message["name"])
            if place != self.place:
                self._begin()
            self.place, self.name = place, name
            return None
        if message["is"] == "problem":
            said = self._own(file, message["source"]), str(message["message"])[:MOST_SAID]
            if message.get("kind") is not None:
                return Skipped(*said, str(message["kind"])[:MOST_SAID])
            return Problem(*said) if message.get("page") is None else Notice(*said, int(message["page"]))
        page = protocol.unpack_page(message, blobs)
        self._own(file, page.source)
        self.page = page
        return page

    def _begin(self) -> None:
        """Start of a file or archive member."""
        self.page = None
        if self.worker is not None:
            self.worker.worked = 0.0

    def _own(self, file: Upload, source: Any) -> str:
        """`source`, checked to be `file` or a member of it."""
        if source != file.name and not str(source).startswith(file.name + "/"):
            raise protocol.Garbled("another file's name")
        return str(source)

    def _loss(self, lost: Lost) -> Problem:
        if self.page is None:
            return Problem(self.name, f"{self.name} could not be read: {lost}. {CURE}")
        source, last = self.page.source, spot(self.page.source, self.page.number, "page ")
        return Problem(source, f"{source} could not be read past {last}: {lost}. {CURE}")

    def read(self, page: Page) -> Page:
        """The page with the results of OCR and the picture network. Raises as `Rendered.read`."""
        if self.page is not page:
            raise RuntimeError(f"{page.source} page {page.number} was to be read before the next one.")
        try:
            message, blobs = self._ask("read")
            if message.get("is") == "unread":
                raise Unread(str(message.get("message"))[:MOST_SAID])
            return self._checked(lambda: protocol.unpack_reading(page, message, blobs))
        except Lost as lost:
            self.lost = True
            raise Unread(f"could not be read: {lost}; what follows it was left out. {CURE}") from lost

    def _checked(self, take: Callable[[], T]) -> T:
        """The result of `take`, which parses an answer. An invalid answer ends the process."""
        try:
            return take()
        except (protocol.Garbled, KeyError, TypeError, ValueError, OverflowError) as error:
            worker, self.worker = self.worker, None
            if worker is not None:
                worker.end()
            what = error if isinstance(error, protocol.Garbled) else type(error).__name__
            raise Lost(f"its reader gave an answer that makes no sense ({what})") from error


def _is_zip(file: Upload) -> bool:
    with contextlib.suppress(OSError):
        return zipfile.is_zipfile(file.path)  # only looks for its end
    return False


def _is_page(file: Upload) -> bool:
    """Whether a file may be a picture or a PDF. What is wrong with it otherwise, the reader says."""
    with contextlib.suppress(OSError):
        return not _is_zip(file) and sniff(file.path) not in {*office.CONVERTED, MEDIA}
    return True


def _request(file: Upload, limits: Limits) -> protocol.Message:
    beside = file.subtitles and str(file.subtitles.absolute())
    about = {"path": str(file.path.absolute()), "name": file.name, "subtitles": beside}
    return {**about, "limits": limits.model_dump()}


@contextlib.contextmanager
def _run(workers: Workers, limits: Limits) -> Iterator[_Run]:
    with workers.turn():
        run = _Run(workers, limits)
        try:
            yield run
        finally:
            run.close()


def count_pages(files: Sequence[Upload], limits: Limits = LIMITS) -> int:
    """As `loader.count_pages`, in the reading process: the number of pages that `read_files` will try."""
    if not files:
        return 0
    with _run(UPLOADS, limits) as run:
        if run.start():
            return sum(map(run.count, paired(files)))
    return loader.count_pages(files, limits)


def read_files(
    files: Sequence[Upload], limits: Limits = LIMITS, workers: Workers | None = None
) -> Iterator[Rendered | Problem]:
    """As `loader.read_files`, in the reading process.

    A page can be read until the next one is requested. Closing the generator frees the process.
    """
    if not files:
        return
    with _run(workers or UPLOADS, limits) as run:
        if run.start():
            for item in folded(item for file in paired(files) for item in run.file(file)):
                yield item if isinstance(item, Problem) else Rendered(item, run.read)
            return
    for item in loader.read_files(files, limits):
        yield item if isinstance(item, Problem) else Rendered(item, extraction.read)


def read_picture(file: Upload, limits: Limits = LIMITS) -> Page | Problem | None:
    """The first page of a picture or PDF, as a query picture. Does not wait for uploads or load their models.

    Archives, videos and documents that are converted are refused: a few seconds are for one page.
    """
    if not _is_page(file):
        return Problem(file.name, f"{file.name} is neither a picture nor a PDF. Ask with one of these.")
    with contextlib.closing(cast(Generator[Any], read_files([file], limits, PICTURES))) as pages:
        first = next(pages, None)
    return first.page if isinstance(first, Rendered) else first
