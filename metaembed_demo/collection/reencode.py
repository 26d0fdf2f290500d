"""The same pages under another encoder: every page is encoded again from what is kept of it."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator

from PIL import Image

from metaembed_demo.core.types import Page
from metaembed_demo.documents.extraction import recompute_views
from metaembed_demo.encoders.base import Encoder

from .collection import Collection
from .indexing import ENCODE_BATCH
from .progress import Progress
from .stored_page import StoredPage


def reencode(
    collection: Collection, encoder: Encoder, stop: threading.Event
) -> Iterator[Progress | Collection]:
    """Encode every page of `collection` with `encoder`, telling the progress; at last, the new collection.

    The old one is left as it is, so that a search during the work, or a stop, finds it whole; embeddings of
    two encoders never stand in one index. Where `stop` is set there is no new collection. Pages added to the
    old one meanwhile are not in the new one.
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


def opened(stored: StoredPage) -> Page:
    """A kept page as an encoder takes it: its picture, its words as they were read, its pictures' views."""
    image = Image.open(io.BytesIO(stored.picture)).convert("RGB")
    page = Page(stored.id, stored.source, stored.number, image, stored.words)
    return page.with_words(page.words, [picture.view for picture in recompute_views(page)])
