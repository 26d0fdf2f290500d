"""Quality, speed and size for every budget: nDCG@k, recall@k and MRR over judged queries."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.collection.collection import Collection
from metaembed_demo.core.budgets import STOPS
from metaembed_demo.core.types import FloatArray
from metaembed_demo.encoders.base import Encoder

from .beir import Beir, Judgements, Unit

Row = dict[str, Any]
ENCODE_BATCH = 16  # queries
RESAMPLES = 2000  # of the bootstrap


def ndcg(gains: Sequence[float], judged: Sequence[float], k: int) -> float:
    """Normalised discounted cumulative gain with linear gains, as trec_eval and BEIR count it.

    `gains` are the grades found, best rank first; `judged` every grade above 0 that there is to find.

    >>> ndcg([0, 1], [1], k=5) == 1 / math.log2(3)
    True
    >>> ndcg([2, 1], [1, 2], k=5)
    1.0
    """
    ideal = _discounted(sorted(judged, reverse=True)[:k])
    return _discounted(gains[:k]) / ideal if ideal else 0.0


def recall(met: Sequence[int], judged: int, k: int) -> float:
    """The share of `judged` that the first `k` ranks meet; `met` counts them rank by rank.

    >>> recall([0, 1, 0, 1], judged=4, k=3)
    0.25
    """
    return sum(met[:k]) / judged if judged else 0.0


def reciprocal_rank(met: Sequence[int]) -> float:
    """1 / rank of the first one met, 0 if none is.

    >>> reciprocal_rank([0, 0, 1])
    0.3333333333333333
    """
    return next((1 / rank for rank, found in enumerate(met, 1) if found), 0.0)


def grade(ranking: Sequence[set[Unit]], judged: Mapping[Unit, int]) -> tuple[list[int], list[int]]:
    """For each rank, the best grade newly met there, and how many judged units are newly met.

    >>> a, b, c = ("page", "a"), ("page", "b"), ("page", "c")
    >>> grade([{c}, {a, b}, {a}], {a: 2, b: 1})
    ([0, 2, 0], [0, 2, 0])
    """
    gains, counts = [], []
    left = dict(judged)
    for units in ranking:
        found = [left.pop(unit) for unit in units & left.keys()]
        gains.append(max(found, default=0))
        counts.append(len(found))
    return gains, counts


def quality(rankings: Mapping[str, Sequence[str]], judgements: Judgements) -> Row:
    """Mean nDCG@5 and @10, recall@1, @5, @10, hit@5 and MRR of `rankings`, query id -> page ids, best first.

    A judged file or page that is not in the corpus counts as not found. `ci95` holds the bootstrap interval
    of each mean, `each` the nDCG@5 of every query, so that two rows can be compared query by query.
    """
    rows = [_of_query(judgements.ranking(rankings[key]), judged) for key, judged in judgements.judged.items()]
    of_each = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return {
        **{name: round(float(values.mean()), 4) for name, values in of_each.items()},
        "ci95": {name: interval(values) for name, values in of_each.items()},
        "each": dict(zip(judgements.judged, of_each["ndcg@5"].round(4).tolist(), strict=True)),
    }


def interval(values: FloatArray | NDArray[np.float64]) -> list[float]:
    """The 95% interval of the mean of `values` (n,), from the percentiles of RESAMPLES resampled means.

    The seed is fixed, so every row of a report draws the same queries.

    >>> interval(np.ones(8))
    [1.0, 1.0]
    """
    drawn = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    return [round(float(edge), 4) for edge in np.percentile(values[drawn].mean(1), [2.5, 97.5])]


def gain(row: Row, other: Row) -> Row:
    """How much higher the mean nDCG@5 of `row` is than that of `other`, with its paired 95% interval."""
    values = np.array([row["each"][key] - other["each"][key] for key in row["each"]])
    return {"points": round(100 * float(values.mean()), 2), "ci95": [100 * edge for edge in interval(values)]}


def evaluate(collection: Collection, encoder: Encoder, beir: Beir, judgements: Judgements) -> Row:
    """Quality, latency and bytes at the five budgets, each query encoded once.

    Pages are ranked exactly, so that the figures are the budget's own; the latency is that of one search
    for ten hits through the index, coarse stage included where there is one.
    """
    vectors, encode_ms = encode(encoder, beir, list(judgements.judged))
    index, ids = collection.index, collection.index.ids
    budgets = []
    for budget in STOPS:
        budget = budget.clip(encoder.r_q, encoder.r_c)
        rankings, times = {}, []
        for key, vector in vectors.items():
            started = perf_counter()
            index.search(vector, budget, 10)
            times.append((perf_counter() - started) * 1000)
            rankings[key] = [hit.page_id for hit in index.rerank(vector, budget, ids, len(ids))]
        budgets.append(
            {
                "budget": str(budget),
                "r_q": budget.r_q,
                "r_c": budget.r_c,
                **quality(rankings, judgements),
                "bytes_per_page": index.bytes_per_page(budget),
                "latency_ms_p50": round(statistics.median(times), 3),
                "latency_ms_p95": round(float(np.percentile(times, 95)), 3),
            }
        )
    return {
        "encoder": encoder.name,
        "fingerprint": encoder.fingerprint,
        "pages": len(collection),
        "queries": len(vectors),
        "encode_ms_p50": round(encode_ms, 2),
        "budgets": budgets,
    }


def encode(encoder: Encoder, beir: Beir, keys: Sequence[str]) -> tuple[dict[str, FloatArray], float]:
    """Query id -> (R_q, D), and the median milliseconds a query of a few encoded one by one."""
    found: dict[str, FloatArray] = {}
    for start in range(0, len(keys), ENCODE_BATCH):
        batch = keys[start : start + ENCODE_BATCH]
        embeddings = encoder.encode_queries([beir.queries[key] for key in batch])
        found |= {key: embedding.vectors for key, embedding in zip(batch, embeddings, strict=True)}
    times = []
    for key in keys[:ENCODE_BATCH]:
        started = perf_counter()
        encoder.encode_queries([beir.queries[key]])
        times.append((perf_counter() - started) * 1000)
    return found, statistics.median(times)


def rank(scores: FloatArray, ids: Sequence[str]) -> list[str]:
    """`ids` by falling score (n,); equal scores keep their order.

    >>> rank(np.array([1, 2, 2], dtype=np.float32), ["a", "b", "c"])
    ['b', 'c', 'a']
    """
    return [ids[at] for at in np.argsort(-scores, kind="stable")]


def _of_query(ranking: Sequence[set[Unit]], judged: Mapping[Unit, int]) -> dict[str, float]:
    gains, met = grade(ranking, judged)
    row = {f"ndcg@{k}": ndcg(gains, list(judged.values()), k) for k in (5, 10)}
    row |= {f"recall@{k}": recall(met, len(judged), k) for k in (1, 5, 10)}
    return {**row, "hit@5": float(any(met[:5])), "mrr": reciprocal_rank(met)}


def _discounted(gains: Sequence[float]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))
