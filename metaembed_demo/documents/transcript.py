"""A page of spoken words: drawn below the frame that is shown meanwhile, so that each word has a place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from metaembed_demo.core.config import RENDER
from metaembed_demo.core.types import Box, Word

WIDTH, MARGIN = 1200, 40  # pixels
LEAST = 675  # of a page's height
FRAME_HEIGHT = 700  # at most
SIZES = (
    (48, 1000),
    (30, RENDER.max_side),
    (18, RENDER.max_side),
    (12, RENDER.max_side),  # of the widest letters
)  # of type, up to a height
LINE = 1.4  # times the size of type
MOST_LETTERS = 4_000  # of a page
EAST = 0x2E80  # characters from here on, up to Korean, need a font of their own
FONTS, EASTERN = ("DejaVuSans.ttf",), ("NotoSansCJK-Regular.ttc", "wqy-zenhei.ttc", "msgothic.ttc")


class Placed(NamedTuple):
    """A word, its left and upper edge and its width, in pixels from the corner of the text."""

    text: str
    x: float
    y: float
    width: float


def drawn(text: str, frame: Image.Image | None) -> tuple[Image.Image, tuple[Word, ...]]:
    """The page of a text of at most MOST_LETTERS, and its words."""
    top = Image.new("RGB", (0, 0)) if frame is None else _fitted(frame)
    for size, most in SIZES:
        font = _font(text, size)
        words = list(_lines(text, font, size))
        height = round(top.height + 2 * MARGIN + words[-1].y + LINE * size)
        if height <= most:
            break
    page = Image.new("RGB", (WIDTH, min(max(height, LEAST), RENDER.max_side)), "white")
    page.paste(top, ((WIDTH - top.width) // 2, 0))
    draw, found = ImageDraw.Draw(page), list[Word]()
    for word in words:
        x, y = MARGIN + word.x, top.height + MARGIN + word.y
        draw.text((x, y), word.text, "black", font)
        edges = x, y, min(x + word.width, WIDTH), y + 1.2 * size
        found.append(Word(word.text, _box(edges, page.size)))
    return page, tuple(found)


def _fitted(frame: Image.Image) -> Image.Image:
    scale = min(WIDTH / frame.width, FRAME_HEIGHT / frame.height)
    return frame.resize((max(1, round(frame.width * scale)), max(1, round(frame.height * scale))))


def _font(text: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font of this machine, else Pillow's own, which has Latin letters."""
    for name in (*(EASTERN if any(ord(letter) >= EAST for letter in text) else ()), *FONTS):
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)


def _lines(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, size: int) -> Iterator[Placed]:
    """Words in lines of the page's width; those without an end, as of Japanese, are cut where a line ends."""
    x, y, room, space = 0.0, 0.0, WIDTH - 2 * MARGIN, 0.3 * size
    for word in text.split():
        rest = word
        while rest:
            part, left = rest, room - x if len(word) > 1 and font.getlength(word) > room else room
            while len(part) > 1 and font.getlength(part) > left:
                part = part[: max(1, min(len(part) - 1, int(len(part) * left / font.getlength(part))))]
            width = font.getlength(part)
            if x and x + width > room:
                x, y = 0.0, y + LINE * size
                continue
            yield Placed(part, x, y, width)
            x, rest = x + width + space, rest[len(part) :]


def _box(edges: tuple[float, float, float, float], size: tuple[int, int]) -> Box:
    left, top, right, bottom = edges
    found = left / size[0], top / size[1], right / size[0], bottom / size[1]
    return round(found[0], 5), round(found[1], 5), round(found[2], 5), round(min(found[3], 1.0), 5)
