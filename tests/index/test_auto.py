"""Auto: what is dropped at a prefix, and what a calibration promises and keeps."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest

from metaembed_demo.core.budgets import OURS, Budget, Budgets
from metaembed_demo.core.types import FloatArray
from metaembed_demo.index.auto import SHARES, Calibration, calibrate, needed, paths_of, run, table
from metaembed_demo.index.cascade import Rows, Scores, Stage
from metaembed_demo.index.maxsim import maxsim

FULL = Budget(16, 64)
PAGES = 300


def scores_of(query: FloatArray, pages: FloatArray) -> Scores:
    def scores(first: int, budget: Budget, rows: Rows | None) -> FloatArray:
        return maxsim(query[first : budget.r_q], pages[:, : budget.r_c], rows)

    return scores


def calibrated(queries: FloatArray, pages: FloatArray, budgets: Budgets = OURS) -> Calibration:
    full, paths = budgets.full, paths_of(budgets)
    return calibrate([table(scores_of(query, pages), full, paths) for query in queries], full, paths)


@pytest.fixture(scope="module")
def corpus() -> tuple[FloatArray, FloatArray]:
    """Pages (300, 64, 24), and queries (240, 16, 24) that are noisy copies of tokens of one page."""
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(PAGES, 1, 24))
    pages = centres + 0.6 * rng.normal(size=(PAGES, 64, 24))
    asked = rng.integers(PAGES, size=240)
    queries = centres[asked] + 0.8 * rng.normal(size=(240, 16, 24))
    return tuple(
        each.astype(np.float32) / np.linalg.norm(each, axis=2, keepdims=True) for each in (pages, queries)
    )  # type: ignore[return-value]


def test_a_calibration_keeps_its_promise_on_other_queries(corpus: tuple[FloatArray, FloatArray]) -> None:
    pages, queries = corpus
    found = calibrated(queries[:160], pages)
    first, five, cells = [], [], []
    for query in queries[160:]:
        whole = maxsim(query, pages)
        best, left = np.argsort(-whole), run(scores_of(query, pages), PAGES, found, k=5)
        first.append(best[0] in left.rows)
        five.append(set(best[:5]) <= set(left.rows))
        cells.append(left.cells / (PAGES * 16 * 64))
        np.testing.assert_allclose(left.sums, whole[left.rows], atol=1e-4)
    assert np.mean(first) >= SHARES[0] - 0.02
    assert np.mean(five) >= SHARES[1] - 0.05
    assert np.mean(cells) < 0.5
    assert found.five >= SHARES[1] - 0.05
    assert abs(found.cells - np.mean(cells)) < 0.1


@pytest.mark.parametrize("stops", ["1x1 4x8 16x64", "1x1 2x4 4x8 8x16 8x32 16x64", "2x16 4x16 8x16", "4x8"])
def test_a_calibration_of_an_encoders_own_stops_keeps_its_promise(
    corpus: tuple[FloatArray, FloatArray], stops: str
) -> None:
    budgets = Budgets.parse(stops)
    full = budgets.full
    pages, queries = corpus[0][:, : full.r_c], corpus[1][:, : full.r_q]
    found = calibrated(queries[:160], pages, budgets)
    assert found.full == full
    assert bool(found.stages) == (len(budgets) > 1)
    same = []
    for query in queries[160:]:
        whole = maxsim(query, pages)
        left = run(scores_of(query, pages), PAGES, found, k=5)
        same.append(np.argmax(whole) in left.rows)
        np.testing.assert_allclose(left.sums, whole[left.rows], atol=1e-4)
    assert np.mean(same) >= SHARES[0] - 0.02
    assert found.cells < 0.8 if found.stages else found.cells == 1


def test_every_computed_cell_is_counted_once() -> None:
    asked = []

    def scores(first: int, budget: Budget, rows: Rows | None) -> FloatArray:
        asked.append((first, str(budget)))
        found = np.arange(10, dtype=np.float32)
        return found if rows is None else found[rows]

    stages = (Stage(Budget(1, 4)), Stage(Budget(1, 64), gap=3.0), Stage(Budget(4, 64)))
    found = run(scores, 10, Calibration(stages, FULL, 1, 1, 0, 0, 10), k=2)
    assert found.rows.tolist() == [5, 6, 7, 8, 9], "never fewer than the five that are promised"
    assert found.kept == (5,), "then no stage is worth while"
    assert found.cells == 10 * 4 + 5 * 1024
    wide = Calibration((Stage(Budget(1, 4), gap=1.0), *stages[1:]), FULL, 1, 1, 0, 0, 10)
    asked.clear()
    found = run(scores, 10, wide, k=2)
    assert asked == [(0, "1x4"), (0, "1x64"), (1, "4x64"), (4, "16x64")], "no query token is compared twice"
    assert found.cells == 10 * 4 + 6 * 64 + 6 * 3 * 64 + len(found.rows) * 12 * 64


@pytest.mark.parametrize("stops", ["1x1 4x8 32x128", "1x1 2x4 4x8 8x16 8x32 16x64", "4x8", "1x1 16x64"])
@pytest.mark.parametrize("quick", [False, True])
def test_paths_grow_within_an_encoders_stops(stops: str, quick: bool) -> None:
    budgets = Budgets.parse(stops)
    for path in paths_of(budgets, quick):
        for before, after in pairwise([*path, budgets.full]):
            assert before != after
            assert before == before.clip(after.r_q, after.r_c)
        assert not quick or all(stage == stage.clip(8, 16) for stage in path)


def test_a_few_pages_are_all_scored_in_full() -> None:
    stage = Calibration((Stage(Budget(1, 4)),), FULL, 1, 1, 0, 0, 10)
    found = run(lambda first, budget, rows: np.arange(4, dtype=np.float32), 4, stage, k=10)
    assert (found.rows.tolist(), found.cells) == ([0, 1, 2, 3], 4 * 1024)


def test_a_query_needs_the_stop_from_which_on_its_first_page_stays() -> None:
    first = {Budget(1, 1): 2, Budget(2, 4): 7, Budget(4, 8): 2, Budget(8, 16): 2}

    def scores(_: int, budget: Budget, rows: Rows | None) -> FloatArray:
        return (np.arange(10) == first[budget]).astype(np.float32)[rows]

    assert needed(scores, np.arange(10), 2, FULL, OURS) == Budget(4, 8)
    assert needed(scores, np.arange(10), 3, FULL, OURS) == FULL


def test_an_encoder_with_few_tokens_has_stages_within_them(corpus: tuple[FloatArray, FloatArray]) -> None:
    pages, queries = corpus[0][:, :8], corpus[1][:60, :2]
    found = calibrated(queries, pages, OURS.within(2, 8))
    assert all(s.budget.r_q <= 2 and s.budget.r_c <= 8 and s.budget != found.full for s in found.stages)


def test_it_is_stored_as_json(corpus: tuple[FloatArray, FloatArray]) -> None:
    found = calibrated(corpus[1][:40], corpus[0])
    again = Calibration.from_json(json.loads(json.dumps(found.as_json())))
    assert again.as_json() == found.as_json()


def test_too_few_queries_or_pages_say_nothing(corpus: tuple[FloatArray, FloatArray]) -> None:
    with pytest.raises(ValueError, match="A calibration needs 30 queries and 50 pages, not 5 and 300"):
        calibrated(corpus[1][:5], corpus[0])


@pytest.mark.parametrize(
    "wrong",
    [
        {"stages": [["1x4", float("nan")]]},
        {"stages": [["1x4", 9.0]]},
        {"stages": [["4x64", 0.1], ["1x64", 0.1]]},
        {"stages": [["16x64", 0.1]]},
        {"stages": [["1x4", 0.1]] * 9},
        {"first": 1.5},
        {"cells": True},
        {"pages": -1},
        {"queries": 3.5},
        {"full": "9999999x1"},
    ],
)
def test_numbers_that_are_none_are_refused(wrong: dict[str, object]) -> None:
    sound = Calibration((Stage(Budget(1, 4), 0.25),), FULL, 0.98, 0.95, 0.06, 100, 113).as_json()
    assert Calibration.from_json(sound).stages[0].gap == 0.25
    with pytest.raises((ValueError, TypeError)):
        Calibration.from_json({**sound, **wrong})
