"""Which words of a text layer the picture of their page shows."""

from __future__ import annotations

from collections.abc import Sequence, Set

import numpy as np
from PIL import Image

from metaembed_demo.core.types import Word

CONTRAST = 6  # of 255: a box with less in every colour shows nothing; pale watermarks have 20
PAPER = 0.6  # share of white pixels from which a white word has no background; letters are a third
LEAST_PIXELS = 3  # of a box's shorter side; a word of fewer may be drawn a row away
EDGE = 0.12  # of a box's shorter side, left out: rules and underlines are no letters


def undrawn(words: Sequence[Word], image: Image.Image, white: Set[Word] = frozenset()) -> set[int]:
    """Indices of the words in whose boxes the picture has no contrast; none too small to be judged.

    Words in `white` need a background that is not white: what contrasts may be other words over them.
    """
    green = np.asarray(image.getchannel("G"))  # nearly always enough
    found = set()
    for i, word in enumerate(words):
        x0, y0, x1, y1 = _inner(word, image.width, image.height)
        part = green[y0:y1, x0:x1]
        if part.size and int(part.max()) - int(part.min()) < CONTRAST:
            ranges = image.crop((x0, y0, x1, y1)).getextrema()
            if all(high - low < CONTRAST for low, high in ranges):  # type: ignore[misc]
                found.add(i)
        elif part.size and word in white and (part >= 255 - CONTRAST).mean() > PAPER:
            found.add(i)
    return found


def _inner(word: Word, width: int, height: int) -> tuple[int, int, int, int]:
    """The pixels of a word's box where letters have ink; empty when they may lie in the row beside it."""
    x0, y0, x1, y1 = word.box
    x0, y0, x1, y1 = x0 * width, y0 * height, x1 * width, y1 * height
    thickness = min(x1 - x0, y1 - y0)
    if thickness < LEAST_PIXELS:
        return 0, 0, 0, 0
    edge = EDGE * thickness if word.text.isalnum() else 0.0  # a full stop or a dash stands at the edge
    return int(x0 + edge), int(y0 + edge), int(x1 - edge) + 1, int(y1 - edge) + 1
