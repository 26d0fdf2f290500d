"""The queries that tantivy is given, and the pages that fulfil them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import tantivy

from .asking import Asked, Asker
from .engine import KEY, STEMS, WHOLE, WORDS

# Weights of a word as written, of its stem (the best pair on the dev sets), and of a code in one piece.
SURFACE, STEM, CODE = 0.3, 0.7, 1.0
MOST_LISTED = 1_000  # pages of a filter that tantivy is given; of more, hits are sorted out afterwards
FIRST, MORE = 4, 8  # hits looked at for one wanted, with such a filter; and how they grow

Should, Must, Query = tantivy.Occur.Should, tantivy.Occur.Must, tantivy.Query


def ranking_query(asker: Asker, asked: Asked) -> tantivy.Query:
    """BM25 over words as written and their stems; whole codes by rarity alone, however dense the page."""
    clauses = []
    for part, forms in asked.forms.items():
        for weight, name, texts in ((SURFACE, WORDS, asked.surfaces(part)), (STEM, STEMS, forms)):
            any_of = Query.disjunction_max_query([asker.term(name, text) for text in texts])
            clauses.append((Should, Query.boost_query(any_of, weight)))
    for group in (*asked.question.groups, *asked.question.joins):
        for form in group.whole:
            if pages := asker.searcher.doc_freq(WHOLE, form):
                value = CODE * idf(asker.searcher.num_docs, pages)
                clauses.append((Should, Query.const_score_query(asker.term(WHOLE, form), value)))
    return Query.boolean_query(clauses)


def literal_query(asker: Asker, asked: Asked) -> tantivy.Query:
    """Scores the number of codes and quoted phrases that stand on a page."""
    wanted = [*map(asker.code, asked.codes), *map(asker.phrase, asked.phrases)]
    return Query.boolean_query([(Should, Query.const_score_query(query, 1.0)) for query in wanted])


def idf(pages: int, holding: int) -> float:
    """BM25's weight of a term, as tantivy has it.

    >>> round(idf(100, 1), 2), round(idf(100, 100), 3)
    (4.21, 0.005)
    """
    return math.log(1 + (max(pages - holding, 0) + 0.5) / (holding + 0.5))


class Scan:
    """Searches among the pages with the keys `among`, or all."""

    def __init__(self, asker: Asker, among: Sequence[int] | None) -> None:
        self._searcher, self._schema = asker.searcher, asker.schema
        self._among = None if among is None else set(among)

    def best(self, query: tantivy.Query, k: int) -> dict[int, float]:
        """Key -> score of the `k` best pages."""
        among = self._among
        if among is None:
            return self._search(query, k)
        if not among:
            return {}
        if len(among) <= MOST_LISTED:
            listed = Query.const_score_query(Query.term_set_query(self._schema, KEY, list(among)), 0.0)
            return self._search(Query.boolean_query([(Must, query), (Must, listed)]), k)
        most = k * FIRST
        while True:
            found = self._search(query, most)
            kept = {key: score for key, score in found.items() if key in among}
            if len(kept) >= k or len(found) < most:
                return dict(list(kept.items())[:k])
            most *= MORE

    def _search(self, query: tantivy.Query, k: int) -> dict[int, float]:
        hits = self._searcher.search(query, k, count=False).hits
        keys = self._searcher.fast_field_values(KEY, [place for _, place in hits])
        return {int(key or 0): float(score) for key, (score, _) in zip(keys, hits, strict=True)}
