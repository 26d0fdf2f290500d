"""Ways to rank the pages of a dev set, with the MaxSim cells that each computes: rows of quality.json.

Meaning, Both and Both refined (GQR) at the five budgets, Words, Auto, and Auto with words, each as the app
ranks. A cell is one query token against one page token; the share is of a set's pages at the full budget, the
mean over queries. Refinement computes its pool again for every search for winners. `mean_rows` averages the
sets, each counting alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality import col_bandit
from benchmarks.quality.questions import encoded
from metaembed_demo.collection.calibration import Auto
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.modes import BOTH, WORDS
from metaembed_demo.collection.progress import Report
from metaembed_demo.collection.ranker import TUNING, How, Ranker
from metaembed_demo.core.budgets import STOPS, Budget
from metaembed_demo.core.types import FloatArray
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.encoders.mini.encoder import Mini
from metaembed_demo.evaluation.auto_study import calibrated
from metaembed_demo.evaluation.beir import Beir, Judgements, collect, load_beir
from metaembed_demo.evaluation.evaluate import quality
from metaembed_demo.evaluation.metrics import RESAMPLES, Row, gain
from metaembed_demo.evaluation.sample_corpus import open_samples

HITS, FIVE = 10, 5
GQR_STEPS = 25
FULL = STOPS[-1]


def measure(folders: Sequence[Path], cache: Path, encoder: Mini) -> dict[str, Any]:
    """Rows and paired tests of each set, and of their mean. Collections are kept in `cache`."""
    return together({folder.name: of_set(folder, cache, encoder) for folder in folders})


def of_set(folder: Path, cache: Path, encoder: Mini) -> dict[str, Any]:
    asked = load(folder, cache, encoder)
    auto_of = auto_for(asked.collection, encoder)
    rows, calibration = rows_of(asked, auto_of), auto_of.calibration
    assert calibration is not None
    auto = {"calibrated_on": auto_of.of, **calibration.as_json()}
    found = {"pages": len(asked.collection), "queries": len(asked.vectors), "rows": rows, "auto": auto}
    if folder.name in col_bandit.SETS:
        found["col_bandit"] = col_bandit.rows_of(asked, calibration)
    found["gains"] = paired(rows)
    tell(folder.name, found)
    return found


def together(sets: dict[str, Any]) -> dict[str, Any]:
    """The sets of `of_set` and their mean, without the figures of each query."""
    rows = {name: found["rows"] for name, found in sets.items()}
    mean = {"rows": mean_rows(rows), "gains": mean_gains(rows)}
    tell("mean", mean)
    without = {
        name: {**found, "rows": [{k: v for k, v in row.items() if k != "each"} for row in found["rows"]]}
        for name, found in sets.items()
    }
    return {"gqr_steps": GQR_STEPS, "sets": without, "mean": mean}


def tell(name: str, found: dict[str, Any]) -> None:
    print(f"\n{name}")
    for row in found["rows"] + found.get("col_bandit", []):
        low, high = row["ci95"]["ndcg@5"]
        same = ""
        if "same_five" in row:
            same = f"; same first page {row['same_first']:.1%}, first five {row['same_five']:.1%}"
        at = f"{row['ndcg@5']:.3f} ({low:.3f}-{high:.3f})"
        print(f"  {label(row):30} nDCG@5 {at} at {row['cells']:.2%} of the cells{same}")
    for over, points in found["gains"].items():
        low, high = points["ci95"]
        print(f"  {over}: {points['points']:+.2f} ({low:+.2f} to {high:+.2f})")


def load(folder: Path, cache: Path, encoder: Mini) -> Asked:
    """A dev set with its collection and questions encoded, as fusion.py keeps them."""
    beir, report = load_beir(folder), Report()
    collection = collect(beir, encoder, report, keep=cache / folder.name)
    assert not report.problems, report.problems
    judgements = Judgements(beir.qrels, collection)
    keys = list(judgements.judged)
    vectors, _ = encoded(beir, keys, encoder, cache / f"{folder.name}-queries.npz")
    return Asked(collection, beir, judgements, dict(zip(keys, vectors, strict=True)))


@dataclass(frozen=True)
class Asked:
    """A set with its encoded questions. vectors: query id -> (R_q, D)."""

    collection: Collection
    beir: Beir
    judgements: Judgements
    vectors: Mapping[str, FloatArray]

    def rankers(self, budget: Budget, how: How) -> Iterator[tuple[str, Ranker]]:
        """Query id and a ranker that has not ranked yet."""
        for key, vectors in self.vectors.items():
            text = self.beir.queries[key].text
            yield key, Ranker(self.collection, vectors, text, budget, how.of_text(text))


def rows_of(asked: Asked, auto: Auto) -> list[Row]:
    """All rows of a set, with nDCG@5 of each query."""
    ways = [("Meaning", How()), ("Both", How(mode=BOTH)), (f"GQR, {GQR_STEPS} steps", refined())]
    rows = [row(asked, name, how, budget) for name, how in ways for budget in STOPS]
    rows.append(row(asked, "Words", How(mode=WORDS), FULL))
    rows.append(row(asked, "Auto", How(auto=auto), FULL))
    rows.append(row(asked, "Auto with words", How(mode=BOTH, auto=auto), FULL))
    kept_first(rows)
    return rows


def refined() -> How:
    return How(mode=BOTH, steps=GQR_STEPS)


def auto_for(collection: Collection, encoder: Encoder) -> Auto:
    """By known-item queries of these pages, or of the sample corpus where they have too little text."""
    calibrated(collection, encoder)
    samples = open_samples(encoder, tell=lambda _: None).collection
    return Auto.of_pages(collection.index, collection.calibrations, samples.calibrations)


def row(asked: Asked, name: str, how: How, budget: Budget) -> Row:
    """Quality on the best ten pages, the share of cells, and as `first` each query's first five pages."""
    rankings, cells = {}, []
    for key, ranker in asked.rankers(budget, how):
        with asked.collection.lock:
            rankings[key] = [hit.page_id for hit in ranker.hits(HITS)]
            cells.append(cells_of(ranker))
    found = {"name": name} if how.auto or how.mode == WORDS else {"name": name, "budget": str(budget)}
    share = round(float(np.mean(cells)), 5)
    return {**found, "cells": share, **quality(rankings, asked.judgements), "first": _five(rankings)}


