"""The vectors of an unpacked index file, read row by row from files whose announced sizes are checked."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load

from metaembed_demo.core import disk
from metaembed_demo.core.types import FloatArray
from metaembed_demo.index import segments
from metaembed_demo.index.quantization import Codec, codec

MISFIT = "its pages and its vectors do not match"
SHAPE = "its vectors have another shape than this encoder's"
MOST_HEADER = 1_000  # characters of the header of an array
HALF = np.dtype(np.float16)


class Broken(Exception):
    """The vectors are not those of an index; the message is a reason that names no path."""


@dataclass(frozen=True)
class _Rows:
    """An array (n, *shape) on disk."""

    file: Path
    start: int  # byte of the first row
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, file: Path, n: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> _Rows:
        """Raises Broken unless `file` is such an array, with as many bytes as it announces."""
        size = int(np.prod(shape)) * dtype.itemsize
        with file.open("rb") as opened:
            if np.lib.format.read_magic(opened) != (1, 0):
                raise Broken(MISFIT)
            head = np.lib.format.read_array_header_1_0(opened, max_header_size=MOST_HEADER)
            start = opened.tell()
        if head != ((n, *shape), False, dtype) or file.stat().st_size != start + n * size:
            raise Broken(MISFIT)
        return cls(file, start, shape, dtype)

    def row(self, at: int) -> NDArray[Any]:
        size = int(np.prod(self.shape)) * self.dtype.itemsize
        with self.file.open("rb") as opened:
            opened.seek(self.start + at * size)
            return np.frombuffer(opened.read(size), self.dtype).reshape(self.shape)


class Vectors:
    """The vectors (r_c, dim) of each page in the folder of an index."""

    def __init__(self, folder: Path, head: dict[str, Any], r_c: int, dim: int, most: int) -> None:
        """head: from the manifest. most: pages that there may be.

        Raises:
            Broken, ValueError, OSError and what a head of nonsense raises: when they are not those of an
            index, or of other sizes than they announce.
        """
        segments.check(folder, head)
        if (head["r_c"], head["dim"]) != (r_c, dim):
            raise Broken(SHAPE)
        self._codec = _codec(folder, head, r_c, dim)
        self._blocks: list[list[_Rows]] = []
        self._at: dict[str, tuple[int, int]] = {}  # page id in the file -> block, row
        if len({segment["name"] for segment in head["segments"]}) != len(head["segments"]):
            raise Broken(MISFIT)
        for segment in head["segments"]:
            if segment["pages"] > 2 * (most + 1):
                raise Broken(MISFIT)
            self._open(folder / "segments" / Path(segment["name"]).name, segment)

    @property
    def ids(self) -> list[str]:
        return list(self._at)

    def of(self, page_id: str) -> FloatArray:
        """(r_c, dim) float32. Raises Broken when one is not finite."""
        block, row = self._at[page_id]
        parts = [rows.row(row)[None] for rows in self._blocks[block]]
        found = parts[0] if self._is_full(block) else self._codec.decode(parts)
        if not np.isfinite(found).all():
            raise Broken("it holds vectors that are not finite")
        return np.asarray(found[0], np.float32)

    def _is_full(self, block: int) -> bool:
        return self._blocks[block][0].dtype == HALF

    def _open(self, folder: Path, segment: dict[str, Any]) -> None:
        n, files = segment["pages"], segment["files"]
        full = [("full.npy", (self._codec.r_c, self._codec.dim), HALF)]
        codes = [
            (f"codes.{i}.npy", shape, np.dtype(kind)) for i, (shape, kind) in enumerate(self._codec.layout)
        ]
        wanted = full if "full.npy" in files else codes
        for name in ("ids.json", *(name for name, _, _ in wanted)):
            if (folder / name).stat().st_size != files[name]["bytes"]:
                raise Broken(f"{name} has another size than the recorded one")
            if disk.sha256_of(folder / name) != files[name]["sha256"]:
                raise Broken(f"the checksum of {name} is not the recorded one")
        ids = json.loads((folder / "ids.json").read_bytes())
        if not isinstance(ids, list) or len(ids) != n or not all(isinstance(each, str) for each in ids):
            raise Broken(MISFIT)
        block = len(self._blocks)
        self._blocks.append([_Rows.of(folder / name, n, shape, kind) for name, shape, kind in wanted])
        for row, (page_id, live) in enumerate(zip(ids, _live(segment["dead"], n), strict=True)):
            if live and page_id in self._at:
                raise Broken("a page is in it twice")
            if live:
                self._at[page_id] = block, row


def _live(dead: str, n: int) -> NDArray[np.bool_]:
    """(n,) flags; `n` is at most the length of a list that was read."""
    if not dead:
        return np.ones(n, bool)
    try:
        bits = np.frombuffer(base64.b64decode(dead, validate=True), np.uint8)
    except binascii.Error as error:
        raise Broken(MISFIT) from error
    if len(bits) != -(-n // 8):
        raise Broken(MISFIT)
    return ~np.unpackbits(bits, count=n).astype(bool)


def _codec(folder: Path, head: dict[str, Any], r_c: int, dim: int) -> Codec:
    if "codec" not in head:
        return codec(head["storage"], r_c, dim, state={})
    data = (folder / Path(head["codec"]["file"]).name).read_bytes()
    if disk.sha256(data) != head["codec"]["sha256"]:
        raise Broken("the checksum of its codebook is not the recorded one")
    return codec(head["storage"], r_c, dim, state=load(data))
