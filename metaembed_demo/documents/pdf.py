"""PDF files: poppler renders pages, with pdfium as the fallback; pdfium reads text layer and layout.

pdfium is not thread-safe: every call holds a module lock, for at most one page.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import mmap
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium
from numpy.typing import NDArray
from PIL import Image

from metaembed_demo.core.config import LIMITS, RENDER, Limits
from metaembed_demo.core.types import Box, Word

from . import poppler
from .images import ONE_BIT
from .strips import joined

CHUNK = 4  # pages per poppler process, whose start costs as much as a page
SMALLEST_PICTURE = 0.03  # of the page area; excludes logos and rules
NESTING = 4  # levels of form objects searched for images
MOST_OBJECTS = 50_000  # per page, searched for images; a limit against bombs
MOST_PICTURES = 2_000  # per page; a scan has at most hundreds of strips
MOST_LETTERS = 100_000  # characters of a page's text layer; a newspaper page has 30,000
OBJECT = re.compile(rb"[\r\n]\d+ \d+ obj\b")  # the head of an object, on a line of its own
NO_PAGES = "has no pages. Export it again."
_lock = threading.RLock()


class PdfError(Exception):
    """An unreadable PDF or page. The message completes a sentence that begins with the file name."""


@dataclass(frozen=True)
class PdfPage:
    """One rendered page: RGB image, words in file order, boxes of its raster images.

    `note`: what was left out, as the rest of a sentence.
    """

    number: int
    image: Image.Image
    words: tuple[Word, ...]
    pictures: tuple[Box, ...]
    note: str = ""


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
    pictures: tuple[Box, ...]
    note: str


class PdfFile:
    """An open PDF; a context manager. `len` is its number of pages.

    Raises:
        PdfError: on opening, when it is protected, truncated, damaged or has no pages.
    """

    def __init__(self, path: Path, limits: Limits = LIMITS) -> None:
        self.path, self.limits = path.resolve(), limits
        self.pinned: list[object] = []  # attachments of the pages read so far, as pdfium holds them
        _check_tail(path)
        with _lock:
            self._document = _open(path)
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
                width, height = page.get_size()
                pixels = _pixels(width, height, self.limits)
            finally:
                page.close()
        drawn = poppler.draw(self.path, {number: pixels})
        return drawn[number] if number in drawn else self._draw_with_pdfium(number, pixels)

    def _outline(self, number: int) -> _Outline | BadPage:
        with _lock:
            try:
                page = self._document[number - 1]
            except pypdfium2.PdfiumError:
                return BadPage(number, "is damaged and was left out. Export the document again.")
            try:
                width, height = page.get_size()
                pixels = _pixels(width, height, self.limits)
                self.pinned += _pinned(page)
                frame = _Frame.of(page)
                words, note = _words(page, frame)
                return _Outline(pixels, words, _pictures(page, frame, self.limits), note)
            except (PdfError, pypdfium2.PdfiumError) as error:
                return BadPage(number, str(error))
            finally:
                page.close()

    def _page(self, number: int, outline: _Outline, image: Image.Image | None) -> PdfPage | BadPage:
        if image is None:
            try:
                image = self._draw_with_pdfium(number, outline.pixels)
            except (pypdfium2.PdfiumError, MemoryError, ValueError) as error:
                why = str(error) or "there is not enough memory"
                return BadPage(number, f"cannot be drawn ({why}). Print it to a new PDF.")
        if not outline.words and _is_blank(image) and poppler.complains(self.path, number):
            return BadPage(number, "is damaged: nothing on it can be drawn. Export the document again.")
        return PdfPage(number, image, outline.words, outline.pictures, outline.note)

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


def _pixels(width: float, height: float, limits: Limits) -> tuple[int, int]:
    """Render size in pixels for a page of `width` x `height` points, within the limits. Raises PdfError."""
    if not (math.isfinite(width) and math.isfinite(height) and width > 0 and height > 0):
        raise PdfError(f"has no usable size ({width} x {height} points). Export the document again.")
    scale = min(
        RENDER.dpi / 72,
        RENDER.max_side / max(width, height),
        math.sqrt(limits.max_pixels / width / height),
    )
    return max(1, int(width * scale)), max(1, int(height * scale))


def _is_blank(image: Image.Image) -> bool:
    return all(low >= 250 for low, _ in image.convert("RGB").getextrema())  # type: ignore[misc]


# Reading the layout


@dataclass(frozen=True)
class _Frame:
    """Maps page coordinates (points, origin bottom left, unrotated) to fractions of the rotated page."""

    left: float
    bottom: float
    width: float
    height: float
    quarter_turns: int  # clockwise

    @classmethod
    def of(cls, page: pypdfium2.PdfPage) -> _Frame:
        rect = pdfium.FS_RECTF()
        pdfium.FPDF_GetPageBoundingBox(page, ctypes.byref(rect))
        width, height = rect.right - rect.left, rect.top - rect.bottom
        return cls(rect.left, rect.bottom, width, height, pdfium.FPDFPage_GetRotation(page) % 4)

    def boxes(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 4) left, bottom, right, top in points -> (n, 4) x0, y0, x1, y1 in fractions, unclipped."""
        x = (points[:, [0, 2]] - self.left) / self.width
        y = 1 - (points[:, [3, 1]] - self.bottom) / self.height
        for _ in range(self.quarter_turns):
            x, y = 1 - y[:, ::-1], x
        return np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], 1)


