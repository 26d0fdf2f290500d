"""The sub-commands: each runs something and shows the result, as text or as JSON."""

from __future__ import annotations

import argparse
import sys
from time import perf_counter
from typing import Any

from metaembed_demo.collection import persistence
from metaembed_demo.collection.collection import NO_SESSION, Collection
from metaembed_demo.collection.filters import PageFilter
from metaembed_demo.collection.indexing import index_files
from metaembed_demo.collection.modes import MEANING
from metaembed_demo.collection.progress import Progress, Report
from metaembed_demo.collection.push_qdrant import open_remote, push, search_there
from metaembed_demo.collection.ranker import How
from metaembed_demo.collection.search import search, searched
from metaembed_demo.collection.second_encoder import SecondEncoder
from metaembed_demo.core.budgets import Budget
from metaembed_demo.core.moments import as_json, spot
from metaembed_demo.core.text import clean, plural
from metaembed_demo.core.types import Query, Trace
from metaembed_demo.documents.file_types import uploads
from metaembed_demo.encoders.registry import load_encoder
from metaembed_demo.evaluation.beir import Judgements, collect, load_beir, open_picture
from metaembed_demo.evaluation.evaluate import encode, evaluate
from metaembed_demo.evaluation.metrics import gain
from metaembed_demo.evaluation.paired import over_simpler
from metaembed_demo.evaluation.run_files import gains, judged_runs, per_query, write_trec

from .auto import auto_of, show_auto
from .console import BadInput, notices, problems, table, tell, tell_notices, told

REMOTE = "metaembed"  # a collection on Qdrant, unless it is named
BAD_INPUT = 2


# index


def run_index(options: argparse.Namespace) -> dict[str, Any]:
    missing = [path for path in options.paths if not path.exists()]
    if missing:
        raise BadInput(f"There is no such file or folder: {', '.join(map(str, missing))}")
    with told():
        persistence.check_target(options.out)
        files = uploads(options.paths)
        encoder = load_encoder(options.encoder)
        collection = (
            Collection.load(options.out, encoder.fingerprint, encoder.device)
            if persistence.is_saved(options.out)
            else Collection.for_encoder(encoder)
        )
    report, interrupted = Report(), False
    indexing = index_files(collection, files, encoder, report, NO_SESSION)
    try:
        for progress in indexing:
            tell(progress)
    except KeyboardInterrupt:
        interrupted = True  # what was done is kept
        indexing.close()
    tell_notices(report.notices)
    if not report.added and not report.duplicates and not interrupted:
        why = "" if report.problems else " Every page is blank." if report.blank else " There are no files."
        raise BadInput(f"No page could be read.{why}")
    with told():
        if options.storage:
            keep(collection, options.storage, not options.no_full)
        size = collection.save(options.out)
    return {
        "pages": len(collection),
        "added": report.added,
        "blank": report.blank,
        "duplicates": report.duplicates,
        "problems": problems(report.problems),
        "notices": notices(report.notices),
        "seconds": round(report.seconds, 3),
        "pages_per_second": round(report.added / report.seconds, 3) if report.seconds else 0.0,
        "out": clean(str(options.out)),
        "encoder": encoder.name,
        "bytes": size,
        **({"interrupted": True} if interrupted else {}),
    }


def keep(collection: Collection, kind: str, full: bool) -> None:
    """Keep the vectors of `collection` as `kind`. Raises ValueError as `MultiVectorIndex.stored_as` says."""
    if collection.index.storage != kind or not full:
        collection.index = collection.index.stored_as(kind, full)


def show_index(result: dict[str, Any]) -> None:
    blank = f"; {plural(result['blank'], 'blank page')} left out" if result["blank"] else ""
    print(
        f"{result['added']} pages added in {result['seconds']:.1f} s{blank} "
        f"({result['pages_per_second']:.2f} a second); {result['pages']} in {result['out']}, "
        f"{result['bytes'] / 1e6:.1f} MB. Duplicates: {len(result['duplicates'])}. "
        f"Problems: {len(result['problems'])}. Notices: {len(result['notices'])}."
    )


# search


