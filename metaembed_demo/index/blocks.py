"""Blocks: the blocks of an index in order. A slot is a page's position over all blocks."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import accumulate
from typing import overload

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.core.types import FloatArray

from . import maxsim_kernels
from .block import Block, Parts, Rows
from .quantization import Codec

SMALL = 1_024  # pages; smaller blocks are merged when the index is saved
DEAD = 0.25  # share of removed pages from which a block is rewritten
Slots = NDArray[np.int64]
Merge = Callable[[Sequence[Block]], Block]


class Blocks:
    """Blocks and their start slots. Only the last block grows; otherwise immutable."""

    def __init__(self, blocks: Sequence[Block] = ()) -> None:
        self._blocks = tuple(blocks)
        self.starts: Slots = np.array([0, *accumulate(len(block) for block in blocks)], np.int64)
        self._begins = self.starts[:-1].tolist()

    def __iter__(self) -> Iterator[Block]:
        return iter(self._blocks)

    def __len__(self) -> int:
        return len(self._blocks)

    def __getitem__(self, at: int) -> Block:
        return self._blocks[at]

    @property
    def end(self) -> int:
        """The slot of the next page."""
        return int(self.starts[-1])

    def append(self, ids: Sequence[str], parts: Parts) -> None:
        """Add pages to the last block."""
        self._blocks[-1].append(ids, parts)
        self.starts[-1] += len(ids)

    def split(self, slots: Slots) -> Iterator[tuple[Block, Slots]]:
        """Each block and its rows among the ascending `slots`."""
        edges = np.searchsorted(slots, self.starts)
        for at, block in enumerate(self._blocks):
            rows = slots[edges[at] : edges[at + 1]]
            if len(rows):
                yield block, rows - self.starts[at]

    def live(self) -> Slots:
        """The slots of live pages, ascending."""
        return np.flatnonzero(np.concatenate([np.zeros(0, bool), *(block.live for block in self)]))

    def are_live(self, slots: Slots) -> bool:
        """Whether all of the ascending `slots` are live."""
        return all(block.live[rows].all() for block, rows in self.split(slots))

    def kill(self, slots: Slots) -> None:
        """Mark pages as removed."""
        for block, rows in self.split(np.sort(slots)):
            block.kill(rows.tolist())

    def id(self, slot: int) -> str:
        at = bisect_right(self._begins, slot) - 1
        return self._blocks[at].ids[slot - self._begins[at]]

    # Other blocks with the same pages

    def joined(self, merge: Merge) -> list[Block]:
        """All blocks, with the small ones at the end merged; [] if there are fewer than two of them."""
        small = len(self)
        while small and len(self[small - 1]) < SMALL:
            small -= 1
        return [*self._blocks[:small], merge(self._blocks[small:])] if len(self) - small > 1 else []

    def renewed(self, merge: Merge) -> list[Block]:
        """All blocks, with those of many removed pages compacted; [] if there are none."""
        worn = [block.dead > DEAD * len(block) for block in self]
        return [merge([b]) if w else b for b, w in zip(self, worn, strict=True)] if any(worn) else []

    # Vectors and scores

    def vectors(self, coding: Codec, slots: Slots, full: bool) -> FloatArray:
        """(n, R_c, D) float32 of pages in any order; `full` as in `Block.vectors`."""
        out = np.empty((len(slots), coding.r_c, coding.dim), np.float32)
        order = np.argsort(slots)
        done = 0
        for block, rows in self.split(slots[order]):
            place = order[done : done + len(rows)]
            done += len(rows)
            out[place] = block.vectors(coding, rows, full)
        return out

    def scan(
        self, coding: Codec, quick: Codec, q: FloatArray, r_c: int, slots: Slots | None = None
    ) -> FloatArray:
        """Coarse scores of all slots, or of the ascending `slots`; -inf for removed pages."""
        parts = [(block, None) for block in self] if slots is None else list(self.split(slots))
        return _joined([partial(block.scan, coding, quick, q, r_c, rows) for block, rows in parts], parts)

    def scores(self, coding: Codec, q: FloatArray, r_c: int, slots: Slots, full: bool) -> FloatArray:
        """MaxSim (n,) of the ascending `slots`; data on disk is read ahead."""
        parts = list(self.split(slots))
        for block, rows in parts:
            block.expect(coding, r_c, rows, full)
        return _joined([partial(block.score, coding, q, r_c, rows, full) for block, rows in parts], parts)


def _joined(
    tasks: Sequence[Callable[[], FloatArray]], parts: Sequence[tuple[Block, Rows | None]]
) -> FloatArray:
    """The scores of all `parts`: small ones in parallel, large ones in turn, as they use all threads."""
    sizes = [len(block) if rows is None else len(rows) for block, rows in parts]
    small = len(sizes) > 1 and max(sizes) * maxsim_kernels.threads() <= sum(sizes)
    found = maxsim_kernels.each(tasks) if small else [task() for task in tasks]
    return np.concatenate([np.empty(0, np.float32), *found])


class Candidates(Sequence[str]):
    """Page ids of `slots`, looked up lazily: there may be a hundred thousand."""

    def __init__(self, blocks: Blocks, slots: Slots) -> None:
        self.blocks, self.slots = blocks, slots

    def __len__(self) -> int:
        return len(self.slots)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self.blocks.id(slot) for slot in self.slots[at].tolist()]
        return self.blocks.id(int(self.slots[at]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)
