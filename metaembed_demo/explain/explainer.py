"""Explanation of a hit: what each Meta Token reads, and the part of each word or cell in the score.

The score at a budget is a sum of cosines. By the encoder, each is an exact sum over words, or a word counts
by what the cosine loses without it (encoders/attribution.py). Whether these words cause the hit is tested by
`Occlusion`, which removes them, encodes the page again and measures the drop of the score.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.types import Alignment, FloatArray, Page, Word
from metaembed_demo.encoders.attribution import Evidence, Kind
from metaembed_demo.encoders.base import Encoder, Explainable, TwiceExplainable

from .page_cache import PageCache

KEPT = 24  # pages with cached attribution, about 3 MB each
MOST_BYTES = 500 << 20  # of cached attention, of which a very dense page has 50 MB


@dataclass(frozen=True, eq=False)
class PageAttribution:
    """One page and its evidence."""

    page: Page
    evidence: Evidence


@dataclass(frozen=True, eq=False)
class Explanation:
    """Attribution of one hit.

    looked: of the page; query: of the query.
    parts: (r_q, n) float32, the part of each of the page's n words in each query token's maximum.
    kind: what the parts are.
    """

    looked: PageAttribution
    query: Evidence
    parts: FloatArray
    kind: Kind = "share"

    @property
    def words(self) -> tuple[Word, ...]:
        return self.looked.evidence.words

    @property
    def total(self) -> FloatArray:
        """(n,) float32: the part of each word in the score, as `kind` says."""
        return np.asarray(self.parts.sum(0), np.float32)

    @property
    def adds_up(self) -> bool:
        """Whether the parts add up to the score."""
        return self.kind in ("share", "gradients")


class Explainer:
    """Computes and caches page attributions for one encoder. Thread-safe."""

    def __init__(self, encoder: Explainable) -> None:
        self.encoder = encoder
        self._kept = PageCache[PageAttribution](KEPT, MOST_BYTES, lambda looked: looked.evidence.nbytes)

    @property
    def waits(self) -> bool:
        """Whether pages are explained when a visitor asks for it, see `Explainable`."""
        return self.encoder.waits

    def has(self, stored: StoredPage) -> bool:
        """Whether the page's attribution is kept, so that explaining a hit encodes nothing."""
        return self._kept.get(stored) is not None

    def look(self, stored: StoredPage) -> PageAttribution:
        """The page's attribution; decodes its image."""
        *_, found = self.looking(stored)
        assert isinstance(found, PageAttribution)
        return found

    def looking(self, stored: StoredPage) -> Iterator[tuple[int, int] | PageAttribution]:
        """Passes done and of how many, where they are many; at last the page's attribution."""
        found = self._kept.get(stored)
        if found is None:
            image = Image.open(io.BytesIO(stored.picture)).convert("RGB")
            page = Page(stored.id, "", 1, image, stored.words)  # another session may get it: no file's name
            for step in self.encoder.page_evidence(page):
                if isinstance(step, tuple):
                    yield step
                else:
                    found = PageAttribution(page, step)
            assert found is not None
            self._kept.put(stored, found)
        yield found

    def forget(self, pages: Iterable[StoredPage]) -> None:
        """Drop these pages from the cache."""
        self._kept.forget(pages)

    def explain(
        self, stored: StoredPage, query: Evidence, vectors: FloatArray, alignment: Alignment
    ) -> Explanation:
        """Attribution of the hit with `alignment`; `vectors` (R_q, D) and `query` are the query's."""
        looked = self.look(stored)
        asked = vectors[: len(alignment.winners)]
        found = looked.evidence
        return Explanation(looked, query, found.map(asked, alignment.winners), found.kind)

    @property
    def second(self) -> Kind | None:
        """The kind of the encoder's second account of a hit."""
        return self.encoder.second if isinstance(self.encoder, TwiceExplainable) else None

    def explain_again(
        self, found: Explanation, vectors: FloatArray, alignment: Alignment
    ) -> Iterator[tuple[int, int] | Explanation]:
        """The second account of an explained hit: steps done and of how many, at last the explanation."""
        assert isinstance(self.encoder, TwiceExplainable)
        looked, asked = found.looked, vectors[: len(alignment.winners)]
        for step in self.encoder.second_map(
            looked.page, looked.evidence, found.query, asked, alignment.winners
        ):
            if isinstance(step, tuple):
                yield step
            else:
                yield Explanation(looked, found.query, step, self.encoder.second)


def explainer(encoder: Encoder) -> Explainer | None:
    """An explainer, or None if the encoder gives no evidence."""
    return Explainer(encoder) if isinstance(encoder, Explainable) else None
