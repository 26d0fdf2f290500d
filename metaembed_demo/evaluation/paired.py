"""Paired tests between ways to rank pages: what words, refinement and Auto change for the same queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.modes import MEANING
from metaembed_demo.collection.ranker import How
from metaembed_demo.core.budgets import Budget
from metaembed_demo.core.types import FloatArray

from .beir import Beir, Judgements
from .evaluate import at_budgets
from .metrics import Row, gain


def over_simpler(
    collection: Collection,
    vectors: Mapping[str, FloatArray],
    beir: Beir,
    judgements: Judgements,
    how: How,
    rows: Sequence[Row],
) -> dict[str, Row]:
    """Paired difference of nDCG@5 at each budget of `rows`, measured as `how` says, over simpler ways.

    Refined queries are compared with the same unrefined, words and both with meaning; meaning with nothing.

    Args:
        vectors: query id -> (R_q, D).
    """
    found: dict[str, Row] = {}
    budgets = [Budget.parse(row["budget"]) for row in rows]
    for simpler in simpler_ways(how):
        others, _ = at_budgets(collection, budgets, vectors, beir, judgements, simpler)
        between = f"{named(how)} over {named(simpler)}"
        found |= {f"{a['budget']}, {between}": gain(a, b) for a, b in zip(rows, others, strict=True)}
    return found


def simpler_ways(how: How) -> list[How]:
    """The same without refinement, and by meaning alone.

    >>> [named(way) for way in simpler_ways(How(mode="both", steps=25))]
    ['both', 'meaning']
    """
    unrefined = [replace(how, steps=0)] if how.steps else []
    return unrefined if how.mode == MEANING else [*unrefined, replace(how, mode=MEANING, steps=0)]


def named(how: How) -> str:
    return f"{how.mode} refined in {how.steps} steps" if how.steps else how.mode
