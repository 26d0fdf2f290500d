"""Explanations as HTML: the words of a page for its overlay, and the page map of a hit.

Pure functions. Words come from documents, so they are escaped by `safe` or `json_attribute`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.core.budgets import OURS, Budgets
from metaembed_demo.core.text import clean, plural
from metaembed_demo.core.types import Alignment, FloatArray, Similarity, Word, divisor
from metaembed_demo.encoders.attribution import Evidence, Kind
from metaembed_demo.explain.explainer import Explanation

from .figure import SAVE, savable
from .html import json_attribute, safe
from .occlusion_test import offer

LEAST = 0.04  # minimum weight of a drawn word, relative to a token's strongest
MOST = 160  # words drawn for one token
LEAST_LISTED = 0.005  # minimum share of the score of a listed word
DOUBTFUL = 0.8  # confidence below which a word that was read by OCR is marked
ANSWERED = 12  # words of the page kept for a word of the query
LISTED = 10  # words in the list next to the page
ROUNDED = (
    " Here the hit is scored by codes of the page's vectors, so the parts add up to what the full vectors "
    "would score with the same winners, and not quite to the score shown."
)
GRADIENTS = (
    "Integrated gradients: the picture's states go from their mean to what they are, and a part counts by "
    "its way times the score's mean gradient. These add up to what the score has beyond a picture of one "
    "state."
)
SIMILARITY = (
    "sentence-transformers' own map: the mean cosine of each patch and all vectors of the query, before "
    "either is pooled to the budgets. It is no part of this score."
)
# By kind: what it is called where another is shown, and the column of the files.
CALLED = {
    "share": ("Shares of the score", "share"),
    "lost": ("What the score loses", "lost"),
    "gradients": ("Shares by integrated gradients", "share"),
    "similarity": ("Similarity of all patches", "similarity"),
}
LOST = (
    "A part counts by what the score loses when the model cannot look at it, with the winning candidate "
    "tokens held. Parts that say the same cost little each, so these do not add up to the score."
)
NOTE = (
    "A word counts by what it gave to this score: attention of the winning candidate tokens times its "
    "gradient, which add up to the score. It does not say that the word alone would find the page."
)


def reading(words: Sequence[Word], read: FloatArray) -> str:
    """The words of a page and the weights of each candidate token, as JSON for the page's scripts.

    Args:
        words: n words and cells with their boxes.
        read: (R_c, n) float32, rows summing to 1.
    """
    data = {
        # After the text: whether the word names a picture, whose box it then has and which is not drawn; and
        # the confidence of a doubtful word.
        "words": [
            [
                *(round(edge * 1000) for edge in word.box),
                word.text,
                int(word.kind == "visual"),
                *([round(word.confidence, 2)] if is_doubtful(word) else []),
            ]
            for word in words
        ],
        "read": [_sparse(row) for row in read],
    }
    return clean(json.dumps(data, separators=(",", ":"), ensure_ascii=False))


def is_doubtful(word: Word) -> bool:
    return word.kind == "ocr" and word.confidence < DOUBTFUL


def _sparse(weights: FloatArray) -> list[int]:
    """Alternating indices and weights in thousandths, the strongest first, without weak ones.

    >>> _sparse(np.array([0.0, 0.75, 0.25]))
    [1, 750, 2, 250]
    """
    order = np.argsort(-weights, kind="stable")[:MOST]
    top = float(weights[order[0]]) if len(order) else 0.0
    kept = [i for i in order if top > 0 and weights[i] >= LEAST * top]
    return [number for i in kept for number in (int(i), max(round(float(weights[i]) * 1000), 1))]


def page_map(
    found: Explanation,
    alignment: Alignment,
    verdict: str = "",
    full: bool = True,
    other: Kind | None = None,
    budgets: Budgets = OURS,
    similarity: Similarity = "MaxSim",
) -> str:
    """The words that contribute most to the score, as a list next to the overlay.

    Args:
        found: the explanation of `alignment`'s hit.
        verdict: HTML of the occlusion test's result or progress.
        full: whether the hit is scored with full vectors.
        other: another kind of map, which the encoder can give. budgets: the encoder's.
        similarity: what the score is told as.
    """
    shares, groups = spread(found, alignment, budgets)
    notes = {"lost": LOST, "gradients": GRADIENTS, "similarity": SIMILARITY}
    note = notes.get(found.kind, NOTE + ("" if full else ROUNDED))
    finding = (
        _finding(shares, found.words)
        if found.adds_up
        else _other_finding(found.kind, shares, alignment, similarity)
    )
    return (
        f'<figure class="why" {_files(found, shares, groups, budgets)}>'
        f"<h3>{finding}</h3>{_list(shares, groups, found, budgets)}"
        f"{_cells_note(shares, found)}<figcaption>{note}</figcaption>"
        f'<div class="trial" aria-live="polite">{verdict or offer()}</div>{_switch(other)}{SAVE}</figure>'
    )


def _files(found: Explanation, shares: FloatArray, groups: NDArray[np.int64], budgets: Budgets) -> str:
    """The map's JSON and CSV: boxes in page fractions, shares of the score or what it loses of itself."""
    rows = [
        [
            found.words[i].text,
            *(round(edge, 4) for edge in found.words[i].box),
            round(float(shares[i]), 5),
            budgets.groups[int(groups[i])].label("candidate"),
            round(found.words[i].confidence, 3),
        ]
        for i in np.argsort(-shares, kind="stable")[:MOST]
        if shares[i] > 0
    ]
    head = ["word", "x0", "y0", "x1", "y1", CALLED[found.kind][1], "candidate tokens", "confidence"]
    data = [dict(zip(head, row, strict=True)) for row in rows]
    return savable("page-map", data, [head, *rows])


