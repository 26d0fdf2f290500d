"""The sandboxed process that reads documents (documents/sandbox/serving.py has its loop).

It answers requests in order over its original stdin and stdout. A crash ends only this process; the app
reports it and starts another.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from metaembed_demo.core.config import Limits
from metaembed_demo.core.types import Notice, Page, Problem, Skipped, Upload
from metaembed_demo.documents.loader import NO_MEMORY, count_pages, expand, pages_of

from . import protocol
from .serving import CLOSED, Answer, Request, serve

FILE_SLACK = 64 << 20  # bytes; size limit of temporary files beyond the largest accepted file
log = logging.getLogger(__name__)
Item = tuple[int, str] | Page | Problem  # the tuple announces an item: index in the file, and name


class RequestHandler:
    """Answers requests about one file at a time, which stays open between requests."""

    def __init__(self) -> None:
        self.items: Generator[Item, None, None] | None = None
        self.page: Page | None = None  # the last page sent, which a "read" request refers to

    def answer(self, request: Request) -> Answer:
        """Execute `request`."""
        do = request["do"]
        if do == "count":
            return _answer("count", pages=count_pages([_upload(request)], Limits(**request["limits"])))
        if do == "open":
            self._close()
            self.items = _items(_upload(request), Limits(**request["limits"]), request["skip"])
            return _answer("open")
        if do == "next":
            return self._next()
        if do == "read":
            return self._read()
        self._close()
        return CLOSED, ()

    def _next(self) -> Answer:
        assert self.items is not None
        item = next(self.items, None)
        self.page = None
        if item is None:
            return _answer("end")
        if isinstance(item, Problem):
            page = item.page if isinstance(item, Notice) else None
            kind = item.kind if isinstance(item, Skipped) else None
            return _answer("problem", source=item.source, message=item.message, page=page, kind=kind)
        if isinstance(item, Page):
            self.page = item
            message, blobs = protocol.pack_page(item)
            return _answer("page", blobs, **message)
        return _answer("item", index=item[0], name=item[1])

    def _read(self) -> Answer:
        from metaembed_demo.documents.extraction import read  # imports torch, not needed for query images

        assert self.page is not None
        try:
            message, blobs = protocol.pack_reading(read(self.page))
        except MemoryError:
            return _answer("unread", message=NO_MEMORY)
        except Exception as error:
            # Continue with the rest of the file. An ImportError's message is complete without a traceback.
            if not isinstance(error, ImportError):
                log.exception("%s page %d could not be read", self.page.source, self.page.number)
            return _answer("unread", message=f"could not be read: {error}")
        return _answer("words", blobs, **message)

    def _close(self) -> None:
        if self.items is not None:
            self.items.close()
        self.items = self.page = None


def _answer(message_type: str, blobs: Sequence[bytes] = (), **message: Any) -> Answer:
    return {"is": message_type, **message}, blobs


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
    beside = request["subtitles"]
    return Upload(Path(request["path"]), request["name"], subtitles=Path(beside) if beside else None)


def main() -> None:
    """Answer requests until the app closes the pipe or exits."""
    serve(RequestHandler().answer, Limits().max_file_bytes + FILE_SLACK)


if __name__ == "__main__":
    main()
