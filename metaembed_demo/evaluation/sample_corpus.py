"""The sample corpus, indexed once and kept: what every visitor starts with, and the dial's curve."""

from __future__ import annotations

import argparse
import atexit
import hashlib
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.progress import Progress, Report
from metaembed_demo.core import disk
from metaembed_demo.core.budgets import STOPS
from metaembed_demo.core.config import PATHS, SERVER
from metaembed_demo.documents.file_types import uploads
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.encoders.registry import load_encoder

from .beir import Beir, Judgements, collect, load_beir
from .evaluate import encode, evaluate
from .quality_curve import Curve

EXAMPLES = 4  # queries offered on the page
EXAMPLE_LENGTH = (12, 44)  # characters; shorter ones say little, longer ones wrap
KEPT_CURVE = "curve.json"
TELL_EVERY_S = 2.0
Tell = Callable[[str], object]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Samples:
    """The sample corpus, ready to search.

    curve: quality at the five stops; None where the corpus has no judged queries.
    examples: queries to offer on the page.
    report: what had to be indexed just now, and what could not be.
    """

    collection: Collection
    curve: Curve | None
    examples: tuple[str, ...]
    report: Report


def open_samples(
    encoder: Encoder, corpus: Path = PATHS.sample_corpus, cache: Path = PATHS.cache, tell: Tell = print
) -> Samples:
    """The sample corpus from the cache, brought up to date, or indexed now and kept there.

    A cache that cannot be read or written costs time at the next start, nothing else.

    Args:
        corpus: a folder in BEIR's layout; without judged queries it is searched but not measured.
        tell: gets a line of text as the work goes on.
    """
    beir = _open_corpus(corpus)
    folder = cache / f"samples-{_short_hash(encoder.fingerprint)}"
    keep = _place(folder, tell)
    collection, report = _collect(beir, encoder, keep, tell)
    curve = _curve(beir, collection, encoder, keep or folder, tell)
    for page in collection.pages.values():
        page.thumbnail  # noqa: B018  # cached: made here, not while the first visitor waits
    return Samples(collection, curve, pick_examples(beir), report)


def _open_corpus(corpus: Path) -> Beir:
    try:
        return load_beir(corpus)
    except ValueError as error:
        log.warning("The sample corpus has no questions to measure with: %s", error)
        return Beir(corpus, {}, {}, uploads([corpus]) if corpus.is_dir() else [])


def _place(folder: Path, tell: Tell) -> Path | None:
    """`folder` where it can be written, else a copy that goes when the app ends; None where neither can."""
    if _writable(folder):
        return folder
    tell(f"{folder.parent} cannot be written: the sample index will not be kept. Set METAEMBED_CACHE.")
    try:
        copy = Path(tempfile.mkdtemp(prefix="metaembed-"))
        atexit.register(shutil.rmtree, copy, ignore_errors=True)
        for path in folder.rglob("*"):  # there may be an index that was made beforehand, as in an image
            if path.is_file():
                target = copy / path.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)  # without its permissions, which may forbid writing
    except OSError as error:
        log.warning("There is no place for the sample index: %s", error)
        return None
    return copy


def _collect(beir: Beir, encoder: Encoder, keep: Path | None, tell: Tell) -> tuple[Collection, Report]:
    """Through the folder `keep`, else in memory; a damaged one is made anew."""
    report = Report()
    try:
        return collect(beir, encoder, report, keep, _teller(tell)), report
    except (ValueError, OSError) as error:
        if keep is None:
            raise
        tell(f"The kept sample index is not usable, so it is made anew. {error}")
    shutil.rmtree(keep, ignore_errors=True)
    report = Report()
    return collect(beir, encoder, report, keep, _teller(tell)), report


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _teller(tell: Tell) -> Callable[[Progress], None]:
    """Every two seconds a line, and each message of a file that could not be read."""
    last = time.monotonic()

    def on(progress: Progress) -> None:
        nonlocal last
        if progress.message:
            tell(f"  {progress.message}")
        elif time.monotonic() - last >= TELL_EVERY_S:
            last = time.monotonic()
            tell(f"  {progress.done} of {progress.total} sample pages, {progress.source}")

    return on


