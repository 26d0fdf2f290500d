"""Teacher of MetaEmbed-Mini: the text path with late interaction over all tokens.

Score: MaxSim over the segments of the untrained `MetaPath`, plus weighted MaxSim over all tokens. It needs no
labels, so it can score every query against every page of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch

from metaembed_demo.core.budgets import BUDGETS
from metaembed_demo.encoders.mini.meta_tokens import MetaPath
from metaembed_demo.encoders.mini.text_path import TextStates, word_vectors
from metaembed_demo.training.matryoshka_loss import nested_scores


@dataclass(frozen=True)
class TeacherStates:
    """Teacher vectors, unit rows: segments (B, R, D); tokens, B tensors (n, WIDTH)."""

    segments: torch.Tensor
    tokens: list[torch.Tensor]

    @staticmethod
    def join(parts: Sequence[TeacherStates]) -> TeacherStates:
        return TeacherStates(
            torch.cat([part.segments for part in parts]), [rows for part in parts for rows in part.tokens]
        )


class Teacher:
    """A frozen copy of the initial `MetaPath`. Special tokens are excluded."""

    def __init__(self, start: MetaPath, token_weight: float) -> None:
        self.start = deepcopy(start).requires_grad_(False)
        self.token_weight = token_weight

    @torch.no_grad()
    def read(self, states: TextStates, of_queries: bool) -> TeacherStates:
        """Teacher vectors of a batch of texts."""
        tokens = word_vectors(states, self.start.state_center)
        return TeacherStates(self.start.pooled(states, of_queries), tokens)

    @torch.no_grad()
    def scores(self, queries: TeacherStates, pages: TeacherStates) -> torch.Tensor:
        """(B_q, B_p) teacher scores."""
        (coarse,) = nested_scores(queries.segments, pages.segments, BUDGETS[-1:])
        return coarse + self.token_weight * token_scores(queries.tokens, pages.tokens)


def token_scores(queries: Sequence[torch.Tensor], pages: Sequence[torch.Tensor]) -> torch.Tensor:
    """(B_q, B_p) MaxSim over all tokens, divided by the number of query tokens.

    >>> one, two = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    >>> token_scores([one, two], [one]).tolist()
    [[1.0], [0.5]]
    """
    lengths = torch.tensor([len(query) for query in queries])
    owner = torch.repeat_interleave(torch.arange(len(queries)), lengths)
    stacked = torch.cat(list(queries))
    best = torch.stack([(stacked @ page.T).amax(1) for page in pages], 1)
    sums = torch.zeros(len(queries), len(pages)).index_add_(0, owner, best)
    return sums / lengths[:, None]
