"""The sample corpus, which every visitor starts with, and the dial's curve: kept, shipped, or read now.

`python -m metaembed_demo samples` reads it into the cache where it is not shipped;
with `--ship` it writes assets/samples.npz anew.
"""

from __future__ import annotations

import argparse
import atexit
import hashlib
import json
import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from metaembed_demo.collection import fitting
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.lazy_pictures import draw_behind
from metaembed_demo.collection.progress import Progress, Report
from metaembed_demo.core import disk
from metaembed_demo.core.budgets import OURS
from metaembed_demo.core.config import PATHS, SERVER
from metaembed_demo.core.text import count_text
from metaembed_demo.documents import poppler
from metaembed_demo.documents.file_types import uploads
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.encoders.registry import load_encoder
from metaembed_demo.index.fit import FitCalibration

from . import climbs, sample_calibrations, sample_layout, shipped_samples
from .beir import Beir, Judgements, collect, digests_of, is_current, load_beir
from .climbs import AnswersOf, Climb
from .evaluate import evaluate
from .fit_study import fit_of_corpus
from .quality_curve import Curve
from .shipped_samples import Measured, Shipped

KEPT_CURVE, KEPT_FIT = "curve.json", "fit.json"
TELL_EVERY_S = 2.0
Tell = Callable[[str], object]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Samples:
    """The sample corpus, ready to search.

    curve: quality at the stops; None where the corpus has no judged queries.
    examples: questions to offer on the page, that whose answer climbs most first.
    answers: the judged questions, and the pages that answer them.
    report: what had to be indexed just now, and what could not be.
    """

    collection: Collection
    curve: Curve | None
    examples: tuple[Climb, ...]
    answers: AnswersOf
    report: Report

    def draw_behind(self) -> threading.Thread:
        """Make the pictures of shipped pages in the background, so that visitors need not wait for them."""
        return draw_behind(self.collection.copy().pages.values())


def open_samples(
    encoder: Encoder,
    corpus: Path = PATHS.sample_corpus,
    cache: Path = PATHS.cache,
    tell: Tell = print,
    shipped: Path = PATHS.shipped_samples,
) -> Samples:
    """The sample corpus: from the cache where that is up to date, else as shipped, else read now and kept.

    What is shipped serves only for the encoder and the sample files that it was made with; its pictures are
    drawn when they are asked for. A cache that cannot be read or written costs time at the next start,
    nothing else.

    Args:
        corpus: a folder in BEIR's layout; without judged queries it is searched but not measured.
        tell: gets a line of text as the work goes on.
        shipped: what `build` wrote.
    """
    beir = open_corpus(corpus)
    folder = cache / f"samples-{_short_hash(encoder.fingerprint)}"
    found = _shipped(beir, encoder, folder, shipped)
    calibrations = shipped.with_name(sample_calibrations.NAME)
    if found:
        report = Report(finished=True)
        digests = digests_of(beir)
        found.collection.calibrations = sample_calibrations.read(calibrations, encoder.fingerprint, digests)
        sample_calibrations.prepare(found.collection, encoder, None, tell)
        ours = _Shipped(found.measured, shipped.with_name(climbs.NAME))
        curve, examples = _measures(beir, found.collection, encoder, folder, tell, ours)
        _keep_fit(beir, found.collection, encoder, folder)
        return Samples(found.collection, curve, examples, _answers(beir, found.collection), report)
    keep = _place(folder, tell)
    collection, report = _collect(beir, encoder, keep, tell)
    of_samples = sample_calibrations.read(calibrations, encoder.fingerprint, digests_of(beir))
    collection.calibrations.take(of_samples, changed=0)
    sample_calibrations.prepare(collection, encoder, keep, tell)
    ours = _Shipped(None, shipped.with_name(climbs.NAME))
    curve, examples = _measures(beir, collection, encoder, keep or folder, tell, ours)
    _keep_fit(beir, collection, encoder, keep or folder)
    for page in collection.pages.values():
        page.thumbnail  # noqa: B018  # cached: made here, not while the first visitor waits
    return Samples(collection, curve, examples, _answers(beir, collection), report)


