"""Quality (nDCG@k, recall@k, MRR), latency and size at every budget, over judged queries."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from time import perf_counter

import numpy as np

from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.modes import MEANING
from metaembed_demo.collection.ranker import How, Ranker
from metaembed_demo.core.budgets import Budget
from metaembed_demo.core.types import FloatArray
from metaembed_demo.encoders.base import Encoder

from .beir import Beir, Judgements, Unit
from .metrics import Row, grade, interval, ndcg, recall, reciprocal_rank

ENCODE_BATCH = 16  # queries
HITS = 10  # of a timed search


def quality(rankings: Mapping[str, Sequence[str]], judgements: Judgements) -> Row:
    """Mean nDCG@5 and @10, recall@1, @5, @10, hit@5 and MRR of `rankings`, query id -> page ids, best first.

    Judged files or pages missing from the corpus count as not found. `ci95`: bootstrap interval of each mean;
    `each`: nDCG@5 per query, for paired comparison.
    """
    return graded({key: judgements.ranking(rankings[key]) for key in judgements.judged}, judgements)


def graded(rankings: Mapping[str, Sequence[set[Unit]]], judgements: Judgements) -> Row:
    """`quality` of rankings of units, query id -> the units at each rank."""
    rows = [_of_query(rankings[key], judged) for key, judged in judgements.judged.items()]
    of_each = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return {
        **{name: round(float(values.mean()), 4) for name, values in of_each.items()},
        "ci95": {name: interval(values) for name, values in of_each.items()},
        "each": dict(zip(judgements.judged, of_each["ndcg@5"].round(4).tolist(), strict=True)),
    }


def evaluate(
    collection: Collection, encoder: Encoder, beir: Beir, judgements: Judgements, how: How | None = None
) -> Row:
    """Quality, latency and bytes per page at the encoder's budgets, each searched as `how` says (by meaning).

    `rankings` holds the page ids of each budget and query, best first.
    """
    vectors, encode_ms = encode(encoder, beir, list(judgements.judged))
    how = how or How()
    budgets, rankings = at_budgets(collection, encoder.budgets, vectors, beir, judgements, how)
    return {
        "mode": how.mode,
        "rankings": rankings,
        "encoder": encoder.name,
        "fingerprint": encoder.fingerprint,
        "pages": len(collection),
        "queries": len(vectors),
        "encode_ms_p50": round(encode_ms, 2),
        "budgets": budgets,
    }


def at_budgets(
    collection: Collection,
    budgets: Sequence[Budget],
    vectors: Mapping[str, FloatArray],
    beir: Beir,
    judgements: Judgements,
    how: How,
) -> tuple[list[Row], dict[str, dict[str, list[str]]]]:
    """A row of each budget, and the rankings: budget -> query id -> page ids, best first.

    Quality by meaning is measured on exact rankings of all pages, otherwise on the best ten, so that MRR ends
    there. Latency is one search for ten hits, including the coarse stage, without encoding.

    Args:
        budgets: to search at. vectors: query id -> (R_q, D).
    """
    index, ids = collection.index, collection.index.ids
    if how.mode != MEANING:
        collection.lexical()  # made once, and not with the first search
    rows, ranked = [], {}
    for budget in budgets:
        rankings, times = {}, []
        for key, vector in vectors.items():
            started = perf_counter()
            text = beir.queries[key].text
            of_query = how.of_text(text)
            with collection.lock:
                hits = Ranker(collection, vector, text, budget, of_query).hits(HITS)
            times.append((perf_counter() - started) * 1000)
            if of_query.mode == MEANING:
                hits = index.rerank(vector, budget, ids, len(ids))
            rankings[key] = collection.with_moments([hit.page_id for hit in hits])
        ranked[str(budget)] = rankings
        rows.append(
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
    return rows, ranked


def encode(encoder: Encoder, beir: Beir, keys: Sequence[str]) -> tuple[dict[str, FloatArray], float]:
    """Query id -> (R_q, D) vectors, and the median milliseconds to encode a single query."""
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


def _of_query(ranking: Sequence[set[Unit]], judged: Mapping[Unit, int]) -> dict[str, float]:
    gains, met = grade(ranking, judged)
    row = {f"ndcg@{k}": ndcg(gains, list(judged.values()), k) for k in (5, 10)}
    row |= {f"recall@{k}": recall(met, len(judged), k) for k in (1, 5, 10)}
    return {**row, "hit@5": float(any(met[:5])), "mrr": reciprocal_rank(met)}
