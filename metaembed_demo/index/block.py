"""Block: a run of pages in the order of adding, with their stored vectors and live flags.

Only the last block of an index grows. In the others only live flags change, so they can be shared between
indexes and memory-mapped from disk.
"""

from __future__ import annotations

import tempfile
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.core.text import bytes_text
from metaembed_demo.core.types import FloatArray

from .maxsim import maxsim
from .quantization import Codec
from .row_reader import Reader, gather, read_ahead

Rows = NDArray[np.int64]
Parts = Mapping[str, NDArray[Any]]  # name -> (n, ...): "full", "codes.0", "codes.1", "prefix.0", "prefix.1"
FULL = "full"  # (n, R_c, D) float16
FEW = 20_000  # pages; fewer are read individually, more through the memory map
STEP = 1_024  # pages per encoding step of prefixes


class Block:
    """Pages `ids` with `parts`, arrays with pages as first axis; `live` (n,) is False for removed pages."""

    def __init__(self, ids: Sequence[str], parts: Parts, live: NDArray[np.bool_] | None = None) -> None:
        self.ids = list(ids)
        self._parts = dict(parts)
        self._live = np.ones(len(self.ids), bool) if live is None else live
        self.digest = ""  # name of its segment on disk, once saved
        self.files: dict[str, Any] | None = None  # name -> sha256 and bytes, once saved
        self.readers: dict[str, Reader] = {}  # part -> open file, if on disk
        self.beside: dict[Hashable, Any] = {}  # vectors elsewhere (index/gpu), shared with copies

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def live(self) -> NDArray[np.bool_]:
        return self._live[: len(self)]

    @property
    def dead(self) -> int:
        """Number of removed pages that still take space."""
        return len(self) - int(np.count_nonzero(self.live))

    @property
    def names(self) -> list[str]:
        return list(self._parts)

    def part(self, name: str) -> NDArray[Any]:
        """All rows of a part. Raises KeyError when there is no such part."""
        return self._parts[name][: len(self)]

    def codes(self, prefix: str) -> tuple[NDArray[Any], ...]:
        """The parts called `prefix`.0, `prefix`.1 and so on."""
        return tuple(self.part(name) for name in sorted(self._parts) if name.startswith(f"{prefix}."))

    def put(self, parts: Parts) -> None:
        """Add parts for the existing pages; saved files are unchanged."""
        size, capacity = len(self), len(self._live)
        self._parts |= {name: _grown(part, size, capacity) for name, part in parts.items()}

    def take(self, name: str, rows: NDArray[np.int64], r_c: int) -> NDArray[Any]:
        """(m, r_c, ...) of the pages `rows`."""
        if name in self.readers:
            read_ahead(self.readers[name], rows, r_c)
            return gather(self.readers[name], rows, r_c)
        return self._parts[name][rows, :r_c]

    # Scoring

    def expect(self, coding: Codec, r_c: int, rows: Rows, full: bool) -> None:
        """Ask the system to read ahead what `score` will need; does not block."""
        if self._are_few_on_disk(coding, rows, full):
            read_ahead(self.readers[FULL], rows, r_c)

    def score(self, coding: Codec, q: FloatArray, r_c: int, rows: Rows, full: bool) -> FloatArray:
        """MaxSim (m,) of `rows` with q (r_q, D), by the codes of `coding` or by the full vectors."""
        some = None if len(rows) == len(self) else rows
        if not self._has_full(coding, full):
            return coding.score(q, self.codes("codes"), r_c, some)
        if self._are_few_on_disk(coding, rows, full):
            return maxsim(q, gather(self.readers[FULL], rows, r_c))
        return maxsim(q, np.asarray(self.part(FULL))[:, :r_c], some)

    def scan(
        self, coding: Codec, quick: Codec, q: FloatArray, r_c: int, rows: Rows | None = None
    ) -> FloatArray:
        """Coarse scores (n,) of all pages, or (m,) of `rows`; -inf for removed pages.

        quick: the codec of prefixes of float16 pages.
        """
        if coding.kind == "float16":
            self.ready(quick)
            scores = quick.score(q, self.codes("prefix"), r_c, rows)
        else:
            scores = coding.score(q, self.codes("codes"), r_c, rows)
        if self.dead:
            scores[~self.live if rows is None else ~self.live[rows]] = -np.inf
        return scores

    def ready(self, quick: Codec) -> None:
        """Encode the prefixes that `scan` reads, once."""
        if "prefix.0" not in self._parts and len(self):
            full = self.part(FULL)
            steps = [prefix_of(full[start : start + STEP], quick) for start in range(0, len(full), STEP)]
            self.put({name: np.concatenate([step[name] for step in steps]) for name in steps[0]})

    def vectors(self, coding: Codec, rows: Rows, full: bool) -> NDArray[Any]:
        """(m, R_c, D) vectors of `rows`, as scored by `score`."""
        if self._has_full(coding, full):
            return self.take(FULL, rows, coding.r_c)
        return coding.decode([part[rows] for part in self.codes("codes")])

    def _has_full(self, coding: Codec, full: bool) -> bool:
        return FULL in self._parts and (full or coding.kind == "float16")

    def _are_few_on_disk(self, coding: Codec, rows: Rows, full: bool) -> bool:
        return FULL in self.readers and self._has_full(coding, full) and len(rows) < min(FEW, len(self))

    # Changing

    def append(self, ids: Sequence[str], parts: Parts) -> None:
        """Append pages. Arrays double when full, for amortised constant cost."""
        size, needed = len(self), len(self) + len(ids)
        if needed > len(self._live):
            capacity = max(needed, 2 * size)
            self._live = _grown(self._live, size, capacity)
            self._parts = {name: _grown(part, size, capacity) for name, part in self._parts.items()}
        for name, part in parts.items():
            self._parts[name][size:needed] = part
        self._live[size:needed] = True
        self.ids.extend(ids)

    def kill(self, rows: Sequence[int]) -> None:
        """Mark pages as removed."""
        self._live[list(rows)] = False

    def copy(self) -> Block:
        """A block with the same arrays and independent live flags."""
        twin = Block(self.ids, {name: self.part(name) for name in self._parts}, self.live.copy())
        twin.digest, twin.files, twin.readers = self.digest, self.files, self.readers
        twin.beside = self.beside
        return twin

    def spill(self) -> None:
        """Move the full vectors to a temporary file that is removed with the block.

        Raises:
            OSError: when the disk is full; the vectors then stay in memory.
        """
        if FULL in self.readers or not len(self):
            return
        full = np.ascontiguousarray(self.part(FULL))
        with tempfile.TemporaryFile(prefix="metaembed-") as file:
            try:
                file.write(full.data)  # `tofile` hides the reason of a failure
                file.flush()
            except OSError as error:
                raise _no_room(full.nbytes, error) from error
            self._parts[FULL] = np.memmap(file, full.dtype, "r", 0, full.shape)
            self.readers[FULL] = Reader.of(file.fileno(), 0, full.dtype, full.shape[1:])


