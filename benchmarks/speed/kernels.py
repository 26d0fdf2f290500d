"""MaxSim over every page: `python -m benchmarks.speed.kernels` writes benchmarks/results/kernels.json.

Compares the compiled kernels with numpy, and with maxsim-cpu where that package is installed, on random unit
pages. Every round runs each scan once, one after the other, so that other work on the machine hits all alike;
figures are medians over the rounds, with the fastest round beside them. CPU time is summed over threads: it
says what a scan costs where the clock also says how busy the machine was. 100,000 pages of 64 x 128 in all
their forms (float32, float16, int8, codes) take 6.3 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import RESULTS
from metaembed_demo.core.budgets import BUDGETS
from metaembed_demo.core.config import ROOT
from metaembed_demo.index import maxsim_kernels
from metaembed_demo.index.maxsim import maxsim_numpy

R_Q, R_C, DIM = 16, 64, 128
PQ_PARTS, BINARY_PARTS = DIM // 4, DIM // 8
STEP = 1_000  # pages made at a time

Scan = Callable[[], Any]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pages", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=RESULTS / "kernels.json")
    given = parser.parse_args()
    found: dict[str, Any] = {"machine": machine(), "first_call_s": first_call()}
    if not maxsim_kernels.available():
        raise SystemExit("numba, or what it needs, is missing: there is nothing to compare.")
    found |= {"pages": given.pages, "page": [R_C, DIM], "query": [R_Q, DIM], "rounds": given.rounds}
    pages = make_pages(given.pages)
    found["largest_difference"] = differences(pages)
    found["scans"] = measure(scans(pages), given.rounds)
    found["times_as_fast"] = ratios(found["scans"])
    text = json.dumps(found, indent=1)
    given.out.write_text(text + "\n")
    print(text)


def machine() -> dict[str, Any]:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "threads": maxsim_kernels.threads(),
        "load": [round(load, 1) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def first_call() -> dict[str, dict[str, float]]:
    """Seconds until the kernels can be called in a new process, by the clock and of CPU time."""
    code = (
        "import time; from metaembed_demo.index import maxsim_kernels as kernels; "
        "w, c = time.perf_counter(), time.process_time(); kernels.available(); "
        "print(time.perf_counter() - w, time.process_time() - c)"
    )
    found = {}
    with tempfile.TemporaryDirectory() as cache:
        surroundings = {**os.environ, "NUMBA_CACHE_DIR": cache}
        for name in ("compiled", "kept"):
            done = subprocess.run(
                [sys.executable, "-c", code],
                cwd=ROOT,
                env=surroundings,
                capture_output=True,
                text=True,
                check=True,
            )
            clock, cpu = map(float, done.stdout.split())
            found[name] = {"clock": round(clock, 2), "cpu": round(cpu, 2)}
    return found


def make_pages(n: int) -> dict[str, Any]:
    """The same random unit pages in each form that is scored, and a query."""
    rng = np.random.default_rng(0)
    q = unit(rng.standard_normal((R_Q, DIM), dtype=np.float32))
    made = {
        "float32": np.empty((n, R_C, DIM), np.float32),
        "float16": np.empty((n, R_C, DIM), np.float16),
        "int8": np.empty((n, R_C, DIM), np.int8),
        "int8 scale": np.empty(n, np.float32),
        "pq": np.empty((n, R_C, PQ_PARTS), np.uint8),
    }
    for start in range(0, n, STEP):
        part = slice(start, min(start + STEP, n))
        c = unit(rng.standard_normal((part.stop - start, R_C, DIM), dtype=np.float32))
        scale = np.abs(c).max(axis=(1, 2)) / 127
        made["float32"][part], made["float16"][part] = c, c
        made["int8"][part], made["int8 scale"][part] = np.rint(c / scale[:, None, None]), scale
        made["pq"][part] = rng.integers(0, 256, (len(c), R_C, PQ_PARTS))
    made["int8 prefixes"] = np.ascontiguousarray(made["int8"][:, : BUDGETS[3][1]])
    made["binary"] = np.ascontiguousarray(made["pq"][:, :, :BINARY_PARTS])
    made["q"] = q
    made["q scale"] = np.abs(q).max(axis=1) / 127
    made["q int8"] = np.rint(q / made["q scale"][:, None]).astype(np.int8)
    made["table"] = rng.standard_normal((R_Q, PQ_PARTS, 256), dtype=np.float32)
    return made


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def scans(of: dict[str, Any]) -> dict[str, Scan]:
    q, q8, q_scale = of["q"], of["q int8"], of["q scale"]

    def int8(r_q: int, c: np.ndarray) -> Any:
        return maxsim_kernels.maxsim_int8(q8[:r_q], q_scale[:r_q], c, of["int8 scale"])

    found: dict[str, Scan] = {
        "numpy float32": lambda: maxsim_numpy(q, of["float32"]),
        "numpy float16": lambda: maxsim_numpy(q, of["float16"]),
        "kernel float32": lambda: maxsim_kernels.maxsim_float(q, of["float32"]),
        "kernel float16": lambda: maxsim_kernels.maxsim_float(q, of["float16"]),
        "kernel int8": lambda: int8(R_Q, of["int8"]),
        "kernel pq": lambda: maxsim_kernels.maxsim_lookup(of["table"], of["pq"]),
        "kernel binary": lambda: maxsim_kernels.maxsim_lookup(of["table"][:, :BINARY_PARTS], of["binary"]),
        "kernel int8 8x16, prefixes side by side": lambda: int8(8, of["int8 prefixes"]),
    }
    for r_q, r_c in BUDGETS[:-1]:
        found[f"kernel int8 {r_q}x{r_c}"] = lambda r_q=r_q, r_c=r_c: int8(r_q, of["int8"][:, :r_c])
        found[f"kernel float16 {r_q}x{r_c}"] = lambda r_q=r_q, r_c=r_c: maxsim_kernels.maxsim_float(
            q[:r_q], of["float16"][:, :r_c]
        )
        found[f"numpy float16 {r_q}x{r_c}"] = lambda r_q=r_q, r_c=r_c: maxsim_numpy(
            q[:r_q], of["float16"][:, :r_c]
        )
    try:
        import maxsim_cpu
    except ImportError:
        return found
    return {"maxsim-cpu float32": lambda: maxsim_cpu.maxsim_scores(q, of["float32"]), **found}


def differences(of: dict[str, Any]) -> dict[str, float]:
    """From numpy on float32 pages, over the first pages: rounding, and for int8 what quantising costs."""
    few = slice(0, 2_000)
    exact = maxsim_numpy(of["q"], of["float32"][few])
    found = {
        "float32": maxsim_kernels.maxsim_float(of["q"], of["float32"][few]),
        "float16": maxsim_kernels.maxsim_float(of["q"], of["float16"][few]),
        "int8": maxsim_kernels.maxsim_int8(
            of["q int8"], of["q scale"], of["int8"][few], of["int8 scale"][few]
        ),
    }
    return {name: float(np.abs(scores - exact).max()) for name, scores in found.items()}


def measure(scans: dict[str, Scan], rounds: int) -> dict[str, dict[str, float]]:
    clock: dict[str, list[float]] = {name: [] for name in scans}
    cpu: dict[str, list[float]] = {name: [] for name in scans}
    for scan in scans.values():  # once for nothing: memory that was never touched, threads not started
        scan()
    for _ in range(rounds):
        for name, scan in scans.items():
            began, used = time.perf_counter(), time.process_time()
            scan()
            clock[name].append(1e3 * (time.perf_counter() - began))
            cpu[name].append(1e3 * (time.process_time() - used))
    return {
        name: {
            "ms": round(statistics.median(clock[name]), 2),
            "fastest_ms": round(min(clock[name]), 2),
            "cpu_ms": round(statistics.median(cpu[name]), 2),
        }
        for name in scans
    }


def ratios(found: dict[str, dict[str, float]]) -> dict[str, float]:
    """Medians by the clock: the first scan's over the second's."""
    pairs = [
        ("numpy float32", "kernel float32"),
        ("maxsim-cpu float32", "kernel float32"),
        ("numpy float16", "kernel float16"),
        ("numpy float32", "kernel int8"),
        ("kernel float32", "kernel float16"),
        ("kernel int8", "kernel int8 8x16"),
    ]
    return {
        f"{fast} than {slow}": round(found[slow]["ms"] / found[fast]["ms"], 2)
        for slow, fast in pairs
        if slow in found
    }


if __name__ == "__main__":
    main()
