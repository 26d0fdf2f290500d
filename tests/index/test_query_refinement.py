"""Guided Query Refinement on vectors whose answer is visible by eye, and against torch's gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metaembed_demo.index.fusion import standard
from metaembed_demo.index.maxsim import maxsim
from metaembed_demo.index.query_refinement import MOST_STEPS, Tuning, refine

RNG = np.random.default_rng(7)


def unit(*shape: int) -> np.ndarray:
    drawn = RNG.normal(size=shape).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)


def by_torch(q: np.ndarray, pages: np.ndarray, complement: np.ndarray, tuning: Tuning) -> np.ndarray:
    """The same optimisation by torch's graph and Adam."""
    z, c = torch.tensor(q, requires_grad=True), torch.tensor(pages)
    heat, adam = len(q) * tuning.temperature, torch.optim.Adam([z], lr=tuning.rate)

    def scores() -> torch.Tensor:
        return torch.einsum("id,njd->nij", z, c).amax(2).sum(1) / heat

    words = torch.tensor(standard(complement), dtype=torch.float32) / tuning.complement_temperature
    target = ((torch.softmax(scores(), 0) + torch.softmax(words, 0)) / 2).detach()
    for _ in range(tuning.steps):
        loss = (target * (target.log() - torch.log_softmax(scores(), 0))).sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
    return z.detach().numpy()


def test_the_gradient_by_hand_is_that_of_torch() -> None:
    q, pages, complement = unit(4, 16), unit(6, 8, 16), RNG.normal(size=6)
    tuning = Tuning(steps=20, rate=5e-3, temperature=0.05)
    np.testing.assert_allclose(
        refine(q, pages, complement, tuning).vectors, by_torch(q, pages, complement, tuning), atol=1e-5
    )


def test_scores_on_the_way_are_maxsim_and_the_divergence_falls() -> None:
    q, pages, complement = unit(4, 16), unit(6, 8, 16), RNG.normal(size=6)
    found = refine(q, pages, complement, Tuning(steps=30, rate=1e-3, temperature=0.05))
    np.testing.assert_allclose(found.scores[0], maxsim(q, pages), rtol=1e-5)
    np.testing.assert_allclose(found.scores[-1], maxsim(found.vectors, pages), rtol=1e-5)
    assert found.scores.shape == (31, 6)
    assert found.losses[-1] < found.losses[0] / 2
    assert found.consensus.sum() == pytest.approx(1, abs=1e-5)


def test_looking_for_winners_every_few_steps_ends_close_by() -> None:
    q, pages, complement = unit(4, 16), unit(6, 8, 16), RNG.normal(size=6)
    each, some = (refine(q, pages, complement, Tuning(every=every)) for every in (1, 5))
    np.testing.assert_allclose(some.scores[-1], each.scores[-1], atol=0.02)
    np.testing.assert_allclose(some.scores[-1], maxsim(some.vectors, pages), rtol=1e-5)


def test_no_step_changes_nothing_and_the_query_is_never_written_to() -> None:
    q, pages = unit(2, 8), unit(3, 4, 8)
    kept = q.copy()
    assert (refine(q, pages, np.zeros(3), Tuning(steps=0)).vectors == q).all()
    refine(q, pages, np.arange(3.0), Tuning(steps=5))
    assert (q == kept).all()


def test_one_page_has_nowhere_to_move() -> None:
    q, pages = unit(2, 8), unit(1, 4, 8)
    np.testing.assert_allclose(refine(q, pages, np.ones(1)).vectors, q, atol=1e-6)


@pytest.mark.parametrize(
    ("complement", "steps"), [(np.zeros(2), 5), (np.zeros(3), MOST_STEPS + 1), (np.zeros(3), -1)]
)
def test_shapes_and_steps_are_checked(complement: np.ndarray, steps: int) -> None:
    with pytest.raises(ValueError, match="A refinement"):
        refine(unit(2, 8), unit(3, 4, 8), complement, Tuning(steps=steps))