def read_samples(encoder: Encoder, corpus: Path, cache: Path, tell: Tell) -> Collection:
    """The pages of the sample corpus alone: from the cache if that is up to date, else read now and kept."""
    keep = _place(cache / f"samples-{_short_hash(encoder.fingerprint)}", tell)
    return _collect(open_corpus(corpus), encoder, keep, tell)[0]


def build(out: Path = PATHS.shipped_samples, tell: Tell = print) -> dict[str, Any]:
    """Read the sample corpus with Mini, as it is now, and write what is shipped of it to `out`.

    Returns:
        What `ship` does.

    Raises:
        ValueError: when a sample file cannot be read, the corpus has no questions, or as `ship` says.
    """
    encoder, beir, report = load_encoder(), load_beir(PATHS.sample_corpus), Report()
    exact = collect(beir, encoder, report, tell=_teller(tell))
    if report.problems:
        raise ValueError(f"The sample corpus cannot be shipped: {report.problems[0].message}")
    return ship(exact, beir, encoder, out)


def ship(exact: Collection, beir: Beir, encoder: Encoder, out: Path) -> dict[str, Any]:
    """Write `exact`, the corpus `beir` as `encoder` has just read it, to `out`, all else beside.

    Returns:
        Bytes and pages, and nDCG@5 at the stops: "exact" by the vectors as the encoder gives them,
        "shipped" by those of the file.

    Raises:
        ValueError: when a page stands in no file of its own, but in an archive.
    """
    digests, renderer = digests_of(beir), poppler.signature()
    shipped_samples.write(out, exact, digests, None, renderer)
    made = shipped_samples.read(out, encoder, beir.files, digests)
    if made is None:
        raise ValueError(f"{out} does not open: every sample page must stand in a PDF or picture file.")
    # Measured on what is served, not on what was read.
    curve, picked = _measured(beir, made.collection, encoder)
    measured = Measured(_state(beir, made.collection, encoder), curve)
    climbs.write(out.with_name(climbs.NAME), measured.key, picked)
    size = shipped_samples.write(out, exact, digests, measured, renderer)
    ship_fits(made.collection, beir, encoder, out)
    sample_layout.write(out.with_name(sample_layout.NAME), made.collection)
    before = _measured(beir, exact, encoder)[0].scores
    return {"bytes": size, "pages": len(exact), "ndcg@5": {"exact": before, "shipped": curve.scores}}


def ship_fits(collection: Collection, beir: Beir, encoder: Encoder, out: Path) -> None:
    """Write what is calibrated for the encoder on the corpus `beir` beside `out`: the fit, if that can be
    told, and Auto's thresholds.
    """
    fit = fit_of_corpus(collection, encoder, beir, Judgements(beir.qrels, collection))
    if fit:
        fitting.ship(out.with_name(PATHS.shipped_fit.name), encoder, fit)
    calibrations = out.with_name(sample_calibrations.NAME)
    sample_calibrations.write(calibrations, collection, encoder, digests_of(beir))


def open_corpus(corpus: Path) -> Beir:
    """The sample corpus; without its questions where they cannot be read."""
    try:
        return load_beir(corpus)
    except ValueError as error:
        log.warning("The sample corpus has no questions to measure with: %s", error)
        return Beir(corpus, {}, {}, uploads([corpus], only_accepted=True) if corpus.is_dir() else [])


def _shipped(beir: Beir, encoder: Encoder, folder: Path, shipped: Path) -> Shipped | None:
    """What is shipped, where it fits and the cache at `folder` does not hold the same with its pictures."""
    if not shipped.is_file():
        return None
    digests = digests_of(beir)
    if is_current(folder, digests):
        return None
    return shipped_samples.read(shipped, encoder, beir.files, digests)


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


@dataclass(frozen=True)
class _Shipped:
    """What may stand for measuring: the curve of the shipped samples, and the file with their climbs."""

    measured: Measured | None
    climbs: Path


