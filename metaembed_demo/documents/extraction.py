"""Text extraction: text layer or OCR in reading order, followed by image tags and image views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from metaembed_demo.core.boxes import area, holds, overlap
from metaembed_demo.core.moments import moment_of
from metaembed_demo.core.types import Box, Page, View, Word

from . import language
from .image_colours import ground_share, is_blank
from .image_tags import MEDIA, Contents, ViewCells, cell_features, image_views, tag_image
from .ocr import Reading, recognise
from .reading_order import reading_order
from .reading_report import UNREAD_LINES, how, letter_count, notices
from .text_layer import believed, merged, uncovered

WORDS_IN_PICTURE = 12  # text-layer words from which an image is a background or an OCRed scan
READ_PICTURE = 0.05  # minimum share of the page area for OCR of an embedded image
PAGE_LETTERS = 80  # minimum alphanumerics of an image that is a page of text
TEXT_SHARE = 0.2  # word coverage from which such an image is a page of text
GROUND_SHARE = 0.85  # share of one colour from which it is one as well, e.g. a short letter
FEW_LETTERS = 12  # a page without raster images and with fewer letters is tagged as a drawing
SCAN = 0.5  # share of the page area from which a picture is a scan of it
WHOLE_PAGE = 0.5  # share of the page area without words from which all of it is read by OCR
STAMP = 1.8  # times as high as a word, from which a word of the layer lies over it as a stamp
COVERED = 0.4  # share of an OCR word under words of the text layer from which it is one of them
NOTHING = "has nothing on it that can be read or named, and was left out."
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


def read(page: Page) -> Page:
    """The page with all words: text in reading order, then image tags.

    The text layer is kept where it says what is drawn (text_layer.py); writing without it is read by OCR, be
    it a picture, an outline, or the whole page. Images that are not pages of text are also tagged. A page
    without an image keeps its words, in reading order; one of speech, as they are.
    """
    image, moment = page.image, moment_of(page.source, page.number)
    if moment and moment.modality == "speech":  # a page that was drawn from its words
        return replace(page, language=language.of(page.words))
    if image is None:
        return page.with_words(reading_order(page.words))
    if not page.words and is_blank(image):
        return replace(page.with_words(()), notices=("is blank, and was left out.",))
    scan = any(area(box) >= SCAN for box in page.pictures)
    layer, why = believed(image, page.words, scan)
    ink = _inked(layer, scan)
    readings, missing = list[tuple[Box, Reading]](), list[str]()
    try:
        parts = _unread_parts(page, layer, ink, scan)
        readings = [(box, _recognised(page, ink, box, scan)) for box in parts]
    except ImportError as error:
        if not layer:
            raise
        missing = [f"has writing that the text layer does not cover, and {error}."]
    seen = [_placed(word, box) for box, reading in readings for word in reading.words]
    seen = _without_doubles(seen, layer)
    ordered = seen if not layer else reading_order([*layer, *seen], image.width / image.height)
    tags = _tags(page, layer, seen, sum(_unread_lines(reading) for _, reading in readings))
    found = page.with_words([*ordered, *tags.words], tags.views)
    return replace(
        found,
        reading=how(page, layer, why, seen, readings),
        notices=(*notices(page, ordered, seen, readings), *missing, *([] if found.words else [NOTHING])),
        language=language.of(ordered),
    )


def read_image(image: Image.Image) -> Contents:
    """OCR words of an image in reading order, then its tags and views unless it is a page of text."""
    image = image.convert("RGB")
    reading = recognise(image)
    if is_text(image, reading.words, _unread_lines(reading)):
        return Contents(reading.words, ())
    tags = tag_image(image)
    return Contents((*reading.words, *tags.words), tags.views)


def _unread_lines(reading: Reading) -> int:
    """Number of lines found; at least UNREAD_LINES in a script that cannot be read."""
    return max(reading.lines, UNREAD_LINES) if reading.script else reading.lines


def _unread_parts(page: Page, layer: Sequence[Word], ink: Sequence[Word], scan: bool) -> list[Box]:
    """What OCR has to read: the whole page, or boxes of writing and of pictures without words.

    ink: words of the layer that account for what is drawn below their boxes.
    """
    assert page.image is not None
    if not layer:
        return [WHOLE]
    boxes = [_wider(box) for box in uncovered(page.image, ink)]
    if scan and 2 * sum(map(area, boxes)) > sum(area(word.box) for word in ink):
        return [WHOLE]  # a scan under a stamp
    kept = {word.box for word in layer}
    boxes += merged([_wider(word.box) for word in page.words if word.box not in kept])  # not believed
    for picture in page.pictures:
        if area(picture) > READ_PICTURE and not any(holds(picture, word.box) for word in layer):
            boxes = [*(box for box in boxes if not holds(picture, box)), picture]  # read as one
    return [WHOLE] if sum(map(area, boxes)) > WHOLE_PAGE else boxes


def _inked(layer: Sequence[Word], scan: bool) -> list[Word]:
    """Words of a layer that account for the ink below their boxes.

    Comments do not; over a scan, neither do stamps: their boxes are large or lie aslant over its words.
    """
    return [word for word in layer if word.font != "note" and not (scan and word.drawn)]


def _recognised(page: Page, ink: Sequence[Word], box: Box, scan: bool) -> Reading:
    assert page.image is not None
    if box == WHOLE and (scan or not ink):
        return recognise(page.image, page.full)
    crop = _crop(page.image, box)
    if min(crop.size) < 8:
        return Reading(())
    paper = tuple(np.median(np.asarray(crop)[::4, ::4].reshape(-1, 3), 0).astype(int).tolist())
    for word in ink:  # painted over, so that none is read again, or in half
        if overlap(word.box, box):
            crop.paste(paper, _pixels(_from(word.box, box), crop.size))
    return recognise(crop)


def _without_doubles(words: Sequence[Word], layer: Sequence[Word]) -> list[Word]:
    """OCR words without those that lie under words of the text layer of about their height, or the same."""
    lying = [word for word in layer if word.font != "note"]
    found = []
    for word in words:
        x0, y0, x1, y1 = word.box
        over = [w for w in lying if overlap(w.box, word.box)]
        shared = sum(
            (min(w.box[2], x1) - max(w.box[0], x0)) * (min(w.box[3], y1) - max(w.box[1], y0))
            for w in over
            if w.box[3] - w.box[1] <= STAMP * (y1 - y0)
        )
        if shared <= COVERED * area(word.box) and not any(w.text == word.text for w in over):
            found.append(word)
    return found


def _tags(page: Page, layer: Sequence[Word], seen: Sequence[Word], lines: int) -> Contents:
    """Tags and views of the page's pictures that are not pages of text."""
    assert page.image is not None
    boxes = [box for box in page.pictures if sum(holds(box, w.box) for w in layer) < WORDS_IN_PICTURE]
    if not page.pictures and letter_count([*layer, *seen]) < FEW_LETTERS:
        boxes = [WHOLE]
    words, views = list[Word](), list[View]()
    for box in boxes:
        crop = _crop(page.image, box)
        inside = [replace(w, box=_from(w.box, box)) for w in seen if holds(box, w.box)]
        if min(crop.size) < 8 or is_text(crop, inside, lines):
            continue
        tags = tag_image(crop)
        words += [_placed(word, box) for word in tags.words]
        views += [replace(view, box=_within(view.box, box)) for view in tags.views]
    return Contents(tuple(words), tuple(views))


