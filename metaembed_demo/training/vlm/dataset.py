"""Training examples of a vision-language model: queries, positives and hard negatives.

Three layouts of data files, detected by their columns:
plain JSONL  {"query": ..., "positive": ..., "negatives": [...]}, each a text or {"text": ..., "image": ...};
MMEB-train   rows of qry, qry_image_path, pos_text, pos_image_path, neg_text, neg_image_path (Parquet, JSON);
ColPali-train  rows of a query and its page's image (Parquet, or a folder saved by `datasets`).
Images are decoded on demand: a batch of thousands does not fit in memory decoded.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from metaembed_demo.core.config import LIMITS
from metaembed_demo.core.extras import install
from metaembed_demo.documents.images import FORMATS, ImageError, upright
from metaembed_demo.encoders.vlm.prompts import Item

PLACEHOLDER = "<|image_1|>"  # MMEB's image position in a text; our prompts place images themselves
MMEB = ("qry", "qry_image_path", "pos_text", "pos_image_path")
SUFFIXES = (".jsonl", ".json", ".parquet")


@dataclass(frozen=True, eq=False)
class TableImage:
    """An image in a table on disk."""

    table: Any  # a memory-mapped datasets.Dataset with undecoded images
    row: int
    folder: Path  # for rows with a relative path instead of bytes

    def read(self) -> bytes:
        """The encoded image file.

        Raises:
            ValueError, OSError: when there is none.
        """
        found = self.table[self.row]["image"]
        if isinstance(found, Mapping):
            named, found = found.get("path"), found.get("bytes")
            found = (self.folder / named).read_bytes() if found is None and named else found
        if not isinstance(found, bytes):
            raise ValueError("has no picture in its column image")
        return found


@dataclass(frozen=True)
class StoredItem:
    """A query or page in a data file; `item` decodes its image."""

    text: str
    picture: Path | TableImage | None = None
    where: str = ""  # file and line, for messages

    def item(self) -> Item:
        """The item with its image prepared like pages (`images.upright`).

        Raises:
            ValueError: when the image is missing, damaged or over the pixel limit.
        """
        return Item(self.text, None if self.picture is None else self._opened(self.picture))

    def key(self) -> str:
        """SHA-256 of the text and the image's path, or its bytes in a table; identifies duplicates."""
        digest = hashlib.sha256(self.text.encode())
        if isinstance(self.picture, Path):
            digest.update(b"\0path" + str(self.picture).encode())
        elif self.picture is not None:
            digest.update(b"\0bytes" + self._bytes(self.picture))
        return digest.hexdigest()

    def mark(self) -> str:
        """What tells this item from others, its image unread: the text, and the image's name and size."""
        picture = self.picture
        if isinstance(picture, TableImage):
            return f"{self.text}\0{picture.row}"
        return f"{self.text}\0{picture.name} {picture.stat().st_size}" if picture else self.text

    def _opened(self, picture: Path | TableImage) -> Image.Image:
        source = picture if isinstance(picture, Path) else io.BytesIO(self._bytes(picture))
        try:
            with Image.open(source, formats=FORMATS) as image:
                if image.width * image.height > LIMITS.max_pixels:
                    raise ImageError(f"has {image.width} x {image.height} pixels, over METAEMBED_MAX_PIXELS.")
                return upright(image)
        except Exception as error:  # Pillow's decoders raise many exception types
            named = picture if isinstance(picture, Path) else "its picture"
            why = error if isinstance(error, ImageError) else "it is missing, damaged, or no picture."
            raise ValueError(f"{self.where}: {named} cannot be read: {why}") from error

    def _bytes(self, picture: TableImage) -> bytes:
        try:
            return picture.read()
        except (OSError, ValueError) as error:
            raise ValueError(f"{self.where}: {error}") from error


