"""Whether a text layer says what is drawn: tried on a few lines of each font, measured against the ink.

Layers lie in many ways: fonts without a character map, letters shifted or in a foreign code page, a poor
old OCR layer, a stamp over a scan. So a few lines are cut out by the layer's own boxes and recognised, once
for a font of a document, and for each page that is a scan; and ink that looks like writing but has no words
is found.
"""

from __future__ import annotations

import unicodedata
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from metaembed_demo.core.boxes import area, overlap
from metaembed_demo.core.types import Box, Word

from .ocr_engine import Line, Pixels, pixels_of, read_lines

TRIED = 3  # lines of a font
LEAST_LETTERS = 4  # of a font that is tried, and of a line
MOST_LETTERS = 20  # of a line that is tried: a short one is read faster
SURE = 0.8  # confidence of a recognition that may contradict the layer
VERY_SURE = 0.95  # of one that may contradict a layer in a script that it does not know
LEAST_LATIN = 8  # letters that it must see then
AGREES = 0.55  # similarity from which a layer is right about a line: recognition errs, in small type most
AGREES_SCAN = 0.85  # of a layer over a scan, which OCR made: errors that OCR would not make today
FOREIGN = 0.5  # share of letters from A-grave to y-diaeresis that no language written in Latin letters has
LEAST_LEGIBLE = 0.7  # minimum share of mapped characters; fonts without a Unicode map give fewer
CODE_PAGES = ("cp1251", "koi8_r", "mac_cyrillic", "iso8859_5", "cp1253")
FREQUENT = frozenset("оеаинтсрвлαοιετσνηυρ")  # the ten most frequent letters of Russian and of Greek
LEAST_FREQUENT = 0.55  # their share in a text; about 0.65 in both languages
# Scripts in which the recogniser can contradict a layer.
KNOWN = ("LATIN", "DIGIT", "CJK", "HIRAGANA", "KATAKANA", "FULLWIDTH")
SIDE = 750  # pixels of the longer side, about, on which ink is measured
EDGE = 24  # of 255; a step between neighbours that is ink
LEAST_MARKS = 2  # letter-sized marks in rows, of a region that may be writing
MOST_MARKS = 500  # that are compared
LEAST_REGION = 0.0001  # of the page area
MOST_REGIONS = 12  # more are read as one
MOST_VERDICTS = 512
WRONG = "it does not say what is drawn"
_verdicts: OrderedDict[str, bool] = OrderedDict()  # font -> whether its letters are right


class Group(NamedTuple):
    """Words of one font; `font` is "" where the verdict is for this page alone. `least`: see AGREES."""

    words: list[Word]
    font: str
    least: float


def believed(image: Image.Image, words: Sequence[Word], scan: bool) -> tuple[list[Word], list[str]]:
    """The words that are drawn as the layer says, and reasons why others are left out or were mended.

    Comments, which are not drawn, are kept.

    Args:
        scan: whether the words lie over a picture of a page, so that an OCR program may have written them.
    """
    groups: dict[tuple[str, bool], list[Word]] = {}
    for word in words:
        groups.setdefault((word.font, scan or not word.drawn), []).append(word)
    kept: dict[int, Word] = {}  # by the identity of the layer's word
    why: list[str] = []
    doubtful: list[Group] = []
    for (font, by_ocr), group in groups.items():
        if font == "note":
            kept |= {id(word): word for word in group}
            continue
        legible = [word for word in group if _is_legible(word.text)]
        if len(legible) < len(group):
            why.append("some of its letters have no meaning (the font lacks a character map)")
        if mended := _mended(legible):
            kept |= {id(word): better for word, better in zip(legible, mended, strict=True)}
            why.append("letters stored in a foreign code page were mended")
        elif by_ocr or not font or font not in _verdicts:
            doubtful.append(Group(legible, "" if by_ocr else font, AGREES_SCAN if by_ocr else AGREES))
        elif _verdicts[font]:
            kept |= {id(word): word for word in legible}
        else:
            why.append(WRONG)
    for tried, is_right in zip(doubtful, _agree(image, doubtful), strict=True):
        if tried.font:
            _remember(tried.font, is_right)
        if is_right:
            kept |= {id(word): word for word in tried.words}
        else:
            why.append(WRONG)
    return [kept[id(word)] for word in words if id(word) in kept], list(dict.fromkeys(why))


def _remember(font: str, is_right: bool) -> None:
    _verdicts[font] = is_right
    if len(_verdicts) > MOST_VERDICTS:
        _verdicts.popitem(last=False)


def _is_legible(text: str) -> bool:
    good = sum(c.isprintable() and c != "\ufffd" and not "\ue000" <= c <= "\uf8ff" for c in text)
    return good >= LEAST_LEGIBLE * len(text)


