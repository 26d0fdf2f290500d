"""Writing so that a crash at any instant leaves the last good state, and reading rows of large arrays."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

READERS = 16  # threads that wait for the disk
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


def gather(reader: Reader, rows: NDArray[np.int64], first: int) -> NDArray[Any]:
    """(m, first, ...): the first entries along the second axis of the rows asked for.

    Sixteen threads read at a time: from a cold disk that is several times faster than page faults one by one.
    """
    stride = int(np.prod(reader.shape)) * reader.dtype.itemsize
    out = np.empty((len(rows), first, *reader.shape[1:]), reader.dtype)
    wanted = out[0].nbytes if len(rows) else 0
    view = out.reshape(-1).view(np.uint8).data

    def read(chunk: NDArray[np.int64]) -> None:
        for at in chunk.tolist():
            start = reader.offset + int(rows[at]) * stride
            _read_into(reader.descriptor, view[at * wanted : (at + 1) * wanted], start)

    pieces = np.array_split(np.arange(len(rows)), min(READERS, max(1, len(rows) // 8)))
    if len(pieces) == 1:
        read(pieces[0])
    else:
        list(_readers().map(read, pieces))
    return out


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