@dataclass(frozen=True)
class Example:
    """A query, its positive page, and hard negatives, hardest first."""

    query: StoredItem
    positive: StoredItem
    negatives: tuple[StoredItem, ...] = ()


def load(path: str | Path, images: str | Path | None = None) -> list[Example]:
    """The examples of a data file, or of all data files in a folder, in order.

    images: the folder that image paths are relative to; by default each data file's own.

    Raises:
        ValueError: naming file and line, when an example is malformed or its image file is missing.
        FileNotFoundError: when there is no data.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no data file or folder {path}.")
    if path.is_dir() and (path / "state.json").is_file():
        return list(_colpali(_table(path), path, path))
    # Not .json: in a hub folder these are metadata.
    suffixes = (".jsonl", ".parquet")
    files = sorted(p for p in path.rglob("*") if p.suffix in suffixes) if path.is_dir() else [path]
    found = [example for file in files for example in _file(file, Path(images or file.parent))]
    if not found:
        raise ValueError(f"{path} holds no training example ({', '.join(SUFFIXES)}).")
    return found


def _file(file: Path, images: Path) -> Iterator[Example]:
    if file.suffix not in SUFFIXES:
        raise ValueError(f"{file} is none of {', '.join(SUFFIXES)}.")
    if file.suffix == ".parquet":
        columns = _columns(file)
        if "qry" not in columns and not {"query", "image"} <= columns:
            raise ValueError(f"{file} has neither MMEB's columns {', '.join(MMEB)} nor query and image.")
        if "qry" not in columns:
            yield from _colpali(_table(file), file, images)
            return
    for where, row in _rows(file):
        yield _mmeb(row, images, where) if "qry" in row else _plain(row, images, where)


def _rows(file: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(location for messages, row)."""
    if file.suffix == ".parquet":
        pq = optional_import("pyarrow.parquet")
        rows = (row for batch in pq.ParquetFile(file).iter_batches() for row in batch.to_pylist())
        numbered: Iterable[tuple[str, Any]] = ((f"{file}, row {i}", row) for i, row in enumerate(rows, 1))
    elif file.suffix == ".json":
        whole = _parsed(file.read_text(encoding="utf-8"), str(file))
        if not isinstance(whole, list):
            raise ValueError(f"{file} is not a list of examples.")
        numbered = ((f"{file}, entry {i}", row) for i, row in enumerate(whole, 1))
    else:
        numbered = _lines(file)
    for where, row in numbered:
        if not isinstance(row, Mapping):
            raise ValueError(f"{where}: an example is an object with query and positive, not {row!r}.")
        yield where, row


