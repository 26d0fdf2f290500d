"""What words cost a search: `python -m benchmarks.speed.words --base DIR` writes
benchmarks/results/words_speed.json.

Searches with encoding on the sample corpus, on 2,000 and on 100,000 short pages, and whole requests of the
page on the sample corpus, at 16 x 64: by the code of a checkout DIR from before there were words, and by this
code in the modes Meaning, Both and Words, and refined. One process each; they take turns of a few queries, so
that what else the machine does meets all of them. Ratios are to the code of DIR. Times of the
CPU stand beside those of the clock: on a busy machine only they compare.

The pages are pieces of at most 60 words of the training text (benchmarks/speed/corpus.py). ENCODED of them
are encoded; the vectors of the others are those with noise, since what a scan costs does not depend on them.
`--make` builds the collections under .cache/words-speed and needs no DIR.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import RESULTS
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.config import PATHS
from metaembed_demo.core.types import Embedding, Page, Word
from metaembed_demo.encoders.mini.encoder import Mini
from metaembed_demo.evaluation.beir import load_beir

from . import corpus

OUT = RESULTS / "words_speed.json"
WORKER = Path(__file__).with_name("words_worker.py")
SIZES = (2_000, 100_000)
ENCODED = 2_000
QUERIES, ROUNDS, TURN = 40, 5, 4  # questions; how often each is asked; how many before another's turn
NOISE = 0.3
GOALS = {"meaning": 1.1, "both": 1.5}  # of a whole request's p95
MODES = (("meaning", 0), ("both", 0), ("words", 0), ("both", 25))

Ask = Callable[[dict[str, Any]], list[list[float]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, help="checkout of the code before words")
    parser.add_argument("--make", action="store_true", help="only build the collections")
    parser.add_argument("--data", type=Path, default=PATHS.cache / "train", help="as `train` keeps it")
    parser.add_argument("--folder", type=Path, default=PATHS.cache / "words-speed")
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    pages, asked = corpus.texts(options.data) if options.sizes else ([], [])
    made = {size: make(options.folder, pages, size) for size in options.sizes}
    if options.make:
        return
    if options.base is None:
        parser.error("--base is needed: a checkout of the code before words")
    samples = [query.text for query in load_beir(PATHS.sample_corpus).queries.values() if query.text]
    found: dict[str, Any] = {"machine": machine(), "base": commit(options.base), "goals": GOALS}
    tasks = [(kind, "samples", samples, "113 pages") for kind in ("request", "search")]
    tasks += [("search", str(folder), asked, f"{size:,} pages") for size, folder in made.items()]
    for kind, folder, texts, name in tasks:
        found[f"{kind}, {name}"] = compare(options.base, folder, kind, spread(texts), options.rounds)
    found["machine"]["load_after"] = os.getloadavg()
    OUT.write_text(json.dumps(found, indent=1) + "\n")


def spread(texts: Sequence[str]) -> list[str]:
    return list(texts[:: max(1, len(texts) // QUERIES)][:QUERIES])


# The collections


def make(folder: Path, texts: Sequence[str], size: int) -> Path:
    """A saved collection of the first `size` pages, its lexical index with it."""
    target = folder / str(size)
    if target.exists():
        return target
    encoder, began = Mini.load(), time.perf_counter()
    vectors = encoded(encoder, texts[: min(size, ENCODED)], folder / "vectors.npy")
    collection = Collection.for_encoder(encoder)
    drawn = io.BytesIO()
    Image.new("RGB", (60, 80), "white").save(drawn, "JPEG")
    chance = np.random.default_rng(0)
    for at, text in enumerate(texts[:size]):
        words = tuple(Word(word, corpus.WHOLE) for word in text.split())
        page = StoredPage(f"{at:064x}", f"{at // 100}.pdf", at % 100 + 1, words, drawn.getvalue(), 60, 80)
        found = vectors[at % len(vectors)].astype(np.float32)
        if at >= len(vectors):
            found = found + chance.standard_normal(found.shape, np.float32) * (NOISE / found.shape[1] ** 0.5)
            found /= np.linalg.norm(found, axis=1, keepdims=True)
        collection.put(page, Embedding(found))
    print(f"{size:,} pages after {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    collection.save(target)
    print(f"saved after {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    return target


def encoded(encoder: Mini, texts: Sequence[str], kept: Path) -> np.ndarray[Any, np.dtype[np.float16]]:
    if kept.exists() and len(found := np.load(kept, mmap_mode="r")) >= len(texts):
        return found
    pages = [Page("", "", 1, None, tuple(Word(word, corpus.WHOLE) for word in t.split())) for t in texts]
    parts = [pages[at : at + corpus.SHARD] for at in range(0, len(pages), corpus.SHARD)]
    found = np.stack([e.vectors for part in parts for e in encoder.encode_pages(part)]).astype(np.float16)
    kept.parent.mkdir(parents=True, exist_ok=True)
    np.save(kept, found)
    return found


# The comparison


def compare(base: Path, folder: str, kind: str, texts: Sequence[str], rounds: int) -> dict[str, Any]:
    """Milliseconds of the code of `base` and of this code by mode, and their ratios."""
    processes = [start(base, folder), start(Path.cwd(), folder)]
    before, now = map(asker, processes)
    ways = {"before words": (before, {"kind": kind, "mode": "", "steps": 0})}
    for mode, steps in MODES:
        if not (kind == "request" and steps):
            name = f"{mode}, {steps} steps" if steps else mode
            ways[name] = now, {"kind": kind, "mode": mode, "steps": steps}
    try:
        times = turns(ways, texts, rounds)
    finally:
        for process in processes:
            process.stdin.close()
            process.wait(60)
    told = summary(times)
    print(kind, folder, json.dumps(told), file=sys.stderr, flush=True)
    return told


def turns(ways: dict[str, tuple[Ask, dict[str, Any]]], texts: Sequence[str], rounds: int) -> dict[str, Any]:
    """Way -> (queries, rounds, 3): milliseconds, of which encoding, of the CPU."""
    order = np.random.default_rng(0)
    for ask, task in ways.values():  # what is loaded or compiled once
        ask({**task, "texts": list(texts[:3])})
    times: dict[str, list[Any]] = {name: [[] for _ in texts] for name in ways}
    for _ in range(rounds):
        for start_at in range(0, len(texts), TURN):
            some = list(texts[start_at : start_at + TURN])
            for name in order.permutation(list(ways)):
                ask, task = ways[name]
                for at, found in enumerate(ask({**task, "texts": some}), start_at):
                    times[name][at].append(found)
    return {name: np.array(of_way) for name, of_way in times.items()}


def summary(times: dict[str, Any]) -> dict[str, Any]:
    """p50 and p95, with encoding and without, and ratios to the first way.

    ratio_each: the median over queries of the ratio of their medians.
    """
    before = next(iter(times.values()))
    found = {"queries": before.shape[0] * before.shape[1]}
    for name, values in times.items():
        whole, own, cpu = values[..., 0], values[..., 0] - values[..., 1], values[..., 2]
        found[name] = {
            "p50_ms": rounded(np.median(whole)),
            "p95_ms": rounded(np.percentile(whole, 95)),
            "without_encoding_p50_ms": rounded(np.median(own)),
            "without_encoding_p95_ms": rounded(np.percentile(own, 95)),
            "cpu_p50_ms": rounded(np.median(cpu)),
            "cpu_p95_ms": rounded(np.percentile(cpu, 95)),
        }
        if values is not before:
            found[name] |= {f"ratio_{figure}": ratio for figure, ratio in ratios(values, before).items()}
    return found


def ratios(values: Any, before: Any) -> dict[str, float]:
    found = {}
    for clock, at in (("", 0), ("cpu_", 2)):
        now, then = values[..., at], before[..., at]
        for percentile in (50, 95):
            ratio = np.percentile(now, percentile) / np.percentile(then, percentile)
            found[f"{clock}p{percentile}"] = rounded(ratio)
        found[f"{clock}each"] = rounded(np.median(np.median(now, 1) / np.median(then, 1)))
    return found


def start(package: Path, folder: str) -> subprocess.Popen[str]:
    surroundings = {**os.environ, "PYTHONPATH": str(package.resolve())}
    command = [sys.executable, str(WORKER.resolve()), folder]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=package, env=surroundings, stdin=pipe, stdout=pipe, text=True)


def asker(process: subprocess.Popen[str]) -> Ask:
    def ask(task: dict[str, Any]) -> list[list[float]]:
        assert process.stdin is not None
        assert process.stdout is not None
        print(json.dumps(task), file=process.stdin, flush=True)
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"{process.args} ended with {process.wait()}.")
        return json.loads(line)

    return ask


def rounded(value: Any) -> float:
    return round(float(value), 2)


def commit(folder: Path) -> str:
    command = ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def machine() -> dict[str, Any]:
    return {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()}


if __name__ == "__main__":
    main()
