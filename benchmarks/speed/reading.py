"""How long a page takes (draw it, text layer, OCR, tags, encode), one checkout against others.

    python -m benchmarks.speed.reading [--checkout ../before ...] [--rounds 3] [FILE ...]

Each checkout reads in a process of its own; they take turns, file by file, so that a busy machine slows all
alike. A page is of the kind "layer" or "ocr" as the first checkout reads it. Writes results/reading.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
OUT = ROOT / "benchmarks" / "results" / "reading.json"
READER = """
import json, sys, time
from pathlib import Path
from metaembed_demo.core.types import Page
from metaembed_demo.documents.extraction import read
from metaembed_demo.documents.file_types import uploads
from metaembed_demo.documents.loader import read_files
from metaembed_demo.encoders.registry import load_encoder
encoder = load_encoder("mini")
for line in sys.stdin:
    rows, start = [], time.perf_counter()
    for item in read_files(uploads([Path(line.strip())])):
        if isinstance(item, Page):
            page = read(item)
            encoder.encode_pages([page])
            by_ocr = any(word.kind == "ocr" for word in page.words)
            rows.append([page.number, time.perf_counter() - start, by_ocr, len(page.words)])
        start = time.perf_counter()
    print(json.dumps(rows), flush=True)
"""


class Reader:
    """A process that reads files with the code of one checkout."""

    def __init__(self, checkout: Path) -> None:
        env = {**os.environ, "PYTHONPATH": str(checkout)}
        command = [sys.executable, "-c", READER]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=checkout, env=env, stdin=pipe, stdout=pipe, text=True)

    def read(self, file: Path) -> list[list[Any]]:
        """Rows of number, seconds, whether OCR took part, and words."""
        assert self.process.stdin
        assert self.process.stdout
        print(file, file=self.process.stdin, flush=True)
        rows: list[list[Any]] = json.loads(self.process.stdout.readline())
        return rows


def measure(checkouts: Sequence[Path], files: Sequence[Path], rounds: int) -> list[dict[str, Any]]:
    """One row for each page: its median seconds with each checkout."""
    readers = [Reader(checkout) for checkout in checkouts]
    for reader in readers:
        reader.read(files[0])  # loads the networks
    found = []
    for file in files:
        times: dict[int, list[list[float]]] = {}
        by_ocr: dict[int, bool] = {}
        for _ in range(rounds):
            for at, reader in enumerate(readers):
                for number, seconds, ocr, _words in reader.read(file):
                    times.setdefault(number, [[] for _ in readers])[at].append(seconds)
                    by_ocr.setdefault(number, ocr)
        for number, each in times.items():
            row = {"file": file.name, "page": number, "ocr": by_ocr[number]}
            found.append({**row, "seconds": [round(statistics.median(t), 4) for t in each]})
        print(file.name, [row["seconds"] for row in found if row["file"] == file.name][:3], flush=True)
    return found


def summary(rows: Sequence[dict[str, Any]], checkouts: int) -> dict[str, Any]:
    """Median seconds a page with each checkout, and each one's ratio to the last, by kind of page."""
    found = {}
    for kind, ocr in (("layer", False), ("ocr", True)):
        seconds = [row["seconds"] for row in rows if row["ocr"] == ocr]
        if seconds:
            found[kind] = {
                "pages": len(seconds),
                "seconds": [round(statistics.median(s[i] for s in seconds), 4) for i in range(checkouts)],
                "ratio": [
                    round(statistics.median(s[0] / s[i] for s in seconds), 3) for i in range(1, checkouts)
                ],
                "ratio_of_sums": [
                    round(sum(s[0] for s in seconds) / sum(s[i] for s in seconds), 3)
                    for i in range(1, checkouts)
                ],
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", type=Path, help="default: the PDFs of sample_corpus")
    parser.add_argument("--checkout", action="append", type=Path, default=[], help="to compare with")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    checkouts = [ROOT, *(path.resolve() for path in options.checkout)]
    files = [file.resolve() for file in options.files] or sorted((ROOT / "sample_corpus").glob("*.pdf"))
    rows = measure(checkouts, files, options.rounds)
    found = {"rounds": options.rounds, **summary(rows, len(checkouts)), "pages": rows}
    OUT.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps({k: v for k, v in found.items() if k != "pages"}, indent=1))


if __name__ == "__main__":
    main()
