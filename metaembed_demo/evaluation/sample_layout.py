"""The sample pages on a plane, as shipped, so that the map opens at once.

assets/layout.json   encoder: its fingerprint; layout: what collection/corpus_layout.py `Layout.as_json` gives
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.corpus_layout import Layout
from metaembed_demo.collection.layout_pages import LayoutPages
from metaembed_demo.collection.layout_worker import lay_out_in_process
from metaembed_demo.core import disk
from metaembed_demo.core.config import PATHS

NAME = "layout.json"  # beside the shipped samples


def write(path: Path, collection: Collection) -> Layout:
    """Lay out `collection`, the sample pages, and write that to `path`. Raises NotLaidOut."""
    pages = LayoutPages.of(collection, collection.index.ids)
    found = lay_out_in_process(pages.ids, pages.vectors, pages.texts, pages.languages)
    disk.write_json(path, {"encoder": collection.fingerprint, "layout": found.as_json()})
    return found


def read(path: Path, fingerprint: str) -> Layout | None:
    """What is shipped at `path`; None where that is not of this encoder, or is damaged."""

    def take(value: dict[str, Any]) -> Layout | None:
        return Layout.from_json(value["layout"]) if value["encoder"] == fingerprint else None

    return disk.read_kept(path, take, "the sample pages are laid out anew")


@lru_cache(4)
def shipped(fingerprint: str) -> Layout | None:
    """That of the sample pages for an encoder; None where none is shipped."""
    return read(PATHS.shipped_samples.with_name(NAME), fingerprint)
