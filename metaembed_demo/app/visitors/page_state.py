"""The page's regions as HTML strings: the search side and the Documents tab."""

from __future__ import annotations

from dataclasses import dataclass

# Name of an evidence tab in links -> region of `Screen`.
REGION_OF = {
    "alignment": "alignment",
    "page-map": "pagemap",
    "ranks": "ranks",
    "timing": "timing",
}
# The regions that a search fills, without a search.
EMPTY = dict.fromkeys(("page", "alignment", "marks", "pagemap", "ranks", "timing", "link"), "")


@dataclass
class Screen:
    """The search side of the page, one HTML string per region; None leaves a region unchanged."""

    header: str | None = None
    visit: str | None = None  # what the browser keeps of the visit
    ranking: str | None = None
    only: str | None = None  # which pages are searched
    dial: str | None = None
    storage: str | None = None
    results: str | None = None
    page: str | None = None
    alignment: str | None = None
    marks: str | None = None  # for the overlay, always on the page
    pagemap: str | None = None
    ranks: str | None = None
    timing: str | None = None
    footer: str | None = None
    link: str | None = None


@dataclass
class StudyRooms:
    """The rooms Budget and Tokens; None leaves a region unchanged."""

    ways: str | None = None  # to measure
    worth: str | None = None
    sheet: str | None = None
    tokens: str | None = None
    done: str | None = None  # how far the job is that one of them shows as running


@dataclass
class DocumentsTab:
    """The Documents tab; None leaves a region unchanged. `busy`: whether an upload is being indexed."""

    news: str | None = None
    listing: str | None = None
    statistics: str | None = None
    busy: bool = False
