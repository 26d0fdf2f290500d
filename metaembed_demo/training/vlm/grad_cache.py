"""GradCache (Gao et al., arXiv 2101.06983): the gradient of a contrastive loss over a batch of any size.

The loss of MetaEmbed, over nested budgets and the pages of all processes, on vectors that are made chunk by
chunk; memory is taken by one chunk's activations and all vectors, not by all activations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch

from metaembed_demo.encoders.vlm.encoder import VLM
from metaembed_demo.encoders.vlm.prompts import Inputs
from metaembed_demo.training.matryoshka_loss import mmr_loss, nested_scores

from . import fsdp
from .dataset import Side

BLOCK = 1 << 26  # similarities held at once by the loss: 256 MB, and as much again for gradients


@dataclass(frozen=True)
class Nest:
    """What the loss is made of: each budget (r_q, r_c) and its weight, and the temperature of the scores."""

    budgets: tuple[tuple[int, int], ...]
    weights: tuple[float, ...]
    temperature: float


class GradCache:
    """Vectors of more items than fit in memory, and gradients of what is computed from them.

    All chunks are encoded without gradients; the loss then gives a gradient for every vector; each
    chunk is encoded again, with the random state of the first time, and takes the gradients of its vectors.
    """

    def __init__(self, encoder: VLM, accelerator: Any, chunk: int, sharded: bool = False) -> None:
        """`sharded`: all processes have to encode alike many chunks; some of them are empty, then."""
        self.encoder, self.accelerator, self.chunk, self.sharded = encoder, accelerator, chunk, sharded

    def vectors(self, sides: Sequence[Side], of_queries: bool) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """(n, r, dim) without gradients, in order, and the random state before each chunk."""
        found: dict[int, torch.Tensor] = {}
        states = []
        with torch.no_grad():
            for rows, inputs, keep in self._chunks(sides, of_queries):
                states.append(self._random())
                vectors = self._run(inputs, keep)
                found |= dict(zip(rows, vectors[: len(rows)], strict=True))
        return torch.stack([found[i] for i in range(len(sides))]), states

    def push(
        self, sides: Sequence[Side], of_queries: bool, gradients: torch.Tensor, states: Sequence[torch.Tensor]
    ) -> None:
        """Add to the weights' gradients what (n, r, dim) `gradients` of the vectors amount to."""
        for (rows, inputs, keep), state in zip(self._chunks(sides, of_queries), states, strict=True):
            self._restore(state)
            vectors = self._run(inputs, keep)[: len(rows)]
            (vectors * gradients[rows]).sum().backward()

    def _run(self, inputs: Inputs, keep: slice) -> torch.Tensor:
        with self.accelerator.autocast():
            vectors: torch.Tensor = self.encoder.network(self.encoder.placed(inputs), keep)
        return vectors

    def _chunks(self, sides: Sequence[Side], of_queries: bool) -> Iterator[tuple[list[int], Inputs, slice]]:
        """Rows and processor inputs of each chunk; the next is read while this one is encoded."""
        parts = [(rows, sides[rows[0]].picture is not None) for rows in chunks(sides, self.chunk)]
        if self.sharded:
            parts = fsdp.in_step(parts, self.accelerator)

        def read(part: fsdp.Part) -> tuple[list[int], Inputs, slice]:
            rows, pictured = part
            items = [sides[i].item() for i in rows] or [fsdp.stand_in(pictured)]
            return rows, *self.encoder.inputs(items, of_queries)

        with ThreadPoolExecutor(1) as ahead:  # one: tokenizers are not safe in several threads
            following = ahead.submit(read, parts[0]) if parts else None
            for part in [*parts[1:], None]:
                if following is None:
                    return
                ready = following.result()
                following = ahead.submit(read, part) if part else None
                yield ready

    def _random(self) -> torch.Tensor:
        cuda = self.accelerator.device.type == "cuda"
        return torch.cuda.get_rng_state() if cuda else torch.get_rng_state()

    def _restore(self, state: torch.Tensor) -> None:
        cuda = self.accelerator.device.type == "cuda"
        (torch.cuda.set_rng_state if cuda else torch.set_rng_state)(state)


def chunks(sides: Sequence[Side], size: int) -> list[list[int]]:
    """Rows that are encoded together: all with or all without a picture, of like length."""
    found = []
    for pictured in (False, True):
        rows = [i for i, side in enumerate(sides) if (side.picture is not None) == pictured]
        rows.sort(key=lambda i: len(sides[i].text))
        found += [rows[start : start + size] for start in range(0, len(rows), size)]
    return found


def losses(
    queries: torch.Tensor, pages: torch.Tensor, positives: torch.Tensor, nest: Nest, asked: int
) -> torch.Tensor:
    """(budgets,) weighted loss of each budget: a sum over these queries, divided by all `asked`.

    queries (n, r_q, dim), pages (m, r_c, dim), positives (n,) the page of each query. Where they require
    gradients these are added to their `.grad`. The queries are taken in blocks, as n x m x r_q x r_c
    similarities need not fit in memory.
    """
    total = torch.zeros(len(nest.budgets), device=queries.device)
    size = max(1, BLOCK // (len(pages) * queries.shape[1] * pages.shape[1]))
    for start in range(0, len(queries), size):
        block = slice(start, start + size)
        scores = nested_scores(queries[block], pages, nest.budgets)
        each = torch.stack(
            [
                mmr_loss([matrix], positives[block], None, nest.temperature, positive_weight=weight)
                for matrix, weight in zip(scores, nest.weights, strict=True)
            ]
        ) * (len(positives[block]) / asked)
        if each.requires_grad:
            each.sum().backward()
        total += each.detach()
    return total


def gathered(own: torch.Tensor, accelerator: Any) -> tuple[torch.Tensor, int]:
    """(m, r, dim) rows of all processes, which may have unlike many, and where this one's begin."""
    if accelerator.num_processes == 1:
        return own, 0
    counts = accelerator.gather(torch.tensor([len(own)], device=own.device)).tolist()
    padded = own.new_zeros(max(counts), *own.shape[1:])
    padded[: len(own)] = own
    parts = accelerator.gather(padded).split(max(counts))
    rows = torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])
    return rows, sum(counts[: accelerator.process_index])
