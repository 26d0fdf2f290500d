"""Do the words that an explanation names carry the hit? `python -m benchmarks.quality.faithfulness` writes
the JSON.

For pairs of a question and the page that answers it: hide a tenth of the page's words (of a picture's cells),
have the page read again, and see how far the hit's score falls. The words go by what they gave to the score,
by what the winning tokens read, by plain attention, or at random. Curves: the score left while more and more
is hidden (deletion), or all but so much (insertion), as in Petsiuk et al. 2018 (RISE), with the full
page at 1 and the page without any word at 0. Run benchmarks/quality/devsets.py first.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import results_of
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.progress import Report
from metaembed_demo.core.budgets import STOPS
from metaembed_demo.core.config import PATHS
from metaembed_demo.core.types import FloatArray, Query
from metaembed_demo.encoders.mini.encoder import Mini
from metaembed_demo.evaluation.beir import Beir, Judgements, collect, load_beir
from metaembed_demo.evaluation.metrics import RESAMPLES, interval
from metaembed_demo.explain.explainer import Explainer
from metaembed_demo.explain.occlusion import DRAWS, SHARE, Mask, Occlusion, attended
from metaembed_demo.index.maxsim import align, maxsim

SETS = {"business": 120, "long": 90, "pictures": 24}  # pairs of each
SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0)  # of the words, for the curves
CURVES = {"words": 40, "cells": 12}  # pairs of each set
WAYS = ("contributions", "reading", "attention")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devsets", type=Path, default=PATHS.cache / "devsets")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--weights", type=Path, default=PATHS.mini_weights)
    options = parser.parse_args()
    encoder, out = Mini.load(options.weights), results_of("faithfulness", options.weights)
    found: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {"sets": {}}
    found |= {"encoder": encoder.fingerprint, "share": SHARE, "random draws": DRAWS}
    for name in options.sets:
        beir = load_beir(options.devsets / name)
        collection = collect(beir, encoder, Report())
        asked = questions(beir, collection, SETS[name])
        found["sets"][name] = measure(collection, encoder, beir, asked)
        out.write_text(json.dumps(found, indent=1) + "\n")
        tell(name, found["sets"][name])


def questions(beir: Beir, collection: Collection, count: int) -> list[tuple[str, str]]:
    """(query id, page id) of `count` questions, drawn with a fixed seed; a file's page is its first."""
    found = []
    for key, judged in Judgements(beir.qrels, collection).judged.items():
        kind, value = max(judged, key=lambda unit: judged[unit])
        page_id = value if kind == "page" else collection.holder((value, 1))
        if page_id:
            found.append((key, page_id))
    drawn = np.random.default_rng(1).permutation(len(found))[:count]
    return [found[i] for i in sorted(drawn)]


