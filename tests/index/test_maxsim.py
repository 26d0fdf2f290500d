"""index/maxsim.py against sentence-transformers, against a plain loop, and against itself at other
budgets."""

import numpy as np
import pytest
from sentence_transformers.util import maxsim as reference

from metaembed_demo.core.budgets import OURS, STOPS
from metaembed_demo.index.maxsim import align, maxsim, prefix_gains
from tests.support.sample_pages import random_vectors


@pytest.mark.parametrize(("r_q", "r_c", "dim", "n"), [(1, 1, 8, 5), (3, 7, 16, 40), (16, 64, 128, 300)])
def test_agrees_with_sentence_transformers(r_q: int, r_c: int, dim: int, n: int) -> None:
    q, c = random_vectors(1, r_q, dim), random_vectors(2, n, r_c, dim)
    np.testing.assert_allclose(maxsim(q, c), reference(q[None], c).numpy()[0], atol=1e-5)


def test_is_the_plain_sum_of_equation_1() -> None:
    q, c = random_vectors(3, 4, 8), random_vectors(4, 6, 5, 8)
    by_hand = [sum(max(float(qi @ cj) for cj in page) for qi in q) for page in c]
    np.testing.assert_allclose(maxsim(q, c), by_hand, atol=1e-5)


def test_full_budget_equals_the_unsliced_score_and_chunks_do_not_show() -> None:
    q, c = random_vectors(5, 16, 128), random_vectors(6, 700, 64, 128)
    full = STOPS[-1]
    whole = maxsim(q, c)
    np.testing.assert_array_equal(maxsim(q[: full.r_q], c[:, : full.r_c]), whole)
    one_by_one = np.concatenate([maxsim(q, c[i : i + 1]) for i in range(0, 700, 50)])
    np.testing.assert_allclose(whole[::50], one_by_one, atol=1e-5)


def test_negative_similarities_are_not_beaten_by_nothing() -> None:
    q = np.array([[1, 0]], np.float32)
    assert maxsim(q, -q[None]).tolist() == [-1.0]


def test_float16_pages_score_as_their_float32_copy() -> None:
    q, c = random_vectors(7, 8, 32), random_vectors(8, 20, 16, 32).astype(np.float16)
    np.testing.assert_allclose(maxsim(q, c), maxsim(q, c.astype(np.float32)), atol=1e-6)


@pytest.mark.parametrize("budget", STOPS, ids=str)
def test_alignment_explains_the_score(budget) -> None:
    q, c = random_vectors(9, 16, 64)[: budget.r_q], random_vectors(10, 1, 64, 64)[:, : budget.r_c]
    found = align("page", q, c[0])
    assert found.page_id == "page"
    assert found.similarity.shape == (budget.r_q, budget.r_c)
    np.testing.assert_array_equal(found.gains, found.similarity.max(axis=1))
    np.testing.assert_array_equal(found.similarity[np.arange(budget.r_q), found.winners], found.gains)
    np.testing.assert_allclose(found.gains.sum(), maxsim(q, c)[0], atol=1e-5)
    np.testing.assert_allclose(prefix_gains(found, OURS).sum(), maxsim(q, c)[0], atol=1e-5)


def test_prefix_gains_follow_the_nested_groups() -> None:
    assert OURS.query_spans == ((0, 1), (1, 2), (2, 4), (4, 8), (8, 16))
    assert OURS.page_spans == ((0, 1), (1, 4), (4, 8), (8, 16), (16, 64))
    q = np.eye(16, dtype=np.float32)
    page = np.diag(np.arange(16)).astype(np.float32) / 16
    gains = prefix_gains(align("p", q, page), OURS) * 16
    assert gains.tolist() == [0, 1, 2 + 3, 4 + 5 + 6 + 7, sum(range(8, 16))]


def test_no_pages_give_no_scores_and_bad_shapes_are_refused() -> None:
    q = random_vectors(11, 2, 8)
    assert maxsim(q, np.zeros((0, 4, 8), np.float32)).shape == (0,)
    for bad in (np.zeros((3, 4, 7)), np.zeros((3, 8)), np.zeros((3, 0, 8))):
        with pytest.raises(ValueError, match="MaxSim needs"):
            maxsim(q, bad)
    with pytest.raises(ValueError, match="at least one token"):
        maxsim(q[:0], np.zeros((3, 4, 8), np.float32))