def _curve(beir: Beir, collection: Collection, encoder: Encoder, folder: Path, tell: Tell) -> Curve | None:
    """nDCG@5 at the five stops, measured when corpus, questions or encoder have changed."""
    if not beir.qrels or not len(collection):
        return None
    key = _state(beir, collection, encoder)
    try:
        kept = disk.read_json(folder / KEPT_CURVE)
        if kept.get("key") == key:
            return Curve(tuple(kept["scores"]), int(kept["questions"]), tuple(kept["floors"]))
    except (OSError, ValueError, KeyError, TypeError):
        pass  # nothing kept, or nothing of use
    tell(f"Measuring the five budgets on {len(beir.qrels)} sample questions")
    measured = evaluate(collection, encoder, beir, Judgements(beir.qrels, collection))
    scores = tuple(row["ndcg@5"] for row in measured["budgets"])
    curve = Curve(scores, measured["queries"], _floors(beir, collection, encoder))
    try:
        kept = {"key": key, **asdict(curve)}
        disk.write_json(folder / KEPT_CURVE, kept)
    except OSError as error:
        log.warning("The curve could not be kept: %s", error)
    return curve


def _floors(beir: Beir, collection: Collection, encoder: Encoder) -> tuple[float, ...]:
    """The mean cosine a query token that 19 in 20 best hits reach, at each stop."""
    vectors, _ = encode(encoder, beir, list(beir.qrels))
    best = [
        [collection.index.search(q, stop, 1)[0].score / stop.r_q for q in vectors.values()] for stop in STOPS
    ]
    return tuple(round(float(np.percentile(scores, 5)), 4) for scores in best)


def _state(beir: Beir, collection: Collection, encoder: Encoder) -> str:
    """A hash of everything that the curve depends on."""
    queries = {key: [query.text, query.image is not None] for key, query in beir.queries.items()}
    places = sorted((page.id, page.places) for page in collection.pages.values())
    return _short_hash(json.dumps([encoder.fingerprint, queries, beir.qrels, places], sort_keys=True))


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def pick_examples(beir: Beir) -> tuple[str, ...]:
    """A few short questions about different documents, spread over the list so that they differ in kind."""
    about: dict[str, list[str]] = {}  # document -> questions about it
    for key, judged in beir.qrels.items():
        text = beir.queries[key].text.strip()
        if EXAMPLE_LENGTH[0] <= len(text) <= EXAMPLE_LENGTH[1] and beir.queries[key].image is None:
            best = max(judged, key=lambda corpus_id: judged[corpus_id])
            about.setdefault(best.rpartition("#")[0] or best, []).append(text)
    pages = [texts[0] for source, texts in about.items() if source.lower().endswith(".pdf")]
    pictures = [texts[0] for source, texts in about.items() if not source.lower().endswith(".pdf")]
    chosen = _spread(pages, EXAMPLES - bool(pictures))
    return tuple(chosen + _spread(pictures, EXAMPLES - len(chosen)))


def _spread(items: Sequence[str], n: int) -> list[str]:
    """
    >>> _spread(["a", "b", "c", "d", "e"], 2)
    ['a', 'c']
    """
    if len(items) <= n:
        return list(items)
    return [items[round(i * len(items) / n)] for i in range(n)]


def main(argv: Sequence[str] | None = None) -> int:
    """The `samples` command: set-up indexes them, so that the app's first start does not have to. 0."""
    said = "Index the sample corpus, unless that is done, so that the app's first start does not have to."
    argparse.ArgumentParser(prog="python -m metaembed_demo samples", description=said).parse_args(argv)
    open_samples(load_encoder(SERVER.encoder))
    return 0
