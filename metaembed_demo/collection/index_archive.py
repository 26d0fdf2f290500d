"""Unpacking an index file: only the files of a saved collection, each within a size of its own.

Sizes and counts come from the archive's directory, whose own size is checked before it is read.
"""

from __future__ import annotations

import io
import os
import re
import stat
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from metaembed_demo.core.config import Limits
from metaembed_demo.core.disk import is_full
from metaembed_demo.core.text import bytes_text
from metaembed_demo.core.types import Upload
from metaembed_demo.documents import zip_archive

# What a saved collection consists of; see collection/persistence.py and index/segments.py.
KNOWN = re.compile(
    r"manifest\.json|table-[0-9a-f]+\.json\.gz|codec-[0-9a-f]+\.safetensors|texts/[0-9a-f]+\.bin"
    r"|segments/[0-9a-f]+/(ids\.json|[a-z]+(\.\d)?\.npy)|images/[\w-]{1,64}\.jpg"
)
METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # the others' decoders take memory as the file says
BESIDE = 4  # entries of other programs for each that an index may have, as file managers add them
ENTRY = 512  # bytes of the directory for an entry, of which the name takes most
MOST_MANIFEST = 1 << 20  # bytes
MOST_PICTURE = 4 << 20  # bytes; noise of 1,200 x 1,200 pixels takes 1.5 MB
MOST_CODEC = 64 << 20  # bytes; the codebook of 8,192 components takes 8 MB
ROW = 4 << 10  # bytes of the table for a page, with the names of its documents
ID = 80  # bytes of a page's id in a list
AGAIN = "Download it again."
InTime = Callable[[], None]  # raises Refused when the time limit is exceeded


class Refused(ValueError):
    """An index file that is not opened. The message names the file, the reason and a remedy."""


def damaged(name: str, reason: str) -> Refused:
    return Refused(f"{name} is damaged: {reason}. {AGAIN}")


class _Bounded(io.FileIO):
    """A file of which at most `most` bytes are read at once: `zipfile` reads the directory in one piece."""

    def __init__(self, path: Path, most: int) -> None:
        super().__init__(path)
        self.most = most

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            size = max(0, os.fstat(self.fileno()).st_size - self.tell())
        if size > self.most:
            raise _TooMuch
        return super().read(size) or b""


class _TooMuch(Exception):
    """The directory is larger than that of any index."""


def unpack(file: Upload, folder: Path, limits: Limits, in_time: InTime = lambda: None) -> set[str]:
    """Write only the files of an index into `folder`. Returns their paths in the index.

    Raises:
        Refused: when it is no index file, is damaged, or holds more than the limits allow.
    """
    name = file.name
    most = _most_files(limits)
    try:
        opened = _Bounded(file.path, max(zip_archive.MEBIBYTE, ENTRY * most))
    except OSError as error:
        raise Refused(f"{name} cannot be opened. Add it again.") from error
    with opened:
        try:
            packed = zipfile.ZipFile(opened)
        except _TooMuch:
            raise Refused(f"{name} holds more files than an index has, which are {most:,} at most.") from None
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise Refused(f"{name} is no .zip file, or is cut off. {AGAIN}") from error
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
                        raise Refused(f"{name} cannot be unpacked: {zip_archive.NO_ROOM}") from error
                    raise damaged(name, f"{path} cannot be unpacked") from error
    return set(wanted)


def _most_files(limits: Limits) -> int:
    return limits.max_archive_files + limits.max_session_pages  # one picture per page, plus other files


def _wanted(name: str, entries: Sequence[zipfile.ZipInfo], limits: Limits) -> dict[str, zipfile.ZipInfo]:
    """Path in the index -> entry, from the archive's directory alone."""
    most = _most_files(limits)
    if len(entries) > BESIDE * most:
        raise Refused(f"{name} holds {len(entries):,} files, over the limit of {most:,} for an index.")
    files = [info for info in entries if not info.is_dir()]
    for info in files:
        if _strays(info):
            raise Refused(
                f"{name} holds {info.filename[:80]!r}, a path that leads elsewhere, which no index does. "
                "Open a file that was downloaded here."
            )
    root = _root(files)
    if root is None:
        raise Refused(
            f"{name} is no index: it holds no manifest.json. Open a file that Download the index gave; "
            "documents are dropped above."
        )
    inside = {info.filename[len(root) :]: info for info in files if info.filename.startswith(root)}
    wanted = {path: info for path, info in inside.items() if KNOWN.fullmatch(path)}
    if len(wanted) > most:
        raise Refused(f"{name} holds {len(wanted):,} files, over the limit of {most:,} for an index.")
    size = sum(info.file_size for info in wanted.values())
    if size > limits.max_archive_bytes:
        raise Refused(
            f"{name} unpacks to {bytes_text(size)}, over the limit of "
            f"{bytes_text(limits.max_archive_bytes)}. Save an index of fewer documents, "
            "or raise METAEMBED_MAX_ARCHIVE_BYTES."
        )
    for path, info in wanted.items():
        _check_entry(name, path, info, limits)
    return wanted


def _check_entry(name: str, path: str, info: zipfile.ZipInfo, limits: Limits) -> None:
    if info.flag_bits & 1:
        raise Refused(f"{name} is protected by a password. Pack it without one.")
    if info.compress_type not in METHODS:
        raise Refused(f"{name} is packed by a method that is not read. Pack it again with Deflate.")
    if zip_archive.is_bomb(info, limits):
        raise Refused(
            f"{name} looks like a decompression bomb: {info.filename} unpacks to "
            f"{info.file_size // max(1, info.compress_size):,} times its packed size. It was not opened."
        )
    if info.file_size > (most := _most_bytes(path, limits)):
        raise Refused(
            f"{name} was not opened: its {path} unpacks to {info.file_size:,} bytes, and that of an index "
            f"has at most {most:,}."
        )


def _most_bytes(path: str, limits: Limits) -> int:
    """Bytes that a file of an index may have, unpacked."""
    kind = PurePosixPath(path)
    if path == "manifest.json":
        return MOST_MANIFEST
    if kind.suffix == ".jpg":
        return MOST_PICTURE
    if kind.suffix == ".safetensors":
        return MOST_CODEC
    if kind.suffix == ".gz":
        return ROW * (limits.max_session_pages + 1)
    if kind.name == "ids.json":
        return ID * 2 * (limits.max_session_pages + 1)  # removed pages stay listed for a time
    return limits.max_archive_bytes


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