def run_search(options: argparse.Namespace) -> dict[str, Any]:
    with told():
        persistence.manifest(options.index)  # before the encoder is loaded, which takes seconds
        query = Query(clean(options.query.strip()), open_picture(options.image) if options.image else None)
        encoder = load_encoder(options.encoder)
        collection = Collection.load(options.index, encoder.fingerprint, encoder.device)
        if options.qdrant:
            search_there(collection, options.qdrant, options.name)
        else:
            collection.index.recall = options.recall or collection.index.recall
            collection.index.rescore = options.refine or 0
    with told():
        auto = auto_of(collection, encoder, options.index) if options.auto else None
        complement = second(options.complement, options.gqr) if options.complement else None
        only = PageFilter.of(options.filter, options.language)
        how = How(options.exact, only, options.mode, options.gqr, auto, complement)
        budget = options.budget or encoder.budgets.full
        trace = search(collection, encoder, query, budget, options.k, how)
        for step in searched(collection, trace, options.k, how):
            if isinstance(step, Trace):
                trace = step
            else:
                tell(step)
    hits = []
    for hit in trace.hits:
        page = collection.pages[hit.page_id]
        hits.append(
            {
                "rank": hit.rank,
                "score": round(hit.score, 5),
                "file": page.source,
                "page": page.number,
                **as_json(page.source, page.number),
                "id": page.id,
                "title": page.title,
                "language": page.language,
                "also": [f"{source}#{number}" for source, number in page.also],
                **trace.worth(hit.page_id),
            }
        )
    return {
        "query": query.text,
        "image": clean(str(options.image)) if options.image else None,
        "language": options.language,
        "filter": str(how.only),
        **trace.of_words(),
        **trace.of_fit(),
        "budget": str(trace.budget),
        **({"similarity": trace.similarity} if trace.similarity != "MaxSim" else {}),
        **({"auto": trace.auto.as_json()} if trace.auto else {}),
        "hits": hits,
        "timings_ms": {stage: round(ms, 3) for stage, ms in trace.timings.items()},
        "bytes_per_page": trace.bytes_per_page,
        "candidates": trace.candidates,
        "pages": trace.pages_searched,
        "encoder": encoder.name,
    }


def second(name: str, steps: int) -> SecondEncoder:
    """The encoder that refines a query. Raises ValueError when nothing is to be refined."""
    if not steps:
        raise ValueError("--complement refines a query: give --gqr STEPS as well.")
    return SecondEncoder(name, load_encoder(name))


def show_search(result: dict[str, Any]) -> None:
    over = Budget.parse(result["budget"]).r_q if "similarity" in result else 1  # MeanMaxSim
    rows = [
        [str(h["rank"]), f"{h['score'] / over:.3f}", _fits(h), h["file"], _at(h), h["title"]]
        for h in result["hits"]
    ]
    table(["rank", "score", "fits", "file", "page", "title"], rows, right={0, 1, 2, 4})
    if left := result.get("not_searched"):
        print(f"not searched on Qdrant: {' and '.join(left)}")
    for name in ("unread_language", "fit"):
        if note := result.get(name, {}).get("note"):
            print(note)
    stages = ", ".join(f"{stage} {ms:.1f}" for stage, ms in result["timings_ms"].items())
    print(f"budget {result['budget']}, {result['pages']} pages; ms: {stages}")
    if "auto" in result:
        show_auto(result["auto"])


def _at(hit: dict[str, Any]) -> str:
    return spot(hit["file"], hit["page"], "")


def _fits(hit: dict[str, Any]) -> str:
    return f"{hit['chance']:.0%}" if "chance" in hit else ""


# push


def run_push(options: argparse.Namespace) -> dict[str, Any]:
    with told():
        head = persistence.manifest(options.index)
        collection = Collection.load(options.index, head["encoder"])
        remote = open_remote(collection, options.location, options.name, options.shards, options.replicas)
        for done in push(collection, remote):
            tell(Progress(done, len(collection), options.name, done))
        remote.close()
    return {"pages": len(collection), "location": options.location, "name": options.name}


def show_push(result: dict[str, Any]) -> None:
    print(f"{result['pages']} pages in the collection {result['name']} at {result['location']}")


# eval


