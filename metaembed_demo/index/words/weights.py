"""BM25 as a product of two sparse vectors, for engines that keep these and weigh terms by rarity (IDF).

A page's vector holds how much each of its terms counts, a query's what each term is worth; the engine
multiplies by IDF. The product is the score of ranking.py, but for two things: of a word's other spellings,
and its stems in several languages, all that a page has count, not the best; and two terms may share a number
(one pair in 4 billion).
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from .asking import Asked
from .engine import STEMS, WHOLE, WORDS, Entry
from .question import Group
from .ranking import CODE, STEM, SURFACE

K1, B = 1.2, 0.75  # as tantivy has them


class Sparse(NamedTuple):
    """A sparse vector: different numbers below 2**32, ascending, and the value of each."""

    indices: list[int]
    values: list[float]


@lru_cache(maxsize=1 << 16)
def number(field: str, term: str) -> int:
    """A term of a field as a number below 2**32, the same on every machine and in every version.

    >>> number("words", "garden"), number("stems", "garden")
    (2645739263, 1225178422)
    """
    return int.from_bytes(hashlib.blake2b(f"{field}:{term}".encode(), digest_size=4).digest(), "little")


def of_page(entry: Entry, average: float) -> Sparse:
    """A page's vector; one without words has a term that nobody asks for. average: parts of a page.

    >>> sorted(of_page(Entry(0, "red red door", "", ""), 3.0).values)  # tf 1 and 2, at the average length
    [1.0, 1.375]
    """
    weights: dict[int, float] = defaultdict(float)
    for field, text in ((WORDS, entry.words), (STEMS, entry.stems)):
        counts = Counter(text.split())
        length = K1 * (1 - B + B * rounded(counts.total()) / max(average, 1.0))
        for term, times in counts.items():
            weights[number(field, term)] += times * (K1 + 1) / (times + length)
    for form in entry.whole.split():
        weights[number(WHOLE, form)] += 1.0
    return _sparse(weights or {number("", ""): 1.0})


def of_query(asked: Asked) -> Sparse:
    """A query's vector; empty for one without words."""
    weights: dict[int, float] = defaultdict(float)
    for part, forms in asked.forms.items():
        for value, field, terms in ((SURFACE, WORDS, asked.surfaces(part)), (STEM, STEMS, forms)):
            for term in terms:
                weights[number(field, term)] += value
    for group in (*asked.question.groups, *asked.question.joins):
        for form in group.whole:
            weights[number(WHOLE, form)] += CODE
    return _sparse(weights)


def of_code(group: Group) -> Sparse:
    """The vector whose product with a page's is above 0 where the code stands in one piece."""
    return _sparse({number(WHOLE, form): 1.0 for form in group.whole})


def rounded(length: int) -> int:
    """A page's length as tantivy keeps it, in a byte: exact below 40, then rounded down, 8 an octave.

    >>> [rounded(length) for length in (39, 41, 57, 134, 1_000)]
    [39, 40, 56, 128, 984]
    """
    over = length - 24
    step = 1 << max(over.bit_length() - 4, 0) if over > 0 else 1
    return 24 + over // step * step


def average_length(entries: Iterable[Entry]) -> float:
    """Parts of a page on average; 0 without pages."""
    total = pages = 0
    for entry in entries:
        total, pages = total + len(entry.words.split()), pages + 1
    return total / pages if pages else 0.0


def _sparse(weights: dict[int, float]) -> Sparse:
    order = sorted(weights)
    return Sparse(order, [round(weights[at], 5) for at in order])
