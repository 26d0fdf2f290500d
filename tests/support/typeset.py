"""Pictures of typeset text, and the words on them with their boxes."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from metaembed_demo.core.types import Word

SANS = "DejaVuSans.ttf"
MONO = "DejaVuSansMono.ttf"


def typeset(
    lines: Sequence[str],
    size: tuple[int, int] = (992, 1403),
    *,
    points: int = 22,
    ink: str = "black",
    paper: str = "white",
    font: str = SANS,
    at: tuple[int, int] = (90, 110),
    leading: float = 1.7,
) -> tuple[Image.Image, list[Word]]:
    """The picture, and its words in reading order."""
    image = Image.new("RGB", size, paper)
    draw, letters = ImageDraw.Draw(image), ImageFont.truetype(font, points)
    words = []
    for row, line in enumerate(lines):
        x, y = float(at[0]), at[1] + round(row * points * leading)
        for text in line.split():
            draw.text((x, y), text, fill=ink, font=letters)
            end = x + draw.textlength(text, font=letters)
            box = (x / size[0], y / size[1], end / size[0], (y + 1.2 * points) / size[1])
            words.append(Word(text, box))
            x = end + draw.textlength(" ", font=letters)
    return image, words
