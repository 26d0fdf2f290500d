"""A `MultiVectorEncoder` of sentence-transformers as an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from threading import Lock
from typing import Any

import torch
from PIL import Image

from metaembed_demo.core.budgets import OURS, Budgets
from metaembed_demo.core.types import Box, Embedding, FloatArray, Page, Query, Similarity, Word
from metaembed_demo.documents.image_tags import WHOLE

from . import zero_gpu
from .cells import Cells
from .pooling import pooled, unit_rows

BATCH = 4
SIMILARITIES: dict[str, Similarity] = {"maxsim": "MaxSim", "meanmaxsim": "MeanMaxSim"}
Probes = tuple[list[FloatArray], list[FloatArray]]


class MultiVector:
    """A `MultiVectorEncoder` as an encoder.

    Models with a constant number of vectors per query and per page (MetaEmbed: 16 and 64, coarse to fine) are
    used unchanged, at the budgets that they name or else ours. Models with a vector per token or patch
    (ColBERT, ColPali, ColQwen) are pooled to the budgets (`PatchVectors`). The pooling is ours, to compare at
    equal cost; with all vectors these models may score better.
    """

    def __init__(
        self,
        model: Any,
        name: str,
        fingerprint: str,
        named: Budgets | None = None,
        probes: Probes | None = None,
    ) -> None:
        """`model` is a MultiVectorEncoder; four probe embeddings determine its shapes, unless given.

        named: the budgets that its configuration names, see `named_budgets`; clipped to the vectors it makes.
        """
        self.model, self.name, self.fingerprint = model, name, fingerprint
        self.lock = Lock()  # tokenizers are not thread-safe
        self._run = self._encoded
        self.reads_pictures = bool({"image", "message"} & set(model.modalities))
        self.probes = queries, pages = probes or zero_gpu.apart(self._probed)
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

    def encode_pages(self, pages: Sequence[Page]) -> list[Embedding]:
        """One (r_c, dim) embedding per page, from its image if the model reads images, else its text."""
        inputs = [page.image if page.image and self.reads_pictures else page.text for page in pages]
        return self._embeddings(inputs, of_queries=False)

    def encode_queries(self, queries: Sequence[Query]) -> list[Embedding]:
        """One (r_q, dim) embedding per query. Raises ValueError for an image if the model reads only text."""
        return self._embeddings([self.asked(query) for query in queries], of_queries=True)

    def _probed(self) -> Probes:
        """Vectors of queries and of pages, of different lengths."""
        queries = self._vectors(["short", "a longer text than that"], of_queries=True)
        pictures = [Image.new("RGB", size, "white") for size in ((64, 64), (160, 90))]
        pages = pictures if self.reads_pictures else ["short", "a longer text"]
        return queries, self._vectors(pages, of_queries=False)

    def asked(self, query: Query) -> Any:
        """The model's input for a query."""
        if query.image is None:
            return query.text
        if not self.reads_pictures:
            raise ValueError(f"{self.name} reads only text; ask in words.")
        return {"image": query.image, "text": query.text} if query.text.strip() else query.image

    def words(self, words: Sequence[str], of_queries: bool, boxes: Sequence[Box] = ()) -> Cells:
        """Words and their tokens, by how many tokens a text has that ends with each."""
        if not words:
            return Cells((), ())
        texts = ["", *(" ".join(words[: k + 1]) for k in range(len(words)))]
        task = "query" if of_queries else "document"
        with self.lock:
            read = [
                self.model[0].preprocess([text], prompt=self.model.prompts.get(task), task=task)
                for text in texts
            ]
        ids = [each["input_ids"][0][each["attention_mask"][0].bool()].tolist() for each in read]
        start = next(
            (k for k, (a, b) in enumerate(zip(ids[0], ids[-1], strict=False)) if a != b), len(ids[0])
        )
        ends = [start + len(each) - len(ids[0]) for each in ids]
        places = [tuple(range(a, b)) for a, b in pairwise(ends)]
        where = boxes or [WHOLE] * len(words)
        return Cells(tuple(Word(text, box) for text, box in zip(words, where, strict=True)), tuple(places))

    def _embeddings(self, inputs: Sequence[Any], of_queries: bool) -> list[Embedding]:
        found = self._vectors(inputs, of_queries)
        if not self.constant:
            sizes = self.budgets.query_sizes if of_queries else self.budgets.page_sizes
            found = [pooled(vectors, sizes) for vectors in found]
        return [Embedding(unit_rows(vectors)) for vectors in found]

    def _vectors(self, inputs: Sequence[Any], of_queries: bool) -> list[FloatArray]:
        """The model's vectors, (n, dim) float32 per input."""
        types = [type(item) for item in inputs]
        found: dict[int, FloatArray] = {}
        for each in dict.fromkeys(types):  # not every model accepts mixed batches
            rows = [i for i, other in enumerate(types) if other is each]
            with self.lock:
                vectors = self._run([inputs[i] for i in rows], of_queries)
            found |= dict(zip(rows, vectors, strict=True))
        return [found[i] for i in range(len(inputs))]

    def _encoded(self, inputs: Sequence[Any], of_queries: bool) -> list[FloatArray]:
        """Vectors of inputs of one type. Queries go one by one, as padding changes vectors in bfloat16."""
        encode = self.model.encode_query if of_queries else self.model.encode_document
        size = 1 if of_queries else BATCH
        return [v.float().cpu().numpy() for v in encode(inputs, batch_size=size, show_progress_bar=False)]