def _words(page: pypdfium2.PdfPage, frame: _Frame) -> tuple[tuple[Word, ...], str]:
    """Words of the text layer, and a note on what was left out."""
    text_page = page.get_textpage()
    try:
        count = max(0, pdfium.FPDFText_CountChars(text_page))
        codes, points = _characters(text_page, min(count, MOST_LETTERS))
    finally:
        text_page.close()
    note = ""
    if count > MOST_LETTERS:
        note = f"has a text of {count:,} characters, of which the first {MOST_LETTERS:,} were read."
    characters = [chr(code) for code in codes]
    # pdfium marks a hyphen at a line's end with U+0002, formerly with U+FFFE.
    characters = ["-" if c in "\x02\ufffe" else c for c in characters]
    boxes = frame.boxes(points)
    found = []
    for first, last in _spans(characters, boxes):
        x0, y0 = boxes[first:last, :2].min(0)
        x1, y1 = boxes[first:last, 2:].max(0)
        if 0 <= (x0 + x1) / 2 <= 1 and 0 <= (y0 + y1) / 2 <= 1:  # outside: cropped away
            text = "".join(characters[first:last])
            found.append(
                Word(
                    text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"),
                    _clipped(x0, y0, x1, y1),
                )
            )
    return tuple(found), note


def _characters(text_page: pypdfium2.PdfTextPage, count: int) -> tuple[list[int], NDArray[np.float64]]:
    """Code points (n,) and boxes (n, 4) in points. Loose boxes have equal heights along a line."""
    rect = pdfium.FS_RECTF()
    reference = ctypes.byref(rect)
    codes, rows = [], []
    for i in range(count):
        codes.append(pdfium.FPDFText_GetUnicode(text_page, i))
        if pdfium.FPDFText_GetLooseCharBox(text_page, i, reference):
            rows.append((rect.left, rect.bottom, rect.right, rect.top))
        else:
            rows.append((0.0, 0.0, 0.0, 0.0))
    return codes, np.asarray(rows, dtype=np.float64).reshape(-1, 4)


def _spans(characters: list[str], boxes: NDArray[np.float64]) -> Iterator[tuple[int, int]]:
    """[start, end) of each word; words end at whitespace or at a jump in position."""
    size = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    apart = np.maximum(boxes[1:, :2] - boxes[:-1, 2:], boxes[:-1, :2] - boxes[1:, 2:]).max(1, initial=-1)
    jumps = apart > 1.2 * np.maximum(size[1:], size[:-1])
    start: int | None = None
    for i, character in enumerate(characters):
        inside = character.isprintable() and not character.isspace()
        if start is not None and (not inside or jumps[i - 1]):
            yield start, i
            start = None
        if inside and start is None:
            start = i
    if start is not None:
        yield start, len(characters)


def _clipped(x0: float, y0: float, x1: float, y1: float) -> Box:
    x0, y0, x1, y1 = (round(min(1.0, max(0.0, float(v))), 5) for v in (x0, y0, x1, y1))
    return x0, y0, x1, y1


