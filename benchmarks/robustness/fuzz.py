"""Coverage-guided fuzzing of `ingest`: `python -m benchmarks.robustness.fuzz [--seconds 120] [--seed 1]
[--keep DIR]`.

Good files of every kind are changed at random; a change that reaches lines of the reading code in an order
not seen before is kept and changed further. Every result must be a Page that can be or a Problem that names
its file. The work is done in a child process: when it crashes or hangs, the file at hand is kept and the next
child goes on. Writes benchmarks/results/fuzz.json, and the files that went wrong to the folder.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import json
import logging
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks import RESULTS
from benchmarks.robustness.hostile_files import files, pdfs, pictures
from metaembed_demo.core.config import RENDER, ROOT, Limits
from metaembed_demo.core.types import Page, Problem, Upload
from metaembed_demo.documents import loader, poppler
from metaembed_demo.documents.sandbox import process

WATCHED = {
    str(ROOT / "metaembed_demo" / f"{name}.py") for name in ("files", "archive", "images", "pdf", "ingest")
}
LIMITS = Limits(max_pages=3, max_pixels=4_000_000, max_archive_bytes=8 << 20, max_file_bytes=4 << 20)
HANG_S = 20  # for one file
MEGABYTES = 1_500
POPPLER_EVERY = 12  # files; a process takes as long as 20 files without
SPLICE = 4_000  # bytes taken from another file, at most
ODD = (
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"-1",
    b"99999999999",
    b"nan",
    b"<<",
    b">>",
    b"[",
    b"/",
    b"(",
)
Arc = tuple[str, int, int]


def seeds() -> list[tuple[str, bytes]]:
    """Suffix and content of good files, and of odd ones that are read."""
    found = [(".pdf", pdfs.good(2, pictures.sample())), *pictures.good().items()]
    found.append((".zip", files.packed({f"in/{i}{suffix}": made for i, (suffix, made) in enumerate(found)})))
    rng = random.Random(0)
    for part in (pdfs.coloured, pdfs.written, pdfs.sized, pdfs.broken):
        found += [(".pdf", made) for _, _, made in part(rng) if len(made) < 20_000]
    for part in (pictures.colours, pictures.tags):
        found += [(suffix, made) for suffix, _, _, made in part(rng) if len(made) < 20_000]
    return found


def changed(content: bytes, others: list[tuple[str, bytes]], rng: random.Random) -> bytes:
    """`content` with one to eight changes."""
    data = bytearray(content)
    for _ in range(1 << rng.randrange(4)):
        if not data:
            break
        at, length = rng.randrange(len(data)), 1 << rng.randrange(9)
        match rng.randrange(9):
            case 0 | 1:
                data[at] ^= 1 << rng.randrange(8)
            case 2:
                data[at] = rng.randrange(256)
            case 3:
                odd = rng.choice(ODD)
                data[at : at + len(odd)] = odd
            case 4:
                del data[at : at + length]
            case 5:
                data[at:at] = data[at : at + length] * rng.choice((1, 1, 40))
            case 6:
                other = rng.choice(others)[1]
                start = rng.randrange(len(other) or 1)
                data[at : at + length] = other[start : start + rng.randrange(SPLICE)]
            case 7:
                data = _number(data, rng)
            case 8:
                del data[rng.randrange(len(data)) :]
    return bytes(data)


def _number(data: bytearray, rng: random.Random) -> bytearray:
    """Another value for one of the numbers written in digits, as PDFs have them."""
    numbers = list(re.finditer(rb"-?\d+\.?\d*", bytes(data[:100_000])))
    if numbers:
        chosen = rng.choice(numbers)
        value = rng.choice((b"0", b"-1", b"1", b"65536", b"2147483648", b"1e30", b"3 0 R", b"0.00001"))
        data[chosen.start() : chosen.end()] = value
    return data


@contextlib.contextmanager
def traced(seen: set[Arc]) -> Iterator[None]:
    """Note in `seen` the lines of the watched files that follow each other."""

    def local(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            seen.add((frame.f_code.co_name, lines.get(id(frame), 0), frame.f_lineno))
            lines[id(frame)] = frame.f_lineno
        return local

    def enter(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename in WATCHED:
            lines[id(frame)] = 0
            return local
        return None

    lines: dict[int, int] = {}
    sys.settrace(enter)
    try:
        yield
    finally:
        sys.settrace(None)


def look(path: Path, name: str) -> list[str]:
    """Read a file and check all that comes of it. Returns its problems' messages."""
    file = Upload(path, name)
    loader.count_pages([file], LIMITS)
    said, number = [], 0
    for item in loader.read_files([file], LIMITS):
        number += 1
        if isinstance(item, Problem):
            assert item.source.startswith(name), item
            assert name in item.message, item
            said.append(item.message)
        else:
            check(item, name)
    assert number, "neither a page nor a problem"
    return said


