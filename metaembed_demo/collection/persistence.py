"""A collection on disk. manifest.json lists all files in use and is replaced last.

    DIR/manifest.json            format, encoder, counts, checksums, the head of index/segments.py;
                                 the calibrations of its pages (calibration.py), if there are any
    DIR/segments/<digest>/       vectors, one folder per block of the index
    DIR/texts/<digest>.bin       page words: concatenated compressed records, written once
    DIR/table-<digest>.json.gz   each page's places and the location of its record
    DIR/images/<page id>.jpg     page pictures

Adding to a saved collection writes the new pages, the table and the manifest. A crash before the manifest is
replaced leaves the previous state; a crash afterwards leaves unused files, which the next save removes.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import json
import re
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from metaembed_demo.core import disk
from metaembed_demo.core.disk import is_full
from metaembed_demo.index import segments
from metaembed_demo.index.base import MultiVectorIndex
from metaembed_demo.index.local import LocalIndex

from .calibration import Kept
from .page_store import PageStore, Saved
from .stored_page import Place, StoredPage

FORMAT = 2
KIND = "metaembed-demo collection"
EAGER = 5_000  # pages; larger collections load words and pictures on demand
FEW_TEXTS = 16  # files of words; above this number the small ones are merged
SMALL_TEXT = 1 << 20  # bytes
PIECE = 1 << 20  # bytes compared at a time
CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}
LEFT = re.compile(
    r"segments|images|texts|segments/(\.new-[0-9a-f]+|[0-9a-f]{20})(/[\w.]+)?"
    r"|(images/\.?[0-9a-f]{20}\.jpg|texts/\.?[0-9a-f]{20}\.bin|\.manifest\.json"
    r"|\.?table-[0-9a-f]{20}\.json\.gz|\.?codec-[0-9a-f]{16}\.safetensors)(\.\d+\.tmp)?"
)


@dataclass(frozen=True)
class Record:
    """Location of a page in a saved collection: `length` bytes of texts/`file` from `offset`."""

    path: Path  # of the collection
    id: str
    places: tuple[Place, ...]
    file: str
    offset: int
    length: int
    digest: str
    language: str = ""
    added: int = 0

    def load(self) -> StoredPage:
        """Raises ValueError when the record or the picture is damaged or missing."""
        value = json.loads(zlib.decompress(self.packed()))
        picture = _picture(self.path, self.id).read_bytes()
        if disk.sha256(picture) != value["picture_sha256"]:
            source, number = self.places[0]
            raise _damaged(self.path, f"the checksum of the picture of {source} page {number} is wrong")
        return replace(StoredPage.from_json(value, picture).at(self.places), added=self.added)

    def packed(self) -> bytes:
        """The compressed record. Raises ValueError when its checksum is wrong."""
        name = self.path / "texts" / self.file
        within = self.offset >= 0 and 0 <= self.length <= name.stat().st_size - self.offset
        data = b""
        if within:  # so that no announced length is allocated
            with name.open("rb") as file:
                file.seek(self.offset)
                data = file.read(self.length)
        if not within or disk.sha256(data)[:16] != self.digest:
            source = self.places[0][0]
            raise _damaged(self.path, f"the checksum of the words of {source} is not the recorded one")
        return data

    def as_row(self) -> list[Any]:
        row = [self.id, [list(p) for p in self.places], self.file, self.offset, self.length, self.digest]
        more = [self.language, self.added] if self.added else [self.language] if self.language else []
        return [*row, *more]

    @classmethod
    def of_row(cls, path: Path, row: list[Any]) -> Record:
        page_id, places, file, offset, length, digest, *more = row
        pairs = tuple((source, number) for source, number in places)
        language, added = [*more, *("", 0)[len(more) :]][:2]  # older tables lack them
        return cls(path, page_id, pairs, _plain(file), offset, length, digest, str(language), added)


def is_saved(path: Path) -> bool:
    """Whether a collection was saved at `path`."""
    return (path / "manifest.json").is_file()


def check_target(path: Path) -> None:
    """Raises ValueError when `path` holds anything other than a collection."""
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path} is a file. Name a folder for the index.")
    if path.is_dir() and not is_saved(path) and not _is_left(path):
        raise ValueError(f"{path} holds other files and no index. Name a new or an empty folder.")
    if is_saved(path):
        manifest(path)


def _is_left(path: Path) -> bool:
    """Whether `path` holds only the remains of an interrupted first save, which the next save may remove."""
    return all(LEFT.fullmatch(file.relative_to(path).as_posix()) for file in path.rglob("*"))


def save(
    path: Path,
    fingerprint: str,
    index: MultiVectorIndex,
    pages: PageStore,
    calibrated: dict[str, Any] | None = None,
) -> None:
    """Write a collection into the folder `path`, with its calibrations as `Kept.as_json` gives them.

    Raises:
        OSError: when the disk is full or not writable. An existing index remains unchanged.
        ValueError: when `path` holds something other than an index, or `index` is not in this process.
    """
    check_target(path)
    if not index.in_process:
        raise ValueError(f"Only an index in this process is saved in a folder, not {type(index).__name__}.")
    try:
        _save(path, fingerprint, index, pages, calibrated or {})
    except OSError as error:
        _give_back(path)
        raise _explained(path, error) from error


def _give_back(path: Path) -> None:
    """Remove the files of a failed save, as far as possible."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        if is_saved(path):
            head = manifest(path)
            _clear_away(path, head, _read_table(path, head["table"]))
        elif _is_left(path):
            for each in path.iterdir():
                shutil.rmtree(each) if each.is_dir() else each.unlink()


