"""Low-rank changes of a text path's weights (LoRA, Hu et al. 2021), merged into them when they are loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import nn
from torch.nn import functional as F

from .text_path import TextPath

PREFIX = "adapter."  # of their tensors in a weight file: adapter.<linear layer>.down and .up


class LowRank(nn.Module):
    """What a linear layer (out, in) gets beside its own weight: `up @ down`, of which `up` starts as zero."""

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, layer.in_features) / layer.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(layer.out_features, rank))

    def forward(self, read: torch.Tensor) -> torch.Tensor:
        return F.linear(F.linear(read, self.down), self.up)


def adapt(layer: nn.Linear, rank: int) -> None:
    """Give a layer a change. It stands beside the layer's product, not in its weight, so that no gradient of
    the whole weight is computed.
    """
    layer.change = LowRank(layer, rank)
    layer.register_forward_hook(lambda adapted, read, out: out + adapted.change(read[0]))


def attach(text: TextPath, rank: int) -> list[nn.Parameter]:
    """Give every linear layer of the text path a change of `rank`; returns what is to be trained."""
    for _, layer in list(_linears(text)):
        adapt(layer, rank)
    text.trained = True
    return [parameter for parameter in text.model.parameters() if parameter.requires_grad]


def tensors(text: TextPath) -> dict[str, torch.Tensor]:
    """The changes that `attach` made, for a weight file; empty without."""
    found: dict[str, torch.Tensor] = {}
    for name, linear in _linears(text):
        if (change := _change(linear)) is not None:
            found |= {f"{PREFIX}{name}.down": change.down.data, f"{PREFIX}{name}.up": change.up.data}
    return found


def scaled(stored: Mapping[str, torch.Tensor], share: float) -> dict[str, torch.Tensor]:
    """A share of the changes that `tensors` returned."""
    return {name: tensor * share if name.endswith(".up") else tensor for name, tensor in stored.items()}


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
        if (change := _change(known[name])) is not None:
            change.down.copy_(down)
            change.up.copy_(up)
        else:
            known[name].weight += up @ down


def _linears(text: TextPath) -> Iterator[tuple[str, nn.Linear]]:
    for name, module in text.model.encoder.named_modules():
        if isinstance(module, nn.Linear):
            yield name, module


def _change(linear: nn.Linear) -> LowRank | None:
    return getattr(linear, "change", None)
