"""What reading in a process of its own costs: `python -m benchmarks.speed.worker` writes
benchmarks/results/worker.json.

The same files are read in this process and in the reading one, in turns, so that a slow moment of the machine
hits both. Milliseconds a page are medians; memory is that of the reading process after all of them.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import RESULTS
from metaembed_demo.core.config import LIMITS, PATHS
from metaembed_demo.core.types import Problem, Upload
from metaembed_demo.documents import extraction, loader
from metaembed_demo.documents.sandbox import client, pool

from .laptop import KINDS

TURNS = 5
Files = Callable[[Sequence[Upload]], Iterator[client.Rendered | Problem]]


def read_here(files: Sequence[Upload]) -> Iterator[client.Rendered | Problem]:
    """`client.read_files`, but in this process."""
    for item in loader.read_files(files):
        yield item if isinstance(item, Problem) else client.Rendered(item, extraction.read)


WAYS: dict[str, Files] = {"in the app": read_here, "in the reading process": client.read_files}


def main() -> None:
    began = time.perf_counter()
    started = pool.Worker(LIMITS.worker_megabytes)
    start = time.perf_counter() - began
    bare = memory(started)
    started.end()
    times: dict[tuple[str, str], list[float]] = {(kind, way): [] for kind in KINDS for way in WAYS}
    for turn in range(TURNS):
        for kind, names in KINDS.items():
            for name in names:
                for way in sorted(WAYS, reverse=bool(turn % 2)):
                    found = pages(Upload(PATHS.sample_corpus / name, name), WAYS[way])
                    times[kind, way] += found if turn else []  # the first turn loads models
    [idle] = pool.UPLOADS._idle
    found = {
        "machine": {"cores": os.cpu_count(), "python": sys.version.split()[0]},
        "ms a page": {kind: compared(times, kind) for kind in KINDS},
        "start of the process, s": round(start, 2),
        "memory of the process, MB": {"without models": bare, "after reading": memory(idle)},
    }
    text = json.dumps(found, indent=1)
    (RESULTS / "worker.json").write_text(text + "\n")
    print(text)


def pages(file: Upload, files: Files) -> list[float]:
    """Milliseconds for each page, rendered and read."""
    spent, began = [], time.perf_counter()
    for page in files([file]):
        assert isinstance(page, client.Rendered), page
        page.read()
        spent.append((time.perf_counter() - began) * 1000)
        began = time.perf_counter()
    return spent


def compared(times: dict[tuple[str, str], list[float]], kind: str) -> dict[str, float]:
    """Medians of both ways, and of the ratio page by page."""
    here, there = (times[kind, way] for way in WAYS)
    ratios = [b / a for a, b in zip(here, there, strict=True)]
    return {
        "in the app": round(statistics.median(here), 1),
        "in the reading process": round(statistics.median(there), 1),
        "ratio of sums": round(sum(there) / sum(here), 3),
        "ratio, median": round(statistics.median(ratios), 3),
        "pages": len(here),
    }


def memory(process: pool.Worker) -> dict[str, Any]:
    """Resident now and at most, and allocated (what the bound counts); Linux only."""
    status = Path(f"/proc/{process._process.pid}/status")
    text = status.read_text() if status.exists() else ""
    found = {
        name: re.search(rf"{key}:\s+(\d+)", text)
        for name, key in (("resident", "VmRSS"), ("at most", "VmHWM"), ("allocated", "VmData"))
    }
    return {name: round(int(match[1]) / 1000) for name, match in found.items() if match}


if __name__ == "__main__":
    main()