def run_eval(options: argparse.Namespace) -> dict[str, Any]:
    started, report = perf_counter(), Report()
    with told():
        beir = load_beir(options.folder)
        given = [(file, file.read_text(encoding="utf-8")) for file in options.runs]
        encoder = load_encoder(options.encoder)
        collection = collect(beir, encoder, report, options.index, tell)
    tell_notices(report.notices)
    if not len(collection):
        raise BadInput(f"No page of {options.folder} could be read.")
    judgements = Judgements(beir.qrels, collection)
    for corpus_id in judgements.missing:
        print(f"warning: no file or page answers to the judged id {corpus_id!r}", file=sys.stderr)
    if len(judgements.missing) == len({i for judged in beir.qrels.values() for i in judged}):
        raise BadInput("None of the judged ids names a file or page of the corpus.")
    with told():
        how = How(mode=options.mode, steps=options.gqr)
        result = evaluate(collection, encoder, beir, judgements, how)
    rankings = result.pop("rankings")
    if options.trec:
        write_trec(options.trec, rankings, judgements)
    if options.per_query:
        options.per_query.write_text(per_query(result["budgets"]), encoding="utf-8")
    if options.auto:
        from metaembed_demo.evaluation.auto_study import auto_row

        with told():
            vectors, _ = encode(encoder, beir, list(judgements.judged))
            result["baselines"] = [auto_row(collection, encoder, vectors, judgements)]
    if options.baselines:
        from metaembed_demo.evaluation.baselines import baselines, text_path_of

        result.setdefault("baselines", []).extend(
            baselines(collection, beir, judgements, text_path_of(encoder))
        )
    for file, text in given:
        with told():
            result.setdefault("baselines", []).extend(judged_runs(text, judgements, str(file)))
    result["gains"] = gains(result["budgets"])
    if how.mode != MEANING:
        vectors, _ = encode(encoder, beir, list(judgements.judged))
        result["gains"] |= over_simpler(collection, vectors, beir, judgements, how, result["budgets"])
    elif options.auto:
        result["gains"]["Auto over the full budget"] = gain(result["baselines"][0], result["budgets"][-1])
    for row in [*result["budgets"], *result.get("baselines", [])] if not options.each else []:
        del row["each"]
    return {
        **result,
        "missing": len(judgements.missing),
        "missing_ids": judgements.missing,
        "duplicates": report.duplicates,
        "problems": problems(report.problems),
        "notices": notices(report.notices),
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
        rows.append([name, *cells, str(row.get("bytes_per_page", "")), ms])
    head = ["budget", figures[0], "95% interval", *figures[1:], "bytes/page", "ms p50"]
    table(head, rows, right=set(range(1, 10)))
    print(f"{result['encoder']}, {result['mode']}: {result['pages']} pages, {result['queries']} queries")
    for over, points in result["gains"].items():
        low, high = points["ci95"]
        print(f"{over}: {points['points']:+.1f} points of nDCG@5 ({low:+.1f} to {high:+.1f})")
    for row in result.get("baselines", []):
        if "cells" in row:
            print(
                f"Auto: {row['cells']:.1%} of the cells; the first page is that of the full budget for "
                f"{row['same_first']:.1%} of the queries, the first five for {row['same_five']:.1%}"
            )


# bench


def run_bench(options: argparse.Namespace) -> dict[str, Any]:
    from metaembed_demo.evaluation.speed import SIZES, bench

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
    storage = result["storage"]
    rows = [[r["kind"], f"{r['bytes_per_page']:,}", f"{r['ms']['p50']:.1f}"] for r in storage["kinds"]]
    rows.append(["numpy, float32", "", f"{storage['numpy_float32_ms']['p50']:.1f}"])
    print(f"\nscoring {storage['pages']:,} pages at {storage['budget']}")
    table(["kept as", "bytes a page", "ms p50"], rows, right={1, 2})
    print(result["note"])
    print(f"encoding a query: {result['search'][0]['encode_ms']['p50']:.1f} ms")
    if result["indexing"]:
        print(f"indexing: {result['indexing']['pages_per_second']} pages a second")
    print(f"resident memory: {result['memory_mb']['resident']} MB")
