"""PDF files: poppler renders pages, with pdfium as the fallback; pdfium reads text layer and layout.

What the picture of a page does not show is no text of the page.

pdfium is not thread-safe: every call holds a module lock, for at most one page.
"""

from __future__ import annotations

import contextlib
import io
import math
import mmap
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pypdfium2
import pypdfium2.raw as pdfium
from PIL import Image

from metaembed_demo.core.boxes import holds
from metaembed_demo.core.config import LIMITS, RENDER, Limits
from metaembed_demo.core.text import plural
from metaembed_demo.core.types import Box, Word

from . import pdf_notes, pdf_pictures, pdf_text, poppler
from .drawn import undrawn
from .images import FULL_PIXELS, LARGE
from .pdf_frame import Frame, PdfError
from .pdf_text import MOST_LETTERS

__all__ = ["MOST_LETTERS", "BadPage", "PdfError", "PdfFile", "PdfPage"]

CHUNK = 4  # pages per poppler process, whose start costs as much as a page
SMALL_PAGE = 300  # points; of smaller pages the UserUnit is looked up
FULL_SIDE = 20_000  # pixels
OBJECT = re.compile(rb"[\r\n]\d+ \d+ obj\b")  # the head of an object, on a line of its own
LAST_COMMON_LETTER = "\u052f"  # of Latin, Greek and Cyrillic, which poppler's and pdfium's own fonts have
NO_PAGES = "has no pages. Export it again."
_lock = threading.RLock()
_keys = count()


