"""A hashing encoder for tests."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np

from metaembed_demo.core.budgets import OURS, Budgets
from metaembed_demo.core.types import Embedding, FloatArray, Page, Query, Similarity


class DummyEncoder:
    """Hashes words to random directions, so pages that share words with a query score high.

    Token 0 is the sum over all words; token i > 0 sums every (R-1)th word starting at word i - 1.
    """

    name = "Dummy"
    device = "CPU"
    fingerprint = "dummy-1"
    similarity: Similarity = "MaxSim"

    def __init__(self, dim: int = 128, budgets: Budgets = OURS) -> None:
        self.dim, self.budgets = dim, budgets
        self.r_q, self.r_c = budgets.full.r_q, budgets.full.r_c

    def encode_pages(self, pages: Sequence[Page]) -> list[Embedding]:
        return [self._encode(page.text, self.r_c) for page in pages]

    def encode_queries(self, queries: Sequence[Query]) -> list[Embedding]:
        return [self._encode(query.text, self.r_q) for query in queries]

    def _encode(self, text: str, r: int) -> Embedding:
        words = re.findall(r"\w+", text.lower()) or [""]
        groups = [words] + [words[i :: r - 1] or words for i in range(r - 1)]
        vectors = np.stack([np.sum([self._direction(w) for w in group], axis=0) for group in groups])
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9
        return Embedding(vectors.astype(np.float32))

    def _direction(self, word: str) -> FloatArray:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "little")
        return np.random.default_rng(seed).standard_normal(self.dim).astype(np.float32)
