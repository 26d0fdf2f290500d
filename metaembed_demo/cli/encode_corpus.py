"""Encode a large corpus in parallel, then merge it into one collection that the app and the CLI open.

    # run it again to go on
    python -m metaembed_demo encode-corpus encode FOLDER --out PARTS --workers 8
    python -m metaembed_demo encode-corpus merge PARTS --out my-index

`encode` uses Ray Data (`pip install "ray[data]>=2.40"`); `--workers 0` does the same in this process
without Ray. What is done stays done: an input whose size and hash are those of its done-file is not
encoded again. One run at a time may write into PARTS, which all workers must see under the same path.
"""

from __future__ import annotations

import argparse
import base64
import json
import logging
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter, time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.collection import persistence
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.encoded_parts import (
    BadInput,
    Input,
    Loader,
    Worker,
    inputs_of,
    is_done,
    lines_of,
    listed,
    problem_of,
    read_done,
)
from metaembed_demo.collection.indexing import Places
from metaembed_demo.collection.progress import Report
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core import disk
from metaembed_demo.core.budgets import Budgets
from metaembed_demo.core.config import ROOT, SERVER
from metaembed_demo.core.types import Embedding, Notice, Page, Problem
from metaembed_demo.encoders.registry import load_encoder

from .console import one_line, tell_notices

BATCH = 8  # pages given to the encoder at once
TASK_INPUTS = 64  # a task at most
TASKS_PER_WORKER = 4  # at least, where there are inputs enough, so that all workers end at about one time
MOST_BLOCKS = 10_000  # of Ray Data
MERGE_PAGES = 20_000  # in memory at a time; fewer open the growing collection more often, which reads it all


@dataclass(frozen=True)
class Encoded:
    """What `encode` did in this run, and the problems of all runs."""

    inputs: int
    skipped: int  # done before
    pages: int
    seconds: float  # of the workers' run, their start included
    problems: list[Problem]
    threads: set[int]  # torch's, of each worker; empty where nothing was left to do


