"""MetaEmbed as a `MultiVectorEncoder`: what its vectors lose without parts of a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional as F

from metaembed_demo.core.types import Box, FloatArray, Query

from . import evidence, zero_gpu
from .cells import Cells, picture_cells
from .multi_vector_encoder import MultiVector
from .prompts import Inputs, Item


class Pipeline:
    """The modules of a MultiVectorEncoder, as `encoder.Network` is called."""

    def __init__(self, modules: Any) -> None:
        self.modules, self.model = modules, modules[0].auto_model

    def __call__(self, inputs: Inputs, keep: slice) -> torch.Tensor:
        """(B, r, dim) float32 unit rows at the positions `keep`."""
        return self.rows(self.modules[0](dict(inputs))["token_embeddings"][:, keep])

    def rows(self, states: torch.Tensor) -> torch.Tensor:
        """(B, r, dim) float32 unit rows of last-layer states (B, r, hidden)."""
        from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

        features = {"token_embeddings": states}
        for module in list(self.modules)[1:]:
            if not isinstance(module, MultiVectorMask):
                features = module(features)
        return F.normalize(features["token_embeddings"].float(), dim=-1)


class ExportedVectors(evidence.ByKnockout, MultiVector):
    """A `MultiVectorEncoder` with a constant number of vectors, on a language model."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.network = Pipeline(self.model)
        self.all_passes = zero_gpu.lent(self._all_passes, evidence.items_of)

    def taken(self, item: Item, of_queries: bool, boxes: Sequence[Box]) -> tuple[Inputs, slice, Cells]:
        """Inputs of one item, the positions of its Meta Tokens, and its cells or words."""
        task = "query" if of_queries else "document"
        asked = self.asked(Query(item.text, item.image)) if of_queries else item.image or item.text
        with self.lock:
            inputs = self.model.preprocess([asked], prompt=self.model.prompts.get(task), task=task)
        keep = self._kept(inputs, task)
        if item.image is None or of_queries:
            words = item.text.split() if item.image is None else []
            return inputs, keep, self.words(words, of_queries, boxes)
        processor, config = self.model.processor, self.network.model.config
        most = evidence.most_cells(self.device)
        return inputs, keep, picture_cells(processor, config, inputs, item.image.size, most)

    def placed(self, inputs: Inputs) -> Inputs:
        """`inputs` on the model's device."""
        return {
            key: value.to(self.model.device) if isinstance(value, torch.Tensor) else value
            for key, value in inputs.items()
        }

    def _kept(self, inputs: Inputs, task: str) -> slice:
        """The positions, from the end, that the masks leave."""
        from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

        features = dict(inputs)
        for module in list(self.model)[1:]:
            if isinstance(module, MultiVectorMask):
                features = module(features, task=task)
        at = features["attention_mask"][0].nonzero()[:, 0].tolist()
        length = inputs["input_ids"].shape[1]
        return slice(at[0] - length, at[-1] + 1 - length or None)

    def _all_passes(self, run: Any, *given: Any) -> list[FloatArray]:
        return list(run(self, *given))
