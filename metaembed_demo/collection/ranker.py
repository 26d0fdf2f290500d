"""Ranker: the best pages of a query by meaning, words or both, refined, or with the cells Auto needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from metaembed_demo.core.budgets import Budget
from metaembed_demo.core.text import normalised
from metaembed_demo.core.types import FloatArray, Hit, WordScore
from metaembed_demo.index.auto import Calibration, Narrowed, Rows, narrow
from metaembed_demo.index.query_refinement import MOST_STEPS, Refined, Tuning, refine
from metaembed_demo.index.words.asking import Asked
from metaembed_demo.index.words.word_index import Lexical

from .collection import Collection
from .filters import EVERY, PageFilter
from .modes import BOTH, MEANING, POOL, WORDS, Ranked, by_both, by_words, checked, ordered, weight_of
from .second_encoder import AskedOfSecond, SecondEncoder

TUNING = Tuning(rate=3e-3, temperature=0.05, complement_temperature=1.0, every=5)  # of the dev sets


@dataclass(frozen=True)
class How:
    """How pages are ranked, beside the budget.

    exact: score every page, however many there are.
    only: limits the search to some pages, of which alone any are scanned.
    mode: "meaning", "words" or "both" (collection/modes.py); a query without text is always by meaning.
    steps: of Guided Query Refinement (index/query_refinement.py), 0 to 50; in mode "both" alone.
    complement: what refines beside meaning: a second encoder, or the words (None).
    auto: narrow the pages by this calibration (index/auto.py) and score what is left at its full budget.

    Raises:
        ValueError: for an unknown mode, too many steps, or steps in another mode.
    """

    exact: bool = False
    only: PageFilter = EVERY
    mode: str = MEANING
    steps: int = 0
    auto: Calibration | None = None
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
        self.narrowed: Narrowed | None = None
        self._allowed = collection.select(how.only)

    def hits(self, k: int) -> list[Hit]:
        """The best `k` pages. Their scores are MaxSim at the budget, whatever ranked them."""
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
            hits = [*meaning, *self._scored([page_id for page_id in words.ids if page_id not in known])]
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
            tuning = replace(TUNING, steps=self.how.steps)
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
        with self._timed("coarse"):
            candidates: Sequence[str]
            if self.how.auto:
                candidates = self._narrowed(self.how.auto, k)
            elif exact:
                candidates = self.index.ids if ids is None else ids
            else:
                candidates = self.index.coarse(self.vectors, self.budget, k, ids)
        self.candidates, self.searched = len(candidates), self._pages()
        with self._timed("rerank"):
            if exact:
                among = candidates if self.how.auto else ids
                return self.index.search(self.vectors, self.budget, k, exact=True, among=among)
            return self.index.rerank(self.vectors, self.budget, candidates, k) if candidates else []

    def _narrowed(self, calibration: Calibration, k: int) -> list[str]:
        """The pages that can still be among the best, in the order of the index."""
        ids = self.index.ids if self._allowed is None else self._allowed

        def scores(budget: Budget, rows: Rows | None) -> FloatArray:
            some = self._allowed if rows is None else [ids[row] for row in rows.tolist()]
            return self.index.scores(self.vectors, budget, some)

        self.narrowed = narrow(scores, len(ids), calibration, k)
        return [ids[row] for row in self.narrowed.rows.tolist()]

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