def encode(
    paths: Sequence[Path],
    out: Path,
    encoder: str = SERVER.encoder,
    workers: int = 0,
    *,
    batch: int = BATCH,
    gpus: float = 0.0,
    threads: int = 0,
    address: str | None = None,
    load: Loader = load_encoder,
    tell: Callable[[str], None] = lambda text: None,
) -> Encoded:
    """Encode every file of `paths` that is not done yet into the folder `out`.

    Args:
        paths: files and folders, as for `file_types.uploads`.
        encoder: a name for `load`.
        workers: processes of Ray Data; 0 works in this one.
        batch: pages given to the encoder at once.
        gpus: of each worker.
        threads: of torch and OCR in each worker; 0 shares the cores of this machine out.
        address: of a running Ray cluster; None starts Ray on this machine where it does not run.
        load: turns `encoder` into an Encoder. It must be importable by the workers.

    Raises:
        BadInput: when a path is missing, there is nothing to encode, the parts there are another encoder's,
            the encoder cannot be loaded, Ray is missing or too small, or `out` cannot be written.
    """
    inputs = _prepare(paths, out, encoder)
    todo = [one for one in inputs if not is_done(out, one)]
    run = secrets.token_hex(8)
    began, pages, finished, used = perf_counter(), 0, 0, set[int]()
    tasks = _tasks(todo, workers)
    if workers and not threads:
        threads = max(1, (os.cpu_count() or 1) // workers)
    made = {"out": str(out.resolve()), "encoder": encoder, "load": load, "batch": batch, "run": run}
    made["threads"] = threads
    done = _by_ray(tasks, made, min(workers, len(tasks)), gpus, address) if workers else _here(tasks, made)
    for told in done:
        if "fault" in told:
            raise BadInput(told["fault"])
        pages, finished, used = pages + told["pages"], finished + told["inputs"], used | {told["threads"]}
        tell(
            f"{finished} of {len(todo)} files, {pages} pages, {pages / (perf_counter() - began):.2f} a second"
        )
    seconds = perf_counter() - began
    problems = _clear_away(out, inputs)
    return Encoded(len(inputs), len(inputs) - len(todo), pages, seconds, problems, used)


def _prepare(paths: Sequence[Path], out: Path, encoder: str) -> list[Input]:
    if out.exists() and not (out.is_dir() and ((out / "inputs.jsonl").exists() or not any(out.iterdir()))):
        raise BadInput(f"{out} is a file or holds other files. Name a new or an empty folder for the parts.")
    try:
        head = disk.read_json(out / "encoder.json") if (out / "encoder.json").exists() else {"name": encoder}
        for folder in ("parts", "done", "trying"):
            (out / folder).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise BadInput(f"The folder {out} cannot be used for the parts: {error}") from error
    if head.get("name") != encoder:
        raise BadInput(
            f"The parts in {out} were made by the encoder {head.get('name')}, not {encoder}. "
            "Encode into a new folder."
        )
    inputs = inputs_of(paths)
    if not inputs:
        raise BadInput("There are no files to encode: give files, or a folder that holds PDFs or pictures.")
    lines = "".join(json.dumps({"key": one.key, "name": one.name}) + "\n" for one in inputs)
    disk.write(out / "inputs.jsonl", lines.encode("ascii"))
    return inputs


def _tasks(todo: Sequence[Input], workers: int) -> list[str]:
    size = max(1, min(TASK_INPUTS, len(todo) // (TASKS_PER_WORKER * max(1, workers))))
    return [
        json.dumps([asdict(one) for one in todo[start : start + size]]) for start in range(0, len(todo), size)
    ]


def _here(tasks: Sequence[str], made: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if tasks:
        worker = Worker(**made)
        yield from map(worker.work, tasks)


def _by_ray(
    tasks: Sequence[str], made: dict[str, Any], workers: int, gpus: float, address: str | None
) -> Iterator[dict[str, Any]]:
    if not tasks:
        return
    ray = import_ray()
    threads, mine = made["threads"], not ray.is_initialized()
    if mine:
        start_ray(workers * threads, address)
    try:
        for kind, needed in (("CPU", workers * threads), ("GPU", workers * gpus)):
            there = ray.cluster_resources().get(kind, 0)
            if there < needed:  # Ray would wait for more, without a word
                raise BadInput(f"Ray has {there:g} {kind}s and {workers} workers need {needed:g}: use fewer.")
        ray.data.DataContext.get_current().enable_progress_bars = False  # `tell` counts files and pages
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        blocks = min(len(tasks), MOST_BLOCKS)
        told = ray.data.from_items(
            [{"task": task} for task in tasks], override_num_blocks=blocks
        ).map_batches(
            Worker,
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=threads,
            num_gpus=gpus or None,
            fn_constructor_kwargs=made,
        )
        for row in told.iter_rows():
            yield json.loads(row["told"])
    finally:
        if mine:
            ray.shutdown()


def import_ray() -> Any:
    """The module `ray`, with `ray.data`. Raises BadInput that says how to install it."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise BadInput(
            'Several workers need Ray Data: pip install "ray[data]>=2.40". Without it, use --workers 0. '
            f"({error})"
        ) from error
    return ray


def start_ray(cpus: int, address: str | None = None) -> None:
    """Start Ray on this machine, or join the cluster at `address`. Workers find this program's modules."""
    ray = import_ray()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    if address:
        env = {"env_vars": {"PYTHONPATH": os.pathsep.join(path)}}
        ray.init(address=address, runtime_env=env, log_to_driver=False)
    else:
        os.environ["PYTHONPATH"] = os.pathsep.join(path)
        ray.init(num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level="WARNING")


def _clear_away(out: Path, inputs: Sequence[Input]) -> list[Problem]:
    """Remove parts that no done-file names: of changed inputs, of killed runs. Returns the problems."""
    kept: set[str] = set()
    problems: dict[str, list[list[Any]]] = {}
    for file in (out / "done").glob("*/*.json"):
        if done := read_done(out, file.stem):
            kept |= {part for part, _, _ in done.slices}
            problems[file.stem] = done.problems
    for file in [*(out / "parts").iterdir(), *(out / "trying").iterdir()]:
        if file.name.partition(".")[0] not in kept:
            file.unlink(missing_ok=True)
    return [problem_of(found) for one in inputs for found in problems.get(one.key, [])]


# Merging


def merge(parts: Path, out: Path, partial: bool = False, every: int = MERGE_PAGES) -> tuple[int, Report]:
    """Build the collection folder `out` from what `encode` wrote, as `index_files` would have.

    After every so many pages the collection is saved and opened again, so that only the table of its pages
    and `every` pages are in memory. `out` appears when all is done. Returns its number of pages.

    Raises:
        BadInput: when there are no parts, one is damaged, inputs are left to encode and not `partial`, or
            `out` holds something.
    """
    if persistence.is_saved(out):
        raise BadInput(f"{out} holds an index already. Name a new or an empty folder.")
    try:
        persistence.check_target(out)
        head = disk.read_json(parts / "encoder.json")
        inputs = [json.loads(line) for line in (parts / "inputs.jsonl").read_text().splitlines()]
    except (OSError, ValueError) as error:
        raise BadInput(f"{parts} cannot be merged into {out}: {error}") from error
    found = [(one["name"], read_done(parts, one["key"])) for one in inputs]
    missing = [name for name, done in found if done is None]
    if missing and not partial:
        raise BadInput(
            f"{len(missing)} of {len(inputs)} files are not encoded yet, {missing[0]} for one. Run encode "
            "again, or merge what there is with --partial."
        )
    growing = out.with_name(f".{out.name}.merging")
    shutil.rmtree(growing, ignore_errors=True)  # of a merge that was killed
    budgets = Budgets.parse(head["budgets"]) if "budgets" in head else None
    home, report = Collection(head["fingerprint"], head["r_c"], head["dim"], budgets), Report()
    places = Places(home)
    for done in filter(None, (done for _, done in found)):
        for line, vectors in lines_of(parts, done):
            if _take(places, report, line, vectors) and report.added % every == 0:
                places.home.save(growing)
                places.home = Collection.load(growing, home.fingerprint)
        for row in done.problems:
            report.note(problem_of(row))
    if not report.added:
        raise BadInput(f"There is no page in {parts}.")
    places.home.save(growing)
    os.replace(growing, out)
    report.finished = not missing
    return report.added, report


def _take(places: Places, report: Report, line: dict[str, Any], vectors: NDArray[np.float16]) -> bool:
    """Take one page in the steps of `index_files`, so that names and duplicates come out alike.

    Returns whether a page was added.
    """
    page = Page(line["id"], line["source"], line["number"], None)
    places.meet(page)
    if page.id in places.home.pages:
        report.duplicates.append(places.duplicate(page))
        return False
    if "page" not in line:  # a repeat of a page that could not be encoded
        return False
    stored = StoredPage.from_json(line["page"], base64.b64decode(line["picture"]))
    embedding = Embedding(vectors[line["row"]].astype(np.float32))
    places.home.put(replace(stored.at([places.place(page)]), added=int(time())), embedding)
    report.added += 1
    return True


# The command line


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    try:
        return _encode(options) if options.command == "encode" else _merge(options)
    except (BadInput, OSError) as error:  # a full disk, say
        print(f"metaembed_demo encode-corpus: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted. What is done is kept: run the same command again to go on.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m metaembed_demo encode-corpus",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True)
    sub = commands.add_parser("encode", help="encode files into parts; again to go on")
    sub.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="PDFs, pictures, zips, folders")
    sub.add_argument("--list", type=Path, metavar="FILE", help="paths, one a line, relative to its folder")
    sub.add_argument("--out", required=True, type=Path, metavar="PARTS")
    sub.add_argument("--encoder", default=SERVER.encoder, help="default: METAEMBED_ENCODER or mini")
    sub.add_argument(
        "--workers", type=int, default=2, help="processes; 0: this one, without Ray (default: 2)"
    )
    sub.add_argument("--batch", type=int, default=BATCH, help="pages encoded at once (default: %(default)s)")
    sub.add_argument(
        "--gpus", type=float, default=0, help="of each worker; 0.5 lets two share one (default: 0)"
    )
    sub.add_argument("--threads", type=int, default=0, help="of each worker (default: cores / workers)")
    sub.add_argument("--address", help="of a running Ray cluster; 'auto' finds the one of this machine")
    sub = commands.add_parser("merge", help="build one collection from parts")
    sub.add_argument("parts", type=Path, metavar="PARTS")
    sub.add_argument("--out", required=True, type=Path, metavar="DIR", help="a new folder for the collection")
    sub.add_argument("--partial", action="store_true", help="leave out files that are not encoded yet")
    return top


def _encode(options: argparse.Namespace) -> int:
    if options.workers < 0 or options.batch < 1 or options.threads < 0 or options.gpus < 0:
        raise BadInput("--workers, --threads and --gpus are at least 0, --batch at least 1.")
    paths = [*options.paths, *(listed(options.list) if options.list else [])]
    result = encode(
        paths,
        options.out,
        options.encoder,
        options.workers,
        batch=options.batch,
        gpus=options.gpus,
        threads=options.threads,
        address=options.address,
        tell=lambda text: print(text, file=sys.stderr),
    )
    _tell(result.problems)
    print(
        f"{result.inputs} files, {result.skipped} of them done before; {result.pages} pages encoded in "
        f"{result.seconds:.1f} s ({result.pages / max(result.seconds, 1e-9):.2f} a second). "
        f"{_counted(result.problems)}"
    )
    return 0


def _merge(options: argparse.Namespace) -> int:
    pages, report = merge(options.parts, options.out, options.partial)
    _tell([*report.problems, *report.notices])
    print(
        f"{pages} pages in {options.out}. Duplicates: {len(report.duplicates)}. "
        f"{_counted([*report.problems, *report.notices])}"
    )
    return 0


def _tell(problems: Sequence[Problem]) -> None:
    for problem in problems:
        if not isinstance(problem, Notice):
            print(one_line(problem.message), file=sys.stderr)
    tell_notices([problem for problem in problems if isinstance(problem, Notice)])


def _counted(problems: Sequence[Problem]) -> str:
    notices = sum(isinstance(problem, Notice) for problem in problems)
    return f"Problems: {len(problems) - notices}. Notices: {notices}."
