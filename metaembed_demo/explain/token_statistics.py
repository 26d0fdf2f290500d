"""Statistics of what each page token attends to over many pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.core.budgets import OURS, Budgets
from metaembed_demo.core.types import FloatArray, Word
from metaembed_demo.encoders.attribution import Evidence

from .contents import CONTENTS, contents, information, slices

KINDS = {"text": "Text layer", "ocr": "Read by OCR", "visual": "Named in pictures", "picture": "Pictures"}


@dataclass(frozen=True)
class TokenStatistics:
    """Attention statistics of one page token over a corpus.

    token: 0-based.
    place: mean position in reading order, 0 (first word) to 1 (last word).
    low, high: 10th and 90th percentile of the position.
    words: effective number of words (exponential of the entropy), median over pages.
    kinds: share of attention by kind of word, see KINDS.
    contents: share of attention by kind of content, see contents.CONTENTS; empty without a long page.
    bits: what it adds to the mutual information of its group's tokens and the kind of content. slice_bits:
        what the equal slice of the page in its place would add.
    """

    token: int
    place: float
    low: float
    high: float
    words: float
    kinds: dict[str, float]
    contents: dict[str, float] = field(default_factory=dict)
    bits: float = 0.0
    slice_bits: float = 0.0


LEAST_WORDS = 64  # minimum words of a page for position statistics
EDGE = 0.1  # quantile of `low`; `high` is 1 - EDGE


@dataclass(frozen=True, eq=False)
class PageStatistics:
    """Attention statistics of one page: arrays (R_c,) float32; kinds (R_c, 4), in the order of KINDS, and
    contents (R_c, 6), in that of CONTENTS.
    """

    long: bool  # at least LEAST_WORDS words
    place: FloatArray
    low: FloatArray
    high: FloatArray
    words: FloatArray
    kinds: FloatArray
    contents: FloatArray
    bits: FloatArray
    slice_bits: FloatArray


def page_statistics(
    evidence: Evidence, budgets: Budgets = OURS, stored: Sequence[Word] = ()
) -> PageStatistics:
    """Attention statistics of each token on one page.

    budgets: the encoder's, of whose groups they are.
    stored: the page's words. Where the evidence is of cells alone, a cell counts for the words in it.
    """
    words, read = evidence.words, evidence.read()  # (R, n)
    if all(word.is_cell for word in words):
        words, read = in_words(words, read, [word for word in stored if word.kind != "visual"])
    named = np.array([word.text != "" for word in words], bool)
    of_words = read[:, named]
    places = (np.arange(named.sum()) + 0.5) / max(int(named.sum()), 1)
    shares = of_words / np.maximum(of_words.sum(1, keepdims=True), 1e-9)
    run = shares.cumsum(1)
    kinds = np.array(["picture" if word.is_cell else word.kind for word in words])
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.where(read > 0, read * np.log(read), 0).sum(1)
    edges = [
        places[np.argmax(run >= edge, axis=1)] if len(places) else run.sum(1) for edge in (EDGE, 1 - EDGE)
    ]
    found = contents([word for word in words if word.text])
    bits, slice_bits = _bits(of_words, found, budgets)
    return PageStatistics(
        int(named.sum()) >= LEAST_WORDS,
        np.asarray(shares @ places, np.float32),
        np.asarray(edges[0], np.float32),
        np.asarray(edges[1], np.float32),
        np.asarray(np.exp(entropy), np.float32),
        np.stack([read[:, kinds == kind].sum(1) for kind in KINDS], 1).astype(np.float32),
        np.stack([shares[:, found == at].sum(1) for at in range(len(CONTENTS))], 1).astype(np.float32),
        bits,
        slice_bits,
    )


def in_words(
    cells: Sequence[Word], read: FloatArray, words: Sequence[Word]
) -> tuple[tuple[Word, ...], FloatArray]:
    """What is read of cells (R, n), as what is read of the words in them, and of cells without a word.

    A cell's weight is divided among the words whose centres it contains. Returns m words and cells, (R, m).
    """
    edges = np.array([cell.box for cell in cells], np.float32).reshape(-1, 4)
    boxes = np.array([word.box for word in words], np.float32).reshape(-1, 4)
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    inside = (edges[:, :1] <= x) & (x < edges[:, 2:3]) & (edges[:, 1:2] <= y) & (y < edges[:, 3:])  # (n, m)
    counts = inside.sum(1, keepdims=True)
    given = read @ (inside / np.maximum(counts, 1))
    empty = counts[:, 0] == 0
    found = (*words, *(cell for cell, alone in zip(cells, empty, strict=True) if alone))
    return found, np.concatenate([given, read[:, empty]], 1).astype(np.float32)


def _bits(read: FloatArray, found: NDArray[np.int64], budgets: Budgets) -> tuple[FloatArray, FloatArray]:
    """`information` of the tokens of each group, and of as many equal slices."""
    bits, slice_bits = np.zeros(len(read), np.float32), np.zeros(len(read), np.float32)
    for first, end in (span for span in budgets.page_spans if span[0] < span[1]):
        own = read[first:end]
        bits[first:end] = information(own, found)
        slice_bits[first:end] = information(slices(len(own), len(found)), found)
    return bits, slice_bits


def summary(found: Sequence[PageStatistics]) -> list[TokenStatistics]:
    """Means over pages: positions over long pages only, words as medians. Empty without a long page."""
    long = [each for each in found if each.long]
    if not long:
        return []
    place, low, high = (np.mean([getattr(h, name) for h in long], 0) for name in ("place", "low", "high"))
    words, kinds = np.median([h.words for h in long], 0), np.mean([h.kinds for h in found], 0)
    shares, bits, slice_bits = (
        np.mean([getattr(h, name) for h in long], 0) for name in ("contents", "bits", "slice_bits")
    )
    return [
        TokenStatistics(
            i,
            float(place[i]),
            float(low[i]),
            float(high[i]),
            float(words[i]),
            dict(zip(KINDS, kinds[i].tolist(), strict=True)),
            dict(zip(CONTENTS, shares[i].tolist(), strict=True)),
            float(bits[i]),
            float(slice_bits[i]),
        )
        for i in range(len(place))
    ]
