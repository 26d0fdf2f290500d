"""What bad files and queries do: `python -m benchmarks.robustness.hostile [--only KIND]` writes
benchmarks/results/hostile.json.

All files of benchmarks/robustness/hostile_files/files.py go through `index_files`, one after the other,
into a collection that holds good pages; after each one those are looked at. Then bad queries are asked.
Goals: nothing raised, nothing silent, no page lost.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import RESULTS
from benchmarks.robustness.hostile_files import files as files_module
from metaembed_demo.app.visitors.session import Sessions
from metaembed_demo.app.visitors.tools import Tools
from metaembed_demo.app.visitors.visitor import Visit
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.indexing import index_files
from metaembed_demo.collection.progress import Report
from metaembed_demo.core.config import LIMITS, PATHS, Limits
from metaembed_demo.core.types import Upload
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.encoders.registry import load_encoder

GOOD = ["annual-report.pdf", "letter-scan.pdf", "pictures/cat.jpg"]
PAGES = 20  # of one file, for the one of 10,000 pages
QUERIES = {
    "a million letters": "kettle " * 150_000,
    "2,000 letters without a space": "x" * 2_000,
    "control characters": "ket\0tle\x07\x1b[31m\x7f lantern\r\n\t",
    "half surrogate pairs": "kettle \ud800 lantern \udfff",
    "markup": "<script>alert(1)</script><img src=x onerror=alert(2)> \"quotes' & more",
    "direction marks": "\u202ekettle\u202c \u2066lantern\u2069",
    "300 combining marks": "e" + "\u0301" * 300,
    "symbols alone": "🎉🏳️‍🌈🎉 ∑∫√ ₿",
    "Arabic and Japanese": "ما هو سعر الغلاية やかん",
    "a format string": "{0.__class__} %s %n ${jndi:ldap://x}",
    "a path": "../../../../etc/passwd",
    "SQL": "'; DROP TABLE pages; --",
    "spaces of all kinds": "\u3000\u00a0\u2003\u200b",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="one kind of files, to look at; nothing is written then")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.disable(logging.ERROR)
    encoder = load_encoder()
    limits = Limits(max_pages=PAGES)
    with tempfile.TemporaryDirectory(prefix="metaembed-") as folder:
        manifest = files_module.write(Path(folder), options.seed)
        chosen = [row for row in manifest if options.only in (None, row["kind"])]
        found: dict[str, Any] = {
            "machine": {"cores": os.cpu_count(), "python": sys.version.split()[0]},
            "limits": {
                name: getattr(limits, name)
                for name in ("max_pages", "seconds_per_page", "seconds_per_file", "worker_megabytes")
            },
            "files": files(Path(folder), chosen, encoder, limits),
            "queries": queries(encoder),
        }
    text = json.dumps(found, indent=1)
    print(text)
    if options.only is None:
        (RESULTS / "hostile.json").write_text(text + "\n")


def files(folder: Path, manifest: list[dict[str, str]], encoder: Encoder, limits: Limits) -> dict[str, Any]:
    """Add them all, and tell what became of each."""
    collection = Collection.for_encoder(encoder)
    uploads = [Upload(PATHS.sample_corpus / name, name) for name in GOOD]
    list(index_files(collection, uploads, encoder, Report()))
    good = {page_id: collection.index.vectors([page_id]) for page_id in collection.pages}
    rows, raised, lost = [], [], 0
    for row in manifest:
        report, began = Report(), time.perf_counter()
        try:
            upload = Upload(folder / row["file"], row["name"])
            list(index_files(collection, [upload], encoder, report, limits))
        except Exception as error:
            raised.append(f"{row['name']}: {type(error).__name__}: {error}")
        rows.append({**row, **outcome(row, report), "seconds": time.perf_counter() - began})
        print(
            f"{rows[-1]['seconds']:6.1f} s {rows[-1]['outcome']:8} {row['kind']}: {row['what']}",
            file=sys.stderr,
        )
        kept = set(collection.pages)
        lost += sum(
            page_id not in kept or not np.array_equal(vectors, collection.index.vectors([page_id]))
            for page_id, vectors in good.items()
        )
    outcomes = Counter(row["outcome"] for row in rows)
    slowest = sorted(rows, key=lambda row: -row["seconds"])[:8]
    return {
        "tried": len(rows),
        **{name: outcomes[name] for name in ("read", "in part", "refused", "silent")},
        "raised in the app": raised,
        "reader crashed": told(rows, "its reader crashed"),
        "reader out of memory": told(rows, "MB of memory"),
        "reader too slow": told(rows, "METAEMBED_SECONDS"),
        "messages without the file's name": [row["name"] for row in rows if not row["named"]],
        "pages of others lost": lost,
        "seconds": round(sum(row["seconds"] for row in rows), 1),
        "by kind": by_kind(rows),
        "slowest": [[round(row["seconds"], 1), f"{row['kind']}: {row['what']}"] for row in slowest],
        "messages": messages(rows),
    }


def outcome(row: dict[str, str], report: Report) -> dict[str, Any]:
    pages = report.added + len(report.duplicates)
    told = [*report.problems, *report.notices]
    said = " ".join(problem.message for problem in told)
    name = ("silent", "refused", "read", "in part")[2 * bool(pages) + bool(told)]
    named = all(Path(row["name"]).suffix in problem.message for problem in told)
    messages = [problem.message for problem in told]
    return {
        "outcome": name,
        "said": said,
        "messages": messages,
        "named": named and all(p.source for p in told),
    }


def told(rows: list[dict[str, Any]], phrase: str) -> list[str]:
    return [f"{row['kind']}: {row['what']}" for row in rows if phrase in row["said"]]


def by_kind(rows: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = {}
    for row in rows:
        found.setdefault(row["kind"], Counter())[row["outcome"]] += 1
    return {kind: dict(counts) for kind, counts in found.items()}


def messages(rows: list[dict[str, Any]]) -> dict[str, int]:
    """What was told, without names and numbers, and how often: the most frequent and the longest."""
    said: Counter[str] = Counter()
    for row in rows:
        for message in row["messages"]:
            text = re.sub(r"\d+(?:[.,]\d+)*", "N", message.replace(row["name"], "FILE"))
            said[text[:300]] += 1
    longest = sorted(said, key=len)[-5:]
    return {**dict(said.most_common(25)), **{text: said[text] for text in longest}}


def queries(encoder: Encoder) -> dict[str, Any]:
    """Ask bad queries of a visit; every answer is a page of results, or words that say why not."""
    collection = Collection.for_encoder(encoder)
    list(index_files(collection, [Upload(PATHS.sample_corpus / GOOD[0], GOOD[0])], encoder, Report()))
    sessions = Sessions(collection)
    visit = Visit(Tools(encoder), sessions.get(sessions.open()))
    answered, refused, raised, slowest = 0, {}, [], 0.0
    for what, text in QUERIES.items():
        began = time.perf_counter()
        try:
            told = visit.search(text).results or ""
            told.encode("utf-8")
        except Exception as error:
            raised.append(f"{what}: {type(error).__name__}: {error}")
            continue
        slowest = max(slowest, time.perf_counter() - began)
        if 'role="alert"' in told:
            refused[what] = " ".join(re.sub(r"<[^>]*>", " ", told).split())[:200]
        else:
            answered += 1
    return {
        "tried": len(QUERIES),
        "answered": answered,
        "refused": refused,
        "raised": raised,
        "longest allowed": LIMITS.max_query_characters,
        "slowest_s": round(slowest, 2),
    }


if __name__ == "__main__":
    main()
