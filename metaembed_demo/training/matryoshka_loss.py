"""Matryoshka Multi-Vector Retrieval (MMR) loss over all nested budgets (paper, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from metaembed_demo.core.budgets import BUDGETS


def nested_scores(
    queries: torch.Tensor,
    pages: torch.Tensor,
    budgets: Sequence[tuple[int, int]] = BUDGETS,
    normalize: bool = True,
) -> list[torch.Tensor]:
    """MaxSim, one (B_q, B_p) matrix per budget.

    queries (B_q, R_q, D), pages (B_p, R_c, D), unit rows.
    normalize: divide by r_q, so that one temperature fits all budgets; the published recipe does not.
    """
    similarity = torch.einsum("qid,pjd->qpij", queries, pages)
    best = [similarity[..., :r_q, :r_c].amax(3) for r_q, r_c in budgets]
    return [scores.mean(2) if normalize else scores.sum(2) for scores in best]


def mmr_loss(
    scores: Sequence[torch.Tensor],
    positives: torch.Tensor,
    teacher: torch.Tensor | None = None,
    temperature: float = 0.04,
    teacher_temperature: float = 0.06,
    positive_weight: float = 1.0,
) -> torch.Tensor:
    """Sum over budgets of InfoNCE and, with a teacher, the KL divergence to its score distribution.

    scores: (B_q, B_p) matrix per budget.
    positives: (B_q,) int64 page that answers each query; -1 for none (teacher only).
    teacher: (B_q, B_p) teacher scores.
    positive_weight: weight of InfoNCE; the teacher's is 1.
    """
    target = None if teacher is None else F.log_softmax(teacher / teacher_temperature, dim=1)
    loss = scores[0].new_zeros(())
    for matrix in scores:
        logits = matrix / temperature
        loss = loss + positive_weight * F.cross_entropy(logits, positives, ignore_index=-1)
        if target is not None:
            divergence = F.kl_div(
                F.log_softmax(logits, dim=1), target, reduction="batchmean", log_target=True
            )
            loss = loss + divergence
    return loss
