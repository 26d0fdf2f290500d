"""The last removal of documents in a session, which can be undone for some time."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from metaembed_demo.collection import memory
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.index.base import MultiVectorIndex

UNDO_S = 600.0  # how long a removal can be undone
CHUNK = 64  # pages whose vectors are copied at a time


@dataclass(eq=False)
class Removal:
    """Pages that a document held, with their places in it, and the index that had them.

    Blocks of an index are shared, so that keeping it copies nothing. `held` counts like pages of a collection
    (collection/memory.py), without those of the samples, which stay in memory anyhow.
    """

    pages: list[StoredPage]
    index: MultiVectorIndex
    documents: int
    made: float  # on the session's clock
    held: int = 0

    @classmethod
    def of(cls, collection: Collection, sources: Set[str], base: Collection, now: float) -> Removal:
        """What removing the documents `sources` takes from `collection`, before it is done."""
        with collection.lock:
            pages = []
            for page_id, page in collection.pages.entries():
                places = [place for place in page.places if place[0] in sources]
                if places:
                    pages.append(collection.pages[page_id].at(places))
            index = collection.index.copy()
        own = [page for page in pages if page.id not in base.pages]
        made = cls(pages, index, len(sources), now)
        made.held = sum(memory.cost(page, index.r_c, index.dim) for page in own)
        memory.watch(made)
        return made

    def undo(self, collection: Collection) -> int:
        """Put the pages back. Returns the number of pages."""
        for start in range(0, len(self.pages), CHUNK):
            pages = self.pages[start : start + CHUNK]
            collection.take(pages, self.index.full([page.id for page in pages]))
        return len(self.pages)
