"""How long a search of any number of pages takes on this machine, by arithmetic on what scoring a page takes.

The parts that grow are measured here and multiplied, as docs/scale.md does: a scan of all pages by the stages
of index/cascade.py, then the candidates at the budget. Codes of random vectors take as long as those of real
ones. What does not grow is taken from a search that was timed, if there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.core.budgets import Budget, Budgets
from metaembed_demo.core.types import FloatArray
from metaembed_demo.index.cascade import GLANCE, PREFIX, RECALL, candidates, scanned, stages
from metaembed_demo.index.local import EXACT_UP_TO
from metaembed_demo.index.quantization import KINDS, Codec, codec

FIRST_LOOK = Budget(PREFIX.r_q, GLANCE)  # what a scan may score besides the stops
PAGES, BYTES = 4_096, 48_000_000  # scored at once at most, of one kind
REPEATS = 7
HITS = 10
# By words, 100,000 pages took 6.7 ms longer than 2,000 (benchmarks/results/words_speed.json).
WORDS_MS_A_PAGE = 6.7 / 98_000

Key = tuple[str, Budget]  # kind and budget


@dataclass(frozen=True)
class ScoringTimes:
    """Milliseconds to score a page of an encoder's (r_q, r_c, dim), by storage kind and budget."""

    budgets: Budgets
    dim: int
    ms: Mapping[Key, float]

    def search(
        self, pages: int, stop: Budget, kind: str, k: int = HITS, exact_up_to: int = EXACT_UP_TO
    ) -> float:
        """Milliseconds of scoring in a search for `k` hits, without what does not grow with the pages."""
        full, scan = self.budgets.full, scanned(self.budgets)
        stop = stop.clip(full.r_q, full.r_c)
        wanted = candidates(pages, stop, k, RECALL, scan)
        if pages <= max(exact_up_to, wanted):
            return pages * self.ms[kind, stop]
        prefix = stop.clip(scan.r_q, scan.r_c)
        by, left, total = "int8" if kind == "float16" else kind, pages, 0.0
        for stage in stages(pages, prefix, self.dim, wanted, kind):
            total += left * self.ms[by, stage.budget]
            left = stage.most
        return total + wanted * self.ms[kind, stop]

    def auto(self, pages: int, cells: float, kind: str) -> float:
        """The same where so large a share of all cells is computed, each as long as at the full budget."""
        return cells * pages * self.ms[kind, self.budgets.full]


@lru_cache(maxsize=8)
def scoring_times(budgets: Budgets, dim: int) -> ScoringTimes:
    """Measure them: about two seconds, once for a shape of vectors."""
    r_q, r_c = budgets.full.r_q, budgets.full.r_c
    rng = np.random.default_rng(0)
    query = _unit(rng, r_q, dim)
    few = _unit(rng, 16, r_c, dim)
    found: dict[Key, float] = {}
    for kind in KINDS:
        coding = codec(kind, r_c, dim, few)
        codes = coding.encode(few)
        for stop in (*budgets, scanned(budgets), FIRST_LOOK):
            budget = stop.clip(r_q, r_c)
            if (kind, budget) not in found:
                found[kind, budget] = _ms_a_page(coding, codes, query[: budget.r_q], budget.r_c)
    return ScoringTimes(budgets, dim, found)


def _ms_a_page(coding: Codec, codes: tuple[NDArray[np.generic], ...], q: FloatArray, r_c: int) -> float:
    """By the difference between many pages and a quarter, so that what a call costs does not count."""
    of_few = sum(part.nbytes for part in codes) / len(codes[0])
    many = int(max(64, min(PAGES, BYTES // of_few)))
    tiled = [np.tile(part, (-(-many // len(part)), *[1] * (part.ndim - 1)))[:many] for part in codes]
    quarter = [part[: many // 4] for part in tiled]
    took = [_ms(coding, q, of, r_c) for of in (tiled, quarter)]
    slope = (took[0] - took[1]) / (many - many // 4)
    return slope if slope > 0 else took[0] / many


def _ms(coding: Codec, q: FloatArray, codes: list[NDArray[np.generic]], r_c: int) -> float:
    times = []
    for _ in range(REPEATS):
        started = perf_counter()
        coding.score(q, codes, r_c)
        times.append((perf_counter() - started) * 1000)
    return min(times)  # others on the machine only add; the first compiles


def _unit(rng: np.random.Generator, *shape: int) -> FloatArray:
    vectors: FloatArray = rng.standard_normal(shape, dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors
