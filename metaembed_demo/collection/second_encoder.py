"""A second encoder as the complement of Guided Query Refinement.

An index holds the vectors of one encoder, so the pages of a refinement's pool are encoded with the second one
when they are asked for, from their stored words and pictures: one at a time, without the collection's lock.
What was encoded is kept by the pages' digests.

    how = How(mode="both", steps=25, complement=SecondEncoder(name, encoder))
    for step in searched(collection, search(collection, first, query, budget, k, how), k, how):
        ...  # Progress of the pages read, at last the refined Trace
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.core.types import FloatArray, Query
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.index.maxsim import maxsim

from .collection import Collection
from .progress import Progress
from .reencode import opened
from .stored_page import StoredPage

KEPT_BYTES = 64 << 20  # of vectors in float16: 1,300 pages of Mini, 120 of (64, 4096)
LEAST_KEPT = 60  # pages, however large: three pools


@dataclass(frozen=True)
class AskedOfSecond:
    """A query as the encoder with this fingerprint reads it: vectors (R_q, D)."""

    fingerprint: str
    vectors: FloatArray


class SecondEncoder:
    """An encoder, by the `name` under which it was loaded, and the pages it has read. For several threads."""

    def __init__(self, name: str, encoder: Encoder) -> None:
        self.name, self.encoder = name, encoder
        self._most = max(LEAST_KEPT, KEPT_BYTES // (2 * encoder.r_c * encoder.dim))
        self._pages: OrderedDict[str, NDArray[np.float16]] = OrderedDict()  # by digest; the latest last
        self._lock = threading.Lock()

    def ask(self, query: Query) -> AskedOfSecond:
        """Encode a query."""
        return AskedOfSecond(self.encoder.fingerprint, self.encoder.encode_queries([query])[0].vectors)

    def unread(self, pages: Sequence[StoredPage]) -> list[StoredPage]:
        """Those of `pages` that are to be read before they can be scored."""
        with self._lock:
            return [page for page in pages if page.digest not in self._pages]

    def read(self, pages: Sequence[StoredPage]) -> Iterator[Progress]:
        """Encode those of `pages` that were not, one at a time."""
        wanted = self.unread(pages)
        for done, page in enumerate(wanted, 1):
            [embedding] = self.encoder.encode_pages([opened(page)])
            with self._lock:
                self._pages[page.digest] = embedding.vectors.astype(np.float16)
                while len(self._pages) > self._most:
                    self._pages.popitem(last=False)
            yield Progress(done, len(wanted), page.source, page.number)

    def scores(self, asked: AskedOfSecond, pages: Sequence[StoredPage]) -> FloatArray | None:
        """MaxSim (n,) float32 with all vectors of query and page; None where a page is to be read first."""
        with self._lock:
            found = [self._pages.get(page.digest) for page in pages]
            kept = [vectors for vectors in found if vectors is not None]
            if not kept or len(kept) < len(pages):
                return None
            for page in pages:
                self._pages.move_to_end(page.digest)
        return maxsim(asked.vectors, np.stack(kept).astype(np.float32))


class Complements:
    """The encoders that are loaded, by name, each a possible complement of the others."""

    def __init__(self) -> None:
        self._known: dict[str, SecondEncoder] = {}

    def add(self, name: str, encoder: Encoder) -> None:
        self._known[name] = SecondEncoder(name, encoder)

    def names(self, first: Encoder) -> list[str]:
        """Of those that can refine what `first` has found."""
        known = list(self._known.items())
        return [name for name, second in known if second.encoder.fingerprint != first.fingerprint]

    def get(self, name: str, first: Encoder) -> SecondEncoder | None:
        """The one called `name`, if it can refine what `first` has found."""
        return self._known[name] if name in self.names(first) else None


def read_pool(collection: Collection, page_ids: Sequence[str], second: SecondEncoder) -> Iterator[Progress]:
    """Read those of the pages `page_ids` that are still there."""
    with collection.lock:
        pages = [collection.pages[page_id] for page_id in page_ids if page_id in collection.pages]
    yield from second.read(pages)
