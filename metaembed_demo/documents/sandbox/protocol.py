"""Message protocol between the app and the sandboxed process: JSON and raw bytes.

The process handles untrusted files, so its answers are untrusted: no pickle, which could run code, and no
encoded images, which need a decoder. Pixels and arrays are sent raw, and sizes are validated before use.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from metaembed_demo.core.config import RENDER
from metaembed_demo.core.text import clean
from metaembed_demo.core.types import WORD_KINDS, Box, Page, View, Word
from metaembed_demo.documents.imagenet_labels import CLASSES

LENGTH = struct.Struct(">I")
MOST_HEAD = 16 << 20  # bytes of JSON; the largest page's words take 4 MB
MOST_VALUES = 4_000_000  # JSON values of a message: each may take a hundred times its bytes once it is read
MOST_BLOBS = 3 * RENDER.max_side**2 + (16 << 20)  # bytes of a page's pixels or views
FEATURES = 1280  # components of a view
LANGUAGE = re.compile(r"([a-z]{2,3})?")
MOST_SENTENCE = 2_000  # characters of one notice
PAGE_ID = re.compile(r"[0-9a-f]{20}")
Message = dict[str, Any]


class Garbled(Exception):
    """An invalid or unexpected message."""


def send(out: BinaryIO, message: Message, blobs: Sequence[bytes] = ()) -> None:
    """Write one message. Raises OSError when the pipe is closed."""
    head = json.dumps({**message, "blobs": [len(blob) for blob in blobs]}).encode("ascii")
    out.write(LENGTH.pack(len(head)) + head)
    for blob in blobs:
        out.write(blob)
    out.flush()


def receive(source: BinaryIO) -> tuple[Message, list[bytes]]:
    """Read one message.

    Raises:
        EOFError: when the pipe is closed.
        Garbled: when the message is too long or not a JSON object.
    """
    (length,) = LENGTH.unpack(_exactly(source, LENGTH.size))
    if length > MOST_HEAD:
        raise Garbled(f"{length:,} bytes of JSON")
    try:
        head = _exactly(source, length)
        if values(head) > MOST_VALUES:
            raise Garbled(f"{values(head):,} values of JSON")
        message = json.loads(head)
        sizes = [int(size) for size in message.pop("blobs")]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Garbled("no message") from error
    if min(sizes, default=0) < 0 or sum(sizes) > MOST_BLOBS:
        raise Garbled(f"{sum(sizes):,} bytes of arrays")
    return message, [_exactly(source, size) for size in sizes]


def values(data: bytes) -> int:
    """At least as many as the values in some JSON, counted without reading it."""
    return data.count(b",") + data.count(b"[") + data.count(b"{") + 1


def _exactly(source: BinaryIO, n: int) -> bytes:
    found = source.read(n)
    if len(found) < n:
        raise EOFError
    return found


# Pages


def pack_page(page: Page) -> tuple[Message, list[bytes]]:
    """Serialise a page from `loader`, with its image and without views."""
    assert page.image is not None
    message = {
        "id": page.id,
        "source": page.source,
        "number": page.number,
        "size": page.image.size,
        "words": pack_words(page.words),
        "pictures": page.pictures,
    }
    return message, [page.image.tobytes()]


def unpack_page(message: Message, blobs: Sequence[bytes]) -> Page:
    """Inverse of `pack_page`. Raises Garbled when the page is invalid."""
    try:
        (width, height), (pixels,) = message["size"], blobs
        identity, source, number = message["id"], message["source"], message["number"]
        if not all(type(side) is int and 0 < side <= RENDER.max_side for side in (width, height)):
            raise Garbled(f"a page of {width} x {height} pixels")
        if len(pixels) != 3 * width * height:
            raise Garbled(f"{len(pixels):,} bytes for {width} x {height} pixels")
        if not (isinstance(source, str) and type(number) is int and PAGE_ID.fullmatch(identity)):
            raise Garbled("a page without a name")
        image = Image.frombytes("RGB", (width, height), pixels)
        return Page(
            identity,
            source,
            number,
            image,
            unpack_words(message["words"]),
            tuple(map(_box, message["pictures"])),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise Garbled("no page") from error


def pack_reading(page: Page) -> tuple[Message, list[bytes]]:
    """Serialise the result of `extraction.read`: words and views."""
    arrays = [array.tobytes() for view in page.views for array in (view.features, view.probability)]
    told = {"reading": page.reading, "notices": page.notices, "language": page.language}
    return {"words": pack_words(page.words), "views": [view.box for view in page.views], **told}, arrays


def unpack_reading(page: Page, message: Message, blobs: Sequence[bytes]) -> Page:
    """`page` with the words and views from `pack_reading`. Raises Garbled when they are invalid."""
    try:
        boxes = [_box(box) for box in message["views"]]
        arrays = [np.frombuffer(bytearray(blob), np.float32) for blob in blobs]  # torch needs writable memory
        if [len(array) for array in arrays] != [FEATURES, CLASSES] * len(boxes):
            raise Garbled("views of another shape")
        if not all(np.isfinite(array).all() for array in arrays):
            raise Garbled("views that are no numbers")
        views = [View(box, *arrays[2 * i : 2 * i + 2]) for i, box in enumerate(boxes)]
        reading, notices = (tuple(map(sentence, message[name])) for name in ("reading", "notices"))
        language = message["language"]
        if not (isinstance(language, str) and LANGUAGE.fullmatch(language)):
            raise Garbled("a language that is none")
        return replace(
            page.with_words(unpack_words(message["words"]), views),
            language=language,
            reading=reading,
            notices=notices,
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise Garbled("no words") from error


def pack_words(words: Sequence[Word]) -> list[list[Any]]:
    """Words as JSON types."""
    return [[word.text, word.kind, word.confidence, *word.box] for word in words]


def unpack_words(rows: Sequence[Sequence[Any]]) -> tuple[Word, ...]:
    """Inverse of `pack_words`. Raises Garbled, TypeError or ValueError when there is one that is none."""
    return tuple(_word(*row) for row in rows)


def _word(text: Any, kind: Any, confidence: Any, *box: Any) -> Word:
    if not isinstance(text, str) or kind not in WORD_KINDS:
        raise Garbled("a word that is none")
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()  # lone surrogates cannot be encoded as UTF-8
    if not (isinstance(confidence, int | float) and 0 <= confidence <= 1):
        raise Garbled("a word without a confidence")
    return Word(text, _box(box), kind, float(confidence))


def sentence(text: Any) -> str:
    """A notice, cleaned and cut. Raises Garbled when it is none."""
    if not isinstance(text, str):
        raise Garbled("a notice that is none")
    return clean(text[:MOST_SENTENCE])


def _box(edges: Sequence[Any]) -> Box:
    x0, y0, x1, y1 = (float(edge) for edge in edges)
    if not math.isfinite(x0 + y0 + x1 + y1):
        raise Garbled("a box without a place")
    return x0, y0, x1, y1
