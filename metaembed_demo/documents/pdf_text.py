"""The text layer of a PDF page: characters to words. Callers hold the lock of `pdf`.

Works on characters turned upright, in points, so that lines may run in any of four directions.
"""

from __future__ import annotations

import ctypes
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium
from numpy.typing import NDArray

from metaembed_demo.core.boxes import upright
from metaembed_demo.core.text import RIGHT_TO_LEFT, normalised
from metaembed_demo.core.types import Word

from .pdf_frame import Frame, clipped

MOST_LETTERS = 100_000  # characters of a page's text layer; a newspaper page has 30,000
LINE_END = "\x02\ufffe"  # pdfium's marks of a hyphen at a line's end; it drops the line break after them
_LATIN = r"[^\W\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]"  # and all that is written to the right
LEFT_TO_RIGHT = re.compile(f"{_LATIN}(?:[.,:/%-]*{_LATIN})*")
KERNED = 0.1  # of the line height: a gap that pdfium takes for a space and no eye does
SPACED = 1.0  # of the line height: maximum gap between letters of a spaced word
SPACED_LETTERS = 4  # minimum number of single letters in a row that are a spaced heading
SIGNS = ".,:;!?&+-\u2013\u2014/'\u2019"  # may be spaced with letters
NAME = 128  # bytes of a font's name
WHITE = 250  # of 255: a colour no darker than this is white
BIG = 1.8  # height of a drop capital, of the height of the letters after it


@dataclass(frozen=True)
class _Run:
    """Characters `first` to `last` of one word; boxes in points, in its line turned upright and as it is."""

    first: int
    last: int
    turn: int
    box: Sequence[float]
    placed: Sequence[float]
    text: str

    @property
    def height(self) -> float:
        return self.box[3] - self.box[1]


@dataclass(frozen=True)
class Layer:
    """Words of a text layer in file order.

    `white` are those filled with white: seen only where their background is not. `note` says what was left
    out, as the rest of a sentence; "" if nothing was.
    """

    words: list[Word]
    white: frozenset[Word]
    note: str


def text_layer(page: pypdfium2.PdfPage, frame: Frame, key: str) -> Layer:
    """The words of a page; `key` of the document makes the names of its fonts unique."""
    text_page = page.get_textpage()
    try:
        count = max(0, pdfium.FPDFText_CountChars(text_page))
        found = _words(text_page, min(count, MOST_LETTERS), frame, key)
    finally:
        text_page.close()
    note = ""
    if count > MOST_LETTERS:
        note = f"has a text of {count:,} characters, of which the first {MOST_LETTERS:,} were read."
    return Layer([word for word, _ in found], frozenset(word for word, white in found if white), note)


def _words(text_page: pypdfium2.PdfTextPage, count: int, frame: Frame, key: str) -> list[tuple[Word, bool]]:
    """Words of the first `count` characters, and whether they are white."""
    codes, points = _characters(text_page, count)
    characters = [chr(code) for code in codes]
    width, height = frame.size
    boxes = frame.boxes(points) * (width, height, width, height)
    runs = _runs(text_page, characters, boxes, frame.quarter_turns)
    found, fonts = [], dict[int, str]()
    for run in _unspaced(_unkerned(text_page, runs)):
        text = "".join(normalised(run.text).split())
        x0, y0, x1, y1 = run.placed
        if text and 0 <= x0 + x1 <= 2 * width and 0 <= y0 + y1 <= 2 * height:  # outside: cropped away
            drawn, white = _paint(text_page, run.first)
            box = clipped(x0 / width, y0 / height, x1 / width, y1 / height)
            font = f"{key} {_font(text_page, run.first, fonts)}"
            found.append((Word(text, box, turn=run.turn, drawn=drawn, font=font), white))
    return found


def _font(text_page: pypdfium2.PdfTextPage, index: int, known: dict[int, str]) -> str:
    """The name of a character's font, which for a part of a font begins with a tag of its own."""
    font = pdfium.FPDFTextObj_GetFont(pdfium.FPDFText_GetTextObject(text_page, index))
    address = ctypes.cast(font, ctypes.c_void_p).value or 0
    if address not in known:
        name = ctypes.create_string_buffer(NAME)
        pdfium.FPDFFont_GetBaseFontName(font, name, NAME)
        known[address] = name.value.decode("utf-8", "replace")
    return known[address]


