"""What ranks pages: meaning (MaxSim), words (BM25), or both.

Both is the weighted sum of standard scores over the best pages of either (index/fusion.py): the one that is
better than Meaning at every budget on the dev sets (benchmarks/results/fusion.json). Pages on which more of
the query's codes and quoted phrases stand come first.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metaembed_demo.core.types import Hit, WordScore
from metaembed_demo.index.fusion import shares
from metaembed_demo.index.words.asking import Asked
from metaembed_demo.index.words.word_index import Lexical

MEANING, WORDS, BOTH = MODES = ("meaning", "words", "both")
POOL = 10  # the best so many pages of either are ranked by both, and as many as hits are wanted
WEIGHT, WEIGHT_IN_FULL = 0.4, 0.2  # of words, below all page tokens and with all (dev sets, sources held out)


def checked(mode: str) -> str:
    """`mode`. Raises ValueError for an unknown one."""
    if mode not in MODES:
        raise ValueError(f"A mode is one of {', '.join(MODES)}, not {mode[:20]!r}.")
    return mode


@dataclass(frozen=True)
class Ranked:
    """Ids, best first, what words are worth on each, and the query as the lexical index took it."""

    ids: tuple[str, ...]
    words: Mapping[str, WordScore]
    asked: Asked


def by_words(lexical: Lexical, text: str, k: int, allowed: Collection[str] | None) -> Ranked:
    """The best `k` pages by words; pages without any of them are left out."""
    found = lexical.search(text, k, allowed)
    words = {hit.page_id: WordScore(hit.score, hit.literals, 1.0) for hit in found.hits}
    return Ranked(tuple(words), words, found.asked)


def by_both(meaning: Mapping[str, float], words: Ranked, lexical: Lexical, weight: float) -> Ranked:
    """The pages of a pool by MaxSim (page id -> score) and words, which are those of `by_words`."""
    ids = list(meaning)
    of_words = lexical.scores(words.asked, ids)
    maxsim = np.array([meaning[page_id] for page_id in ids])
    terms = shares(maxsim, [of_words[page_id] for page_id in ids], weight)
    above = [term - term.min(initial=0.0) for term in terms]  # the weakest page of the pool has nothing
    total = above[0] + above[1]
    found = {}
    for at, page_id in enumerate(ids):
        share = above[1][at] / total[at] if total[at] > 0 else 0.0
        literals = words.words[page_id].literals if page_id in words.words else 0
        found[page_id] = WordScore(of_words[page_id], literals, float(share))
    order = sorted(range(len(ids)), key=lambda at: (-found[ids[at]].literals, -total[at]))
    return Ranked(tuple(ids[at] for at in order), found, words.asked)


def weight_of(r_c: int, whole: int) -> float:
    """The weight of words at `r_c` of `whole` page tokens."""
    return WEIGHT_IN_FULL if r_c >= whole else WEIGHT


def ordered(hits: Sequence[Hit], ids: Sequence[str]) -> list[Hit]:
    """The hits `ids`, in this order, ranked anew."""
    known = {hit.page_id: hit for hit in hits}
    return [Hit(page_id, known[page_id].score, rank) for rank, page_id in enumerate(ids, 1)]
