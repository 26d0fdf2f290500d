"""Attribution of a hit: what each Meta Token attends to, and the contribution of each word to the score.

The score at a budget is a sum of cosines, each an exact sum over words (encoders/attribution.py). Whether
these words cause the hit is tested by `Occlusion`, which removes them, encodes the page again and measures
the drop of the score.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.types import Alignment, FloatArray, Page, Word
from metaembed_demo.documents.extraction import recompute_views
from metaembed_demo.documents.image_tags import ViewCells
from metaembed_demo.encoders.attribution import Evidence
from metaembed_demo.encoders.base import Encoder, Explainable

from .page_cache import PageCache

KEPT = 24  # pages with cached attribution, about 3 MB each
MOST_BYTES = 500 << 20  # of cached attention, of which a very dense page has 50 MB


@dataclass(frozen=True, eq=False)
class PageAttribution:
    """The attribution of one page: the page, the views and cells of its images, and its evidence."""

    page: Page
    pictures: tuple[ViewCells, ...]
    evidence: Evidence


@dataclass(frozen=True, eq=False)
class Explanation:
    """Attribution of one hit.

    looked: of the page; query: of the query.
    parts: (r_q, n) float32, contribution of each of the page's n words to each query token's maximum.
    """

    looked: PageAttribution
    query: Evidence
    parts: FloatArray

    @property
    def words(self) -> tuple[Word, ...]:
        return self.looked.evidence.words

    @property
    def total(self) -> FloatArray:
        """(n,) float32: contribution of each word to the score."""
        return np.asarray(self.parts.sum(0), np.float32)


class Explainer:
    """Computes and caches page attributions for one encoder. Thread-safe."""

    def __init__(self, encoder: Explainable) -> None:
        self.encoder = encoder
        self._kept = PageCache[PageAttribution](
            KEPT, MOST_BYTES, lambda looked: looked.evidence.attention.nbytes
        )

    def has(self, stored: StoredPage) -> bool:
        """Whether the page's attribution is kept, so that explaining a hit encodes nothing."""
        return self._kept.get(stored) is not None

    def look(self, stored: StoredPage) -> PageAttribution:
        """The page's attribution; decodes its image and recomputes its views."""
        found = self._kept.get(stored)
        if found is not None:
            return found
        image = Image.open(io.BytesIO(stored.picture)).convert("RGB")
        page = Page(stored.id, "", 1, image, stored.words)  # another session may get it: no file's name
        pictures = recompute_views(page)
        found = PageAttribution(page, pictures, self.encoder.page_evidence(page, pictures))
        self._kept.put(stored, found)
        return found

    def forget(self, pages: Iterable[StoredPage]) -> None:
        """Drop these pages from the cache."""
        self._kept.forget(pages)

    def explain(
        self, stored: StoredPage, query: Evidence, vectors: FloatArray, alignment: Alignment
    ) -> Explanation:
        """Attribution of the hit with `alignment`; `vectors` (R_q, D) and `query` are the query's."""
        looked = self.look(stored)
        asked = vectors[: len(alignment.winners)]
        return Explanation(looked, query, looked.evidence.contributions(asked, alignment.winners))


def explainer(encoder: Encoder) -> Explainer | None:
    """An explainer, or None if the encoder has no attribution."""
    able = hasattr(encoder, "page_evidence") and hasattr(encoder, "query_evidence")
    return Explainer(encoder) if able else None  # type: ignore[arg-type]
