"""What the rows of quality.json for words and Auto are computed with."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.quality.col_bandit import first_pages
from benchmarks.quality.ways import mean_rows


def test_col_bandit_finds_the_first_pages_with_bounds_that_always_hold() -> None:
    entries = np.random.default_rng(0).random((30, 16))
    best = np.argsort(-entries.sum(1))[:5].tolist()
    sure = first_pages(entries, 5, alpha=1e9)  # as if there were no radius
    assert sure.rows == best
    assert sure.revealed <= 1
    entries[10:] /= 4
    quick = first_pages(entries, 5, alpha=0.3, known=1)
    assert set(quick.rows) <= set(range(10))
    assert quick.revealed < first_pages(entries, 5, alpha=1e9).revealed
    assert len(first_pages(entries[:3], 5, alpha=1).rows) == 3


def test_the_mean_of_sets_counts_them_alike() -> None:
    def row(budget: str, *values: float) -> dict:
        of_query = dict(zip("abcdefgh", values, strict=False))
        mean = float(np.mean(values))
        return {"name": "Meaning", "budget": budget, "cells": mean, "ndcg@5": mean, "each": of_query}

    few, many = [row("1x1", 1.0)], [row("1x1", *[0.0] * 8)]
    (mean,) = mean_rows({"few": few, "many": many})
    assert (mean["budget"], mean["ndcg@5"], mean["cells"]) == ("1x1", 0.5, 0.5)
    assert mean["ci95"] == {"ndcg@5": [0.5, 0.5]}
    with pytest.raises(ValueError, match="shorter"):
        mean_rows({"few": few, "none": []})
