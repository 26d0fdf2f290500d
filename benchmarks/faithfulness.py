"""Do the words that an explanation names carry the hit? `python benchmarks/faithfulness.py` writes the JSON.

For pairs of a question and the page that answers it: hide a tenth of the page's words (of a picture's cells),
have the page read again, and see how far the hit's score falls. The words go by what they gave to the score,
by what the winning tokens read, by plain attention, or at random. Curves: the score left while more and more
is hidden (deletion), or all but so much (insertion), as in Petsiuk et al. 2018 (RISE), with the full
page at 1 and the page without any word at 0. Run benchmarks/devsets.py first.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import metaembed_demo  # noqa: E402,F401  # sets the thread pools up before torch and numpy load
from metaembed_demo.beir import Beir, Judgements, collect, load_beir  # noqa: E402
from metaembed_demo.collection import Collection, Report  # noqa: E402
from metaembed_demo.config import PATHS  # noqa: E402
from metaembed_demo.curves import RESAMPLES, interval  # noqa: E402
from metaembed_demo.explain import DRAWS, SHARE, Explainer, Mask, Occlusion, attended  # noqa: E402
from metaembed_demo.maxsim import align  # noqa: E402
from metaembed_demo.mini import Mini  # noqa: E402
from metaembed_demo.records import STOPS, Budget, FloatArray  # noqa: E402

OUT = ROOT / "benchmarks" / "faithfulness.json"
SETS = {"long": 120, "business": 120, "pictures": 24}  # pairs of each
SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0)  # of the words, for the curves
CURVE_PAIRS = 60  # of each set
WAYS = ("contributions", "reading", "attention", "attention by gain")


@dataclass(frozen=True, eq=False)
class Pair:
    """One question, its page, and the ways to order that page's words; each (n,)."""

    occlusion: Occlusion
    weights: dict[str, FloatArray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devsets", type=Path, default=PATHS.cache / "devsets")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    options = parser.parse_args()
    encoder = Mini.load()
    found: dict[str, Any] = json.loads(OUT.read_text()) if OUT.exists() else {"sets": {}}
    found |= {"encoder": encoder.fingerprint, "share": SHARE, "random draws": DRAWS}
    for name in options.sets:
        beir = load_beir(options.devsets / name)
        collection = collect(beir, encoder, Report())
        asked = questions(beir, collection, SETS[name])
        found["sets"][name] = measure(collection, encoder, beir, asked)
        OUT.write_text(json.dumps(found, indent=1) + "\n")
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
    """Falls at every budget, and curves at the finest."""
    explainer = Explainer(encoder)
    found: dict[str, Any] = {"pairs": len(asked), "budgets": {}}
    for budget in STOPS:
        pairs = list(pairs_at(budget, collection, explainer, beir, asked))
        found["what"] = pairs[0].occlusion.what
        found["budgets"][str(budget)] = falls(pairs)
        if budget == STOPS[-1]:
            found["curves"] = curves(pairs[:CURVE_PAIRS])
    return found


def pairs_at(
    budget: Budget,
    collection: Collection,
    explainer: Explainer,
    beir: Beir,
    asked: Sequence[tuple[str, str]],
) -> Iterator[Pair]:
    encoder = explainer.encoder
    for key, page_id in asked:
        query = beir.queries[key]
        vectors = encoder.encode_queries([query])[0].vectors
        page = collection.index.vectors([page_id])[0]
        alignment = align(page_id, vectors[: budget.r_q], page[: budget.r_c])
        evidence = encoder.query_evidence(query)
        explained = explainer.explain(collection.pages[page_id], evidence, vectors, alignment)
        read, winners = explained.looked.evidence, alignment.winners
        weights = {
            "contributions": explained.total,
            "reading": read.read()[winners].mean(0),
            "attention": attended(explained.looked, alignment),
            "attention by gain": alignment.gains @ read.attended()[winners],
        }
        yield Pair(Occlusion(encoder, explained.looked, vectors, budget), weights)


def falls(pairs: Sequence[Pair]) -> dict[str, Any]:
    """How far the score falls when a tenth is hidden, by each way and at random, and their ratios."""
    rng = np.random.default_rng(1)
    rows = []
    for pair in pairs:
        nothing = np.zeros(len(pair.occlusion.parts), bool)
        masks = [nothing, *(pair.occlusion.first(pair.weights[way], SHARE) for way in WAYS)]
        masks += [pair.occlusion.drawn(SHARE, rng) for _ in range(DRAWS)]
        full, *left = pair.occlusion.scores(masks).tolist()
        rows.append([full - score for score in (*left[: len(WAYS)], float(np.mean(left[len(WAYS) :])))])
    fell = np.array(rows)  # (pairs, ways and random)
    best, chance = fell[:, 0], fell[:, -1]
    return {
        "mean_fall": dict(zip([*WAYS, "random"], fell.mean(0).round(4).tolist(), strict=True)),
        "over_random": {way: ratio(fell[:, i], chance) for i, way in enumerate(WAYS)},
        "over_attention": ratio(best, fell[:, WAYS.index("attention")]),
        "above_random": round(float((best > chance).mean()), 3),
        "above_attention": round(float((best > fell[:, WAYS.index("attention")]).mean()), 3),
        "more_than_attention_ci95": interval(best - fell[:, WAYS.index("attention")]),
    }


def ratio(high: FloatArray, low: FloatArray) -> dict[str, Any]:
    """The ratio of the means, with its bootstrap 95% interval over pairs."""
    drawn = np.random.default_rng(0).integers(len(high), size=(RESAMPLES, len(high)))
    ratios = high[drawn].mean(1) / low[drawn].mean(1)
    edges = np.percentile(ratios, [2.5, 97.5]).round(2).tolist()
    return {"ratio": round(float(high.mean() / low.mean()), 2), "ci95": edges}


def curves(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Mean score left, 1 with the whole page and 0 with nothing, at each of SHARES; and the area below."""
    rng = np.random.default_rng(2)
    rows: dict[str, list[FloatArray]] = {}
    for pair in pairs:
        occlusion = pair.occlusion
        masks: dict[str, list[Mask]] = {"random deletion": [occlusion.drawn(s, rng) for s in SHARES]}
        for way in ("contributions", "attention"):
            first = [occlusion.first(pair.weights[way], share) for share in SHARES]
            masks[f"{way} deletion"] = first
            masks[f"{way} insertion"] = [occlusion.parts & ~mask for mask in first]
        masks["random insertion"] = [occlusion.parts & ~mask for mask in masks["random deletion"]]
        scores = occlusion.scores([mask for group in masks.values() for mask in group])
        scores = scores.reshape(len(masks), len(SHARES))
        full, empty = scores[0, 0], scores[0, -1]
        for way, row in zip(masks, scores, strict=True):
            rows.setdefault(way, []).append((row - empty) / max(full - empty, 1e-6))
    found: dict[str, Any] = {"pairs": len(pairs), "shares": SHARES}
    for way, values in rows.items():
        mean = np.mean(values, 0)
        found[way] = {
            "left": mean.round(4).tolist(),
            "area": round(float(np.trapezoid(mean, SHARES)), 4),
        }
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
