"""One visitor's choice of what ranks pages, and what words and refinement did in the open search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from metaembed_demo.app.views import ranking_control, refinement_chart
from metaembed_demo.app.views.refinement_chart import Moved, PoolPage
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.filters import PageFilter
from metaembed_demo.collection.modes import BOTH, MODES
from metaembed_demo.collection.ranker import How
from metaembed_demo.collection.second_encoder import SecondEncoder
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.moments import spot
from metaembed_demo.core.types import FloatArray, Trace, Word
from metaembed_demo.index.maxsim import cosines
from metaembed_demo.index.query_refinement import MOST_STEPS
from metaembed_demo.index.words.asking import Asked
from metaembed_demo.index.words.marking import matches


@dataclass
class RankingChoice:
    """The mode, one of `modes.MODES`, and the steps of query refinement, 0 to 50, for mode "both".

    complement: the name of a second encoder that refines, "" for the words.
    """

    mode: str = BOTH
    steps: int = 0
    complement: str = ""
    reading: bool = field(default=False, repr=False)  # whether the complement reads pages
    _met: tuple[Asked, dict[str, tuple[StoredPage, tuple[Word, ...]]]] | None = field(
        default=None, repr=False
    )

    def take(self, mode: str, steps: int | str, complement: str = "") -> None:
        """Set all three. A mode that is unknown and steps out of bounds are ignored."""
        self.complement = complement
        self.mode = mode if mode in MODES else self.mode
        if str(steps).isdecimal() and int(steps) <= MOST_STEPS:
            self.steps = int(steps)

    def how(self, only: PageFilter, complement: SecondEncoder | None = None) -> How:
        """complement: the one of that name; None where it is not loaded, or the pages are encoded by it."""
        steps = self.steps if self.mode == BOTH else 0
        return How(only=only, mode=self.mode, steps=steps, complement=complement if steps else None)

    def control(
        self,
        collection: Collection,
        trace: Trace | None,
        chosen: str | None,
        names: Sequence[str] = (),
        done: tuple[int, int] | None = None,
    ) -> str:
        """The control as HTML, with what refinement did to the search.

        names: of the encoders that can refine.
        done: while the complement reads, the pages that it has read, and all it has to.
        """
        picture_alone = trace is not None and trace.query_image and not trace.query_text
        path = _refinement(collection, trace, chosen) if trace is not None and trace.refinement else ""
        if trace is not None and trace.unread and self.complement in names:
            path = ranking_control.reading(self.complement, done or (0, len(trace.unread)), done is None)
        return ranking_control.control(self.mode, self.steps, picture_alone, path, names, self.complement)

    def met(self, page: StoredPage, trace: Trace) -> tuple[Word, ...]:
        """The words of a page that the query meets literally; none in a search by meaning."""
        asked = trace.word_query
        if asked is None:
            return ()
        if self._met is None or self._met[0] != asked:
            self._met = asked, {}
        known = self._met[1]
        if page.id not in known or known[page.id][0] is not page:
            written = [word for word in page.words if word.kind != "visual"]
            found = matches(asked, [word.text for word in written], page.language)
            known[page.id] = page, tuple(written[at] for at in found)
        return known[page.id][1]


def _refinement(collection: Collection, trace: Trace, chosen: str | None) -> str:
    """What refinement did, as HTML; empty where a page of its pool is gone."""
    ids, refined = trace.refinement.page_ids, trace.refinement.refined
    with collection.lock:
        if any(page_id not in collection.pages for page_id in ids):
            return ""
        pages = [collection.pages[page_id] for page_id in ids]
        vectors = collection.index.vectors(ids)[:, : trace.budget.r_c]
    names = [f"{page.title}, {spot(page.source, page.number)}" for page in pages]
    after = {hit.page_id: hit.rank for hit in trace.hits}
    pool = [
        PoolPage(page_id, names[at], refined.scores[:, at], at + 1, after.get(page_id))
        for at, page_id in enumerate(ids)
    ]
    before = trace.query_vectors[: len(refined.vectors)]
    moved = [
        Moved(token, names[page], start, end)
        for token, (page, start, end) in enumerate(towards(before, refined.vectors, vectors), 1)
    ]
    return refinement_chart.refinement(pool, moved, refined.losses, chosen)


def towards(before: FloatArray, after: FloatArray, pages: FloatArray) -> list[tuple[int, float, float]]:
    """For each query token, the page whose winner it came closest to, and its cosine before and after.

    Args:
        before, after: query vectors (r_q, D), of any length.
        pages: vectors (n, r_c, D) of length 1.

    >>> turned = np.array([[3.0, 4.0]])
    >>> towards(np.array([[1.0, 0.0]]), turned, np.array([[[1.0, 0.0]], [[0.0, 1.0]]]))[0][:2]
    (1, 0.0)
    """
    start, end = (cosines(_unit(vectors), pages).max(axis=2) for vectors in (before, after))  # (n, r_q)
    nearest = (end - start).argmax(axis=0)
    return [(int(n), float(start[n, i]), float(end[n, i])) for i, n in enumerate(nearest)]


def _unit(vectors: FloatArray) -> FloatArray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
