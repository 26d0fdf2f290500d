"""The sandboxed process that opens index files, and the app's side of it.

Started as `python -m metaembed_demo.collection.index_worker MEGABYTES FOLDER` (documents/sandbox/serving.py).
Its answers are untrusted as those of the process that reads documents: numbers, words and raw pixels.
"""

from __future__ import annotations

import contextlib
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from PIL import Image

from metaembed_demo.core.config import RENDER, Limits
from metaembed_demo.core.disk import scratch_prefix
from metaembed_demo.core.text import clean
from metaembed_demo.core.types import Upload
from metaembed_demo.documents.sandbox import protocol
from metaembed_demo.documents.sandbox.pool import Lost, TimedOut, Unavailable, Worker, Workers
from metaembed_demo.documents.sandbox.serving import CLOSED, Answer, Request, serve

from .calibration import Kept
from .index_archive import InTime, Refused
from .index_reader import (
    MOST_SENTENCES,
    Found,
    IndexReader,
    Wanted,
    check_room,
    check_words,
    checked_date,
    is_place,
)
from .stored_page import StoredPage

MOST_SAID = 2_000  # maximum characters of a message
DIGEST = re.compile(r"[0-9a-f]{64}")
INDEXES = Workers(1, nice=10, command=[sys.executable, "-m", "metaembed_demo.collection.index_worker"])
T = TypeVar("T")


class Reader(Protocol):
    """An open index file. Every method raises Refused when it is not to be opened."""

    calibrations: Kept  # of all its pages

    def __len__(self) -> int: ...

    def page(self, at: int) -> Found:
        """The page at `at`, from 0."""
        ...

    def picture(self, at: int) -> Image.Image:
        """The RGB picture of the page at `at`, which `page` has returned."""
        ...


# In the process


