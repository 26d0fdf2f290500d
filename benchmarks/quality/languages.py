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
    parser.add_argument("--encoders", nargs="+", default=ENCODERS, choices=ENCODERS)
    options = parser.parse_args()
    found: dict[str, Any] = json.loads(OUT.read_text()) if OUT.exists() else {}
    encoders = {name: load_encoder(name) for name in options.encoders}
    for language in options.sets:
        names = [name for name in (language, f"{language}-en") if (options.devsets / name).is_dir()]
        kinds = {name: load_beir(options.devsets / name) for name in names}
        for name, encoder in encoders.items():
            report = Report()
            collection = collect(kinds[language], encoder, report)  # the pages of both kinds are the same
            assert not report.problems, report.problems
            for kind, beir in kinds.items():
                judgements = Judgements(beir.qrels, collection)
                rows = found.setdefault(kind, {})
                if "bm25" not in rows:
                    rows["bm25"] = _by_words(collection, beir, judgements)["ndcg@5"]
                rows[name] = _row(collection, encoder, beir, judgements)
                print(kind, name, rows[name]["ndcg@5"], flush=True)
            OUT.write_text(json.dumps(found, indent=1) + "\n")


def _row(collection: Collection, encoder: Encoder, beir: Beir, judgements: Judgements) -> dict[str, Any]:
    budgets = evaluate(collection, encoder, beir, judgements)["budgets"]
    return {
        "encoder": encoder.fingerprint,
        "pages": len(collection),
        "queries": len(judgements.judged),
        **{figure: [row[figure] for row in budgets] for figure in FIGURES},
        "ci95": [row["ci95"]["ndcg@5"] for row in budgets],
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
