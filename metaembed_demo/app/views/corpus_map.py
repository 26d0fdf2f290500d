"""The room Map: all pages on a plane, the query among them, and what lies near the open page. Pure functions.

web/corpus_map.js draws the plane on a canvas. It reads the attributes of `head` (what is lit), and fetches
the pages' places from the address there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from metaembed_demo.collection.corpus_layout import NONE, Layout
from metaembed_demo.core.budgets import OURS, Budget, Budgets
from metaembed_demo.core.moments import place
from metaembed_demo.core.text import budget_text, plural
from metaembed_demo.core.types import Hit

from .html import json_attribute, safe
from .search_tab import PICTURE, THUMBNAIL, Action, Address, ShownPage, state

BETWEEN = "Between groups"
UNNAMED = "Without words"


@dataclass(frozen=True)
class Lit:
    """What a search lights up. at: the query's place. nearest: how many pages that is made of."""

    query: str
    budget: Budget
    hits: Sequence[Hit]
    at: tuple[float, float]
    nearest: int


@dataclass(frozen=True)
class Near:
    """The open page, and its neighbours with their cosines. rank: among the hits. searched: whether it is
    one of the pages that are searched now."""

    page: ShownPage
    neighbours: Sequence[tuple[ShownPage, float]]
    rank: int | None = None
    searched: bool = True


@dataclass(frozen=True)
class Told:
    """What the room says beside the plane.

    pages: of the collection. new: pages that came since the plane was made. left_out: ids of pages that are
    not searched now.
    """

    layout: Layout
    pages: int
    new: int = 0
    lit: Lit | None = None
    left_out: Sequence[str] = field(default_factory=tuple)


def frame() -> str:
    """The canvas and its buttons, which stay while all else changes."""
    return (
        '<div class="map-frame"><div class="map-tools" role="toolbar" aria-label="Map">'
        '<button type="button" class="quiet" data-map="lasso" aria-pressed="false">Select pages</button>'
        '<span><button type="button" class="quiet" data-map="out" aria-label="Zoom out">−</button>'
        '<button type="button" class="quiet" data-map="in" aria-label="Zoom in">+</button>'
        '<button type="button" class="quiet" data-map="fit">Whole map</button></span></div>'
        '<canvas tabindex="0" role="application" aria-label="Map of all pages. Arrow keys move it, plus and '
        'minus zoom, zero shows all. Every page is also in the list below."></canvas>'
        '<p class="map-tip" hidden></p>'
        '<p class="map-chosen" hidden><b role="status"></b>'
        '<button type="button" class="do" data-map="search">Search these</button>'
        '<button type="button" class="quiet" data-map="clear">Clear</button></p></div>'
    )


def laying_out(pages: int) -> str:
    return (
        '<section class="progress" aria-label="Laying out"><p role="status"><b>Laying out '
        f"{plural(pages, 'page')}</b><span>once for these pages; the first time takes a minute</span></p>"
        '<div role="progressbar" aria-label="Pages laid out" class="unknown"><i></i></div></section>'
    )


def no_pages() -> str:
    text = "Add PDFs or pictures under Documents, and each page gets its place here."
    return state("empty", "There is nothing to lay out yet", text, Action("Add documents", "documents"))


def failed(message: str) -> str:
    return state("error", "There is no map", message, Action("Try again", "again"))


def data(
    layout: Layout, titles: Sequence[str], where: Sequence[str], shapes: Sequence[float]
) -> dict[str, object]:
    """What the canvas draws. where: file and page number. shapes: width by height."""
    return {
        **layout.as_json(),
        "names": [_label(words) for words in layout.names],
        "titles": list(titles),
        "where": list(where),
        "shapes": [round(shape, 2) for shape in shapes],
    }


def head(told: Told, address: str, pictures: str, opened: str | None, budgets: Budgets = OURS) -> str:
    """The finding, the stops, and what the canvas shows as attributes.

    Args:
        address: of `data` as JSON. pictures: base address of the pages' pictures. opened: the open page's id.
    """
    lit = told.lit
    shown = {
        "at": address,
        "pictures": pictures,
        "opened": opened,
        "hits": [hit.page_id for hit in lit.hits] if lit else [],
        "query": list(lit.at) if lit else None,
        "leftOut": list(told.left_out),
    }
    return (
        f'<div class="section-head" {json_attribute("shown", shown)}><h2 aria-live="polite">'
        f"{safe(_finding(told))}</h2>{_stops(lit.budget, budgets) if lit else ''}</div>"
        f'<p class="hint">{_caption(told)}</p>'
    )


