"""What each candidate token reads over many pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metaembed_demo.core.types import FloatArray
from metaembed_demo.encoders.attribution import Evidence

KINDS = {"text": "Text layer", "ocr": "Read by OCR", "visual": "Named in pictures", "picture": "Pictures"}


@dataclass(frozen=True)
class TokenHabit:
    """What one candidate token reads, over the pages of a corpus.

    token: 0-based. place: mean position in reading order, 0 (first word) to 1 (last word).
    low, high: between them lies 80% of its reading. words: effective number of words it reads on a page,
    median over pages. kinds: shares of its reading by kind of word, see KINDS.
    """

    token: int
    place: float
    low: float
    high: float
    words: float
    kinds: dict[str, float]


LEAST_WORDS = 64  # of a page that tells where tokens read
EDGE = 0.1  # of a token's reading that lies before `low`, and beyond `high`


@dataclass(frozen=True, eq=False)
class Habit:
    """What the tokens read of one page; each (R_c,) but kinds (R_c, 4), in the order of KINDS."""

    long: bool  # enough words to tell where
    place: FloatArray
    low: FloatArray
    high: FloatArray
    words: FloatArray
    kinds: FloatArray


def habit(evidence: Evidence) -> Habit:
    """What each token read of one page."""
    read = evidence.read()  # (R, n)
    named = np.array([word.text != "" for word in evidence.words], bool)
    of_words = read[:, named]
    places = (np.arange(named.sum()) + 0.5) / max(int(named.sum()), 1)
    shares = of_words / np.maximum(of_words.sum(1, keepdims=True), 1e-9)
    run = shares.cumsum(1)
    kinds = np.array([word.kind if word.text else "picture" for word in evidence.words])
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.where(read > 0, read * np.log(read), 0).sum(1)
    edges = [
        places[np.argmax(run >= edge, axis=1)] if len(places) else run.sum(1) for edge in (EDGE, 1 - EDGE)
    ]
    return Habit(
        int(named.sum()) >= LEAST_WORDS,
        np.asarray(shares @ places, np.float32),
        np.asarray(edges[0], np.float32),
        np.asarray(edges[1], np.float32),
        np.asarray(np.exp(entropy), np.float32),
        np.stack([read[:, kinds == kind].sum(1) for kind in KINDS], 1).astype(np.float32),
    )


def summary(found: Sequence[Habit]) -> list[TokenHabit]:
    """Means over pages, of long ones for places; medians for numbers of words. Empty without a long page."""
    long = [each for each in found if each.long]
    if not long:
        return []
    place, low, high = (np.mean([getattr(h, name) for h in long], 0) for name in ("place", "low", "high"))
    words, kinds = np.median([h.words for h in long], 0), np.mean([h.kinds for h in found], 0)
    return [
        TokenHabit(
            i,
            float(place[i]),
            float(low[i]),
            float(high[i]),
            float(words[i]),
            dict(zip(KINDS, kinds[i].tolist(), strict=True)),
        )
        for i in range(len(place))
    ]