def check(page: Page, name: str) -> None:
    assert page.source.startswith(name), page.source
    assert page.image is not None
    assert page.image.mode == "RGB", page.image.mode
    assert 0 < max(page.image.size) <= RENDER.max_side, page.image.size
    for box in (*page.pictures, *(word.box for word in page.words)):
        assert all(0 <= edge <= 1 for edge in box), box
    page.text.encode()


def child(folder: Path, seconds: float, seed: int) -> None:
    """Change and read files until the time is over; `at` names the one at hand, `state.json` the findings."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    process.limit_resources(MEGABYTES)
    rng, ended = random.Random(seed), time.monotonic() + seconds
    pool, seen = seeds(), set[Arc]()
    draw, runs, kept, surprises = poppler.draw, 0, 0, Counter[str]()
    first = len(pool)

    def tell(start: int) -> None:
        state = {
            "files": runs,
            "arcs": len(seen),
            "arcs of seeds": start,
            "kept": kept,
            "surprises": surprises,
        }
        (folder / "state.json").write_text(json.dumps(state))

    start = 0
    while time.monotonic() < ended:
        suffix, content = pool[runs] if runs < first else rng.choice(pool)
        if runs >= first:
            content = changed(content, pool, rng)
        path, before = folder / f"current{suffix}", len(seen)
        path.write_bytes(content)
        (folder / "at").write_text(path.name)
        poppler.draw = draw if runs % POPPLER_EVERY == 0 else lambda path, sizes: {}
        faulthandler.dump_traceback_later(HANG_S, exit=True)
        try:
            with traced(seen):
                said = look(path, f"file{suffix}")
        except Exception as error:
            surprises[f"{type(error).__name__}: {error}"[:200]] += 1
            shutil.copy(path, folder / f"raised-{runs}{suffix}")
        else:
            surprises.update(re.sub(r"\d+", "N", m)[:160] for m in said if re.search(r"\(\w+Error", m))
        faulthandler.cancel_dump_traceback_later()
        runs += 1
        if runs == first:
            start = len(seen)
        elif runs > first and len(seen) > before:
            pool.append((suffix, content))
            kept += 1
        path.unlink()
        if runs % 20 == 0:
            tell(start)
    tell(start)


def run(seconds: float, seed: int, keep: Path) -> dict[str, Any]:
    """Children one after the other until the time is over; what they found together."""
    ended, states, crashes, hangs = time.monotonic() + seconds, [], [], []
    keep.mkdir(parents=True, exist_ok=True)
    while (left := ended - time.monotonic()) > 1:
        with tempfile.TemporaryDirectory(prefix="metaembed-") as folder:
            command = [
                sys.executable,
                __file__,
                "--child",
                folder,
                "--seconds",
                str(left),
                "--seed",
                str(seed),
            ]
            environment = {**os.environ, "TMPDIR": folder}
            done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, timeout=left + 120)
            if (Path(folder) / "state.json").exists():
                states.append(json.loads((Path(folder) / "state.json").read_text()))
            for raised in Path(folder).glob("raised-*"):
                shutil.copy(raised, keep / f"{seed}-{raised.name}")
            if done.returncode:
                at = Path(folder) / (Path(folder) / "at").read_text()
                hung = b"Timeout" in done.stderr
                (hangs if hung else crashes).append(f"{seed}-{at.name} (exit status {done.returncode})")
                if at.exists():
                    shutil.copy(at, keep / f"{seed}-{at.name}")
        seed += 1
    surprises: Counter[str] = Counter()
    for state in states:
        surprises.update(state["surprises"])
    return {
        "seconds": seconds,
        "files": sum(state["files"] for state in states),
        "arcs of the seeds": max((state["arcs of seeds"] for state in states), default=0),
        "arcs in the end": max((state["arcs"] for state in states), default=0),
        "files kept for new arcs": sum(state["kept"] for state in states),
        "crashes": crashes,
        "hangs": hangs,
        "unforeseen errors": dict(surprises.most_common(20)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=ROOT / ".cache" / "fuzz", help="default: %(default)s")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.seconds, options.seed)
        return
    found = run(options.seconds, options.seed, options.keep)
    text = json.dumps(found, indent=1)
    (RESULTS / "fuzz.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
