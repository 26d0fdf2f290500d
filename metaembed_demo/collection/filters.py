"""PageFilter: which pages a search looks at. As text, for the command line, the API and links:

    type:pdf lang:de document:"Annual report.pdf" pages:3-10 added:2026-11-01..2026-11-30
    place:"Annual report.pdf#3-5,8" place:minutes.pdf#1-

Several parts of one kind are alternatives; kinds are combined by and. A name with * or ? is a pattern.
"""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Protocol

from metaembed_demo.core.moments import is_media
from metaembed_demo.index.selection import Span, Where

from .filter_parts import (
    ALIASES,
    DAY,
    KINDS,
    LONGEST,
    MOST_NUMBER,
    MOST_PARTS,
    Chosen,
    Days,
    language_code,
    read_object,
    seconds_at,
    short,
    spans_of,
    split,
    type_of,
)
from .stored_page import Place


class Filtered(Protocol):
    """What a filter looks at of a page. added: seconds UTC, 0 where it is unknown."""

    @property
    def places(self) -> tuple[Place, ...]: ...
    @property
    def language(self) -> str: ...
    @property
    def added(self) -> int: ...


@dataclass(frozen=True)
class PageFilter:
    """Limits a search to some pages; each empty part allows all.

    documents: names or patterns, case aside. types: endings, as "pdf". languages: ISO 639-1 codes. pages:
    numbers in their document, first and last. added: the days (UTC) on which pages were added, first and
    last; a page without a date is on none. places: pages of documents, by their exact names. One place of a
    page has to meet documents, types, pages and places.
    """

    documents: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    pages: tuple[Span, ...] = ()
    added: tuple[Days, ...] = ()
    places: tuple[Chosen, ...] = ()

    @classmethod
    def parse(cls, text: str) -> PageFilter:
        """From text as in the module's head; empty text allows all pages.

        Raises:
            ValueError: naming the part that is wrong, and what to write.

        >>> only = PageFilter.parse('type:.PDF pages:3-10 pages:12 document:"a b*" added:2026-11-01..')
        >>> only.types, only.pages, only.documents
        (('pdf',), ((3, 10), (12, 12)), ('a b*',))
        >>> str(only)
        'document:"a b*" type:pdf pages:3-10 pages:12 added:2026-11-01..'
        """
        found: dict[str, list[str]] = {}
        for part in split(short(text)):
            name, colon, value = part.partition(":")
            kind = ALIASES.get(name.lower()) if colon else None
            if kind is None:
                raise ValueError(
                    f"The filter has no part {part[:60]!r}. Write {', '.join(KINDS)}, a colon and a value, "
                    'as type:pdf; quote what has spaces, as document:"Annual report.pdf".'
                )
            found.setdefault(kind, []).append(value)
        return cls._of(found)

    @classmethod
    def of(cls, value: str | Mapping[str, Any], language: str = "") -> PageFilter:
        """From text, or from an object of this class's fields, each a string or a list of them.

        language: one more, from callers of old.

        Raises:
            ValueError: as `parse`.

        >>> str(PageFilter.of({"types": "pdf", "pages": ["3-", 1]}, language="DE"))
        'type:pdf lang:de pages:3- pages:1'
        """
        if isinstance(value, str):
            only = cls.parse(value)
        elif isinstance(value, Mapping):
            only = cls._of(read_object(value))
        else:
            raise ValueError(f"filter is to be text or an object, not {type(value).__name__}.")
        if not language:
            return only
        return replace(only, languages=tuple(dict.fromkeys([*only.languages, language_code(language)])))

    @classmethod
    def of_documents(cls, sources: Iterable[str]) -> PageFilter:
        """Of all pages of the documents of exactly these names. Raises ValueError as `of_places`."""
        return cls(places=tuple((source, ((1, MOST_NUMBER),)) for source in sources))._fitting()

    @classmethod
    def of_places(cls, places: Iterable[Place]) -> PageFilter:
        """Of these places alone.

        Raises:
            ValueError: when they do not fit into a filter.

        >>> str(PageFilter.of_places([("a.pdf", 3), ("b c.jpg", 1), ("a.pdf", 4), ("a.pdf", 9)]))
        'place:a.pdf#3-4,9 place:"b c.jpg#1"'
        """
        numbers: dict[str, set[int]] = {}
        for source, number in places:
            numbers.setdefault(source, set()).add(number)
        return cls(places=tuple((source, spans_of(of)) for source, of in numbers.items()))._fitting()

    def _fitting(self) -> PageFilter:
        if len(self.places) > MOST_PARTS or len(str(self)) > LONGEST:
            raise ValueError(
                f"These pages of {len(self.places):,} documents do not fit into a filter, which has at most "
                f"{MOST_PARTS} parts and {LONGEST:,} characters. Choose fewer."
            )
        return self

    @classmethod
    def _of(cls, found: Mapping[str, list[str]]) -> PageFilter:
        """From the values of each kind."""
        if sum(map(len, found.values())) > MOST_PARTS:
            raise ValueError(f"A filter has at most {MOST_PARTS} parts. Use a pattern, as document:2026-*.")
        read = {
            KINDS[kind].field: tuple(dict.fromkeys(map(KINDS[kind].read, values)))
            for kind, values in found.items()
        }
        return cls(**read)

    def __bool__(self) -> bool:
        return any(getattr(self, each.name) for each in fields(self))

    def __str__(self) -> str:
        return " ".join(f"{kind}:{KINDS[kind].show(value)}" for kind, value, _ in self.parts())

    def parts(self) -> list[tuple[str, Any, PageFilter]]:
        """Each part: its kind, its value, and the filter without it."""
        found = []
        for kind, about in KINDS.items():
            values = getattr(self, about.field)
            for each in values:
                left = tuple(other for other in values if other != each)
                found.append((kind, each, replace(self, **{about.field: left})))
        return found

    def by_kind(self) -> dict[str, PageFilter]:
        """Kind -> a filter with its parts alone, for each kind that there are parts of."""
        of = {kind: {about.field: getattr(self, about.field)} for kind, about in KINDS.items()}
        return {kind: PageFilter(**kept) for kind, kept in of.items() if any(kept.values())}

    def without(self, kind: str) -> PageFilter:
        """The filter without all parts of a kind."""
        return replace(self, **{KINDS[kind].field: ()})

    def as_json(self) -> dict[str, list[str]]:
        """The parts that there are, as `of` takes them."""
        found: dict[str, list[str]] = {}
        for about in KINDS.values():
            if values := getattr(self, about.field):
                found[about.field] = [about.bare(each) for each in values]
        return found

    @property
    def language(self) -> str:
        """The language, where there is one alone; else ""."""
        return self.languages[0] if len(self.languages) == 1 else ""

    def matches(self, page: Filtered) -> bool:
        if self.languages and page.language not in self.languages:
            return False
        if self._seconds and not any(first <= page.added <= last for first, last in self._seconds):
            return False
        placed = self.documents or self.types or self.pages or self.places
        return not placed or any(self._has(source, number) for source, number in page.places)

    def _has(self, source: str, number: int) -> bool:
        if self.types and type_of(source) not in self.types:
            return False
        if self.pages and (is_media(source) or not any(a <= number <= b for a, b in self.pages)):
            return False  # the numbers of moments are times
        if self.places and not any(
            source == name and any(first <= number <= last for first, last in spans)
            for name, spans in self.places
        ):
            return False
        return not self.documents or self.names(source)

    def names(self, source: str) -> bool:
        """Whether a document's name is one of `documents`."""
        if source not in self._named:
            name = _folded(source)
            self._named[source] = any(
                pattern.match(name) or name == plain for plain, pattern in self._patterns
            )
        return self._named[source]

    @cached_property
    def _named(self) -> dict[str, bool]:
        return {}

    @cached_property
    def _patterns(self) -> list[tuple[str, re.Pattern[str]]]:
        return [(_folded(name), _pattern(_folded(name))) for name in self.documents]

    @cached_property
    def _seconds(self) -> tuple[Span, ...]:
        """`added` in seconds UTC; 0, which is no date, is outside."""
        return tuple((max(1, seconds_at(first)), seconds_at(last) + DAY - 1) for first, last in self.added)

    def where(self, documents: Iterable[str]) -> Where:
        """The same for a server, with patterns replaced by those of `documents` that they mean.

        Where page numbers are asked for, videos and sound are no such documents: see `_has`.
        """
        named = tuple(source for source in documents if not self.documents or self.names(source))
        paged = tuple(source for source in named if not (self.pages and is_media(source)))
        named = paged if self.documents or len(paged) < len(named) else ()
        return Where(named, self.types, self.languages, self.pages, self._seconds, self.places)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _pattern(name: str) -> re.Pattern[str]:
    """Of a folded name, with * and ? alone: names hold brackets. It takes no time that grows with each *."""
    return re.compile(fnmatch.translate(name.replace("[", "[[]")))


EVERY = PageFilter()  # allows all pages
