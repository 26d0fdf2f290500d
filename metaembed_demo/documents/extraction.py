"""Text extraction: text layer or OCR in reading order, followed by image tags and image views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from PIL import Image

from metaembed_demo.core.types import Box, Page, View, Word

from .image_colours import paper_share
from .image_tags import MEDIA, Contents, ViewCells, cell_features, image_views, tag_image
from .ocr import recognise, slope
from .reading_order import reading_order

LEAST_LETTERS = 12  # minimum alphanumerics of a usable text layer; a scan's page stamp has fewer
LEAST_LEGIBLE = 0.7  # minimum share of mapped characters; fonts without a Unicode map give fewer
WORDS_IN_PICTURE = 12  # text-layer words from which an image is a background or an OCRed scan
READ_PICTURE = 0.05  # minimum share of the page area for OCR of an embedded image
PAGE_LETTERS = 80  # minimum alphanumerics of an image that is a page of text
TEXT_SHARE = 0.2  # word coverage from which such an image is a page of text
PAPER_SHARE = 0.85  # share of one light colour from which it is one as well, e.g. a short letter


def read(page: Page) -> Page:
    """The page with all words: text in reading order, then image tags.

    Image files and pages without a usable text layer are read by OCR. Images, whole files or embedded, are
    also tagged unless they are pages of text. A page without an image keeps its words, in reading order.
    """
    if page.image is None:
        return page.with_words(reading_order(page.words))
    if not is_usable(page.words):
        return page.with_words(*read_image(page.image))
    aspect = page.image.width / page.image.height
    found, tags, views = list(page.words), list[Word](), list[View]()
    for box in page.pictures:
        inside = sum(_holds(box, word.box) for word in page.words)
        if inside < WORDS_IN_PICTURE:
            words, seen = _read_picture(page.image, box, with_text=inside == 0)
            found += words
            tags += seen.words
            views += seen.views
    return page.with_words([*reading_order(found, aspect), *tags], views)


def read_image(image: Image.Image) -> Contents:
    """OCR words of an image in reading order, then its tags and views unless it is a page of text."""
    image = image.convert("RGB")
    words = recognise(image)
    ordered = reading_order(words, image.width / image.height, slope(words))
    seen = _tagged(image, words)
    return Contents((*ordered, *seen.words), seen.views)


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


def is_usable(words: Sequence[Word]) -> bool:
    """Whether a text layer has enough legible text to replace OCR.

    >>> box = (0.1, 0.1, 0.2, 0.2)
    >>> is_usable([Word("Invoice", box), Word("2024-17", box)]), is_usable([Word("p.3", box)])
    (True, False)
    """
    text = "".join(word.text for word in words)
    legible = sum(c.isprintable() and c != "\ufffd" and not "\ue000" <= c <= "\uf8ff" for c in text)
    return sum(c.isalnum() for c in text) >= LEAST_LETTERS and legible >= LEAST_LEGIBLE * len(text)


def is_text(image: Image.Image, words: Sequence[Word]) -> bool:
    """Whether an image with the OCR `words` is a page of text rather than a photograph or diagram."""
    if sum(c.isalnum() for word in words for c in word.text) < PAGE_LETTERS:
        return False
    covered = sum((w.box[2] - w.box[0]) * (w.box[3] - w.box[1]) for w in words)
    return covered >= TEXT_SHARE or paper_share(image) >= PAPER_SHARE


def _tagged(image: Image.Image, words: Sequence[Word]) -> Contents:
    """Tags and views of an image with the OCR `words`; none if it is a page of text."""
    return Contents((), ()) if is_text(image, words) else tag_image(image)


def _read_picture(page: Image.Image, box: Box, with_text: bool) -> tuple[list[Word], Contents]:
    """OCR words (of a large image, `with_text`), tags and views of an embedded image, with page boxes."""
    crop = _crop(page, box)
    if min(crop.size) < 8:
        return [], Contents((), ())
    large = (box[2] - box[0]) * (box[3] - box[1]) > READ_PICTURE
    words = recognise(crop) if large and with_text else ()
    seen = _tagged(crop, words)
    views = tuple(replace(view, box=_within(view.box, box)) for view in seen.views)
    return [_placed(word, box) for word in words], Contents(
        tuple(_placed(word, box) for word in seen.words), views
    )


def _crop(page: Image.Image, box: Box) -> Image.Image:
    x0, y0, x1, y1 = box
    return page.crop(
        (round(x0 * page.width), round(y0 * page.height), round(x1 * page.width), round(y1 * page.height))
    )


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


def _holds(box: Box, inner: Box) -> bool:
    """Whether `box` contains the centre of `inner`."""
    x, y = (inner[0] + inner[2]) / 2, (inner[1] + inner[3]) / 2
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]