def recompute_views(page: Page) -> tuple[ViewCells, ...]:
    """Views and cell features of the embedded images of an indexed page, recomputed from its image.

    Stored pages have words and an image but no views. Image boxes come from the MEDIA tag that every tagged
    image has.
    """
    if page.image is None:
        return ()
    boxes = [word.box for word in page.words if word.kind == "visual" and word.text in MEDIA]
    found = []
    for box in dict.fromkeys(boxes):
        crop = _crop(page.image, box)
        view = image_views(crop, regions=False)[0]
        found.append(ViewCells(replace(view, box=box), cell_features(crop)))
    return tuple(found)


def is_text(image: Image.Image, words: Sequence[Word], lines: int = 0) -> bool:
    """Whether an image is a page of text rather than a photograph or diagram.

    words: those that OCR read on it; lines: number of lines that it found, read or not.
    """
    letters = letter_count(words)
    if lines >= UNREAD_LINES and letters < 3 * lines:
        return ground_share(image) >= GROUND_SHARE
    if letters < PAGE_LETTERS:
        return False
    covered = sum(area(word.box) for word in words)
    return covered >= TEXT_SHARE or ground_share(image) >= GROUND_SHARE


def _wider(box: Box, edge: float = 0.01) -> Box:
    x0, y0, x1, y1 = box
    return max(0.0, x0 - edge), max(0.0, y0 - edge), min(1.0, x1 + edge), min(1.0, y1 + edge)


def _from(inner: Box, box: Box) -> Box:
    """`inner` converted from fractions of the page to fractions of `box`."""
    wide, high = max(box[2] - box[0], 1e-6), max(box[3] - box[1], 1e-6)
    x0, y0, x1, y1 = inner
    return (x0 - box[0]) / wide, (y0 - box[1]) / high, (x1 - box[0]) / wide, (y1 - box[1]) / high


def _crop(page: Image.Image, box: Box) -> Image.Image:
    return page.crop(_pixels(box, page.size))


def _pixels(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = box
    return round(x0 * size[0]), round(y0 * size[1]), round(x1 * size[0]), round(y1 * size[1])


def _placed(word: Word, box: Box) -> Word:
    """A word of an image at `box` on its page, with its box in page fractions.

    >>> _placed(Word("x", (0.5, 0.0, 1.0, 1.0)), (0.2, 0.4, 0.6, 0.8)).box
    (0.4, 0.4, 0.6, 0.8)
    """
    return replace(word, box=_within(word.box, box))


def _within(inner: Box, box: Box) -> Box:
    """`inner` converted from fractions of `box` to fractions of the page."""
    wide, high = box[2] - box[0], box[3] - box[1]
    x0, y0, x1, y1 = inner
    placed = (box[0] + x0 * wide, box[1] + y0 * high, box[0] + x1 * wide, box[1] + y1 * high)
    left, top, right, bottom = (round(value, 5) for value in placed)
    return left, top, right, bottom
