"""Every way to search the pages at hand: stop or Auto, storage kind, mode. Quality and latency of each.

`budget_study` compares the stops as the pages are kept; this converts them to each kind as well, on a
copy, and asks the same queries by meaning, by words and by both.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from metaembed_demo.collection.calibration import Auto, Kept
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.convert_storage import pages_for_pq
from metaembed_demo.collection.modes import BOTH, MEANING, WORDS
from metaembed_demo.collection.ranker import How, Ranker
from metaembed_demo.core.budgets import Budget
from metaembed_demo.core.types import FloatArray
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.index.quantization import KINDS

from .budget_study import CHANGED, HITS, Labels, Questions, questions
from .evaluate import ENCODE_BATCH
from .known_items import Asked
from .metrics import K, grade, interval, ndcg, overlap


@dataclass(frozen=True)
class Way:
    """How pages are searched. stop: None where the budget sets itself (Auto), and by words alone."""

    stop: Budget | None
    storage: str
    mode: str = MEANING

    @property
    def name(self) -> str:
        """
        >>> Way(None, "int8").name, Way(Budget(4, 8), "pq", "both").name
        ('Auto', '4x8')
        """
        return str(self.stop) if self.stop else "" if self.mode == WORDS else "Auto"


BY_WORDS = Way(None, "", WORDS)  # which neither the budget nor the storage kind changes


@dataclass(frozen=True)
class WayWorth:
    """What a way was measured to be worth; quality as in `budget_study.Worth`, None where it cannot be told.

    each: quality per query. p50_ms, p95_ms: of one warm search a query, without encoding.
    cells: mean share of cells that Auto computed.
    """

    quality: float | None
    interval: tuple[float, float] | None
    p50_ms: float
    p95_ms: float
    cells: float | None = None
    each: tuple[float, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class WayStep:
    """Progress: `done` of `total` queries, all kinds together; the ways of a kind once it is done."""

    done: int
    total: int
    kind: str
    found: Mapping[Way, WayWorth] = field(default_factory=dict)


def measure_ways(
    collection: Collection,
    encoder: Encoder,
    asked: Sequence[Asked] | Labels,
    stop: threading.Event,
    samples: Kept | None = None,
) -> Iterator[WayStep]:
    """Measure every way, the kind in use first. Yields before each query, and each kind's ways at its end.

    samples: calibrations of Auto for pages without their own. Ends early when `stop` is set, with the kinds
    that were done.

    Raises:
        ValueError: as `budget_study.measure`.
    """
    collection.check_encoder(encoder)
    with collection.lock:
        index, ids = collection.index, collection.index.ids
        asking = questions(collection, asked)
        twin = collection.copy()
        twin.lexical()
    if not asking.queries or not ids:
        raise ValueError(f"There is no {'query' if ids else 'page'} to compare the budgets on.")
    in_use = index.storage
    kinds = [in_use]
    if index.in_process and index.has_full:
        kinds += [kind for kind in KINDS if kind != in_use]
    kinds = [kind for kind in kinds if kind != "pq" or kind == in_use or len(ids) >= pages_for_pq(index.r_c)]
    total, done = len(asking.queries) * len(kinds), 0
    vectors: list[FloatArray] = []
    best: dict[str, list[list[str]]] = {}  # mode -> what the finest budget finds as the pages are kept
    for kind in kinds:
        yield WayStep(done, total, kind)
        if kind != in_use:
            converting = index.storing_as(kind, keep_full=False)
            while not stop.is_set():
                try:
                    next(converting)
                    yield WayStep(done, total, kind)
                except StopIteration as ended:
                    twin.index = ended.value
                    break
        study = _Study(twin, encoder, samples, asking, words=kind == in_use)
        for at, (_, query) in enumerate(asking.queries):
            if stop.is_set():
                return
            if len(vectors) == at:
                batch = [each for _, each in asking.queries[at : at + ENCODE_BATCH]]
                vectors += [embedding.vectors for embedding in encoder.encode_queries(batch)]
            if collection.index is not index or index.ids != ids:
                raise ValueError(CHANGED)
            study.ask(at, vectors[at], query.text, best)
            done += 1
            yield WayStep(done, total, kind)
        yield WayStep(done, total, kind, study.found())


class _Study:
    """One kind: what each way found for every query so far."""

    def __init__(
        self, twin: Collection, encoder: Encoder, samples: Kept | None, asking: Questions, words: bool
    ) -> None:
        self.twin, self.asking, self.kind = twin, asking, twin.index.storage
        self.auto = Auto.of_pages(twin.index, twin.calibrations, samples)
        stops = encoder.budgets
        self.full = stops.full
        self.ways = [Way(stop, self.kind, mode) for mode in (MEANING, BOTH) for stop in (*stops, None)]
        self.ways += [BY_WORDS] if words else []
        self.ms: dict[Way, list[float]] = {way: [] for way in self.ways}
        self.each: dict[Way, list[float]] = {way: [] for way in self.ways}
        self.cells: dict[Way, list[float]] = {way: [] for way in self.ways}

    def ask(self, at: int, vectors: FloatArray, text: str, best: dict[str, list[list[str]]]) -> None:
        """Search in every way, in an order that changes by query."""
        found: dict[Way, list[str]] = {}
        if not at:
            self._search(Way(self.full, self.kind, BOTH), vectors, text)  # compiles and builds what it needs
        for turn in np.random.default_rng(at).permutation(len(self.ways)).tolist():
            found[self.ways[turn]] = self._search(self.ways[turn], vectors, text, note=True)
        for mode in (MEANING, BOTH):
            if len(best.setdefault(mode, [])) == at:
                best[mode].append(found[Way(self.full, self.kind, mode)])
        for way, ranking in found.items():
            quality = self._quality(at, way, ranking, best)
            if quality is not None:
                self.each[way].append(quality)

    def _search(self, way: Way, vectors: FloatArray, text: str, note: bool = False) -> list[str]:
        auto = self.auto if way.stop is None and way.mode != WORDS else None
        how = How(mode=way.mode, auto=auto).of_text(text)
        with self.twin.lock:
            started = perf_counter()
            ranker = Ranker(self.twin, vectors, text, way.stop or self.full, how)
            ranking = [hit.page_id for hit in ranker.hits(HITS)]
            took = (perf_counter() - started) * 1000
            told = ranker.automatic() if note else None
        if note:
            self.ms[way].append(took)
            self.cells[way] += [told.cells] if told else []
        return ranking

    def _quality(
        self, at: int, way: Way, ranking: list[str], best: dict[str, list[list[str]]]
    ) -> float | None:
        answers = self.asking.judgements
        if answers is None:
            return overlap(best[way.mode][at], ranking) if way.mode in best else None
        judged = answers.judged[self.asking.queries[at][0]]
        gains, _ = grade(answers.ranking(ranking), judged)
        return ndcg(gains, list(judged.values()), K)

    def found(self) -> dict[Way, WayWorth]:
        return {way: self._worth(way) for way in self.ways}

    def _worth(self, way: Way) -> WayWorth:
        p50, p95 = np.percentile(self.ms[way], [50, 95]).tolist()
        each, cells = np.array(self.each[way]), self.cells[way]
        share = float(np.mean(cells)) if cells else None
        if not len(each):
            return WayWorth(None, None, p50, p95, share)
        low, high = interval(each)
        return WayWorth(float(each.mean()), (low, high), p50, p95, share, tuple(each.tolist()))
