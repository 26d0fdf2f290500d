"""Ranker: the best pages of a query by meaning, words or both, refined, or with the cells Auto needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from time import perf_counter
from typing import Any

import numpy as np

from metaembed_demo.core.budgets import Budget
from metaembed_demo.core.text import normalised
from metaembed_demo.core.types import FloatArray, Hit, WordScore
from metaembed_demo.index.auto import Calibration, needed, run
from metaembed_demo.index.base import best, stage_scorer
from metaembed_demo.index.cascade import SEEN, Narrowed, Rows, Scores
from metaembed_demo.index.query_refinement import MOST_STEPS, Refined, Tuning, refine
from metaembed_demo.index.words.asking import Asked
from metaembed_demo.index.words.word_index import Lexical

from .calibration import Auto
from .collection import Collection
from .filters import EVERY, PageFilter
from .modes import BOTH, MEANING, POOL, WORDS, Ranked, by_both, by_words, checked, ordered, weight_of
from .second_encoder import AskedOfSecond, SecondEncoder

TUNING = Tuning(rate=3e-3, temperature=0.05, complement_temperature=1.0, every=5)  # by a second encoder


def by_words_tuning(weight: float) -> Tuning:
    """By words: the less they weigh, the flatter their distribution (fitted on the dev sets of both Minis).

    >>> by_words_tuning(0.4).complement_temperature, by_words_tuning(0.2).complement_temperature
    (2.0, 4.0)
    """
    return replace(TUNING, temperature=0.08, complement_temperature=0.8 / weight)


@dataclass(frozen=True)
class How:
    """How pages are ranked, beside the budget.

    exact: score every page, however many there are.
    only: limits the search to some pages, of which alone any are scanned.
    mode: "meaning", "words" or "both" (collection/modes.py); a query without text is always by meaning.
    steps: of Guided Query Refinement (index/query_refinement.py), 0 to 50; in mode "both" alone.
    complement: what refines beside meaning: a second encoder, or the words (None).
    auto: the budget sets itself: pages are narrowed by its calibration (index/auto.py), and what is left is
        scored at its full budget; in mode "words" everything that is found.

    Raises:
        ValueError: for an unknown mode, too many steps, or steps in another mode.
    """

    exact: bool = False
    only: PageFilter = EVERY
    mode: str = MEANING
    steps: int = 0
    auto: Auto | None = None
    complement: SecondEncoder | None = None

    def __post_init__(self) -> None:
        checked(self.mode)
        if not 0 <= self.steps <= MOST_STEPS:
            raise ValueError(f"A query is refined in 0 to {MOST_STEPS} steps, not {self.steps}.")
        if self.steps and self.mode != BOTH:
            raise ValueError(f"A query is refined in mode {BOTH}, not {self.mode}.")

    def of_text(self, text: str) -> How:
        """The same for a query with this text: without any, by meaning."""
        return self if normalised(text).strip() else replace(self, mode=MEANING, steps=0, complement=None)


@dataclass(frozen=True)
class Refinement:
    """What Guided Query Refinement did: the pool's page ids, how their scores moved, and the complement."""

    page_ids: tuple[str, ...]
    refined: Refined
    complement: str = WORDS


@dataclass(frozen=True)
class Automatic:
    """What Auto did in a search.

    needed: the smallest stop of the dial from which on the first page by meaning is that of the full budget,
        compared among the `among` best pages; None where words alone rank.
    cells: share of the cells of a search at the full budget that were computed, not counting `needed`.
    full_pages: pages scored at the full budget. kept: pages left after each stage.
    """

    auto: Auto
    needed: Budget | None
    among: int
    cells: float
    full_pages: int
    kept: tuple[int, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "needed": str(self.needed) if self.needed else None,
            "among": self.among,
            "cells": round(self.cells, 5),
            "pages_in_full": self.full_pages,
            "kept": list(self.kept),
            "promise": self.auto.promise(),
            **self.auto.as_json(),
        }


