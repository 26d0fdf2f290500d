"""The `decide` command: the budget that keeps enough quality on an index, and what it costs at N pages."""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metaembed_demo.collection.collection import Collection
from metaembed_demo.core.arguments import count_of, share_of
from metaembed_demo.core.config import SERVER
from metaembed_demo.core.text import clean
from metaembed_demo.encoders.registry import load_encoder
from metaembed_demo.evaluation.advice import Advice, advised
from metaembed_demo.evaluation.budget_sheet import Corpus, Measured, Row, sheet
from metaembed_demo.evaluation.budget_study import Labels, Worth, measure, read_labels
from metaembed_demo.evaluation.decision import Command, Origin, markdown
from metaembed_demo.evaluation.known_items import Asked, known_items
from metaembed_demo.evaluation.sample_calibrations import shipped
from metaembed_demo.evaluation.search_times import scoring_times
from metaembed_demo.evaluation.way_study import Way, WayWorth, measure_ways

from .console import BadInput, chatter_to_stderr, told

BAD_INPUT = 2
WHAT = """Measure the budgets on the pages of a saved index, with judged queries or with sentences drawn from
the pages, and print the cheapest that keeps enough quality, with its memory, disk, quality and latency at N,
as Markdown."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m metaembed_demo decide", description=WHAT)
    parser.add_argument("index", type=Path, metavar="DIR", help="as `index --out DIR` made it")
    parser.add_argument("--queries", type=Path, metavar="FILE", help="queries.jsonl, with --qrels")
    parser.add_argument("--qrels", type=Path, metavar="FILE", help="judgements, tab-separated")
    parser.add_argument("--share", type=share_of, default=0.95, help="of the quality to keep (0.95)")
    parser.add_argument("--pages", type=count_of, metavar="N", help="of the sheet (default: those there are)")
    parser.add_argument("--every-way", action="store_true", help="measure every storage, words and Auto too")
    parser.add_argument("--encoder", default=SERVER.encoder, metavar="NAME", help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    options = parser.parse_args(argv)
    if (options.queries is None) != (options.qrels is None):
        parser.error("--queries and --qrels belong together.")
    try:
        with chatter_to_stderr(), told():
            found, text = decide(options)
    except BadInput as error:
        print(f"metaembed_demo decide: {error}", file=sys.stderr)
        return BAD_INPUT
    print(json.dumps(found, indent=1) if options.json else text)
    return 0


def decide(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """The result as JSON types, and as Markdown. Raises ValueError for what cannot be measured."""
    encoder = load_encoder(options.encoder)
    collection = Collection.load(options.index, encoder.fingerprint, encoder.device)
    asked: Sequence[Asked] | Labels = known_items(collection)
    if options.queries:
        asked = read_labels(options.queries, options.qrels, collection)
        print(asked.told, file=sys.stderr)
    never, worth = threading.Event(), None
    for step in measure(collection, encoder, asked, never):
        worth = step.worth
    assert isinstance(worth, Worth)
    samples, ways = shipped(encoder.fingerprint), dict[Way, WayWorth]()
    if options.every_way:
        for each in measure_ways(collection, encoder, asked, never, samples):
            ways |= each.found
    corpus = Corpus.of(collection, encoder.budgets, samples)
    times = scoring_times(encoder.budgets, corpus.dim)
    pages = options.pages or corpus.pages
    rows = sheet(corpus, pages, Measured(worth, ways, times))
    labels = (clean(str(options.queries)), clean(str(options.qrels))) if options.queries else None
    command = Command(
        options.encoder, options.share, pages, labels, clean(str(options.index)), options.every_way
    )
    advice = advised(worth, options.share)
    origin = Origin(encoder.name, encoder.fingerprint, corpus.storage, worth)
    found = {
        "pages": pages,
        "advice": advice if isinstance(advice, str) else advice.sentence,
        "recommended": str(advice.stop.budget) if isinstance(advice, Advice) and advice.safe else None,
        "origin": origin.as_json(),
        "measured": worth.as_json(),
        "rows": [row.as_json() for row in rows],
    }
    return found, markdown(origin, advice, _candidates(rows, corpus.storage), pages, command)


def _candidates(rows: Sequence[Row], storage: str) -> list[Row]:
    """The rows with a measured quality, and all of the storage kind in use."""
    return [row for row in rows if row.quality.measured or row.way.storage == storage]