def _no_room(size: int, error: OSError) -> OSError:
    folder = tempfile.gettempdir()
    return OSError(
        f"there is no room in {folder} for {bytes_text(size)} of full vectors ({error.strerror}); free some "
        "space there, or set TMPDIR to a folder elsewhere"
    )


def prefix_of(full: NDArray[np.float16], quick: Codec) -> Parts:
    """The parts "prefix.0", "prefix.1" for vectors `full` (n, R_c, D)."""
    codes = quick.encode(full[:, : quick.r_c].astype(np.float32))
    return {f"prefix.{i}": part for i, part in enumerate(codes)}


def merged(blocks: Sequence[Block]) -> Block:
    """One block with the live pages of `blocks`, and the parts common to all."""
    names = [name for name in blocks[0].names if all(name in block.names for block in blocks)]
    kept = [np.flatnonzero(block.live) for block in blocks]
    ids = [block.ids[row] for block, rows in zip(blocks, kept, strict=True) for row in rows.tolist()]
    parts = {
        name: np.concatenate(
            [np.asarray(block.part(name)[rows]) for block, rows in zip(blocks, kept, strict=True)]
        )
        for name in names
    }
    return Block(ids, parts)


def _grown(array: NDArray[Any], size: int, capacity: int) -> NDArray[Any]:
    larger = np.empty((capacity, *array.shape[1:]), array.dtype)
    larger[:size] = array[:size]
    return larger
