"""How fast Qdrant's engine is and what it finds: `python -m benchmarks.speed.qdrant` writes
benchmarks/results/qdrant.json.

Qdrant's engine runs in this process (qdrant-edge-py), under the same QdrantIndex that speaks to a server, so
no network and no JSON is in these figures. Its nested query is timed with 200, 500 and 1,000 candidates, with
and without the HNSW stage, beside the in-memory index on the same pages: every way searches for a query
before the next query comes. Recall is the share of the exact ten best. Pages are drawn in topics, with
queries that each ask about parts of one page; --real takes the embeddings that benchmarks/speed/corpus.py
makes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks import RESULTS
from metaembed_demo.core.budgets import STOPS, Budget
from metaembed_demo.core.types import FloatArray, Hit
from metaembed_demo.index import cascade
from metaembed_demo.index.local import LocalIndex
from metaembed_demo.index.qdrant import index
from metaembed_demo.index.qdrant.index import QdrantIndex

CANDIDATES = (200, 500, 1_000)
K = 10
CHUNK = 500  # pages added at a time
FULL = STOPS[-1]

Way = Callable[[FloatArray], list[Hit]]


def clustered(n: int, queries: int) -> tuple[Iterator[FloatArray], FloatArray]:
    """Chunks of pages (<= 500, 64, 128) in 200 topics; queries (m, 16, 128) about parts of one page each."""
    rng = np.random.default_rng(7)
    topics = rng.standard_normal((200, 128))
    pages = _unit(topics[rng.integers(200, size=n)] + 0.8 * rng.standard_normal((n, 128)))
    about = rng.choice(n, queries, replace=False)

    def vectors(which: np.ndarray) -> FloatArray:
        """Each page's tokens scatter around it, the same whenever they are asked for."""
        made = [
            np.random.default_rng([7, i]).standard_normal((64, 128), dtype=np.float32) for i in which.tolist()
        ]
        return _unit(pages[which, None] + 1.6 * np.stack(made) / np.sqrt(128))

    parts = np.take_along_axis(vectors(about), rng.integers(64, size=(queries, 16))[:, :, None], axis=1)
    asked = _unit(parts + 0.6 * rng.standard_normal((queries, 16, 128)) / np.sqrt(128))
    return (vectors(np.arange(start, min(start + CHUNK, n))) for start in range(0, n, CHUNK)), asked


def _unit(array: np.ndarray) -> FloatArray:
    return (array / np.linalg.norm(array, axis=-1, keepdims=True)).astype(np.float32)


def real(n: int, queries: int) -> tuple[Iterator[FloatArray], FloatArray]:
    from corpus import load

    shards, asked = load(n)
    return (np.asarray(shard, np.float32) for shard in shards), asked[:: max(1, len(asked) // queries)][
        :queries
    ]


def filled(chunks: Iterator[FloatArray], place: str) -> tuple[LocalIndex, QdrantIndex, dict[str, float]]:
    """Both indexes with all pages; adding to either is timed chunk by chunk, in turns."""
    local = kept = None
    spent = {"in memory": 0.0, "qdrant": 0.0}
    done = 0
    for vectors in chunks:
        if local is None or kept is None:
            _, r_c, dim = vectors.shape
            local, kept = LocalIndex(r_c, dim), QdrantIndex.open(place, "pages", r_c, dim)
        ids = [f"p{done + i}" for i in range(len(vectors))]
        spent["in memory"] += _seconds(local.add, ids, vectors)
        spent["qdrant"] += _seconds(kept.add, ids, vectors)
        done += len(vectors)
    assert local is not None
    assert kept is not None
    spent["qdrant"] += _seconds(kept.close)  # merges segments and builds HNSW, as a server does by itself
    return (
        local,
        QdrantIndex.open(place, "pages", local.r_c, local.dim),
        {w: done / s for w, s in spent.items()},
    )


def _seconds(work: Callable[..., Any], *given: Any) -> float:
    began = perf_counter()
    work(*given)
    return perf_counter() - began


def at(kept: QdrantIndex, budget: Budget) -> Way:
    def search(query: FloatArray) -> list[Hit]:
        cascade.candidates, index.SCAN_UP_TO = lambda *_: CANDIDATES[0], 0
        return kept.search(query, budget, K)

    return search


def ways(local: LocalIndex, kept: QdrantIndex) -> dict[str, Way]:
    """Every way to search, by name."""

    def nested(count: int, scan_up_to: int) -> Way:
        def search(query: FloatArray) -> list[Hit]:
            cascade.candidates, index.SCAN_UP_TO = lambda *_: count, scan_up_to
            return kept.search(query, FULL, K)

        return search

    found: dict[str, Way] = {"in memory": lambda query: local.search(query, FULL, K)}
    for count in CANDIDATES:
        found[f"nested, {count} candidates"] = nested(count, 0)
        found[f"prefix scan, {count} candidates"] = nested(count, sys.maxsize)
    for budget in STOPS[:-1]:
        found[f"budget {budget}"] = at(kept, budget)
    found["exact"] = lambda query: kept.search(query, FULL, K, exact=True)
    return found


def measure(local: LocalIndex, kept: QdrantIndex, queries: FloatArray) -> list[dict[str, Any]]:
    """A row for each way: ms as p50 and p95, and recall at its own budget."""
    all_ways = ways(local, kept)
    times: dict[str, list[float]] = {name: [] for name in all_ways}
    shares: dict[str, list[float]] = {name: [] for name in all_ways}
    for way in all_ways.values():
        way(queries[0])  # loads what is loaded once
    for query in queries:
        truth = {
            budget: {hit.page_id for hit in local.search(query, budget, K, exact=True)} for budget in STOPS
        }
        for name, way in all_ways.items():
            began = perf_counter()
            hits = way(query)
            times[name].append(1000 * (perf_counter() - began))
            budget = Budget.parse(name.removeprefix("budget ")) if name.startswith("budget") else FULL
            shares[name].append(len({hit.page_id for hit in hits} & truth[budget]) / K)
    return [
        {
            "way": name,
            "p50_ms": round(statistics.median(took), 1),
            "p95_ms": round(float(np.quantile(took, 0.95)), 1),
            f"recall_at_{K}": round(statistics.mean(shares[name]), 4),
        }
        for name, took in times.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=60)
    parser.add_argument("--real", action="store_true", help="the pages of benchmarks/speed/corpus.py")
    parser.add_argument("--out", type=Path, default=RESULTS / "qdrant.json")
    options = parser.parse_args()
    chunks, queries = (real if options.real else clustered)(options.pages, options.queries)
    with tempfile.TemporaryDirectory() as folder:
        local, kept, speed = filled(chunks, f"edge:{folder}")
        stored = sum(file.stat().st_blocks * 512 for file in Path(folder).rglob("*") if file.is_file())
        found = {
            "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
            "data": "real" if options.real else "clustered",
            "pages": len(local),
            "shape": [local.r_c, local.dim],
            "queries": len(queries),
            "pages_added_per_s": {name: round(value) for name, value in speed.items()},
            "bytes_on_disk_per_page": round(stored / len(local)),
            "search": measure(local, kept, queries),
        }
        kept.close()
    earlier = json.loads(options.out.read_text()) if options.out.exists() else {}
    options.out.write_text(json.dumps({**earlier, found["data"]: found}, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
