"""Fusion of two rankings, with answers to be seen by eye."""

import numpy as np
import pytest

from metaembed_demo.index.fusion import pool, rrf, shares, standard, zsum

NONE = np.nan


def test_reciprocal_ranks_by_hand() -> None:
    meaning, words = [0.9, 0.8, 0.7, 0.1], [NONE, 5.0, NONE, 9.0]
    assert rrf(meaning, words, k=0).tolist() == [1, 1 / 2 + 1 / 2, 1 / 3, 1 / 4 + 1]


def test_equal_scores_share_a_rank() -> None:
    assert rrf([2, 2, 1], k=0).tolist() == [1, 1, 1 / 3]


def test_a_page_that_both_like_beats_the_first_of_one_unless_k_is_0() -> None:
    assert rrf([10, 9, 8, NONE], [NONE, 9, NONE, 10]).argmax() == 1
    assert rrf([10, 9, 8, NONE], [NONE, 9, NONE, 10], k=0)[[0, 1, 3]].tolist() == [1, 1, 1]


def test_weight_decides_between_two_first_pages() -> None:
    meaning, words = [2, 0, 1], [0, 2, 1]
    assert zsum(meaning, words, 0.9).argmax() == 0
    assert zsum(meaning, words, 1.1).argmax() == 1
    assert zsum(meaning, words, 1.0) == pytest.approx([0, 0, 0])


def test_sum_does_not_depend_on_scale() -> None:
    meaning, words = np.array([3.0, 1.0, 2.0]), np.array([0.0, 4.0, 1.0])
    assert zsum(100 * meaning + 7, words / 9, 0.3) == pytest.approx(zsum(meaning, words, 0.3))


def test_words_that_say_nothing_change_nothing() -> None:
    assert zsum([3, 1, 2], [0, 0, 0], 5.0) == pytest.approx(standard([3, 1, 2]))
    assert shares([3, 1, 2], [0, 0, 0], 5.0)[1].tolist() == [0, 0, 0]


def test_pool_is_the_best_of_either() -> None:
    assert pool([9, 8, 7, 6, 5], [NONE, NONE, NONE, 1, 2], 2).tolist() == [0, 1, 3, 4]
    assert pool([9, 8], [NONE, NONE], 5).tolist() == [0, 1]
    assert pool([], [], 3).tolist() == []
