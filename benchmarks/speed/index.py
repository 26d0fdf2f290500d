"""How well and how fast the index finds what exact MaxSim finds, on real pages: writes
benchmarks/results/index.json.

    python -m benchmarks.speed.corpus            # once: a hundred thousand real embeddings, about an hour
    python -m benchmarks.speed.index             # about ten minutes on two cores

Every way takes its turn at every query, so that a slow moment of the machine hits all alike; times are
medians of single queries in one process, ratios are of medians. Recall is the share of the exact ten best
(float16 vectors, float32 mathematics) among the ten found. numpy scores a float32 copy of part of the
pages, and its time is multiplied by the number of parts: all of them would not fit in memory beside the
rest.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import RESULTS
from metaembed_demo.core.budgets import STOPS, Budget
from metaembed_demo.core.config import PATHS
from metaembed_demo.index.local import LocalIndex
from metaembed_demo.index.maxsim import maxsim_numpy

from . import corpus

OUT = RESULTS / "index.json"
FULL = STOPS[-1]
K = 10
PART = 10_000  # pages that numpy scores
AGAIN = 20  # pages scored again after a scan in int8
QUERIES = 60
TARGETS = (0.9, 0.95, 0.98, 0.99, 0.995)
SHARES = (0.9, 0.95, 0.98, 0.99, 0.995)
Searches = Callable[[NDArray[np.float32], Budget], list[str]]


@dataclass
class Way:
    """One way to search, with its times and what it found of the exact best."""

    name: str
    run: Searches
    times: list[float] = field(default_factory=list)
    found: list[float] = field(default_factory=list)

    def ask(self, query: NDArray[np.float32], budget: Budget, exact: set[str] | None) -> list[str]:
        began = time.perf_counter()
        ids = self.run(query, budget)
        self.times.append((time.perf_counter() - began) * 1000)
        if exact is not None:
            self.found.append(len(exact & set(ids)) / len(exact))
        return ids

    def row(self, numpy_ms: float) -> dict[str, Any]:
        p50 = statistics.median(self.times)
        return {
            "p50_ms": round(p50, 2),
            "p95_ms": round(float(np.percentile(self.times, 95)), 2),
            "recall_at_10": round(statistics.fmean(self.found), 4) if self.found else None,
            "times_faster_than_numpy": round(numpy_ms / p50, 1),
        }


def build(pages: int, folder: Path) -> LocalIndex:
    """The saved index of `pages` real pages, made by appending where it is not there."""
    if not (folder / "index.json").exists():
        index = LocalIndex(64, 384)
        waiting: list[NDArray[np.float16]] = []
        shards, _ = corpus.load(pages)
        for number, shard in enumerate(shards):
            waiting.append(shard)
            if len(waiting) == 20 or (number + 1) * corpus.SHARD >= pages:
                start = len(index)
                vectors = np.concatenate(waiting)
                index.add([f"p{start + i}" for i in range(len(vectors))], vectors)
                index.exact_up_to = 0  # so that prefixes are saved from the first page on
                index.save(folder)
                index = LocalIndex.load(folder, whole=False)  # mapped: what was added leaves the memory
                waiting = []
                print(f"{len(index):,} pages saved", flush=True)
    return LocalIndex.load(folder)


def ids_of(index: LocalIndex, recall: float | None = None, exact: bool = False) -> Searches:
    """Search `index` for the ids of the ten best, with the recall target given."""

    def run(query: NDArray[np.float32], budget: Budget) -> list[str]:
        index.recall = recall or index.recall
        return [hit.page_id for hit in index.search(query, budget, K, exact)]

    return run


def with_numpy(pages: NDArray[np.float32]) -> Searches:
    def run(query: NDArray[np.float32], budget: Budget) -> list[str]:
        scores = maxsim_numpy(query[: budget.r_q], pages[:, : budget.r_c])
        return [f"p{i}" for i in np.argsort(-scores)[:K]]

    return run


def compare(
    index: LocalIndex, queries: NDArray[np.float32], budget: Budget, ways: Sequence[Way]
) -> dict[str, Any]:
    """Every way at every query: first numpy on a part, second the exact scan that judges the rest."""
    numpy, exact, *others = ways
    for query in queries[:3]:  # compile, map, touch
        for way in ways:
            way.run(query, budget)
    for turn, query in enumerate(queries):
        if turn % 6 == 0:
            numpy.ask(query, budget, None)
        best = set(exact.ask(query, budget, None))
        for way in others:
            way.ask(query, budget, best)
    whole = statistics.median(numpy.times) * len(index) / PART
    rows = {way.name: way.row(whole) for way in (exact, *others)}
    return {"numpy_float32_ms": round(whole, 1), "ways": rows}


def needed(index: LocalIndex, queries: NDArray[np.float32]) -> dict[str, dict[str, int]]:
    """How many candidates of the scan it takes to bring a share of the exact ten best, by number of pages."""
    ranks: dict[int, list[int]] = {}
    sizes = [n for n in (5_000, 10_000, 20_000, 50_000, 100_000) if n <= len(index)]
    for query in queries:
        coarse = index._blocks.scan(index._codec, index._quick, query[:8], 16)
        slots = np.arange(len(index))
        scores = np.concatenate(
            [block.score(index._codec, query, 64, rows, True) for block, rows in index._blocks.split(slots)]
        )
        for n in sizes:
            best = np.argpartition(-scores[:n], K)[:K]
            ranks.setdefault(n, []).extend(int((coarse[:n] > coarse[i]).sum()) + 1 for i in best)
    return {
        str(n): {str(share): int(np.quantile(found, share, method="higher")) for share in SHARES}
        for n, found in ranks.items()
    }


def ways_of(index: LocalIndex, part: NDArray[np.float32], lists: LocalIndex | None) -> Iterator[Way]:
    yield Way("numpy", with_numpy(part))
    yield Way("exact, every page", ids_of(index, exact=True))
    for target in TARGETS:
        yield Way(f"cascade, recall target {target}", ids_of(index, target))
    if lists is not None:
        yield Way("inverted lists, recall target 0.99", ids_of(lists, 0.99))


def scanned_in_int8(pages: int, folder: Path, asked: int) -> dict[str, Any]:
    """Every page in int8, the best 20 again by their full vectors, beside the other ways."""
    index = build(pages, folder)
    coded = index.stored_as("int8")
    coded.exact_up_to, coded.rescore = pages, AGAIN
    queries = some_queries(pages, asked)
    part = np.concatenate(list(corpus.load(PART)[0])).astype(np.float32)
    ways = [*ways_of(index, part, None), Way(f"int8, every page, best {AGAIN} again", ids_of(coded))]
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()}
    return {"pages": len(index), "machine": machine, **compare(index, queries, FULL, ways)}


def some_queries(pages: int, asked: int) -> NDArray[np.float32]:
    _, queries = corpus.load(pages)
    return queries[np.random.default_rng(0).permutation(len(queries))[:asked]]


def measure(pages: int, folder: Path, asked: int, with_lists: bool) -> dict[str, Any]:
    began = time.perf_counter()
    index = build(pages, folder)
    opened = time.perf_counter()
    again = LocalIndex.load(folder)
    load_s = time.perf_counter() - opened
    print(f"index of {len(index):,} pages after {opened - began:.0f} s; opened in {load_s:.2f} s", flush=True)
    index._checked.wait() if index._checked else None
    queries = some_queries(pages, asked)
    part = np.concatenate(list(corpus.load(PART)[0])).astype(np.float32)
    found: dict[str, Any] = {
        "pages": len(index),
        "vectors": [64, 384],
        "queries": asked,
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()},
        "opened_in_s": round(load_s, 3),
        "bytes_on_disk": sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()),
    }
    lists = None
    if with_lists:
        lists = again
        started = time.perf_counter()
        lists.make_lists()
        found["lists_made_in_s"] = round(time.perf_counter() - started, 1)
        print(f"lists after {found['lists_made_in_s']} s", flush=True)
    found["budgets"] = {}
    for budget in reversed(STOPS):
        found["budgets"][str(budget)] = compare(index, queries, budget, list(ways_of(index, part, lists)))
        print(json.dumps({str(budget): found["budgets"][str(budget)]}, indent=1), flush=True)
    found["needed"] = needed(index, queries[:40])
    found["machine"]["load_after"] = os.getloadavg()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=corpus.PAGES)
    parser.add_argument("--queries", type=int, default=QUERIES)
    parser.add_argument("--folder", type=Path, help="where the saved index lies or goes")
    parser.add_argument("--no-lists", action="store_true")
    parser.add_argument("--int8", action="store_true", help="add the scan of every page in int8 to the JSON")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    folder = options.folder or PATHS.cache / f"realindex-{options.pages}"
    if options.int8:
        found = json.loads(options.out.read_text())
        found["int8_scan"] = scanned_in_int8(options.pages, folder, options.queries)
        options.out.write_text(json.dumps(found, indent=1) + "\n")
        print(json.dumps(found["int8_scan"], indent=1))
        return
    found = measure(options.pages, folder, options.queries, not options.no_lists)
    options.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found["needed"], indent=1))


if __name__ == "__main__":
    main()