@dataclass(frozen=True)
class PdfPage:
    """One rendered page: RGB image, words in file order, boxes of its raster images.

    `notes`: what was left out, each as the rest of a sentence.
    """

    number: int
    image: Image.Image
    words: tuple[Word, ...]
    pictures: tuple[Box, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class BadPage:
    """An unreadable page; `why` is the rest of a sentence."""

    number: int
    why: str


@dataclass(frozen=True)
class _Outline:
    """Layout of a page from pdfium; `pixels` is the size to render it at."""

    pixels: tuple[int, int]
    words: tuple[Word, ...]
    white: frozenset[Word]  # of the words
    invisible: int  # number of words left out
    added: tuple[Word, ...]  # of fields and notes without an appearance
    pictures: tuple[Box, ...]
    notes: tuple[str, ...]


class PdfFile:
    """An open PDF; a context manager. `len` is its number of pages.

    Raises:
        PdfError: on opening, when it is protected, truncated, damaged or has no pages.
    """

    def __init__(self, path: Path, limits: Limits = LIMITS) -> None:
        self.path, self.limits = path.resolve(), limits
        self._closed = False
        self.key = str(next(_keys))  # of this opening of the document
        self.pinned: list[object] = []  # attachments of the pages read so far, as pdfium holds them
        _check_tail(path)
        with _lock:
            self._document = _open(path)
            self._document.init_forms()
            self._length = len(self._document)
            if not self._length:
                self._document.close()
                raise PdfError(NO_PAGES)

    def __len__(self) -> int:
        return self._length

    def __enter__(self) -> PdfFile:
        return self

    def __exit__(self, *_: object) -> None:
        with _lock:
            self._closed = True
            self._document.close()

    @contextlib.contextmanager
    def held(self) -> Iterator[pypdfium2.PdfDocument]:
        """The document of pdfium, which no other thread uses meanwhile."""
        with _lock:
            yield self._document

    def pages(self, last: int) -> Iterator[PdfPage | BadPage]:
        """Pages 1 to `last`. At most CHUNK images are in memory at a time."""
        for first in range(1, last + 1, CHUNK):
            outlines = {n: self._outline(n) for n in range(first, min(first + CHUNK, last + 1))}
            sizes = {n: outline.pixels for n, outline in outlines.items() if isinstance(outline, _Outline)}
            drawn = poppler.draw(self.path, sizes)
            for number, outline in outlines.items():
                if isinstance(outline, BadPage):
                    yield outline
                else:
                    yield self._page(number, outline, drawn.pop(number, None))

    def draw(self, number: int) -> Image.Image:
        """The picture of one page, as `pages` gives it, without looking at its words.

        Raises:
            PdfError: when there is no such page, or it has no usable size.
            pypdfium2.PdfiumError, MemoryError: when neither poppler nor pdfium can draw it.
        """
        if not 1 <= number <= len(self):
            raise PdfError(f"has {len(self)} pages, and no page {number}.")
        with _lock:
            page = self._document[number - 1]
            try:
                pixels = _pixels(*self._size(page, number), self.limits)
            finally:
                page.close()
        drawn = poppler.draw(self.path, {number: pixels})
        return drawn[number] if number in drawn else self._draw_with_pdfium(number, pixels)

    def full(self, number: int) -> Image.Image | None:
        """A page larger than `RENDER.max_side` at RENDER.dpi, or as large as the limits allow; else None.

        None as well once the file is closed.

        Raises:
            pypdfium2.PdfiumError, MemoryError: when it cannot be drawn.
        """
        with _lock:
            if self._closed:
                return None
            page = self._document[number - 1]
            try:
                size = self._size(page, number)
            finally:
                page.close()
        if max(size) * RENDER.dpi / 72 <= LARGE * RENDER.max_side:
            return None
        return self._draw_with_pdfium(number, _pixels(*size, self.limits, most=FULL_SIDE))

    def _outline(self, number: int) -> _Outline | BadPage:
        with _lock:
            try:
                page = self._document[number - 1]
            except pypdfium2.PdfiumError:
                return BadPage(number, "is damaged and was left out. Export the document again.")
            try:
                pixels = _pixels(*self._size(page, number), self.limits)
                self.pinned += pdf_notes.pinned(page)
                frame = Frame.of(page)
                notes, on_top, left_out = pdf_notes.notes(page, frame)
                if on_top:  # appearances become content of the page once it is loaded again
                    pdfium.FPDFPage_Flatten(page, pdfium.FLAT_NORMALDISPLAY)
                    page.close()
                    page = self._document[number - 1]
                layer = pdf_text.text_layer(page, frame, self.key)
                added = pdf_notes.unshown(notes, layer.words)
                pictures = pdf_pictures.pictures(page, frame, self.limits)
                words = tuple(
                    word
                    for word in layer.words
                    if word.drawn or any(holds(box, word.box) for box in pictures)
                )
                large = tuple(filter(pdf_pictures.is_large, pictures))
                told = tuple(filter(None, (left_out, layer.note)))
                invisible = len(layer.words) - len(words)
                return _Outline(pixels, words, layer.white, invisible, tuple(added), large, told)
            except (PdfError, pypdfium2.PdfiumError) as error:
                return BadPage(number, str(error))
            finally:
                page.close()

    def _size(self, page: pypdfium2.PdfPage, number: int) -> tuple[float, float]:
        """Width and height in points. pdfium ignores UserUnit, which matters where a page seems small."""
        width, height = page.get_size()
        unit = _user_unit(self._document, number) if 0 < max(width, height) < SMALL_PAGE else 1.0
        return width * unit, height * unit

    def _page(self, number: int, outline: _Outline, image: Image.Image | None) -> PdfPage | BadPage:
        try:
            image = image or self._draw_with_pdfium(number, outline.pixels)
            words, told = self._shown(number, outline, image)
        except (pypdfium2.PdfiumError, MemoryError, ValueError) as error:
            why = str(error) or "there is not enough memory"
            return BadPage(number, f"cannot be drawn ({why}). Print it to a new PDF.")
        if not words and _is_blank(image) and poppler.complains(self.path, number):
            return BadPage(number, "is damaged: nothing on it can be drawn. Export the document again.")
        return PdfPage(number, image, (*words, *outline.added), outline.pictures, (*outline.notes, *told))

    def _shown(
        self, number: int, outline: _Outline, image: Image.Image
    ) -> tuple[list[Word], tuple[str, ...]]:
        """The words that are drawn, and what is to be told of the others."""
        words = outline.words
        hidden = undrawn(words, image, outline.white)
        if 2 * len(hidden) > len(words):  # a second opinion, in case poppler failed
            other = self._draw_with_pdfium(number, outline.pixels)
            hidden &= undrawn(words, other, outline.white)
        # Fonts for other scripts may be missing here: all that is written in them then looks undrawn.
        foreign = {i for i, word in enumerate(words) if max(word.text) > LAST_COMMON_LETTER}
        told = []
        if 2 * len(hidden & foreign) > len(foreign):
            hidden -= foreign
            told.append("has text in a font that is not installed, which its picture does not show.")
        if count := len(hidden) + outline.invisible:
            told.append(
                f"has {plural(count, 'word')} that cannot be seen, such as hidden or white text; "
                "they were left out."
            )
        return [word for i, word in enumerate(words) if i not in hidden], tuple(told)

    def _draw_with_pdfium(self, number: int, pixels: tuple[int, int]) -> Image.Image:
        with _lock:
            page = self._document[number - 1]
            try:
                bitmap = page.render(scale=max(pixels) / max(page.get_size()))
                image = bitmap.to_pil().convert("RGB")
                bitmap.close()
            finally:
                page.close()
        # pdfium rounds sizes up.
        return image if image.size == pixels else image.resize(pixels, Image.Resampling.BICUBIC)


def _check_tail(path: Path) -> None:
    """Check that no object follows the last end marker, as in a file that is cut off; other bytes may.

    Raises:
        PdfError: when the file is cut off. (pdfium would read what is left of it, in silence.)
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        end = max(data.rfind(b"%%EOF"), data.rfind(b"startxref"))
        if end < 0 or OBJECT.search(data, end):
            raise PdfError("is cut off: the end of the file is missing. Download or export it again.")


def _open(path: Path) -> pypdfium2.PdfDocument:
    # pdfium does not reset its last error when a document parses but has no pages, so set it first.
    pdfium.FPDF_LoadDocument(b"", None)
    try:
        return pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError:
        reason = pdfium.FPDF_GetLastError()
        if reason == pdfium.FPDF_ERR_PASSWORD:
            raise PdfError("is protected by a password. Save a copy without it and add that.") from None
        if reason == pdfium.FPDF_ERR_FILE:
            raise PdfError(NO_PAGES) from None
        raise PdfError("is damaged and cannot be opened as a PDF. Download or export it again.") from None


def _pixels(width: float, height: float, limits: Limits, most: int = RENDER.max_side) -> tuple[int, int]:
    """Render size in pixels, up to `most` a side, of a page in points, within the limits. Raises PdfError."""
    if not (math.isfinite(width) and math.isfinite(height) and width > 0 and height > 0):
        raise PdfError(f"has no usable size ({width} x {height} points). Export the document again.")
    scale = min(
        RENDER.dpi / 72,
        most / max(width, height),
        math.sqrt(min(limits.max_pixels, FULL_PIXELS) / width / height),
    )
    return max(1, int(width * scale)), max(1, int(height * scale))


def _user_unit(document: pypdfium2.PdfDocument, number: int) -> float:
    """The page's UserUnit, in points. pdfium gives no access to it, but writes it when it copies the page."""
    alone, written = pypdfium2.PdfDocument.new(), io.BytesIO()
    try:
        alone.import_pages(document, [number - 1])
        alone.save(written)
    except pypdfium2.PdfiumError:
        return 1.0
    finally:
        alone.close()
    found = re.search(rb"/UserUnit\s*(\d+\.?\d*)", written.getvalue())
    return max(1.0, float(found[1])) if found else 1.0


def _is_blank(image: Image.Image) -> bool:
    return all(low >= 250 for low, _ in image.convert("RGB").getextrema())  # type: ignore[misc]
