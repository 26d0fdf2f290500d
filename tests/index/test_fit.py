"""The chance that a hit answers: what moves it, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metaembed_demo.core.budgets import STOPS, Budget, Budgets
from metaembed_demo.index.fit import FitCalibration


def means(low: float, high: float, count: int = 80) -> np.ndarray:
    """(5, count); a stop's means lie a hundredth above those of the one before."""
    return np.linspace(low, high, count) + np.arange(5)[:, None] / 100


OWN, FOREIGN = means(0.35, 0.65), means(0.15, 0.45)
FITTED = FitCalibration.fit(OWN, FOREIGN, pages=100)


def test_the_chance_is_the_share_of_queries_with_such_a_first_hit() -> None:
    """Between 0.35 and 0.45 there are as many of either kind; below and above only of one."""
    assert FITTED.chance(0.4, STOPS[0]) == pytest.approx(0.5, abs=0.01)
    chances = FITTED.chances([0.2, 0.3, 0.4, 0.5, 0.6], STOPS[0])
    assert chances[0] < 0.05
    assert chances[-1] > 0.95
    assert (np.diff(chances) > 0).all()


def test_a_stop_has_its_own_curve_and_a_budget_between_two_lies_between_theirs() -> None:
    chances = [FITTED.chance(0.4, stop) for stop in STOPS]
    assert sorted(chances, reverse=True) == chances
    between = FITTED.chance(0.4, Budget(3, 6))
    assert chances[2] < between < chances[1]


def test_a_calibration_of_other_stops_keeps_them() -> None:
    six = Budgets.parse("1x1 2x4 4x8 8x16 8x32 16x64")
    own, foreign = (np.concatenate([each, each[:1]]) for each in (OWN, FOREIGN))
    found = FitCalibration.fit(own, foreign, pages=100, budgets=six)
    assert FitCalibration.from_json(found.as_json()).budgets == six
    assert found.chance(0.4, six.full) == found.chance(0.4, six[0]), "the curve of its own stop"
    assert "budgets" not in FITTED.as_json()
    with pytest.raises(ValueError, match="has 6 curves"):
        FitCalibration(FITTED.stops, 0.0, 100, 80, 80, budgets=six)


def test_first_hits_that_do_not_answer_lower_the_chance() -> None:
    right = np.tile(np.arange(80) % 3 > 0, (5, 1))
    assert FitCalibration.fit(OWN, FOREIGN, right).chance(0.5, STOPS[0]) < FITTED.chance(0.5, STOPS[0]) - 0.1


def test_among_more_pages_the_same_score_says_less() -> None:
    growing = replace(FITTED, growth=0.02)
    chances = [growing.chance(0.4, STOPS[0], pages) for pages in (25, 100, 400, 10**4, 10**9)]
    assert sorted(chances, reverse=True) == chances
    assert chances[1] == FITTED.chance(0.4, STOPS[0])
    assert chances[-1] == growing.chance(0.4, STOPS[0], 10**12), "growth is not extrapolated without end"


def test_a_calibration_is_the_same_after_json_and_a_damaged_one_is_refused() -> None:
    kept = replace(FITTED, growth=0.02).as_json()
    assert FitCalibration.from_json(kept).as_json() == kept
    for name, value in {
        "stops": kept["stops"][:4],
        "growth": float("nan"),
        "pages": 0,
    }.items():
        with pytest.raises(ValueError, match="calibration"):
            FitCalibration.from_json({**kept, name: value})
    with pytest.raises(ValueError, match="do not score above"):
        FitCalibration.from_json({**kept, "stops": [[-1, 0.4]] * 5})


def test_too_few_queries_and_scores_that_tell_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="needs 30 queries"):
        FitCalibration.fit(OWN[:, :29], FOREIGN)
    with pytest.raises(ValueError, match="do not score above"):
        FitCalibration.fit(FOREIGN, OWN)