def _pictures(page: pypdfium2.PdfPage, frame: _Frame, limits: Limits) -> tuple[Box, ...]:
    """Boxes of the page's raster images, with strips merged and small images dropped.

    Raises:
        PdfError: when an image exceeds the pixel limit; checked before decoding.
    """
    found = list(islice(_picture_points(page, limits), MOST_PICTURES))
    corners = np.asarray(found, dtype=np.float64).reshape(-1, 4)
    boxes = joined([_clipped(*row) for row in frame.boxes(corners)])
    return tuple(box for box in boxes if (box[2] - box[0]) * (box[3] - box[1]) >= SMALLEST_PICTURE)


def _picture_points(page: pypdfium2.PdfPage, limits: Limits) -> Iterator[tuple[float, float, float, float]]:
    most = min(pdfium.FPDFPage_CountObjects(page), MOST_OBJECTS)
    waiting = [(pdfium.FPDFPage_GetObject(page, i), np.eye(3), 0) for i in range(most)]
    for _ in range(MOST_OBJECTS):  # nested forms can multiply
        if not waiting:
            return
        item, matrix, level = waiting.pop()
        object_type = pdfium.FPDFPageObj_GetType(item)
        if object_type == pdfium.FPDF_PAGEOBJ_IMAGE:
            _check_picture(page, item, limits)
            corners = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]]) @ _matrix(item) @ matrix
            (x0, y0), (x1, y1) = corners[:, :2].min(0), corners[:, :2].max(0)
            yield float(x0), float(y0), float(x1), float(y1)
        elif object_type == pdfium.FPDF_PAGEOBJ_FORM and level < NESTING:
            inner = _matrix(item) @ matrix
            for i in range(min(pdfium.FPDFFormObj_CountObjects(item), MOST_OBJECTS)):
                waiting.append((pdfium.FPDFFormObj_GetObject(item, i), inner, level + 1))


def _pinned(page: pypdfium2.PdfPage) -> Iterator[object]:
    """Files attached to a place on the page."""
    for i in range(min(pdfium.FPDFPage_GetAnnotCount(page), MOST_OBJECTS)):
        note = pdfium.FPDFPage_GetAnnot(page, i)
        is_file = pdfium.FPDFAnnot_GetSubtype(note) == pdfium.FPDF_ANNOT_FILEATTACHMENT
        if is_file and (found := pdfium.FPDFAnnot_GetFileAttachment(note)):
            yield found
        pdfium.FPDFPage_CloseAnnot(note)


def _matrix(item: object) -> NDArray[np.float64]:
    m = pdfium.FS_MATRIX()
    pdfium.FPDFPageObj_GetMatrix(item, ctypes.byref(m))
    return np.array([[m.a, m.b, 0], [m.c, m.d, 0], [m.e, m.f, 1]])


def _check_picture(page: pypdfium2.PdfPage, item: object, limits: Limits) -> None:
    width, height, most = ctypes.c_uint(), ctypes.c_uint(), limits.max_pixels
    pdfium.FPDFImageObj_GetImagePixelSize(item, ctypes.byref(width), ctypes.byref(height))
    if width.value * height.value > most and _is_one_bit(page, item):
        most *= ONE_BIT
    if width.value * height.value > most:
        raise PdfError(
            f"holds a picture of {width.value} x {height.value} pixels, over the limit of "
            f"{most:,}. Export the document at a lower resolution."
        )


def _is_one_bit(page: pypdfium2.PdfPage, item: object) -> bool:
    """Whether a raster image has one bit per pixel; of a JPEG 2000, pdfium could tell only by decoding it."""
    name = ctypes.create_string_buffer(32)
    pdfium.FPDFImageObj_GetImageFilter(item, pdfium.FPDFImageObj_GetImageFilterCount(item) - 1, name, 32)
    data = pdfium.FPDF_IMAGEOBJ_METADATA()
    return (
        name.value != b"JPXDecode"
        and bool(pdfium.FPDFImageObj_GetImageMetadata(item, page, ctypes.byref(data)))
        and data.bits_per_pixel == 1
    )
