"""The sample corpus as it is shipped: words, vectors and the dial's curve in one file, pictures left out.

    assets/samples.npz   arrays of numpy, compressed; no pickle is read
      head     (n,) uint8: JSON: format, encoder, files' digests, curve, renderer, a row for each page
      first    (pages, FINE, D) int16: the first vectors of each page, which every budget looks at
      rest     (pages, R_c - FINE, D) int8: the others; every vector has length 1, so no scale is kept
      texts    (n,) uint8: JSON, a list of the words of all pages in turn
      boxes    (4, words) int32: hundred-thousandths of the page, each the difference to the word before
      kinds    (words,) uint8: index into WORD_KINDS
      confidences (words,) uint16: thousandths, what `StoredPage.as_json` rounds to

It stands for reading the corpus only where the encoder and every sample file are those it was made with.

    assets/samples-multilingual.npz   the vectors of another encoder for the same pages
      head     (n,) uint8: JSON: format, encoder, ids of the pages and digests of what was read of them
      first, rest: as above

With that encoder it serves together with the words of the first file.
"""

from __future__ import annotations

import io
import json
import logging
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.lazy_pictures import Drawing
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core import disk
from metaembed_demo.core.config import PATHS
from metaembed_demo.core.types import WORD_KINDS, Embedding, FloatArray, Upload, Word
from metaembed_demo.encoders.base import Encoder

from .quality_curve import Curve

FORMAT = 3
FINE = 16  # vectors a page; all of them in int8 reorder close pages at the small budgets
UNITS = 100_000  # of a box: what `StoredPage.as_json` rounds to, so that a saved index is the same
Digests = dict[str, str]  # name of a sample file -> its SHA-256
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measured:
    """The curve, and the hash of everything it depends on."""

    key: str
    curve: Curve


@dataclass(frozen=True)
class Shipped:
    """What the file holds, ready to search.

    renderer: `poppler.signature` where it was made; pages of PDFs have these ids wherever that is the same.
    """

    collection: Collection
    measured: Measured | None
    renderer: str


def write(
    path: Path, collection: Collection, digests: Digests, measured: Measured | None, renderer: str
) -> int:
    """Write `collection`, the sample files read, to `path`. Returns its bytes.

    The same arguments give the same bytes.
    """
    pages = list(collection.pages.values())
    words = [word for page in pages for word in page.words]
    head = {
        "format": FORMAT,
        "encoder": collection.fingerprint,
        "files": digests,
        "renderer": renderer,
        "measured": asdict(measured) if measured else None,
        "pages": [
            [p.id, list(map(list, p.places)), p.width, p.height, len(p.words), p.reading, p.language]
            for p in pages
        ],
    }
    first, rest = _packed(collection)
    boxes = np.array([word.box for word in words], np.float64).reshape(-1, 4).T
    data = io.BytesIO()
    np.savez_compressed(
        data,
        head=_bytes(head),
        first=first,
        rest=rest,
        texts=_bytes([word.text for word in words]),
        boxes=np.diff(np.rint(boxes * UNITS).astype(np.int32), axis=1, prepend=np.int32(0)),
        kinds=np.array([WORD_KINDS.index(word.kind) for word in words], np.uint8),
        confidences=np.rint(np.array([word.confidence for word in words]) * 1000).astype(np.uint16),
    )
    disk.write(path, data.getvalue())
    return len(data.getvalue())


def write_vectors(path: Path, collection: Collection) -> int:
    """Write the vectors of `collection` alone, for `read_vectors`. Returns the file's bytes."""
    pages = [[page.id, _digest(page)] for page in collection.pages.values()]
    head = {"format": FORMAT, "encoder": collection.fingerprint, "pages": pages}
    data = io.BytesIO()
    first, rest = _packed(collection)
    np.savez_compressed(data, head=_bytes(head), first=first, rest=rest)
    disk.write(path, data.getvalue())
    return len(data.getvalue())


