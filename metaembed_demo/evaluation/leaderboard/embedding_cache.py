"""Embeddings made once and kept on disk: what mteb's data loaders give, to vectors of any budget.

Every page and query is encoded at full size; a budget is a prefix of what is kept, and only the prefix is
read. A run that was stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from metaembed_demo.core import disk
from metaembed_demo.core.types import Embedding, Page, Query, Word, page_id
from metaembed_demo.documents.extraction import read
from metaembed_demo.documents.image_tags import WHOLE
from metaembed_demo.documents.images import upright
from metaembed_demo.encoders.base import Encoder

Side = Literal["query", "document"]
# As the index keeps them: pages in half precision, and a query as it comes.
KEPT: Mapping[Side, type[np.floating[Any]]] = {"query": np.float32, "document": np.float16}


@dataclass(frozen=True)
class Item:
    """One page or query of a task."""

    text: str
    image: Image | None

    @property
    def key(self) -> str:
        """Hex digest of the content."""
        seen = "" if self.image is None else page_id(self.image)
        return hashlib.sha256(f"{seen}\0{self.text}".encode("utf-8", "surrogatepass")).hexdigest()


class Store:
    """Full-size embeddings in a folder, found by the content that they were made of.

    Content, and not the task's name, because tasks share it: the languages of ViDoRe v2 have one corpus.
    A file is written whole or not at all, so whatever a crash leaves can be used.
    """

    def __init__(self, folder: Path, dtype: type[np.floating[Any]]) -> None:
        """Raises ValueError when a file in `folder` is damaged."""
        self._folder, self._dtype = folder, dtype
        self._where: dict[str, tuple[Path, int]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for file in sorted(folder.glob("*.safetensors")):
            self._note(file, json.loads(_opened(file).metadata()["keys"]))

    def __contains__(self, key: str) -> bool:
        return key in self._where

    def add(self, keys: Sequence[str], embeddings: Sequence[Embedding]) -> None:
        """Keep one embedding (r, D) for each key."""
        vectors = np.stack([embedding.vectors for embedding in embeddings]).astype(self._dtype)
        file = self._folder / f"{disk.sha256(''.join(keys).encode())[:20]}.safetensors"
        disk.write(file, save({"vectors": vectors}, {"keys": json.dumps(list(keys))}))
        self._note(file, keys)

    def get(self, keys: Sequence[str], r: int) -> NDArray[Any]:
        """The first `r` vectors of each: (len(keys), r, D). Only these are read from disk."""
        files: dict[Path, list[int]] = {}
        for at, key in enumerate(keys):
            files.setdefault(self._where[key][0], []).append(at)
        found = None
        for file, places in files.items():
            vectors = _opened(file).get_slice("vectors")[:, :r]
            if found is None:
                found = np.empty((len(keys), *vectors.shape[1:]), vectors.dtype)
            found[places] = vectors[[self._where[keys[at]][1] for at in places]]
        return np.empty((0, r, 0), self._dtype) if found is None else found

    def _note(self, file: Path, keys: Sequence[str]) -> None:
        self._where |= {key: (file, row) for row, key in enumerate(keys)}


class Vectors:
    """An encoder with its stores. It encodes what no store has, and serves every budget from there."""

    def __init__(self, encoder: Encoder, cache: Path, read_words: bool = True) -> None:
        """Without `read_words` pages are not read first: for an encoder that needs only their picture.

        One that takes pictures and texts as they come (`VLM.embed`) needs no words: it gets both, where a
        page of the app is only its picture to it.
        """
        self.encoder, self._embed = encoder, getattr(encoder, "embed", None)
        self.read_words = read_words and self._embed is None
        kind = "-items" if self._embed else "" if read_words else "-unread"
        self.revision = encoder.fingerprint + kind
        self._stores = {side: Store(cache / self.revision / side, KEPT[side]) for side in KEPT}
        self._known: dict[str, list[str]] = {}

    def get(self, inputs: Iterable[Mapping[str, Any]], side: Side, r: int) -> NDArray[Any]:
        """The first `r` vectors of every item that a data loader of mteb gives: (n, r, D), in order."""
        # The same rows come again for each budget; to open their pictures again would take minutes.
        rows = getattr(getattr(inputs, "dataset", None), "_fingerprint", None)
        keys = self._known.get(f"{side} {rows}") if rows else None
        if keys is None:
            keys = [key for batch in inputs for key in self._keep(list(_items(batch)), side)]
            if rows:
                self._known[f"{side} {rows}"] = keys
        return self._stores[side].get(keys, r)

    def _keep(self, items: Sequence[Item], side: Side) -> list[str]:
        store, keys = self._stores[side], [item.key for item in items]
        new = {key: item for key, item in zip(keys, items, strict=True) if key not in store}
        if new:
            store.add(list(new), self._encode(list(new.values()), side))
        return keys

    def _encode(self, items: Sequence[Item], side: Side) -> list[Embedding]:
        if self._embed is not None:
            found: list[Embedding] = self._embed(items, side == "query")
            return found
        if side == "query":
            return self.encoder.encode_queries([Query(item.text, item.image) for item in items])
        return self.encoder.encode_pages([self._page(item) for item in items])

    def _page(self, item: Item) -> Page:
        """A page as it comes from a file. Its text in the data set is words that come before those read."""
        words = tuple(Word(text, WHOLE) for text in item.text.split())
        bare = Page(item.key, "", 1, item.image, pictures=() if item.image is None else (WHOLE,))
        seen = read(bare) if self.read_words and item.image is not None else bare
        return seen.with_words((*words, *seen.words), seen.views)


def _opened(file: Path) -> Any:
    try:
        return safe_open(file, framework="np")
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged ({error}). Delete it; it will be made again.") from error


def _items(batch: Mapping[str, Any]) -> Iterator[Item]:
    given = next((batch[name] for name in ("text", "image") if name in batch), ())
    texts, images = batch.get("text") or [""] * len(given), batch.get("image") or [None] * len(given)
    for text, image in zip(texts, images, strict=True):
        yield Item(text or "", None if image is None else upright(image))
