"""A saved collection on Qdrant: its vectors are copied and searched there, its pages stay in the folder."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from metaembed_demo.core.config import SERVER
from metaembed_demo.index.qdrant.index import QdrantIndex
from metaembed_demo.index.qdrant.payload import payload

from .collection import Collection
from .filter_parts import type_of
from .filters import Filtered
from .words_on_qdrant import WordsOnQdrant, push_words

STEP = 1_000  # pages copied at a time
log = logging.getLogger(__name__)


def push(collection: Collection, remote: QdrantIndex) -> Iterator[int]:
    """Copy missing pages to `remote`, with their words and what filters look at, and remove extra ones.

    Yields the number of pages there; while words are written, which comes last, the total.

    Raises:
        ValueError: when `collection` has only codes and no full vectors, or a page cannot be read.
        ConnectionError, PermissionError, RuntimeError: as `QdrantIndex` says.
    """
    source = collection.index
    if not source.has_full:
        raise ValueError(
            f"This index keeps {source.storage} codes only; Qdrant needs the full vectors. "
            "Index the files again."
        )
    wanted = source.ids
    there = remote.payloads()
    gone = list(there.keys() - set(wanted))
    if gone:
        remote.remove(gone)
    new = [page_id for page_id in wanted if page_id not in there]
    done = len(there) - len(gone)
    about = payloads(collection)
    remote.describe(
        {page_id: about[page_id] for page_id in wanted if _differs(about[page_id], there.get(page_id))}
    )
    yield done
    for start in range(0, len(new), STEP):
        batch = new[start : start + STEP]
        remote.add(batch, source.full(batch))
        remote.describe({page_id: about[page_id] for page_id in batch})
        done += len(batch)
        yield done
    for _ in push_words(collection, remote, new):
        yield done


def open_remote(
    collection: Collection, location: str, name: str, shards: int = 1, replicas: int = 1
) -> QdrantIndex:
    """The collection `name` at `location`, created if missing. Raises as `QdrantIndex.open`."""
    index = collection.index
    return QdrantIndex.open(
        location,
        name,
        index.r_c,
        index.dim,
        fingerprint=collection.fingerprint,
        shards=shards,
        replicas=replicas,
        budgets=index.budgets,
        api_key=SERVER.qdrant_key or None,
    )


def search_there(collection: Collection, location: str, name: str) -> None:
    """Make `collection` search the index at `location`; by words, too, if they are there.

    Raises:
        ValueError: when the two do not hold the same pages.
    """
    remote = open_remote(collection, location, name)
    there = remote.payloads()
    if there.keys() != set(collection.pages):
        raise ValueError(
            f"{name} at {location} does not hold the pages of this index. Push it first: "
            f"python -m metaembed_demo push DIR {location} --name {name}"
        )
    about = payloads(collection)
    remote.by_payload = not any(_differs(about[page_id], there[page_id]) for page_id in about)
    if not remote.by_payload:
        log.warning("%s lacks what filters look at, so they send page ids; push again", name)
    collection.index = remote
    collection.words = WordsOnQdrant(collection.words, remote, collection.facets().languages)


def payloads(collection: Collection) -> dict[str, dict[str, Any]]:
    """Page id -> what filters look at. Pages on disk are not loaded."""
    return {page_id: _payload(page) for page_id, page in collection.pages.entries()}


def _payload(page: Filtered) -> dict[str, Any]:
    places = [(source, type_of(source), number) for source, number in page.places]
    return payload(places, page.language, page.added)


def _differs(wanted: dict[str, Any], there: dict[str, Any] | None) -> bool:
    """Whether a page that is there lacks any of `wanted`."""
    return there is not None and any(there.get(key) != value for key, value in wanted.items())