class Ranker:
    """One search. `hits` is called once; the other attributes tell of it afterwards."""

    def __init__(
        self,
        collection: Collection,
        vectors: FloatArray,
        text: str,
        budget: Budget,
        how: How,
        second: AskedOfSecond | None = None,
    ) -> None:
        """vectors: (R_q, D). second: the query for the complement. The caller holds the collection's lock.

        Raises NoPageLeft for `how.only`.
        """
        self.second = second
        self.unread: tuple[str, ...] = ()  # pages that the complement is to read before it can refine
        self.collection, self.index = collection, collection.index
        self.vectors, self.text, self.budget, self.how = vectors, text, budget, how
        self.timings = {"coarse": 0.0, "rerank": 0.0}  # milliseconds
        self.candidates = self.searched = 0
        self.words: dict[str, WordScore] = {}
        self.asked: Asked | None = None
        self.refinement: Refinement | None = None
        self._narrowed: Narrowed | None = None
        self._beside = 0  # pages that words found, scored beside those that meaning did
        self._allowed = collection.select(how.only)

    def hits(self, k: int) -> list[Hit]:
        """The best `k` pages. Their scores are MaxSim at the budget, whatever ranked them.

        Of a moment of a video, which has a page for each modality, the better one counts.
        """
        if not self.collection.has_moments:
            return self._found(k)
        found = self._found(2 * k)  # which hold the best k moments
        ids = self.collection.one_a_moment(hit.page_id for hit in found)[:k]
        self.words = {page_id: self.words[page_id] for page_id in ids if page_id in self.words}
        return ordered(found, ids)

    def _found(self, k: int) -> list[Hit]:
        if self.how.mode == MEANING:
            return list(self._by_meaning(k))
        most = k if self.how.mode == WORDS else max(k, POOL)
        with self._timed("words"):
            lexical = self.collection.lexical()
            words = by_words(lexical, self.text, most, self._allowed)
            self.asked = words.asked
        if self.how.mode == WORDS:
            self.candidates, self.searched = len(words.ids), self._pages()
            found = words
            hits = self._scored(words.ids)
        else:
            meaning = self._by_meaning(most)
            known = {hit.page_id for hit in meaning}
            others = [page_id for page_id in words.ids if page_id not in known]
            hits, self._beside = [*meaning, *self._scored(others)], len(others)
            found = self._by_both(hits, words, lexical)
        ids = found.ids[:k]
        self.words = {page_id: found.words[page_id] for page_id in ids}
        return ordered(hits, ids)

    def _by_both(self, hits: Sequence[Hit], words: Ranked, lexical: Lexical) -> Ranked:
        weight = weight_of(self.budget.r_c, self.index.r_c)
        with self._timed("words"):
            scores = {hit.page_id: hit.score for hit in hits}
            both = by_both(scores, words, lexical, weight)
        if not self.how.steps or not hits:
            return both
        with self._timed("refine"):
            ids = both.ids[: 2 * POOL] if self.how.complement else both.ids
            complement = self._complement(ids, both)
            if complement is None:
                return both
            pages = self.index.vectors(ids)[:, : self.budget.r_c]
            tuning = TUNING if self.how.complement else by_words_tuning(weight)
            tuning = replace(tuning, steps=self.how.steps)
            found = refine(self.vectors[: self.budget.r_q], pages, complement, tuning)
            name = self.how.complement.name if self.how.complement else WORDS
            self.refinement = Refinement(ids, found, name)
            literals = [both.words[page_id].literals for page_id in ids]
            order = np.lexsort((-found.scores[-1], -np.array(literals)))
            return replace(both, ids=(*(ids[at] for at in order), *both.ids[len(ids) :]))

    def _complement(self, ids: Sequence[str], both: Ranked) -> FloatArray | None:
        """Scores (n,) of the pages `ids` by the complement; None while it has some to read."""
        second = self.how.complement
        if second is None or self.second is None:
            return np.array([both.words[page_id].bm25 for page_id in ids])
        pages = [self.collection.pages[page_id] for page_id in ids]
        scores = second.scores(self.second, pages)
        if scores is None:
            self.unread = tuple(page.id for page in second.unread(pages))
        return scores

    def _by_meaning(self, k: int) -> Sequence[Hit]:
        exact, ids = self.how.exact, self._allowed
        if self.how.auto and self.how.auto.calibration and not exact:
            return self._by_auto(self.how.auto.calibration, k)
        with self._timed("coarse"):
            candidates: Sequence[str]
            if exact:
                candidates = self.index.ids if ids is None else ids
            else:
                candidates = self.index.coarse(self.vectors, self.budget, k, ids)
        self.candidates, self.searched = len(candidates), self._pages()
        with self._timed("rerank"):
            if exact:
                return self.index.search(self.vectors, self.budget, k, exact=True, among=ids)
            return self.index.rerank(self.vectors, self.budget, candidates, k) if candidates else []

    def _by_auto(self, calibration: Calibration, k: int) -> Sequence[Hit]:
        """Hits among the pages that a calibration leaves, which it has scored in full."""
        with self._timed("coarse"):
            found = run(self._scores(), self._pages(), calibration, k)
            assert found.sums is not None
            ids, self._narrowed = self._at(found.rows), found
        self.candidates, self.searched = len(ids), self._pages()
        if self.index.rescore and self.index.has_full:
            return self._scored(ids)[:k]
        order = best(found.sums, k).tolist()
        return [Hit(ids[at], float(found.sums[at]), rank) for rank, at in enumerate(order, 1)]

    def _scores(self) -> Scores:
        """The index's scores as stages take them; rows count the pages that may be found.

        At the full budget they are those of a search: a stage's may be of int8 prefixes.
        """
        rows_of, of_stage = self._rows, stage_scorer(self.index, self.vectors)

        def scores(first: int, budget: Budget, rows: Rows | None) -> FloatArray:
            if budget == self.budget and rows is not None:
                rest = Budget(budget.r_q - first, budget.r_c)
                return self.index.scores(self.vectors[first:], rest, self._at(rows))
            at = rows if rows_of is None else rows_of if rows is None else rows_of[rows]
            return of_stage(first, budget, at)

        return scores

    @cached_property
    def _rows(self) -> Rows | None:
        """The positions of the allowed pages; None: all."""
        if self._allowed is None:
            return None
        at = {page_id: row for row, page_id in enumerate(self.index.ids)}
        return np.array([at[page_id] for page_id in self._allowed], np.int64)

    def _at(self, rows: Rows) -> Sequence[str]:
        return self.index.at(rows) if self._allowed is None else [self._allowed[row] for row in rows.tolist()]

    def automatic(self) -> Automatic | None:
        """What Auto did, and which stop of the dial the query needed; None where it is off."""
        auto, pages, found = self.how.auto, self._pages(), self._narrowed
        if auto is None:
            return None
        if self.how.mode == WORDS or not pages:
            return Automatic(auto, None, 0, self.candidates / max(pages, 1), self.candidates)
        rows = np.arange(pages) if pages <= SEEN else found.seen if found else np.arange(0)
        scores, full = self._scores(), self.budget
        if found is None or found.sums is None:
            first = rows[best(scores(0, full, rows), 1)]
            count, kept = self.candidates + self._beside, tuple[int, ...]()
            cells = count * full.r_q * full.r_c
        else:
            first = found.rows[best(found.sums, 1)]
            count, kept = len(found.rows) + self._beside, found.kept
            cells = found.cells + self._beside * full.r_q * full.r_c
        stop = needed(scores, rows, int(first[0]), full, self.index.budgets) if len(first) else None
        return Automatic(auto, stop, len(rows), cells / (pages * full.r_q * full.r_c), count, kept)

    def _scored(self, ids: Sequence[str]) -> Sequence[Hit]:
        with self._timed("rerank"):
            return self.index.rerank(self.vectors, self.budget, ids, len(ids)) if ids else []

    def _pages(self) -> int:
        return len(self.index) if self._allowed is None else len(self._allowed)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = perf_counter()
        yield
        self.timings[stage] = self.timings.get(stage, 0.0) + (perf_counter() - started) * 1000
