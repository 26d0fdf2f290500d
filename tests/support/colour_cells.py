"""A tiny model that is trained in seconds to find pages by the colour of one of their cells."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from metaembed_demo.encoders.vlm.encoder import VLM
from metaembed_demo.encoders.vlm.prompts import Item, Prompts

from .tiny_vlm import encoder

COLOURS = {"red": (230, 30, 30), "green": (30, 200, 60), "blue": (40, 60, 230), "yellow": (240, 220, 40)}
ROWS, COLUMNS = 6, 4
Cell = tuple[int, int]


def coloured(cells: Mapping[Cell, str], rng: np.random.Generator, side: int = 28) -> Image.Image:
    """A grey page of ROWS x COLUMNS cells, some of them coloured."""
    pixels = np.full((ROWS * side, COLUMNS * side, 3), 128, np.uint8)
    pixels += rng.integers(0, 12, pixels.shape, dtype=np.uint8)
    for (i, j), colour in cells.items():
        pixels[i * side : (i + 1) * side, j * side : (j + 1) * side] = COLOURS[colour]
    return Image.fromarray(pixels)


def drawn_cell(rng: np.random.Generator) -> Cell:
    return int(rng.integers(ROWS)), int(rng.integers(COLUMNS))


FIRST = {"idefics3": 1, "smolvlm": 1, "mllama": 4}  # random models before these were tried and did not learn


def trained(name: str, most: int = 400) -> VLM:
    """All weights of a tiny model, trained on pages with one coloured cell against those of other colours.

    The first of some random ones that learns it in `most` steps.
    """
    for seed in range(FIRST.get(name, 0), 8):
        made = started(name, seed)
        if learned(made, np.random.default_rng(seed), most):
            return made
    raise AssertionError(f"{name} has not learned its colours")


def started(name: str, seed: int) -> VLM:
    torch.manual_seed(seed)
    made = encoder(name, r_q=2, r_c=4, projection=16, prompts=Prompts(page="", query=""))
    for weight in made.network.parameters():
        weight.requires_grad_(True)
    return made


def learned(made: VLM, rng: np.random.Generator, most: int) -> bool:
    """Train until it tells the colours apart ten times in a row."""
    weights, right, sure = list(made.network.parameters()), torch.arange(len(COLOURS)), 0
    optimizer = torch.optim.Adam(weights, 2e-3)
    made.network.train()
    for _ in range(most):
        pages = made.vectors(
            [Item("", coloured({drawn_cell(rng): colour}, rng)) for colour in COLOURS], False
        )
        queries = torch.cat([made.vectors([Item(colour, None)], True) for colour in COLOURS])
        scores = torch.einsum("qid,pjd->qpij", queries, pages).amax(-1).sum(-1) / 0.03
        loss = F.cross_entropy(scores, right) + F.cross_entropy(scores.T, right)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        sure = sure + 1 if loss < 0.02 else 0
        if sure == 10:
            break
    made.network.eval()
    return sure == 10
