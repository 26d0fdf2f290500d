"""The command line: index, search, eval, bench, train."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from . import shelf
from .beir import Judgements, collect, load_beir, open_picture
from .collection import NO_SESSION, Collection, Progress, Report
from .config import SERVER
from .curves import evaluate
from .encoder import load_encoder
from .ingest import Problem, uploads
from .records import STOPS, Budget, Query
from .search import search

BAD_INPUT = 2
INTERRUPTED = 130


class BadInput(Exception):
    """What the user gave cannot be worked with; the message says why."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0, or 2 for bad input, which argparse raises itself."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv[:1] == ["train"]:
        from .train import main as train  # has options of its own

        return train(argv[1:])
    options = parser().parse_args(argv)
    out = sys.stdout
    try:
        with chatter_to_stderr() if options.json else contextlib.nullcontext():
            result = options.run(options)
    except BadInput as error:
        print(f"metaembed_demo {options.command}: {error}", file=sys.stderr)
        return BAD_INPUT
    if options.json:
        json.dump(result, out, indent=1)  # ASCII, so that no file name can break it
        out.write("\n")
        out.flush()
    else:
        options.show(result)
    return INTERRUPTED if result.get("interrupted") else 0


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(
        prog="python -m metaembed_demo", description="Search PDFs and pictures at any token budget."
    )
    commands = top.add_subparsers(dest="command", required=True)

    def command(name: str, run: Any, show: Any, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run, show=show)
        sub.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
        sub.add_argument("--encoder", default=SERVER.encoder, metavar="NAME", help="default: %(default)s")
        return sub

    sub = command("index", run_index, show_index, "Index PDFs, pictures, zips and folders of them.")
    sub.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    sub.add_argument("--out", required=True, type=Path, metavar="DIR", help="an index there is added to")

    sub = command("search", run_search, show_search, "Find pages in an index.")
    sub.add_argument("index", type=Path, metavar="DIR")
    sub.add_argument("query", nargs="?", default="", help="may be left out where --image is given")
    sub.add_argument("--image", type=Path, metavar="F", help="a picture to ask with")
    sub.add_argument(
        "--budget", type=_budget, default=STOPS[-1], metavar="RQxRC", help="default: %(default)s"
    )
    sub.add_argument("-k", type=_positive, default=10, help="number of hits (default: %(default)s)")
    sub.add_argument("--exact", action="store_true", help="score every page, however many there are")

    sub = command("eval", run_eval, show_eval, "Quality, latency and bytes at the five budgets.")
    sub.add_argument(
        "folder", type=Path, metavar="BEIR_DIR", help="corpus files, queries.jsonl, qrels/test.tsv"
    )
    sub.add_argument("--baselines", action="store_true", help="also BM25 and MiniLM on the same words")
    sub.add_argument("--each", action="store_true", help="in the JSON, also nDCG@5 of every query")
    sub.add_argument("--index", type=Path, metavar="DIR", help="keep the index there and use it again")

    sub = command("bench", run_bench, show_bench, "Speed by stage and memory, in under a minute.")
    sub.add_argument("--sizes", type=_sizes, metavar="N,N,...", help="numbers of random pages to search")

    commands.add_parser("train", help="Train MetaEmbed-Mini; 'train --help' says more.", add_help=False)
    return top


# index


