"""The `sizing` command: what an index of many pages takes, and how long a search of it, at every stop."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from typing import Any

from metaembed_demo.core.arguments import count_of
from metaembed_demo.core.budgets import OURS
from metaembed_demo.core.text import bytes_text, ms_text
from metaembed_demo.evaluation.search_times import scoring_times
from metaembed_demo.evaluation.sizing import SCAN, bytes_a_page, disk, hours, memory, nodes, span
from metaembed_demo.index.quantization import KINDS

from .console import table

WHAT = """What an index of N pages takes at each of our stops, as the arithmetic of docs/scale.md has it, and
how long a search for ten hits, from what scoring a page takes on this machine. GB is 10^9 bytes, GiB 2^30."""


def sizing(pages: int, dim: int, ram: float, timed: bool) -> dict[str, Any]:
    """Rows by storage kind and stop. ram: GiB of a machine. timed: measure latencies, in seconds."""
    times = scoring_times(OURS, dim) if timed else None
    rows = []
    for kind in KINDS:
        for stop in OURS:
            held = memory(pages, kind, dim, stop.r_c)
            rows.append(
                {
                    "storage": kind,
                    "stop": str(stop),
                    "bytes_per_page": bytes_a_page(kind, dim, stop.r_c),
                    "memory_bytes": held,
                    "disk_bytes": disk(pages, kind, dim, stop.r_c),
                    "machines": nodes(pages, held / pages, ram),
                    **({"latency_ms": round(times.search(pages, stop, kind), 3)} if times else {}),
                }
            )
    return {"pages": pages, "dim": dim, "ram_gib": ram, "rows": rows}


def show(found: dict[str, Any], out_of: str) -> None:
    timed = "latency_ms" in found["rows"][0]
    cells = [
        [
            row["storage"],
            row["stop"],
            f"{row['bytes_per_page']:,}",
            bytes_text(row["memory_bytes"]),
            bytes_text(row["disk_bytes"]),
            str(row["machines"]),
            *([ms_text(row["latency_ms"])] if timed else []),
        ]
        for row in found["rows"]
    ]
    head = ["storage", "stop", "bytes a page", "memory", "disk", f"machines of {out_of}"]
    table([*head, *(["scoring"] if timed else [])], cells, right=set(range(2, 7)))
    scan = bytes_a_page(SCAN, found["dim"]) * found["pages"]
    print(f"float16 opened from a folder: {bytes_text(scan)} of int8 prefixes in memory, the rest on disk")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m metaembed_demo sizing", description=WHAT)
    parser.add_argument("--pages", type=count_of, required=True, metavar="N", help="such as 3000000 or 3e6")
    parser.add_argument("--dim", type=count_of, default=384, help="components of a vector (Mini's: 384)")
    parser.add_argument("--ram", type=float, default=256, help="GiB of a machine (default: %(default)s)")
    parser.add_argument("--rate", type=float, help="pages a second that a worker encodes: tells its hours")
    parser.add_argument("--workers", type=count_of, default=1, help="cores or GPUs (default: %(default)s)")
    parser.add_argument("--price", type=float, default=0.0, help="of a worker's hour: tells the cost")
    parser.add_argument("--no-latency", action="store_true", help="measure nothing on this machine")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    options = parser.parse_args(argv)
    positive = (options.ram, 1 if options.rate is None else options.rate)
    if not all(math.isfinite(value) and value > 0 for value in positive) or options.price < 0:
        parser.error("ram and rate are above 0, and the price at least 0.")
    found = sizing(options.pages, options.dim, options.ram, not options.no_latency)
    if options.rate:
        found["encode_hours"] = round(hours(options.pages, options.rate * options.workers), 3)
        found["encode_cost"] = round(found["encode_hours"] * options.workers * options.price, 2)
    if options.json:
        print(json.dumps(found, indent=1))
        return 0
    show(found, f"{options.ram:g} GiB")
    if options.rate:
        took = found["encode_hours"]
        print(f"encode: {options.pages:,} / ({options.rate:g} x {options.workers}) a second = {span(took)}")
        if options.price:
            worked, cost = took * options.workers, found["encode_cost"]
            print(f"encode: {worked:,.1f} h x {options.price:g} = {cost:,.2f}")
    return 0
