"""PageFilter: which pages a search looks at. As text, for the command line, the API and links:

    type:pdf lang:de document:"Annual report.pdf" pages:3-10 added:2026-11-01..2026-11-30
    place:"Annual report.pdf#3-5,8" place:minutes.pdf#1-

Several parts of one kind are alternatives; kinds are combined by and. A name with * or ? is a pattern.
"""

from __future__ import annotations

import fnmatch
import re
import shlex
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, timedelta, timezone
from functools import cached_property, lru_cache
from pathlib import PurePosixPath
from typing import Any, NamedTuple, Protocol

from metaembed_demo.index.selection import Span, Where

from .stored_page import Place

LONGEST, MOST_PARTS = 2_000, 100  # characters and parts of a filter
MOST_NUMBER = 10**9  # of a page
EPOCH, DAY = date(1970, 1, 1), 86_400  # the day from which seconds count, and seconds of a day
SAME_TYPE = {"jpeg": "jpg", "jfif": "jpg", "tiff": "tif", "heif": "heic", "j2k": "jp2", "jpx": "jp2"}
TYPE = re.compile(r"[a-z0-9]{1,10}")
LANGUAGE = re.compile(r"[a-z]{2,3}")
NUMBER = r"[1-9]\d{0,8}"
PAGES = re.compile(rf"({NUMBER})?(-)?({NUMBER})?")
PLAIN = re.compile(r'[^\s"\\]+')
PLACED = re.compile(r"(.+)#([0-9,-]+)", re.DOTALL)
Days = tuple[date, date]  # first and last, both included
Chosen = tuple[str, tuple[Span, ...]]  # a document's exact name, and pages of it


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
        for part in _split(_short(text)):
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
            only = cls._of(_parts(value))
        else:
            raise ValueError(f"filter is to be text or an object, not {type(value).__name__}.")
        if not language:
            return only
        return replace(only, languages=tuple(dict.fromkeys([*only.languages, _language(language)])))

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
        return cls(places=tuple((source, _spans(of)) for source, of in numbers.items()))._fitting()

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
        if self.pages and not any(first <= number <= last for first, last in self.pages):
            return False
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
        return tuple((max(1, _start(first)), _start(last) + DAY - 1) for first, last in self.added)

    def where(self, documents: Iterable[str]) -> Where:
        """The same for a server, with patterns replaced by those of `documents` that they mean."""
        named = tuple(source for source in documents if self.names(source)) if self.documents else ()
        return Where(named, self.types, self.languages, self.pages, self._seconds, self.places)


@lru_cache(10_000)
def type_of(source: str) -> str:
    """The type of a document by its name.

    >>> type_of("box.zip/a.JPEG"), type_of("report.pdf"), type_of("scan")
    ('jpg', 'pdf', '')
    """
    ending = PurePosixPath(source).suffix.lower().removeprefix(".")
    return SAME_TYPE.get(ending, ending)


