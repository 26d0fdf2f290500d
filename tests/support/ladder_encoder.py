"""An encoder whose answer is seen by eye: a page is found from the stop on that its text names."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from metaembed_demo.core.budgets import Budgets
from metaembed_demo.core.types import Embedding, Page, Query, Similarity

THREE = Budgets.parse("1x1 4x8 32x128")
SIX = Budgets.parse("1x1 2x4 4x8 8x16 8x32 16x64")


class Ladder:
    """Every query token is the first axis. A page token has cosine 1 with it if the page's text says
    "level N" and the token is of group N, counted from 1, or a finer one; else 0. Other pages have 0.5.

    So a page of level N scores r_q from stop N on and 0 before, and any other page half of r_q.
    """

    name, device, dim = "Ladder", "CPU", 4

    def __init__(self, budgets: Budgets, similarity: Similarity = "MaxSim") -> None:
        self.budgets, self.similarity = budgets, similarity
        self.r_q, self.r_c = budgets.full.r_q, budgets.full.r_c
        self.fingerprint = f"ladder-{len(budgets)}"

    def encode_pages(self, pages: Sequence[Page]) -> list[Embedding]:
        return [self._page(page.text) for page in pages]

    def encode_queries(self, queries: Sequence[Query]) -> list[Embedding]:
        return [Embedding(np.tile(np.eye(1, self.dim, dtype=np.float32), (self.r_q, 1))) for _ in queries]

    def _page(self, text: str) -> Embedding:
        level = re.search(r"level (\d+)", text)
        cosines = np.full(self.r_c, 0.5)
        if level:
            first = self.budgets.page_spans[int(level[1]) - 1][0]
            cosines = (np.arange(self.r_c) >= first).astype(float)
        vectors = np.zeros((self.r_c, self.dim), np.float32)
        vectors[:, 0], vectors[:, 1] = cosines, np.sqrt(1 - cosines**2)
        return Embedding(vectors)
