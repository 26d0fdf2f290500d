"""Parts of a picture painted over."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from metaembed_demo.core.types import Word


def painted(image: Image.Image, cells: Sequence[Word]) -> Image.Image:
    """The image with `cells` filled with its mean colour."""
    pixels = np.asarray(image).copy()
    height, width = pixels.shape[:2]
    mean = pixels.reshape(-1, 3).mean(0).astype(np.uint8)
    for x0, y0, x1, y1 in (word.box for word in cells):
        pixels[round(y0 * height) : round(y1 * height), round(x0 * width) : round(x1 * width)] = mean
    return Image.fromarray(pixels)
