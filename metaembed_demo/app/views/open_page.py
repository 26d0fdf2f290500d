"""The open page as HTML, with its overlay, how it was read, and its dialog at full size. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from metaembed_demo.core.languages import language_name
from metaembed_demo.core.moments import named, place
from metaembed_demo.core.types import Word

from . import word_marks
from .html import safe
from .judged import TICK
from .search_tab import PICTURE, Address, ShownPage, where

TRACE = (
    '<span class="copy-trace"><button type="button" class="quiet" data-copy="trace">Copy trace</button>'
    '<span class="copied" role="status"></span></span>'
)


def page(
    shown: ShownPage,
    rank: int,
    address: Address,
    overlay: bool = False,
    met: Sequence[Word] = (),
    judged: bool = False,
) -> str:
    """The open page with its overlay; a click shows it at full size.

    Args:
        address: gives the URL of its picture.
        overlay: whether the encoder gives evidence for an overlay.
        met: the words that the query meets literally, which are marked.
        judged: whether it is judged to answer the question.
    """
    name = named(shown.source, shown.number)
    also = ""
    if shown.also:
        places = ", ".join(safe(place(source, number)) for source, number in shown.also)
        also = f'<p class="also">The same page is also in {places}.</p>'
    shape = "wide" if shown.width > shown.height else "tall"
    return (
        '<section class="page" aria-label="Chosen page">'
        f'<div class="section-head"><h2><span class="rank num">{rank}</span> {safe(shown.title)}</h2>'
        f'<p class="hit-where">{where(shown)}{TICK if judged else ""}</p>{TRACE}</div>'
        f'<button type="button" class="picture {shape}" aria-label="Open {safe(name)} at full size">'
        f'<span class="sheet" style="--w:{shown.width};--h:{shown.height}">'
        f'<img src="{address(shown.id, PICTURE)}" width="{shown.width}" '
        f'height="{shown.height}" alt="{safe(name)}: {safe(shown.title)}">'
        '<svg class="outlines" viewBox="0 0 1000 1000" preserveAspectRatio="none" aria-hidden="true"></svg>'
        '<svg class="overlay" viewBox="0 0 1000 1000" preserveAspectRatio="none" aria-hidden="true"></svg>'
        f"{word_marks.marks(met)}</span></button>{word_marks.switch(overlay, met)}{also}{_how_read(shown)}"
        f"{lightbox(name)}</section>"
    )


def lightbox(name: str) -> str:
    """The dialog of a page at full size, see web/lightbox.js. name: the page's."""
    zooms = "".join(
        f'<button type="button" data-zoom="{way}" aria-label="Zoom {way}">{sign}</button>'
        for way, sign in (("out", chr(0x2212)), ("in", "+"))
    )
    return (
        f'<dialog class="lightbox" aria-label="{safe(name)}"><form method="dialog"><p>{safe(name)}</p>'
        f'{zooms}<output class="num" aria-live="polite">100%</output><button>Close</button></form>'
        f'<div class="lightbox-room" tabindex="0" role="group" aria-label="The page; plus and minus zoom, '
        'arrow keys move it"></div></dialog>'
    )


def _how_read(shown: ShownPage) -> str:
    """What was read how, and why, and the page's language."""
    told = [*shown.reading, *([f"Its language: {language_name(shown.language)}."] if shown.language else [])]
    if not told:
        return ""
    items = "".join(f"<li>{safe(sentence)}</li>" for sentence in told)
    return (
        f'<details class="how-read hint"><summary>How this page was read</summary><ul>{items}</ul></details>'
    )
