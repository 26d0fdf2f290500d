"""What Auto keeps and computes on judged queries, calibrated by known-item queries of the same pages."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.ranker import How, Ranker
from metaembed_demo.core.budgets import STOPS, Budget
from metaembed_demo.core.types import FloatArray
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.index.auto import Calibration, Rows, Scores, calibrate

from .beir import Judgements
from .evaluate import ENCODE_BATCH, quality
from .known_items import known_items
from .metrics import Row

QUERIES = 300  # known-item queries of a calibration
SCORES = 100_000_000  # page scores kept in memory at most; of more pages fewer queries are taken
TOP = 5


def calibrated(collection: Collection, encoder: Encoder) -> Calibration:
    """Auto's stages for these pages. Raises ValueError when they are too few."""
    count = min(QUERIES, SCORES // (12 * max(1, len(collection))))
    queries = [asked.query for asked in known_items(collection, count)]
    full = STOPS[-1].clip(encoder.r_q, encoder.r_c)
    batches = (queries[at : at + ENCODE_BATCH] for at in range(0, len(queries), ENCODE_BATCH))
    vectors = [found.vectors for batch in batches for found in encoder.encode_queries(batch)]
    return calibrate([_scores(collection, query) for query in vectors], len(collection), full)


def auto_row(
    collection: Collection,
    encoder: Encoder,
    vectors: Mapping[str, FloatArray],
    judgements: Judgements,
) -> Row:
    """Quality of Auto, the share of cells it computed, and of queries with the full budget's first pages.

    vectors: query id -> (R_q, D). Raises ValueError as `calibrated`.
    """
    calibration = calibrated(collection, encoder)
    rankings, cells, same = {}, [], np.zeros(2)
    for key, query in vectors.items():
        with collection.lock:
            ranker = Ranker(collection, query, "", calibration.full, How(auto=calibration))
            rankings[key] = [hit.page_id for hit in ranker.hits(TOP)]
            full = Ranker(collection, query, "", calibration.full, How(exact=True)).hits(TOP)
        assert ranker.narrowed is not None
        cells.append(ranker.narrowed.cells)
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
        "calibration": calibration.as_json(),
    }


def _scores(collection: Collection, query: FloatArray) -> Scores:
    def scores(budget: Budget, rows: Rows | None) -> FloatArray:
        assert rows is None
        return collection.index.scores(query, budget)

    return scores
