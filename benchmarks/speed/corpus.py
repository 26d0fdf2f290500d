"""A hundred thousand real embeddings to measure the index on: `python -m benchmarks.speed.corpus`.

Every section of the training text (training/mini/corpora.py), cut into pieces of at most 60 words, is a
page; headings and sentences of pages drawn at random are the queries. Mini encodes them in bfloat16, 40 to
70 pages a second on two cores, into shards of 500 pages under .cache/realpages, so that a run that was
stopped goes on, and several may run side by side (`--worker 0 --workers 2`). What is measured on them is
how the index finds what exact MaxSim finds; how well Mini ranks is for quality.py, on other text.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from metaembed_demo.core.config import PATHS
from metaembed_demo.core.types import Page, Query, Word
from metaembed_demo.encoders.mini.encoder import Mini
from metaembed_demo.training.mini import corpora

FOLDER = PATHS.cache / "realpages"
SHARD = 500
PAGES = 100_000
QUERIES = 400
WORDS = 60  # of a page, at most
FEWEST = 8
WHOLE = (0.0, 0.0, 1.0, 1.0)


def texts(data: Path) -> tuple[list[str], list[str]]:
    """Pages in an order that any prefix samples fairly, and queries: half headings, half sentences."""
    documents = corpora.load(corpora.prepare(data))
    found = [piece for d in documents for heading, text in d.sections for piece in _pieces(heading, text)]
    chance = random.Random(0)
    chance.shuffle(found)
    pages = list(dict.fromkeys(found))
    headings = [h for d in documents for h, text in d.sections if 3 <= len(h.split()) <= 12]
    said = [s for page in chance.sample(pages, 4 * QUERIES) for s in _sentences(page)]
    half = QUERIES // 2
    return pages, chance.sample(sorted(set(headings)), half) + chance.sample(sorted(set(said)), half)


def _pieces(heading: str, text: str) -> Iterator[str]:
    words = f"{heading} {text}".split()
    for start in range(0, len(words), WORDS):
        piece = words[start : start + WORDS]
        if len(piece) >= FEWEST:
            yield " ".join(piece)


def _sentences(page: str) -> list[str]:
    return [s for s in re.split(r"(?<=[.?!])\s+", page)[1:-1] if 5 <= len(s.split()) <= 20][:1]


def make(data: Path, folder: Path = FOLDER, pages: int = PAGES, worker: int = 0, workers: int = 1) -> None:
    """Encode what `folder` lacks; of several workers, every so many shards."""
    folder.mkdir(parents=True, exist_ok=True)
    encoder = Mini.load()
    words, asked = texts(data)
    if len(words) < pages:
        raise SystemExit(f"The text gives {len(words):,} pages, fewer than {pages:,}.")
    if worker == 0 and not (folder / "queries.npy").exists():
        found = encoder.encode_queries([Query(text) for text in asked])
        np.save(folder / "queries.npy", np.stack([e.vectors for e in found]))
    for number, start in enumerate(range(0, pages, SHARD)):
        file = folder / f"pages-{number:03}.npy"
        if number % workers == worker and not file.exists():
            part = file.with_suffix(".part")
            with part.open("wb") as out:
                np.save(out, _encode(encoder, words[start : min(start + SHARD, pages)]))
            part.rename(file)
            print(f"{start + SHARD:,} pages", flush=True)


def _encode(encoder: Mini, words: Sequence[str]) -> NDArray[np.float16]:
    pages = [Page("", "", 1, None, tuple(Word(w, WHOLE) for w in text.split())) for text in words]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return np.stack([e.vectors for e in encoder.encode_pages(pages)]).astype(np.float16)


def load(pages: int, folder: Path = FOLDER) -> tuple[Iterator[NDArray[np.float16]], NDArray[np.float32]]:
    """Shards (n, 64, D) float16 that together hold `pages` pages, and the queries (m, 16, D) float32.

    Raises SystemExit where they were not made.
    """
    files = [folder / f"pages-{number:03}.npy" for number in range(-(-pages // SHARD))]
    missing = [file.name for file in (*files, folder / "queries.npy") if not file.exists()]
    if missing:
        raise SystemExit(f"{missing[0]} is missing: run python -m benchmarks.speed.corpus --pages {pages}")

    def shards() -> Iterator[NDArray[np.float16]]:
        left = pages
        for file in files:
            shard = np.load(file, mmap_mode="r")[:left]
            left -= len(shard)
            yield shard

    return shards(), np.load(folder / "queries.npy")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=PATHS.cache / "train")
    parser.add_argument("--pages", type=int, default=PAGES)
    parser.add_argument("--worker", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    make(options.data, pages=options.pages, worker=options.worker, workers=options.workers)
