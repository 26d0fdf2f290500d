"""Encoding a collection again with another encoder, from the stored pages."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator

from PIL import Image

from metaembed_demo.core.config import LIMITS, Limits
from metaembed_demo.core.types import Page
from metaembed_demo.documents.extraction import recompute_views
from metaembed_demo.encoders.base import Encoder

from . import memory
from .collection import Collection
from .indexing import ENCODE_BATCH
from .progress import Progress
from .stored_page import StoredPage


def reencode(
    collection: Collection, encoder: Encoder, stop: threading.Event
) -> Iterator[Progress | Collection]:
    """Encode every page of `collection` with `encoder`. Yields the progress, and finally the new collection.

    The old collection is not changed, so it can be searched meanwhile; an index never mixes embeddings of two
    encoders. If `stop` is set, no new collection is yielded. Pages added to the old collection meanwhile are
    not in the new one.
    """
    with collection.lock:
        pages = list(collection.pages.values())
    found = Collection.for_encoder(encoder)
    for start in range(0, len(pages), ENCODE_BATCH):
        if stop.is_set():
            return
        batch = pages[start : start + ENCODE_BATCH]
        embeddings = encoder.encode_pages([opened(page) for page in batch])
        for page, embedding in zip(batch, embeddings, strict=True):
            found.put(page, embedding)
        done = start + len(batch)
        yield Progress(done, len(pages), batch[-1].source, batch[-1].number)
    yield found


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
