"""Writing so that a crash at any instant leaves the last good state, and reading rows of large arrays."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
import weakref
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

READERS = 16  # threads that wait for the disk
FEW = 8  # rows that are not worth threads
READS_AHEAD = hasattr(os, "posix_fadvise")  # whether the system reads on while the process goes on: Linux
_SEEKING = threading.Lock()


def sha256(data: bytes) -> str:
    """Hex digest of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_of(path: Path) -> str:
    """Hex digest of a file, read a piece at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def write(path: Path, data: bytes) -> None:
    """Put `data` at `path` whole or not at all, replacing what was there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make renames within a folder durable. Not every system lets a folder be opened; then it can't."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: dict[str, Any]) -> None:
    write(path, json.dumps(value, indent=1).encode("ascii"))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from `path`.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it holds something else than a JSON object.
    """
    try:
        value = json.loads(path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} is damaged: it holds no JSON object.")
    return value


@dataclass(frozen=True)
class Reader:
    """An array (n, ...) in a file that stays open, whatever becomes of its name."""

    descriptor: int
    offset: int  # bytes before the first row
    dtype: np.dtype[Any]
    shape: tuple[int, ...]  # of a row

    @classmethod
    def of(cls, descriptor: int, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Reader:
        """A reader with a descriptor of its own, closed with it."""
        reader = cls(os.dup(descriptor), offset, dtype, shape)
        weakref.finalize(reader, os.close, reader.descriptor)
        return reader


def read_ahead(reader: Reader, rows: NDArray[np.int64], first: int) -> None:
    """Have the system read what `gather` will ask for into its cache, many rows at once, and return.

    Nothing happens where the system cannot be asked.
    """
    if READS_AHEAD:
        for _, _, start, size in _runs(reader, rows, first):
            os.posix_fadvise(reader.descriptor, start, size, os.POSIX_FADV_WILLNEED)


def gather(reader: Reader, rows: NDArray[np.int64], first: int) -> NDArray[Any]:
    """(m, first, ...): the first entries along the second axis of the rows asked for.

    From a cold disk, `read_ahead` of all that will be wanted makes it several times faster, and so do sixteen
    threads that read at a time, where the system does not read ahead.
    """
    out = np.empty((len(rows), first, *reader.shape[1:]), reader.dtype)
    view = out.reshape(-1).view(np.uint8).data

    def read(runs: Iterable[tuple[int, int, int, int]]) -> None:
        for place, end, start, _ in runs:
            _read_into(reader.descriptor, view[place:end], start)

    if READS_AHEAD or len(rows) < 2 * FEW:
        read(_runs(reader, rows, first))
    else:
        runs = list(_runs(reader, rows, first))
        pieces = min(READERS, len(runs))
        list(_readers().map(read, [runs[at::pieces] for at in range(pieces)]))
    return out


def _runs(reader: Reader, rows: NDArray[np.int64], first: int) -> Iterator[tuple[int, int, int, int]]:
    """What is read at a time: its place and end among the bytes wanted, its start and size in the file.

    Whole rows that follow each other are one.
    """
    stride = int(np.prod(reader.shape)) * reader.dtype.itemsize
    wanted = stride * first // reader.shape[0]
    if not len(rows):
        return
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1 if wanted == stride else np.arange(1, len(rows))
    edges = [0, *breaks.tolist(), len(rows)]
    for row, (at, end) in zip(rows[edges[:-1]].tolist(), pairwise(edges), strict=True):
        yield at * wanted, end * wanted, reader.offset + row * stride, (end - at) * wanted


def _read_into(descriptor: int, place: memoryview, start: int) -> None:
    while len(place):
        if hasattr(os, "preadv"):
            got = os.preadv(descriptor, [place], start)
        else:  # Windows: no read at a place, so one reader at a time
            with _SEEKING:
                os.lseek(descriptor, start, os.SEEK_SET)
                data = os.read(descriptor, len(place))
            got = len(data)
            place[:got] = data
        if not got:
            raise OSError("The index file ends early: it was cut off while it was open.")
        place, start = place[got:], start + got


@cache
def _readers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(READERS, "metaembed-read")


FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # what a system says that has no room left
# To a visitor, so without this machine's paths.
FULL_DISK = "The server's disk is full. Try again later, or tell whoever runs it."


def is_full(error: Exception) -> bool:
    """Whether it says that the disk, or what one may have of it, is used up."""
    return isinstance(error, OSError) and error.errno in FULL
