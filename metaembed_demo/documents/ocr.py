"""OCR of a picture: words with boxes and confidences in reading order, whichever way the picture lies.

Small type in pictures larger than a page is read at full size, in tiles. Scripts that the recogniser does not
know go to tesseract where it is installed (other_scripts.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise, product
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from metaembed_demo.core.boxes import upright
from metaembed_demo.core.types import Box, Word

from . import other_scripts
from .image_colours import ground_share, is_drawing
from .ocr_engine import Line, Pixels, crop_lines, find_lines, pixels_of, read_lines
from .reading_order import reading_order

LEAST_SIDE = 8  # pixels; nothing lower can be read
COARSE_SIDE = 640  # pixels; a first detection pass that rules out most photographs
COARSE_GROUND = 0.5  # share of one colour from which the first pass is skipped
LEAST_SCORE = 0.7  # minimum mean confidence of a line in a picture; below, it is mostly texture
LEAST_ON_PAPER = 0.5  # of one on plain ground, where a line is a line
SHORT = {1: 0.95, 2: 0.85, 3: 0.85}  # minimum by number of characters: round shapes are read as an O
UPRIGHT = 1.5  # height : width from which a line is cut out turned by a quarter
TRIED = 4  # lines that are read both ways to find out how a picture lies
SURE = 0.85  # mean confidence from which a reading needs no other try
FAIR = 0.75  # mean confidence that the better reading must have; unknown scripts have less either way
BETTER = 0.08  # more than this is a better reading, not chance
TILE = 1152  # pixels a side, of a picture read at full size
OVERLAP = 96  # pixels between tiles, more than a line is high
MOST_TILES = 16  # of one page: about fifteen seconds on two cores
STRANGE, MOSTLY_STRANGE = 0.15, 0.7  # shares of the lines' length, between which some are read apart
SPARSE = 0.35  # letters per line height of width; readings of unknown scripts have fewer
MUCH_LARGER = 1.8  # times as many pixels a side, from which two tiles are tried at full size
MORE_LINES = (1.5, 3)  # times as many lines, and so many in addition, that a tile must have to read all
Full = Callable[[], Image.Image | None]
Quads = NDArray[np.float32]  # (n, 4, 2) corners of lines, clockwise from the top left, in pixels


class Reading(NamedTuple):
    """What OCR found.

    words: of kind "ocr", in reading order, boxes as fractions of the picture as given.
    lines: number of lines that detection found, read or not.
    turn: quarter turns (to the right) by which the text lies.
    script: one that the recogniser cannot read; `engine` is then "tesseract", or "" where it cannot either,
        or "PP-OCR and tesseract" where some lines alone are in that script.
    """

    words: tuple[Word, ...]
    lines: int = 0
    turn: int = 0
    script: str = ""
    engine: str = "PP-OCR"
    tiles: int = 1


def confidence(words: Sequence[Word]) -> float:
    """Mean confidence of the letters; 0 without any."""
    return sum(w.confidence * len(w.text) for w in words) / max(1, sum(len(w.text) for w in words))


def recognise(image: Image.Image, full: Full | None = None) -> Reading:
    """Read a picture. `full` gives it at full size where `image` is scaled down, else None.

    Raises ImportError when a package is missing.
    """
    if min(image.size) < LEAST_SIDE:  # detection makes squares of strips
        return Reading(())
    plain = ground_share(image) >= COARSE_GROUND
    # The first pass misses small type on plain ground; in photographs, larger type gives the text away.
    if not plain and not _may_have_text(image):
        return Reading(())
    pixels, quads, tiles = _detected(image, full if plain or _is_strip(image) else None)
    if not len(quads):
        return Reading((), tiles=tiles)
    turn = _turn(pixels, quads)
    if turn:
        pixels = np.ascontiguousarray(np.rot90(pixels, turn))
        quads = _in_tiles(pixels) if tiles > 1 else find_lines(pixels)
    words, script, engine = _read(pixels, quads, plain)
    height, width = pixels.shape[:2]
    ordered = reading_order(words, width / height, slope(words))
    back = tuple(replace(word, box=upright(word.box, -turn), turn=turn) for word in ordered)
    return Reading(back, len(quads), turn, script, engine, tiles)


def slope(words: Sequence[Word]) -> float:
    """Downward slope of text lines, in image heights per image width; 0 with too few word pairs."""
    rises = [
        (b.box[1] + b.box[3] - a.box[1] - a.box[3]) / (b.box[0] + b.box[2] - a.box[0] - a.box[2])
        for a, b in pairwise(words)
        if a.box[2] <= b.box[0] + 0.002 and b.box[0] - a.box[2] < 0.03
        if abs(b.box[1] - a.box[1]) < 0.5 * (a.box[3] - a.box[1])
        if b.box[0] + b.box[2] > a.box[0] + a.box[2]
    ]
    return median(rises) if len(rises) >= 8 else 0.0


# Finding lines


def _may_have_text(image: Image.Image) -> bool:
    small = image.copy()
    small.thumbnail((COARSE_SIDE, COARSE_SIDE), reducing_gap=2.0)
    return small.size == image.size or len(find_lines(pixels_of(small))) > 0


def _is_strip(image: Image.Image) -> bool:
    """Whether a picture is so long that no line is left of its text when it is scaled down."""
    return max(image.size) > 3 * min(image.size)


def _detected(image: Image.Image, full: Full | None) -> tuple[Pixels, Quads, int]:
    """Pixels, the lines on them, and the number of tiles that it took."""
    pixels = pixels_of(image)
    quads = find_lines(pixels)
    whole = full() if full is not None else None
    if whole is None or max(whole.size) <= max(image.size):
        return pixels, quads, 1
    large = pixels_of(_bounded(whole))
    # Made by a program, not scanned: its type may have any size.
    if not len(quads) or is_drawing(image) or _is_strip(image) or _misses_lines(large, pixels, quads):
        return large, _in_tiles(large), sum(1 for _ in _tiles(large))
    return pixels, quads, 1


def _bounded(whole: Image.Image) -> Image.Image:
    """At most as large as MOST_TILES are."""
    room = (MOST_TILES * (TILE - OVERLAP) ** 2 / (whole.width * whole.height)) ** 0.5
    if room >= 1:
        return whole
    size = max(1, int(whole.width * room)), max(1, int(whole.height * room))
    return whole.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def _misses_lines(large: Pixels, small: Pixels, quads: Quads) -> bool:
    """Whether two tiles of the picture at full size, the fullest, have far more lines than were found."""
    scale = large.shape[1] / small.shape[1]
    if scale < MUCH_LARGER:
        return False
    middles = quads.mean(1) * scale
    tiles = list(_tiles(large))
    thinned = [large[y0:y1:4, x0:x1:4, 1].astype(np.int16) for (x0, y0, x1, y1), _ in tiles]
    ink = [int(np.abs(np.diff(tile)).sum()) for tile in thinned]
    for i in np.argsort(ink)[::-1][:2]:
        (x0, y0, x1, y1), _ = tiles[i]
        known = int(((middles >= (x0, y0)) & (middles < (x1, y1))).all(1).sum())
        seen = len(find_lines(np.ascontiguousarray(large[y0:y1, x0:x1])))
        if seen >= MORE_LINES[0] * known + MORE_LINES[1]:
            return True
    return False


def _in_tiles(pixels: Pixels) -> Quads:
    """Lines of a picture larger than the detector sees. A line belongs to the tile that has its middle."""
    found = [np.zeros((0, 4, 2), np.float32)]
    for (x0, y0, x1, y1), (left, top, right, bottom) in _tiles(pixels):
        tile = np.ascontiguousarray(pixels[y0:y1, x0:x1])
        if int(tile.max()) - int(tile.min()) < 16:
            continue  # blank
        quads = find_lines(tile)
        quads = quads + np.array([x0, y0], np.float32) if len(quads) else quads
        for quad in quads:
            x, y = quad.mean(0)
            if left <= x < right and top <= y < bottom:
                found.append(quad[None])
    return np.concatenate(found)


def _tiles(pixels: Pixels) -> Iterator[tuple[tuple[int, int, int, int], tuple[int, int, int, int]]]:
    """Each tile with its margin, and without: the parts without fill the picture."""
    height, width = pixels.shape[:2]
    xs, ys = (_cuts(side) for side in (width, height))
    for (top, bottom), (left, right) in product(pairwise(ys), pairwise(xs)):
        half = OVERLAP // 2
        around = max(0, left - half), max(0, top - half), min(width, right + half), min(height, bottom + half)
        yield around, (left, top, right, bottom)


def _cuts(side: int) -> list[int]:
    """
    >>> _cuts(1000), _cuts(3000)
    ([0, 1000], [0, 1000, 2000, 3000])
    """
    parts = max(1, -(-(side - OVERLAP) // (TILE - OVERLAP)))
    return [round(i * side / parts) for i in range(parts + 1)]


# Which way it lies


def _turn(pixels: Pixels, quads: Quads) -> int:
    """Quarter turns to the right by which the text lies: its longest lines, read both ways, tell."""
    across = np.linalg.norm(quads[:, 1] - quads[:, 0], axis=1)
    down = np.linalg.norm(quads[:, 3] - quads[:, 0], axis=1)
    sideways = bool((down * (down >= UPRIGHT * across)).sum() > (across * (down < UPRIGHT * across)).sum())
    fit = quads[(down >= UPRIGHT * across) == sideways]
    longest = fit[np.argsort(-_lengths(fit))[:TRIED]]
    crops = crop_lines(pixels, longest)
    score = _mean(read_lines(crops))
    upside_down = False
    if score < SURE:
        over = _mean(read_lines([np.ascontiguousarray(crop[::-1, ::-1]) for crop in crops]))
        upside_down = over > score + BETTER and over >= FAIR
    # Lines of text that lies to the right are cut out turned left, hence upright.
    return (3 if upside_down else 1) if sideways else (2 if upside_down else 0)


def _lengths(quads: Quads) -> NDArray[np.float32]:
    sides = np.linalg.norm(quads[:, [1, 3]] - quads[:, [0]], axis=2)
    longest: NDArray[np.float32] = sides.max(1)
    return longest


def _mean(lines: Sequence[Line]) -> float:
    """Mean confidence, of letters: lines of blanks count as unread."""
    return float(np.mean([line.score if line.text else 0.0 for line in lines])) if lines else 0.0


# Reading lines


def _read(pixels: Pixels, quads: Quads, plain: bool) -> tuple[list[Word], str, str]:
    """Words, a script that PP-OCR cannot read, which may be all or some of them, and the engine."""
    crops = crop_lines(pixels, quads)
    lines = read_lines(crops)
    shapes = [crop.shape[1] / max(1, crop.shape[0]) for crop in crops]
    scale = np.array([pixels.shape[1], pixels.shape[0]], dtype=np.float64)
    least = LEAST_ON_PAPER if plain else LEAST_SCORE
    by_line = [
        list(_words(quad, line, scale)) if line.score >= SHORT.get(len(line.text), least) else []
        for quad, line in zip(quads / scale, lines, strict=True)
    ]
    words = [word for found in by_line for word in found]
    sparse = [_is_sparse(line.text, shape) for line, shape in zip(lines, shapes, strict=True)]
    if len(lines) < 2:
        return words, "", "PP-OCR"
    strange = [none or line.score < SURE for none, line in zip(sparse, lines, strict=True)]
    unread, long = (
        sum(shape for shape, odd in zip(shapes, some, strict=True) if odd) / sum(shapes)
        for some in (sparse, strange)
    )
    result = words, "", "PP-OCR"
    if plain and any(sparse) and (sum(strange) >= 2 or long >= STRANGE) and long <= MOSTLY_STRANGE:
        result = _read_apart(pixels, quads, by_line, strange)
        if result[2] == "PP-OCR and tesseract":
            return result
    weak = unread > 0.5 or other_scripts.is_weak("".join(line.text for line in lines))
    if weak or (plain and _mean(lines) < SURE):
        other = other_scripts.read(_picture(pixels))
        if other.words and (weak or _is_better(other.words, words)):
            return list(other.words), other.script, "tesseract"
        if weak:
            return words, other.script or "an unknown script", ""
    return result


def _read_apart(
    pixels: Pixels, quads: Quads, by_line: Sequence[list[Word]], strange: Sequence[bool]
) -> tuple[list[Word], str, str]:
    """As `_read`, with the strange lines read by tesseract if they are in another script."""
    apart = np.empty_like(pixels)
    apart[:] = np.median(pixels[::8, ::8].reshape(-1, 3), axis=0).astype(np.uint8)  # the ground
    for quad, odd in zip(quads, strange, strict=True):
        if odd:
            pad = 0.2 * min(np.ptp(quad, axis=0))
            x0, y0 = np.maximum(quad.min(0) - pad, 0).astype(int)
            x1, y1 = (quad.max(0) + pad).astype(int) + 1
            apart[y0:y1, x0:x1] = pixels[y0:y1, x0:x1]
    other = other_scripts.read(_picture(apart))
    words = [word for found in by_line for word in found]
    ours = [word for found, odd in zip(by_line, strange, strict=True) if odd for word in found]
    if _is_better(other.words, ours):
        rest = [word for found, odd in zip(by_line, strange, strict=True) if not odd for word in found]
        return [*rest, *other.words], other.script, "PP-OCR and tesseract"
    blank = sum(odd and not found for found, odd in zip(by_line, strange, strict=True))
    if blank >= 2 and not other.words and (other.script or not other_scripts.is_installed()):
        return words, other.script or "an unknown script", ""
    return words, "", "PP-OCR"


def _is_better(other: Sequence[Word], ours: Sequence[Word]) -> bool:
    """Whether tesseract has read in another script what is a poor reading of ours."""
    if not other:
        return False
    sure, poor = confidence(other), confidence(ours)
    letters, few = (sum(len(word.text) for word in words) for words in (other, ours))
    return sure > poor + BETTER and letters > 0.5 * few


def _picture(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels[:, :, ::-1])


def _is_sparse(text: str, shape: float) -> bool:
    """Whether a line of this width : height has far fewer letters than writing has."""
    return shape >= 4 and sum(map(str.isalnum, text)) < SPARSE * shape


def _words(quad: NDArray[np.float64], line: Line, scale: NDArray[np.float64]) -> Iterator[Word]:
    """Words of one line; `quad` (4, 2) in fractions, `scale` (2,) the image's width and height."""
    across, down = np.linalg.norm((quad[1] - quad[0]) * scale), np.linalg.norm((quad[3] - quad[0]) * scale)
    if down >= UPRIGHT * across:  # the crop was turned: its left edge is the line's top
        quad = quad[[1, 2, 3, 0]]
    for text, first, last, confidence in line.words:
        yield Word(text, _between(quad, first, last), "ocr", round(confidence, 3))


def _between(quad: NDArray[np.float64], first: float, last: float) -> Box:
    """The axis-aligned box of a line from `first` to `last` (fractions of its length)."""
    top, bottom = quad[1] - quad[0], quad[2] - quad[3]
    corners = [quad[0] + first * top, quad[0] + last * top, quad[3] + first * bottom, quad[3] + last * bottom]
    low, high = np.clip(np.min(corners, 0), 0, 1), np.clip(np.max(corners, 0), 0, 1)
    x0, y0, x1, y1 = (round(float(value), 5) for value in (*low, *high))
    return x0, y0, x1, y1
