"""Guided Query Refinement (GQR, arXiv 2510.05038): move a query towards a consensus of two retrievers.

Over a small pool of pages, the consensus is the mean of two distributions: the softmax of the pool's MaxSim
and the softmax of another retriever's scores (the complement: BM25, or a second encoder). Adam moves the
query's vectors z so that KL(consensus || softmax(MaxSim(z))) falls. The pool is then scored with the moved
vectors. The gradient is written out: MaxSim is linear in each query vector as long as its winner stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.core.types import FloatArray

from .fusion import standard

POOL = 10  # the first so many pages of either retriever are in the pool (paper, section 4)
MOST_STEPS = 50
DECAY = (0.9, 0.999)  # of Adam's two means
TINY = 1e-8


@dataclass(frozen=True)
class Tuning:
    """How far and how fast a query is moved.

    rate: of Adam. temperature: of MaxSim per query token (a mean of cosines). complement_temperature: of the
    complement's scores, z-scored over the pool. every: steps between two searches for the winners.
    """

    steps: int = 25
    rate: float = 1e-3
    temperature: float = 0.02
    complement_temperature: float = 1.0
    every: int = 1


@dataclass(frozen=True)
class Refined:
    """A moved query and the pool's scores on the way.

    vectors: (r_q, D) float32, no longer of length 1. scores: (steps + 1, n) float32 MaxSim of the pool, the
    first row before any step. losses: (steps + 1,) float32 KL divergence in nats. consensus: (n,) float32.
    """

    vectors: FloatArray
    scores: FloatArray
    losses: FloatArray
    consensus: FloatArray


def refine(q: FloatArray, pages: NDArray[Any], complement: FloatArray, tuning: Tuning = Tuning()) -> Refined:
    """Move the query vectors `q` towards the consensus over `pages`.

    Args:
        q: query vectors (r_q, D).
        pages: vectors of the pool (n, r_c, D).
        complement: (n,) scores of the other retriever; equal scores leave the query nearly where it is.

    Raises:
        ValueError: when the shapes do not fit together, the pool is empty, or there are too many steps.

    The second page has the words, the first is a little closer; after some steps the second is first:

    >>> q = np.array([[0.8, 0.6]], dtype=np.float32)
    >>> pages = np.array([[[1, 0]], [[0, 1]]], dtype=np.float32)
    >>> found = refine(q, pages, np.array([0.0, 9.0]), Tuning(steps=50, rate=0.01, temperature=0.1))
    >>> found.scores[0].argmax(), found.scores[-1].argmax()
    (np.int64(0), np.int64(1))
    """
    if q.ndim != 2 or pages.ndim != 3 or q.shape[1] != pages.shape[2] or complement.shape != (len(pages),):
        raise ValueError(
            f"A refinement needs a query (r_q, D), pages (n, r_c, D) and n scores, not {q.shape}, "
            f"{pages.shape} and {complement.shape}."
        )
    if not len(pages) or not 0 <= tuning.steps <= MOST_STEPS:
        raise ValueError(
            f"A refinement takes at least one page and 0 to {MOST_STEPS} steps, not {tuning.steps}."
        )
    z, pages = q.astype(np.float32, copy=True), np.ascontiguousarray(pages, dtype=np.float32)
    won, scores = _winners(z, pages)
    consensus = 0.5 * (
        _softmax(scores / (len(q) * tuning.temperature))
        + _softmax(standard(complement) / tuning.complement_temperature)
    )
    mean, square = np.zeros_like(z), np.zeros_like(z)
    path, losses = [scores], [_kl(consensus, scores, len(q) * tuning.temperature)]
    for step in range(1, tuning.steps + 1):
        off = _softmax(scores / (len(q) * tuning.temperature)) - consensus
        slope = (off.astype(np.float32) @ won).reshape(z.shape) / np.float32(len(q) * tuning.temperature)
        mean += (1 - DECAY[0]) * (slope - mean)
        square += (1 - DECAY[1]) * (slope * slope - square)
        unbiased = np.sqrt(square / (1 - DECAY[1] ** step)) + TINY
        z -= np.float32(tuning.rate / (1 - DECAY[0] ** step)) * mean / unbiased
        if step % tuning.every == 0 or step == tuning.steps:
            won, scores = _winners(z, pages)
        else:
            scores = won @ z.ravel()
        path.append(scores)
        losses.append(_kl(consensus, scores, len(q) * tuning.temperature))
    as32 = (np.asarray(each, dtype=np.float32) for each in (path, losses, consensus))
    return Refined(z, *as32)


def _winners(z: FloatArray, pages: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The page vectors that the query vectors choose (n, r_q * D), and the scores (n,)."""
    n, r_c, dim = pages.shape
    rows = pages.reshape(-1, dim)
    at = (rows @ z.T).reshape(n, r_c, len(z)).argmax(axis=1) + r_c * np.arange(n)[:, None]  # (n, r_q)
    won = rows[at.ravel()].reshape(n, -1)
    return won, won @ z.ravel()


def _softmax(scores: NDArray[Any]) -> NDArray[np.float64]:
    powers = np.exp(np.asarray(scores, dtype=np.float64) - np.max(scores))
    return powers / powers.sum()


def _kl(consensus: NDArray[np.float64], scores: FloatArray, temperature: float) -> float:
    """KL(consensus || softmax(scores / temperature)) in nats."""
    scaled = np.asarray(scores, dtype=np.float64) / temperature
    logs = scaled - scaled.max() - np.log(np.exp(scaled - scaled.max()).sum())
    return float((consensus * (np.log(consensus + 1e-300) - logs)).sum())