def _paint(text_page: pypdfium2.PdfTextPage, index: int) -> tuple[bool, bool]:
    """Whether a character is drawn at all, and whether it is only filled, with white."""
    item = pdfium.FPDFText_GetTextObject(text_page, index)
    mode = pdfium.FPDFTextObj_GetTextRenderMode(item)
    red, green, blue, alpha = channels = [ctypes.c_uint() for _ in range(4)]
    known = pdfium.FPDFText_GetFillColor(text_page, index, *map(ctypes.byref, channels))
    if mode != pdfium.FPDF_TEXTRENDERMODE_FILL or not known:
        return mode != pdfium.FPDF_TEXTRENDERMODE_INVISIBLE, False
    return alpha.value > 0, min(red.value, green.value, blue.value) >= WHITE


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


def _spans(characters: Sequence[str], boxes: NDArray[np.float64]) -> Iterator[tuple[int, int]]:
    """[start, end) of each word; words end at whitespace, a line's end or a jump in position."""
    size = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    apart = np.maximum(boxes[1:, :2] - boxes[:-1, 2:], boxes[:-1, :2] - boxes[1:, 2:]).max(1, initial=-1)
    jumps = apart > 1.2 * np.maximum(size[1:], size[:-1])
    start: int | None = None
    for i, character in enumerate(characters):
        inside = _is_inside(character)
        if start is not None and (not inside or jumps[i - 1] or characters[i - 1] in LINE_END):
            yield start, i
            start = None
        if inside and start is None:
            start = i
    if start is not None:
        yield start, len(characters)


def _is_inside(character: str) -> bool:
    """Whether a character is of a word: also a soft hyphen, and others that `normalised` removes."""
    if character.isprintable():
        return not character.isspace()
    return character in LINE_END or not normalised(character) or "\ud800" <= character <= "\udfff"


def _runs(
    text_page: pypdfium2.PdfTextPage, characters: Sequence[str], boxes: NDArray[np.float64], turned: int
) -> list[_Run]:
    """The words of a page whose `boxes`, in points, are turned by `turned` quarters."""
    spans = np.array(list(_spans(characters, boxes)), np.int64).reshape(-1, 2)
    if not len(spans):
        return []
    # Minima of [first, last) and of what follows; a row more, as a span may end at the last character.
    padded = np.concatenate([boxes, boxes[-1:]])
    low = np.minimum.reduceat(padded[:, :2], spans.ravel())[::2]
    high = np.maximum.reduceat(padded[:, 2:], spans.ravel())[::2]
    ahead = (boxes[spans[:, 1] - 1] - boxes[spans[:, 0]])[:, :2]
    rows = zip(spans.tolist(), np.concatenate([low, high], 1).tolist(), ahead.tolist(), strict=True)
    found = []
    for (first, last), box, (right, down) in rows:
        angle = pdfium.FPDFText_GetCharAngle(text_page, first)
        turn = (turned + round(angle * 2 / math.pi)) % 4
        if turn == 0 and down > abs(right):
            turn = 1  # vertical writing: upright letters, one below the other
        text = _text(characters[first:last])
        if right > 0 and turn == 0 and RIGHT_TO_LEFT.search(text):
            text = _logical(text)
        body = first + _is_drop_capital(boxes[first:last], box)
        if body > first:
            box = [*boxes[body:last, :2].min(0), *boxes[body:last, 2:].max(0)]
        found.append(_Run(first, last, turn, upright(box, turn), box, text))
    return found


def _is_drop_capital(rows: NDArray[np.float64], box: Sequence[float]) -> bool:
    """Whether a word's first letter is of several lines; it then is not of the word's line."""
    height = box[3] - box[1]
    if len(rows) < 3 or height < BIG * (rows[-1, 3] - rows[-1, 1]):
        return False
    heights = rows[:, 3] - rows[:, 1]
    return bool(heights[0] > BIG * heights[1:].max())


