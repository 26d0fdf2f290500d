"""What a layout of a collection (collection/corpus_layout.py) is made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metaembed_demo.core.types import FloatArray

from .collection import Collection
from .stored_page import StoredPage

MOST_PAGES = 5_000  # on a plane; of more, that many are drawn evenly
MOST_TEXT = 4_000  # characters of a page, for the names of groups
AT_ONCE = 256  # pages whose vectors are read together


@dataclass(frozen=True, eq=False)
class LayoutPages:
    """Pages in the order of the index. vectors: (n, D) the first of each, of length 1."""

    ids: tuple[str, ...]
    vectors: FloatArray
    texts: tuple[str, ...]
    languages: tuple[str, ...]

    @classmethod
    def of(cls, collection: Collection, ids: Sequence[str]) -> LayoutPages:
        """Raises KeyError when one of `ids` is no longer there."""
        with collection.lock:
            pages = [collection.pages[page_id] for page_id in ids]
            vectors = first_vectors(collection, ids)
        languages = tuple(page.language for page in pages)
        return cls(tuple(ids), vectors, tuple(map(text_of, pages)), languages)


def drawn_ids(collection: Collection) -> tuple[str, ...]:
    """The pages that are on the plane: all, or every so many of a large collection."""
    ids = collection.index.ids
    return tuple(ids[:: -(-len(ids) // MOST_PAGES) or 1])


def first_vectors(collection: Collection, ids: Sequence[str]) -> FloatArray:
    """(n, D) the first vector of each page, of length 1."""
    dim = collection.index.dim
    parts = [collection.index.full(ids[i : i + AT_ONCE])[:, 0] for i in range(0, len(ids), AT_ONCE)]
    found = np.concatenate(parts).astype(np.float32) if parts else np.zeros((0, dim), np.float32)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)


def text_of(page: StoredPage) -> str:
    """A page's words; of a picture without any, what it shows."""
    written = [word.text for word in page.words if word.kind != "visual"]
    return " ".join(written or [word.text for word in page.words])[:MOST_TEXT]
