"""Request bodies: deadlines, a bound on what is in memory at once, and checks that take linear time.

A body that is parsed as a whole is first checked for the number of its values, because parsers take a
hundred times the memory of a body of `{},{},...`, and some take time that grows with the square.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.types import Message, Receive

from metaembed_demo.core.text import bytes_text

from .refusals import Refused, later

GAP_S = 20.0  # longest wait for the next part of a body
GRACE_S, LEAST_RATE = 30.0, 8_000  # seconds, and then so many bytes a second
MARKS = (b",", b"[", b"{", rb"\u")  # there are no more values in JSON than these and one
MOST_MARKS, MOST_DEPTH = 20_000, 32
MOST_PARTS, MOST_FIELDS = 1000, 16  # of a multipart body, and those of them that are no files
FIELD_BYTES, HEAD_BYTES = 4096, 2048  # of such a field, and of the headers of a part
PLAIN_CHARSETS = ("utf-8", "utf8")
Headers = dict[bytes, bytes]


class Room:
    """The bytes of bodies in memory: at most `most`, and `each` of one client."""

    def __init__(self, most: int, each: int) -> None:
        self.most, self.each = most, each
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        return self._taken.total()

    @contextmanager
    def hold(self, client: str) -> Iterator[Callable[[int], None]]:
        """A function that takes so many bytes more until the end. It raises Refused when there is no room."""
        mine = 0

        def take(size: int) -> None:
            nonlocal mine
            if self.taken + size > self.most or self._taken[client] + size > self.each:
                raise later("The server is busy with other requests", 5, status=503)
            mine += size
            self._taken[client] += size

        try:
            yield take
        finally:
            self._taken[client] -= mine
            if not self._taken[client]:
                del self._taken[client]


def check_length(headers: Headers, most: int) -> None:
    """Raises Refused when the announced length is above `most` bytes."""
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or len(length) > 20 or int(length) > most:
        raise Refused(413, f"The request is too large: {bytes_text(most)} are taken.")


def bounded(receive: Receive, most: int) -> Receive:
    """`receive` that raises Refused beyond `most` bytes, whatever Content-Length says, and past deadlines.

    Each part has to arrive in GAP_S, and all in GRACE_S and what the size takes at LEAST_RATE. Only time
    spent waiting counts. Messages after the body are waited for without a deadline.
    """
    seen, waited, ended = 0, 0.0, False

    async def wait() -> Message:
        nonlocal seen, waited, ended
        if ended:
            return await receive()
        started = time.monotonic()
        left = GRACE_S + seen / LEAST_RATE - waited
        try:
            message = await asyncio.wait_for(receive(), max(0.0, min(GAP_S, left)))
        except asyncio.TimeoutError:
            raise Refused(408, "The request took too long to arrive.", Connection="close") from None
        waited += time.monotonic() - started
        seen += len(message.get("body", b""))
        ended = not message.get("more_body")
        if seen > most:
            raise Refused(413, f"The request is too large: {bytes_text(most)} are taken.")
        return message

    return wait


async def read(headers: Headers, receive: Receive, most: int, take: Callable[[int], None]) -> bytes:
    """The whole body, of at most `most` bytes. `take` is called with the size of each part."""
    check_length(headers, most)
    parts, wait = [], bounded(receive, most)
    while True:
        message = await wait()
        if message["type"] == "http.disconnect":
            raise Refused(400, "The request was cut off.")
        part = message.get("body", b"")
        take(len(part))
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives `body` first."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


# JSON


def check_marks(body: bytes) -> None:
    """Raises Refused when JSON may hold too many values. Reads the body a few times, without parsing it."""
    if sum(body.count(mark) for mark in MARKS) > MOST_MARKS:
        raise Refused(413, f"The request holds too many values: {MOST_MARKS:,} are taken.")


def parse(body: bytes, of_gradio: bool = True) -> Any:
    """The value of a JSON body, None of an empty one. Raises Refused.

    of_gradio: it may name files, as Gradio's requests do; a file that is given as a URL is refused.
    """
    check_marks(body)
    try:
        found = json.loads(body) if body.strip() else None
    except (ValueError, RecursionError):
        raise Refused(400, "The request is not JSON.") from None
    level = [found]
    for _ in range(MOST_DEPTH):
        if of_gradio:
            _refuse_addresses(level)
        level = [value for each in level for value in _inner(each)]
        if not level:
            return found
    raise Refused(400, f"The request is nested too deeply: {MOST_DEPTH} levels are taken.")


def _inner(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _refuse_addresses(values: list[Any]) -> None:
    """Refuse a file given as a URL: Gradio would download it, whatever its size."""
    for value in values:
        path = value.get("path") if isinstance(value, dict) else None
        if isinstance(path, str) and path.strip().lower().startswith(("http:", "https:")):
            raise Refused(400, "Files are not fetched from addresses. Upload the file itself.")


# Forms


def check_charset(content_type: bytes) -> None:
    """Raises Refused for a charset other than UTF-8. Some, such as punycode, take quadratic time."""
    charset = parse_options_header(content_type)[1].get(b"charset", b"utf-8")
    if charset.decode("latin-1").strip().lower() not in PLAIN_CHARSETS:
        raise Refused(415, "Only the charset utf-8 is taken.")


class Form:
    """Follows a multipart body on its way to the parser that stores the files, and bounds all else in it."""

    def __init__(self, content_type: bytes) -> None:
        kind, options = parse_options_header(content_type)
        check_charset(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise Refused(400, "Files are to be uploaded as multipart/form-data.")
        self._parts = self._fields = 0
        self._name, self._value, self._head = b"", b"", 0
        self._is_file, self._size = False, 0
        names = ("part_begin", "header_field", "header_value", "header_end", "headers_finished", "part_data")
        self._parser = MultipartParser(
            options[b"boundary"],
            {f"on_{name}": getattr(self, f"_{name}") for name in names},  # type: ignore[arg-type]
        )

    def feed(self, data: bytes) -> None:
        """Raises Refused."""
        try:
            self._parser.write(data)
        except FormParserError:
            raise Refused(400, "The request is no multipart form.") from None

    def follow(self, receive: Receive) -> Receive:
        """`receive` that feeds what passes."""

        async def wait() -> Message:
            message = await receive()
            if body := message.get("body", b""):
                self.feed(body)
            return message

        return wait

    def _part_begin(self) -> None:
        self._parts += 1
        self._is_file, self._size, self._head = False, 0, 0
        if self._parts > MOST_PARTS:
            raise Refused(413, f"The request has too many parts: {MOST_PARTS:,} files are taken at once.")

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._value += data[start:end]

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > HEAD_BYTES:
            raise Refused(413, "A file's name is too long.")

    def _header_end(self) -> None:
        name, value = self._name.lower().strip(), self._value
        self._name = self._value = b""
        if name == b"content-type":
            check_charset(value)
        if name == b"content-disposition":
            options = parse_options_header(value)[1]
            self._is_file = b"filename" in options
            if not self._is_file and options.get(b"name") == b"files":  # as with `filename*` alone
                raise Refused(400, "A file of the form has no plain filename.")

    def _headers_finished(self) -> None:
        self._fields += not self._is_file
        if self._fields > MOST_FIELDS:
            raise Refused(413, f"The request has too many fields: {MOST_FIELDS} are taken.")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if not self._is_file and self._size > FIELD_BYTES:
            raise Refused(413, f"A field is too long: {FIELD_BYTES:,} bytes are taken.")