def _explained(path: Path, error: OSError) -> OSError:
    """`error` with the folder and a remedy in its message, if the disk is full or not writable."""
    if is_full(error):
        why = (
            f"There is no room for the index in {path} ({error.strerror}). What was saved there before is "
            "unchanged. Free some space there, or name a folder on another disk."
        )
    elif error.errno in CLOSED:
        why = f"{path} cannot be written ({error.strerror}). Change its permissions, or name another folder."
    else:
        return error
    explained = OSError(why)
    explained.errno = error.errno  # set without strerror, so that str() gives `why` alone
    return explained


def _save(
    path: Path, fingerprint: str, index: MultiVectorIndex, pages: PageStore, calibrated: dict[str, Any]
) -> None:
    known = _known(path)
    for folder in (path / "images", path / "texts"):
        folder.mkdir(parents=True, exist_ok=True)
    _clear_unfinished(path)
    vectors = index.write(path)
    records = list(_Writing(path, known).records(pages))
    table = _write_table(path, records)
    head = {
        "kind": KIND,
        "format": FORMAT,
        "encoder": fingerprint,
        "pages": len(records),
        "index": vectors,
        "table": table,
        **({"calibrations": calibrated} if calibrated else {}),
    }
    disk.sync_folder(path)
    disk.write_json(path / "manifest.json", head)
    _clear_away(path, head, records)


def calibrations(path: Path) -> Kept:
    """Those that `save` or `keep_calibrations` wrote. Raises ValueError when they are damaged."""
    try:
        return Kept.from_json(manifest(path).get("calibrations", {}))
    except ValueError as error:
        raise _damaged(path, f"its calibration is none ({error})") from error


def keep_calibrations(path: Path, kept: Kept) -> None:
    """Replace the calibrations of a saved collection, and nothing else.

    Raises:
        OSError: when the folder cannot be written.
        ValueError: when there is no index.
    """
    disk.write_json(path / "manifest.json", {**manifest(path), "calibrations": kept.as_json()})


def load(path: Path, fingerprint: str, kind: type[LocalIndex] = LocalIndex) -> tuple[LocalIndex, PageStore]:
    """Read what `save` wrote, as an index of `kind`. Raises ValueError as `Collection.load`."""
    head = manifest(path)
    if head["encoder"] != fingerprint:
        raise ValueError(
            f"The index at {path} was made by another encoder ({head['encoder']}, not {fingerprint}). "
            "Name the one that made it (--encoder), or index the files again into a new folder."
        )
    try:
        index = kind.of(*segments.read(path, head["index"]))
        records = _read_table(path, head["table"])
        store = PageStore()
        for record in records:
            store.keep(record.id, record.load() if len(records) <= EAGER else record)
    except FileNotFoundError as error:
        raise _damaged(path, f"{Path(str(error.filename)).name} is missing") from error
    if index.ids != list(store) or len(store) != head["pages"]:
        raise _damaged(path, "its pages and its vectors do not match")
    return index, store


def manifest(path: Path) -> dict[str, Any]:
    """The manifest of the index at `path`. Raises ValueError when there is none of this format."""
    if not path.is_dir():
        raise ValueError(f"There is no index at {path}: no such folder. Make one with the index command.")
    if not is_saved(path):
        raise ValueError(f"There is no index at {path}: the folder has no manifest.json.")
    head = disk.read_json(path / "manifest.json")
    if head.get("kind") != KIND:
        raise ValueError(f"{path} holds a manifest.json of some other program, not an index.")
    if head.get("format") != FORMAT:
        raise ValueError(
            f"The index at {path} has format {head.get('format')}; this program reads {FORMAT}. "
            "Index the files again into a new folder."
        )
    missing = {"encoder", "pages", "index", "table"} - head.keys()
    if missing:
        raise _damaged(path, f"manifest.json lacks {', '.join(sorted(missing))}")
    return head


