"""Another encoder for the same pages: all or nothing, and never two encoders in one index."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.progress import Progress
from metaembed_demo.collection.reencode import no_room, opened, reencode
from metaembed_demo.collection.search import search
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.budgets import STOPS
from metaembed_demo.core.config import LIMITS, PATHS
from metaembed_demo.core.types import Embedding, Page, Query, Word
from metaembed_demo.documents.extraction import read
from metaembed_demo.encoders.mini.encoder import Mini
from tests.support.dummy_encoder import DummyEncoder

pytestmark = pytest.mark.slow


class Other(DummyEncoder):
    """Another model: other vectors of another size."""

    fingerprint = "other-1"

    def encode_pages(self, pages: Sequence[Page]) -> list[Embedding]:
        assert all(page.image is not None for page in pages), "a vision-language model reads the picture"
        return super().encode_pages(pages)


@pytest.fixture
def collection() -> Collection:
    encoder = DummyEncoder()
    found = Collection.for_encoder(encoder)
    for i, text in enumerate(["tank", "train", "boat", "lens", "bread", "violin"]):
        image = Image.new("RGB", (60, 80), (40 * i, 90, 90))
        page = Page(f"p{i}", "a.pdf", i + 1, image, (Word(text, (0.1, 0.1, 0.3, 0.2)),))
        found.put(StoredPage.of(page), encoder.encode_pages([page])[0])
    return found


def test_all_pages_come_along_and_are_found(collection: Collection) -> None:
    encoder = Other(dim=32)
    *progress, made = reencode(collection, encoder, threading.Event())
    assert isinstance(made, Collection)
    assert [(step.done, step.total) for step in progress if isinstance(step, Progress)] == [(4, 6), (6, 6)]
    assert made.fingerprint == "other-1"
    assert made.index.dim == 32
    assert list(made.pages) == list(collection.pages)
    assert search(made, encoder, Query("boat"), STOPS[-1], 1).hits[0].page_id == "p2"
    assert collection.fingerprint == "dummy-1", "the old one is as it was"
    with pytest.raises(ValueError, match="another encoder"):
        search(collection, encoder, Query("boat"), STOPS[-1], 1)


def test_a_stop_leaves_everything_as_it_was(collection: Collection) -> None:
    stop = threading.Event()
    steps = reencode(collection, Other(), stop)
    next(steps)
    stop.set()
    assert not any(isinstance(step, Collection) for step in steps)
    assert len(collection) == 6


def test_a_page_that_is_kept_encodes_as_it_did(mini: Mini) -> None:
    image = Image.open(next(PATHS.sample_corpus.rglob("cat.jpg"))).convert("RGB")
    page = read(Page("p", "cat.jpg", 1, image))
    (fresh,), (kept,) = mini.encode_pages([page]), mini.encode_pages([opened(StoredPage.of(page))])
    cosines = (fresh.vectors * kept.vectors).sum(1)
    assert np.all(cosines > 0.98), "the picture went through JPEG"


def test_pages_that_would_take_more_memory_than_a_session_may_are_told(collection: Collection) -> None:
    large, few = Other(dim=4096), LIMITS.model_copy(update={"max_session_memory": 2 * collection.held})
    assert no_room(collection, Other(), few) == ""
    assert "METAEMBED_MAX_SESSION_MEMORY" in no_room(collection, large, few)