def _finding(told: Told) -> str:
    """
    >>> from metaembed_demo.collection.corpus_layout import Layout
    >>> import numpy as np
    >>> plane = Layout(("a", "b"), np.zeros((2, 2), np.float32), np.zeros(2, np.int32), (("tea",),), 0.1)
    >>> _finding(Told(plane, 2)), _finding(Told(plane, 9))
    ('2 pages in 1 group', '2 of 9 pages, evenly drawn, in 1 group')
    """
    layout, groups = told.layout, len(told.layout.names)
    if told.lit is None:
        pages = plural(told.pages, "page")
        if len(layout.ids) < told.pages:
            pages = f"{len(layout.ids):,} of {pages}, evenly drawn,"
        return f"{pages} in {plural(groups, 'group')}"
    group_of = dict(zip(layout.ids, layout.groups.tolist(), strict=True))
    met = Counter(group_of[hit.page_id] for hit in told.lit.hits if hit.page_id in group_of)
    most, count = met.most_common(1)[0] if met else (NONE, 0)
    if most == NONE or not layout.names[most]:
        return f"The best {len(told.lit.hits)} pages lie in {plural(len(met), 'group')} of {groups}"
    return f"{count} of the best {len(told.lit.hits)} pages lie among {_label(layout.names[most])}"


def _caption(told: Told) -> str:
    parts = [
        "Pages lie close together where their first Meta Tokens are alike (1×1, by PaCMAP); how far apart "
        "two groups lie means little. A group is named by words that its pages have and others lack."
    ]
    if told.lit:
        parts.append(
            f"The query ◆ stands at the mean of the places of its {told.lit.nearest} nearest pages, weighted "
            "by cosine. Numbers are ranks at the chosen stop; the fuller the budget, the less the hits need "
            "to lie around it."
        )
    if told.new:
        parts.append(
            f"{plural(told.new, 'page')} came since this was laid out and "
            f"stand{'s' if told.new == 1 else ''} at the mean of their three nearest."
        )
    if told.left_out:
        parts.append(f"{plural(len(told.left_out), 'faded page')} are outside the filter.")
    return safe(" ".join(parts))


def _stops(budget: Budget, budgets: Budgets) -> str:
    buttons = "".join(
        f'<button type="button" data-stop="{at}" style="--shade:{group.shade}" '
        f'aria-pressed="{"true" if stop == budget else "false"}">{budget_text(stop.r_q, stop.r_c)}</button>'
        for at, (stop, group) in enumerate(zip(budgets, budgets.groups, strict=True))
    )
    return (
        '<div class="control"><span class="stops num" role="group" aria-label="Budget">'
        f"{buttons}</span></div>"
    )


def hint(lit: bool) -> str:
    """What to do while no page is open."""
    asked = "" if lit else " Ask something under Search, and the hits light up here."
    return (
        '<p class="hint map-hint">Click a page to see it with its neighbours, twice to open it under Search. '
        "Wheel, pinch or + and − zoom, drag or arrow keys move. To search some pages alone, press Select "
        f"pages and draw around them, or hold Shift.{asked}</p>"
    )


def side(near: Near, address: Address, stop: Budget | None) -> str:
    """The open page, large, and its neighbours. stop: of the search, if there is one."""
    page, where = near.page, place(near.page.source, near.page.number)
    at = f" at {budget_text(stop.r_q, stop.r_c)}" if stop else ""
    rank = f"Ranked {near.rank}{at}. " if near.rank else f"Not among the first ten{at}. " if stop else ""
    if stop and not near.searched:
        rank, ways = "Outside the filter, so it is not ranked. ", ""
    else:
        ways = _button("open", page.id, "Open in Search") if stop else ""
    ways += _button("document", page.id, "Search this document", "quiet")
    rows = "".join(
        f'<li><button type="button" data-page="{safe(each.id)}">'
        f'<img src="{address(each.id, THUMBNAIL)}" alt="" loading="lazy"><span>{safe(each.title)}</span>'
        f'<span class="hint num">{safe(place(each.source, each.number))} · {cosine:.2f}</span></button></li>'
        for each, cosine in near.neighbours
    )
    return (
        f'<section class="map-page" aria-label="Open page"><h3>{safe(page.title)}</h3>'
        f'<p class="hint">{safe(where)}</p><img class="map-picture" src="{address(page.id, PICTURE)}" '
        f'width="{page.width}" height="{page.height}" alt="{safe(where)}: {safe(page.title)}">'
        f'<p class="map-ways">{ways}</p><h4>Its nearest pages</h4><p class="hint">{rank}'
        f"By the cosine of first Meta Tokens, before the plane flattens them.</p><ol>{rows}</ol></section>"
    )


def _button(action: str, value: str, label: str, look: str = "do") -> str:
    return (
        f'<button type="button" class="{look}" data-action="{action}" data-value="{safe(value)}">'
        f"{safe(label)}</button>"
    )


def listing(layout: Layout) -> str:
    """The groups in words; web/corpus_map.js puts the pages into those that are opened."""
    counts = Counter(layout.groups.tolist())
    rows: Mapping[int, str] = dict(enumerate(map(_label, layout.names))) | (
        {NONE: BETWEEN} if counts[NONE] else {}
    )
    items = "".join(
        f'<details data-group="{group}"><summary>{safe(name)} <span class="hint num">'
        f"{plural(counts[group], 'page')}</span></summary>"
        f"<p>{_button('group', str(group), 'Search these', 'quiet')}</p><ul></ul></details>"
        for group, name in rows.items()
    )
    return (
        '<section class="map-list" aria-label="Groups of pages"><h3>The groups, in words</h3>'
        f"{items}</section>"
    )


def _label(words: Sequence[str]) -> str:
    return " · ".join(words) or UNNAMED
