"""Projection of EfficientNet features into MiniLM's embedding space.

The sum of three normalised estimates:
1. MiniLM embeddings of ImageNet class names and descriptions, weighted by probability (ConSE, Norouzi et
   al. 2014).
2. A ridge regression from image features to caption embeddings, fitted to captioned drawings and to the
   classes, each represented by its row of the classifier layer.
3. Caption embeddings of the nearest drawings by feature cosine.
All are fitted in closed form: gradient descent overfitted the 1,500 drawings (assets/README.md).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn
from torch.nn import functional as F

from metaembed_demo.core.types import View

from .text_path import WIDTH

FEATURES, CLASSES = 1280, 1000  # of EfficientNet-Lite2
SHARPNESS = 1 / 1.2  # exponent of the class probabilities; below 1 it flattens them
RIDGE = 1.0  # ridge penalty, in feature variances
CLASS_WEIGHT = 0.6  # norm of a class row relative to the mean norm of the drawings' features
KEY = 128  # principal directions of the drawings' features, in which the nearest are found
NEARNESS = 0.06  # softmax temperature over cosines to the drawings
_forward_ad = threading.Lock()  # its levels are those of the process, not of a thread


@dataclass(frozen=True)
class CaptionedDrawings:
    """Training drawings.

    features: (n, FEATURES) float32. captions: (m, WIDTH) embeddings. owners: (n,) int64, a drawing's caption.
    """

    features: torch.Tensor
    captions: torch.Tensor
    owners: torch.Tensor


class ImageProjection(nn.Module):
    """Views to unit vectors. Buffers are set by `fit`; there are no trained parameters."""

    mean: torch.Tensor
    spread: torch.Tensor
    classes: torch.Tensor
    projection: torch.Tensor
    directions: torch.Tensor
    keys: torch.Tensor
    captions: torch.Tensor
    counts: torch.Tensor

    def __init__(self, drawings: int = 0, captions: int = 0) -> None:
        super().__init__()
        shapes = {
            "mean": (FEATURES,),
            "spread": (FEATURES,),
            "classes": (CLASSES, WIDTH),
            "projection": (FEATURES, WIDTH),
            "directions": (FEATURES, KEY),
            "keys": (drawings, KEY),
            "captions": (captions, WIDTH),
            "counts": (captions,),  # drawings of each caption, which stand together
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
        features = self.standardised(features)
        parts = [probability**SHARPNESS @ self.classes, features @ self.projection]
        if len(self.keys):
            near = F.normalize(features, dim=-1) @ self.directions @ self.keys.T
            owners = torch.arange(len(self.captions)).repeat_interleave(self.counts.long())
            by_caption = near.new_zeros(len(near), len(self.captions))
            parts.append(by_caption.index_add(1, owners, (near / NEARNESS).softmax(1)) @ self.captions)
        return F.normalize(torch.stack([F.normalize(part, dim=-1) for part in parts]).sum(0), dim=-1)

    def jvp(self, view: View, changes: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """(n, WIDTH): Jacobian-vector products of the embedding of `view` with feature changes.

        Args:
            changes: (n, FEATURES) changes of the features.
            rows: (CLASSES, FEATURES) classifier weights, through which the probabilities change too.
        """
        features, probability = torch.as_tensor(view.features), torch.as_tensor(view.probability)
        logits = changes @ rows.T
        classes = probability * (logits - (logits @ probability)[:, None])
        n = len(changes)
        at = (features.repeat(n, 1), probability.repeat(n, 1))
        with _forward_ad:
            return cast(torch.Tensor, torch.func.jvp(self.embed, at, (changes, classes))[1])

    def standardised(self, features: torch.Tensor) -> torch.Tensor:
        return (features - self.mean) / self.spread

    @torch.no_grad()
    def fit(
        self, drawings: CaptionedDrawings, rows: torch.Tensor, names: torch.Tensor, described: torch.Tensor
    ) -> None:
        """Fit all buffers to captioned drawings and ImageNet classes.

        Args:
            rows: (CLASSES, FEATURES) classifier weights.
            names: (CLASSES, WIDTH) the text path's embeddings of the class names.
            described: (CLASSES, WIDTH) embeddings of the names with their descriptions.
        """
        self.mean.copy_(drawings.features.mean(0))
        self.spread.copy_(drawings.features.std(0) + 1e-3)
        self.classes.copy_(described - described.mean(0))
        seen = self.standardised(drawings.features)
        order = drawings.owners.argsort(stable=True)
        seen, owners = seen[order], drawings.owners[order]
        captions = drawings.captions - drawings.captions[owners].mean(0)
        near = F.normalize(seen, dim=-1)
        _, directions = torch.linalg.eigh(near.T @ near)  # ascending eigenvalues
        self.directions.copy_(directions[:, -KEY:].flip(1))
        self.keys, self.captions = near @ self.directions, captions
        self.counts = torch.bincount(owners, minlength=len(captions)).float()
        length = CLASS_WEIGHT * seen.norm(dim=1).mean()
        x = torch.cat([seen, length * F.normalize(rows - rows.mean(0), dim=-1)])
        y = torch.cat([captions[owners], F.normalize(names - names.mean(0), dim=-1)])
        penalty = RIDGE * len(seen) * torch.eye(FEATURES)
        self.projection.copy_(torch.linalg.solve(x.T @ x + penalty, x.T @ y))