def measure(
    collection: Collection, encoder: Mini, beir: Beir, asked: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """Falls at every budget, and curves at the finest. A page is read once for all budgets."""
    explainer = Explainer(encoder)
    fell: dict[str, list[list[float]]] = {str(budget): [] for budget in STOPS}
    rows: dict[str, list[FloatArray]] = {}
    what = ""
    for number, (key, page_id) in enumerate(asked):
        pair = Pair(collection, explainer, beir.queries[key], page_id)
        what = pair.finest.what
        for budget, row in pair.falls(np.random.default_rng(number)).items():
            fell[budget].append(row)
        if number < CURVES[what]:
            for way, left in pair.curves(np.random.default_rng(number)).items():
                rows.setdefault(way, []).append(left)
    found = {budget: told(np.array(values)) for budget, values in fell.items()}
    return {"pairs": len(asked), "what": what, "budgets": found, "curves": curves(rows)}


class Pair:
    """One question and its page: the ways to order that page's words, at each budget."""

    def __init__(self, collection: Collection, explainer: Explainer, query: Query, page_id: str) -> None:
        encoder = explainer.encoder
        self.query = encoder.encode_queries([query])[0].vectors
        self.weights: list[dict[str, FloatArray]] = []  # (n,) each, by way, one dict a budget
        page, asked = collection.index.vectors([page_id])[0], encoder.query_evidence(query)
        for budget in STOPS:
            alignment = align(page_id, self.query[: budget.r_q], page[: budget.r_c])
            explained = explainer.explain(collection.pages[page_id], asked, self.query, alignment)
            read = explained.looked.evidence.read()[alignment.winners].mean(0)
            plain = attended(explained.looked, alignment)
            self.weights.append(dict(zip(WAYS, (explained.total, read, plain), strict=True)))
        self.finest = Occlusion(encoder, explained.looked, self.query, STOPS[-1])

    def falls(self, rng: np.random.Generator) -> dict[str, list[float]]:
        """Budget -> how far the score falls when SHARE is hidden, by each way and at random."""
        nothing = np.zeros(len(self.finest.parts), bool)
        masks = [nothing, *(self.finest.drawn(SHARE, rng) for _ in range(DRAWS))]
        masks += [self.finest.first(ways[way], SHARE) for ways in self.weights for way in WAYS]
        vectors = self.finest.vectors(masks)
        found = {}
        for i, budget in enumerate(STOPS):
            scores = maxsim(self.query[: budget.r_q], vectors[:, : budget.r_c])
            start = 1 + DRAWS + i * len(WAYS)
            left = [*scores[start : start + len(WAYS)], scores[1 : 1 + DRAWS].mean()]
            found[str(budget)] = [float(scores[0] - score) for score in left]
        return found

    def curves(self, rng: np.random.Generator) -> dict[str, FloatArray]:
        """Way -> (len(SHARES),) the score left at 16x64, 1 with the whole page and 0 with nothing."""
        pages, weights = self.finest, self.weights[-1]
        masks: dict[str, list[Mask]] = {"random deletion": [pages.drawn(s, rng) for s in SHARES]}
        masks["contributions deletion"] = [pages.first(weights["contributions"], s) for s in SHARES]
        masks["attention deletion"] = [pages.first(weights["attention"], s) for s in SHARES]
        for way in [way.split()[0] for way in masks]:
            masks[f"{way} insertion"] = [pages.parts & ~mask for mask in masks[f"{way} deletion"]]
        scores = pages.scores([mask for group in masks.values() for mask in group])
        scores = scores.reshape(len(masks), len(SHARES))
        full, empty = scores[0, 0], scores[0, -1]
        span = max(float(full - empty), 1e-6)
        return {way: (row - empty) / span for way, row in zip(masks, scores, strict=True)}


def told(fell: FloatArray) -> dict[str, Any]:
    """Means and ratios of falls (pairs, ways and random)."""
    best, plain, chance = fell[:, 0], fell[:, WAYS.index("attention")], fell[:, -1]
    return {
        "mean_fall": dict(zip([*WAYS, "random"], fell.mean(0).round(4).tolist(), strict=True)),
        "over_random": {way: ratio(fell[:, i], chance) for i, way in enumerate(WAYS)},
        "over_attention": ratio(best, plain),
        "above_random": round(float((best > chance).mean()), 3),
        "above_attention": round(float((best > plain).mean()), 3),
        "more_than_attention_ci95": interval(best - plain),
    }


def ratio(high: FloatArray, low: FloatArray) -> dict[str, Any]:
    """The ratio of the means, with its bootstrap 95% interval over pairs."""
    drawn = np.random.default_rng(0).integers(len(high), size=(RESAMPLES, len(high)))
    ratios = high[drawn].mean(1) / low[drawn].mean(1)
    edges = np.percentile(ratios, [2.5, 97.5]).round(2).tolist()
    return {"ratio": round(float(high.mean() / low.mean()), 2), "ci95": edges}


def curves(rows: dict[str, list[FloatArray]]) -> dict[str, Any]:
    """Means over pairs at each of SHARES, and the area below."""
    found: dict[str, Any] = {"pairs": len(next(iter(rows.values()))), "shares": SHARES}
    for way, values in rows.items():
        mean = np.mean(values, 0)
        area = float(((mean[1:] + mean[:-1]) / 2 * np.diff(SHARES)).sum())
        found[way] = {"left": mean.round(4).tolist(), "area": round(area, 4)}
    return found


def tell(name: str, row: dict[str, Any]) -> None:
    for budget, found in row["budgets"].items():
        over, beat = found["over_random"]["contributions"], found["over_attention"]
        print(
            f"{name} {budget}: {over['ratio']} times random {over['ci95']}, "
            f"{beat['ratio']} times plain attention {beat['ci95']}",
            flush=True,
        )


if __name__ == "__main__":
    main()
