"""Why a page was found: what each Meta Token read of it, where its score comes from, and a test of that.

The score at a budget is a sum of cosines, each of them a sum over words (encoders/attribution.py), so a
hit's map is exact for the page as it was read. Whether the words it names carry the hit is another
question: `Occlusion` takes them off the page, has the page read again, and sees how far the score falls.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.types import Alignment, FloatArray, Page, Word
from metaembed_demo.documents.extraction import recompute_views
from metaembed_demo.documents.image_tags import ViewCells
from metaembed_demo.encoders.attribution import Evidence
from metaembed_demo.encoders.base import Encoder, Explainable

KEPT = 24  # pages whose evidence is kept; some 3 MB each


@dataclass(frozen=True, eq=False)
class PageAttribution:
    """A page looked at again: as it was read, its pictures' views and cells, what the tokens read of it."""

    page: Page
    pictures: tuple[ViewCells, ...]
    evidence: Evidence


@dataclass(frozen=True, eq=False)
class Explanation:
    """One hit explained.

    looked: the page; query: what the query's tokens read.
    parts: (r_q, n) float32, what each of the page's n words gave to each query token's maximum.
    """

    looked: PageAttribution
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
        self._kept: OrderedDict[str, PageAttribution] = OrderedDict()

    def look(self, stored: StoredPage) -> PageAttribution:
        """The page's evidence; its picture is opened and its pictures are seen again."""
        with self._lock:
            if stored.id in self._kept:
                self._kept.move_to_end(stored.id)
                return self._kept[stored.id]
        image = Image.open(io.BytesIO(stored.picture)).convert("RGB")
        page = Page(stored.id, stored.source, stored.number, image, stored.words)
        pictures = recompute_views(page)
        found = PageAttribution(page, pictures, self.encoder.page_evidence(page, pictures))
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
