"""Reads rows of large arrays on disk, with read-ahead and in parallel."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

READERS = 16  # reader threads
FEW = 8  # fewer rows are read without threads
READS_AHEAD = hasattr(os, "posix_fadvise")  # asynchronous read-ahead (Linux)
_SEEKING = threading.Lock()


@dataclass(frozen=True)
class Reader:
    """An array (n, ...) in an open file, which may be renamed or deleted."""

    descriptor: int
    offset: int  # bytes before the first row
    dtype: np.dtype[Any]
    shape: tuple[int, ...]  # of a row

    @classmethod
    def of(cls, descriptor: int, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Reader:
        """A reader with a duplicate of `descriptor`, closed with the reader."""
        reader = cls(os.dup(descriptor), offset, dtype, shape)
        weakref.finalize(reader, os.close, reader.descriptor)
        return reader


def read_ahead(reader: Reader, rows: NDArray[np.int64], first: int) -> None:
    """Start reading the rows for `gather` into the page cache; returns at once. No-op where unsupported."""
    if READS_AHEAD:
        for _, _, start, size in _runs(reader, rows, first):
            os.posix_fadvise(reader.descriptor, start, size, os.POSIX_FADV_WILLNEED)


def gather(reader: Reader, rows: NDArray[np.int64], first: int) -> NDArray[Any]:
    """(m, first, ...): the first entries along the second axis of `rows`.

    From a cold disk, a preceding `read_ahead` makes it several times faster; without read-ahead support,
    READERS threads do.
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
    """Read operations: start and end in the output, offset and size in the file, in bytes.

    Consecutive whole rows are merged.
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
        else:  # Windows has no positional read, so reads are serialised
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
