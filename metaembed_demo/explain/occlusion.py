"""Occlusion test of an attribution: remove the top words, encode the page again, compare the scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.core.budgets import Budget
from metaembed_demo.core.types import Alignment, FloatArray, divisor
from metaembed_demo.encoders.base import Explainable, Mask
from metaembed_demo.index.maxsim import maxsim

from .explainer import PageAttribution

SHARE = 0.1  # of the words, hidden by the test
DRAWS = 5  # random sets to compare with
CURVE = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)  # shares hidden in the deletion curve
FEW_WORDS = 10  # text words below which image cells are hidden instead of words


@dataclass(frozen=True)
class Verdict:
    """Result of the occlusion test.

    what: "words" or "cells"; hidden: how many were hidden, of `of`.
    full: score of the whole page.
    highlighted, attended, random: drop of the score by hidden set; `random` has one per draw.
    plain: what the set `attended` is, see `Evidence.plain`.
    curve: (share hidden, score by attribution order, score by random order).
    """

    what: str
    hidden: int
    of: int
    full: float
    highlighted: float
    attended: float
    random: tuple[float, ...]
    curve: tuple[tuple[float, float, float], ...] = ()
    plain: str = "most attended"

    @property
    def ratio(self) -> float:
        """The drop by the highlighted over the mean random drop; infinite if the latter is not positive."""
        mean = float(np.mean(self.random))
        return self.highlighted / mean if mean > 0 else float("inf")


class Occlusion:
    """Removes words, or image cells, from a page and scores the rest at a budget."""

    def __init__(
        self, encoder: Explainable, looked: PageAttribution, vectors: FloatArray, budget: Budget
    ) -> None:
        """`vectors` (R_q, D) are the query's."""
        self.encoder, self.looked = encoder, looked
        self.query, self.budget = vectors[: budget.r_q], budget
        words = looked.evidence.words
        textual = sum(word.text != "" and word.kind != "visual" for word in words)
        pictured = any(word.is_cell for word in words)
        self.what = "cells" if pictured and textual < FEW_WORDS else "words"
        self.parts = np.array([word.is_cell == (self.what == "cells") for word in words])  # (n,)

    def first(self, weights: FloatArray, share: float) -> Mask:
        """(n,) mask of the `share` of parts with the largest `weights` (n,)."""
        candidates = np.flatnonzero(self.parts)
        count = self.count(share)
        chosen = candidates[np.argsort(-weights[candidates], kind="stable")[:count]]
        return self._mask(chosen)

    def drawn(self, share: float, rng: np.random.Generator) -> Mask:
        """(n,) mask of a random `share` of parts."""
        return self._mask(rng.choice(np.flatnonzero(self.parts), self.count(share), replace=False))

    def count(self, share: float) -> int:
        return max(round(share * int(self.parts.sum())), 1 if share > 0 else 0)

    def scores(self, hidden: Sequence[Mask]) -> FloatArray:
        """(len(hidden),): the page's score without the parts of each mask, as the encoder's similarity."""
        found = maxsim(self.query, self.vectors(hidden)[:, : self.budget.r_c])
        return np.asarray(found / divisor(self.encoder.similarity, len(self.query)), np.float32)

    def vectors(self, hidden: Sequence[Mask]) -> FloatArray:
        """(len(hidden), R_c, D): the page encoded without the parts of each mask."""
        looked = self.looked
        pages = [self.encoder.without(looked.page, looked.evidence, mask) for mask in hidden]
        return np.stack([each.vectors for each in self.encoder.encode_pages(pages)])

    def _mask(self, chosen: NDArray[np.int64]) -> Mask:
        mask = np.zeros(len(self.parts), bool)
        mask[chosen] = True
        return mask


def attended(looked: PageAttribution, alignment: Alignment) -> FloatArray:
    """(n,): `Evidence.attended` of the matched page tokens, mean over query tokens; the baseline."""
    return np.asarray(looked.evidence.attended()[alignment.winners].mean(0), np.float32)


def trial(
    occlusion: Occlusion, total: FloatArray, attention: FloatArray, seed: int = 1
) -> Iterator[tuple[int, int] | Verdict]:
    """Hide SHARE of a page by `total` (n,), by `attention` (n,) and at random, then the deletion curve.

    Yields (done, of) for progress, and the verdict last.
    """
    rng = np.random.default_rng(seed)
    nothing = np.zeros(len(total), bool)
    masks = [nothing, occlusion.first(total, SHARE), occlusion.first(attention, SHARE)]
    masks += [occlusion.drawn(SHARE, rng) for _ in range(DRAWS)]
    masks += [occlusion.first(total, share) for share in CURVE]
    masks += [occlusion.drawn(share, rng) for share in CURVE]
    found: list[float] = []
    for start in range(0, len(masks), 4):
        found += occlusion.scores(masks[start : start + 4]).tolist()
        yield len(found), len(masks)
    full, falls = found[0], [found[0] - score for score in found[1 : 3 + DRAWS]]
    curve = zip(CURVE, found[3 + DRAWS :][: len(CURVE)], found[-len(CURVE) :], strict=True)
    of = int(occlusion.parts.sum())
    yield Verdict(
        occlusion.what,
        occlusion.count(SHARE),
        of,
        full,
        falls[0],
        falls[1],
        tuple(falls[2:]),
        tuple(curve),
        occlusion.looked.evidence.plain,
    )
