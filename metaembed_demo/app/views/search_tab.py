"""The search side of the page as HTML: header, results, the open page, footer, empty and error states.

Pure functions. Untrusted text is escaped by `safe`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from metaembed_demo import __version__
from metaembed_demo.collection.modes import BOTH
from metaembed_demo.core.config import SPACE
from metaembed_demo.core.languages import language_name
from metaembed_demo.core.moments import spot
from metaembed_demo.core.text import budget_text, bytes_text, ms_text, plural
from metaembed_demo.core.types import Hit, Trace, Word

from . import fit_note, word_marks
from .html import json_attribute, safe
from .judged import TICK
from .score_bar import legend, score_bar
from .timing_chart import STAGES


class ShownPage(Protocol):
    """The attributes of a stored page that the views need; see `collection.StoredPage`."""

    @property
    def id(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def number(self) -> int: ...
    @property
    def title(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def language(self) -> str: ...
    @property
    def reading(self) -> tuple[str, ...]: ...
    @property
    def also(self) -> tuple[tuple[str, int], ...]: ...


Address = Callable[[str, str], str]  # page id, file name -> URL
THUMBNAIL, PICTURE = "thumbnail.jpg", "page.jpg"  # file names served by app/server/pictures.py


@dataclass(frozen=True)
class Action:
    """A button for the next step: its label, and the name and value that the page's script sends."""

    label: str
    name: str
    value: str = ""


def header(encoder: str, device: str, pages: int, notice: str = "", storage: str = "fp16") -> str:
    """The header line, and for saved figures where they come from.

    Args:
        notice: why the configured encoder is not in use. storage: the kind of the vectors.
    """
    status = f"{safe(encoder)} · {safe(device)} · {plural(pages, 'page')}"
    status = f"{safe(notice)} · {status}" if notice else status
    told = {"encoder": encoder, "device": device, "pages": pages, "storage": storage, "version": __version__}
    return (
        f'<a class="skip" href="#results">Skip to results</a>'
        f'<header class="top" {json_attribute("provenance", told)}>'
        "<h1>MetaEmbed demo <span>one index, any budget</span></h1>"
        f'<p class="about">{_about()}</p>'
        f'<p class="status num">{status}</p>'
        '<button type="button" class="mode" aria-label="Switch between light and dark">'
        '<svg viewBox="0 0 20 20" width="20" height="20" aria-hidden="true">'
        '<circle cx="10" cy="10" r="7.5" fill="none" stroke="currentColor" stroke-width="1.5"/>'
        '<path d="M10 2.5a7.5 7.5 0 0 1 0 15z" fill="currentColor"/></svg></button></header>'
    )


PAPER = "https://arxiv.org/abs/2509.18095"


def _about() -> str:
    """Links to the paper, to the code where its place is known, and to the tour."""
    code = f'<a href="{safe(SPACE.code)}" target="_blank" rel="noopener">code</a>' if SPACE.code else ""
    return (
        f'<a href="{PAPER}" target="_blank" rel="noopener">paper</a>{code}'
        '<button type="button" data-tour>how it works</button>'
    )


TOUR = (
    "Ask for a page in your own words: the page that opens is marked where its score comes from.",
    "Move the dial: fewer Meta Tokens take less memory and time, and the order changes at once.",
    "Point at or tap the matrix to see what two tokens read, and test the explanation under Page map.",
    "Budget finds the cheapest stop that keeps the quality you need on your own pages.",
)


def tour() -> str:
    """Four sentences for a first visit; web/tour.js hides them after the first search."""
    steps = "".join(f"<li>{step}</li>" for step in TOUR)
    return (
        f'<aside class="tour" hidden aria-label="How this page works"><ol>{steps}</ol>'
        '<button type="button" class="quiet">Got it</button></aside>'
    )


def more() -> str:
    """The button that opens storage and the free sliders; web/popover.js names the storage in use on it."""
    return (
        '<button type="button" class="more" data-opens="settings" aria-expanded="false" '
        'aria-controls="settings"><span class="more-kind">Storage</span><span>Settings</span></button>'
    )


def free_hint(turn: int = 0) -> str:
    """The hint under the free sliders. `turn`: number of the move that it answers."""
    return (
        f'<p class="hint" data-turn="{turn}">Advanced, untrained stops: only those of the dial are trained. '
        "What lies between them works, because every budget is a prefix of the same vectors, but no training "
        "step asked for it.</p>"
    )


