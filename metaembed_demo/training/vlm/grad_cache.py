"""GradCache (Gao et al., arXiv 2101.06983): gradients of a contrastive loss over batches of any size.

The MMR loss over nested budgets and the pages of all processes. Vectors are computed in chunks, so memory
holds the activations of one chunk and the vectors of the batch.
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
from .dataset import StoredItem

BLOCK = 1 << 26  # similarities per block of the loss: 256 MB, and as much for gradients


@dataclass(frozen=True)
class LossConfig:
    """Budgets (r_q, r_c), the weight of each budget's loss, and how scores become logits."""

    budgets: tuple[tuple[int, int], ...]
    weights: tuple[float, ...]
    temperature: float
    normalize: bool = False  # divide MaxSim by r_q
    mean: bool = True  # of the budgets' losses; else their sum


class GradCache:
    """Encodes all chunks without gradients, and backpropagates vector gradients chunk by chunk.

    For the backward pass each chunk is encoded again with the same random state.
    """

    def __init__(self, encoder: VLM, accelerator: Any, chunk: int, sharded: bool = False) -> None:
        """`sharded`: pad with empty chunks so that all processes have equally many."""
        self.encoder, self.accelerator, self.chunk, self.sharded = encoder, accelerator, chunk, sharded

    def vectors(
        self, sides: Sequence[StoredItem], of_queries: bool
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """(n, r, dim) vectors without gradients, in order, and the random state before each chunk."""
        found: dict[int, torch.Tensor] = {}
        states = []
        with torch.no_grad():
            for rows, inputs, keep in self._chunks(sides, of_queries):
                states.append(self._random())
                vectors = self._run(inputs, keep)
                found |= dict(zip(rows, vectors[: len(rows)], strict=True))
        return torch.stack([found[i] for i in range(len(sides))]), states

    def backward(
        self,
        sides: Sequence[StoredItem],
        of_queries: bool,
        gradients: torch.Tensor,
        states: Sequence[torch.Tensor],
    ) -> None:
        """Backpropagate (n, r, dim) `gradients` of the vectors into the weights' `.grad`."""
        for (rows, inputs, keep), state in zip(self._chunks(sides, of_queries), states, strict=True):
            self._restore(state)
            vectors = self._run(inputs, keep)[: len(rows)]
            (vectors * gradients[rows]).sum().backward()

    def _run(self, inputs: Inputs, keep: slice) -> torch.Tensor:
        with self.accelerator.autocast():
            vectors: torch.Tensor = self.encoder.network(self.encoder.placed(inputs), keep)
        return vectors

    def _chunks(
        self, sides: Sequence[StoredItem], of_queries: bool
    ) -> Iterator[tuple[list[int], Inputs, slice]]:
        """Rows and processor inputs of each chunk; prepares the next chunk in the background."""
        parts = [(rows, sides[rows[0]].picture is not None) for rows in chunks(sides, self.chunk)]
        if self.sharded:
            parts = fsdp.equal_chunks(parts, self.accelerator)

        def read(part: fsdp.Chunk) -> tuple[list[int], Inputs, slice]:
            rows, pictured = part
            items = [sides[i].item() for i in rows] or [fsdp.dummy_item(pictured)]
            return rows, *self.encoder.inputs(items, of_queries)

        with ThreadPoolExecutor(1) as ahead:  # one: tokenizers are not thread-safe
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


def chunks(sides: Sequence[StoredItem], size: int) -> list[list[int]]:
    """Rows encoded together: all with or all without an image, of similar length."""
    found = []
    for pictured in (False, True):
        rows = [i for i, side in enumerate(sides) if (side.picture is not None) == pictured]
        rows.sort(key=lambda i: len(sides[i].text))
        found += [rows[start : start + size] for start in range(0, len(rows), size)]
    return found


def losses(
    queries: torch.Tensor,
    pages: torch.Tensor,
    positives: torch.Tensor,
    config: LossConfig,
    asked: int,
    left_out: torch.Tensor | None = None,
) -> torch.Tensor:
    """(budgets,) weighted loss per budget: the sum over these queries divided by `asked`, the batch size.

    queries (n, r_q, dim), pages (m, r_c, dim), positives (n,) page of each query. Gradients, if required, are
    added to `.grad`. Computed in blocks of queries, as n x m x r_q x r_c similarities may not fit in memory.
    left_out: (n, m) bool, the pages that a query is not compared with.
    """
    total = torch.zeros(len(config.budgets), device=queries.device)
    size = max(1, BLOCK // (len(pages) * queries.shape[1] * pages.shape[1]))
    share = 1 / len(config.budgets) if config.mean else 1
    for start in range(0, len(queries), size):
        block = slice(start, start + size)
        scores = nested_scores(queries[block], pages, config.budgets, config.normalize)
        if left_out is not None:
            scores = [matrix.masked_fill(left_out[block], -torch.inf) for matrix in scores]
        each = torch.stack(
            [
                mmr_loss([matrix], positives[block], None, config.temperature, positive_weight=weight * share)
                for matrix, weight in zip(scores, config.weights, strict=True)
            ]
        ) * (len(positives[block]) / asked)
        if each.requires_grad:
            each.sum().backward()
        total += each.detach()
    return total


def gathered(own: torch.Tensor, accelerator: Any) -> tuple[torch.Tensor, int]:
    """(m, r, dim) rows of all processes, whose counts may differ, and the offset of this one's."""
    if accelerator.num_processes == 1:
        return own, 0
    counts = accelerator.gather(torch.tensor([len(own)], device=own.device)).tolist()
    padded = own.new_zeros(max(counts), *own.shape[1:])
    padded[: len(own)] = own
    parts = accelerator.gather(padded).split(max(counts))
    rows = torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])
    return rows, sum(counts[: accelerator.process_index])
