"""Which words of a text layer the picture of their page shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from metaembed_demo.core.types import Word

CONTRAST = 6  # of 255: a box with less in every colour shows nothing; pale watermarks have 20
LEAST_PIXELS = 3  # of a box's shorter side; a word of fewer may be drawn a row away
EDGE = 0.12  # of a box's shorter side, left out: rules and underlines are no letters


@dataclass(frozen=True)
class Ink:
    """The pixels of a page's picture."""

    pixels: np.ndarray  # (height, width, 3) uint8

    @classmethod
    def of(cls, image: Image.Image) -> Ink:
        return cls(np.asarray(image.convert("RGB")))

    def shows(self, word: Word) -> bool:
        """Whether anything contrasts in the word's box. True for one too small to be judged."""
        height, width = self.pixels.shape[:2]
        x0, y0, x1, y1 = word.box
        x0, y0, x1, y1 = x0 * width, y0 * height, x1 * width, y1 * height
        thickness = min(x1 - x0, y1 - y0)
        if word.text.isalnum():  # a full stop or a dash stands at the edge
            edge = EDGE * thickness
            x0, y0, x1, y1 = x0 + edge, y0 + edge, x1 - edge, y1 - edge
        part = self.pixels[int(y0) : int(y1) + 1, int(x0) : int(x1) + 1]
        green = part[..., 1]
        if thickness < LEAST_PIXELS or not green.size or int(green.max()) - int(green.min()) >= CONTRAST:
            return True
        low, high = part.min((0, 1)), part.max((0, 1))
        return bool((high - low).max() >= CONTRAST)


def undrawn(words: Sequence[Word], image: Image.Image) -> list[int]:
    """Indices of the words that the picture does not show."""
    ink = Ink.of(image)
    return [i for i, word in enumerate(words) if not ink.shows(word)]
