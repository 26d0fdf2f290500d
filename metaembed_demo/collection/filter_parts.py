"""The parts of a filter (collection/filters.py): their kinds, each read from text and written as text."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from metaembed_demo.index.selection import Span

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


def short(text: str) -> str:
    if len(text) > LONGEST:
        raise ValueError(f"A filter has at most {LONGEST:,} characters, not {len(text):,}.")
    return text


def split(text: str) -> list[str]:
    """Parts between spaces. Double quotes hold spaces, a backslash the next character."""
    words = shlex.shlex(text, posix=True)
    words.whitespace_split, words.commenters, words.quotes = True, "", '"'
    try:
        return list(words)
    except ValueError as error:
        what = "a quotation mark without its second" if "quot" in str(error) else "a backslash at its end"
        raise ValueError(f'The filter has {what}. Write document:"Annual report.pdf".') from None


def read_object(value: Mapping[str, Any]) -> dict[str, list[str]]:
    """Kind -> values as text, from an object."""
    kinds = {about.field: kind for kind, about in KINDS.items()}
    found: dict[str, list[str]] = {}
    for name, given in value.items():
        each = given if isinstance(given, list) else [given]
        if name not in kinds:
            raise ValueError(f"filter has no field {str(name)[:40]!r}. Its fields are {', '.join(kinds)}.")
        if len(each) > MOST_PARTS or not all(isinstance(one, str | int) for one in each):
            raise ValueError(f"filter.{name} is to be text, or a list of at most {MOST_PARTS} texts.")
        found[kinds[name]] = [short(str(one)) for one in each]
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


def language_code(value: str) -> str:
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


def spans_of(numbers: Iterable[int]) -> tuple[Span, ...]:
    """
    >>> spans_of({3, 1, 2, 7})
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


def seconds_at(day: date) -> int:
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
    "lang": _Kind("languages", language_code, str, ("language", "languages")),
    "pages": _Kind("pages", _pages, _show_pages, ("page",)),
    "added": _Kind("added", _added, _show_added, ()),
    "place": _Kind("places", _place, _show_place, ("places",)),
}
ALIASES = {name: kind for kind, about in KINDS.items() for name in (kind, *about.also)}
