"""GpuIndex: LocalIndex with its vectors on a GPU too, where all pages are scored."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch

from metaembed_demo.core.budgets import Budget, Budgets
from metaembed_demo.core.text import bytes_text
from metaembed_demo.core.types import FloatArray, Hit
from metaembed_demo.index.base import cut
from metaembed_demo.index.block import FULL, Block
from metaembed_demo.index.blocks import Candidates, Slots
from metaembed_demo.index.local import EXACT_UP_TO, LocalIndex
from metaembed_demo.index.quantization import Codec

from .vectors import DeviceVectors, free_bytes

log = logging.getLogger(__name__)
LEAST = 10  # candidates that a search has at least, as far as there are pages
SHARE = 0.5  # of the free memory that new vectors may take: the encoder needs the rest
PIECE = 1 << 26  # bytes uploaded at a time


class GpuIndex(LocalIndex):
    """Finds what exact search finds, ties included, at any number of pages.

    Every page is scored on the device. Those that can be among the best `k`, given the rounding there, are
    scored here in float32 with the stored vectors, so hits and scores are those of LocalIndex with `exact`.
    float16 storage is bfloat16 on the device (float16 on GPUs before compute capability 8.0), int8 the same
    codes. Vectors are uploaded by the first search that needs them, once for all copies of an index. Without
    room for them, and with another storage, this is LocalIndex.
    """

    def __init__(
        self,
        r_c: int,
        dim: int,
        exact_up_to: int = EXACT_UP_TO,
        coding: Codec | None = None,
        budgets: Budgets | None = None,
        device: str | torch.device = "cuda",
        dtype: torch.dtype | None = None,
    ) -> None:
        """dtype: on the device, for float16 storage."""
        super().__init__(r_c, dim, exact_up_to, coding, budgets)
        self.device, self.spans = torch.device(device), self.budgets.page_spans
        self.dtype = dtype or _half(self.device)
        self._told = False  # whether a lack of room was logged

    def coarse(
        self, query: FloatArray, budget: Budget, k: int, among: Sequence[str] | None = None
    ) -> Sequence[str]:
        with self._lock:
            found = self._near_best([query], budget, k, among)
            return super().coarse(query, budget, k, among) if found is None else found[0]

    def search(
        self,
        query: FloatArray,
        budget: Budget,
        k: int,
        exact: bool = False,
        among: Sequence[str] | None = None,
    ) -> list[Hit]:
        with self._lock:
            if exact and self.storage == "float16":
                found = self._near_best([query], budget, k, among)
                if found is not None:
                    return self.rerank(query, budget, found[0], k)
            return super().search(query, budget, k, exact, among)

    def search_many(
        self, queries: Sequence[FloatArray], budget: Budget, k: int, among: Sequence[str] | None = None
    ) -> list[list[Hit]]:
        """`search` of each of `queries` (R_q, D), which read the vectors on the device once for all."""
        with self._lock:
            found = self._near_best(queries, budget, k, among) if len(queries) else []
            if found is None:
                return [self.search(query, budget, k, among=among) for query in queries]
            return [self.rerank(query, budget, ids, k) for query, ids in zip(queries, found, strict=True)]

    def _like(self, coding: Codec) -> LocalIndex:
        sizes = self.r_c, self.dim, self.exact_up_to
        return GpuIndex(*sizes, coding, self.budgets, self.device, self.dtype)

    def _near_best(
        self, queries: Sequence[FloatArray], budget: Budget, k: int, among: Sequence[str] | None
    ) -> list[Candidates] | None:
        """The pages that can be among the best `k` of each query; None where the device does not hold all."""
        self.sound()
        r_c = min(budget.r_c, self.r_c)
        q = np.stack([cut(query, budget, self.r_c, self.dim)[0] for query in queries])
        slots = self._all() if among is None else self._slots_of(among)
        few = max(k, self.rescore, LEAST)
        if few >= len(slots):
            return [Candidates(self._blocks, slots)] * len(queries)
        try:
            scored = self._scored(torch.from_numpy(q), r_c, slots) if self._has_room() else None
            if scored is None:
                return None
            rows = self._within(q, *scored, r_c, slots, few)
        except torch.OutOfMemoryError:
            self._tell()
            return None
        return [Candidates(self._blocks, slots[each]) for each in rows]

    def _scored(self, q: torch.Tensor, r_c: int, slots: Slots) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores (B, n) of the ascending `slots` on the device, and how far (B,) they may be off."""
        found, slack = [], torch.zeros(len(q))
        for block, rows in self._blocks.split(slots):
            held = self._filled(block)
            some = None if len(rows) == len(block) else torch.from_numpy(rows).to(self.device)
            found.append(held.scores(held.asked(q), r_c, len(block), some))
            slack = torch.maximum(slack, held.slack(q))
        return torch.cat(found, 1), slack

    def _within(
        self, q: FloatArray, scores: torch.Tensor, slack: torch.Tensor, r_c: int, slots: Slots, few: int
    ) -> list[Slots]:
        """For each query, ascending, the indices of the `slots` whose score can reach that of the best `few`.

        Any `few` pages bound the last of the best from below, those of the best `scores` closely.
        """
        first = [np.sort(slots[at]) for at in scores.topk(few).indices.cpu().numpy()]
        floors = [
            self._blocks.scores(self._codec, query, r_c, some, full=False).min()
            for query, some in zip(q, first, strict=True)
        ]
        least = (torch.tensor(np.array(floors)) - slack).to(self.device)
        of, at = (scores >= least[:, None]).nonzero(as_tuple=True)
        ends = torch.bincount(of, minlength=len(q)).cumsum(0).tolist()
        return np.split(at.cpu().numpy(), ends[:-1])

    # On the device

    def _has_room(self) -> bool:
        """Whether the device holds the vectors, or has room for those that it lacks."""
        if self.storage not in ("float16", "int8"):
            return False
        lacking = sum(self._held(block).allocated(len(block)) for block in self._blocks)
        needed = lacking * self._codec.bytes_per_page(self.r_c)
        if needed <= SHARE * free_bytes(self.device):
            return True
        self._tell(f" of {bytes_text(needed)}")
        return False

    def _held(self, block: Block) -> DeviceVectors:
        dtype = torch.int8 if self.storage == "int8" else self.dtype
        key = (self.device, dtype, self.spans)
        if key not in block.beside:
            new = DeviceVectors(self.r_c, self.dim, dtype, self.device, self.spans)
            block.beside.setdefault(key, new)  # a copy's thread may have been first
        held: DeviceVectors = block.beside[key]
        return held

    def _filled(self, block: Block) -> DeviceVectors:
        """The vectors of `block` on the device, those that were added since the last search included."""
        held = self._held(block)
        parts = block.codes("codes") if self.storage == "int8" else (block.part(FULL),)
        step = max(1, PIECE // self._codec.bytes_per_page(self.r_c))
        with held.lock:
            held.reserve(len(block))
            while len(held) < len(block):
                rows = slice(len(held), min(len(held) + step, len(block)))
                held.add(*(torch.from_numpy(np.array(part[rows])) for part in parts))
        return held

    def _tell(self, size: str = "") -> None:
        if not self._told:
            log.warning("No room for the vectors%s on %s: searching on the CPU", size, self.device)
        self._told = True


def _half(device: torch.device) -> torch.dtype:
    """The two-byte dtype that `device` multiplies fast."""
    old = device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0)
    return torch.float16 if old else torch.bfloat16
