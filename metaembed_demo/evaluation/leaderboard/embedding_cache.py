"""On-disk cache of embeddings for items of mteb's data loaders, at any budget.

Items are encoded once at full size; a budget reads only a prefix. Interrupted runs resume from the cache.
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
# As in the index: pages in half precision, queries in single.
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
    """Full-size embeddings in a folder, keyed by content.

    Tasks share content: the languages of ViDoRe v2 have one corpus. Files are written atomically, so the
    store is valid after a crash.
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
        """Store one embedding (r, D) per key."""
        vectors = np.stack([embedding.vectors for embedding in embeddings]).astype(self._dtype)
        file = self._folder / f"{disk.sha256(''.join(keys).encode())[:20]}.safetensors"
        disk.write(file, save({"vectors": vectors}, {"keys": json.dumps(list(keys))}))
        self._note(file, keys)

    def get(self, keys: Sequence[str], r: int) -> NDArray[Any]:
        """(len(keys), r, D): the first `r` vectors of each key; reads only these."""
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
    """An encoder with a store of its query and page embeddings; encodes what is missing."""

    def __init__(self, encoder: Encoder, cache: Path, read_words: bool = True) -> None:
        """`read_words`: run `extraction.read` on pages; unnecessary for encoders that use only the image.

        Encoders with an `embed` method (`VLM.embed`) get each item's image and text unchanged.
        """
        self.encoder, self._embed = encoder, getattr(encoder, "embed", None)
        self.read_words = read_words and self._embed is None
        suffix = "-items" if self._embed else "" if read_words else "-unread"
        self.revision = encoder.fingerprint + suffix
        self._stores = {side: Store(cache / self.revision / side, KEPT[side]) for side in KEPT}
        self._known: dict[str, list[str]] = {}

    def get(self, inputs: Iterable[Mapping[str, Any]], side: Side, r: int) -> NDArray[Any]:
        """(n, r, D): the first `r` vectors of every item of an mteb data loader, in order."""
        # Keys are cached per data set: decoding all images again for each budget would take minutes.
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
        """A page as from a file; words of its text in the data set precede the extracted ones."""
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