def read_vectors(path: Path, encoder: Encoder, samples: Mapping[str, StoredPage]) -> Collection | None:
    """Those of the pages `samples`, by id, whose vectors under `encoder` are shipped at `path`; None where it
    is not of this encoder, or is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as parts:
            head = json.loads(parts["head"].tobytes())
            if (head["format"], head["encoder"]) != (FORMAT, encoder.fingerprint):
                return None
            made = Collection.for_encoder(encoder)
            for (page_id, digest), vectors in zip(head["pages"], _unpacked(parts), strict=True):
                page = samples.get(page_id)
                if page is not None and _digest(page) == digest:
                    made.put(page, Embedding(vectors))
            return made
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        log.warning("%s is damaged, so the sample pages are read anew: %s", path.name, error)
        return None


def read(path: Path, encoder: Encoder, files: Sequence[Upload], digests: Digests) -> Shipped | None:
    """What is shipped at `path`; None where it is not of this encoder and these files, or is damaged.

    Vectors of another encoder than it was made with come from the file beside it.

    Args:
        files: the sample files, from which the pages' pictures are drawn when they are asked for.
        digests: of the same files as they are now.
    """
    try:
        with np.load(path, allow_pickle=False) as parts:
            head = json.loads(parts["head"].tobytes())
            if (head["format"], head["files"]) != (FORMAT, digests):
                return None
            pages = _pages(head["pages"], parts, files)
            if head["encoder"] == encoder.fingerprint:
                collection = Collection.for_encoder(encoder)
                for page, vectors in zip(pages, _unpacked(parts), strict=True):
                    collection.put(page, Embedding(vectors))
                return Shipped(collection, _measured(head["measured"]), head["renderer"])
        other = read_vectors(
            path.with_name(PATHS.shipped_vectors.name), encoder, {page.id: page for page in pages}
        )
        return Shipped(other, None, head["renderer"]) if other and len(other) == len(pages) else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        log.warning("%s is damaged, so the sample corpus is read anew: %s", path.name, error)
        return None


def pack_vectors(vectors: FloatArray, kind: np.dtype[Any]) -> NDArray[Any]:
    """(n, m, D) float32 -> directions as integers of `kind`; its largest number is the largest component."""
    largest = np.maximum(np.abs(vectors).max(-1, keepdims=True), 1e-12)
    return np.rint(vectors / largest * np.iinfo(kind).max).astype(kind)


def unpack_vectors(packed: NDArray[Any]) -> FloatArray:
    """(n, m, D) float32, each vector of length 1."""
    vectors = packed.astype(np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def _digest(page: StoredPage) -> str:
    """Of what was read: its id is of its picture."""
    return disk.sha256(page.as_read)


def _packed(collection: Collection) -> tuple[NDArray[Any], NDArray[Any]]:
    """The arrays `first` and `rest`."""
    full = collection.index.full([page.id for page in collection.pages.values()])
    return pack_vectors(full[:, :FINE], np.dtype(np.int16)), pack_vectors(full[:, FINE:], np.dtype(np.int8))


def _unpacked(parts: Any) -> FloatArray:
    return np.concatenate([unpack_vectors(parts["first"]), unpack_vectors(parts["rest"])], axis=1)


def _pages(rows: Sequence[Sequence[Any]], parts: Any, files: Sequence[Upload]) -> list[StoredPage]:
    by_name = {file.name: file for file in files}
    words, start, pages = _words(parts), 0, []
    for page_id, places, width, height, count, reading, language in rows:
        (source, number), *also = [(name, int(at)) for name, at in places]
        drawing = Drawing(by_name[source], number, width, height)
        own = tuple(words[start : start + count])
        size = width, height
        pages.append(
            StoredPage(page_id, source, number, own, drawing, *size, tuple(also), tuple(reading), language)
        )
        start += count
    if start != len(words):
        raise ValueError("its pages and its words do not match")
    return pages


def _measured(about: dict[str, Any] | None) -> Measured | None:
    if about is None:
        return None
    curve = about["curve"]
    return Measured(about["key"], Curve(tuple(curve["scores"]), curve["questions"]))


def _words(parts: Any) -> list[Word]:
    texts = json.loads(parts["texts"].tobytes())
    boxes = (np.cumsum(parts["boxes"], axis=1) / UNITS).T.tolist()
    kinds = [WORD_KINDS[kind] for kind in parts["kinds"].tolist()]
    confidences = (parts["confidences"] / 1000).tolist()
    return [
        Word(text, tuple(box), kind, confidence)  # type: ignore[arg-type]
        for text, box, kind, confidence in zip(texts, boxes, kinds, confidences, strict=True)
    ]


def _bytes(value: Any) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(value).encode("ascii"), np.uint8)
