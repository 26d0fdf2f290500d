"""Index files: a collection packed as one .zip file, and the checked import of such a file.

An index file is untrusted. Only file names of a saved collection are unpacked. Sizes are checked before
decompression and the content is checked before it is added, so that a refused file changes nothing.
"""

from __future__ import annotations

import gzip
import io
import json
import logging
import re
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from time import monotonic
from typing import Any

import numpy as np
from PIL import Image

from metaembed_demo.core import disk
from metaembed_demo.core.config import LIMITS, Limits
from metaembed_demo.core.disk import FULL_DISK, is_full, scratch_prefix
from metaembed_demo.core.types import WORD_KINDS, Upload
from metaembed_demo.documents import zip_archive
from metaembed_demo.documents.file_types import mebibytes

from . import persistence
from .collection import Collection
from .stored_page import StoredPage

NAME = "metaembed-index.zip"
FOLDER = "metaembed-index"  # in the archive
# What a saved collection consists of; see collection/persistence.py and index/segments.py.
KNOWN = re.compile(
    r"manifest\.json|table-[0-9a-f]+\.json\.gz|codec-[0-9a-f]+\.safetensors|texts/[0-9a-f]+\.bin"
    r"|segments/[0-9a-f]+/(ids\.json|[a-z]+(\.\d)?\.npy)|images/[\w-]{1,64}\.jpg"
)
MOST_ROW = 16 << 10  # bytes of the table for a page
MOST_WORDS = 16 << 20  # bytes of a page's words, unpacked
STEP = 256  # pages whose vectors are checked together
AGAIN = "Download it again."
InTime = Callable[[], None]  # raises when the time limit is exceeded
log = logging.getLogger(__name__)


def pack(collection: Collection, folder: Path) -> Path:
    """Write `collection` as one .zip into `folder`, which exists. Returns its path.

    Raises:
        OSError: when it cannot be written; no partial file is left.
        ValueError: when there are no pages.
    """
    if not len(collection):
        raise ValueError("There are no pages to pack. Add documents first.")
    try:
        return _pack(collection, folder / NAME)
    except OSError as error:
        (folder / NAME).unlink(missing_ok=True)
        if is_full(error):
            raise OSError(FULL_DISK) from error
        raise


def _pack(collection: Collection, target: Path) -> Path:
    # Not in the system's temporary folder: this folder is removed even after this process was killed.
    with tempfile.TemporaryDirectory(prefix="metaembed-", dir=target.parent) as scratch:
        saved = Path(scratch, "index")
        collection.save(saved)
        # JPEG pictures and vectors do not compress.
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as packed:
            for file in sorted(each for each in saved.rglob("*") if each.is_file()):
                packed.write(file, f"{FOLDER}/{file.relative_to(saved).as_posix()}")
    return target


