"""Explanations as HTML: the words of a page for its overlay, the map of a hit, and the test of that map.

Pure functions. Words come from documents, so they go through `safe` or into a JSON attribute.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.core.budgets import GROUPS, group_of
from metaembed_demo.core.text import clean, plural
from metaembed_demo.core.types import Alignment, FloatArray, Word
from metaembed_demo.explain.explainer import Explanation
from metaembed_demo.explain.occlusion import SHARE, Verdict

from .figure import SAVE, savable
from .html import json_attribute, safe

LEAST = 0.04  # of a token's strongest word, below which a word is not drawn
MOST = 160  # words drawn for one token
LEAST_LISTED = 0.005  # share of the score, below which a word is not listed
CELLS_COUNT = 0.05  # share that a picture's cells have together, below which they are left as they are
LISTED = 10  # words in the list beside the page
ROUNDED = (
    " Here the hit is scored by codes of the page's vectors, so the parts add up to what the full vectors "
    "would score with the same winners, and not quite to the score shown."
)
NOTE = (
    "A word counts by what it gave to this score: attention of the winning candidate tokens times its "
    "gradient, which add up to the score. It does not say that the word alone would find the page."
)


def reading(words: Sequence[Word], read: FloatArray) -> str:
    """The words of a page and what each candidate token read, as JSON that the page's scripts fetch.

    Args:
        words: n words and cells with their boxes.
        read: (R_c, n) float32, rows summing to 1.
    """
    data = {
        # The last says that a word names a picture: its box is the picture's, and is not drawn.
        "words": [
            [*(round(edge * 1000) for edge in word.box), word.text, int(word.kind == "visual")]
            for word in words
        ],
        "read": [_sparse(row) for row in read],
    }
    return clean(json.dumps(data, separators=(",", ":"), ensure_ascii=False))


def _sparse(weights: FloatArray) -> list[int]:
    """Index and weight in thousandths in turn, the strongest first, without those that are weak beside it.

    >>> _sparse(np.array([0.0, 0.75, 0.25]))
    [1, 750, 2, 250]
    """
    order = np.argsort(-weights, kind="stable")[:MOST]
    top = float(weights[order[0]]) if len(order) else 0.0
    kept = [i for i in order if top > 0 and weights[i] >= LEAST * top]
    return [number for i in kept for number in (int(i), max(round(float(weights[i]) * 1000), 1))]


def veil(words: Sequence[Word], weights: FloatArray) -> FloatArray:
    """(n,) how far each cell of a picture stands back, 0 to 1; 0 for words, and where no cell counts.

    >>> words = [Word("a", (0, 0, 1, 1)), *[Word("", (0, 0, 1, 1), "visual")] * 2]
    >>> veil(words, np.array([0.0, 0.75, 0.375])).tolist()
    [0.0, 0.0, 0.5]
    """
    cells = np.array([not word.text for word in words], bool)
    found = np.zeros(len(words), np.float64)
    if weights[cells].sum() >= CELLS_COUNT:
        found[cells] = 1 - weights[cells] / weights[cells].max()
    return found.astype(np.float32)


def page_map(found: Explanation, alignment: Alignment, verdict: str = "", full: bool = True) -> str:
    """Where on the page the score comes from, as a list beside the overlay.

    Args:
        found: of the hit that `alignment` is of.
        verdict: HTML of a test of this map, or of its progress.
        full: whether the hit is scored by the page's full vectors.
    """
    shares, groups = spread(found, alignment)
    note = NOTE + ("" if full else ROUNDED)
    return (
        f'<figure class="why" {_files(found, shares, groups)}>'
        f"<h3>{_finding(shares, found.words)}</h3>{_list(shares, groups, found.words)}"
        f"{_cells_note(shares, found.words)}<figcaption>{note}</figcaption>"
        f'<div class="trial" aria-live="polite">{verdict or _offer()}</div>{SAVE}</figure>'
    )


def _files(found: Explanation, shares: FloatArray, groups: NDArray[np.int64]) -> str:
    """The map as its JSON and CSV files have it: boxes in page fractions, shares of the score."""
    rows = [
        [
            found.words[i].text,
            *(round(edge, 4) for edge in found.words[i].box),
            round(float(shares[i]), 5),
            GROUPS[int(groups[i])].label("candidate"),
        ]
        for i in np.argsort(-shares, kind="stable")[:MOST]
        if shares[i] > 0
    ]
    head = ["word", "x0", "y0", "x1", "y1", "share", "candidate tokens"]
    data = [dict(zip(head, row, strict=True)) for row in rows]
    return savable("page-map", data, [head, *rows])


def pending(page_id: str) -> str:
    """Stands where `marks` will: the page's script then asks for the explanation, after the hits are
    shown."""
    return f'<div hidden data-pending="{safe(page_id)}"></div>'


def marks(found: Explanation, alignment: Alignment, reading_at: str) -> str:
    """The same for the overlay: what gave to the score and where it stands, and what the query's tokens read.

    Rows of `map` are word, share in thousandths, group 1 to 5, then the box in thousandths of the page, and
    what it is: 0 a word, 1 a name of what a picture shows (not drawn), 2 a cell of a picture. Weak words are
    left out; of a picture's cells, all stay, since those that gave nothing stand back.

    Args:
        reading_at: where `reading` is fetched from.
    """
    shares, groups = spread(found, alignment)
    least = LEAST * float(shares.max(initial=0))
    rows = []
    for i in np.argsort(-shares, kind="stable"):
        word = found.words[i]
        if shares[i] > least or not word.text:
            kind = (1 if word.kind == "visual" else 0) if word.text else 2
            box = [round(edge * 1000) for edge in word.box]
            rows.append([int(i), round(float(shares[i]) * 1000, 1), int(groups[i]) + 1, *box, kind])
    data = {
        "map": rows,
        "query": [word.text for word in found.query.words],
        "read": [_sparse(row) for row in found.query.read()],
    }
    return f'<div hidden {json_attribute("map", data)} data-reading="{safe(reading_at)}"></div>'


def spread(found: Explanation, alignment: Alignment) -> tuple[FloatArray, NDArray[np.int64]]:
    """(n,) each word's share of what words gave to the score; (n,) the group, 0 to 4, it mostly came through.

    What speaks against the hit counts 0: shares are of the positive part, and sum to 1 where there is one.
    """
    by_group = np.zeros((len(GROUPS), len(found.words)), np.float32)
    for row, winner in zip(found.parts, alignment.winners, strict=True):
        by_group[group_of(int(winner), "candidate").index] += row
    positive = np.maximum(found.total, 0)
    shares = np.asarray(positive / max(float(positive.sum()), 1e-9), np.float32)
    return shares, by_group.argmax(0).astype(np.int64)


def _finding(shares: FloatArray, words: Sequence[Word]) -> str:
    if not shares.sum():
        return "No word of this page speaks for it"
    most = np.sort(shares)[::-1].cumsum()
    half = int(np.searchsorted(most, 0.5)) + 1
    kind = "part" if any(word.text == "" for word in words) else "word"
    return f"Half of this score comes from {half} of {plural(len(words), kind)}"


def _list(shares: FloatArray, groups: NDArray[np.int64], words: Sequence[Word]) -> str:
    named = [i for i in np.argsort(-shares, kind="stable") if words[i].text and shares[i] >= LEAST_LISTED][
        :LISTED
    ]
    if not named:
        return ""
    top = float(shares[named[0]])
    rows = "".join(
        f'<li data-word="{i}"><span class="word">{safe(words[i].text)}</span>'
        f'<span class="track"><i style="width:{shares[i] / top * 100:.1f}%;'
        f'--shade:{GROUPS[int(groups[i])].shade}"></i></span>'
        f'<span class="num">{shares[i] * 100:.1f}%</span></li>'
        for i in named
    )
    return f'<ol class="gave" aria-label="Words by their share of the score">{rows}</ol>'


def _cells_note(shares: FloatArray, words: Sequence[Word]) -> str:
    cells = sum(float(share) for share, word in zip(shares, words, strict=True) if not word.text)
    labels = sum(float(s) for s, w in zip(shares, words, strict=True) if w.text and w.kind == "visual")
    if not cells + labels:
        return ""
    return (
        f'<p class="hint num">{cells * 100:.0f}% comes from what the picture looks like, cell by cell, '
        f"{labels * 100:.0f}% from the names of what it shows.</p>"
    )


def _offer() -> str:
    return (
        '<button type="button" class="quiet" data-action="test">Test this explanation</button>'
        f'<span class="hint">Hides {SHARE * 100:.0f}% of the page, reads it again and compares with hiding '
        "others.</span>"
    )


def testing(done: int, of: int) -> str:
    """The test under way."""
    return (
        f'<div class="bar-run" role="progressbar" aria-valuemin="0" aria-valuemax="{of}" '
        f'aria-valuenow="{done}" aria-label="Testing">'
        f'<i style="width:{done / max(of, 1) * 100:.0f}%"></i></div>'
        f'<p class="hint num">Read {done} of {of} versions of this page '
        '<button type="button" class="quiet" data-action="stop-test">Stop</button></p>'
    )


def verdict(found: Verdict) -> str:
    """The test's result: the finding, three bars, and the curve."""
    chance = float(np.mean(found.random))
    top = max(found.highlighted, found.attended, chance, 1e-9)
    rows = "".join(
        f'<li><span class="word">{name}</span><span class="track"><i style="width:'
        f'{max(value, 0) / top * 100:.1f}%;--shade:{shade}"></i></span>'
        f'<span class="num">{_change(-value)}</span></li>'
        for name, value, shade in (
            ("highlighted", found.highlighted, "var(--accent)"),
            ("most attended", found.attended, "var(--muted)"),
            (f"random, mean of {len(found.random)}", chance, "var(--edge)"),
        )
    )
    hidden = plural(found.hidden, found.what.rstrip("s"))
    return (
        f"<h3>{_verdict_finding(found, chance)}</h3>"
        f'<ol class="gave" aria-label="Change of the score with {hidden} of {found.of} hidden">{rows}</ol>'
        f'<p class="hint num">Change of the score, {found.full:.2f}, when {hidden} of {found.of} are hidden '
        f"and the page is read again.</p>{_curve(found)}"
        '<button type="button" class="quiet" data-action="test">Test again</button>'
    )


