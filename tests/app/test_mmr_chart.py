"""What MMR is worth: the chart and the file that it is drawn from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from metaembed_demo.app.views.budget_tab import State, worth
from metaembed_demo.app.views.figure import named
from metaembed_demo.app.views.mmr_chart import mmr
from metaembed_demo.core.budgets import OURS
from metaembed_demo.evaluation import mmr_effect
from metaembed_demo.evaluation.mmr_effect import MmrEffect
from tests.app.test_charts import heading, plotted

EFFECT = MmrEffect(
    "ours", ("business", "long"), 90, 200, (0.75, 0.8, 0.81, 0.83, 0.86), (0.3, 0.5, 0.6, 0.7, 0.864)
)


def test_the_chart_says_what_each_end_of_the_curve_loses_without_mmr() -> None:
    drawn = mmr(EFFECT, 4, OURS)
    first, last = named(OURS[0]), named(OURS[-1])
    assert heading(drawn) == f"Without MMR, {first} scores 45 points less, {last} 0.4 more"
    assert [list(curve.y) for curve in plotted(drawn).data] == [list(EFFECT.nested), list(EFFECT.alone)]
    assert "business and long (90 pages, 200 queries)" in drawn


def test_budget_shows_it_where_it_was_measured() -> None:
    state = State(9, OURS.full, None, "", 0.95, 0, None, "", "", mmr=EFFECT)
    assert 'data-figure="mmr"' in worth(state)
    assert 'data-figure="mmr"' not in worth(replace(state, mmr=None))
    assert worth(replace(state, running="<p>Asked 1 of 9</p>")) == worth(state)


def test_the_effect_is_read_for_its_encoder_alone(tmp_path: Path) -> None:
    path = tmp_path / mmr_effect.NAME
    assert mmr_effect.read(path, "ours") is None
    mmr_effect.write(path, EFFECT)
    assert mmr_effect.read(path, "ours") == EFFECT
    assert mmr_effect.read(path, "another") is None


def test_a_damaged_effect_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / mmr_effect.NAME
    mmr_effect.write(path, EFFECT)
    value = json.loads(path.read_text())
    path.write_text(json.dumps(value | {"alone": [0.3]}))
    assert mmr_effect.read(path, "ours") is None
