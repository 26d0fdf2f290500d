"""A page with the evidence of its score as one piece of HTML, for hosts that show MCP resources.

It holds its picture and asks for nothing. web/evidence_card.css has its looks, web/evidence_card.js the talk
with the host. Names, words and queries are of documents and strangers, so they are escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metaembed_demo.core.budgets import Budgets
from metaembed_demo.core.moments import spot

from .html import safe
from .page_map import DOUBTFUL, LEAST, LEAST_LISTED, LISTED

Told = Mapping[str, Any]
FAINTEST, BOLDEST = 0.15, 0.75  # opacity of a mark on the page


def card(
    told: Told,
    picture: str,
    score: tuple[float, str],
    gains: Sequence[float],
    groups: Sequence[int],
    budgets: Budgets,
    link: str = "",
) -> str:
    """The card.

    Args:
        told: the answer of the API's `explain`.
        picture: a data URL of the page.
        score: as it is shown, and what it is called.
        gains: what each nested group of page tokens adds to the score.
        groups: of each word in `told`, the index of its group.
        link: an address that shows this search; "" for none.
    """
    page, query = told["page"], told["query"]
    words = told["explanation"]["words"] if told["explanation"] else []
    asked = f"<q>{safe(query['text'])}</q>" if query["text"] else ""
    if query["image"]:
        asked += " with a picture" if asked else "asked with a picture"
    place = f"{safe(page['source'])}, {spot(page['source'], page['page'], 'page ')}"
    return (
        f'<article class="card"><header><h1>{safe(page["title"]) or place}</h1><p class="place">{place}</p>'
        f'<p class="asked">{asked}</p></header>'
        f'<figure class="sheet"><img src="{safe(picture)}" alt="{place}">'
        f"{_marks(words, groups, budgets)}</figure>"
        f'<section class="why">{_score(told, score, gains, budgets)}{_words(told, words, groups, budgets)}'
        f"{_link(link)}</section></article>"
    )


def _marks(words: Sequence[Told], groups: Sequence[int], budgets: Budgets) -> str:
    """The places of the words on the page, by their share: filled, and outlined where they are of a picture.

    A label of a picture has no place of its own.
    """
    top = max((word["share"] for word in words), default=0.0)
    filled, outlined = "", ""
    for at, word in enumerate(words):
        if word["share"] <= LEAST * top:
            continue
        weight = word["share"] / top
        if word["kind"] != "visual":
            shade = budgets.groups[groups[at]].mixed("mark")
            opacity = FAINTEST + (BOLDEST - FAINTEST) * weight
            filled += _rect(at, word["box"], f"fill:{shade};opacity:{opacity:.2f}")
        elif not word["text"]:
            outlined += _rect(at, word["box"], f"stroke-width:{1 + 2 * weight:.1f}px")
    return _drawing("filled", filled) + _drawing("outlined", outlined)


def _rect(at: int, box: Sequence[float], style: str) -> str:
    x0, y0, x1, y1 = (edge * 1000 for edge in box)
    return (
        f'<rect data-word="{at}" x="{x0:.1f}" y="{y0:.1f}" width="{x1 - x0:.1f}" height="{y1 - y0:.1f}" '
        f'style="{style}"/>'
    )


def _drawing(kind: str, rects: str) -> str:
    """Over the picture, in thousandths of its sides."""
    box = 'viewBox="0 0 1000 1000" preserveAspectRatio="none" aria-hidden="true"'
    return f'<svg class="{kind}" {box}>{rects}</svg>' if rects else ""


def _score(told: Told, score: tuple[float, str], gains: Sequence[float], budgets: Budgets) -> str:
    shown, name = score
    at = f"{told['budget']['r_q']} × {told['budget']['r_c']}"
    added = [
        (group.label("candidate"), max(gain, 0.0), group.mixed("shade"))
        for group, gain in zip(budgets.groups, gains, strict=True)
        if round(gain, 2)
    ]
    whole = max(sum(gain for _, gain, _ in added), 1e-9)
    bar = "".join(
        f'<i style="width:{gain / whole * 100:.1f}%;background:{shade}"></i>' for _, gain, shade in added
    )
    keys = "".join(
        f'<li><i style="background:{shade}"></i>{label} <b>{gain:.2f}</b></li>'
        for label, gain, shade in added
    )
    return (
        f"<h2><b>{shown:.2f}</b> {safe(name)} <span>at {at} Meta Tokens</span></h2>"
        f'<div class="bar" aria-hidden="true">{bar}</div>'
        f'<ul class="keys"><li>Page tokens</li>{keys}</ul>'
    )


def _words(told: Told, words: Sequence[Told], groups: Sequence[int], budgets: Budgets) -> str:
    if not told["explanation"]:
        return '<p class="note">This encoder does not tell what its Meta Tokens read.</p>'
    named = [(at, word) for at, word in enumerate(words) if word["text"] and word["share"] >= LEAST_LISTED][
        :LISTED
    ]
    rows = "".join(
        _row(at, word, word["share"] / named[0][1]["share"], budgets.groups[groups[at]].mixed("shade"))
        for at, word in named
    )
    unit = str(told["explanation"]["unit"])
    cells = any(word["kind"] == "visual" and not word["text"] for word in words)
    told_of = f"{unit[:1].upper()}{unit[1:]}." + (" Outlined: parts of a picture." if cells else "")
    note = f'<p class="note">{safe(told_of)}</p>'
    return f'<ol class="words" aria-label="Words by their share of the score">{rows}</ol>{note}'


def _row(at: int, word: Told, weight: float, shade: str) -> str:
    doubt = " class=doubt" if word["kind"] == "ocr" and word["confidence"] < DOUBTFUL else ""
    return (
        f'<li data-word="{at}"><span{doubt}>{safe(word["text"])}</span>'
        f'<span class="track"><i style="width:{weight * 100:.1f}%;background:{shade}"></i></span>'
        f"<b>{word['share'] * 100:.1f}%</b></li>"
    )


def _link(link: str) -> str:
    if not link:
        return ""
    return f'<p><a href="{safe(link)}" target="_blank" rel="noopener">Open this search in the demo</a></p>'
