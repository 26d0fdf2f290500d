"""Dominant colours of an image; detection of drawings, greyscale, and objects on a plain background."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from metaembed_demo.core.types import FloatArray

SIDE = 96  # pixels; images are downscaled to this to count colours
LEAST_SHARE = 0.12  # of the image area
MOST = 4
CREAM, CREAM_CHROMA, PAPER_CHROMA = 200, 64, 24  # of 255; least red, and largest difference of channels
AROUND = 51  # pixels of a quarter of the size: what is larger is a shadow
NOISE = 6.7  # times the median difference: 4.5 standard deviations of noise
SHADOW = 96  # of 255; most that the paper varies
MOST_NOISE = 8  # of 255, of paper; pebbles have 22
LETTER = 180  # of the longer side: a letter is at least this part of it high
NEAR_BLACK = 8  # of 255
FLAT = 0.5  # share of pixels equal to their neighbour from which an image is a drawing
GREY_CHROMA = 0.06  # mean of max - min channel, 0 to 1, below which an image is greyscale
GROUND_NEAR = 12  # of 255; maximum distance to the background colour
GROUND_SHARE = 0.75  # share of the border in one colour from which the background is plain
# Upper bound of each hue, in degrees.
HUES = ((15, "red"), (42, "orange"), (68, "yellow"), (165, "green"), (190, "turquoise"), (255, "blue"))
HUES_BEYOND = ((290, "purple"), (335, "pink"), (361, "red"))


def colours(image: Image.Image) -> list[str]:
    """Names of up to MOST colours that cover at least LEAST_SHARE of the image, largest first."""
    names, counts = np.unique(_names(_small(image)), return_counts=True)
    order = np.argsort(-counts)[:MOST]
    return [str(names[i]) for i in order if counts[i] >= LEAST_SHARE * counts.sum()]


def is_grey(image: Image.Image) -> bool:
    """Whether the image is greyscale."""
    pixels = _small(image)
    chroma = pixels.max(-1) - pixels.min(-1)
    return bool(chroma.mean() < GREY_CHROMA and np.quantile(chroma, 0.98) < 3 * GREY_CHROMA)


def is_drawing(image: Image.Image) -> bool:
    """Whether most pixels equal their neighbour, as in charts, logos and screenshots.

    Photographs have sensor noise, except near black, so near-black pixels are ignored.
    """
    crop = image.convert("RGB").crop(_middle(image.size, 900))
    pixels = np.asarray(crop, dtype=np.int16)
    lit = pixels.max(-1) > NEAR_BLACK
    across = (pixels[:, 1:] == pixels[:, :-1]).all(-1)[lit[:, 1:]]
    down = (pixels[1:] == pixels[:-1]).all(-1)[lit[1:]]
    return int(across.sum() + down.sum()) > FLAT * max(1, across.size + down.size)


def paper_share(image: Image.Image) -> float:
    """Share of the image near its median colour if that is light, as paper is; else 0."""
    pixels = _small(image)
    paper = np.median(pixels, 0)
    if paper.min() < 0.5 or paper.max() - paper.min() > 0.35:
        return 0.0
    return float((np.abs(pixels - paper).max(1) < 0.15).mean())


def ground_share(image: Image.Image) -> float:
    """Share of the image near its median colour, light or dark: paper, a terminal, a screen."""
    pixels = _small(image)
    return float((np.abs(pixels - np.median(pixels, 0)).max(1) < 0.15).mean())


def is_blank(image: Image.Image) -> bool:
    """Whether nothing is on a sheet of white, cream, grey or black paper but noise, dust, holes and shadows.

    A mark is ink if it differs from the ground around it by more than the noise, and is as long as a letter
    is high. A colour is something.
    """
    if min(image.size) < 16:
        return False
    pixels = np.asarray(image.convert("RGB"), np.int16)
    red, green, blue = np.median(pixels[::8, ::8].reshape(-1, 3), 0)
    cream = red >= green >= blue and red > CREAM
    if max(red, green, blue) - min(red, green, blue) > (CREAM_CHROMA if cream else PAPER_CHROMA):
        return False
    grey = cv2.GaussianBlur(np.asarray(image.convert("L")), (0, 0), 1.2)
    height, width = grey.shape
    small = cv2.resize(grey, (max(1, width // 4), max(1, height // 4)), interpolation=cv2.INTER_AREA)
    around = cv2.resize(cv2.medianBlur(small, AROUND), (width, height))
    differs = cv2.absdiff(grey, around)
    noise = float(np.median(differs))
    low, high = np.percentile(around, (2, 98))
    if noise > MOST_NOISE or high - low > SHADOW:
        return False
    ink = (differs > max(9.0, NOISE * noise)).astype(np.uint8)
    # Without the margins, where a scanner sees holes and edges.
    across, down = round(0.06 * width), round(0.02 * height)
    inner = np.ascontiguousarray(ink[down : height - down, across : width - across])
    count, _, stats, _ = cv2.connectedComponentsWithStats(inner)
    longest = stats[1:count, 2:4].max(initial=0)
    return bool(longest < max(width, height) / LETTER)


def ground(image: Image.Image) -> tuple[tuple[int, int, int], tuple[int, int, int, int]] | None:
    """The background colour (RGB) and the bounding box of pixels that differ from it.

    None when the border has no uniform colour, or no pixel differs.
    """
    pixels = np.asarray(image.convert("RGB"), dtype=np.int16)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    colour = np.median(edge, 0).astype(np.int16)
    if (np.abs(edge - colour).max(1) <= GROUND_NEAR).mean() < GROUND_SHARE:
        return None
    thing = np.abs(pixels - colour).max(2) > GROUND_NEAR
    rows, columns = np.flatnonzero(thing.any(1)), np.flatnonzero(thing.any(0))
    if not len(rows):
        return None
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    red, green, blue = (int(value) for value in colour)
    return (red, green, blue), box


def _middle(size: tuple[int, int], side: int) -> tuple[int, int, int, int]:
    width, height = size
    left, top = max(0, (width - side) // 2), max(0, (height - side) // 2)
    return left, top, min(width, left + side), min(height, top + side)


def _small(image: Image.Image) -> FloatArray:
    """(n, 3) float32 RGB pixels in 0..1."""
    small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    return (np.asarray(small, dtype=np.float32) / np.float32(255)).reshape(-1, 3)


def _names(pixels: FloatArray) -> NDArray[np.str_]:
    """(n, 3) -> (n,) colour names, by hue, saturation and value."""
    value, low = pixels.max(1), pixels.min(1)
    chroma = value - low
    saturation = chroma / np.maximum(value, 1e-6)
    hue = _hue(pixels, value, chroma)
    names = np.full(len(pixels), "red", dtype="<U9")
    for end, name in reversed((*HUES, *HUES_BEYOND)):
        names[hue < end] = name
    warm = (hue < 48) & (saturation > 0.22)
    names[warm & (value < 0.62)] = "brown"
    names[warm & (value >= 0.62) & (saturation < 0.45)] = "beige"
    names[((hue >= 320) | (hue < 12)) & (value > 0.75) & (saturation < 0.55)] = "pink"
    names[(saturation < 0.16) | (chroma < 0.08)] = "grey"
    names[(names == "grey") & (value > 0.86)] = "white"
    names[value < 0.17] = "black"
    return names


def _hue(pixels: FloatArray, value: FloatArray, chroma: FloatArray) -> FloatArray:
    """(n,) hues in degrees."""
    red, green, blue = pixels.T
    safe = np.maximum(chroma, 1e-6)
    sextant = np.where(
        value == red,
        ((green - blue) / safe) % 6,
        np.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    return (60 * sextant).astype(np.float32)
