"""Bytes, machines, hours and money of an index of many pages: the tables of docs/scale.md.

    python scripts/sizing.py                              # print them
    python scripts/sizing.py --write                      # put them into docs/scale.md

A case of your own: `python -m metaembed_demo sizing`. The tables say which of four sources a figure has:
arithmetic on the layout and the paper's Table 3 (metaembed_demo/evaluation/sizing.py), what we measured
(benchmarks/results/laptop.json; `PICTURE` and `WORDS` there), and assumptions (`Assumed`), which are to be
replaced. GiB is 2**30 bytes, as machines' memory is sold and the paper counts.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from metaembed_demo.core.budgets import BUDGETS
from metaembed_demo.core.config import ROOT
from metaembed_demo.evaluation.sizing import (
    GIB,
    KINDS,
    PAPER,
    PAPER_DIM,
    PAPER_PAGES,
    PICTURE,
    SCAN,
    TIB,
    USABLE,
    WORDS,
    bytes_a_page,
    hours,
    nodes,
    pages_in,
    span,
)
from metaembed_demo.index.cascade import PREFIX

DOCUMENT = ROOT / "docs" / "scale.md"
LAPTOP = ROOT / "benchmarks" / "results" / "laptop.json"
SIZES = tuple(10**power for power in range(5, 10))  # pages
DIMS = {"64 x 128": 128, "64 x 384, Mini": 384, "64 x 3584, the paper's 7B": PAPER_DIM}
QDRANT_VECTORS = 93  # of a page: 1 + 4 + 8 + 16 + 64, metaembed_demo/index/qdrant/index.py
QDRANT_COARSE = 1 + PREFIX.r_c  # of these, what picks the candidates
HNSW_LINKS = 2 * 16 * 4  # bytes a page: 2 m links of 4 bytes on the lowest layer, m = 16


@dataclass(frozen=True)
class Assumed:
    """What we did not measure. Replace each figure by your own; docs/scale.md says where each comes from."""

    usable: float = USABLE  # share of a machine's memory that the index may take
    qdrant_factor: float = 1.5  # Qdrant's capacity planning: metadata and segments being optimised
    replicas: int = 2
    shards_per_node: int = 2
    gpu_rate: float = 1 / 0.39  # pages a second and GPU: ColPali's 0.39 s a page
    memory_gb_s: float = 20.0  # GB a second that a machine reads from memory
    copy_mb_s: float = 500.0  # MB a second that a backup is written or read at
    ram_price: float = 5.0  # a GiB of memory of a machine and month
    disk_price: float = 0.1  # a GiB of fast disk and month
    core_price: float = 0.05  # an hour of a core
    gpu_price: float = 1.0  # an hour of a GPU


ASSUMED = Assumed()

# The arithmetic


def qdrant_bytes(dim: int, coarse_only: bool) -> float:
    """Memory of one copy of a page in Qdrant: all its vectors in float16, or those that pick candidates.

    >>> qdrant_bytes(128, coarse_only=False), qdrant_bytes(128, coarse_only=True)
    (35904.0, 6720.0)
    """
    vectors = QDRANT_COARSE if coarse_only else QDRANT_VECTORS
    return (vectors * dim * 2 + HNSW_LINKS) * ASSUMED.qdrant_factor


def shards(node_count: int) -> int:
    """A multiple of the nodes, so that every node gets as many, with room for twice the nodes."""
    return node_count * ASSUMED.shards_per_node


def measured_rates() -> dict[str, float]:
    """Pages a second and core by kind of page: read from benchmarks/results/laptop.json, over its cores."""
    found = json.loads(LAPTOP.read_text())
    cores = found["machine"]["cores"]
    return {kind: row["pages_a_second"] / cores for kind, row in found["indexing"].items()}


# Text


def size(n: float) -> str:
    """
    >>> size(2**30), size(1.5 * 2**40), size(16384 * 10**5), size(2**29)
    ('1.0 GiB', '1.5 TiB', '1.5 GiB', '0.50 GiB')
    """
    if n >= TIB:
        return f"{n / TIB:,.1f} TiB"
    return (
        f"{n / GIB:.2f} GiB" if n < GIB else f"{n / GIB:.1f} GiB" if n < 100 * GIB else f"{n / GIB:.0f} GiB"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Markdown; the first column to the left, the others to the right."""
    lines = [list(head), ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def count(n: int) -> str:
    return f"{n:,}"


# The tables


def storage() -> str:
    rows = [[kind, *(count(bytes_a_page(kind, dim)) for dim in DIMS.values())] for kind in KINDS]
    return table(["bytes a page", *DIMS], rows)


def memory(dim: int) -> str:
    rows = [[count(n), *(size(n * bytes_a_page(kind, dim)) for kind in KINDS)] for n in SIZES]
    return table(["pages", *KINDS], rows)


def paper() -> str:
    rows = []
    for stop, (gib, ms) in PAPER.items():
        r_q, r_c = BUDGETS[stop]
        ours = [PAPER_PAGES * bytes_a_page("float16", dim, r_c) / GIB for dim in (PAPER_DIM, 384, 128)]
        rows.append([f"{r_q} x {r_c}", f"{gib:.2f} GiB", f"{ms:.2f} ms", *(f"{n:.2f} GiB" for n in ours)])
    return table(["budget", "Table 3", "Table 3, scoring", "2 x r_c x 3584", "D = 384", "D = 128"], rows)


def disk() -> str:
    parts = {
        "vectors, float16, D = 128": bytes_a_page("float16", 128),
        "scan prefix, int8": bytes_a_page(SCAN, 128),
        "pictures": PICTURE,
        "words": WORDS,
    }
    parts["together"] = sum(parts.values())
    rows = [[name, count(each), *(size(n * each) for n in SIZES)] for name, each in parts.items()]
    return table(["part", "bytes a page", *(count(n) for n in SIZES)], rows)


def machines() -> str:
    rows = [
        [f"{ram} GiB", *(count(pages_in(ram, bytes_a_page(kind, 128))) for kind in KINDS)]
        for ram in (16, 64, 256, 1024)
    ]
    return table(["memory of a machine", *KINDS], rows)


def node_counts() -> str:
    rows = [
        [f"{count(n)}, {ram} GiB", *(count(nodes(n, bytes_a_page(kind, 128), ram)) for kind in KINDS)]
        for n in SIZES[1:]
        for ram in (64, 256)
    ]
    return table(["pages, memory of a node", *KINDS], rows)


def scan_time() -> str:
    a_second = ASSUMED.memory_gb_s * 1e9
    rows = [
        [count(n), *(f"{n * bytes_a_page(SCAN, dim) / a_second * 1000:,.0f} ms" for dim in (128, 384))]
        for n in SIZES
    ]
    return table(["pages", "64 x 128", "64 x 384, Mini"], rows)


def qdrant() -> str:
    rows = []
    for n in SIZES[1:]:
        for coarse_only in (False, True):
            each = qdrant_bytes(128, coarse_only) * ASSUMED.replicas
            needed = max(3, nodes(n, each, 256))
            split = shards(needed)
            one = n * each / ASSUMED.replicas / split
            where = "candidates only" if coarse_only else "all"
            rows.append([f"{count(n)}, {where}", size(n * each), count(needed), count(split), size(one)])
    head = [
        "pages, vectors in memory",
        "memory, 2 replicas",
        "nodes of 256 GiB",
        "shards",
        "memory of a shard",
    ]
    return table(head, rows)


def encoding() -> str:
    rates = measured_rates()
    rows = [
        [count(n), *(span(hours(n, rate)) for rate in rates.values()), span(hours(n, ASSUMED.gpu_rate))]
        for n in SIZES
    ]
    heads = [f"{kind}: {rate:.2f} a second and core" for kind, rate in rates.items()]
    return table(["pages", *heads, f"GPU, assumed: {ASSUMED.gpu_rate:.2f} a second"], rows)


def cost() -> str:
    cpu, a = measured_rates()["text layer"], ASSUMED
    full = bytes_a_page("float16", 128) + bytes_a_page(SCAN, 128) + PICTURE + WORDS
    rows = []
    for n in SIZES:
        ram = n * bytes_a_page(SCAN, 128) / GIB / a.usable
        once = [hours(n, cpu) * a.core_price, hours(n, a.gpu_rate) * a.gpu_price]
        month = [ram * a.ram_price, n * full / GIB * a.disk_price]
        rows.append([count(n), *(f"{money:,.2f}" for money in (*once, *month, sum(month)))])
    head = ["pages", "encode, CPU", "encode, GPU", "memory a month", "disk a month", "together a month"]
    return table(head, rows)


def backup() -> str:
    cpu, a_second = measured_rates()["text layer"], ASSUMED.copy_mb_s * 1e6
    all_of_it = bytes_a_page("float16", 128) + PICTURE + WORDS
    rows = []
    for n in SIZES:
        copies = [span(n * each / a_second / 3600) for each in (bytes_a_page("float16", 128), all_of_it)]
        rows.append([count(n), *copies, span(hours(n, cpu * 64))])
    return table(["pages", "copy the vectors", "copy everything", "encode anew, 64 cores"], rows)


TABLES: dict[str, Callable[[], str]] = {
    "storage": storage,
    "memory-128": lambda: memory(128),
    "memory-384": lambda: memory(384),
    "paper": paper,
    "disk": disk,
    "machines": machines,
    "nodes": node_counts,
    "scan": scan_time,
    "qdrant": qdrant,
    "encoding": encoding,
    "cost": cost,
    "backup": backup,
}


def filled(text: str) -> str:
    """`text` with the table of every mark put in anew. Raises KeyError on a mark that names no table.

    A mark is "<!-- table: NAME -->"; its table ends at "<!-- end -->".
    """

    def block(found: re.Match[str]) -> str:
        return f"{found[1]}\n\n{TABLES[found[2]]()}\n\n<!-- end -->"

    return re.sub(r"(<!-- table: ([\w-]+) -->).*?<!-- end -->", block, text, flags=re.DOTALL)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="put the tables into docs/scale.md")
    if parser.parse_args(argv).write:
        DOCUMENT.write_text(filled(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print("\n\n".join(f"{name}\n\n{made()}" for name, made in TABLES.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