def day_of(seconds: int) -> date:
    """The day (UTC) of a page's date."""
    return EPOCH + timedelta(days=seconds // DAY)


# Reading parts


def _short(text: str) -> str:
    if len(text) > LONGEST:
        raise ValueError(f"A filter has at most {LONGEST:,} characters, not {len(text):,}.")
    return text


def _split(text: str) -> list[str]:
    """Parts between spaces. Double quotes hold spaces, a backslash the next character."""
    words = shlex.shlex(text, posix=True)
    words.whitespace_split, words.commenters, words.quotes = True, "", '"'
    try:
        return list(words)
    except ValueError as error:
        what = "a quotation mark without its second" if "quot" in str(error) else "a backslash at its end"
        raise ValueError(f'The filter has {what}. Write document:"Annual report.pdf".') from None


def _parts(value: Mapping[str, Any]) -> dict[str, list[str]]:
    """Kind -> values as text, from an object."""
    kinds = {about.field: kind for kind, about in KINDS.items()}
    found: dict[str, list[str]] = {}
    for name, given in value.items():
        each = given if isinstance(given, list) else [given]
        if name not in kinds:
            raise ValueError(f"filter has no field {str(name)[:40]!r}. Its fields are {', '.join(kinds)}.")
        if len(each) > MOST_PARTS or not all(isinstance(one, str | int) for one in each):
            raise ValueError(f"filter.{name} is to be text, or a list of at most {MOST_PARTS} texts.")
        found[kinds[name]] = [_short(str(one)) for one in each]
    return found


def _document(value: str) -> str:
    if not value.strip():
        raise ValueError('document: needs a name or a pattern, as document:"Annual report.pdf".')
    return value


def _type(value: str) -> str:
    ending = value.lower().removeprefix(".")
    if not TYPE.fullmatch(ending):
        raise ValueError(f"type:{value[:40]} is no file type. Write an ending, as type:pdf.")
    return SAME_TYPE.get(ending, ending)


def _language(value: str) -> str:
    code = value.lower()
    if not LANGUAGE.fullmatch(code):
        raise ValueError(f"lang:{value[:40]} is no language. Write its ISO 639-1 code, as lang:de.")
    return code


def _pages(value: str) -> Span:
    """
    >>> [_pages(text) for text in ("7", "3-10", "-2")], _show_pages(_pages("3-"))
    ([(7, 7), (3, 10), (1, 2)], '3-')
    """
    found = PAGES.fullmatch(value)
    if found is None or not (found[1] or found[3]) or (found[3] and not found[2]):
        raise ValueError(f"pages:{value[:40]} names no pages. Write pages:3, pages:3-10 or pages:3-.")
    first = int(found[1] or 1)
    last = int(found[3]) if found[3] else MOST_NUMBER if found[2] else first
    if last < first:
        raise ValueError(f"pages:{value} ends before it begins. Write pages:{last}-{first}.")
    return first, last


def _show_pages(span: Span) -> str:
    first, last = span
    if first == last:
        return str(first)
    return f"{first}-{'' if last == MOST_NUMBER else last}"


def _place(value: str) -> Chosen:
    """
    >>> _place("a#1.pdf#3-5,8"), _show_place(("a b.pdf", ((1, 10**9),)))
    (('a#1.pdf', ((3, 5), (8, 8))), '"a b.pdf#1-"')
    """
    found = PLACED.fullmatch(value)
    if found is None:
        raise ValueError(f"place:{value[:40]} names no pages of a document. Write place:report.pdf#3-5,8.")
    return found[1], tuple(map(_pages, found[2].split(",")))


def _bare_place(chosen: Chosen) -> str:
    name, spans = chosen
    return f"{name}#{','.join(map(_show_pages, spans))}"


def _show_place(chosen: Chosen) -> str:
    return _quoted(_bare_place(chosen))


def _spans(numbers: Iterable[int]) -> tuple[Span, ...]:
    """
    >>> _spans({3, 1, 2, 7})
    ((1, 3), (7, 7))
    """
    found: list[Span] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1] = found[-1][0], number
        else:
            found.append((number, number))
    return tuple(found)


def _added(value: str) -> Days:
    """
    >>> _show_added(_added("2026-11-01")), _show_added(_added("..2026-11-30"))
    ('2026-11-01', '..2026-11-30')
    """
    start, dots, end = value.partition("..")
    if not (start or end):
        raise ValueError("added: needs a day, as added:2026-11-01, or days, as added:2026-11-01..2026-11-30.")
    first = _day(start, value) if start else date.min
    last = _day(end, value) if end else date.max if dots else first
    if last < first:
        raise ValueError(f"added:{value} ends before it begins. Write added:{last}..{first}.")
    return first, last


def _day(text: str, value: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=timezone.utc).date()
    except ValueError:
        raise ValueError(
            f"added:{value[:40]} has no day in {text[:20]!r}. Write year-month-day, as added:2026-11-01, or "
            "days, as added:2026-11-01..2026-11-30."
        ) from None


def _show_added(days: Days) -> str:
    first, last = days
    if first == last:
        return str(first)
    return f"{'' if first == date.min else first}..{'' if last == date.max else last}"


def _start(day: date) -> int:
    return (day - EPOCH).days * DAY


def _quoted(text: str) -> str:
    """
    >>> print(_quoted('a.pdf'), _quoted('an "odd" name.pdf'))
    a.pdf "an \\"odd\\" name.pdf"
    """
    if PLAIN.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _pattern(name: str) -> re.Pattern[str]:
    """Of a folded name, with * and ? alone: names hold brackets. It takes no time that grows with each *."""
    return re.compile(fnmatch.translate(name.replace("[", "[[]")))


class _Kind(NamedTuple):
    """field: of PageFilter. read, show: a value from text and back. also: other names of it."""

    field: str
    read: Callable[[str], Any]
    show: Callable[[Any], str]
    also: tuple[str, ...]

    def bare(self, value: Any) -> str:
        """A value as text, without quotes."""
        if self.field == "places":
            return _bare_place(value)
        return value if isinstance(value, str) else self.show(value)


KINDS = {
    "document": _Kind("documents", _document, _quoted, ("documents", "doc")),
    "type": _Kind("types", _type, str, ("types",)),
    "lang": _Kind("languages", _language, str, ("language", "languages")),
    "pages": _Kind("pages", _pages, _show_pages, ("page",)),
    "added": _Kind("added", _added, _show_added, ()),
    "place": _Kind("places", _place, _show_place, ("places",)),
}
ALIASES = {name: kind for kind, about in KINDS.items() for name in (kind, *about.also)}
EVERY = PageFilter()  # allows all pages