# Comparing with recognition


def _agree(image: Image.Image, groups: Sequence[Group]) -> list[bool]:
    """Whether recognition does not contradict most of a few lines of each group.

    One line is enough where it agrees, as it nearly always does: a line takes as long as drawing half a page.
    """
    lines = [list(_lines(group.words)) for group in groups]
    chosen = [[each[i] for i in _spread(len(each))] for each in lines]
    votes = [0] * len(groups)
    for first, last in ((0, 1), (1, TRIED)):
        asked = [
            (at, line)
            for at, each in enumerate(chosen)
            if first == 0 or votes[at] < 1
            for line in each[first:last]
        ]
        try:
            read = read_lines([_crop(image, line) for _, line in asked])
        except ImportError:  # OCR is not installed, so nothing can contradict
            return [True] * len(groups)
        for (at, line), found in zip(asked, read, strict=True):
            votes[at] += _vote("".join(word.text for word in line), found, groups[at].least)
    return [vote >= 0 for vote in votes]


def _spread(count: int) -> list[int]:
    """Up to TRIED of `count` lines: one in the middle, then the first and the last.

    >>> _spread(9), _spread(2), _spread(0)
    ([4, 0, 8], [1, 0], [])
    """
    return list(dict.fromkeys([count // 2, 0, count - 1]))[: min(TRIED, count)] if count else []


def _vote(said: str, found: Line, least: float) -> int:
    """1 for the layer, -1 against it, 0 where recognition is not sure."""
    said, seen = _letters(said), _letters(found.text)
    if said and SequenceMatcher(None, said, seen, autojunk=False).ratio() >= least:
        return 1
    known = sum(unicodedata.name(c, "").startswith(KNOWN) for c in said)
    if not said or known < 0.8 * len(said):  # the recogniser would not know it, but knows what is there
        latin = sum(c.isascii() and c.isalpha() for c in seen)
        return -1 if found.score >= VERY_SURE and latin >= LEAST_LATIN else 0
    # A script that it does not know reads as blanks, of which it is sure.
    strange = not seen and len(said) >= LEAST_LATIN
    return -1 if found.score >= SURE and (strange or len(seen) >= LEAST_LETTERS) else 0


def _letters(text: str) -> str:
    """Letters and digits without case and accents."""
    bare = unicodedata.normalize("NFKD", text).casefold()
    return "".join(c for c in bare if c.isalnum())


def _lines(words: Sequence[Word]) -> Iterator[list[Word]]:
    """Runs of words side by side, of LEAST_LETTERS to about MOST_LETTERS letters that recognition knows."""
    run: list[Word] = []
    for word in words:
        if run and not (_follows(run[-1], word) and sum(len(w.text) for w in run) < MOST_LETTERS):
            yield from _fit(run)
            run = []
        run.append(word)
    yield from _fit(run)


def _fit(run: list[Word]) -> Iterator[list[Word]]:
    letters = [c for word in run for c in word.text if c.isalnum()]
    signs = sum(len(word.text) for word in run)
    if len(letters) >= LEAST_LETTERS or (not letters and signs >= LEAST_LETTERS):
        yield run


def _follows(a: Word, b: Word) -> bool:
    height = max(a.box[3] - a.box[1], 1e-6)
    if a.turn or b.turn:
        return False
    same_line = abs(a.box[1] - b.box[1]) < 0.3 * height and abs(a.box[3] - b.box[3]) < 0.3 * height
    return same_line and -0.2 * height < b.box[0] - a.box[2] < 1.5 * height


def _crop(image: Image.Image, words: Sequence[Word]) -> Pixels:
    boxes = np.array([word.box for word in words])
    (x0, y0), (x1, y1) = boxes[:, :2].min(0) * image.size, boxes[:, 2:].max(0) * image.size
    edge = 0.1 * (y1 - y0) + 1
    top, left = max(0, int(y0 - edge)), max(0, int(x0 - edge))
    bottom, right = max(top + 2, int(y1 + edge)), max(left + 2, int(x1 + edge))
    crop = pixels_of(image.crop((left, top, right, bottom)))
    return np.ascontiguousarray(np.rot90(crop, words[0].turn))


# Foreign code pages


def _mended(words: Sequence[Word]) -> list[Word]:
    """Words whose Cyrillic or Greek letters were stored as Latin-1, as they were meant; none for others."""
    letters = [c for word in words for c in word.text if c.isalpha()]
    if sum("\xc0" <= c <= "\xff" for c in letters) <= FOREIGN * max(LEAST_LETTERS, len(letters)):
        return []
    best, found = LEAST_FREQUENT, list[Word]()
    for code_page in CODE_PAGES:
        texts = [_decoded(word.text, code_page) for word in words]
        lower = [c.lower() for text in texts for c in text if c.isalpha()]
        share = sum(unicodedata.normalize("NFD", c)[0] in FREQUENT for c in lower) / len(letters)
        if len(lower) >= 0.5 * len(letters) and share > best:
            best = share
            found = [replace(word, text=text) for text, word in zip(texts, words, strict=True)]
    return found


def _decoded(text: str, code_page: str) -> str:
    try:
        return text.encode("cp1252").decode(code_page)
    except UnicodeError:
        return text


# Ink without words


def uncovered(image: Image.Image, words: Sequence[Word]) -> list[Box]:
    """Boxes of ink that looks like writing and that none of `words` covers, as fractions of `image`."""
    # Green is nearly the lightness, and needs no pass of its own.
    small = image.getchannel("G").reduce(max(1, round(max(image.size) / SIDE)))
    size = small.size
    grey = np.asarray(small, np.int16)
    edges = np.zeros(grey.shape, np.uint8)
    edges[:, 1:] |= np.abs(np.diff(grey, axis=1)) > EDGE
    edges[1:] |= np.abs(np.diff(grey, axis=0)) > EDGE
    edges = _without_rules(edges)
    for word in words:
        x0, y0, x1, y1 = np.array(word.box) * (size * 2)
        edges[max(0, int(y0) - 2) : int(y1) + 3, max(0, int(x0) - 2) : int(x1) + 3] = 0
    boxes = [_fraction(box, size) for box in _blocks(edges) if _is_writing(edges, box)]
    boxes = merged([box for box in boxes if area(box) >= LEAST_REGION])
    if len(boxes) > MOST_REGIONS:
        corners = np.array(boxes)
        x0, y0, x1, y1 = (float(edge) for edge in (*corners[:, :2].min(0), *corners[:, 2:].max(0)))
        return [(x0, y0, x1, y1)]
    return boxes


def _without_rules(edges: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Without straight lines: of tables, frames and axes."""
    for shape in ((25, 1), (1, 25)):
        long = cv2.morphologyEx(edges, cv2.MORPH_OPEN, np.ones(shape, np.uint8))
        edges = edges & ~np.asarray(long, np.uint8)
    return edges


def _blocks(edges: NDArray[np.uint8]) -> Iterator[tuple[int, int, int, int]]:
    """Boxes of ink whose parts lie nearer than about two lines of type."""
    near = cv2.dilate(edges, np.ones((9, 21), np.uint8))
    count, _, stats, _ = cv2.connectedComponentsWithStats(near)
    for x, y, width, height, _ in stats[1:count].tolist():
        yield x, y, x + width, y + height


def _is_writing(edges: NDArray[np.uint8], box: tuple[int, int, int, int]) -> bool:
    """Whether there are several marks of the size of letters, each beside others of its height."""
    x0, y0, x1, y1 = box
    count, _, stats, _ = cv2.connectedComponentsWithStats(np.ascontiguousarray(edges[y0:y1, x0:x1]))
    left, top, width, height = stats[1:count, :4].T.astype(np.float64)
    marks = (height >= 4) & (height <= 120) & (width >= 3) & (width <= 300)
    left, top, width, height = (side[marks][:MOST_MARKS] for side in (left, top, width, height))
    bottom, taller = top + height, np.maximum(height, height[:, None])
    shared = np.minimum(bottom, bottom[:, None]) - np.maximum(top, top[:, None])
    level = shared > 0.5 * np.minimum(height, height[:, None])
    alike = np.minimum(height, height[:, None]) > 0.4 * taller
    apart = np.maximum(left, left[:, None]) - np.minimum(left + width, (left + width)[:, None])
    beside = (level & alike & (apart < 2.5 * taller)).sum(1) - 1
    return int((beside >= 1).sum()) >= LEAST_MARKS


def merged(boxes: Sequence[Box]) -> list[Box]:
    """Boxes joined where they overlap."""
    found: list[Box] = []
    for box in boxes:
        while (other := next((b for b in found if overlap(b, box)), None)) is not None:
            found.remove(other)
            box = (min(box[0], other[0]), min(box[1], other[1]), max(box[2], other[2]), max(box[3], other[3]))
        found.append(box)
    return found


def _fraction(box: Sequence[int], size: tuple[int, int]) -> Box:
    x0, y0, x1, y1 = (round(float(v) / side, 5) for v, side in zip(box, size * 2, strict=True))
    return x0, y0, min(1.0, x1), min(1.0, y1)
