"""Page vectors on a device, scored by MaxSim in large matrix products."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import pad

from metaembed_demo.core.budgets import OURS

SIMILARITIES = 1 << 27  # per product: 256 MiB in two bytes
GATHERED = 1 << 28  # components that are copied at a time where few of the pages are scored
DENSE = 3  # a gather reads and writes: from a third of the pages on, all are scored
# What scores differ by in float32, sums and the rounding of `base.best` included.
FLOAT32 = 1e-4
Spans = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Asked:
    """`batch` queries as they are multiplied: rows (B * r_q, D) and, of int8, their scales (B * r_q,)."""

    rows: torch.Tensor
    scales: torch.Tensor | None
    batch: int


class DeviceVectors:
    """Pages (R_c, D) in the order of adding, as bfloat16 or float16, or as int8 with a scale a page.

    Each nested group of budgets is one contiguous tensor (n, k, D), so that a budget reads the bytes of its
    own vectors alone. One thread may add (under `lock`) while others score what was there.
    """

    def __init__(
        self,
        r_c: int,
        dim: int,
        dtype: torch.dtype = torch.bfloat16,
        device: str | torch.device = "cuda",
        spans: Spans = OURS.page_spans,
        capacity: int = 0,
    ) -> None:
        """spans: (first, last + 1) vector of each group, 0-based; cut or extended to `r_c`.

        capacity: pages to have room for at once; beyond, tensors double.
        """
        self.dim, self.dtype, self.device = dim, dtype, torch.device(device)
        ends = [*(end for _, end in spans if end < r_c), r_c]
        self.spans = tuple(zip([0, *ends[:-1]], ends, strict=True))
        self.lock = threading.Lock()
        shapes = [(capacity, end - first, dim) for first, end in self.spans]
        self._groups = tuple(torch.empty(shape, dtype=dtype, device=self.device) for shape in shapes)
        self._scales = torch.empty(capacity if dtype == torch.int8 else 0, device=self.device)
        self._size = 0
        self._rounding = self._longest = 0.0  # largest length of a vector's rounding error, and of a vector

    def __len__(self) -> int:
        return self._size

    def allocated(self, pages: int) -> int:
        """The pages that memory is taken for when there are to be `pages`; 0 if they have room already."""
        return 0 if pages <= len(self._groups[0]) else max(pages, 2 * self._size)

    def reserve(self, pages: int) -> None:
        """Make room for `pages` in all. Raises torch.OutOfMemoryError when there is none."""
        if capacity := self.allocated(pages):
            self._grow(capacity)

    def add(self, vectors: torch.Tensor, scales: torch.Tensor | None = None) -> None:
        """Add pages (n, R_c, D): floats of any dtype, or the codes of int8 and the scale (n,) of each page.

        Raises:
            torch.OutOfMemoryError: when the device has no room; nothing is added.
        """
        size, needed = self._size, self._size + len(vectors)
        self.reserve(needed)
        vectors = vectors.to(self.device)
        for (first, end), group in zip(self.spans, self._groups, strict=True):
            part = vectors[:, first:end]
            group[size:needed] = part
            if self.dtype != torch.int8:
                self._note(part.float(), group[size:needed].float())
        if scales is not None:
            self._scales[size:needed] = scales.to(self.device)
        self._size = needed

    def asked(self, queries: torch.Tensor) -> Asked:
        """`queries` (B, r_q, D) float32 on the CPU, as `scores` takes them; int8 as in quantization.py."""
        flat = queries.reshape(-1, self.dim)
        if self.dtype != torch.int8:
            return Asked(flat.to(self.device, self.dtype), None, len(queries))
        scales = flat.abs().amax(1) / 127
        codes = (flat / torch.where(scales > 0, scales, 1.0)[:, None]).round().to(torch.int8)
        return Asked(codes.to(self.device), scales.to(self.device), len(queries))

    def scores(
        self, asked: Asked, r_c: int, size: int | None = None, rows: torch.Tensor | None = None
    ) -> torch.Tensor:
        """MaxSim (B, m) float32 over the first `r_c` vectors of the first `size` pages, or of `rows` (m,).

        Maxima are rounded to `dtype`, and int8's are exact; sums are float32.
        """
        size = self._size if size is None else size
        if rows is not None and DENSE * len(rows) >= size:
            return self.scores(asked, r_c, size)[:, rows]
        groups, scales = self._groups, self._scales
        count, tokens = (size if rows is None else len(rows)), len(asked.rows)
        widest = max(end - first for first, end in self.spans)
        step = max(1, SIMILARITIES // (tokens * widest))
        if rows is not None:
            step = max(1, min(step, GATHERED // (widest * self.dim)))
        out = torch.empty(asked.batch, count, device=self.device)
        for start in range(0, count, step):
            at = slice(start, min(start + step, count)) if rows is None else rows[start : start + step]
            best = self._best(groups, asked.rows, r_c, at).float()
            if asked.scales is not None:
                best = best * asked.scales * scales[at, None]
            out[:, start : start + step] = best.view(len(best), asked.batch, -1).sum(2).T
        return out

    def slack(self, queries: torch.Tensor) -> torch.Tensor:
        """How far (B,) `scores` may be from the MaxSim of what was added, for `queries` as in `asked`.

        By Cauchy and Schwarz from the measured rounding errors of pages and queries; a cosine is rounded
        twice, as the product of a small matrix may add two halves in `dtype`.
        """
        if self.dtype == torch.int8:
            return torch.full((len(queries),), FLOAT32)
        lengths = queries.norm(dim=2)
        away = (queries - queries.to(self.dtype).float()).norm(dim=2)
        of_cosine = torch.finfo(self.dtype).eps * lengths
        return (lengths * self._rounding + (away + of_cosine) * self._longest).sum(1) + FLOAT32

    def _best(
        self, groups: Sequence[torch.Tensor], q: torch.Tensor, r_c: int, at: slice | torch.Tensor
    ) -> torch.Tensor:
        """The largest similarity (m, B * r_q) of each query row on each of the pages `at`."""
        best: torch.Tensor | None = None
        for (first, _), group in zip(self.spans, groups, strict=True):
            if first >= r_c:
                break
            part = group[at][:, : r_c - first]
            found = _product(part.reshape(-1, self.dim), q).view(len(part), part.shape[1], -1).amax(1)
            best = found if best is None else torch.maximum(best, found)
        assert best is not None
        return best

    def _grow(self, capacity: int) -> None:
        def grown(old: torch.Tensor) -> torch.Tensor:
            new = torch.empty((capacity, *old.shape[1:]), dtype=old.dtype, device=self.device)
            new[: self._size] = old[: self._size]
            return new

        groups = tuple(grown(group) for group in self._groups)
        self._scales = grown(self._scales) if self.dtype == torch.int8 else self._scales
        self._groups = groups

    def _note(self, vectors: torch.Tensor, rounded: torch.Tensor) -> None:
        if len(vectors):
            self._rounding = max(self._rounding, float((vectors - rounded).norm(dim=2).max()))
            self._longest = max(self._longest, float(rounded.norm(dim=2).max()))


def _product(c: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """(rows of c, rows of q) of all products of rows; int32 for int8."""
    if c.dtype != torch.int8:
        return c @ q.T
    if len(c) > 16 and c.shape[1] % 8 == 0:  # the shapes that cuBLAS takes
        return torch._int_mm(c, pad(q, (0, 0, 0, -len(q) % 8)).T)[:, : len(q)]
    return c.float() @ q.float().T


def free_bytes(device: torch.device) -> int:
    """Free memory of a GPU, with what torch keeps for later; of the CPU it is not asked."""
    if device.type != "cuda":
        return sys.maxsize
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0] + kept)
