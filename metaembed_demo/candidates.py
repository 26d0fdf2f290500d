"""Candidates: the pages that a coarse stage let through, as ids that are looked up when asked for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from .block import Block

Slots = NDArray[np.int64]


class Candidates(Sequence[str]):
    """Page ids of `slots`, looked up when they are asked for: there may be a hundred thousand."""

    def __init__(self, blocks: tuple[Block, ...], starts: Slots, slots: Slots) -> None:
        self.blocks, self.slots = blocks, slots
        self._starts = starts.tolist()

    def __len__(self) -> int:
        return len(self.slots)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self._id(slot) for slot in self.slots[at].tolist()]
        return self._id(int(self.slots[at]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def _id(self, slot: int) -> str:
        block = bisect_right(self._starts, slot) - 1
        return self.blocks[block].ids[slot - self._starts[block]]
