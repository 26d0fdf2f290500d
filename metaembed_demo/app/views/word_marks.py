"""Marks on a page for the words that a query meets as they are written, beside those of the Meta Tokens."""

from __future__ import annotations

from collections.abc import Sequence

from metaembed_demo.core.types import Word

from .html import safe

MOST = 300  # words marked on a page
ON_THUMBNAIL = 8  # words marked on a thumbnail
LISTED = 5  # words named in the legend


def marks(words: Sequence[Word]) -> str:
    """A bracket under each word, over the picture of its page. The same at every budget."""
    path = "".join(_bracket(word) for word in words[:MOST])
    if not path:
        return ""
    return (
        '<svg class="met" viewBox="0 0 1000 1000" preserveAspectRatio="none" aria-hidden="true">'
        f'<path d="{path}"/></svg>'
    )


def _bracket(word: Word) -> str:
    x0, y0, x1, y1 = (round(edge * 1000) for edge in word.box)
    rise = max(2, (y1 - y0) // 3)
    return f"M{x0} {y1 - rise}v{rise + 1}H{x1}v-{rise + 1}"


def lines(words: Sequence[Word]) -> str:
    """The attribute of a thumbnail by which web/results.js draws a line under each word: x, y and length."""
    places = [
        (round(x0 * 1000), round(y1 * 1000), round((x1 - x0) * 1000))
        for x0, _, x1, y1 in (word.box for word in words[:ON_THUMBNAIL])
    ]
    return f' data-met="{" ".join(str(part) for place in places for part in place)}"' if places else ""


def switch(evidence: bool, words: Sequence[Word]) -> str:
    """The control that shows and hides the marks, with a legend if `words` are marked.

    evidence: whether the encoder tells what the Meta Tokens read.
    """
    if not evidence and not words:
        return ""
    of = "Highlight where this score comes from" if evidence else "Mark the words of the query"
    told = '<p class="under-pointer" aria-live="polite"></p>' if evidence else ""
    return (
        f'<label class="overlay-switch"><input type="checkbox" checked> {of}</label>'
        f"{_legend(evidence, words) if words else ''}{told}"
    )


def _legend(evidence: bool, words: Sequence[Word]) -> str:
    names = list({word.text.casefold(): word.text for word in words}.values())
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    listed = safe(", ".join(names[:LISTED])) + more
    read = '<span><i class="key-read"></i>read by Meta Tokens</span>' if evidence else ""
    return f'<p class="mark-keys">{read}<span><i class="key-met"></i>words of the query: {listed}</span></p>'