def _change(value: float) -> str:
    """
    >>> _change(-1.5), _change(0.25)
    ('\u22121.50', '+0.25')
    """
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")


def _verdict_finding(found: Verdict, chance: float) -> str:
    if found.highlighted <= 0:
        return f"It fails here: hiding the highlighted {found.what} does not lower the score"
    if chance <= 0:
        return f"The highlighted {found.what} carry the hit: hiding random ones does nothing"
    ratio = found.highlighted / chance
    if ratio < 1:
        return f"It fails here: hiding random {found.what} costs more"
    return f"Hiding the highlighted {found.what} costs {ratio:.3g} times what random ones cost"


def _curve(found: Verdict) -> str:
    """Score left against the share hidden: highlighted first, and random."""
    if not found.curve:
        return ""
    low = min(0.0, *(min(a, b) for _, a, b in found.curve))
    high = max(found.full, *(max(a, b) for _, a, b in found.curve)) or 1.0

    def line(at: int, name: str) -> str:
        points = " ".join(
            f"{row[0] * 100:.1f},{(1 - (row[at] - low) / (high - low)) * 60:.1f}" for row in found.curve
        )
        return f'<polyline class="{name}" points="{points}"/>'

    ends = ", ".join(
        f"{share:.0%} hidden: {first:.2f} and {other:.2f}" for share, first, other in found.curve
    )
    return (
        f'<div class="deletion"><svg viewBox="0 0 100 60" preserveAspectRatio="none" role="img" '
        f'aria-label="Score left with highlighted {found.what} hidden first, and with random. {ends}">'
        f"{line(2, 'other')}{line(1, 'first')}</svg>"
        f'<p class="axis"><span>nothing hidden</span><span>all {found.what} hidden</span></p>'
        '<p class="keys"><span class="first">highlighted first</span>'
        '<span class="other">random first</span></p></div>'
    )


def no_map() -> str:
    """What stands in the tab where nothing can be explained."""
    return '<p class="hint">This encoder does not tell what its Meta Tokens read.</p>'