def _measures(
    beir: Beir, collection: Collection, encoder: Encoder, folder: Path, tell: Tell, shipped: _Shipped
) -> tuple[Curve | None, tuple[Climb, ...]]:
    """nDCG@5 at the stops, and the examples: shipped, kept in `folder`, or measured now.

    They are measured when corpus, questions or encoder have changed.
    """
    if not beir.qrels or not len(collection):
        return None, climbs.examples((), beir)
    key = _state(beir, collection, encoder)
    curve = shipped.measured.curve if shipped.measured and shipped.measured.key == key else None
    stops = len(encoder.budgets)
    curve = curve or _kept_curve(folder, key, stops)
    picked = climbs.read(shipped.climbs, key, stops)
    if picked is None:
        picked = climbs.read(folder / climbs.NAME, key, stops)
    if curve is None or picked is None:
        tell(f"Measuring the {count_text(stops)} budgets on {len(beir.qrels)} sample questions")
        curve, picked = _measured(beir, collection, encoder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            disk.write_json(folder / KEPT_CURVE, {"key": key, **asdict(curve)})
            climbs.write(folder / climbs.NAME, key, picked)
        except OSError as error:
            log.warning("The curve could not be kept: %s", error)
    return curve, climbs.examples(picked, beir)


def _kept_curve(folder: Path, key: str, stops: int) -> Curve | None:
    try:
        kept = disk.read_json(folder / KEPT_CURVE)
        if kept.get("key") == key and len(kept["scores"]) == stops:
            return Curve(tuple(kept["scores"]), int(kept["questions"]))
    except (OSError, ValueError, KeyError, TypeError):
        pass  # nothing kept, or nothing of use
    return None


def _measured(beir: Beir, collection: Collection, encoder: Encoder) -> tuple[Curve, tuple[Climb, ...]]:
    judged = Judgements(beir.qrels, collection)
    found = evaluate(collection, encoder, beir, judged)
    scores = tuple(row["ndcg@5"] for row in found["budgets"])
    return Curve(scores, found["queries"]), climbs.pick(climbs.climbs(found["rankings"], beir, judged))


def _answers(beir: Beir, collection: Collection) -> AnswersOf:
    return climbs.answers_of(beir, Judgements(beir.qrels, collection))


def _keep_fit(beir: Beir, collection: Collection, encoder: Encoder, folder: Path) -> None:
    """Have a calibration of the fit for this encoder: shipped, kept in `folder`, or measured now."""
    if fitting.calibration_of(encoder.fingerprint) or not beir.qrels or not len(collection):
        return
    key, path = _state(beir, collection, encoder), folder / KEPT_FIT
    try:
        kept = disk.read_json(path)
        if kept["key"] == key:
            fitting.keep(encoder.fingerprint, FitCalibration.from_json(kept))
            return
    except (OSError, ValueError, KeyError, TypeError):
        pass  # nothing kept, or nothing of use
    found = fit_of_corpus(collection, encoder, beir, Judgements(beir.qrels, collection))
    if found is None:
        return
    fitting.keep(encoder.fingerprint, found)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        disk.write_json(path, {"key": key, **found.as_json()})
    except OSError as error:
        log.warning("The calibration of the fit could not be kept: %s", error)


def _state(beir: Beir, collection: Collection, encoder: Encoder) -> str:
    """A hash of everything that the curve depends on."""
    queries = {key: [query.text, query.image is not None] for key, query in beir.queries.items()}
    places = sorted((page.id, page.places) for page in collection.pages.values())
    state = [encoder.fingerprint, queries, beir.qrels, places]
    if encoder.budgets != OURS:  # which the fingerprint does not cover
        state.append(str(encoder.budgets))
    return _short_hash(json.dumps(state, sort_keys=True))


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def main(argv: Sequence[str] | None = None) -> int:
    """The `samples` command. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m metaembed_demo samples", description="Make the sample corpus ready to search."
    )
    parser.add_argument("--ship", action="store_true", help="write the file that is shipped, with Mini")
    parser.add_argument(
        "--out", type=Path, default=PATHS.shipped_samples, metavar="F", help="default: %(default)s"
    )
    options = parser.parse_args(argv)
    if options.ship:
        print(json.dumps(build(options.out), indent=1))
    else:  # reads it where neither the cache nor the shipped file serves, as for another encoder
        open_samples(load_encoder(SERVER.encoder))
    return 0