def pending(page_id: str) -> str:
    """Placeholder for `marks`, which makes the page's script request the explanation after the hits."""
    return f'<div hidden data-pending="{safe(page_id)}"></div>'


def query_words(query: Evidence) -> dict[str, Any]:
    """The words of the query and what each of its tokens reads, for `marks`: the same at every budget."""
    return {"query": [word.text for word in query.words], "read": [_sparse(row) for row in query.read()]}


def marks(
    found: Explanation,
    alignment: Alignment,
    reading_at: str,
    query: dict[str, Any],
    budgets: Budgets = OURS,
) -> str:
    """Data for the overlay: words with their shares and boxes, and the evidence of the query's tokens.

    Rows of `map` are word, share in thousandths, group from 1 on, box in thousandths of the page, and, where
    it is not a plain word, type: 1 a name of what a picture shows (not drawn), 2 a picture cell, 3 a word
    read with doubt. Weak words are omitted; picture cells never are, so that the outlines of all of them can
    be drawn. `asked`: `by_word`. `kind`: what the shares are.

    Args:
        reading_at: the URL of `reading`.
        query: `query_words` of the explanation's query. budgets: the encoder's.
    """
    shares, groups = spread(found, alignment, budgets)
    least = LEAST * float(shares.max(initial=0))
    is_cell = np.array([word.is_cell for word in found.words], bool)
    order = np.argsort(-shares, kind="stable")
    kept = order[(shares[order] > least) | is_cell[order]].tolist()
    weights = np.round(shares[kept].astype(np.float64) * 1000, 1).tolist()
    boxes = np.rint(np.array([found.words[i].box for i in kept]).reshape(-1, 4) * 1000).astype(int).tolist()
    rows = [
        [i, weight, group, *box, *([2] if is_cell[i] else _mark(found.words[i]))]
        for i, weight, group, box in zip(kept, weights, (groups[kept] + 1).tolist(), boxes, strict=True)
    ]
    data = json_attribute(
        "map", {"map": rows, "kind": found.kind, "asked": by_word(found, alignment), **query}
    )
    return f'<div hidden {data} data-reading="{safe(reading_at)}"></div>'


def by_word(found: Explanation, alignment: Alignment) -> list[list[Any]]:
    """For each word of the query its share of the score in thousandths, and the page's words that gave it.

    A query token's maximum, and what the page's words gave to it, count for a query word as much as the token
    reads that word. So the rows of all query words add up to the page map.
    """
    read = found.query.read()[: len(alignment.winners)]
    shares = read.T @ np.maximum(alignment.gains, 0)
    given = np.maximum(read.T @ found.parts, 0)
    top = max(float(shares.sum()), 1e-9)
    whole = _whole(found, alignment)
    return [
        [round(float(share) * 1000 / top), _sparse(np.asarray(row / whole, np.float32))[: 2 * ANSWERED]]
        for share, row in zip(shares, given, strict=True)
    ]


def _mark(word: Word) -> list[int]:
    """1 for what a picture shows, 3 for a word in doubt, nothing for others."""
    return [1] if word.kind == "visual" else [3] if is_doubtful(word) else []