def run_index(options: argparse.Namespace) -> dict[str, Any]:
    missing = [path for path in options.paths if not path.exists()]
    if missing:
        raise BadInput(f"There is no such file or folder: {', '.join(map(str, missing))}")
    with told():
        shelf.check_target(options.out)
        files = uploads(options.paths)
        encoder = load_encoder(options.encoder)
        collection = (
            Collection.load(options.out, encoder.fingerprint)
            if shelf.is_shelf(options.out)
            else Collection.for_encoder(encoder)
        )
    report, interrupted = Report(), False
    adding = collection.add(files, encoder, report, NO_SESSION)
    try:
        for progress in adding:
            tell(progress)
    except KeyboardInterrupt:
        interrupted = True  # what was done is kept
        adding.close()
    if not report.added and not report.duplicates and not interrupted:
        raise BadInput("No page could be read." + ("" if report.problems else " There are no files."))
    with told():
        size = collection.save(options.out)
    return {
        "pages": len(collection),
        "added": report.added,
        "duplicates": report.duplicates,
        "problems": problems(report.problems),
        "seconds": round(report.seconds, 3),
        "pages_per_second": round(report.added / report.seconds, 3) if report.seconds else 0.0,
        "out": str(options.out),
        "encoder": encoder.name,
        "bytes": size,
        **({"interrupted": True} if interrupted else {}),
    }


def show_index(result: dict[str, Any]) -> None:
    print(
        f"{result['added']} pages added in {result['seconds']:.1f} s "
        f"({result['pages_per_second']:.2f} a second); {result['pages']} in {result['out']}, "
        f"{result['bytes'] / 1e6:.1f} MB. Duplicates: {len(result['duplicates'])}. "
        f"Problems: {len(result['problems'])}."
    )


# search


def run_search(options: argparse.Namespace) -> dict[str, Any]:
    with told():
        shelf.manifest(options.index)  # before the encoder is loaded, which takes seconds
        query = Query(options.query.strip(), open_picture(options.image) if options.image else None)
        encoder = load_encoder(options.encoder)
        collection = Collection.load(options.index, encoder.fingerprint)
    trace = search(collection, encoder, query, options.budget, options.k, options.exact)
    hits = []
    for hit in trace.hits:
        page = collection.pages[hit.page_id]
        hits.append(
            {
                "rank": hit.rank,
                "score": round(hit.score, 5),
                "file": page.source,
                "page": page.number,
                "id": page.id,
                "title": page.title,
                "also": [f"{source}#{number}" for source, number in page.also],
            }
        )
    return {
        "query": query.text,
        "image": str(options.image) if options.image else None,
        "budget": str(trace.budget),
        "hits": hits,
        "timings_ms": {stage: round(ms, 3) for stage, ms in trace.timings.items()},
        "bytes_per_page": trace.bytes_per_page,
        "candidates": trace.candidates,
        "pages": trace.pages_searched,
        "encoder": encoder.name,
    }


def show_search(result: dict[str, Any]) -> None:
    rows = [
        [str(h["rank"]), f"{h['score']:.3f}", h["file"], str(h["page"]), h["title"]] for h in result["hits"]
    ]
    table(["rank", "score", "file", "page", "title"], rows, right={0, 1, 3})
    stages = ", ".join(f"{stage} {ms:.1f}" for stage, ms in result["timings_ms"].items())
    print(f"budget {result['budget']}, {result['pages']} pages; ms: {stages}")


# eval


def run_eval(options: argparse.Namespace) -> dict[str, Any]:
    started, report = perf_counter(), Report()
    if options.baselines and importlib.util.find_spec("bm25s") is None:
        raise BadInput("--baselines needs bm25s: pip install bm25s")
    with told():
        beir = load_beir(options.folder)
        encoder = load_encoder(options.encoder)
        collection = collect(beir, encoder, report, options.index, tell)
    if not len(collection):
        raise BadInput(f"No page of {options.folder} could be read.")
    judgements = Judgements(beir.qrels, collection)
    for corpus_id in judgements.missing:
        print(f"warning: no file or page answers to the judged id {corpus_id!r}", file=sys.stderr)
    if len(judgements.missing) == len({i for judged in beir.qrels.values() for i in judged}):
        raise BadInput("None of the judged ids names a file or page of the corpus.")
    result = evaluate(collection, encoder, beir, judgements)
    if options.baselines:
        from .baselines import baselines

        result["baselines"] = baselines(collection, beir, judgements)
    for row in [*result["budgets"], *result.get("baselines", [])] if not options.each else []:
        del row["each"]
    return {
        **result,
        "missing": len(judgements.missing),
        "missing_ids": judgements.missing,
        "duplicates": report.duplicates,
        "problems": problems(report.problems),
        "seconds": round(perf_counter() - started, 1),
    }


