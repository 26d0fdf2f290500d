"""Auto: what is dropped at a prefix, and what a calibration promises and keeps."""

from __future__ import annotations

import json

import numpy as np
import pytest

from metaembed_demo.core.budgets import Budget
from metaembed_demo.core.types import FloatArray
from metaembed_demo.index.auto import SHARES, Calibration, Rows, Scores, Stage, calibrate, narrow
from metaembed_demo.index.maxsim import maxsim

FULL = Budget(16, 64)
PAGES = 300


def scores_of(query: FloatArray, pages: FloatArray) -> Scores:
    def scores(budget: Budget, rows: Rows | None) -> FloatArray:
        return maxsim(query[: budget.r_q], pages[:, : budget.r_c], rows)

    return scores


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
    found = calibrate([scores_of(query, pages) for query in queries[:160]], PAGES, FULL)
    first, five, cells = [], [], []
    for query in queries[160:]:
        scores = scores_of(query, pages)
        best, left = np.argsort(-scores(FULL, None)), narrow(scores, PAGES, found, k=5)
        first.append(best[0] in left.rows)
        five.append(set(best[:5]) <= set(left.rows))
        cells.append(left.cells)
    assert np.mean(first) >= SHARES[0] - 0.02
    assert np.mean(five) >= SHARES[1] - 0.05
    assert np.mean(cells) < 0.5
    assert found.five >= SHARES[1] - 0.05
    assert abs(found.cells - np.mean(cells)) < 0.1


def test_every_computed_cell_is_counted() -> None:
    stage = Calibration((Stage(Budget(1, 4), 0.0),), FULL, 1, 1, 0, 0, 10)
    found = narrow(lambda budget, rows: np.arange(10, dtype=np.float32), 10, stage, k=2)
    assert found.rows.tolist() == [5, 6, 7, 8, 9], "never fewer than the five that are promised"
    assert found.cells == pytest.approx((10 * 4 + 5 * 1024) / (10 * 1024))
    assert found.kept == (5,)


def test_a_few_pages_are_all_scored_in_full() -> None:
    stage = Calibration((Stage(Budget(1, 4), 0.0),), FULL, 1, 1, 0, 0, 10)
    found = narrow(lambda budget, rows: np.arange(4, dtype=np.float32), 4, stage, k=10)
    assert (found.rows.tolist(), found.cells) == ([0, 1, 2, 3], 1.0)


def test_an_encoder_with_few_tokens_has_stages_within_them(corpus: tuple[FloatArray, FloatArray]) -> None:
    pages, queries = corpus[0][:, :8], corpus[1][:60, :2]
    found = calibrate([scores_of(query, pages) for query in queries], PAGES, Budget(2, 8))
    assert all(s.budget.r_q <= 2 and s.budget.r_c <= 8 and s.budget != found.full for s in found.stages)


def test_it_is_stored_as_json(corpus: tuple[FloatArray, FloatArray]) -> None:
    found = calibrate([scores_of(query, corpus[0]) for query in corpus[1][:40]], PAGES, FULL)
    again = Calibration.from_json(json.loads(json.dumps(found.as_json())))
    assert again.as_json() == found.as_json()


def test_too_few_queries_or_pages_say_nothing(corpus: tuple[FloatArray, FloatArray]) -> None:
    with pytest.raises(ValueError, match="A calibration needs 30 queries and 50 pages, not 5 and 300"):
        calibrate([scores_of(query, corpus[0]) for query in corpus[1][:5]], PAGES, FULL)