def drop(words: str, many: bool, turn: int = 0, shown: str = "") -> str:
    """A drop area for files.

    Args:
        words: its label. many: accepts several files of any type; otherwise one picture, which is shown.
        turn: a new number resets the area. shown: the URL of a picture in it.
    """
    kinds = "multiple" if many else 'accept="image/*"'
    picture = ""
    if not many:
        clear = '<button type="button" class="drop-clear" aria-label="Remove the picture">✕</button>'
        source = f'src="{safe(shown)}"' if shown else "hidden"
        picture = f'<img alt="" {source}>{clear}'
    kind = ("many" if many else "one") + (" full" if shown else "")
    return (
        f'<div class="drop {kind}" data-rest="{safe(words)}" data-turn="{turn}"><label>'
        f'<input type="file" {kinds} class="hidden" aria-label="{safe(words)}">'
        '<svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true">'
        '<path d="M12 16V5m-5 5 5-5 5 5M4 16v3h16v-3" fill="none" stroke="currentColor" '
        'stroke-width="1.6"/></svg>'
        f'<span class="drop-words" role="status">{safe(words)}</span></label>{picture}</div>'
    )


def state(kind: str, title: str, text: str, action: Action | None = None) -> str:
    """An empty or error state: what happened, what to do, one action.

    Args:
        kind: "empty", "ready" or "error"; selects the drawing.
        title, text: plain text, escaped here.
        action: the one button, or None.
    """
    button = ""
    if action:
        button = (
            f'<button type="button" class="do" data-action="{safe(action.name)}" '
            f'data-value="{safe(action.value)}">{safe(action.label)}</button>'
        )
    role = ' role="alert"' if kind == "error" else ""
    return (
        f'<div class="state {kind}"{role}>{_drawing(kind)}<h2>{safe(title)}</h2>'
        f"<p>{safe(text)}</p>{button}</div>"
    )


def _drawing(kind: str) -> str:
    """Five nested sheets, filled according to the state."""
    filled = {"empty": 0, "ready": 5, "error": 1}.get(kind, 0)
    sheets = "".join(
        f'<rect x="{4 + i * 9}" y="{20 - i * 4}" width="36" height="{28 + i * 8}" rx="2" '
        f'style="--shade:var(--shade-{5 - i})" class="{"on" if 4 - i < filled else ""}"/>'
        for i in reversed(range(5))
    )
    return f'<svg viewBox="0 0 80 68" width="80" height="68" aria-hidden="true">{sheets}</svg>'


def no_pages(samples: bool = True) -> str:
    """The state for an empty index. `samples`: whether there is a sample corpus to restore."""
    title = "There is nothing to search yet"
    if not samples:
        text = "Add PDFs or pictures under Documents; they are searchable page by page as they are read."
        return state("empty", title, text, Action("Add documents", "documents"))
    text = "Add PDFs or pictures under Documents, or bring back the sample corpus."
    return state("empty", title, text, Action("Restore the sample corpus", "restore"))


def no_query(pages: int, example: str | None) -> str:
    return state(
        "ready",
        f"{plural(pages, 'page')} ready to search",
        "Ask in your own words, or drop a picture. Then move the dial and watch the order change.",
        Action(f"Ask “{example}”", "query", example) if example else None,
    )


def failure(message: str, query: str) -> str:
    return state("error", "The search did not finish", message, Action("Search again", "query", query))


def no_words(trace: Trace) -> str:
    """The state for a search by words that no page holds."""
    return _searched(trace) + state(
        "ready",
        "No page holds these words",
        "By meaning, pages that say it in other words are found.",
        Action("Search by meaning and words", "mode", BOTH),
    )


def results(
    trace: Trace,
    pages: Mapping[str, ShownPage],
    gains: Mapping[str, Sequence[float]],
    chosen: str | None,
    address: Address,
    languages: Mapping[str, int] | None = None,
    met: Mapping[str, Sequence[Word]] | None = None,
    judged: Container[str] = (),
    beyond: Hit | None = None,
    reader: str = "",
) -> str:
    """The hits as a list of cards.

    Args:
        trace: the search.
        pages: page id -> page, for every hit.
        gains: page id -> prefix gains.
        chosen: the id of the open hit.
        address: gives the URLs of thumbnails.
        languages: language code -> number of pages; where there are several, each hit tells its own.
        met: page id -> the words that the query meets literally, marked on the thumbnail.
        judged: ids of the pages judged to answer this question, which get a tick.
        beyond: the judged answer where it is not among the hits; shown below them.
        reader: the encoder to offer where the one in use does not read the question's language.
    """
    several = languages is not None and len(languages) > 1
    top = max((hit.score for hit in trace.hits), default=1.0)
    shown = [hit for hit in (*trace.hits, *([beyond] if beyond else [])) if hit.page_id in pages]
    cards = "".join(
        _card(
            hit,
            pages[hit.page_id],
            gains[hit.page_id],
            top,
            trace,
            hit.page_id == chosen,
            address,
            several,
            (met or {}).get(hit.page_id, ()),
            judged=hit.page_id in judged,
            beyond=hit is beyond,
        )
        for hit in shown
    )
    return (
        f'<section class="results" aria-label="Results"{" data-moved" if trace.movement else ""}>'
        '<div class="section-head">'
        f'<h2 aria-live="polite">Best {len(trace.hits)} of {plural(trace.pages_searched, "page")}</h2>'
        f"{_views()}</div>{_searched(trace)}{fit_note.note(trace, reader)}<ol>{cards}</ol>"
        f"{legend(trace.budgets, trace.budget)}{fit_note.WHAT if trace.fit else ''}</section>"
    )


