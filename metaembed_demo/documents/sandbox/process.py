"""The sandboxed process that reads documents (documents/sandbox/serving.py has its loop).

It answers requests in order over its original stdin and stdout. A crash ends only this process; the app
reports it and starts another.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from metaembed_demo.core.config import Limits
from metaembed_demo.core.types import Notice, Page, Problem, Skipped, Upload
from metaembed_demo.documents.loader import NO_MEMORY, count_pages, expand, pages_of

from . import protocol
from .serving import serve

FILE_SLACK = 64 << 20  # bytes; size limit of temporary files beyond the largest accepted file
log = logging.getLogger(__name__)
Item = tuple[int, str] | Page | Problem  # the tuple announces an item: index in the file, and name


class RequestHandler:
    """Answers requests about one file at a time, which stays open between requests."""

    def __init__(self, out: BinaryIO) -> None:
        self.out = out
        self.items: Generator[Item, None, None] | None = None
        self.page: Page | None = None  # the last page sent, which a "read" request refers to

    def answer(self, request: dict[str, Any]) -> None:
        """Execute `request` and send exactly one message."""
        do = request["do"]
        if do == "count":
            self.send("count", pages=count_pages([_upload(request)], Limits(**request["limits"])))
        elif do == "open":
            self._close()
            self.items = _items(_upload(request), Limits(**request["limits"]), request["skip"])
            self.send("open")
        elif do == "next":
            self._next()
        elif do == "read":
            self._read()
        else:
            self._close()
            self.send("closed")

    def _next(self) -> None:
        assert self.items is not None
        item = next(self.items, None)
        self.page = None
        if item is None:
            self.send("end")
        elif isinstance(item, Problem):
            page = item.page if isinstance(item, Notice) else None
            kind = item.kind if isinstance(item, Skipped) else None
            self.send("problem", source=item.source, message=item.message, page=page, kind=kind)
        elif isinstance(item, Page):
            self.page = item
            message, blobs = protocol.pack_page(item)
            self.send("page", blobs, **message)
        else:
            self.send("item", index=item[0], name=item[1])

    def _read(self) -> None:
        from metaembed_demo.documents.extraction import read  # imports torch, not needed for query images

        assert self.page is not None
        try:
            message, blobs = protocol.pack_reading(read(self.page))
        except MemoryError:
            self.send("unread", message=NO_MEMORY)
        except Exception as error:
            # Continue with the rest of the file. An ImportError's message is complete without a traceback.
            if not isinstance(error, ImportError):
                log.exception("%s page %d could not be read", self.page.source, self.page.number)
            self.send("unread", message=f"could not be read: {error}")
        else:
            self.send("words", blobs, **message)

    def _close(self) -> None:
        if self.items is not None:
            self.items.close()
        self.items = self.page = None

    def send(self, message_type: str, blobs: list[bytes] | None = None, **message: Any) -> None:
        protocol.send(self.out, {"is": message_type, **message}, blobs or ())


def _items(file: Upload, limits: Limits, skip: int) -> Generator[Item, None, None]:
    """The pages of a file; each item is announced before it is opened."""
    # The archive is announced first: members are checked while they are unpacked.
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


def main() -> None:
    """Answer requests until the app closes the pipe or exits."""
    serve(RequestHandler, Limits().max_file_bytes + FILE_SLACK)


if __name__ == "__main__":
    main()
