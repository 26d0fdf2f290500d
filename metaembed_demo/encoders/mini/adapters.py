"""Low-rank changes of a text path's weights (LoRA, Hu et al. 2021), merged into them when they are loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import nn
from torch.nn.utils import parametrize

from .text_path import TextPath

PREFIX = "adapter."  # of their tensors in a weight file: adapter.<linear layer>.down and .up


class LowRank(nn.Module):
    """A weight (out, in) and its change `up @ down`, of which `up` starts as zero."""

    def __init__(self, weight: torch.Tensor, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, weight.shape[1]) / weight.shape[1] ** 0.5)
        self.up = nn.Parameter(torch.zeros(weight.shape[0], rank))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + self.up @ self.down


def attach(text: TextPath, rank: int) -> list[nn.Parameter]:
    """Give every linear layer of the text path a change of `rank`; returns what is to be trained."""
    for _, linear in _linears(text):
        parametrize.register_parametrization(linear, "weight", LowRank(linear.weight, rank))
    text.trained = True
    return [parameter for parameter in text.model.parameters() if parameter.requires_grad]


def tensors(text: TextPath) -> dict[str, torch.Tensor]:
    """The changes that `attach` made, for a weight file; empty without."""
    found: dict[str, torch.Tensor] = {}
    for name, linear in _linears(text):
        if parametrize.is_parametrized(linear):
            (change,) = linear.parametrizations["weight"]  # type: ignore[index]
            found |= {f"{PREFIX}{name}.down": change.down.data, f"{PREFIX}{name}.up": change.up.data}
    return found


@torch.no_grad()
def load(text: TextPath, stored: Mapping[str, torch.Tensor]) -> None:
    """Put changes from `tensors` into a text path: into those attached to it, otherwise into its weights.

    Raises:
        ValueError: when they belong to another text path.
    """
    known = dict(_linears(text))
    names = {key.removeprefix(PREFIX).rpartition(".")[0] for key in stored if key.startswith(PREFIX)}
    if names - known.keys():
        raise ValueError(f"{text.title} has no layer {min(names - known.keys())}, which the weights change.")
    for name in names:
        down, up = stored[f"{PREFIX}{name}.down"].float(), stored[f"{PREFIX}{name}.up"].float()
        if parametrize.is_parametrized(known[name]):
            (change,) = known[name].parametrizations["weight"]  # type: ignore[index]
            change.down.copy_(down)
            change.up.copy_(up)
        else:
            known[name].weight += up @ down


def _linears(text: TextPath) -> Iterator[tuple[str, nn.Linear]]:
    for name, module in text.model.encoder.named_modules():
        if isinstance(module, nn.Linear):
            yield name, module
