"""Which pages are searched: a chip for each part of the filter, and the form to choose them, as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

from metaembed_demo.collection.facets import Facets
from metaembed_demo.collection.filter_parts import KINDS, MOST_NUMBER
from metaembed_demo.collection.filters import PageFilter
from metaembed_demo.core.languages import language_name
from metaembed_demo.core.text import plural

from . import search_tab
from .html import safe

LISTED = 100  # documents in the form; others are named
MOST_PLACES = 4  # documents of chosen pages with a chip each; of more, one chip tells all


def control(only: PageFilter, facets: Facets) -> str:
    """The control under the query; web/page_filter.js sends what is chosen.

    Empty where there is nothing to tell pages apart by, and no filter.
    """
    groups = _groups(only, facets)
    if not groups and not only:
        return ""
    chips = "".join(
        f'<li class="only-chip">{safe(name)}<button type="button" data-filter="{safe(str(left))}" '
        f'aria-label="Remove {safe(name)}"><span aria-hidden="true">×</span></button></li>'
        for name, left in _chips(only)
    )
    return (
        '<div class="only"><details class="only-how"><summary>Only…<span class="hidden"> some pages are '
        f'searched: choose which</span></summary><form class="only-form">{groups}<div class="only-ends">'
        '<button class="do">Search these</button>'
        '<button type="button" class="quiet" data-filter="">All pages</button></div></form></details>'
        + (f'<ul class="only-chips" aria-label="Only these pages are searched">{chips}</ul>' if chips else "")
        + "</div>"
    )


def none_left(message: str) -> str:
    """The state for a filter that leaves no page. message: of `facets.NoPageLeft`."""
    return search_tab.state(
        "ready", "No page is left to search", message, search_tab.Action("Search all pages", "only")
    )


def _chips(only: PageFilter) -> list[tuple[str, PageFilter]]:
    """For each part its name, and the filter without it."""
    found = [(kind, _name(kind, value), left) for kind, value, left in only.parts()]
    if len(only.places) > MOST_PLACES:
        told = f"chosen pages of {len(only.places)} documents"
        found = [part for part in found if part[0] != "place"] + [("place", told, only.without("place"))]
    return [(name, left) for _, name, left in found]


def _name(kind: str, value: object) -> str:
    """
    >>> _name("pages", (3, 10)), _name("pages", (3, 10**9)), _name("lang", "de"), _name("type", "pdf")
    ('pages 3-10', 'from page 3', 'German', 'PDF')
    >>> _name("added", (date(2026, 11, 1), date.max)), _name("added", (date(2026, 11, 1),) * 2)
    ('added from 2026-11-01', 'added 2026-11-01')
    """
    if kind == "lang":
        return language_name(str(value))
    if kind == "type":
        return str(value).upper()
    if not isinstance(value, tuple):
        return str(value)
    if kind == "place":
        name, spans = value
        return (
            name
            if spans == ((1, MOST_NUMBER),)
            else f"{name} p. {KINDS[kind].bare(value).rpartition('#')[2]}"
        )
    first, last = value
    added = kind == "added"
    if first == last:
        return f"added {first}" if added else f"page {first}"
    if last in (MOST_NUMBER, date.max):
        return f"added from {first}" if added else f"from page {first}"
    if first in (1, date.min):
        return f"added up to {last}" if added else f"up to page {last}"
    return f"added {first} to {last}" if added else f"pages {first}-{last}"


# The form


def _groups(only: PageFilter, facets: Facets) -> str:
    """A group for each kind by which pages can be told apart, or which the filter has parts of."""
    found = []
    if len(facets.documents) > 1 or only.documents:
        found.append(_documents(only, facets))
    for field, title in (("types", "File types"), ("languages", "Languages")):
        there, chosen = getattr(facets, field), getattr(only, field)
        if len(there) > 1 or chosen:
            kind = "lang" if field == "languages" else "type"
            boxes = _boxes(field, _counted(there, chosen, kind), chosen)
            found.append(_group(title, f'<div class="only-row">{boxes}</div>'))
    if facets.last > 1 or only.pages:
        first, last = only.pages[0] if only.pages else (1, MOST_NUMBER)
        ends = ("" if first == 1 else str(first), "" if last == MOST_NUMBER else str(last))
        about = f'type="number" min="1" max="{max(facets.last, 1)}" inputmode="numeric"'
        found.append(_group("Pages", _ends("pages", ends, about) + _others("pages", only.pages[1:])))
    if only.places:
        options = [(KINDS["place"].bare(each), _name("place", each)) for each in only.places]
        boxes = _boxes("places", options, [value for value, _ in options])
        found.append(_group("Chosen pages", f'<div class="only-list" tabindex="0">{boxes}</div>'))
    if facets.added or only.added:
        days = only.added[0] if only.added else (date.min, date.max)
        ends = ("" if days[0] == date.min else str(days[0]), "" if days[1] == date.max else str(days[1]))
        undated = f'<p class="hint">Left out: {plural(facets.undated, "page")} without a date.</p>'
        added = _ends("added", ends, 'type="date"') + _others("added", only.added[1:])
        found.append(_group("Added", added + (undated if facets.undated else "")))
    return "".join(found)


def _documents(only: PageFilter, facets: Facets) -> str:
    named = dict(list(facets.documents.items())[:LISTED])
    more = len(facets.documents) - len(named)
    hint = f'<p class="hint">{more:,} more can be named below.</p>' if more else ""
    boxes = _boxes("documents", _counted(named, only.documents, "document"), only.documents)
    return _group(
        "Documents",
        f'<div class="only-list" tabindex="0" role="group" aria-label="Documents">{boxes}</div>{hint}'
        '<label class="only-name">Or by name, * for any text '
        '<input type="text" name="documents" maxlength="255" autocomplete="off" spellcheck="false"></label>',
    )


def _counted(there: Mapping[str, int], chosen: Iterable[str], kind: str) -> list[tuple[str, str]]:
    """Values and labels: what there is with its number of pages, then what else is chosen."""
    labels = [(value, f"{_name(kind, value)} ({count:,})") for value, count in there.items()]
    return labels + [(value, _name(kind, value)) for value in chosen if value not in there]


def _boxes(field: str, options: Iterable[tuple[str, str]], chosen: Iterable[str]) -> str:
    marked = set(chosen)
    return "".join(
        f'<label><input type="checkbox" name="{field}" value="{safe(value)}"'
        f"{' checked' if value in marked else ''}> <span>{safe(label)}</span></label>"
        for value, label in options
    )


def _others(kind: str, spans: Iterable[tuple[object, object]]) -> str:
    """Further spans, which a link may have, to be left out one by one."""
    options = [(KINDS[kind].show(span), _name(kind, span)) for span in spans]
    return _boxes(kind, options, [value for value, _ in options])


def _ends(field: str, values: tuple[str, str], about: str) -> str:
    inputs = "".join(
        f'<label>{name} <input {about} data-end="{field}" value="{value}"></label>'
        for name, value in zip(("from", "to"), values, strict=True)
    )
    return f'<div class="only-row">{inputs}</div>'


def _group(title: str, inside: str) -> str:
    return f"<fieldset><legend>{title}</legend>{inside}</fieldset>"
