"""Compares the five budgets on the user's collection, with or without labels."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.collection.collection import Collection
from metaembed_demo.core.budgets import Budget
from metaembed_demo.core.text import plural, short_name
from metaembed_demo.core.types import FloatArray, Query, Upload
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.index.base import MultiVectorIndex

from . import label_worker
from .beir import Judgements
from .evaluate import ENCODE_BATCH
from .known_items import Asked
from .metrics import K, grade, interval, kendall_tau, ndcg, overlap

TOP = 20  # pages of the finest budget used for Kendall's tau
HITS, REPEATS = 10, 5  # hits, and repeats per query and budget, of the timed searches
NAMED = 5  # judged ids that are not here
CHANGED = "The pages changed while the budgets were compared. Compare them again."

Table = NDArray[np.float64]
Kind = Literal["labels", "known items", "session"]
ADJECTIVES: dict[Kind, str] = {"labels": "labelled", "known items": "known-item", "session": "session"}


@dataclass(frozen=True)
class Labels:
    """Judged queries: query id -> Query, and query id -> corpus id -> grade, as in `beir.Beir`.

    missing: judged corpus ids that are not in the collection; they count as not found.
    """

    queries: dict[str, Query]
    qrels: dict[str, dict[str, int]]
    missing: tuple[str, ...] = ()

    names: tuple[str, str] = ("queries.jsonl", "qrels.tsv")

    @property
    def told(self) -> str:
        """What was read: the files, the queries and judgements, and the ids that are not here."""
        ids = {corpus_id for grades in self.qrels.values() for corpus_id in grades}
        judgements = sum(map(len, self.qrels.values()))
        of = f"{plural(len(self.queries), 'query')} and {plural(judgements, 'judgement')}"
        read = f"{' and '.join(map(short_name, self.names))}: {of} above 0."
        if not self.missing:
            return read
        named = ", ".join(repr(short_name(missing)) for missing in self.missing[:NAMED])
        more = f" and {len(self.missing) - NAMED:,} more" if len(self.missing) > NAMED else ""
        count = f"{len(self.missing):,} of {plural(len(ids), 'judged id')}"
        return f"{read} {count} are not in the collection and count as not found: {named}{more}."


@dataclass(frozen=True)
class StopWorth:
    """Results at one budget; `overlap`, `tau` and `quality` are means over queries.

    overlap, tau: agreement with the finest budget, of the first 5 and the first 20 pages.
    interval: 95% bootstrap interval of `quality`; each: `quality` per query.
    p50_ms, p95_ms: search latency on this machine.
    ranks: of the first page that answers, per query; 0 without one, empty where answers are unknown.
    """

    budget: Budget
    overlap: float
    tau: float
    quality: float
    interval: tuple[float, float]
    bytes_per_page: int
    p50_ms: float
    p95_ms: float
    each: tuple[float, ...] = field(repr=False)
    ranks: tuple[int, ...] = field(default=(), repr=False)

    def as_json(self) -> dict[str, Any]:
        """Rounded plain types without `each`; `low` and `high` are the interval of `quality`."""
        low, high = self.interval
        shares = {"overlap": self.overlap, "tau": self.tau, "quality": self.quality, "low": low, "high": high}
        costs = {"bytes_per_page": self.bytes_per_page, "p50_ms": self.p50_ms, "p95_ms": self.p95_ms}
        rounded = {name: round(value, 4) for name, value in {**shares, **costs}.items()}
        return {"budget": str(self.budget), **rounded}


@dataclass(frozen=True)
class Worth:
    """Results at the five budgets, coarse to fine, over `pages` pages; `kind` defines `quality`.

    "labels": nDCG@5 with the user's judgements. "known items": nDCG@5 with a query's source page as the only
    relevant one. "session": without answers, overlap@5 with the finest budget.
    """

    kind: Kind
    pages: int
    queries: int
    stops: tuple[StopWorth, ...]
    texts: tuple[str, ...] = field(default=(), repr=False)  # of the queries

    def per_query(self) -> list[list[Any]]:
        """CSV rows: a header, then one row per query with its quality and the rank of its answer per stop."""
        heads = [f"{what} {stop.budget}" for what in ("quality", "rank") for stop in self.stops]
        rows = []
        for at, text in enumerate(self.texts):
            each = [round(stop.each[at], 4) for stop in self.stops]
            ranks = [stop.ranks[at] or None if stop.ranks else None for stop in self.stops]
            rows.append([text, *each, *ranks])
        return [["query", *heads], *rows]

    def as_json(self) -> dict[str, Any]:
        """Plain types, without values per query."""
        head = {"schema": 1, "kind": self.kind, "pages": self.pages, "queries": self.queries}
        return {**head, "budgets": [stop.as_json() for stop in self.stops]}

    def rows(self) -> list[list[Any]]:
        """CSV rows: a header, then one row per budget."""
        budgets = [stop.as_json() for stop in self.stops]
        return [list(budgets[0]), *(list(budget.values()) for budget in budgets)]


@dataclass(frozen=True)
class Step:
    """Progress of `measure`: `done` of `total` queries. The last step has the result."""

    done: int
    total: int
    worth: Worth | None = None


def read_labels(queries_file: Path, qrels_file: Path, collection: Collection) -> Labels:
    """Labels from a queries.jsonl and a tab-separated qrels file; only queries with a grade above 0.

    They are untrusted, so a process of its own reads them (evaluation/label_worker.py).

    Raises:
        BadLabels: when a file is missing, malformed or too large, a query has an image or is too long, or
            the process ends; the message names the file, and the line or query.
    """
    texts, qrels = label_worker.read_in_process(
        Upload(queries_file, queries_file.name), Upload(qrels_file, qrels_file.name)
    )
    with collection.lock:
        missing = dict.fromkeys(Judgements(qrels, collection).missing)  # without duplicates
    names = queries_file.name, qrels_file.name
    return Labels({key: Query(text) for key, text in texts.items()}, qrels, tuple(missing), names)


def measure(
    collection: Collection, encoder: Encoder, asked: Sequence[Asked] | Labels, stop: threading.Event
) -> Iterator[Step]:
    """Run every query at all five budgets. Yields progress before each; the last step has the `Worth`.

    The kind is "session" if any of `asked` has no page. Rankings are exact. Latency: a search for ten hits in
    the live index, without encoding, 5 warm repeats per query in random order of budgets. Ends without a
    result when `stop` is set. No lock is held between steps.

    Raises:
        ValueError: when there are no queries or pages, the collection belongs to another encoder, or its
            pages change.
    """
    collection.check_encoder(encoder)
    with collection.lock:
        index, ids = collection.index, collection.index.ids
        asking = questions(collection, asked)
    queries, judgements, total = asking.queries, asking.judgements, len(asking.queries)
    if not total or not ids:
        raise ValueError(f"There is no {'query' if ids else 'page'} to compare the budgets on.")
    stops = encoder.budgets
    found, ms = np.empty((total, len(stops), 4)), np.empty((total, REPEATS, len(stops)))
    for at, (key, _) in enumerate(queries):
        yield Step(at, total)
        if stop.is_set():
            return
        if at % ENCODE_BATCH == 0:
            batch = encoder.encode_queries([query for _, query in queries[at : at + ENCODE_BATCH]])
        vectors = batch[at % ENCODE_BATCH].vectors
        try:
            hits = [index.rerank(vectors, s, ids, len(ids)) for s in stops]
            rankings = [collection.with_moments([hit.page_id for hit in each]) for each in hits]
            ms[at] = _timed(index, vectors, stops, seed=at)
        except KeyError:  # a page was removed between two calls
            raise ValueError(CHANGED) from None
        if collection.index is not index or index.ids != ids:
            raise ValueError(CHANGED)
        found[at] = [_compared(rankings[-1], ranking, key, judgements) for ranking in rankings]
    if not stop.is_set():
        worths = [_stop_worth(index, s, found[:, at], ms[:, :, at]) for at, s in enumerate(stops)]
        texts = tuple(query.text for _, query in queries)
        yield Step(total, total, Worth(asking.kind, len(ids), total, tuple(worths), texts))


@dataclass(frozen=True)
class Questions:
    """(query id, query) pairs, and judgements if answers are known."""

    kind: Kind
    queries: list[tuple[str, Query]]
    judgements: Judgements | None


def questions(collection: Collection, asked: Sequence[Asked] | Labels) -> Questions:
    """What is asked, resolved against a collection. The caller holds its lock."""
    if isinstance(asked, Labels):
        judged = [(key, asked.queries[key]) for key in asked.qrels]
        return Questions("labels", judged, Judgements(asked.qrels, collection))
    queries = [(str(at), one.query) for at, one in enumerate(asked)]
    answers = [one.page_id for one in asked if one.page_id is not None]
    if len(answers) < len(queries):
        return Questions("session", queries, None)
    if not all(answer in collection.pages for answer in answers):
        raise ValueError(CHANGED)
    pages = [collection.pages[answer] for answer in answers]
    qrels = {str(at): {f"{page.source}#{page.number}": 1} for at, page in enumerate(pages)}
    return Questions("known items", queries, Judgements(qrels, collection))


def _compared(best: list[str], ranking: list[str], key: str, answers: Judgements | None) -> list[float]:
    """Overlap, tau, quality and the answer's rank of one query's ranking at one stop."""
    same, tau = overlap(best, ranking), kendall_tau(best[:TOP], ranking)
    if answers is None:
        return [same, tau, same, -1]
    judged = answers.judged[key]
    gains, _ = grade(answers.ranking(ranking), judged)
    rank = next((at for at, gain in enumerate(gains, 1) if gain), 0)
    return [same, tau, ndcg(gains, list(judged.values()), K), rank]


def _timed(index: MultiVectorIndex, vectors: FloatArray, stops: Sequence[Budget], seed: int) -> Table:
    """Milliseconds (REPEATS, stops) of one query's searches."""
    rng, ms = np.random.default_rng(seed), np.empty((REPEATS, len(stops)))
    index.search(vectors, stops[-1], HITS)  # warm-up; builds the coarse stage
    for turn in range(REPEATS):
        for at in rng.permutation(len(stops)):
            started = perf_counter()
            index.search(vectors, stops[at], HITS)
            ms[turn, at] = (perf_counter() - started) * 1000
    return ms


def _stop_worth(index: MultiVectorIndex, budget: Budget, found: Table, ms: Table) -> StopWorth:
    """`found` (queries, 4): overlap, tau, quality, rank; `ms` (queries, REPEATS)."""
    same, tau, quality, _ = found.mean(axis=0).tolist()
    low, high = interval(found[:, 2])
    p50, p95 = np.percentile(ms, [50, 95]).tolist()
    size = index.bytes_per_page(budget)
    each = tuple(found[:, 2].tolist())
    ranks = tuple(int(rank) for rank in found[:, 3].tolist() if rank >= 0)
    return StopWorth(budget, same, tau, quality, (low, high), size, p50, p95, each, ranks)
