"""Models with a vector for each token or patch, pooled to the budgets, and what their vectors come from.

A pooled vector is the mean of a cluster's unit vectors, normalised: its cosine with a query vector is an
exact sum over them. A patch's part is that of its cell on the page, a token's that of its word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from metaembed_demo.core.types import FloatArray, Page, Query
from metaembed_demo.encoders.attribution import AttentionEvidence, Evidence, Kind, Tokens
from metaembed_demo.encoders.base import Mask

from . import zero_gpu
from .cells import Cells, picture_cells
from .evidence import without
from .multi_vector_encoder import MultiVector
from .pooling import cluster_weights, unit_rows

KEPT = ("input_ids", "attention_mask", "image_grid_thw")


class PatchVectors(MultiVector):
    """A `MultiVectorEncoder` that is pooled."""

    waits = False
    second: Kind = "similarity"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._look = zero_gpu.lent(self._looked, lambda item, of_queries: 1)

    def page_evidence(self, page: Page) -> Iterator[tuple[int, int] | AttentionEvidence]:
        """Of the pooled page vectors: the cells of the page's picture; its words if the model reads text."""
        pictured = page.image if self.reads_pictures else None
        vectors, features = self._taken(pictured or page.text, False)
        if pictured is not None:
            backbone: Any = self.model[0].auto_model.config
            cells = picture_cells(self.model.processor, backbone, features, pictured.size)
        else:
            cells = self.words([word.text for word in page.words], False, [w.box for w in page.words])
        yield split(vectors, features, cells, self.budgets.page_sizes)

    def query_evidence(self, query: Query) -> AttentionEvidence:
        """Of the pooled query vectors: the query's words, unless there is a picture before them."""
        vectors, features = self._taken(self.asked(query), True)
        words = query.text.split() if query.image is None else []
        return split(vectors, features, self.words(words, True), self.budgets.query_sizes)

    def second_map(
        self, page: Page, found: Evidence, asked: Evidence, query: FloatArray, winners: Tokens
    ) -> Iterator[tuple[int, int] | FloatArray]:
        """The mean similarity of each patch, before they are pooled, to all vectors of the query.

        sentence-transformers' similarity map; a cell of several patches has that of its best. It knows no
        pooled vectors, so all rows are alike.
        """
        from sentence_transformers.multi_vector_encoder.interpretability import maxsim_similarity_map

        assert isinstance(found, AttentionEvidence)
        assert isinstance(asked, AttentionEvidence)
        patches, vectors = (torch.from_numpy(each.states[:, 0]) for each in (found, asked))
        alike = maxsim_similarity_map(vectors, patches, (len(patches), 1))[:, 0].mean(0).numpy()
        cells = np.full(len(found.words) + 1, -1, np.float32)  # the last: of patches in no cell
        np.maximum.at(cells, found.owner, alike)
        yield np.tile(cells[:-1] / len(query), (len(query), 1))

    def without(self, page: Page, evidence: Evidence, hidden: Mask) -> Page:
        """The page with hidden cells painted over, or without hidden words."""
        return without(page, evidence, hidden)

    def _taken(self, item: Any, of_queries: bool) -> tuple[FloatArray, dict[str, torch.Tensor]]:
        """(n, dim) vectors of one input, and its features, each with a batch of one."""
        with self.lock:
            return self._look(item, of_queries)

    def _looked(self, item: Any, of_queries: bool) -> tuple[FloatArray, dict[str, torch.Tensor]]:
        encode = self.model.encode_query if of_queries else self.model.encode_document
        (raw,) = encode([item], output_value=None, show_progress_bar=False)
        vectors = raw["token_embeddings"][raw["attention_mask"].bool()].float().cpu().numpy()
        return vectors, {name: raw[name].cpu()[None] for name in KEPT if name in raw}


def split(
    vectors: FloatArray, features: dict[str, torch.Tensor], cells: Cells, levels: Sequence[int]
) -> AttentionEvidence:
    """The evidence of vectors (n, D) pooled to `levels`; a vector of several cells is divided among them."""
    unit = unit_rows(vectors)
    at = features["attention_mask"][0].nonzero()[:, 0].tolist()
    owners: dict[int, list[int]] = {}
    for cell, places in enumerate(() if cells.beside else cells.places):
        for place in places:
            owners.setdefault(place, []).append(cell)
    pieces = [
        (row, owner, 1 / len(own))
        for row, place in enumerate(at)
        for own in (owners.get(place, [-1]),)
        for owner in own
    ]
    rows: NDArray[np.int64] = np.array([piece[0] for piece in pieces], np.int64)
    weights = cluster_weights(unit, levels)
    return AttentionEvidence(
        cells.words,
        (weights[:, rows] * np.array([piece[2] for piece in pieces], np.float32))[None],
        unit[rows][:, None],
        np.array([piece[1] for piece in pieces], np.int64),
        np.eye(unit.shape[1], dtype=np.float32),
        np.linalg.norm(weights @ unit, axis=1),
        plain="most read",
    )
