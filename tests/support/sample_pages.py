"""Pages made by hand, and the reading of files replaced by them: what these tests are about comes later."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from PIL import Image

from metaembed_demo.collection import indexing
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.convert_storage import convert
from metaembed_demo.collection.indexing import index_files
from metaembed_demo.collection.progress import Progress, Report
from metaembed_demo.core.types import FloatArray, Page, Problem, Word, WordKind, page_id
from metaembed_demo.documents.sandbox.client import Rendered
from metaembed_demo.index.base import finish
from tests.support.dummy_encoder import DummyEncoder


def make_page(source: str, number: int, text: str, kind: WordKind = "text") -> Page:
    """A page whose id depends on `text` alone."""
    words = tuple(Word(word, (0.1, 0.1, 0.2, 0.12), kind) for word in text.split())
    image = Image.new("RGB", (60, 80), "white")
    return Page(page_id(image, words), source, number, image, words)


def serve(monkeypatch: pytest.MonkeyPatch, *items: Page | Problem) -> None:
    """Let the next `index_files` meet `items` instead of files."""
    monkeypatch.setattr(indexing, "count_pages", lambda files, limits: _pages(items))
    ready = [item if isinstance(item, Problem) else Rendered(item, lambda page: page) for item in items]
    monkeypatch.setattr(indexing, "read_files", lambda files, limits: (item for item in ready))


def read_by(monkeypatch: pytest.MonkeyPatch, read: Callable[[Page], Page]) -> None:
    """Let pages be read by `read` instead of OCR and the picture network."""
    monkeypatch.setattr(Rendered, "read", lambda rendered: read(rendered.page))


def fill(
    monkeypatch: pytest.MonkeyPatch, collection: Collection, *items: Page | Problem
) -> tuple[Report, list[Progress]]:
    """Add `items` to `collection` with the dummy encoder."""
    serve(monkeypatch, *items)
    report = Report()
    return report, list(index_files(collection, [], DummyEncoder(), report))


def keep_as(collection: Collection, kind: str) -> None:
    """Keep the pages of `collection` as `kind`, at once."""
    finish(convert(collection, kind))


def unit(array: np.ndarray) -> FloatArray:
    return (array / np.linalg.norm(array, axis=-1, keepdims=True)).astype(np.float32)


def random_vectors(seed: int, *shape: int) -> FloatArray:
    return unit(np.random.default_rng(seed).standard_normal(shape))


def _pages(items: Sequence[Page | Problem]) -> int:
    return sum(isinstance(item, Page) for item in items)
