"""What the picture network saw, as a vector in MiniLM's space: labels, a projection, and pictures like it.

Three answers are added. The ImageNet classes by probability, each as MiniLM embeds its name and description
(as ConSE does, Norouzi et al. 2014). A linear map from the network's features to the embedding of a caption,
fitted by ridge regression to captioned drawings and to the classes, whose row in the network's last layer
stands for a picture of them. The captions of the drawings whose features are nearest. All three are fitted
in closed form: with some 1,500 drawings, gradient steps learnt them by heart (assets/README.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn
from torch.nn import functional as F

from metaembed_demo.core.types import View

from .minilm import WIDTH

FEATURES, CLASSES = 1280, 1000  # of EfficientNet-Lite2
SHARPNESS = 1 / 1.2  # power of the probabilities: flatter, so that second guesses count
RIDGE = 1.0  # penalty, in variances of a feature
CLASS_WEIGHT = 0.6  # length of a class's row beside the mean length of a drawing's features
NEARNESS = 0.06  # temperature of the cosines to the drawings


@dataclass(frozen=True)
class Captioned:
    """Drawings to learn from: features (n, FEATURES), and the embeddings (n, WIDTH) of their captions."""

    features: torch.Tensor
    captions: torch.Tensor


class Sight(nn.Module):
    """Views to unit vectors. `fit` sets it; nothing in it is trained by gradient."""

    mean: torch.Tensor
    spread: torch.Tensor
    classes: torch.Tensor
    projection: torch.Tensor
    keys: torch.Tensor
    captions: torch.Tensor

    def __init__(self, drawings: int = 0) -> None:
        super().__init__()
        shapes = {
            "mean": (FEATURES,),
            "spread": (FEATURES,),
            "classes": (CLASSES, WIDTH),
            "projection": (FEATURES, WIDTH),
            "keys": (drawings, FEATURES),
            "captions": (drawings, WIDTH),
        }
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))
        self.spread.fill_(1)

    def forward(self, views: Sequence[View]) -> torch.Tensor:
        """(len(views), WIDTH) float32 unit rows."""
        if not views:
            return torch.zeros(0, WIDTH)
        features = torch.stack([torch.as_tensor(view.features) for view in views])
        return self.embed(features, torch.stack([torch.as_tensor(view.probability) for view in views]))

    def embed(self, features: torch.Tensor, probability: torch.Tensor) -> torch.Tensor:
        """(n, FEATURES) and (n, CLASSES) -> (n, WIDTH) unit rows."""
        features = self._standard(features)
        parts = [probability**SHARPNESS @ self.classes, features @ self.projection]
        if len(self.keys):
            near = F.normalize(features, dim=-1) @ self.keys.T
            parts.append((near / NEARNESS).softmax(1) @ self.captions)
        return F.normalize(torch.stack([F.normalize(part, dim=-1) for part in parts]).sum(0), dim=-1)

    def slopes(self, view: View, changes: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """How the embedding of `view` changes, to first order, where its features change: (n, WIDTH).

        Args:
            changes: (n, FEATURES) of the features.
            rows: (CLASSES, FEATURES), the network's last layer, through which its classes change too.
        """
        features, probability = torch.as_tensor(view.features), torch.as_tensor(view.probability)
        logits = changes @ rows.T
        classes = probability * (logits - (logits @ probability)[:, None])
        n = len(changes)
        at = (features.repeat(n, 1), probability.repeat(n, 1))
        return cast(torch.Tensor, torch.func.jvp(self.embed, at, (changes, classes))[1])

    def _standard(self, features: torch.Tensor) -> torch.Tensor:
        return (features - self.mean) / self.spread

    @torch.no_grad()
    def fit(self, drawings: Captioned, rows: torch.Tensor, names: torch.Tensor, said: torch.Tensor) -> None:
        """Set everything from captioned drawings and from the classes.

        Args:
            rows: (CLASSES, FEATURES) weights of the network's last layer.
            names: (CLASSES, WIDTH) MiniLM's embeddings of the classes' names.
            said: (CLASSES, WIDTH) and of their names with their descriptions.
        """
        self.mean.copy_(drawings.features.mean(0))
        self.spread.copy_(drawings.features.std(0) + 1e-3)
        self.classes.copy_(said - said.mean(0))
        seen = self._standard(drawings.features)
        captions = drawings.captions - drawings.captions.mean(0)  # what all captions share tells nothing
        self.keys, self.captions = F.normalize(seen, dim=-1), captions
        length = CLASS_WEIGHT * seen.norm(dim=1).mean()
        x = torch.cat([seen, length * F.normalize(rows - rows.mean(0), dim=-1)])
        y = torch.cat([captions, F.normalize(names - names.mean(0), dim=-1)])
        penalty = RIDGE * len(seen) * torch.eye(FEATURES)
        self.projection.copy_(torch.linalg.solve(x.T @ x + penalty, x.T @ y))
