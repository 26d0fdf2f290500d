"""Words beside Meta Tokens on the dev sets: `python -m benchmarks.quality.fusion` writes fusion.json.

Per set, nDCG@5 of Meaning (MaxSim at the five budgets), Words (the lexical index) and bm25s, and of both
fused: reciprocal ranks, and the z-scored sum with its weight chosen on the other sources (leave one source
out). `over` is the paired difference to Meaning at the same budget, with its bootstrap 95% interval over
questions. Encoded sets are kept in --cache. Run benchmarks/quality/devsets.py first.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import results_of
from benchmarks.quality.devsets import OURS
from benchmarks.quality.quality import SETS
from benchmarks.quality.questions import encoded
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.modes import POOL, weight_of
from metaembed_demo.collection.progress import Report
from metaembed_demo.collection.spelling import known_words
from metaembed_demo.core.budgets import STOPS
from metaembed_demo.core.config import PATHS
from metaembed_demo.core.types import FloatArray
from metaembed_demo.encoders.mini.encoder import Mini
from metaembed_demo.evaluation.baselines import bm25
from metaembed_demo.evaluation.beir import Beir, Judgements, collect, load_beir
from metaembed_demo.evaluation.metrics import grade, interval, ndcg
from metaembed_demo.index.fusion import pool, rrf, zsum
from metaembed_demo.index.maxsim import maxsim
from metaembed_demo.index.words.word_index import WordIndex

K, DEEP = 5, 20  # cutoff; pages of a ranking that are judged, as several may be one unit
WEIGHTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5)
POOLS = (10, 50)  # best of either that are summed; beside all pages
RRF_KS = (60, 10, 2)
BUDGETS = [str(budget) for budget in STOPS]

Fuse = Callable[[FloatArray, FloatArray], FloatArray]  # MaxSim (n,), BM25 (n,) with NaN -> (n,)


@dataclass
class Scored:
    """A dev set with every page scored. meaning: budget -> (questions, n) MaxSim.

    words: (questions, n) BM25, NaN without a match; tagged: the same with the tags of pictures, which the app
    leaves out; literals: (questions, n), codes and phrases that a page holds. sources: where each question
    comes from.
    """

    name: str
    sources: list[str]
    meaning: dict[str, FloatArray]
    words: FloatArray
    tagged: FloatArray
    plain: FloatArray  # of bm25s, tags too
    literals: FloatArray
    judge: Callable[[int, Sequence[int]], float]  # question, ranking of pages -> nDCG@5

    def each(self, fused: Callable[[int], FloatArray], literal: bool = True) -> FloatArray:
        """nDCG@5 of every question; with `literal`, pages with its codes and phrases come first."""
        found = []
        for at in range(len(self.sources)):
            scores = np.nan_to_num(fused(at), nan=-np.inf)
            first = self.literals[at] if literal else np.zeros_like(scores)
            order = np.lexsort((np.arange(len(scores)), -scores, -first))
            found.append(self.judge(at, [place for place in order[:DEEP] if np.isfinite(scores[place])]))
        return np.array(found)


# Scoring


def scored(folder: Path, cache: Path, encoder: Mini) -> Scored:
    beir = load_beir(folder)
    report = Report()
    collection = collect(beir, encoder, report, keep=cache / folder.name)
    assert not report.problems, report.problems
    judgements = Judgements(beir.qrels, collection)
    keys, ids = list(judgements.judged), collection.index.ids
    vectors = collection.index.full(ids)
    queries, asked = encoded(beir, keys, encoder, cache / f"{folder.name}-queries.npz")
    words, literals = lexical(collection, ids, asked)
    tagged, _ = lexical(collection, ids, asked, tags=True)
    texts = [" ".join(word.text for word in collection.pages[page_id].words) for page_id in ids]
    plain, _ = bm25(texts, asked)

    def judge(at: int, order: Sequence[int]) -> float:
        judged = judgements.judged[keys[at]]
        gains, _ = grade(judgements.ranking(ids[place] for place in order), judged)
        return ndcg(gains, list(judged.values()), K)

    return Scored(
        folder.name,
        sources_of(folder.name, beir, keys),
        {
            str(budget): np.stack(
                [maxsim(query[: budget.r_q], vectors[:, : budget.r_c]) for query in queries]
            )
            for budget in STOPS
        },
        words,
        tagged,
        np.where(plain > 0, plain, np.nan),
        literals,
        judge,
    )


def lexical(
    collection: Collection, ids: Sequence[str], asked: Sequence[str], tags: bool = False
) -> tuple[FloatArray, FloatArray]:
    """BM25, NaN without a match, and how many codes and phrases a page holds; both (questions, n).

    Without `tags`, the index is that of the app.
    """
    index = WordIndex(known_words())
    for page_id in ids:
        page = collection.pages[page_id]
        words = [word.text for word in page.words if tags or word.kind != "visual"]
        index.add(page_id, words, page.language)
    index.commit()
    at = {page_id: place for place, page_id in enumerate(ids)}
    words, literals = np.full((len(asked), len(ids)), np.nan), np.zeros((len(asked), len(ids)))
    for row, text in enumerate(asked):
        for hit in index.search(text, len(ids)).hits:
            words[row, at[hit.page_id]] = hit.score
            literals[row, at[hit.page_id]] = hit.literals
    return words, literals


def sources_of(name: str, beir: Beir, keys: Sequence[str]) -> list[str]:
    """The Debian package of a long page, the kind of a business document, or the set itself."""
    if name == "long":
        packages = {
            re.sub(r"[^\w.-]+", "-", row["page"].split("#")[0]): row["page"].split("/")[0]
            for row in map(json.loads, (OURS / "long.jsonl").read_text().splitlines())
        }
        return [packages[_document(beir, key)] for key in keys]
    if name.startswith("business"):
        rows = map(json.loads, (OURS / "business.jsonl").read_text().splitlines())
        kinds = {row["name"]: row["kind"] for row in rows}
        return [kinds[_document(beir, key)] for key in keys]
    return ["pictures"] * len(keys)


def _document(beir: Beir, key: str) -> str:
    return next(iter(beir.qrels[key])).rpartition("#")[0].removesuffix(".pdf")


# Rows


def measure(sets: Sequence[Scored]) -> dict[str, Any]:
    rows: dict[str, list[Any]] = {one.name: alone(one) + shipped(one) for one in sets}
    told: dict[str, Any] = {}
    for literal in (False, True):
        for name, fuse in {f"RRF, k={k}": _rrf(k) for k in RRF_KS}.items():
            for one in sets:
                rows[one.name] += both(one, _label(name, literal), lambda *_, fuse=fuse: fuse, literal)
    for most in (None, *POOLS):
        each = {one.name: grid(one, most) for one in sets}
        name = "z-sum, all pages" if most is None else f"z-sum, best {most} of either"
        one_weight = chosen(sets, each, BUDGETS)
        by_budget = {budget: chosen(sets, each, [budget]) for budget in BUDGETS}
        told[name] = one_weight["everywhere"]
        told[f"{name}, weight by budget"] = {b: choice["everywhere"] for b, choice in by_budget.items()}
        for one in sets:
            rows[one.name] += held_out(one, name, each[one.name], dict.fromkeys(BUDGETS, one_weight))
            rows[one.name] += held_out(one, f"{name}, weight by budget", each[one.name], by_budget)
            if most is None:
                rows[one.name] += fixed(one, each[one.name])
    return {"weights": told, "sets": rows}


def alone(one: Scored) -> list[Any]:
    rows = [row("Meaning", one, meaning_of(one, budget), budget=budget) for budget in BUDGETS]
    plain = one.each(lambda at: one.plain[at], literal=False)
    words = one.each(lambda at: one.words[at])
    return [
        *rows,
        row("bm25s", one, plain),
        row("Words", one, words, over=plain),
        row("Words, literals not first", one, one.each(lambda at: one.words[at], False), over=plain),
        row("Words, tags of pictures too", one, one.each(lambda at: one.tagged[at]), over=words),
    ]


def shipped(one: Scored) -> list[Any]:
    """Both with the weights of the app, which are fitted on these sets; and what the tags of pictures add."""
    whole = max(budget.r_c for budget in STOPS)
    rows = []
    for name, words in {"Both, as the app": one.words, "Both, tags of pictures too": one.tagged}.items():
        for stop in STOPS:
            meaning, weight = one.meaning[str(stop)], weight_of(stop.r_c, whole)
            each = one.each(lambda at, m=meaning, w=weight, b=words: zsum_of(m[at], b[at], w, POOL))
            rows.append(row(name, one, each, budget=str(stop), over=meaning_of(one, str(stop))))
    return rows


def meaning_of(one: Scored, budget: str) -> FloatArray:
    return one.each(lambda at: one.meaning[budget][at], literal=False)


def both(one: Scored, name: str, fuse: Callable[[str], Fuse], literal: bool) -> list[Any]:
    rows = []
    for budget in BUDGETS:
        how = fuse(budget)
        each = one.each(lambda at, how=how, b=budget: how(one.meaning[b][at], one.words[at]), literal)
        rows.append(row(name, one, each, budget=budget, over=meaning_of(one, budget)))
    return rows


def grid(one: Scored, most: int | None) -> dict[str, FloatArray]:
    """Budget -> nDCG@5 (weights, questions) of the z-scored sum."""
    return {
        budget: np.stack(
            [
                one.each(lambda at, b=budget, w=weight: zsum_of(one.meaning[b][at], one.words[at], w, most))
                for weight in WEIGHTS
            ]
        )
        for budget in BUDGETS
    }


def zsum_of(meaning: FloatArray, words: FloatArray, weight: float, most: int | None) -> FloatArray:
    """The sum among the pool of the best `most` of either, or all pages; NaN outside of the pool."""
    places = np.arange(len(meaning)) if most is None else pool(meaning, words, most)
    fused = np.full(len(meaning), np.nan)
    fused[places] = zsum(meaning[places], np.nan_to_num(words[places]), weight)
    return fused


def chosen(
    sets: Sequence[Scored], each: Mapping[str, Mapping[str, FloatArray]], budgets: Sequence[str]
) -> dict[str, float]:
    """Source -> the best weight on all other sources over `budgets`; `everywhere`: on all sources.

    Sets count alike, however many questions they have.
    """
    sources = {source for one in sets for source in one.sources}

    def best(left_out: str) -> float:
        means = []
        for one in sets:
            kept = np.array([source != left_out for source in one.sources])
            if kept.any():
                means.append(np.mean([each[one.name][b][:, kept].mean(1) for b in budgets], axis=0))
        return WEIGHTS[int(np.mean(means, axis=0).argmax())] if means else WEIGHTS[2]

    return {"everywhere": best(""), **{source: best(source) for source in sorted(sources)}}


def held_out(
    one: Scored, name: str, each: Mapping[str, FloatArray], choices: Mapping[str, Mapping[str, float]]
) -> list[Any]:
    """The sum with the weights of `choices`, budget -> source of the question -> weight."""
    rows = []
    for budget in BUDGETS:
        picks = [WEIGHTS.index(choices[budget][source]) for source in one.sources]
        values = each[budget][picks, np.arange(len(picks))]
        rows.append(row(name, one, values, budget=budget, over=meaning_of(one, budget)))
    return rows


def fixed(one: Scored, each: Mapping[str, FloatArray]) -> list[Any]:
    """The sum at every weight, over all pages: for seeing how much the choice matters."""
    return [
        {"name": "z-sum at fixed weight", "budget": budget, "weight": weight, "ndcg@5": _mean(values)}
        for budget in BUDGETS
        for weight, values in zip(WEIGHTS, each[budget], strict=True)
    ]


def row(name: str, one: Scored, each: FloatArray, over: FloatArray | None = None, **more: Any) -> Any:
    found = {"name": name, **more, "ndcg@5": _mean(each), "ci95": interval(each)}
    if over is not None:
        found["over"] = {
            "points": round(100 * float((each - over).mean()), 2),
            "ci95": [round(100 * edge, 2) for edge in interval(each - over)],
        }
    return found


def _rrf(k: float) -> Fuse:
    return lambda meaning, words: rrf(meaning, words, k=k)


def _label(name: str, literal: bool) -> str:
    return f"{name}, literals first" if literal else name


def _mean(values: FloatArray) -> float:
    return round(float(values.mean()), 4)


def tell(found: dict[str, Any]) -> None:
    print(found["weights"])
    for name, rows in found["sets"].items():
        print(f"\n{name}")
        for of in rows:
            if "ci95" in of:
                low, high = of["ci95"]
                quality = f"{of['ndcg@5']:.3f} ({low:.3f}-{high:.3f})"
                print(f"  {of['name']:42} {of.get('budget', ''):7} {quality}{_gained(of.get('over'))}")


def _gained(over: dict[str, Any] | None) -> str:
    return f" {over['points']:+.1f} ({over['ci95'][0]:+.1f} to {over['ci95'][1]:+.1f})" if over else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devsets", type=Path, default=PATHS.cache / "devsets")
    parser.add_argument("--cache", type=Path, default=PATHS.cache / "fusion")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--weights", type=Path, default=PATHS.mini_weights)
    options = parser.parse_args()
    encoder = Mini.load(options.weights)
    sets = []
    for name in options.sets:
        sets.append(scored(options.devsets / name, options.cache, encoder))
        print(f"{name}: {len(sets[-1].sources)} questions", file=sys.stderr)
    found = {
        "machine": {"python": platform.python_version(), "encoder": encoder.fingerprint},
        **measure(sets),
    }
    results_of("fusion", options.weights).write_text(json.dumps(found, indent=1) + "\n")
    tell(found)


if __name__ == "__main__":
    main()
