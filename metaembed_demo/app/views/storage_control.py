"""The storage control under the dial, and the check against exact search, as HTML.

Pure functions. Titles come from documents, so they are escaped by `safe`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from metaembed_demo.core.text import DASH, bytes_text, ms_text, plural
from metaembed_demo.core.types import Trace
from metaembed_demo.evaluation.exact_search import DEEP, RESCORE, Exactness, Way
from metaembed_demo.index.quantization import KINDS

from .figure import SAVE, savable, table
from .html import safe

NAMES = {"float16": "float16", "int8": "int8", "pq": "PQ", "binary": "binary"}
WHAT = {
    "float16": "The components themselves, two bytes each",
    "int8": "A component in one byte, times one scale a page",
    "pq": "Four components in one byte, after a rotation: the nearest of 256 centres fitted to these pages",
    "binary": "The sign of each component after a rotation, one bit",
}
TARGETS = (0.9, 0.95, 0.99, 1.0)  # of recall; 1.0 scores every page


@dataclass(frozen=True)
class Stored:
    """State of the storage control.

    sizes: bytes per page at the current budget, for each of KINDS.
    least: minimum number of pages, for kinds that have one.
    changing: target kind of a running conversion or ""; done: pages converted; problem: why one failed.
    listing: pages in inverted lists being built, and their total; None if none are.
    rescore: whether the best hits are rescored with full vectors.
    recall: the recall target, None if every page is scored anyway.
    checkable: whether there is a search to compare; found: HTML of the comparison.
    """

    kind: str
    pages: int
    sizes: Mapping[str, int]
    least: Mapping[str, int] = field(default_factory=dict)
    changing: str = ""
    done: int = 0
    listing: tuple[int, int] | None = None
    problem: str = ""
    rescore: bool = False
    recall: float | None = None
    checkable: bool = False
    found: str = ""


def control(now: Stored) -> str:
    """The storage control: four kinds with their bytes per page, options of the current kind, the check."""
    top = max(now.sizes.values())
    kinds = "".join(_kind(kind, now, top) for kind in KINDS)
    return (
        '<section class="keep" aria-labelledby="keep-title"><h3 id="keep-title">Storage</h3>'
        f'<div class="kinds" role="group" aria-labelledby="keep-title">{kinds}</div>'
        f'<div class="keep-more">{_coming(now)}{_more(now)}</div>{_listing(now)}{_problem(now)}</section>'
        f"{now.found}"
    )


def _kind(kind: str, now: Stored, top: int) -> str:
    """One storage kind: its name, its bytes per page, and a bar of them."""
    needs = now.least.get(kind, 0)
    short = now.pages < needs
    size = f"from {plural(needs, 'page')}" if short else bytes_text(now.sizes[kind])
    words = f"{WHAT[kind]}. {size}{'' if short else ' a page at this budget'}"
    marks = ' class="coming"' if kind == now.changing else ""
    off = ' aria-disabled="true"' if short or now.changing else ""
    pressed = "true" if kind == now.kind else "false"
    return (
        f'<button type="button" data-kind="{kind}" aria-pressed="{pressed}"{marks}{off} '
        f'title="{safe(words)}">'
        f'<b>{NAMES[kind]}</b> <span class="num">{size}</span>'
        f'<i style="width:{0 if short else now.sizes[kind] / top * 100:.1f}%"></i></button>'
    )


def _rescore(now: Stored) -> str:
    if now.kind == "float16":
        return ""
    on = " checked" if now.rescore else ""
    return (
        f'<label class="rescore"><input type="checkbox" data-set="rescore"{on}> '
        f"Re-rank the best {RESCORE} by the full vectors</label>"
    )


def _recall(now: Stored) -> str:
    """The recall target, if there is a coarse stage."""
    if now.recall is None:
        return ""
    options = "".join(
        f'<option value="{target}"{" selected" if target == now.recall else ""}>'
        f"{f'{target:.0%}' if target < 1 else 'all pages'}</option>"
        for target in TARGETS
    )
    return f'<label class="recall">Recall target <select data-set="recall">{options}</select></label>'


def _check(now: Stored) -> str:
    off = "" if now.checkable else " disabled"
    return f'<button type="button" class="quiet" data-action="check"{off}>Check against exact</button>'


def _more(now: Stored) -> str:
    """Options of the current storage kind; replaced by the progress during a conversion."""
    return "" if now.changing else f"{_rescore(now)}{_recall(now)}{_check(now)}"


def _coming(now: Stored) -> str:
    """The progress of a conversion, with a cancel button. The status is announced once."""
    if not now.changing:
        return '<p class="keep-told" role="status"></p>'
    kind, done = NAMES[now.changing], min(now.done, now.pages)
    verb = "Fitting PQ" if now.changing == "pq" and not done else "Converting"
    return (
        f'<p class="hidden" role="status">Converting to {kind}; until then searches read '
        f"{NAMES[now.kind]}</p>"
        f'<p class="keep-told">{verb}: <span class="num">{done:,} of {plural(now.pages, "page")}</span></p>'
        f'<div class="keep-bar" role="progressbar" aria-label="Pages converted to {kind}" aria-valuemin="0" '
        f'aria-valuemax="{now.pages}" aria-valuenow="{done}">'
        f'<i style="width:{done / max(now.pages, 1) * 100:.1f}%"></i></div>'
        '<button type="button" class="quiet" data-action="cancel">Cancel</button>'
    )


def _listing(now: Stored) -> str:
    if now.listing is None:
        return ""
    done, pages = now.listing
    return (
        f'<p class="keep-lists">Inverted lists are being made: <span class="num">{done:,} of '
        f"{plural(pages, 'page')}</span>. Searches scan all pages meanwhile.</p>"
    )


def _problem(now: Stored) -> str:
    return f'<p class="keep-problem" role="alert">{safe(now.problem)}</p>' if now.problem else ""


def scored(trace: Trace) -> str:
    """How a search scored pages, to follow "pages were scored"."""
    if trace.storage == "float16":
        return "exactly"
    again = f", the best {trace.rescored} again by their full vectors" if trace.rescored else ""
    return f"by their {NAMES[trace.storage]} codes{again}"


# The check


def agreement(found: Exactness, kind: str, rescore: bool, named: Mapping[str, tuple[str, str]]) -> str:
    """Agreement and cost of a search compared with an exact search over full vectors.

    Args:
        kind, rescore: the search's scoring. named: page id -> title and place, of the pages that moved.
    """
    exact = len(found.exact.hits)
    ways = _ways(found, kind, rescore)
    rows = [
        [
            name,
            DASH if way is found.exact else f"{found.agree(way)} of {exact}",
            ms_text(way.ms),
            f"{way.scored:,} of {found.pages:,}",
        ]
        for name, way in ways
    ]
    head = ["", "Hits that agree", "Time", "Pages scored"]
    body = f"<div>{table(head, rows)}{SAVE}</div>{_moved(found, named)}"
    return (
        f'<figure class="agree" {_files(found, ways)}><div class="agree-head"><h3>{_finding(found)}</h3>'
        '<button type="button" class="agree-close" data-action="hide" data-undrawn '
        f'aria-label="Hide the check">✕</button></div><div class="agree-body">{body}</div></figure>'
    )


def _ways(found: Exactness, kind: str, rescore: bool) -> list[tuple[str, Way]]:
    by = "full vectors" if kind == "float16" else f"{NAMES[kind]} codes"
    again = f", best {RESCORE} by full vectors" if rescore and kind != "float16" else ""
    ways = [(f"This search: {by}{again}", found.here)]
    if found.rescored:
        ways.append((f"Best {RESCORE} re-ranked by full vectors", found.rescored))
    return [*ways, ("Exact: every page by full vectors", found.exact)]


def _finding(found: Exactness) -> str:
    agree, exact = found.agree(found.here), len(found.exact.hits)
    if agree < exact:
        return f"{agree} of {exact} hits agree with exact search"
    order = ", in the same order" if not found.moves else f"; {_places(len(found.moves))}"
    return f"{agree} of {exact} hits agree with exact search{order}"


def _places(n: int) -> str:
    return "1 is in another place" if n == 1 else f"{n} are in other places"


def _moved(found: Exactness, named: Mapping[str, tuple[str, str]]) -> str:
    """The pages whose ranks differ, with both ranks; pages found by only one search are emphasised."""
    if not found.moves:
        return ""
    both = set(found.here.hits) & set(found.exact.hits)
    rows = ""
    for move in found.moves:
        title, place = named.get(move.page_id, ("A page removed since", ""))
        only = "" if move.page_id in both else ' class="only"'
        rows += (
            f'<li{only} title="{safe(place)}">'
            f'<span class="file">{safe(title)}</span><b class="num">{_rank(move.here)} '
            '<span aria-hidden="true">→</span><span class="hidden">, exact</span> '
            f"{_rank(move.exact)}</b></li>"
        )
    return f'<div class="agree-moved"><h4>Rank here → exact rank</h4><ul>{rows}</ul></div>'


def _rank(rank: int | None) -> str:
    return f"{rank}" if rank else f"over {DEEP}"


def _files(found: Exactness, ways: list[tuple[str, Way]]) -> str:
    data = {
        "pages": found.pages,
        "ways": [
            {
                "way": name,
                "hits": list(way.hits),
                "agree": found.agree(way),
                "ms": round(way.ms, 3),
                "scored": way.scored,
            }
            for name, way in ways
        ],
        "moves": [{"page_id": move.page_id, "here": move.here, "exact": move.exact} for move in found.moves],
    }
    rows = [[name, found.agree(way), round(way.ms, 3), way.scored] for name, way in ways]
    return savable("exactness", data, [["way", "hits that agree", "ms", "pages scored"], *rows])
