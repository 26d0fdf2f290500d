"""What a search costs from a thousand pages to ten million: writes benchmarks/results/scale.json;
app/views/alignment_chart.py draws it.

    # about fifteen minutes on two cores, 25 GB of disk for the million
    python -m benchmarks.speed.scale

Up to a hundred thousand: the real pages of benchmarks/speed/corpus.py (64 x 384). A million: made pages in
topics (64 x 128), their full vectors on disk, read by threads, with the page cache warm and, where the
system lets it be dropped, cold. Ten million: no machine of ours holds them; the parts that grow are
measured at a million and multiplied, the others taken as they are, and the JSON says so. The exponent is
the slope of log time over log pages, fitted by least squares.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import RESULTS
from metaembed_demo.core.budgets import STOPS, Budget
from metaembed_demo.core.config import PATHS
from metaembed_demo.index.local import NEVER, LocalIndex

from . import corpus

OUT = RESULTS / "scale.json"
FULL = STOPS[-1]
SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
MADE = 1_000_000
TEN = 10
QUERIES, K = 40, 10
DIM, TOPICS, BATCH = 128, 5_000, 20_000


def times(index: LocalIndex, queries: Sequence[NDArray[np.float32]], budget: Budget) -> dict[str, Any]:
    """Milliseconds by stage of single searches: p50 and p95 over `queries`."""
    for query in queries[:3]:
        index.search(query, budget, K)
    stages: dict[str, list[float]] = {"coarse": [], "rerank": [], "total": []}
    counts = []
    for query in queries:
        began = time.perf_counter()
        found = index.coarse(query, budget, K)
        middle = time.perf_counter()
        index.rerank(query, budget, found, K)
        ended = time.perf_counter()
        counts.append(len(found))
        for name, seconds in zip(stages, (middle - began, ended - middle, ended - began), strict=True):
            stages[name].append(seconds * 1000)
    return {"pages": len(index), "candidates": counts[0], **{n: summary(ms) for n, ms in stages.items()}}


def summary(ms: Sequence[float]) -> dict[str, float]:
    return {"p50_ms": round(float(np.median(ms)), 2), "p95_ms": round(float(np.percentile(ms, 95)), 2)}


def real_rows(sizes: Sequence[int]) -> list[dict[str, Any]]:
    """The cascade on the first pages of the real corpus, one index a size."""
    rows = []
    _, queries = corpus.load(max(sizes))
    order = np.random.default_rng(1).permutation(len(queries))[:QUERIES]
    for pages in sizes:
        shards, _ = corpus.load(pages)
        large = PATHS.cache / f"realindex-{pages}"
        if (large / "index.json").exists():
            index = LocalIndex.load(large)
        else:
            index = LocalIndex(64, 384)
            for shard in shards:
                start = len(index)
                index.add([f"p{start + i}" for i in range(len(shard))], np.asarray(shard))
        index.exact_up_to = 0  # the same way at every size
        rows.append(times(index, queries[order], FULL))
        print(json.dumps(rows[-1]), flush=True)
    return rows


def made_pages(rng: np.random.Generator, topics: NDArray[np.float32], n: int) -> NDArray[np.float16]:
    """Pages (n, 64, 128) each about a topic in its own way; noise rows come from a pool, which is faster."""
    own = topics[rng.integers(len(topics), size=n)] + 0.8 * rng.standard_normal((n, DIM), dtype=np.float32)
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    pool = rng.standard_normal((4_096, DIM), dtype=np.float32) * (1.6 / DIM**0.5)
    out = np.empty((n, 64, DIM), np.float16)
    for start in range(0, n, 1_000):
        some = own[start : start + 1_000]
        vectors = some[:, None] + pool[rng.integers(len(pool), size=(len(some), 64))]
        out[start : start + 1_000] = vectors / np.linalg.norm(vectors, axis=2, keepdims=True)
    return out


def made_index(folder: Path, pages: int) -> LocalIndex:
    """A saved index of made pages, appended to in steps; what was made before is used again."""
    rng = np.random.default_rng(5)
    topics = rng.standard_normal((TOPICS, DIM), dtype=np.float32)
    index = LocalIndex.load(folder, whole=False) if (folder / "index.json").exists() else LocalIndex(64, DIM)
    while len(index) < pages:
        start = len(index)
        vectors = made_pages(np.random.default_rng(start), topics, min(BATCH, pages - start))
        index.add([f"m{start + i}" for i in range(len(vectors))], vectors)
        index.exact_up_to = 0
        index.save(folder)
        index = LocalIndex.load(folder, whole=False)
        print(f"{len(index):,} made pages saved", flush=True)
    index.exact_up_to = 0
    index.lists_from = NEVER  # the scan is what is measured; else lists are made beside it
    return index


def made_queries(index: LocalIndex, n: int) -> list[NDArray[np.float32]]:
    """Sixteen vectors near parts of one page each."""
    rng = np.random.default_rng(9)
    queries = []
    for at in rng.choice(len(index), n, replace=False):
        page = index.full([f"m{at}"])[0]
        noise = rng.standard_normal((16, DIM)) * (0.6 / DIM**0.5)
        found = page[rng.integers(64, size=16)] + noise
        queries.append((found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32))
    return queries


def forget(folder: Path, name: str) -> bool:
    """Drop the page cache of the files called `name`. Returns whether the system offers it."""
    if not hasattr(os, "posix_fadvise"):
        return False
    for file in folder.rglob(name):
        with file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return True


def million(folder: Path, pages: int) -> dict[str, Any]:
    index = made_index(folder, pages)
    if index._checked is not None:
        index._checked.wait()
    queries = made_queries(index, 2 * QUERIES)
    found: dict[str, Any] = {"vectors": [64, DIM], "prefixes_mb": round(pages * 16 * DIM / 1e6)}
    index.coarse(queries[0], FULL, K)  # the prefixes come into memory
    if forget(folder, "full.npy"):
        found["cold"] = times(index, queries[QUERIES:], FULL)  # each page is met for the first time
        print(json.dumps({"cold": found["cold"]}), flush=True)
    found["warm"] = times(index, queries[QUERIES:], FULL)
    print(json.dumps({"warm": found["warm"]}), flush=True)
    found["recall_at_10_of_5_queries"] = sum(agreed(index, query) for query in queries[:5]) / (5 * K)
    return found


def agreed(index: LocalIndex, query: NDArray[np.float32]) -> int:
    """How many of the ten found are among the exact ten."""
    quick, exact = (index.search(query, FULL, K, way) for way in (False, True))
    return len({hit.page_id for hit in quick} & {hit.page_id for hit in exact})


def ten_million(found: dict[str, Any]) -> dict[str, Any]:
    """By arithmetic: the scan grows with the pages, the candidates and their reading as index/cascade.py
    says."""
    from metaembed_demo.index.cascade import candidates

    row = found.get("cold", found["warm"])
    pages = TEN * row["pages"]
    grown = candidates(pages, FULL, K) / row["candidates"]
    coarse, rerank = TEN * row["coarse"]["p50_ms"], grown * row["rerank"]["p50_ms"]
    return {
        "pages": pages,
        "by": "10 x the scan, and the re-ranking by the number of candidates, both measured at a tenth of it",
        "coarse_ms": round(coarse, 1),
        "rerank_ms": round(rerank, 1),
        "total_ms": round(coarse + rerank, 1),
    }


def exponent(points: Sequence[tuple[int, float]]) -> float:
    """Slope of log milliseconds over log pages."""
    pages, ms = zip(*points, strict=True)
    return round(float(np.polyfit(np.log(pages), np.log(ms), 1)[0]), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES))
    parser.add_argument("--made", type=int, default=MADE, help="made pages; 0 leaves them out")
    parser.add_argument(
        "--only-made", action="store_const", const=[], dest="sizes", help="keep the real rows"
    )
    parser.add_argument("--keep", action="store_true", help="keep the made index on disk")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()}
    found: dict[str, Any] = {"machine": machine, "budget": str(FULL), "k": K, "queries": QUERIES}
    found["real"] = real_rows(options.sizes) if options.sizes else json.loads(options.out.read_text())["real"]
    points = [(row["pages"], row["total"]["p50_ms"]) for row in found["real"] if row["pages"] >= 10_000]
    if len(points) > 1:
        found["exponent_real"] = exponent(points)
    if options.made:
        folder = PATHS.cache / f"madeindex-{options.made}"
        found["million"] = million(folder, options.made)
        found["ten_million"] = ten_million(found["million"])
        if not options.keep:
            shutil.rmtree(folder)
    options.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps({k: v for k, v in found.items() if k != "real"}, indent=1))


if __name__ == "__main__":
    main()