def cells_of(ranker: Ranker) -> float:
    """Share of all cells of the corpus that this search computed."""
    how, pages, at = ranker.how, len(ranker.index), _share(ranker.budget)
    if how.mode == WORDS:
        return 0.0
    if automatic := ranker.automatic():
        return automatic.cells
    if ranker.refinement is None:
        return at
    searches = 1 + -(-how.steps // TUNING.every)
    return at * (1 + searches * len(ranker.refinement.page_ids) / pages)


def kept_first(rows: Sequence[Row]) -> None:
    """Say of Auto's rows how often the first page, and the first five as a set, are those of all cells."""
    at = {label(row): row for row in rows}
    for auto, whole in (("Auto", f"Meaning {FULL}"), ("Auto with words", f"Both {FULL}")):
        pairs = [(at[auto]["first"][key], first) for key, first in at[whole]["first"].items()]
        at[auto]["same_first"] = round(float(np.mean([a[:1] == b[:1] for a, b in pairs])), 4)
        at[auto]["same_five"] = round(float(np.mean([set(a) == set(b) for a, b in pairs])), 4)
    for row in rows:
        del row["first"]


# Paired tests


def paired(rows: Sequence[Row], by: Callable[[Row, Row], Row] = gain) -> dict[str, Row]:
    """The differences that the issue of words asks for: `over` by name, as `gain`."""
    at = {label(row): row for row in rows}
    gqr = f"GQR, {GQR_STEPS} steps"
    pairs = [(f"Both {b}", f"Meaning {b}") for b in STOPS] + [(f"{gqr} {b}", f"Both {b}") for b in STOPS]
    pairs += [("Auto", f"Meaning {FULL}"), ("Auto with words", f"Both {FULL}")]
    pairs += [("Auto with words", f"Meaning {FULL}"), ("Words", f"Meaning {FULL}")]
    return {f"{a} over {b}": by(at[a], at[b]) for a, b in pairs}


# Over all sets


def mean_rows(sets: Mapping[str, Sequence[Row]]) -> list[Row]:
    """Mean nDCG@5 and cells of each row over the sets, with the bootstrap interval over questions."""
    means = []
    for same in zip(*sets.values(), strict=True):
        assert len({label(row) for row in same}) == 1
        drawn = np.mean([resampled(_each(row)) for row in same], axis=0)
        means.append({**_named(same[0]), "cells": _mean(same, "cells"), "ndcg@5": _mean(same, "ndcg@5")})
        means[-1]["ci95"] = {"ndcg@5": _interval(drawn)}
    return means


def mean_gains(sets: Mapping[str, Sequence[Row]]) -> dict[str, Row]:
    """`paired` over the mean of the sets."""
    found: dict[str, list[FloatArray]] = {}

    def differences(a: Row, b: Row) -> Row:
        return {"values": 100 * (_each(a) - _each(b))}

    for rows in sets.values():
        for name, of_set in paired(rows, differences).items():
            found.setdefault(name, []).append(of_set["values"])
    return {
        name: {
            "points": round(float(np.mean([values.mean() for values in of_sets])), 2),
            "ci95": _interval(np.mean([resampled(values) for values in of_sets], axis=0)),
        }
        for name, of_sets in found.items()
    }


def resampled(values: FloatArray) -> FloatArray:
    """Bootstrap means (RESAMPLES,). Sets of equal size draw alike, as business pages and their scans."""
    chance = np.random.default_rng(len(values))
    return values[chance.integers(len(values), size=(RESAMPLES, len(values)))].mean(1)


def _each(row: Row) -> FloatArray:
    return np.array(list(row["each"].values()))


def _interval(drawn: Any) -> list[float]:
    return [round(float(edge), 4) for edge in np.percentile(drawn, [2.5, 97.5])]


def _mean(rows: Sequence[Row], figure: str) -> float:
    return round(float(np.mean([row[figure] for row in rows])), 5)


def _named(row: Row) -> dict[str, str]:
    return {name: str(row[name]) for name in ("name", "budget", "alpha") if name in row}


def label(row: Row) -> str:
    return " ".join(_named(row).values())


def _share(budget: Budget) -> float:
    return budget.r_q * budget.r_c / (FULL.r_q * FULL.r_c)


def _five(rankings: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return {key: list(ranking[:FIVE]) for key, ranking in rankings.items()}
