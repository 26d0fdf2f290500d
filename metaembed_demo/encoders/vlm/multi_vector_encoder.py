"""Encoders from checkpoints of sentence-transformers' `MultiVectorEncoder`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoConfig

from metaembed_demo.core.budgets import OURS, Budgets
from metaembed_demo.core.config import VLM as SETTINGS
from metaembed_demo.core.types import Embedding, FloatArray, Page, Query, Similarity

from . import backbone, checkpoint_files, whole, zero_gpu

BATCH = 4
NESTED = "budgets"  # the key of a configuration with pairs (r_q, r_c), as the export writes it
SPELLINGS = (NESTED, "nested_budgets", "nested_sizes")
SIMILARITIES: dict[str, Similarity] = {"maxsim": "MaxSim", "meanmaxsim": "MeanMaxSim"}


class MultiVector:
    """A `MultiVectorEncoder` as an encoder.

    Models with a constant number of vectors per query and per page (MetaEmbed: 16 and 64, coarse to fine) are
    used unchanged, at the budgets that they name or else ours. Models with a vector per token or patch
    (ColBERT, ColPali, ColQwen) are pooled to the budgets, see `pooled`. The pooling is ours, to compare at
    equal cost; with all vectors these models may score better.
    """

    def __init__(self, model: Any, name: str, fingerprint: str, named: Budgets | None = None) -> None:
        """`model` is a MultiVectorEncoder; four probe embeddings determine its shapes.

        named: the budgets that its configuration names, see `named_budgets`; clipped to the vectors it makes.
        """
        self.model, self.name, self.fingerprint = model, name, fingerprint
        self._lock = Lock()  # tokenizers are not thread-safe
        self._run = self._encoded
        self.reads_pictures = bool({"image", "message"} & set(model.modalities))
        queries, pages = zero_gpu.apart(self._probed)
        counts = {len(vectors) for vectors in queries}, {len(vectors) for vectors in pages}
        self.constant = all(len(count) == 1 for count in counts)
        full = (named or OURS).full
        self.r_q, self.r_c = (len(queries[0]), len(pages[0])) if self.constant else (full.r_q, full.r_c)
        self.budgets = (named or OURS).within(self.r_q, self.r_c)
        self.similarity = SIMILARITIES.get(str(model.similarity_fn_name), "MaxSim")
        self.dim = int(pages[0].shape[1])
        if zero_gpu.active():  # the probes ran on the CPU: no GPU is lent before the app is served
            model.to("cuda")
            self._run = zero_gpu.lent(self._encoded, lambda inputs, of_queries: len(inputs))
        self.device = torch.device(model.device).type.upper()

    @classmethod
    def load(cls, folder: Path, name: str) -> MultiVector:
        """Load a folder with modules.json, already checked by `checkpoint_files.refuse_unsafe`."""
        backbone.require_package("sentence_transformers", "A MultiVectorEncoder checkpoint")
        from sentence_transformers import MultiVectorEncoder

        backbone.drop_video_processors()
        dtype = backbone.dtype_on(backbone.device_name(), SETTINGS.dtype)
        try:
            with whole.checking(str(folder)):
                model = MultiVectorEncoder(
                    str(folder),
                    trust_remote_code=False,
                    local_files_only=True,
                    device="cpu" if zero_gpu.active() else None,
                    model_kwargs={"use_safetensors": True, "dtype": dtype, **_attention(folder)},
                )
        except RuntimeError as error:  # torch's, of a module beside the backbone
            raise ValueError(f"{folder} does not fit its model: {error}") from error
        named = named_budgets(folder)
        sizes = f"{(named or OURS).page_sizes} {(named or OURS).query_sizes}"
        digest = hashlib.sha256(f"{checkpoint_files.identity(folder)} {sizes}".encode())
        if (inner := getattr(model[0], "auto_model", None)) is not None:
            digest.update(backbone.numerics(inner, model[0].processor).encode())
        for path in sorted([*folder.rglob("*.json"), *folder.rglob("*.jinja")]):
            digest.update(path.read_bytes())
        return cls(model, name.rstrip("/").rsplit("/", 1)[-1], f"mve-{digest.hexdigest()[:16]}", named)

    def encode_pages(self, pages: Sequence[Page]) -> list[Embedding]:
        """One (r_c, dim) embedding per page, from its image if the model reads images, else its text."""
        inputs = [page.image if page.image and self.reads_pictures else page.text for page in pages]
        return self._embeddings(inputs, of_queries=False)

    def encode_queries(self, queries: Sequence[Query]) -> list[Embedding]:
        """One (r_q, dim) embedding per query. Raises ValueError for an image if the model reads only text."""
        return self._embeddings([self._input(query) for query in queries], of_queries=True)

    def _probed(self) -> tuple[list[FloatArray], list[FloatArray]]:
        """Vectors of queries and of pages, of different lengths."""
        queries = self._vectors(["short", "a longer text than that"], of_queries=True)
        pictures = [Image.new("RGB", size, "white") for size in ((64, 64), (160, 90))]
        pages = pictures if self.reads_pictures else ["short", "a longer text"]
        return queries, self._vectors(pages, of_queries=False)

    def _input(self, query: Query) -> Any:
        if query.image is None:
            return query.text
        if not self.reads_pictures:
            raise ValueError(f"{self.name} reads only text; ask in words.")
        return {"image": query.image, "text": query.text} if query.text.strip() else query.image

    def _embeddings(self, inputs: Sequence[Any], of_queries: bool) -> list[Embedding]:
        found = self._vectors(inputs, of_queries)
        if not self.constant:
            sizes = self.budgets.query_sizes if of_queries else self.budgets.page_sizes
            found = [pooled(vectors, sizes) for vectors in found]
        return [Embedding(_unit(vectors)) for vectors in found]

    def _vectors(self, inputs: Sequence[Any], of_queries: bool) -> list[FloatArray]:
        """The model's vectors, (n, dim) float32 per input."""
        types = [type(item) for item in inputs]
        found: dict[int, FloatArray] = {}
        for each in dict.fromkeys(types):  # not every model accepts mixed batches
            rows = [i for i, other in enumerate(types) if other is each]
            with self._lock:
                vectors = self._run([inputs[i] for i in rows], of_queries)
            found |= dict(zip(rows, vectors, strict=True))
        return [found[i] for i in range(len(inputs))]

    def _encoded(self, inputs: Sequence[Any], of_queries: bool) -> list[FloatArray]:
        """Vectors of inputs of one type. Queries go one by one, as padding changes vectors in bfloat16."""
        encode = self.model.encode_query if of_queries else self.model.encode_document
        size = 1 if of_queries else BATCH
        return [v.float().cpu().numpy() for v in encode(inputs, batch_size=size, show_progress_bar=False)]


