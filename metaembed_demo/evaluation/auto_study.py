"""What Auto keeps and computes on judged queries, calibrated by known-item queries of the same pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping

import numpy as np

from metaembed_demo.collection.calibration import OWN, Auto, Calibrations
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.ranker import How, Ranker
from metaembed_demo.core.types import FloatArray
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.index.auto import LEAST_PAGES, LEAST_QUERIES, Table, calibrate, paths_of, table
from metaembed_demo.index.base import finish, stage_scorer

from .beir import Judgements
from .evaluate import quality
from .known_items import known_items
from .metrics import Row

QUERIES = 300  # known-item queries of a calibration
SCORES = 100_000_000  # page scores kept in memory at most; of more pages fewer queries are taken
BUDGETS = 12  # at most, for which they are kept
FEW, FULL_SCORES = 40, 5_000_000  # of a large index: queries at least, page scores at the full budget
TOP = 5


def calibrating(
    collection: Collection, encoder: Encoder, count: int = QUERIES
) -> Generator[None, None, Calibrations]:
    """The calibrations of these pages; yields after every query. Pages may come or go meanwhile.

    An index too large to be scored whole for a search is calibrated by what that scans, with fewer queries,
    since each is compared with every page at the full budget.
    """
    with collection.lock:
        index = collection.index.copy(new_lists=False)  # the pages as they are now
    pages = len(index)
    large = pages > index.exact_up_to
    count = min(count, SCORES // (BUDGETS * max(1, pages)))
    count = min(count, max(FEW, FULL_SCORES // pages)) if large else count
    queries = [asked.query for asked in known_items(collection, count)]
    if len(queries) < LEAST_QUERIES or pages < LEAST_PAGES:
        return Calibrations(pages)
    full = encoder.budgets.full
    paths, tables = paths_of(encoder.budgets, quick=large), list[Table]()
    for query in queries:
        vectors = encoder.encode_queries([query])[0].vectors
        tables.append(table(stage_scorer(index, vectors), full, paths))
        yield
    return Calibrations(pages, calibrate(tables, full, paths))


def calibrated(collection: Collection, encoder: Encoder, count: int = QUERIES) -> Calibrations:
    """`calibrating` at once, kept in the collection."""
    found = finish(calibrating(collection, encoder, count))
    with collection.lock:
        collection.calibrations.keep(collection.index.storage, found)
    return found


def auto_row(
    collection: Collection,
    encoder: Encoder,
    vectors: Mapping[str, FloatArray],
    judgements: Judgements,
) -> Row:
    """Quality of Auto, the share of cells it computed, and of queries with the full budget's first pages.

    vectors: query id -> (R_q, D). Raises ValueError when the pages are too few to calibrate by.
    """
    calibration = calibrated(collection, encoder).auto
    if calibration is None:
        least = f"{LEAST_QUERIES} queries and {LEAST_PAGES} pages"
        raise ValueError(f"A calibration needs {least}; these are {len(collection)} pages.")
    auto = Auto(calibration.full, calibration, OWN)
    rankings, cells, same, stops = {}, [], np.zeros(2), Counter[str]()
    for key, query in vectors.items():
        with collection.lock:
            ranker = Ranker(collection, query, "", calibration.full, How(auto=auto))
            rankings[key] = [hit.page_id for hit in ranker.hits(TOP)]
            full = Ranker(collection, query, "", calibration.full, How(exact=True)).hits(TOP)
            told = ranker.automatic()
        assert told is not None
        cells.append(told.cells)
        stops[str(told.needed)] += 1
        best = [hit.page_id for hit in full]
        same += best[:1] == rankings[key][:1], set(best) == set(rankings[key])
    first, five = (same / len(vectors)).round(4).tolist()
    return {
        "name": "Auto",
        **quality(rankings, judgements),
        "bytes_per_page": collection.index.bytes_per_page(calibration.full),
        "cells": round(float(np.mean(cells)), 4),
        "same_first": first,
        "same_five": five,
        "needed": {str(stop): stops[str(stop)] for stop in encoder.budgets},
        "calibration": calibration.as_json(),
    }
