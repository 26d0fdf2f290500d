"""The process in which files are read: started by documents/sandbox/pool.py as
`python -m metaembed_demo.documents.sandbox.process MEGABYTES FOLDER`, the bound of its memory and its
folder for temporary files.

It answers one request after the other on what was its standard input and output. What goes wrong in here
ends this process at worst; the app takes that for an answer and starts another one.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import logging
import os
import queue
import shutil
import sys
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from metaembed_demo.core.config import Limits
from metaembed_demo.core.types import Page, Problem, Upload
from metaembed_demo.documents.loader import NO_MEMORY, count_pages, expand, pages_of

from . import protocol

FILE_SLACK = 64 << 20  # bytes that a temporary file may have above the largest file
log = logging.getLogger(__name__)
Item = tuple[int, str] | Page | Problem  # an item begins: its place in the file, and its name


class Desk:
    """One file at a time, open between requests."""

    def __init__(self, out: BinaryIO) -> None:
        self.out = out
        self.items: Generator[Item, None, None] | None = None
        self.page: Page | None = None  # the last one handed out, which `read` is about

    def answer(self, request: dict[str, Any]) -> None:
        """Do what `request` asks for and say what came of it; one message for each request."""
        do = request["do"]
        if do == "count":
            self._say("count", pages=count_pages([_upload(request)], Limits(**request["limits"])))
        elif do == "open":
            self._close()
            self.items = _items(_upload(request), Limits(**request["limits"]), request["skip"])
            self._say("open")
        elif do == "next":
            self._next()
        elif do == "read":
            self._read()
        else:
            self._close()
            self._say("closed")

    def _next(self) -> None:
        assert self.items is not None
        item = next(self.items, None)
        self.page = None
        if item is None:
            self._say("end")
        elif isinstance(item, Problem):
            self._say("problem", source=item.source, message=item.message)
        elif isinstance(item, Page):
            self.page = item
            message, blobs = protocol.pack_page(item)
            self._say("page", blobs, **message)
        else:
            self._say("item", index=item[0], name=item[1])

    def _read(self) -> None:
        from metaembed_demo.documents.extraction import (
            read,  # loads torch, which a query's picture can do without
        )

        assert self.page is not None
        try:
            message, blobs = protocol.pack_reading(read(self.page))
        except MemoryError:
            self._say("unread", message=NO_MEMORY)
        except Exception as error:
            # One odd page must not cost the user the rest of the file; the log has the whole story.
            if not isinstance(error, ImportError):  # which says what to install
                log.exception("%s page %d could not be read", self.page.source, self.page.number)
            self._say("unread", message=f"could not be read: {error}")
        else:
            self._say("words", blobs, **message)

    def _close(self) -> None:
        if self.items is not None:
            self.items.close()
        self.items = self.page = None

    def _say(self, kind: str, blobs: list[bytes] | None = None, **message: Any) -> None:
        protocol.send(self.out, {"is": kind, **message}, blobs or ())


def _items(file: Upload, limits: Limits, skip: int) -> Generator[Item, None, None]:
    """The pages of a file, each item of it announced before it is opened."""
    # A member of an archive is checked as it is unpacked, so it is announced before that.
    items = expand(file, limits, skip)
    with contextlib.closing(_generator(items)):
        index = skip
        while True:
            yield index, file.name
            item = next(items, None)
            if item is None:
                return
            yield index, item.source if isinstance(item, Problem) else item.name
            yield from pages_of(item, limits)
            index += 1


def _generator(items: Iterator[Any]) -> Any:
    return items


def _upload(request: dict[str, Any]) -> Upload:
    return Upload(Path(request["path"]), request["name"])


def bound(megabytes: int) -> None:
    """Bound what this process, and poppler under it, may take, where the system knows bounds."""
    try:
        import resource
    except ImportError:  # Windows
        return
    bounds = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: Limits().max_file_bytes + FILE_SLACK}
    if megabytes:
        # Memory that is allocated. RLIMIT_AS would count what is only reserved too: with torch and
        # onnxruntime loaded that is three times as much, and grows with the number of cores.
        bounds[resource.RLIMIT_DATA] = megabytes << 20
    for kind, most in bounds.items():
        with contextlib.suppress(ValueError, OSError):  # a lower one that is set already stays
            resource.setrlimit(kind, (most, most))


def main() -> None:
    """Answer requests until the app closes the pipe, or ends."""
    # What a library prints, or a program that it starts, must not get into the messages.
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    faulthandler.enable()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    bound(int(sys.argv[1]))
    waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def listen() -> None:
        for line in requests:
            waiting.put(json.loads(line))
        # Also in the middle of a page: nobody waits for it any more, or can tidy up after it.
        shutil.rmtree(sys.argv[2], ignore_errors=True)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    desk = Desk(answers)
    desk._say("ready")
    while True:
        desk.answer(waiting.get())


if __name__ == "__main__":
    main()
