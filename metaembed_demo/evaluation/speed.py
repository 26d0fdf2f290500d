"""The `bench` command: search latency by stage and budget, indexing throughput, memory."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.search import research, search
from metaembed_demo.core.budgets import Budget
from metaembed_demo.core.config import PATHS
from metaembed_demo.core.types import FloatArray, Page, Problem, Query
from metaembed_demo.documents.extraction import read
from metaembed_demo.documents.file_types import uploads
from metaembed_demo.documents.loader import read_files
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.index.maxsim import maxsim_numpy
from metaembed_demo.index.quantization import KINDS

from .machine import machine

SIZES = (100, 1_000, 5_000, 10_000)
SECONDS_A_SIZE = 6.0
REPEATS = 40
SAMPLE_PAGES = 12
STORED, STORED_TURNS = 1_000, 9  # pages and repeats for the storage kinds
QUESTION = "How much energy was used in the third quarter?"
STAGES = ("encode", "coarse", "rerank", "align", "total")


def bench(
    encoder: Encoder,
    sizes: Sequence[int] = SIZES,
    sample_pages: int = SAMPLE_PAGES,
    folder: Path | None = None,
) -> dict[str, Any]:
    """Run all measurements; about half a minute on two cores.

    Searches run over random unit vectors, which are as fast as real ones; hits are meaningless.
    """
    return {
        "note": "Search runs on random vectors: this measures speed, not quality.",
        "encoder": encoder.name,
        "device": encoder.device,
        "machine": machine(),
        "search": [search_speed(encoder, pages) for pages in sizes],
        "storage": storage_speed(encoder),
        "indexing": indexing_speed(encoder, folder or PATHS.sample_corpus, sample_pages),
        "memory_mb": {"resident": resident_mb(), "peak": peak_mb()},
    }


def search_speed(encoder: Encoder, pages: int, seconds: float = SECONDS_A_SIZE) -> dict[str, Any]:
    """Milliseconds by stage over `pages` random pages: one query, then searches at all budgets.

    Budgets alternate, so that machine load affects all equally.
    """
    collection = _random_collection(encoder, pages)
    stops = encoder.budgets
    trace = search(collection, encoder, Query(QUESTION), stops[-1])
    for stop in stops:
        research(collection, trace, stop)  # warm-up; builds the coarse stage
    encode_ms: list[float] = []
    times: dict[Budget, list[dict[str, float]]] = {stop: [] for stop in stops}
    started = perf_counter()
    for turn in range(REPEATS):
        if turn >= 3 and perf_counter() - started > seconds:
            break
        encode_ms.append(search(collection, encoder, Query(QUESTION), stops[0]).timings["encode"])
        for stop in stops:
            times[stop].append(research(collection, trace, stop).timings)
    return {
        "pages": pages,
        "repeats": len(encode_ms),
        "encode_ms": _summary(encode_ms),
        "budgets": [
            {
                "budget": str(stop),
                "bytes_per_page": collection.index.bytes_per_page(stop),
                **{f"{stage}_ms": _summary([t[stage] for t in times[stop]]) for stage in STAGES[1:]},
            }
            for stop in stops
        ],
    }


def storage_speed(encoder: Encoder, pages: int = STORED) -> dict[str, Any]:
    """Milliseconds to score `pages` random pages at the full budget, by storage kind, and with numpy.

    Kinds alternate. Codes of random vectors take as long as codes of real ones.
    """
    full = encoder.budgets.full
    plain = _random_collection(encoder, pages).index
    indexes = {kind: plain.stored_as(kind) for kind in KINDS}
    query = plain.full(plain.ids[:1])[0][: full.r_q]
    vectors = plain.full(plain.ids)
    times: dict[str, list[float]] = {kind: [] for kind in (*KINDS, "numpy")}
    for turn in range(STORED_TURNS):
        for kind, index in indexes.items():
            started = perf_counter()
            index.rerank(query, full, index.coarse(query, full, pages), 10)
            times[kind].append((perf_counter() - started) * 1000)
        started = perf_counter()
        maxsim_numpy(query, vectors)
        times["numpy"].append((perf_counter() - started) * 1000)
        if not turn:
            times = {kind: [] for kind in times}  # discard the warm-up
    return {
        "pages": pages,
        "budget": str(full),
        "numpy_float32_ms": _summary(times["numpy"]),
        "kinds": [
            {"kind": kind, "bytes_per_page": index.bytes_per_page(full), "ms": _summary(times[kind])}
            for kind, index in indexes.items()
        ],
    }


def indexing_speed(encoder: Encoder, folder: Path, limit: int) -> dict[str, Any] | None:
    """Pages per second of rendering, reading (text layer, OCR, tags) and encoding, on sample pages."""
    if not folder.is_dir():
        return None
    pages: list[Page] = []
    clock = {"render": 0.0, "read": 0.0, "encode": 0.0}
    # Evenly spaced files, for a variety of file types.
    files = uploads([folder], only_accepted=True)
    for file in files[:: max(1, len(files) // max(limit, 1))]:
        started = perf_counter()
        first = next((item for item in read_files([file]) if not isinstance(item, Problem)), None)
        clock["render"] += perf_counter() - started
        if first is None:
            continue
        started = perf_counter()
        pages.append(read(first))
        clock["read"] += perf_counter() - started
        if len(pages) == limit:
            break
    if not pages:
        return None
    started = perf_counter()
    encoder.encode_pages(pages)
    clock["encode"] = perf_counter() - started
    total = sum(clock.values())
    return {
        "pages": len(pages),
        "words": sum(len(page.words) for page in pages),
        "pages_per_second": round(len(pages) / total, 2),
        "seconds": {stage: round(seconds, 3) for stage, seconds in clock.items()},
    }


def resident_mb() -> float | None:
    """Resident memory of this process in MB (10^6 bytes); None if unknown."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return round(int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)
    except (OSError, ValueError):
        return None


def peak_mb() -> float | None:
    """Peak resident memory of this process in MB (10^6 bytes); None if unknown."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak * (1 if platform.system() == "Darwin" else 1024) / 1e6, 1)


def _random_collection(encoder: Encoder, pages: int) -> Collection:
    rng = np.random.default_rng(0)
    collection = Collection.for_encoder(encoder)
    for start in range(0, pages, 500):
        n = min(500, pages - start)
        vectors: FloatArray = rng.standard_normal((n, encoder.r_c, encoder.dim), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
        # Only into the index: searches do not need stored pages.
        collection.index.add([f"random-{start + i}" for i in range(n)], vectors)
    return collection


def _summary(ms: Sequence[float]) -> dict[str, float]:
    p95 = float(np.percentile(ms, 95))
    return {"p50": round(statistics.median(ms), 3), "p95": round(p95, 3)}
