"""Query refinement by a second encoder: the pool's pages are encoded when they are asked for."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.ranker import How
from metaembed_demo.collection.search import research, search, searched
from metaembed_demo.collection.second_encoder import SecondEncoder
from metaembed_demo.core.budgets import STOPS
from metaembed_demo.core.types import Embedding, Page, Query, Trace
from tests.support.dummy_encoder import DummyEncoder

from .test_modes import ENCODER, shed  # noqa: F401

QUERY = "garden gate fence"


class Other(DummyEncoder):
    """Another dimension; counts what it reads, and that nobody holds the collection meanwhile."""

    name, fingerprint = "Other", "other-1"

    def __init__(self, collection: Collection) -> None:
        super().__init__(dim=64)
        self.collection, self.read = collection, list[str]()

    def encode_pages(self, pages: Sequence[Page]) -> list[Embedding]:
        assert not self.collection.lock._is_owned()  # type: ignore[attr-defined]
        self.read += [page.source for page in pages]
        return super().encode_pages(pages)


def refined(collection: Collection, how: How, query: str = QUERY, k: int = 6) -> tuple[Trace, int]:
    """The refined search, and the number of pages that were read for it."""
    first = search(collection, ENCODER, Query(query), STOPS[-1], k, how)
    *progress, trace = searched(collection, first, k, how)
    assert isinstance(trace, Trace)
    return trace, len(progress)


def test_the_pool_is_read_once_and_ranked_by_the_second_encoder(shed: Collection) -> None:  # noqa: F811
    other = Other(shed)
    how = How(mode="both", steps=20, complement=SecondEncoder("other", other))
    before = search(shed, ENCODER, Query(QUERY), STOPS[-1], 6, how)
    assert (before.refinement, len(before.unread)) == (None, 6)
    found, read = refined(shed, how)
    assert (read, found.unread, found.refinement.complement) == (6, (), "other")
    assert found.timings["complement"] > 0
    by_words = search(shed, ENCODER, Query(QUERY), STOPS[-1], 6, How(mode="both", steps=20))
    assert not np.allclose(found.refinement.refined.consensus, by_words.refinement.refined.consensus)
    assert refined(shed, how, "the sea")[1] == 0, "every page of this collection was read"
    moved = research(shed, found, STOPS[1], 6, how)
    assert moved.second_query is found.second_query
    assert moved.refinement is not None
    assert len(other.read) == 6


def test_a_pool_that_is_never_whole_ends_with_an_error(
    shed: Collection,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("metaembed_demo.collection.second_encoder.LEAST_KEPT", 3)
    monkeypatch.setattr("metaembed_demo.collection.second_encoder.KEPT_BYTES", 0)
    other = Other(shed)
    with pytest.raises(ValueError, match="changed again and again"):
        refined(shed, How(mode="both", steps=5, complement=SecondEncoder("other", other)))
    assert 6 < len(other.read) <= 18


def test_a_picture_is_shown_to_a_new_complement_by_another_search(shed: Collection) -> None:  # noqa: F811
    query = Query("garden", Image.open(io.BytesIO(next(iter(shed.pages.values())).picture)))
    found = search(shed, ENCODER, query, STOPS[-1], 3, How(mode="both", steps=5))
    how = How(mode="both", steps=5, complement=SecondEncoder("other", Other(shed)))
    with pytest.raises(ValueError, match=r"other has not seen the picture.* Search again"):
        research(shed, found, STOPS[-1], 3, how)
    assert search(shed, ENCODER, query, STOPS[-1], 3, how).second_query is not None


def test_the_encoder_of_the_index_is_no_second_one(shed: Collection) -> None:  # noqa: F811
    how = How(mode="both", steps=5, complement=SecondEncoder("dummy", ENCODER))
    with pytest.raises(ValueError, match="another encoder refines"):
        search(shed, ENCODER, Query("garden"), STOPS[0], 3, how)
