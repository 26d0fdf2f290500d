"""What the app costs on this machine: `python -m benchmarks.speed.laptop` writes
benchmarks/results/laptop.json.

Cold start to a served page and resident memory (a fresh process, sample index kept), pages a second by
kind of page (render, read, encode), and milliseconds a query by stage and budget. Kinds and budgets are
interleaved; figures are medians, with the 95th percentile beside them where there are enough repeats.
"""

from __future__ import annotations

import json
import os
import platform
import re
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks import RESULTS
from metaembed_demo.collection.search import research, search
from metaembed_demo.core.budgets import STOPS
from metaembed_demo.core.config import PATHS, ROOT
from metaembed_demo.core.types import Problem, Query, Upload
from metaembed_demo.documents.extraction import read
from metaembed_demo.documents.loader import read_files
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.encoders.registry import load_encoder
from metaembed_demo.evaluation.sample_corpus import open_samples

KINDS = {
    "text layer": ["annual-report.pdf", "two-column-paper.pdf", "house-rules.pdf", "minutes.pdf"],
    "scan": ["letter-scan.pdf", "accident-report-scan.pdf"],
    "photo": ["pictures/cat.jpg", "pictures/coffee.jpg", "pictures/rocket.jpg", "pictures/pagoda.jpg"],
}
REPEATS = 40  # of each query and budget


def main() -> None:
    found: dict[str, Any] = {"machine": {"cores": os.cpu_count(), "python": platform.python_version()}}
    encoder = load_encoder()
    samples = open_samples(encoder, tell=lambda _: None)
    found["start"] = start("mini")
    found["start of mini-multilingual"] = start("mini-multilingual")
    found["indexing"] = indexing(encoder)
    found["query_ms"], found["dial_move_ms"] = queries(encoder, samples.collection)
    found["pages"] = len(samples.collection)
    text = json.dumps(found, indent=1)
    (RESULTS / "laptop.json").write_text(text + "\n")
    print(text)


def start(encoder: str, repeats: int = 3) -> dict[str, float]:
    """Seconds from the command to a page that answers, and memory then and after a search (MB)."""
    seconds, idle, busy = [], [], []
    for _ in range(repeats):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        began = time.perf_counter()
        surroundings = {**os.environ, "METAEMBED_PORT": str(port), "METAEMBED_ENCODER": encoder}
        app = subprocess.Popen(
            [sys.executable, "app.py"], cwd=ROOT, env=surroundings, stdout=subprocess.DEVNULL
        )
        try:
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read()
                    break
                except OSError:
                    time.sleep(0.1)
            seconds.append(time.perf_counter() - began)
            idle.append(resident(app.pid))
            ask(port)
            busy.append(resident(app.pid))
        finally:
            app.terminate()
            app.wait(30)
    return {
        "cold_start_s": round(statistics.median(seconds), 1),
        "resident_mb": round(statistics.median(idle)),
        "resident_after_search_mb": round(statistics.median(busy)),
    }


def ask(port: int) -> None:
    from gradio_client import Client

    client = Client(f"http://127.0.0.1:{port}", verbose=False)
    client.predict("energy use by quarter", api_name="/search")


def resident(pid: int) -> float:
    """Resident memory of a process in MB; Linux only."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", status)
    return int(found[1]) / 1000 if found else float("nan")


def indexing(encoder: Encoder) -> dict[str, dict[str, float]]:
    """Milliseconds a page, render + read + encode, and pages a second; the kinds take turns."""
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for turn in range(3):
        for kind, names in KINDS.items():
            for name in names:
                began = time.perf_counter()
                for page in read_files([Upload(PATHS.sample_corpus / name, name)]):
                    assert not isinstance(page, Problem), page
                    encoder.encode_pages([read(page)])
                    if turn:  # the first turn loads models
                        times[kind].append((time.perf_counter() - began) * 1000)
                    began = time.perf_counter()
    return {
        kind: {
            "ms_a_page": round(statistics.median(row), 1),
            "pages_a_second": round(1000 * len(row) / sum(row), 2),
            "pages": len(row),
        }
        for kind, row in times.items()
    }


def queries(encoder: Encoder, collection: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """By budget: median ms of each stage of a search, and of a dial move with its 95th percentile."""
    texts = ["energy use by quarter", "how do I descale it", "a cat looking at me", "invoice over 900 euro"]
    stages: dict[str, list[dict[str, float]]] = {str(b): [] for b in STOPS}
    moves: dict[str, list[float]] = {str(b): [] for b in STOPS}
    for _ in range(REPEATS // len(texts)):
        for text in texts:
            for budget in STOPS:
                trace = search(collection, encoder, Query(text), budget)
                stages[str(budget)].append(trace.timings)
                began = time.perf_counter()
                research(collection, trace, budget)
                moves[str(budget)].append((time.perf_counter() - began) * 1000)
    medians = {
        budget: {stage: round(statistics.median(row[stage] for row in rows), 2) for stage in rows[0]}
        for budget, rows in stages.items()
    }
    spread = {
        budget: {
            "p50": round(statistics.median(row), 2),
            "p95": round(statistics.quantiles(row, n=20)[-1], 2),
        }
        for budget, row in moves.items()
    }
    return medians, spread


if __name__ == "__main__":
    main()
