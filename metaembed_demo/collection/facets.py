"""What the pages of a collection can be told apart by, those that a filter selects, and why none is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection as Sized
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from metaembed_demo.core.moments import is_media
from metaembed_demo.core.text import plural
from metaembed_demo.index.base import MultiVectorIndex
from metaembed_demo.index.selection import Selection

from .filter_parts import KINDS, day_of, type_of
from .filters import Filtered, PageFilter
from .page_store import PageStore

NAMED = 5  # values in a message


class NoPageLeft(ValueError):
    """A filter selects no page. The message says which of its parts excludes all."""


@dataclass(frozen=True)
class Facets:
    """Each mapping from a value to its number of pages; languages begin with the most frequent.

    last: the highest page number, those of moments apart. added: the first and last day; None where no page
    has a date. undated: pages without one.
    """

    documents: Mapping[str, int]
    types: Mapping[str, int]
    languages: Mapping[str, int]
    last: int
    added: tuple[date, date] | None
    undated: int

    @classmethod
    def of(cls, pages: Iterable[Filtered]) -> Facets:
        documents, types, languages = Counter[str](), Counter[str](), Counter[str]()
        last, undated, first_added, last_added = 0, 0, 0, 0
        for page in pages:
            sources = {source: None for source, _ in page.places}
            for source in sources:
                documents[source] += 1
            for kind in {type_of(source): None for source in sources}:
                types[kind] += 1
            last = max([last, *(number for source, number in page.places if not is_media(source))])
            languages[page.language] += 1
            if page.added:
                first_added = min(first_added or page.added, page.added)
                last_added = max(last_added, page.added)
            else:
                undated += 1
        del types[""], languages[""]  # unknown; a Counter does not mind where there are none
        added = (day_of(first_added), day_of(last_added)) if last_added else None
        return cls(documents, types, dict(languages.most_common()), last, added, undated)


class Selecting:
    """The facets of a collection, and the pages that the last filter selects, until its pages change."""

    def __init__(self) -> None:
        self.changed()

    def changed(self) -> None:
        self._facets: Facets | None = None
        self._has_moments: bool | None = None
        self._last: tuple[PageFilter, Selection] | None = None

    def has_moments(self, sources: Iterable[str]) -> bool:
        """Whether one of the collection's documents is a video or sound."""
        if self._has_moments is None:
            self._has_moments = any(map(is_media, sources))
        return self._has_moments

    def facets(self, pages: PageStore) -> Facets:
        if self._facets is None:
            self._facets = Facets.of(page for _, page in pages.entries())
        return self._facets

    def select(self, only: PageFilter, pages: PageStore, index: MultiVectorIndex) -> Selection:
        """The pages that `only` matches, in the order of the index. Those on disk are not loaded."""
        if self._last is None or self._last[0] != only:
            found = {page_id: None for page_id, page in pages.entries() if only.matches(page)}
            # A server's ids are many requests; the pages were added there in their own order.
            if index.in_process:
                chosen = Selection(page_id for page_id in index.ids if page_id in found)
            else:
                chosen = Selection(found, only.where(self.facets(pages).documents))
            self._last = only, chosen
        return self._last[1]

    def why_none(self, only: PageFilter, pages: PageStore) -> str:
        """A message about a filter that matches no page."""
        entries, facets = [page for _, page in pages.entries()], self.facets(pages)
        alone = [kind for kind, part in only.by_kind().items() if not any(map(part.matches, entries))]
        if alone:
            return " ".join(_lacking(kind, only, facets) for kind in alone)
        counts = {kind: sum(map(only.without(kind).matches, entries)) for kind in only.by_kind()}
        told = [f"without {kind}: {plural(count, 'page')}" for kind, count in counts.items() if count]
        left = f" Left out one by one, {'; '.join(told)}." if told else ""
        return f"No page meets all of the filter {only}.{left}{_undated(only, facets)}"


def _lacking(kind: str, only: PageFilter, facets: Facets) -> str:
    """That no page meets the parts of `kind`, and what there is."""
    about = KINDS[kind]
    asked = [about.bare(value) for value in getattr(only, about.field)]
    names = " or ".join(repr(each[:40]) for each in asked[:NAMED])
    if kind == "document":
        return f"No document is called {names}; what is indexed: {_some(facets.documents)}."
    if kind == "type":
        return f"No document is of the type {names}; what is indexed is {_some(facets.types)}."
    if kind == "lang":
        here = (
            f"what is indexed is in {_some(facets.languages)}" if facets.languages else "none has a known one"
        )
        return f"No page is in the language {names}; {here}."
    if kind == "place":
        return f"None of the pages {names} is indexed; what is: {_some(facets.documents)}."
    if kind == "pages":
        return f"No document has the pages {names}; the longest ends with page {facets.last}."
    here = f"those here {_between(*facets.added)}" if facets.added else "no page here has a date"
    return f"No page was added on {names}; {here}.{_undated(only, facets)}"


def _between(first: date, last: date) -> str:
    return f"were on {first}" if first == last else f"were from {first} to {last}"


def _undated(only: PageFilter, facets: Facets) -> str:
    """That pages without a date are on no day, where that matters."""
    if not (only.added and facets.undated):
        return ""
    return (
        f" Without a date: {plural(facets.undated, 'page')}, of the samples or of an index made before dates "
        "were kept; added: leaves them out."
    )


def _some(values: Sized[str]) -> str:
    """
    >>> _some(["b", "a"]), _some([]), _some("abcdefg")
    ('b, a', 'without one', 'a, b, c, d, e and 2 more')
    """
    shown = ", ".join(list(values)[:NAMED])
    more = len(values) - NAMED
    return (shown + (f" and {more:,} more" if more > 0 else "")) or "without one"