def _text(characters: Sequence[str]) -> str:
    """The characters of one word, with a visible hyphen at a line's end."""
    text = re.sub(f"[{LINE_END}]|\u00ad$", "-", "".join(characters))  # a soft hyphen is drawn there only
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _logical(text: str) -> str:
    """A word stored as its letters stand, from the left, in the order they are read from the right.

    >>> _logical("\\u05d2\\u05d1\\u05d0-12") == "12-\\u05d0\\u05d1\\u05d2"
    True
    """
    return LEFT_TO_RIGHT.sub(lambda found: found[0][::-1], text[::-1])


def _gap(a: _Run, b: _Run) -> float | None:
    """Gap between neighbours on one line, in line heights; None when they are on different lines."""
    height = min(a.height, b.height)
    middles = abs(a.box[1] + a.box[3] - b.box[1] - b.box[3]) / 2
    if a.turn != b.turn or height <= 0 or middles > 0.3 * height:
        return None
    return max(b.box[0] - a.box[2], a.box[0] - b.box[2]) / height


def _joined(runs: Sequence[_Run]) -> _Run:
    box, placed = _around([run.box for run in runs]), _around([run.placed for run in runs])
    text = "".join(run.text for run in runs)
    if RIGHT_TO_LEFT.search(text) and runs[-1].box[0] > runs[0].box[0]:
        text = _logical(text)
    return replace(runs[0], last=runs[-1].last, box=box, placed=placed, text=text)


def _around(boxes: Sequence[Sequence[float]]) -> Sequence[float]:
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1)


def _unkerned(text_page: pypdfium2.PdfTextPage, runs: list[_Run]) -> list[_Run]:
    """Words cut where the file moves a letter, and shows no gap, put together again."""
    found = runs[:1]
    for a, b in pairwise(runs):
        between = range(a.last, b.first)
        made_up = all(pdfium.FPDFText_IsGenerated(text_page, i) == 1 for i in between)
        gap = _gap(a, b) if made_up else None
        if gap is not None and abs(gap) < KERNED and a.text[-1:].isalpha() and b.text[:1].isalpha():
            found[-1] = _joined([found[-1], b])
            continue
        found.append(b)
    return found


def _unspaced(runs: list[_Run]) -> list[_Run]:
    """Single letters in a row, as in a spaced heading, put together as words, with digits and signs.

    Gaps between words are wider than those between letters.
    """
    found: list[_Run] = []
    at = 0
    while at < len(runs):
        end, gaps = at + 1, list[float]()
        while end < len(runs) and _is_single(runs[end - 1]) and _is_single(runs[end]):
            gap = _gap(runs[end - 1], runs[end])
            if gap is None or not 0 < gap < SPACED * 2:
                break
            gaps.append(gap)
            end += 1
        letters = sum(run.text.isalpha() for run in runs[at:end])
        signs = sum(not run.text.isalnum() for run in runs[at:end])
        if (
            letters < max(SPACED_LETTERS, 2 * signs)
            or median(gaps) >= SPACED
            or _are_words(runs, at, end, median(gaps))
        ):
            found += runs[at:end]
            at = end
            continue
        start = at
        for k, gap in enumerate(gaps, at + 1):
            if gap > 1.5 * median(gaps):
                found.append(_joined(runs[start:k]))
                start = k
        found.append(_joined(runs[start:end]))
        at = end
    return found


def _are_words(runs: list[_Run], first: int, end: int, between: float) -> bool:
    """Whether the letters are no further from the whole words beside them than from each other."""
    beside = [(runs[i - 1], runs[i]) for i in (first, end) if 0 < i < len(runs)]
    gaps = [_gap(a, b) for a, b in beside if max(len(a.text), len(b.text)) > 1]
    return any(gap is not None and 0 < gap <= 1.5 * between for gap in gaps)


def _is_single(run: _Run) -> bool:
    return len(run.text) == 1 and (run.text.isalnum() or run.text in SIGNS)
