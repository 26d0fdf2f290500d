"""What all visitors share: the encoder, what is known of it, and what is computed from pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.second_encoder import Complements
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.evaluation.climbs import AnswersOf, Climb
from metaembed_demo.evaluation.quality_curve import Curve
from metaembed_demo.explain.explainer import Explainer
from metaembed_demo.explain.page_cache import PageCache
from metaembed_demo.explain.sample_statistics import Known
from metaembed_demo.explain.token_statistics import PageStatistics

KNOWN = 2000  # pages with cached token statistics


@dataclass(frozen=True)
class Tools:
    """Shared by all visitors: the encoder, the quality curve of the dial, the example queries."""

    encoder: Encoder
    curve: Curve | None = None
    examples: Sequence[Climb] = ()  # the first is the landing's, if it has ranks
    samples: bool = True  # whether there is a sample corpus to restore
    explainer: Explainer | None = None  # None when the encoder gives no evidence
    notice: str = ""  # why the configured encoder is not in use
    reader: str = ""  # the name of an encoder that reads more languages; "" for none
    told: Callable[[], str] = str  # what is still being made ready
    token_statistics: PageCache[PageStatistics] = field(default_factory=lambda: PageCache(KNOWN))
    sample_statistics: Known = field(default_factory=dict)  # of the sample pages, shipped
    complements: Complements = field(default_factory=Complements)  # for query refinement
    answers: AnswersOf = field(
        default_factory=dict
    )  # judged questions of the samples -> the pages that answer

    def forget(self, base: Collection, pages: Iterable[StoredPage]) -> None:
        """Drop what was computed from `pages`, unless they are those of the sample corpus `base`."""
        own = [page for page in pages if not _is_in(base, page)]
        if self.explainer:
            self.explainer.forget(own)
        self.token_statistics.forget(own)


def _is_in(base: Collection, page: StoredPage) -> bool:
    same = base.pages.get(page.id)
    return same is not None and (same is page or same.digest == page.digest)
