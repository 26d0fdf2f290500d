"""Compares the five budgets on the user's collection, with or without labels."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.collection.collection import Collection
from metaembed_demo.core.budgets import STOPS, Budget
from metaembed_demo.core.text import short_name
from metaembed_demo.core.types import FloatArray, Query, Upload
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.index.base import MultiVectorIndex

from . import label_worker
from .beir import Judgements
from .evaluate import ENCODE_BATCH
from .known_items import Asked
from .metrics import RESAMPLES, K, grade, interval, kendall_tau, ndcg, overlap

TOP = 20  # pages of the finest budget used for Kendall's tau
HITS, REPEATS = 10, 5  # hits, and repeats per query and budget, of the timed searches
LEAST_QUERIES = 10  # fewer are too few for a bootstrap interval
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

    @property
    def told(self) -> str:
        """One sentence about missing ids; empty if there are none."""
        judged = len({corpus_id for grades in self.qrels.values() for corpus_id in grades})
        missing = f"{len(self.missing)} of {judged} judged ids are not in the collection, such as "
        return f"{missing}{short_name(self.missing[0])!r}; they count as not found." if self.missing else ""


@dataclass(frozen=True)
class StopWorth:
    """Results at one budget; `overlap`, `tau` and `quality` are means over queries.

    overlap, tau: agreement with the finest budget, of the first 5 and the first 20 pages.
    interval: 95% bootstrap interval of `quality`; each: `quality` per query.
    p50_ms, p95_ms: search latency on this machine.
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


@dataclass(frozen=True)
class Advice:
    """The cheapest sufficient budget.

    share: its quality relative to the finest budget; interval: 95% interval, paired by query.
    memory, speed: factors by which the finest budget's bytes and median latency are larger.
    safe: the lower end of the interval suffices too, with at least 10 queries and more than 5 pages.
    """

    stop: StopWorth
    share: float
    interval: tuple[float, float]
    memory: float
    speed: float
    safe: bool
    sentence: str


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
    return Labels({key: Query(text) for key, text in texts.items()}, qrels, tuple(missing))


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
        kind, queries, judgements = _questions(collection, asked)
    total = len(queries)
    if not total or not ids:
        raise ValueError(f"There is no {'query' if ids else 'page'} to compare the budgets on.")
    stops = [budget.clip(encoder.r_q, encoder.r_c) for budget in STOPS]
    found, ms = np.empty((total, len(stops), 3)), np.empty((total, REPEATS, len(stops)))
    for at, (key, _) in enumerate(queries):
        yield Step(at, total)
        if stop.is_set():
            return
        if at % ENCODE_BATCH == 0:
            batch = encoder.encode_queries([query for _, query in queries[at : at + ENCODE_BATCH]])
        vectors = batch[at % ENCODE_BATCH].vectors
        try:
            rankings = [[hit.page_id for hit in index.rerank(vectors, s, ids, len(ids))] for s in stops]
            ms[at] = _timed(index, vectors, stops, seed=at)
        except KeyError:  # a page was removed between two calls
            raise ValueError(CHANGED) from None
        if collection.index is not index or index.ids != ids:
            raise ValueError(CHANGED)
        found[at] = [_compared(rankings[-1], ranking, key, judgements) for ranking in rankings]
    if not stop.is_set():
        worths = [_stop_worth(index, s, found[:, at], ms[:, :, at]) for at, s in enumerate(stops)]
        yield Step(total, total, Worth(kind, len(ids), total, tuple(worths)))


def cheapest(worth: Worth, share: float = 0.95) -> Advice:
    """The coarsest budget with at least `share` of the finest budget's quality.

    Raises:
        ValueError: when `share` is not in (0, 1], or the finest budget's quality is 0.
    """
    if not 0 < share <= 1:
        raise ValueError(f"The share of the quality to keep must be above 0 and at most 1, not {share}.")
    finest = worth.stops[-1]
    if finest.quality <= 0:
        raise ValueError(f"{finest.budget} finds none of the answers; there is nothing to keep a share of.")
    enough = share - 1e-9  # tolerance for rounding
    stop = next(stop for stop in worth.stops if stop.quality / finest.quality >= enough)
    reached, memory = stop.quality / finest.quality, finest.bytes_per_page / stop.bytes_per_page
    low, high = _paired(stop.each, finest.each)
    safe = stop is finest or (low >= enough and worth.queries >= LEAST_QUERIES and worth.pages > K)
    percent, what = f"{100 * share:g}%", f"first {K} pages" if worth.kind == "session" else f"nDCG@{K}"
    asked = f"{worth.queries} {ADJECTIVES[worth.kind]} {'query' if worth.queries == 1 else 'queries'}"
    sentence = f"{finest.budget}'s {what} on {asked}"
    if stop is finest:
        sentence = f"No smaller budget keeps {percent} of {sentence}."
    else:
        # Round the lower end down, never up to the required share.
        span = f"{100 * reached:.0f}% ({math.floor(100 * low + 1e-6)}% to {100 * high:.0f}%)"
        sentence = f"{stop.budget} keeps {span} of {sentence}, with 1/{memory:g} of the memory."
    if not safe:
        sentence += f" That is not sure: on more queries and pages it may be less than {percent}."
    return Advice(stop, reached, (low, high), memory, finest.p50_ms / max(stop.p50_ms, 1e-6), safe, sentence)


def _paired(each: Sequence[float], finest: Sequence[float]) -> tuple[float, float]:
    """95% bootstrap interval of the ratio of means, over the same resampled queries."""
    drawn = np.random.default_rng(0).integers(len(finest), size=(RESAMPLES, len(finest)))
    means, whole = np.array(each)[drawn].mean(axis=1), np.array(finest)[drawn].mean(axis=1)
    low, high = np.percentile(means[whole > 0] / whole[whole > 0], [2.5, 97.5]).tolist()
    return low, high


def _questions(
    collection: Collection, asked: Sequence[Asked] | Labels
) -> tuple[Kind, list[tuple[str, Query]], Judgements | None]:
    """Kind, (query id, query) pairs, and judgements if answers are known."""
    if isinstance(asked, Labels):
        judged = [(key, asked.queries[key]) for key in asked.qrels]
        return "labels", judged, Judgements(asked.qrels, collection)
    queries = [(str(at), one.query) for at, one in enumerate(asked)]
    answers = [one.page_id for one in asked if one.page_id is not None]
    if len(answers) < len(queries):
        return "session", queries, None
    if not all(answer in collection.pages for answer in answers):
        raise ValueError(CHANGED)
    pages = [collection.pages[answer] for answer in answers]
    qrels = {str(at): {f"{page.source}#{page.number}": 1} for at, page in enumerate(pages)}
    return "known items", queries, Judgements(qrels, collection)


def _compared(best: list[str], ranking: list[str], key: str, answers: Judgements | None) -> list[float]:
    """Overlap, tau and quality of one query's ranking at one stop."""
    same, tau = overlap(best, ranking), kendall_tau(best[:TOP], ranking)
    if answers is None:
        return [same, tau, same]
    judged = answers.judged[key]
    gains, _ = grade(answers.ranking(ranking), judged)
    return [same, tau, ndcg(gains, list(judged.values()), K)]


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
    """`found` (queries, 3): overlap, tau, quality; `ms` (queries, REPEATS)."""
    same, tau, quality = found.mean(axis=0).tolist()
    low, high = interval(found[:, 2])
    p50, p95 = np.percentile(ms, [50, 95]).tolist()
    size = index.bytes_per_page(budget)
    return StopWorth(budget, same, tau, quality, (low, high), size, p50, p95, tuple(found[:, 2].tolist()))
