"""Why a page was found: what each Meta Token read of it, where its score comes from, and a test of that.

The score at a budget is a sum of cosines, each of them a sum over words (encoders/attribution.py), so a hit's map is
exact for the page as it was read. Whether the words it names carry the hit is another question: `Occlusion`
takes them off the page, has the page read again, and sees how far the score falls.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.budgets import Budget
from metaembed_demo.core.types import Alignment, FloatArray, Page, Word
from metaembed_demo.documents.extraction import look_again
from metaembed_demo.documents.image_tags import Closer, look
from metaembed_demo.encoders.attribution import Evidence
from metaembed_demo.encoders.base import Encoder, Explainable

from .maxsim import maxsim

KEPT = 24  # pages whose evidence is kept; some 3 MB each
SHARE = 0.1  # of the words, that the test hides
DRAWS = 5  # random sets of words that the test compares with
CURVE = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)  # shares hidden, for the curve
FEW_WORDS = 10  # of text, below which a picture's cells are hidden and not its words
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Looked:
    """A page looked at again: as it was read, its pictures' views and cells, what the tokens read of it."""

    page: Page
    pictures: tuple[Closer, ...]
    evidence: Evidence


@dataclass(frozen=True, eq=False)
class Explanation:
    """One hit explained.

    looked: the page; query: what the query's tokens read.
    parts: (r_q, n) float32, what each of the page's n words gave to each query token's maximum.
    """

    looked: Looked
    query: Evidence
    parts: FloatArray

    @property
    def words(self) -> tuple[Word, ...]:
        return self.looked.evidence.words

    @property
    def total(self) -> FloatArray:
        """(n,) float32: what each word gave to the score."""
        return np.asarray(self.parts.sum(0), np.float32)


class Explainer:
    """Looks at pages again for one encoder, and keeps the last few. Safe to use from several threads."""

    def __init__(self, encoder: Explainable) -> None:
        self.encoder = encoder
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Looked] = OrderedDict()

    def look(self, stored: StoredPage) -> Looked:
        """The page's evidence; its picture is opened and its pictures are seen again."""
        with self._lock:
            if stored.id in self._kept:
                self._kept.move_to_end(stored.id)
                return self._kept[stored.id]
        image = Image.open(io.BytesIO(stored.picture)).convert("RGB")
        page = Page(stored.id, stored.source, stored.number, image, stored.words)
        pictures = look_again(page)
        found = Looked(page, pictures, self.encoder.page_evidence(page, pictures))
        with self._lock:
            self._kept[stored.id] = found
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found

    def forget(self, page_ids: Sequence[str]) -> None:
        """Keep nothing of these pages, whose visitor has gone."""
        with self._lock:
            for page_id in page_ids:
                self._kept.pop(page_id, None)

    def explain(
        self, stored: StoredPage, query: Evidence, vectors: FloatArray, alignment: Alignment
    ) -> Explanation:
        """The hit `alignment` is of. `vectors` (R_q, D) are the query's, `query` what its tokens read."""
        looked = self.look(stored)
        asked = vectors[: len(alignment.winners)]
        return Explanation(looked, query, looked.evidence.contributions(asked, alignment.winners))


def explainer(encoder: Encoder) -> Explainer | None:
    """For encoders that can tell what their tokens read; None for others."""
    able = hasattr(encoder, "page_evidence") and hasattr(encoder, "query_evidence")
    return Explainer(encoder) if able else None  # type: ignore[arg-type]


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

    def __init__(self, encoder: Encoder, looked: Looked, vectors: FloatArray, budget: Budget) -> None:
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
        page, views = self.looked.page, [closer.view for closer in self.looked.pictures]
        if self.what == "words":
            kept = [word for word, gone in zip(page.words, mask, strict=False) if not gone]
            return page.with_words(kept, views)
        assert page.image is not None
        seen = look(_painted(page.image, self.looked.evidence.words, mask))
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


def attended(looked: Looked, alignment: Alignment) -> FloatArray:
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