def named_budgets(folder: Path) -> Budgets | None:
    """The nested sizes that a configuration of the model or of a module names, if one does.

    Under one of SPELLINGS: pairs [r_q, r_c], smallest first.

    Raises:
        ValueError: when they are none.
    """
    modules = checkpoint_files.read_json(folder / "modules.json")
    parts = [folder / str(module.get("path", "")) for module in modules]
    files = [folder / "config_sentence_transformers.json", *(part / "config.json" for part in parts)]
    for file in files:
        config = checkpoint_files.read_json(file) if file.is_file() else {}
        for key in SPELLINGS:
            if pairs := config.get(key):
                try:
                    return Budgets.of(pairs)
                except (TypeError, ValueError) as error:
                    raise ValueError(f"{file} names {key} that are none: {error}") from error
    return None


def _attention(folder: Path) -> dict[str, str]:
    """from_pretrained arguments for a backbone that is right with eager attention alone."""
    inner = folder / str(checkpoint_files.read_json(folder / "modules.json")[0].get("path", ""))
    try:
        config = AutoConfig.from_pretrained(inner, trust_remote_code=False)
    except (OSError, ValueError):  # no transformers model; sentence-transformers says what it lacks
        return {}
    return {"attn_implementation": "eager"} if backbone.needs_eager(config) else {}


def pooled(vectors: FloatArray, levels: Sequence[int]) -> FloatArray:
    """(n, D) token vectors to (sum of levels, D) unit rows, coarse to fine.

    A level's k vectors are the means of k clusters (average linkage on cosines), largest first, so each level
    and each budget covers all tokens. With fewer than k distinct tokens the means repeat, largest clusters
    first: repeated page vectors do not change MaxSim, repeated query vectors scale its sum.

    >>> (pooled(np.eye(2, dtype=np.float32), (1, 2)) * 100).astype(int).tolist()
    [[70, 70], [100, 0], [0, 100]]
    """
    from scipy.cluster.hierarchy import fcluster, linkage  # comes with sentence-transformers

    vectors = _unit(vectors)
    tree = linkage(vectors, "average", metric="cosine") if len(vectors) > 1 else None
    rows = []
    for k in filter(None, levels):
        labels = np.ones(len(vectors), int) if tree is None or k == 1 else fcluster(tree, k, "maxclust")
        names, sizes = np.unique(labels, return_counts=True)
        means = [vectors[labels == name].mean(0) for name in names[np.argsort(-sizes, kind="stable")]]
        rows += [means[i % len(means)] for i in range(k)]
    return _unit(np.stack(rows))


def _unit(vectors: FloatArray) -> FloatArray:
    unit: FloatArray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit.astype(np.float32)
