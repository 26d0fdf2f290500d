"""Both Minis in seven languages: `python -m benchmarks.quality.languages` writes languages.json.

Each dev set of `language_sets.py` is searched by meaning with questions in the language of its pages, and
with the same questions in English; BM25 stands beside.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import RESULTS
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.progress import Report
from metaembed_demo.core.config import PATHS
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.encoders.registry import load_encoder
from metaembed_demo.evaluation.baselines import bm25, query_text
from metaembed_demo.evaluation.beir import Beir, Judgements, collect, load_beir
from metaembed_demo.evaluation.evaluate import evaluate, quality
from metaembed_demo.evaluation.metrics import Row, rank
from metaembed_demo.training.mini.translations import LANGUAGES

OUT = RESULTS / "languages.json"
ENCODERS = ("mini-multilingual", "mini-english")
ENGLISH = ("business", "long")
FIGURES = ("ndcg@5", "recall@5")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devsets", type=Path, default=PATHS.cache / "devsets")
    parser.add_argument("--sets", nargs="+", default=(*LANGUAGES, *ENGLISH))
    options = parser.parse_args()
    found: dict[str, Any] = json.loads(OUT.read_text()) if OUT.exists() else {}
    encoders = {name: load_encoder(name) for name in ENCODERS}
    for language in options.sets:
        for name, encoder in encoders.items():
            for kind, row in measure(options.devsets, language, encoder).items():
                found.setdefault(kind, {"bm25": row.pop("bm25")})[name] = row
                row.pop("bm25", None)
                print(kind, name, row["ndcg@5"], flush=True)
            OUT.write_text(json.dumps(found, indent=1) + "\n")


def measure(devsets: Path, language: str, encoder: Encoder) -> dict[str, dict[str, Any]]:
    """The rows of a language's two sets, whose pages are the same: name of the set -> figures.

    `language` may be an English set, which is alone.
    """
    names = [name for name in (language, f"{language}-en") if (devsets / name).is_dir()]
    kinds = {name: load_beir(devsets / name) for name in names}
    report = Report()
    collection = collect(kinds[language], encoder, report)
    assert not report.problems, report.problems
    return {kind: _row(collection, encoder, beir) for kind, beir in kinds.items()}


def _row(collection: Collection, encoder: Encoder, beir: Beir) -> dict[str, Any]:
    judgements = Judgements(beir.qrels, collection)
    budgets = evaluate(collection, encoder, beir, judgements)["budgets"]
    return {
        "encoder": encoder.fingerprint,
        "pages": len(collection),
        "queries": len(judgements.judged),
        **{figure: [row[figure] for row in budgets] for figure in FIGURES},
        "ci95": [row["ci95"]["ndcg@5"] for row in budgets],
        "bm25": _by_words(collection, beir, judgements)["ndcg@5"],
    }


def _by_words(collection: Collection, beir: Beir, judgements: Judgements) -> Row:
    """BM25; pages without a word of the query come last, so that ties among them are no hits."""
    ids = list(collection.pages)
    texts = [" ".join(word.text for word in page.words) for page in collection.pages.values()]
    keys = list(judgements.judged)
    scores, _ = bm25(texts, [query_text(beir.queries[key]) for key in keys])
    rankings = {
        key: rank(row, ids)[: int(np.count_nonzero(row > 0))] for key, row in zip(keys, scores, strict=True)
    }
    return quality(rankings, judgements)


if __name__ == "__main__":
    main()
