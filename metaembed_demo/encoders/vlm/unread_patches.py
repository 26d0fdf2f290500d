"""What a network's vectors become when its vision tower reads parts of a picture as the picture's mean.

In a tower every patch attends to every other, so what stands in a part lies in the states of all of them, and
blocking attention to the part's own states in the language model leaves it there. Patches are replaced where
the tower's convolution has embedded each of them alone, and not yet its place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from .cells import Cells
from .prompts import Inputs


def without_cells(
    network: Any, inputs: Inputs, keep: slice, cells: Cells, batch: int
) -> Iterator[torch.Tensor]:
    """(b, r, dim) float32 unit rows in batches: first of the whole picture, then without each of its cells.

    Each is a whole pass of `network` over `inputs`, which are of one item and on its device.
    """
    at = (inputs["input_ids"][0] == network.model.config.image_token_id).nonzero()[:, 0].cpu()
    sets = [torch.tensor(places, dtype=torch.long) for places in ((), *cells.places)]
    of_cells = torch.stack([torch.isin(at, places) for places in sets])
    for unread in of_cells.split(batch):
        with torch.inference_mode(), _averaged(network.model, unread):
            found = network(_repeated(inputs, len(unread)), keep)
        yield found  # with nothing left on the model: others encode meanwhile


@contextmanager
def _averaged(model: Any, unread: torch.Tensor) -> Iterator[None]:
    """Replace patches by the mean of their picture's.

    unread: (B, n) bool, which of the n tokens of each of B pictures, tile by tile and row by row; a token is
    a square of patches.
    """
    convolution = next(part for part in model.modules() if isinstance(part, nn.Conv2d))

    def replace(_: Any, __: Any, found: torch.Tensor) -> torch.Tensor:
        tiles = len(found) // len(unread)
        side = math.isqrt(unread.shape[1] // tiles)
        squares = unread.view(-1, 1, side, side).float().to(found.device)
        patches = F.interpolate(squares, found.shape[2:]) > 0
        mean = found.unflatten(0, (-1, tiles)).mean((1, 3, 4)).repeat_interleave(tiles, 0)[..., None, None]
        return torch.where(patches, mean, found)

    hook = convolution.register_forward_hook(replace)
    try:
        yield
    finally:
        hook.remove()


def _repeated(inputs: Inputs, times: int) -> Inputs:
    return {
        key: value.repeat(times, *[1] * (value.ndim - 1)) if isinstance(value, torch.Tensor) else value
        for key, value in inputs.items()
    }
