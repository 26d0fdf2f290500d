"""Block: a run of pages in the order of adding: what the index keeps of their vectors, and which live.

The last block of an index grows; the others never change but in which pages are dead, so that they can be
shared between indexes and lie on disk, memory-mapped.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
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
FEW = 20_000  # pages; fewer are asked for one by one, more are read through the memory map
STEP = 1_024  # pages whose prefixes are encoded at a time


class Block:
    """Pages `ids` with `parts`, arrays whose first axis is the page; `live` (n,) tells which are there."""

    def __init__(self, ids: Sequence[str], parts: Parts, live: NDArray[np.bool_] | None = None) -> None:
        self.ids = list(ids)
        self._parts = dict(parts)
        self._live = np.ones(len(self.ids), bool) if live is None else live
        self.digest = ""  # of what was saved of it: the name of its segment on disk
        self.files: dict[str, Any] | None = None  # name -> sha256 and bytes, once it was saved
        self.readers: dict[str, Reader] = {}  # part -> its open file, where it lies on disk

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def live(self) -> NDArray[np.bool_]:
        return self._live[: len(self)]

    @property
    def dead(self) -> int:
        """How many pages were removed but still take space."""
        return len(self) - int(np.count_nonzero(self.live))

    @property
    def names(self) -> list[str]:
        return list(self._parts)

    def part(self, name: str) -> NDArray[Any]:
        """All rows of a part. Raises KeyError where the block has none of that name."""
        return self._parts[name][: len(self)]

    def codes(self, prefix: str) -> tuple[NDArray[Any], ...]:
        """The parts called `prefix`.0, `prefix`.1 and so on."""
        return tuple(self.part(name) for name in sorted(self._parts) if name.startswith(f"{prefix}."))

    def put(self, parts: Parts) -> None:
        """Give further arrays to the pages that are here; what was saved of them stays as it is."""
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
        """Have the system read from disk what `score` is about to look at; this process goes on."""
        if self._are_few_on_disk(coding, rows, full):
            read_ahead(self.readers[FULL], rows, r_c)

    def score(self, coding: Codec, q: FloatArray, r_c: int, rows: Rows, full: bool) -> FloatArray:
        """MaxSim (m,) of `rows` with q (r_q, D): by what `coding` keeps, or by the full vectors."""
        some = None if len(rows) == len(self) else rows
        if not self._has_full(coding, full):
            return coding.score(q, self.codes("codes"), r_c, some)
        if self._are_few_on_disk(coding, rows, full):
            return maxsim(q, gather(self.readers[FULL], rows, r_c))
        return maxsim(q, np.asarray(self.part(FULL))[:, :r_c], some)

    def scan(
        self, coding: Codec, quick: Codec, q: FloatArray, r_c: int, rows: Rows | None = None
    ) -> FloatArray:
        """Coarse scores (n,) of all pages, or (m,) of `rows`; -inf where a page was removed.

        `quick` keeps the prefixes of float16 pages.
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
        """Make the prefixes that `scan` looks at, once."""
        if "prefix.0" not in self._parts and len(self):
            full = self.part(FULL)
            steps = [prefix_of(full[start : start + STEP], quick) for start in range(0, len(full), STEP)]
            self.put({name: np.concatenate([step[name] for step in steps]) for name in steps[0]})

    def vectors(self, coding: Codec, rows: Rows, full: bool) -> NDArray[Any]:
        """(m, R_c, D) of the pages `rows`, as `score` takes them."""
        if self._has_full(coding, full):
            return self.take(FULL, rows, coding.r_c)
        return coding.decode([part[rows] for part in self.codes("codes")])

    def _has_full(self, coding: Codec, full: bool) -> bool:
        return FULL in self._parts and (full or coding.kind == "float16")

    def _are_few_on_disk(self, coding: Codec, rows: Rows, full: bool) -> bool:
        return FULL in self.readers and self._has_full(coding, full) and len(rows) < min(FEW, len(self))

    # Changing

    def append(self, ids: Sequence[str], parts: Parts) -> None:
        """Add pages at the end. The arrays double when full, so that adding one by one costs no more."""
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
        """The same pages, whose removals are its own; the arrays are shared."""
        twin = Block(self.ids, {name: self.part(name) for name in self._parts}, self.live.copy())
        twin.digest, twin.files, twin.readers = self.digest, self.files, self.readers
        return twin

    def spill(self) -> None:
        """Move the full vectors out of memory, into a file that goes when the block goes.

        Raises:
            OSError: when there is no room for it; then they stay in memory.
        """
        if FULL in self.readers or not len(self):
            return
        full = np.ascontiguousarray(self.part(FULL))
        with tempfile.TemporaryFile(prefix="metaembed-") as file:
            try:
                file.write(full.data)  # not `tofile`, which does not tell why it fails
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
    """The parts "prefix.0", "prefix.1" of pages with vectors `full` (n, R_c, D)."""
    codes = quick.encode(full[:, : quick.r_c].astype(np.float32))
    return {f"prefix.{i}": part for i, part in enumerate(codes)}


def merged(blocks: Sequence[Block]) -> Block:
    """The live pages of `blocks` in one block, with the parts that all of them have."""
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
