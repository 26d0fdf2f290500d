"""sentence-transformers' `MultiVectorEncoder`: its checkpoints as encoders here, and ours as one of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from PIL import Image

from metaembed_demo.core.budgets import BUDGETS, PAGE_SIZES, QUERY_SIZES
from metaembed_demo.core.types import Embedding, FloatArray, Page, Query

from . import backbone, checkpoint_files

BATCH = 4


class MultiVector:
    """A `MultiVectorEncoder` as an encoder.

    One that gives every query, and every page, the same number of vectors (MetaEmbed models: 16 and 64,
    coarse to fine) is used as it is. One with a vector for each token or patch (ColBERT, ColPali, ColQwen) is
    pooled to the budgets, see `pooled`. That pooling is ours, so that such models can be compared here at
    equal cost; it is not part of them, and their own scores, with all vectors, may well be better.
    """

    def __init__(self, model: Any, name: str, fingerprint: str) -> None:
        """`model` is a MultiVectorEncoder; it is asked for four embeddings to learn what it gives."""
        self.model, self.name, self.fingerprint = model, name, fingerprint
        self.device = torch.device(model.device).type.upper()
        self._one = Lock()  # tokenizers serve one thread at a time
        self.reads_pictures = bool({"image", "message"} & set(model.modalities))
        queries = self._vectors(["short", "a longer text than that"], of_queries=True)
        sizes = ((64, 64), (160, 90))
        pictures = [Image.new("RGB", size, "white") for size in sizes]
        pages = self._vectors(
            pictures if self.reads_pictures else ["short", "a longer text"], of_queries=False
        )
        counts = {len(vectors) for vectors in queries}, {len(vectors) for vectors in pages}
        self.constant = all(len(count) == 1 for count in counts)
        self.r_q, self.r_c = (len(queries[0]), len(pages[0])) if self.constant else BUDGETS[-1]
        self.dim = int(pages[0].shape[1])

    @classmethod
    def load(cls, folder: Path, name: str) -> MultiVector:
        """From a folder with modules.json that `checkpoint_files.refuse_unsafe` has let pass."""
        backbone.need("sentence_transformers", "A MultiVectorEncoder checkpoint")
        from sentence_transformers import MultiVectorEncoder

        backbone.do_without_video()
        model = MultiVectorEncoder(
            str(folder),
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"use_safetensors": True},
        )
        # The sizes are written as tuples: an index that is saved already bears this fingerprint.
        digest = hashlib.sha256(f"{checkpoint_files.identity(folder)} {PAGE_SIZES} {QUERY_SIZES}".encode())
        for path in sorted([*folder.rglob("*.json"), *folder.rglob("*.jinja")]):
            digest.update(path.read_bytes())
        return cls(model, name.rstrip("/").rsplit("/", 1)[-1], f"mve-{digest.hexdigest()[:16]}")

    def encode_pages(self, pages: Sequence[Page]) -> list[Embedding]:
        """One (r_c, dim) embedding a page, from its picture where the model reads pictures, else its text."""
        inputs = [page.image if page.image and self.reads_pictures else page.text for page in pages]
        return self._embeddings(inputs, of_queries=False)

    def encode_queries(self, queries: Sequence[Query]) -> list[Embedding]:
        """One (r_q, dim) embedding a query. Raises ValueError on a picture that the model cannot read."""
        return self._embeddings([self._input(query) for query in queries], of_queries=True)

    def _input(self, query: Query) -> Any:
        if query.image is None:
            return query.text
        if not self.reads_pictures:
            raise ValueError(f"{self.name} reads only text; ask in words.")
        return {"image": query.image, "text": query.text} if query.text.strip() else query.image

    def _embeddings(self, inputs: Sequence[Any], of_queries: bool) -> list[Embedding]:
        found = self._vectors(inputs, of_queries)
        if not self.constant:
            found = [pooled(vectors, QUERY_SIZES if of_queries else PAGE_SIZES) for vectors in found]
        return [Embedding(_unit(vectors)) for vectors in found]

    def _vectors(self, inputs: Sequence[Any], of_queries: bool) -> list[FloatArray]:
        """What the model gives: (n, dim) float32 for each input."""
        encode = self.model.encode_query if of_queries else self.model.encode_document
        kinds = [str(type(item)) for item in inputs]
        found: dict[int, FloatArray] = {}
        for kind in dict.fromkeys(kinds):  # each by itself: not every model takes a mixed batch
            rows = [i for i, other in enumerate(kinds) if other == kind]
            with self._one:
                vectors = encode([inputs[i] for i in rows], batch_size=BATCH, show_progress_bar=False)
            found |= {i: v.float().cpu().numpy() for i, v in zip(rows, vectors, strict=True)}
        return [found[i] for i in range(len(inputs))]


def pooled(vectors: FloatArray, levels: Sequence[int]) -> FloatArray:
    """(n, D) unit rows, one a token, to (sum of levels, D) unit rows, coarse to fine.

    Each level covers the whole: its k vectors are the means of k clusters (average linkage on cosines), the
    largest first; the first level is the mean of all. So a budget, which is made of whole levels, always
    stands for all tokens. Where there are fewer than k distinct tokens they repeat, the largest clusters the
    most: a page's repeats change no MaxSim, and a query's keep its sum about in proportion.

    >>> (pooled(np.eye(2, dtype=np.float32), (1, 2)) * 100).astype(int).tolist()
    [[70, 70], [100, 0], [0, 100]]
    """
    from scipy.cluster.hierarchy import fcluster, linkage  # comes with sentence-transformers

    vectors = _unit(vectors)
    tree = linkage(vectors, "average", metric="cosine") if len(vectors) > 1 else None
    rows = []
    for k in levels:
        labels = np.ones(len(vectors), int) if tree is None or k == 1 else fcluster(tree, k, "maxclust")
        names, sizes = np.unique(labels, return_counts=True)
        means = [vectors[labels == name].mean(0) for name in names[np.argsort(-sizes, kind="stable")]]
        rows += [means[i % len(means)] for i in range(k)]
    return _unit(np.stack(rows))


def _unit(vectors: FloatArray) -> FloatArray:
    unit: FloatArray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit.astype(np.float32)
