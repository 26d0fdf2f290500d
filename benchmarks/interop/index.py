"""A saved index of ours, searched by others: how far their first ten are our exact ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metaembed_demo.collection.collection import Collection
from metaembed_demo.core.config import PATHS
from metaembed_demo.core.types import FloatArray
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.evaluation.beir import load_beir
from metaembed_demo.evaluation.evaluate import encode
from metaembed_demo.evaluation.metrics import kendall_tau, overlap
from metaembed_demo.index.maxsim import maxsim

from .environments import run_foreign

K = 10


def written(collection: Collection, encoder: Encoder, folder: Path) -> tuple[Path, Path, FloatArray]:
    """The collection saved, and the sample corpus' judged questions beside it: (n, r_q, dim), and budgets."""
    collection.save(folder / "saved")
    beir = load_beir(PATHS.sample_corpus)
    vectors = np.stack(list(encode(encoder, beir, list(beir.qrels))[0].values()))
    budgets = [(budget.r_q, budget.r_c) for budget in encoder.budgets]
    np.savez(folder / "queries.npz", vectors=vectors, budgets=np.array(budgets))
    return folder / "saved", folder / "queries.npz", vectors


def check(by: str, python: Path, collection: Collection, encoder: Encoder, folder: Path) -> dict[str, Any]:
    """For each setting of `by` and each budget, its pages beside our exact search.

    The same pages in the first ten (overlap@10), in the same order (kendall_tau), and queries whose first ten
    are ours in our order. "scored_exactly": again when all pages that it gave, at most `pages`, are scored by
    their full vectors, as an index of codes is used.
    """
    saved, queries, vectors = written(collection, encoder, folder)
    out = folder / f"{by}.json"
    run_foreign(python, f"searched_by_{by}.py", saved, queries, out)
    found, index, rows = json.loads(out.read_text()), collection.index, []
    for setting, of_setting in found["settings"].items():
        for budget in encoder.budgets:
            hits = [index.search(query, budget, K, exact=True) for query in vectors]
            exact = [[hit.page_id for hit in of_query] for of_query in hits]
            theirs = of_setting[str(budget)]
            row: dict[str, Any] = {"setting": setting, "budget": str(budget), **_agreement(exact, theirs)}
            if (more := max(map(len, theirs))) > K:
                again = [
                    _rescored(collection, query[: budget.r_q], budget.r_c, ids)
                    for query, ids in zip(vectors, theirs, strict=True)
                ]
                row["scored_exactly"] = {"pages": more, **_agreement(exact, again)}
            if scores := found.get("scores", {}).get(str(budget)):  # where they are exact
                ours = np.array([[hit.score for hit in of_query] for of_query in hits])
                row["scores_differ_by"] = float(np.abs(ours - np.array(scores)).max())
            rows.append(row)
    size = {"pages": len(collection), "dim": collection.index.dim, "queries": len(vectors)}
    return {"searched_by": by, **size, "rows": rows, "versions": found["versions"]}


def _agreement(exact: Sequence[Sequence[str]], theirs: Sequence[Sequence[str]]) -> dict[str, float]:
    pairs = [(list(a), list(b[:K])) for a, b in zip(exact, theirs, strict=True)]
    return {
        f"overlap@{K}": round(float(np.mean([overlap(a, b, K) for a, b in pairs])), 4),
        "kendall_tau": round(float(np.mean([kendall_tau(a, b) for a, b in pairs])), 4),
        "same_first": round(float(np.mean([a[:1] == b[:1] for a, b in pairs])), 4),
        "same_ten_in_order": round(float(np.mean([a == b for a, b in pairs])), 4),
    }


def _rescored(collection: Collection, query: FloatArray, r_c: int, ids: Sequence[str]) -> list[str]:
    scores = maxsim(query, collection.index.full(ids)[:, :r_c])
    return [ids[at] for at in np.argsort(-scores, kind="stable")]
