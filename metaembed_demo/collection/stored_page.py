"""StoredPage: an indexed page with its words, picture, places and title."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

from PIL import Image

from metaembed_demo.core.config import RENDER
from metaembed_demo.core.types import Page, Word

from .captions import caption

THUMBNAIL_SIDE = 320  # pixels
Place = tuple[str, int]  # source and 1-based number


class Picture(Protocol):
    """A page picture that is made on demand."""

    def jpeg(self) -> bytes:
        """The same bytes each time. Raises ValueError when it cannot be made."""
        ...


@dataclass(frozen=True)
class StoredPage:
    """An indexed page: its words, a JPEG of at most `RENDER.view_side` pixels a side, and its places.

    `kept` is the JPEG or a `Picture` that makes it; `picture` returns the JPEG. `width` and `height` are its
    size in pixels. `also` lists the other (source, number) places of the same content, in indexing order.
    `reading` and `language` are those of `Page`. `added`: when it was indexed, in seconds UTC; 0 where it is
    unknown. It is no part of the content, and is kept in the table of a saved collection.
    """

    id: str
    source: str
    number: int
    words: tuple[Word, ...]
    kept: bytes | Picture
    width: int
    height: int
    also: tuple[Place, ...] = ()
    reading: tuple[str, ...] = ()
    language: str = ""
    added: int = field(default=0, compare=False)

    @classmethod
    def of(cls, page: Page, added: int = 0) -> StoredPage:
        """From a page that has been read. Raises ValueError when it has no image."""
        if page.image is None:
            raise ValueError(f"{page.source} page {page.number} has no image to keep.")
        image = view_of(page.image)
        size = image.width, image.height
        found = cls(page.id, page.source, page.number, page.words, jpeg_of(image), *size)
        return replace(found, reading=page.reading, language=page.language, added=added)

    @property
    def picture(self) -> bytes:
        """The JPEG. Raises ValueError when it cannot be made."""
        return self.kept if isinstance(self.kept, bytes) else self.kept.jpeg()

    @property
    def places(self) -> tuple[Place, ...]:
        """Every (source, number) of this content, its own first."""
        return ((self.source, self.number), *self.also)

    def at(self, places: Sequence[Place]) -> StoredPage:
        """The same page at `places`, which are not empty."""
        if tuple(places) == self.places:
            return self  # keeps the cached thumbnail
        return replace(self, source=places[0][0], number=places[0][1], also=tuple(places[1:]))

    @cached_property
    def digest(self) -> str:
        """64 hex digits of all that is stored of the page, except its places, its id and when it was
        added.

        Pages of one id may differ in it: an id is given before a page is read, and does not cover where its
        words are. What sessions share is kept by this digest, and an imported page has its id from it.
        """
        told = self.as_read
        found = hashlib.sha256(b"stored page\0" + len(told).to_bytes(8, "big") + told)
        found.update(self.picture)
        return found.hexdigest()

    @property
    def as_read(self) -> bytes:
        """JSON of what was read: all that `digest` covers but the picture, which may have to be drawn."""
        words = [
            [w.text, w.kind, round(float(w.confidence), 3), *(round(float(x), 5) for x in w.box)]
            for w in self.words
        ]
        return json.dumps([self.width, self.height, words, self.reading, self.language]).encode("ascii")

    @cached_property
    def title(self) -> str:
        """A caption of at most 60 characters: the page's heading, or what the picture shows."""
        return caption(self.source, self.words)

    @cached_property
    def thumbnail(self) -> bytes:
        """A JPEG of at most 320 pixels a side."""
        image = Image.open(io.BytesIO(self.picture))
        image.draft("RGB", (THUMBNAIL_SIDE, THUMBNAIL_SIDE))  # decodes at a fraction of the size
        image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
        return jpeg_of(image.convert("RGB"))

    def as_json(self) -> dict[str, Any]:
        """JSON types, without the picture; box coordinates rounded to 5 decimals."""
        return {
            "id": self.id,
            "source": self.source,
            "number": self.number,
            "width": self.width,
            "height": self.height,
            "also": [list(place) for place in self.also],
            "words": [
                [w.text, *(round(x, 5) for x in w.box), w.kind, *_doubt(w.confidence)] for w in self.words
            ],
            "reading": list(self.reading),
            "language": self.language,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any], picture: bytes) -> StoredPage:
        old = "reading" not in value  # of version 1.3 and before, whose labels have no probability
        return cls(
            value["id"],
            value["source"],
            value["number"],
            tuple(
                Word(text, (x0, y0, x1, y1), kind, *([0.0] if old and kind == "visual" else doubt))
                for text, x0, y0, x1, y1, kind, *doubt in value["words"]
            ),
            picture,
            value["width"],
            value["height"],
            tuple((source, number) for source, number in value["also"]),
            tuple(map(str, value.get("reading", ()))),
            str(value.get("language", "")),
        )


def _doubt(confidence: float) -> list[float]:
    """The last element of a word's row, which only words in doubt have."""
    return [round(confidence, 3)] if confidence < 1 else []


def view_of(image: Image.Image) -> Image.Image:
    """An RGB copy of at most `RENDER.view_side` pixels a side, as stored for a page."""
    view = image.convert("RGB")  # a copy
    view.thumbnail((RENDER.view_side, RENDER.view_side), Image.Resampling.LANCZOS)
    return view


def jpeg_of(image: Image.Image) -> bytes:
    """A JPEG at the quality of stored pages."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=RENDER.view_quality)
    return buffer.getvalue()