def show_eval(result: dict[str, Any]) -> None:
    figures = ["ndcg@5", "ndcg@10", "recall@1", "recall@5", "recall@10", "mrr"]
    rows = []
    for row in [*result["budgets"], *result.get("baselines", [])]:
        ms = f"{row['latency_ms_p50']:.2f}" if "latency_ms_p50" in row else ""
        name = row["budget"] if "budget" in row else row["name"]
        low, high = row["ci95"]["ndcg@5"]
        cells = [f"{row[f]:.3f}" for f in figures]
        cells.insert(1, f"{low:.3f}-{high:.3f}")
        rows.append([name, *cells, str(row["bytes_per_page"]), ms])
    head = ["budget", figures[0], "95% interval", *figures[1:], "bytes/page", "ms p50"]
    table(head, rows, right=set(range(1, 10)))
    print(f"{result['encoder']}: {result['pages']} pages, {result['queries']} queries")


# bench


def run_bench(options: argparse.Namespace) -> dict[str, Any]:
    from .bench import SIZES, bench

    with told():
        encoder = load_encoder(options.encoder)
    return bench(encoder, options.sizes or SIZES)


def show_bench(result: dict[str, Any]) -> None:
    rows = []
    for size in result["search"]:
        for row in size["budgets"]:
            stages = [f"{row[f'{stage}_ms']['p50']:.2f}" for stage in ("coarse", "rerank", "align", "total")]
            rows.append([str(size["pages"]), row["budget"], *stages, f"{row['total_ms']['p95']:.2f}"])
    table(
        ["pages", "budget", "coarse ms", "rerank ms", "align ms", "total p50", "p95"],
        rows,
        right={0, *range(2, 7)},
    )
    print(result["note"])
    print(f"encoding a query: {result['search'][0]['encode_ms']['p50']:.1f} ms")
    if result["indexing"]:
        print(f"indexing: {result['indexing']['pages_per_second']} pages a second")
    print(f"resident memory: {result['memory_mb']['resident']} MB")


# Shared


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Errors whose messages are meant for the user, as BadInput."""
    try:
        yield
    except (ValueError, OSError, ImportError) as error:
        raise BadInput(str(error)) from error


@contextlib.contextmanager
def chatter_to_stderr() -> Iterator[None]:
    """Whatever is printed meanwhile, by Python or by a C library, goes to standard error."""
    sys.stdout.flush()
    try:
        saved = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # no such descriptors, as under some servers
        saved = None
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if saved is not None:
            os.dup2(saved, 1)
            os.close(saved)


def tell(progress: Progress) -> None:
    """A line on standard error: messages always, the mere count only where a person watches."""
    live = sys.stderr.isatty()
    if progress.message:
        print(("\r\033[K" if live else "") + progress.message, file=sys.stderr)
    elif live:
        line = f"{progress.done}/{progress.total} {progress.source} p. {progress.number}"
        print(
            f"\r\033[K{line[:78]}",
            end="" if progress.done < progress.total else "\n",
            file=sys.stderr,
            flush=True,
        )


def problems(found: Sequence[Problem]) -> list[dict[str, str]]:
    return [{"source": problem.source, "message": problem.message} for problem in found]


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: set[int]) -> None:
    """Print columns as wide as they need; those in `right` are aligned to the right."""
    if not rows:
        print("Nothing found.")
        return
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in [head, *rows]:
        cells = [
            c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def _budget(text: str) -> Budget:
    try:
        return Budget.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0.")
    return int(text)


def _sizes(text: str) -> list[int]:
    return [_positive(part.strip()) for part in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
