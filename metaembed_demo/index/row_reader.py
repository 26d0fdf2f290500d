"""Rows of large arrays on disk, read ahead and many at a time."""

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

READERS = 16  # threads that wait for the disk
FEW = 8  # rows that are not worth threads
READS_AHEAD = hasattr(os, "posix_fadvise")  # whether the system reads on while the process goes on: Linux
_SEEKING = threading.Lock()


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