def _views() -> str:
    """The switch between list and grid; web/results.js remembers it."""
    return (
        '<p class="as" role="group" aria-label="Show the hits as">'
        '<button type="button" data-as="list" aria-pressed="true">List</button>'
        '<button type="button" data-as="grid" aria-pressed="false">Grid</button></p>'
    )


def _searched(trace: Trace) -> str:
    """The spellings that were searched beside the query's, and the phrases that no page holds."""
    told = [f"No page holds the phrase “{safe(phrase)}”." for phrase in trace.missing]
    if trace.also:
        also = [f"{safe(', '.join(found))} for “{safe(word)}”" for word, found in trace.also.items()]
        told.append(f"Also searched: {'; '.join(also)}.")
    return f'<p class="hint searched" role="status">{" ".join(told)}</p>' if told else ""


def _card(
    hit: Hit,
    page: ShownPage,
    gains: Sequence[float],
    top: float,
    trace: Trace,
    chosen: bool,
    address: Address,
    in_language: bool = False,
    met: Sequence[Word] = (),
    *,
    judged: bool = False,
    beyond: bool = False,
) -> str:
    moved = _movement(trace.movement.get(hit.page_id, 0))
    if trace.movement and hit.page_id not in trace.movement and not beyond:
        moved = '<span class="moved new">new</span>'
    current = ' aria-current="true"' if chosen else ""
    return (
        f"<li{' class=beyond' if beyond else ''}>"
        '<button type="button" class="hit" '
        f'data-page="{safe(hit.page_id)}"{current}><span class="thumb-box">'
        f'<span class="sheet"{word_marks.lines(met)}>'
        f'<img src="{address(page.id, THUMBNAIL)}" alt="">'
        f'</span></span><span class="hit-rank num">{hit.rank}</span>'
        f'<span class="hit-title">{safe(page.title)}</span>'
        f'<b class="hit-score num">{trace.shown(hit.score):.2f}</b>'
        f'<span class="hit-where">{where(page, in_language)}{TICK if judged else ""}</span>'
        f"{moved}{score_bar([*map(trace.shown, gains)], trace.shown(top))}{_shares(trace, hit)}</button></li>"
    )


def _shares(trace: Trace, hit: Hit) -> str:
    """What words did for a hit: their share of its score, or their score, and whether a literal was met; its
    mean cosine, and how well it fits."""
    told, of = fit_note.of_hit(trace, hit), trace.words.get(hit.page_id)
    if of is not None:
        words = f"BM25 {of.bm25:.2f}"
        if trace.mode == BOTH:
            words = f'<i style="--words:{of.share:.0%}"></i>words {of.share:.0%}'
        told = f"{words}{'<b>exact</b>' if of.literals else ''}{told}"
    return f'<span class="share num">{told}</span>' if told else ""


def where(page: ShownPage, in_language: bool = False) -> str:
    language = f"<span>{safe(language_name(page.language))}</span>" if in_language and page.language else ""
    at = f'<span class="num">{spot(page.source, page.number)}</span>'
    return f'<span class="file">{safe(page.source)}</span>{at}{language}'


def _movement(places: int) -> str:
    if not places:
        return ""
    name, arrow = ("up", "▲") if places > 0 else ("down", "▼")
    return (
        f'<span class="moved {name}" role="img" aria-label="moved {name} {plural(abs(places), "place")}">'
        f"{arrow}{abs(places)}</span>"
    )


def footer(trace: Trace | None, pages: int, vectors: int, size: int) -> str:
    """Stage timings of the last search, and the size of the index.

    Args:
        trace: the last search or None.
        pages, vectors: in the index; size: bytes they take.
    """
    index = f"Index {plural(pages, 'page')} · {plural(vectors, 'vector')} · {bytes_text(size)}"
    stages = "No search yet"
    if trace is not None:
        times = " · ".join(
            f"{stage} {trace.timings[stage]:.1f}" for stage in STAGES if stage in trace.timings
        )
        total = ms_text(trace.timings.get("total", 0.0))
        budget = budget_text(trace.budget.r_q, trace.budget.r_c)
        stages = f"{times} ms · {total} in all at {budget}"
    return f'<footer class="foot num"><p>{stages}</p><p>{index}</p></footer>'