class IndexRequests:
    """Answers requests about one index file at a time."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._reader: IndexReader | None = None

    def answer(self, request: Request) -> Answer:
        """Execute `request`."""
        try:
            return self._answer(request)
        except Refused as refused:
            return {"is": "refused", "message": str(refused)}, ()

    def _answer(self, request: Request) -> Answer:
        if request["do"] == "open":
            self._close()
            self._folder = tempfile.TemporaryDirectory(prefix=scratch_prefix(), ignore_cleanup_errors=True)
            file, wanted = Upload(Path(request["path"]), request["name"]), Wanted(*request["wanted"])
            self._reader = IndexReader(file, Path(self._folder.name), wanted, Limits(**request["limits"]))
            kept = self._reader.calibrations.as_json()
            return {"is": "open", "pages": len(self._reader), "calibrations": kept}, ()
        if request["do"] == "close":
            self._close()
            return CLOSED, ()
        assert self._reader is not None
        if request["do"] == "picture":
            return {"is": "picture"}, [self._reader.picture(request["at"]).tobytes()]
        return pack(self._reader.page(request["at"]))

    def _close(self) -> None:
        self._reader = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def pack(found: Found) -> tuple[protocol.Message, list[bytes]]:
    """A page as a message, with its vectors as float16."""
    page = found.page
    message = {
        "is": "page",
        "places": page.places,
        "words": protocol.pack_words(page.words),
        "size": (page.width, page.height),
        "reading": page.reading,
        "language": page.language,
        "added": page.added,
        "digest": found.digest,
    }
    return message, [found.vectors.astype(np.float16).tobytes()]


# In the app


def unpack(message: protocol.Message, blobs: list[bytes], wanted: Wanted) -> Found:
    """Inverse of `pack`. Raises Garbled, TypeError and the like when there is no page."""
    (raw,), (width, height), digest = blobs, message["size"], message["digest"]
    places = [(clean(source), number) for source, number in message["places"]]
    words = protocol.unpack_words(message["words"])
    check_words(words)
    sized = all(type(side) is int and 0 < side <= RENDER.view_side for side in (width, height))
    vectors = np.frombuffer(raw, np.float16).reshape(wanted.r_c, wanted.dim).astype(np.float32)
    language = message["language"]
    if not (
        places
        and all(map(is_place, places))
        and sized
        and DIGEST.fullmatch(digest)
        and protocol.LANGUAGE.fullmatch(language)
    ):
        raise protocol.Garbled("a page that is none")
    if not np.isfinite(vectors).all():
        raise protocol.Garbled("vectors that are no numbers")
    reading = tuple(map(protocol.sentence, message["reading"][:MOST_SENTENCES]))
    added = checked_date(message["added"])
    also = tuple(places[1:])
    page = StoredPage("", *places[0], words, b"", width, height, also, reading, language, added)
    return Found(page, digest, vectors)


class _Asked:
    """An index file that is read in the process."""

    def __init__(self, worker: Worker, file: Upload, wanted: Wanted, limits: Limits) -> None:
        self._worker, self._name, self._wanted, self._limits = worker, file.name, wanted, limits
        # One bound for all of it: a job's.
        seconds = dict.fromkeys(("seconds_per_page", "seconds_per_file"), limits.seconds_per_job)
        self._allowed = limits.model_copy(update=seconds)
        self._sizes: dict[int, tuple[int, int]] = {}
        request = {"path": str(file.path.absolute()), "name": file.name, "limits": limits.model_dump()}
        wants = (wanted.fingerprint, wanted.r_c, wanted.dim)
        message, _ = self._ask("open", **request, wanted=wants)
        self._pages = self._checked(lambda: max(0, int(message["pages"])))
        self.calibrations = self._checked(lambda: Kept.from_json(message["calibrations"]))
        check_room(file.name, self._pages, 0, limits)

    def __len__(self) -> int:
        return self._pages

    def page(self, at: int) -> Found:
        message, blobs = self._ask("page", at=at)
        found = self._checked(lambda: unpack(message, blobs, self._wanted))
        self._sizes[at] = (found.page.width, found.page.height)
        return found

    def picture(self, at: int) -> Image.Image:
        _, blobs = self._ask("picture", at=at)
        return self._checked(lambda: Image.frombytes("RGB", self._sizes[at], blobs[0]))

    def _ask(self, do: str, **more: Any) -> tuple[protocol.Message, list[bytes]]:
        try:
            message, blobs = self._worker.ask(self._allowed, do, **more)
        except TimedOut as error:
            raise out_of_time(self._name, self._limits) from error
        except Lost as lost:
            raise Refused(
                f"{self._name} could not be opened: {lost}. Save an index of fewer documents and open that."
            ) from lost
        if message.get("is") == "refused":
            raise Refused(str(message.get("message"))[:MOST_SAID])
        return message, blobs

    def _checked(self, take: Callable[[], T]) -> T:
        """The result of `take`, which parses an answer. An invalid answer ends the process."""
        try:
            return take()
        except Exception as error:
            self._worker.end()
            raise Refused(
                f"{self._name} could not be opened: its reader gave an answer that makes no sense "
                f"({type(error).__name__}). Download it again."
            ) from error


def out_of_time(name: str, limits: Limits) -> Refused:
    return Refused(
        f"{name} takes more than {limits.seconds_per_job:,g} s to open. Save an index of fewer "
        "documents, or raise METAEMBED_SECONDS_PER_JOB."
    )


@contextlib.contextmanager
def opened(file: Upload, wanted: Wanted, limits: Limits, in_time: InTime) -> Iterator[Reader]:
    """An index file, in the process, or in the app where none can be started. Raises Refused."""
    with contextlib.ExitStack() as after:
        try:
            worker = after.enter_context(INDEXES.lent(limits))
        except Unavailable as error:
            raise Refused(
                f"{file.name} could not be opened: no process starts. Open it again later."
            ) from error
        if worker is not None:
            yield _Asked(worker, file, wanted, limits)
            return
        folder = tempfile.TemporaryDirectory(prefix=scratch_prefix(), ignore_cleanup_errors=True)
        yield IndexReader(file, Path(after.enter_context(folder)), wanted, limits, in_time)


if __name__ == "__main__":
    serve(IndexRequests().answer, Limits().max_archive_bytes)