def _lines(file: Path) -> Iterator[tuple[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        for i, line in enumerate(lines, 1):
            if line.strip():
                yield f"{file}, line {i}", _parsed(line, f"{file}, line {i}")


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{where}: not JSON: {error}") from error


def _plain(row: Mapping[str, Any], images: Path, where: str) -> Example:
    if unknown := set(row) - {"query", "positive", "negatives"}:
        raise ValueError(f"{where}: {sorted(unknown)[0]!r} is not one of query, positive, negatives.")
    if missing := [name for name in ("query", "positive") if name not in row]:
        raise ValueError(f"{where}: there is no {missing[0]}.")
    negatives = row.get("negatives", [])
    if not isinstance(negatives, list):
        raise ValueError(f"{where}: negatives is a list, even of one.")
    query, positive = (_side(row[name], images, where) for name in ("query", "positive"))
    return Example(query, positive, tuple(_side(value, images, where) for value in negatives))


def _side(value: Any, images: Path, where: str) -> StoredItem:
    """From a text, or an object with text and image."""
    if isinstance(value, str):
        return _checked(value, "", images, where)
    if not isinstance(value, dict) or not set(value) <= {"text", "image"}:
        raise ValueError(f"{where}: {value!r} is neither a text nor an object with text and image alone.")
    return _checked(value.get("text"), value.get("image"), images, where)


def _mmeb(row: Mapping[str, Any], images: Path, where: str) -> Example:
    if missing := [name for name in MMEB if name not in row]:
        raise ValueError(f"{where}: MMEB's column {missing[0]} is missing.")
    query = _placed(row["qry"], row["qry_image_path"], images, where)
    positive = _placed(row["pos_text"], row["pos_image_path"], images, where)
    texts, paths = (_listed(row.get(name)) for name in ("neg_text", "neg_image_path"))
    texts, paths = texts or [""] * len(paths), paths or [""] * len(texts)
    if len(texts) != len(paths):
        raise ValueError(f"{where}: {len(texts)} neg_text, but {len(paths)} neg_image_path.")
    negatives = [(text, path) for text, path in zip(texts, paths, strict=True) if text or path]
    return Example(query, positive, tuple(_placed(text, path, images, where) for text, path in negatives))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []


def _placed(text: Any, path: Any, images: Path, where: str) -> StoredItem:
    """From MMEB's text, without the image placeholder, and image path."""
    if isinstance(text, str) and PLACEHOLDER in text:
        if not path:
            raise ValueError(f"{where}: {text!r} has a place for a picture, but there is none.")
        text = text.replace(PLACEHOLDER, "").strip()
    return _checked(text, path, images, where)


def _checked(text: Any, image: Any, images: Path, where: str) -> StoredItem:
    for name, value in (("text", text), ("image", image)):
        if value is not None and not isinstance(value, str):
            raise ValueError(f"{where}: {name} is {value!r}, not a string.")
    if not (text or "").strip() and not image:
        raise ValueError(f"{where}: an item has neither text nor image.")
    picture = images / image if image else None
    if picture is not None and not picture.is_file():
        raise ValueError(f"{where}: there is no picture {picture}.")
    return StoredItem(text or "", picture, where)


def optional_import(name: str) -> Any:
    """Import a module for reading tables. Raises ValueError naming what to install when it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(f"Parquet files and saved data sets need a package: {install('train')}") from error


def _columns(file: Path) -> set[str]:
    pa, pq = optional_import("pyarrow"), optional_import("pyarrow.parquet")
    try:
        return set(pq.read_schema(file).names)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{file} is not readable Parquet: {error}") from error


def _table(path: Path) -> Any:
    """A Parquet file, or a folder saved by `datasets`, with undecoded images."""
    datasets = optional_import("datasets")
    table: Any = (
        datasets.load_from_disk(str(path)) if path.is_dir() else datasets.Dataset.from_parquet(str(path))
    )
    if not isinstance(table, datasets.Dataset):
        raise ValueError(f"{path} holds several splits; give the folder of one of {sorted(table)}.")
    if isinstance(table.features.get("image"), datasets.Image):
        table = table.cast_column("image", datasets.Image(decode=False))
    return table


def _colpali(table: Any, file: Path, folder: Path) -> Iterator[Example]:
    """Rows with a query; pages without one are skipped."""
    if missing := {"query", "image"} - set(table.column_names):
        raise ValueError(f"{file} has no column {sorted(missing)[0]}.")
    for row, query in enumerate(table["query"]):
        where = f"{file}, row {row + 1}"
        if query is not None and not isinstance(query, str):
            raise ValueError(f"{where}: query is {query!r}, not a string.")
        if query and query.strip():
            yield Example(
                StoredItem(query, None, where), StoredItem("", TableImage(table, row, folder), where)
            )


def digest(examples: Sequence[Example]) -> str:
    """A hash of all examples, in order: their texts, and names and sizes of their images."""
    found = hashlib.sha256()
    for example in examples:
        for item in (example.query, example.positive, *example.negatives):
            found.update(item.mark().encode("utf-8", "surrogatepass") + b"\1")
        found.update(b"\2")
    return found.hexdigest()


class Batches:
    """Endless batches of examples, deterministic by seed and independent of the number of processes.

    Queries and positives are unique within a batch, as duplicates would be false negatives. Conflicting
    examples are deferred to a later batch of the epoch; an incomplete last batch is dropped.
    """

    def __init__(self, examples: Sequence[Example], size: int, seed: int) -> None:
        self.examples, self.size, self.seed = examples, size, seed
        self.waiting: list[int] = []
        self._keys: dict[int, tuple[str, str]] = {}
        self._begin(0)

    def take(self) -> list[int]:
        """The next batch: indices of `size` examples.

        Raises:
            ValueError: when an epoch does not fill one batch.
        """
        while (batch := self._fill()) is None:
            if self.taken == 0:
                raise ValueError(
                    f"A batch of {self.size} needs as many different queries and pages that answer; "
                    f"{len(self.examples)} examples do not have them. Lower --batch or add data."
                )
            self._begin(self.epoch + 1)
        self.taken += 1
        return batch

    def state(self) -> dict[str, Any]:
        """The position in the data, for `restore`."""
        names = ("epoch", "cursor", "taken")
        return {name: getattr(self, name) for name in names} | {"waiting": list(self.waiting)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._begin(state["epoch"])
        self.cursor, self.taken, self.waiting = state["cursor"], state["taken"], list(state["waiting"])

    def key(self, row: int) -> tuple[str, str]:
        """Keys of an example's query and positive, cached."""
        if row not in self._keys:
            example = self.examples[row]
            self._keys[row] = example.query.key(), example.positive.key()
        return self._keys[row]

    def _begin(self, epoch: int) -> None:
        self.epoch, self.cursor, self.taken = epoch, 0, 0
        self.waiting = []
        self.order = list(range(len(self.examples)))
        random.Random(self.seed * 1_000_003 + epoch).shuffle(self.order)

    def _fill(self) -> list[int] | None:
        batch: list[int] = []
        late: list[int] = []
        queries: set[str] = set()
        pages: set[str] = set()
        earlier = iter(self.waiting)
        while len(batch) < self.size:
            row = next(earlier, None)
            if row is None:
                if self.cursor == len(self.order):
                    return None
                row = self.order[self.cursor]
                self.cursor += 1
            query, page = self.key(row)
            if query in queries or page in pages:
                late.append(row)
            else:
                batch.append(row)
                queries.add(query)
                pages.add(page)
        self.waiting = late + list(earlier)
        return batch


def share(rows: Sequence[int], process: int, processes: int) -> list[int]:
    """One process's part of a batch.

    >>> share([5, 6, 7, 8], 1, 2)
    [7, 8]
    """
    part = len(rows) // processes
    return list(rows[process * part : (process + 1) * part])


def hard_negatives(examples: Sequence[Example], count: int, own: bool = True) -> list[list[StoredItem]]:
    """At most `count` hard negatives per example of a batch, without pages that are positives in the batch.

    own: each is compared with its own query alone, so two examples may have the same one; else every query is
        compared with all of them, and a page is among them once.
    """
    seen = {example.positive.key() for example in examples} if count else set()
    found: list[list[StoredItem]] = []
    for example in examples:
        new = {side.key(): side for side in example.negatives[:count]}
        found.append([side for key, side in new.items() if key not in seen])
        if not own:
            seen |= set(new)
    return found


def owners(hard: Sequence[Sequence[StoredItem]], processes: int) -> list[int]:
    """The query (its row in the batch) of each page of a batch; -1: a positive, compared with all queries.

    In the order of pages: for each process its positives, then the hard negatives of its queries.

    >>> page = StoredItem("a page")
    >>> owners([[page], [], [page, page], []], 2)
    [-1, -1, 0, -1, -1, 2, 2]
    """
    found: list[int] = []
    for process in range(processes):
        rows = share(range(len(hard)), process, processes)
        found += [-1] * len(rows) + [i for i in rows for _ in hard[i]]
    return found
