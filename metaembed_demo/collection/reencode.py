"""Encoding a collection again with another encoder, from the stored pages."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Sequence

from PIL import Image

from metaembed_demo.core.config import LIMITS, Limits
from metaembed_demo.core.types import Embedding, FloatArray, Page
from metaembed_demo.documents.extraction import recompute_views
from metaembed_demo.encoders.base import Encoder

from . import memory
from .collection import Collection
from .convert_storage import storage_of
from .indexing import ENCODE_BATCH
from .progress import Progress
from .stored_page import StoredPage


def reencode(
    collection: Collection,
    encoder: Encoder,
    stop: threading.Event,
    known: Collection | None = None,
    made: Collection | None = None,
) -> Iterator[Progress | Collection]:
    """Encode every page of `collection` with `encoder`. Yields the progress, and finally the new collection.

    The old collection is not changed, so it can be searched meanwhile; an index never mixes embeddings of two
    encoders. If `stop` is set, no new collection is yielded. Pages added to or removed from the old one
    meanwhile are added and removed in the new one.

    Args:
        known: a collection of `encoder`, whose vectors are taken for pages that it has alike.
        made: the result of an earlier run, which is brought up to date.
    """
    found = Collection.for_encoder(encoder) if made is None else made
    while ids := missing(found, collection):
        if stop.is_set():
            return
        with collection.lock:
            batch = [collection.pages[each] for each in ids[:ENCODE_BATCH] if each in collection.pages]
        if not batch:
            continue
        for page, embedding in zip(batch, _embeddings(batch, encoder, known), strict=True):
            found.put(page, embedding)
        yield Progress(len(found), len(found) + len(ids) - len(batch), batch[-1].source, batch[-1].number)
    yield found


def missing(made: Collection, old: Collection) -> list[str]:
    """Ids of `old` that `made` lacks. What `old` no longer has, or has under other names, leaves `made`."""
    with old.lock, made.lock:
        now = {page_id: page.places for page_id, page in old.pages.entries()}
        made.drop([page_id for page_id, page in made.pages.entries() if now.get(page_id) != page.places])
        return [page_id for page_id in now if page_id not in made.pages]


def _embeddings(pages: Sequence[StoredPage], encoder: Encoder, known: Collection | None) -> list[Embedding]:
    alike = {page.id: vectors_in(known, page) for page in pages} if known is not None else {}
    held = {page_id: vectors for page_id, vectors in alike.items() if vectors is not None}
    new = [page for page in pages if page.id not in held]
    made = iter(encoder.encode_pages([opened(page) for page in new]) if new else ())
    return [Embedding(held[page.id]) if page.id in held else next(made) for page in pages]


def vectors_in(known: Collection, page: StoredPage) -> FloatArray | None:
    """(R_c, D) vectors that `known` has of `page`; None where it has none, or a page that is not alike."""
    with known.lock:
        alike = known.pages.get(page.id)
        # An id does not cover all that was encoded.
        return known.index.vectors([page.id])[0] if alike and alike.digest == page.digest else None


def keep_as(made: Collection, old: Collection) -> None:
    """Store the vectors of `made` as those of `old`, if it has the pages that takes."""
    if not (old.index.in_process and made.index.in_process):
        return
    if storage_of(old) != storage_of(made):
        try:
            made.index = made.index.stored_as(storage_of(old), old.index.has_full)
        except ValueError:  # a codebook takes some pages
            return
    made.index.recall, made.index.rescore = old.index.recall, old.index.rescore


def no_room(collection: Collection, encoder: Encoder, limits: Limits = LIMITS) -> str:
    """Why there is no memory for the pages under `encoder`, and the remedy; "" if there is."""
    made = Collection.for_encoder(encoder)
    with collection.lock:
        costs = [memory.cost(page, encoder.r_c, encoder.dim) for page in collection.pages.values()]
    return memory.no_room(made, sum(costs), limits)


def opened(stored: StoredPage) -> Page:
    """A stored page as the encoder's input: its picture, its words and the views of its pictures."""
    image = Image.open(io.BytesIO(stored.picture)).convert("RGB")
    page = Page(stored.id, stored.source, stored.number, image, stored.words)
    return page.with_words(page.words, [picture.view for picture in recompute_views(page)])