def add(collection: Collection, file: Upload, limits: Limits = LIMITS) -> tuple[int, int]:
    """Add the pages of an index file to `collection`. Sources whose names are taken are renamed.

    Returns:
        The number of pages added, and the number of pages in the file.

    Raises:
        ValueError: when it is no index file, is damaged, was made by another encoder, holds more than the
            limits allow, or takes longer than a job may. The message names the file, the error and a remedy;
            nothing is added.
    """
    in_time = _until(monotonic() + limits.seconds_per_job, file.name, limits)
    with tempfile.TemporaryDirectory(prefix=scratch_prefix(), ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        unpack(file, folder, limits, in_time)
        found = _load(file.name, folder, collection, limits, in_time)
        with collection.lock:
            new = sum(page_id not in collection.pages for page_id in found.pages)
            _check_room(file.name, new, len(collection), limits)
            return collection.merge(found), len(found)


def _until(ends: float, name: str, limits: Limits) -> InTime:
    """A check that raises _Refused once the monotonic clock is past `ends`."""

    def in_time() -> None:
        if monotonic() > ends:
            raise _Refused(
                f"{name} takes more than {limits.seconds_per_job:,g} s to open. Save an index of fewer "
                "documents, or raise METAEMBED_SECONDS_PER_JOB."
            )

    return in_time


# Unpacking


def unpack(file: Upload, folder: Path, limits: Limits, in_time: InTime = lambda: None) -> None:
    """Write only the files of an index into `folder`. Raises ValueError as `add`."""
    name = file.name
    try:
        packed = zipfile.ZipFile(file.path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise ValueError(f"{name} is no .zip file, or is cut off. {AGAIN}") from error
    with packed:
        wanted = _wanted(name, packed.infolist(), limits)
        for path, info in wanted.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            in_time()
            try:
                zip_archive.unpack(packed, info, target)
            except Exception as error:  # zipfile passes on any error of its decoders
                if is_full(error):
                    raise ValueError(f"{name} cannot be unpacked: {zip_archive.NO_ROOM}") from error
                raise ValueError(f"{name} is damaged: {path} cannot be unpacked. {AGAIN}") from error


def _wanted(name: str, entries: Sequence[zipfile.ZipInfo], limits: Limits) -> dict[str, zipfile.ZipInfo]:
    """Path in the index -> entry, from the archive's directory alone."""
    files = [info for info in entries if not info.is_dir()]
    for info in files:
        if _strays(info):
            raise ValueError(
                f"{name} holds {info.filename[:80]!r}, a path that leads elsewhere, which no index does. "
                "Open a file that was downloaded here."
            )
    root = _root(files)
    if root is None:
        raise ValueError(
            f"{name} is no index: it holds no manifest.json. Open a file that Download the index gave; "
            "documents are dropped above."
        )
    inside = {info.filename[len(root) :]: info for info in files if info.filename.startswith(root)}
    wanted = {path: info for path, info in inside.items() if KNOWN.fullmatch(path)}
    most = limits.max_archive_files + limits.max_session_pages  # one picture per page, plus other files
    if len(wanted) > most:
        raise ValueError(f"{name} holds {len(wanted):,} files, over the limit of {most:,} for an index.")
    size = sum(info.file_size for info in wanted.values())
    if size > limits.max_archive_bytes:
        raise ValueError(
            f"{name} unpacks to {mebibytes(size)}, over the limit of {mebibytes(limits.max_archive_bytes)}. "
            "Save an index of fewer documents, or raise METAEMBED_MAX_ARCHIVE_BYTES."
        )
    for info in wanted.values():
        if info.flag_bits & 1:
            raise ValueError(f"{name} is protected by a password. Pack it without one.")
        if zip_archive.is_bomb(info, limits):
            raise ValueError(
                f"{name} looks like a decompression bomb: {info.filename} unpacks to "
                f"{info.file_size // max(1, info.compress_size):,} times its packed size. It was not opened."
            )
    return wanted


def _strays(info: zipfile.ZipInfo) -> bool:
    """Whether an entry is a link, or its path leads out of the target folder."""
    path = PurePosixPath(info.filename)
    return (
        stat.S_ISLNK(info.external_attr >> 16)
        or path.is_absolute()
        or ".." in path.parts
        or "\\" in info.filename
        or re.match(r"[A-Za-z]:", info.filename) is not None
    )


def _root(files: Sequence[zipfile.ZipInfo]) -> str | None:
    """The path prefix of the index: empty, or the one folder that holds it. None if there is no manifest."""
    heads = [info.filename for info in files if PurePosixPath(info.filename).name == "manifest.json"]
    roots = [head.removesuffix("manifest.json") for head in heads if head.count("/") <= 1]
    return min(roots, key=len, default=None)


# Checking the unpacked files


def _load(name: str, folder: Path, home: Collection, limits: Limits, in_time: InTime) -> Collection:
    """The collection in `folder`, checked to be compatible with `home`. Raises ValueError as `add`."""
    try:
        head = disk.read_json(folder / "manifest.json")
        _check_head(name, head, home, limits)
        _check_sizes(name, folder, head, limits, in_time)
        found = Collection.load(folder, home.fingerprint)
        _check_pages(name, found, limits, in_time)
        _check_vectors(name, found, home, in_time)
    except _Refused as refused:
        raise ValueError(str(refused)) from refused
    except Exception as error:  # an untrusted file can be wrong in any way
        log.info("%s was refused", name, exc_info=True)
        raise ValueError(f"{name} is damaged: {_reason(error)}. {AGAIN}") from error
    return found


class _Refused(ValueError):
    """A message that is shown to the visitor unchanged."""


def _reason(error: Exception) -> str:
    """The reason, without this machine's paths and without the remedy, which is for saved folders."""
    reason = re.search(r"damaged: (.+?)(\. [A-Z]|\.?$)", str(error))
    if isinstance(error, FileNotFoundError):
        return f"{Path(str(error.filename)).name} is missing"
    if isinstance(error, ValueError) and reason:
        return reason[1]
    return "its content is not that of an index"


def _check_head(name: str, head: dict[str, Any], home: Collection, limits: Limits) -> None:
    if head.get("kind") != persistence.KIND:
        raise _Refused(f"{name} is no index: its manifest.json is of some other program.")
    if head.get("format") != persistence.FORMAT:
        raise _Refused(
            f"{name} has format {str(head.get('format'))[:20]}; this program reads {persistence.FORMAT}. "
            "Add the documents themselves."
        )
    if head.get("encoder") != home.fingerprint:
        raise _Refused(
            f"{name} was made by another encoder ({str(head.get('encoder'))[:80]}, not {home.fingerprint}), "
            "so its vectors do not fit. Choose that encoder first, or add the documents themselves."
        )
    _check_room(name, int(head["pages"]), 0, limits)


def _check_room(name: str, new: int, here: int, limits: Limits) -> None:
    if new + here > limits.max_session_pages:
        beside = f" beside the {here:,} that are here" if here else ""
        raise _Refused(
            f"{name} holds {new:,} pages to add{beside}, over the limit of {limits.max_session_pages:,}. "
            "Remove documents, or raise METAEMBED_MAX_SESSION_PAGES."
        )


def _check_sizes(name: str, folder: Path, head: dict[str, Any], limits: Limits, in_time: InTime) -> None:
    """Check that the table and every page's words stay within their size limits when unpacked."""
    most = max(1, limits.max_session_pages) * MOST_ROW
    with gzip.open(folder / Path(head["table"]["file"]).name) as table:
        text = table.read(most + 1)
    if len(text) > most:
        raise _Refused(f"{name} looks like a decompression bomb: its table is too long. It was not opened.")
    rows = json.loads(text)
    _check_room(name, len(rows), 0, limits)
    for row in rows:
        in_time()
        record = persistence.Record.of_row(folder, row)
        unpacking = zlib.decompressobj()
        unpacking.decompress(record.packed(), MOST_WORDS)
        if not unpacking.eof:
            raise _Refused(f"{name} looks like a decompression bomb: a page's words do not end.")


def _check_pages(name: str, found: Collection, limits: Limits, in_time: InTime) -> None:
    """Check the types and sizes of pages: checksums only show that they were not altered."""
    for page in found.pages.values():
        in_time()
        if not _is_page(page, limits):
            raise _Refused(f"{name} is damaged: it holds a page that is none. {AGAIN}")


def _is_page(page: StoredPage, limits: Limits) -> bool:
    places = all(
        isinstance(source, str) and type(number) is int and number > 0 for source, number in page.places
    )
    words = all(
        isinstance(word.text, str)
        and word.kind in WORD_KINDS
        and np.isfinite(word.box).all()
        and isinstance(word.confidence, int | float)
        and 0 <= word.confidence <= 1
        for word in page.words
    )
    with Image.open(io.BytesIO(page.picture)) as picture:  # reads only the header
        shape = picture.format == "JPEG" and picture.size == (page.width, page.height)
    shape = shape and re.fullmatch("[a-z]{2,3}|", page.language) is not None
    return places and words and shape and page.width * page.height <= limits.max_pixels


def _check_vectors(name: str, found: Collection, home: Collection, in_time: InTime) -> None:
    index = found.index
    if (index.r_c, index.dim) != (home.index.r_c, home.index.dim):
        raise _Refused(f"{name} is damaged: its vectors have another shape than this encoder's. {AGAIN}")
    ids = index.ids
    for start in range(0, len(ids), STEP):
        in_time()
        if not np.isfinite(index.full(ids[start : start + STEP])).all():
            raise _Refused(f"{name} is damaged: it holds vectors that are not finite. {AGAIN}")