class _Writing:
    """One save. Records of pages that are new to `path` go into one new file of texts."""

    def __init__(self, path: Path, known: dict[str, Record]) -> None:
        self.path = path
        self.known = known
        self.rewritten = _worn(path, known)  # files of texts whose records go into the new file
        self.data: list[bytes] = []
        self.size = 0

    def records(self, pages: PageStore) -> Iterator[Record]:
        """A record for every page, in order. The new file is written before the first record is yielded."""
        found = [self._record(page_id, page) for page_id, page in pages.entries()]
        data = b"".join(self.data)
        name = f"{disk.sha256(data)[:20]}.bin"
        if data and not _is(self.path / "texts" / name, data):
            disk.write(self.path / "texts" / name, data)
        for record in found:
            yield record if record.file else replace(record, file=name)

    def _record(self, page_id: str, page: Any) -> Record:
        if isinstance(page, Record) and page.path == self.path:
            # Loaded from here and unchanged: its picture and words are on disk already.
            return page if page.file not in self.rewritten else self._add(page_id, page, page.packed())
        if isinstance(page, Record):
            page = page.load()
        packed = _packed(page)
        _write_picture(self.path, page)
        old = self.known.get(page_id)
        if old and old.file not in self.rewritten and old.digest == disk.sha256(packed)[:16]:
            return replace(old, places=page.places, language=page.language, added=page.added)
        return self._add(page_id, page, packed)

    def _add(self, page_id: str, page: Saved | StoredPage, packed: bytes) -> Record:
        start, self.size = self.size, self.size + len(packed)
        self.data.append(packed)
        where = "", start, len(packed), disk.sha256(packed)[:16]
        return Record(self.path, page_id, page.places, *where, page.language, page.added)


def _packed(page: StoredPage) -> bytes:
    """A page's words as a compressed record. Its places are in the table because they may change."""
    value = {**page.as_json(), "source": "", "number": 0, "also": []}
    value["picture_sha256"] = disk.sha256(page.picture)
    return zlib.compress(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"), 6)


def _known(path: Path) -> dict[str, Record]:
    """The records of the collection at `path`; empty if there is none or it is damaged."""
    try:
        return {record.id: record for record in _read_table(path, manifest(path)["table"])}
    except (ValueError, OSError):
        return {}  # so everything is written again


def _worn(path: Path, known: dict[str, Record]) -> set[str]:
    """Files of texts to rewrite: those less than half in use, and the small ones if there are many files."""
    used: dict[str, int] = {}
    for record in known.values():
        used[record.file] = used.get(record.file, 0) + record.length
    files = {file: path / "texts" / file for file in used}
    sizes = {name: file.stat().st_size for name, file in files.items() if file.is_file()}
    small = [file for file, size in sizes.items() if size < SMALL_TEXT]
    worn = {file for file, size in sizes.items() if used[file] < size / 2}
    return worn | (set(small) if len(small) > FEW_TEXTS else set()) | (used.keys() - sizes.keys())


def _write_table(path: Path, records: list[Record]) -> dict[str, str]:
    text = json.dumps([record.as_row() for record in records], ensure_ascii=False)
    data = gzip.compress(text.encode("utf-8", "surrogatepass"), compresslevel=6, mtime=0)
    digest = disk.sha256(data)
    name = f"table-{digest[:20]}.json.gz"
    disk.write(path / name, data)
    return {"file": name, "sha256": digest}


def _read_table(path: Path, about: dict[str, str]) -> list[Record]:
    file = path / Path(about["file"]).name
    data = file.read_bytes()
    if disk.sha256(data) != about["sha256"]:
        raise _damaged(path, f"the checksum of {file.name} is not the recorded one")
    rows = json.loads(gzip.decompress(data).decode("utf-8", "surrogatepass"))
    return [Record.of_row(path, row) for row in rows]


@cache
def _plain(name: str) -> str:
    """A file name without any folder, because the table is not trusted. Cached: few names repeat often."""
    return Path(name).name


def _write_picture(path: Path, page: StoredPage) -> None:
    file = _picture(path, page.id)
    if not _is(file, page.picture):
        disk.write(file, page.picture)


def _is(file: Path, data: bytes) -> bool:
    """Whether `file` holds exactly `data`. Comparing is cheaper than hashing both."""
    if not file.is_file() or file.stat().st_size != len(data):
        return False
    there = memoryview(data)
    with file.open("rb") as opened:
        return all(opened.read(PIECE) == there[at : at + PIECE] for at in range(0, len(data), PIECE))


def _picture(path: Path, page_id: str) -> Path:
    if not re.fullmatch(r"[\w-]{1,64}", page_id):
        raise ValueError(f"{page_id!r} is no page id.")  # it becomes a file name
    return path / "images" / f"{page_id}.jpg"


def _clear_away(path: Path, head: dict[str, Any], records: list[Record]) -> None:
    segments.clear_away(path, head["index"])
    ids, texts = {record.id for record in records}, {record.file for record in records}
    unused = [file for file in path.glob("table-*.json.gz") if file.name != head["table"]["file"]]
    unused += [file for file in (path / "images").glob("*.jpg") if file.stem not in ids]
    unused += [file for file in (path / "texts").glob("*.bin") if file.name not in texts]
    for file in unused:
        file.unlink(missing_ok=True)


def _clear_unfinished(path: Path) -> None:
    """Remove temporary files of killed processes."""
    for folder in (path, path / "images", path / "texts"):
        for file in folder.glob(".*.tmp"):
            file.unlink(missing_ok=True)


def _damaged(path: Path, what: str) -> disk.Damaged:
    return disk.Damaged(f"The index at {path}", what, "Index the files again into a new folder.")
