"""The occlusion test: hide what an explanation names, read the page again, and compare the scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from metaembed_demo.core.budgets import Budget
from metaembed_demo.core.types import Alignment, FloatArray, Page, Word
from metaembed_demo.documents.image_tags import tag_image
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.index.maxsim import maxsim

from .explainer import PageAttribution

SHARE = 0.1  # of the words, that the test hides
DRAWS = 5  # random sets of words that the test compares with
CURVE = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)  # shares hidden, for the curve
FEW_WORDS = 10  # of text, below which a picture's cells are hidden and not its words
Mask = NDArray[np.bool_]


# The occlusion test


@dataclass(frozen=True)
class Verdict:
    """What hiding a tenth of a page did to its score.

    what: "words" or "cells"; hidden of them were hidden, of `of`.
    full: the score as it is; highlighted, attended, random: how far it fell, `random` one fall for each draw.
    curve: shares hidden, and the score left when the highlighted go first, and when random ones do.
    """

    what: str
    hidden: int
    of: int
    full: float
    highlighted: float
    attended: float
    random: tuple[float, ...]
    curve: tuple[tuple[float, float, float], ...] = ()

    @property
    def ratio(self) -> float:
        """The fall by the highlighted over the mean fall by random ones; infinite where those do nothing."""
        mean = float(np.mean(self.random))
        return self.highlighted / mean if mean > 0 else float("inf")


class Occlusion:
    """Hides words, or cells of a picture, from a page and scores what is left at a budget."""

    def __init__(
        self, encoder: Encoder, looked: PageAttribution, vectors: FloatArray, budget: Budget
    ) -> None:
        """`vectors` (R_q, D) are the query's."""
        self.encoder, self.looked = encoder, looked
        self.query, self.budget = vectors[: budget.r_q], budget
        words = looked.evidence.words
        textual = sum(word.text != "" and word.kind != "visual" for word in words)
        self.what = "cells" if looked.pictures and textual < FEW_WORDS else "words"
        self.parts = np.array([(word.text == "") == (self.what == "cells") for word in words])  # (n,)

    def first(self, weights: FloatArray, share: float) -> Mask:
        """(n,): the `share` of the parts that have the largest `weights` (n,)."""
        candidates = np.flatnonzero(self.parts)
        count = self.count(share)
        chosen = candidates[np.argsort(-weights[candidates], kind="stable")[:count]]
        return self._mask(chosen)

    def drawn(self, share: float, rng: np.random.Generator) -> Mask:
        """(n,): as many parts, at random."""
        return self._mask(rng.choice(np.flatnonzero(self.parts), self.count(share), replace=False))

    def count(self, share: float) -> int:
        return max(round(share * int(self.parts.sum())), 1 if share > 0 else 0)

    def scores(self, hidden: Sequence[Mask]) -> FloatArray:
        """(len(hidden),): the page's MaxSim with those parts taken away and the rest read anew."""
        return maxsim(self.query, self.vectors(hidden)[:, : self.budget.r_c])

    def vectors(self, hidden: Sequence[Mask]) -> FloatArray:
        """(len(hidden), R_c, D): the page with those parts taken away, read anew."""
        pages = [self._without(mask) for mask in hidden]
        return np.stack([each.vectors for each in self.encoder.encode_pages(pages)])

    def _mask(self, chosen: NDArray[np.int64]) -> Mask:
        mask = np.zeros(len(self.parts), bool)
        mask[chosen] = True
        return mask

    def _without(self, mask: Mask) -> Page:
        page, views = self.looked.page, [picture.view for picture in self.looked.pictures]
        if self.what == "words":
            kept = [word for word, gone in zip(page.words, mask, strict=False) if not gone]
            return page.with_words(kept, views)
        assert page.image is not None
        seen = tag_image(_painted(page.image, self.looked.evidence.words, mask))
        return page.with_words([*(w for w in page.words if w.kind != "visual"), *seen.words], seen.views)


def _painted(image: Image.Image, words: Sequence[Word], mask: Mask) -> Image.Image:
    """The picture with the cells of `mask` in its mean colour."""
    pixels = np.asarray(image).copy()
    height, width = pixels.shape[:2]
    mean = pixels.reshape(-1, 3).mean(0).astype(np.uint8)
    for word, gone in zip(words, mask, strict=True):
        if gone:
            x0, y0, x1, y1 = word.box
            pixels[round(y0 * height) : round(y1 * height), round(x0 * width) : round(x1 * width)] = mean
    return Image.fromarray(pixels)


def attended(looked: PageAttribution, alignment: Alignment) -> FloatArray:
    """(n,): plain attention of the winning tokens, the mean over query tokens, to compare with."""
    return np.asarray(looked.evidence.attended()[alignment.winners].mean(0), np.float32)


def trial(
    occlusion: Occlusion, total: FloatArray, attention: FloatArray, seed: int = 1
) -> Iterator[tuple[int, int] | Verdict]:
    """Hide a tenth of a page by `total` (n,), by `attention` (n,) and at random; then draw the curve.

    Yields (done, of) as it goes, so that it can be shown and stopped, and the verdict at last.
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
        occlusion.what, occlusion.count(SHARE), of, full, falls[0], falls[1], tuple(falls[2:]), tuple(curve)
    )
