"""Candidates: the pages that a coarse stage let through, as ids that are looked up when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from .blocks import Blocks, Slots


class Candidates(Sequence[str]):
    """Page ids of `slots`, looked up when they are asked for: there may be a hundred thousand."""

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
