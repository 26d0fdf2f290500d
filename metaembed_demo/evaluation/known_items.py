"""Known-item queries: text passages that should retrieve their own page."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.page_words import written
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.types import Query

LEAST_WORDS, MOST_WORDS = 6, 14  # of a query
LEAST_ON_PAGE = 12  # minimum words with letters of a page
TRIES = 12  # passages sampled per page
SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*$")


@dataclass(frozen=True)
class Asked:
    """A query, and the id of its only relevant page, if known."""

    query: Query
    page_id: str | None = None


def known_items(collection: Collection, count: int = 60, seed: int = 1) -> list[Asked]:
    """At most `count` queries sampled from the pages, one per page, round-robin over documents.

    A query is a sentence, or 6 to 14 adjacent words: of TRIES random passages, the unique one with the lowest
    mean log document frequency. Passages that occur on another page are rejected. Pages with fewer than 12
    words of text are skipped; image tags are not used. Deterministic by pages and seed.

    Queries share their words with their page, so absolute quality is too high: they show whether budgets
    agree on this collection, not how well they answer real questions.
    """
    with collection.lock:
        pages = sorted(collection.pages.values(), key=lambda page: page.id)
    texts = {page.id: list(written(page)) for page in pages}
    said = {page_id: _terms(words) for page_id, words in texts.items()}
    holders = Counter(term for terms in said.values() for term in set(terms))
    bounded = [f" {' '.join(terms)} " for terms in said.values()]
    rng = np.random.default_rng(seed)

    def cost(stretch: Sequence[str]) -> float:
        return float(np.mean([math.log(holders[term]) for term in _terms(stretch)]))

    found: list[Asked] = []
    for page in _spread([page for page in pages if _lettered(texts[page.id]) >= LEAST_ON_PAGE], rng):
        if len(found) < count:
            drawn = [_stretch(texts[page.id], rng) for _ in range(TRIES)]
            ranked = sorted((s for s in drawn if _lettered(s) >= LEAST_WORDS), key=cost)
            marked = ((s, f" {' '.join(_terms(s))} ") for s in ranked)
            own = next((s for s, mark in marked if sum(mark in text for text in bounded) == 1), None)
            found += [Asked(Query(" ".join(own)), page.id)] if own else []
    return found


def _spread(pages: Sequence[StoredPage], rng: np.random.Generator) -> Iterator[StoredPage]:
    """All pages in random order, round-robin over documents."""
    documents: dict[str, list[StoredPage]] = {}
    for at in rng.permutation(len(pages)):
        documents.setdefault(pages[at].source, []).append(pages[at])
    return (page for turn in zip_longest(*documents.values()) for page in turn if page)


def _stretch(words: Sequence[str], rng: np.random.Generator) -> Sequence[str]:
    """The sentence at a random position, or a run of words there if it is too short or too long."""
    start, length = int(rng.integers(len(words))), int(rng.integers(LEAST_WORDS, MOST_WORDS + 1))
    ends = [-1, *(at for at, word in enumerate(words) if SENTENCE_END.search(word)), len(words) - 1]
    first, after = max(end for end in ends if end < start) + 1, min(end for end in ends if end >= start) + 1
    if LEAST_WORDS <= after - first <= MOST_WORDS:
        return words[first:after]
    start = max(0, min(start, len(words) - length))
    return words[start : start + length]


def _terms(words: Sequence[str]) -> list[str]:
    return re.findall(r"\w+", " ".join(words).lower())


def _lettered(words: Sequence[str]) -> int:
    return sum(any(map(str.isalpha, word)) for word in words)
