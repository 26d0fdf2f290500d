"""Converting a collection's vectors to another storage kind while searches continue."""

from __future__ import annotations

from collections.abc import Generator

from metaembed_demo.core.budgets import Budget
from metaembed_demo.index.base import MultiVectorIndex
from metaembed_demo.index.quantization import KINDS, PQ_LEAST, codec, pq_parts

from .collection import Collection


def storage_of(collection: Collection) -> str:
    """The storage kind of `collection`'s vectors: one of `quantization.KINDS`."""
    return collection.index.storage


def convert(collection: Collection, kind: str) -> Generator[int, None, None]:
    """Convert the vectors of `collection` to `kind`. Yields the number of pages converted.

    Closing the generator early changes nothing. Pages added or removed meanwhile are added to or removed from
    the new index too.

    Raises:
        ValueError: as `MultiVectorIndex.stored_as`; nothing is changed then.
    """
    old = collection.index
    made = yield from old.storing_as(kind)
    _warm(made)
    with collection.lock:
        catch_up(made, old)
        made.recall, made.rescore = old.recall, 0 if kind == "float16" else old.rescore
        collection.index = made


def _warm(index: MultiVectorIndex) -> None:
    """Search once at the largest and once at the smallest budget, to compile the kernels."""
    if len(index):
        query = index.vectors(index.ids[:1])[0]
        for budget in (index.budgets.full, index.budgets[0]):
            index.search(query, budget, 1)


def catch_up(made: MultiVectorIndex, old: MultiVectorIndex) -> None:
    """Update `made`, which was converted from `old`, to the pages that `old` has now, in their order."""
    now = old.ids
    made.remove([page_id for page_id in made.ids if page_id not in old])
    same = 0  # length of the common prefix; a page that was removed and added again is at the end
    for ours, theirs in zip(made.ids, now, strict=False):
        if ours != theirs:
            break
        same += 1
    made.remove(made.ids[same:])
    late = now[same:]
    if late:
        made.add(late, old.full(late))


def sizes(budget: Budget, r_c: int, dim: int) -> dict[str, int]:
    """Bytes of a page (r_c, dim) at `budget`, for each storage kind.

    >>> sizes(Budget(8, 16), 64, 128)
    {'float16': 4096, 'int8': 2052, 'pq': 512, 'binary': 256}
    """
    kept = min(budget.r_c, r_c)
    # PQ: the code length is known without a codebook.
    return {
        kind: kept * pq_parts(dim) if kind == "pq" else codec(kind, r_c, dim).bytes_per_page(kept)
        for kind in KINDS
    }


def pages_for_pq(r_c: int) -> int:
    """The number of pages of `r_c` vectors needed to train a codebook.

    >>> pages_for_pq(64), pages_for_pq(100)
    (4, 3)
    """
    return -(-PQ_LEAST // r_c)