def spread(
    found: Explanation, alignment: Alignment, budgets: Budgets = OURS
) -> tuple[FloatArray, NDArray[np.int64]]:
    """(n,) each word's share of the score, and (n,) the index of the group it mainly contributes through.

    Negative contributions count as 0; shares sum to 1 if any contribution is positive, unless they are what
    the score loses.
    """
    by_group = np.zeros((len(budgets), len(found.words)), np.float32)
    for row, winner in zip(found.parts, alignment.winners, strict=True):
        by_group[budgets.group_of(int(winner), "candidate").index] += row
    positive = np.maximum(found.total, 0)
    shares = np.asarray(positive / _whole(found, alignment), np.float32)
    return shares, by_group.argmax(0).astype(np.int64)


def _whole(found: Explanation, alignment: Alignment) -> float:
    """What shares are of: the positive parts, where they add up; the score that loses them; the cosine 1."""
    if found.kind == "similarity":
        return 1.0
    whole = np.maximum(found.total, 0) if found.adds_up else np.maximum(alignment.gains, 0)
    return max(float(whole.sum()), 1e-9)


def _switch(other: Kind | None) -> str:
    """The button that shows another kind of map."""
    if other is None:
        return ""
    return (
        f'<button type="button" class="quiet" data-action="{other}">Show instead: {CALLED[other][0]}</button>'
    )


def _other_finding(kind: Kind, lost: FloatArray, alignment: Alignment, similarity: Similarity) -> str:
    """What the score loses without its strongest part, or how similar that is to the query."""
    if kind == "similarity":
        return f"The most similar part has a mean cosine of {lost.max(initial=0):.2f} with the query"
    if not lost.max(initial=0):
        return "The score loses nothing without any part of this page"
    score = float(alignment.gains.sum()) / divisor(similarity, len(alignment.gains))
    return f"Without its strongest part the score loses {lost.max() * score:.2f} of {score:.2f}"


def _finding(shares: FloatArray, words: Sequence[Word]) -> str:
    if not shares.sum():
        return "No word of this page speaks for it"
    most = np.sort(shares)[::-1].cumsum()
    half = int(np.searchsorted(most, 0.5)) + 1
    kind = "part" if any(word.is_cell for word in words) else "word"
    return f"Half of this score comes from {half} of {plural(len(words), kind)}"


def _list(shares: FloatArray, groups: NDArray[np.int64], found: Explanation, budgets: Budgets) -> str:
    words = found.words
    named = [i for i in np.argsort(-shares, kind="stable") if words[i].text and shares[i] >= LEAST_LISTED][
        :LISTED
    ]
    if not named:
        return ""
    top = float(shares[named[0]])
    rows = "".join(
        f'<li data-word="{i}">{_word(words[i])}'
        f'<span class="track"><i style="width:{shares[i] / top * 100:.1f}%;'
        f'--shade:{budgets.groups[int(groups[i])].shade}"></i></span>'
        f'<span class="num">{shares[i] * 100:.1f}%</span></li>'
        for i in named
    )
    told = "their share of the score" if found.adds_up else CALLED[found.kind][0].lower()
    return f'<ol class="gave" aria-label="Words by {told}">{rows}</ol>'


def _word(word: Word) -> str:
    if not is_doubtful(word):
        return f'<span class="word">{safe(word.text)}</span>'
    told = f"by OCR, confidence {word.confidence:.2f}"
    return (
        f'<span class="word doubt" title="Read {told}">{safe(word.text)}'
        f'<span class="hidden">, read {told}</span></span>'
    )


def _cells_note(shares: FloatArray, found: Explanation) -> str:
    words = found.words
    if not found.adds_up or all(word.is_cell for word in words):
        return ""
    cells = sum(float(share) for share, word in zip(shares, words, strict=True) if word.is_cell)
    labels = sum(float(s) for s, w in zip(shares, words, strict=True) if w.text and w.kind == "visual")
    if not cells + labels:
        return ""
    return (
        f'<p class="hint num">{cells * 100:.0f}% comes from what the picture looks like, cell by cell, '
        f"{labels * 100:.0f}% from the names of what it shows.</p>"
    )


def no_map() -> str:
    """The empty state of the tab, without an explanation."""
    return '<p class="hint">This encoder does not tell what its Meta Tokens read.</p>'
