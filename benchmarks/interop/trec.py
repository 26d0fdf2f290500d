"""TREC runs and qrels of the sample corpus, judged by ir_measures: the same figures as ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from metaembed_demo.collection.collection import Collection
from metaembed_demo.core.config import PATHS
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.evaluation.beir import Judgements, load_beir
from metaembed_demo.evaluation.evaluate import evaluate
from metaembed_demo.evaluation.run_files import judged_runs, write_trec

from .environments import run_foreign

TOLERANCE = 1e-4  # ours are rounded to four decimals
FIGURES = ("ndcg@5", "ndcg@10", "mrr")


def check(python: Path, collection: Collection, encoder: Encoder, folder: Path) -> dict[str, Any]:
    """A row a budget: our figures, theirs of the run that we write, and ours of that run read back."""
    beir = load_beir(PATHS.sample_corpus)
    judgements = Judgements(beir.qrels, collection)
    result = evaluate(collection, encoder, beir, judgements)
    write_trec(folder / "runs", result["rankings"], judgements)
    run_foreign(python, "judged_by_ir_measures.py", folder / "runs", folder / "trec.json")
    theirs = json.loads((folder / "trec.json").read_text())
    rows = []
    for row in result["budgets"]:
        budget = row["budget"]
        (back,) = judged_runs((folder / "runs" / f"{budget}.run").read_text(), judgements)
        figures = {
            name: {
                "ours": row[name],
                "theirs": round(theirs["runs"][budget][name], 4),
                "read_back": back[name],
            }
            for name in FIGURES
        }
        same = all(max(f.values()) - min(f.values()) < TOLERANCE for f in figures.values())
        rows.append({"budget": budget, **figures, "equal": same})
    return {"queries": result["queries"], "rows": rows, "versions": theirs["versions"]}
