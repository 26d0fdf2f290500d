"""Notices of many pages in few lines."""

from __future__ import annotations

import re
from collections.abc import Sequence

from metaembed_demo.core.moments import is_media, named, times
from metaembed_demo.core.types import Notice, Problem

NUMBER = re.compile(r"(\d+(?:,\d{3})*(?:\.\d+)?)")
PLURALS = {"is": "are", "was": "were", "has": "have", "does": "do"}


def in_lines(notices: Sequence[Notice]) -> list[Problem]:
    """Notices of one file whose texts differ in numbers alone as one, in the order of their first pages.

    >>> told = ["is blank and was left out.", "is blank and was left out.", "was read with confidence 0.62."]
    >>> notices = [Notice.of("a.pdf", page, text) for page, text in enumerate([*told, told[0], told[0]], 1)]
    >>> [line.message for line in in_lines(notices)]
    ['Pages 1-2, 4-5 of a.pdf are blank and were left out.', 'Page 3 of a.pdf was read with confidence 0.62.']
    """
    groups: dict[tuple[str, ...], list[tuple[Notice, list[str]]]] = {}
    for notice in notices:
        text = notice.message.removeprefix(f"{named(notice.source, notice.page)} ")
        parts = NUMBER.split(text)
        whole = text == notice.message  # it is about a file
        key = (notice.source, notice.message) if whole else (notice.source, *parts[::2])
        groups.setdefault(key, []).append((notice, parts))
    return [Problem(key[0], _line(group)) for key, group in groups.items()]


def _line(group: Sequence[tuple[Notice, list[str]]]) -> str:
    notice, parts = group[0]
    pages = sorted({each.page for each, _ in group})
    if len(pages) == 1:
        return notice.message
    told = [part for _, part in group]
    text = "".join(_span([row[i] for row in told]) if i % 2 else parts[i] for i in range(len(parts)))
    verb, _, rest = text.partition(" ")
    rest = re.sub(r"\b(and|but) (is|was|has)\b", lambda found: f"{found[1]} {PLURALS[found[2]]}", rest)
    if is_media(notice.source):
        return f"{notice.source} at {times(pages)} {text}"
    return f"Pages {page_ranges(pages)} of {notice.source} {PLURALS.get(verb, verb.removesuffix('s'))} {rest}"


def _span(numbers: Sequence[str]) -> str:
    """
    >>> _span(["0.62", "0.41", "0.5"]), _span(["8", "8"])
    ('0.41 to 0.62', '8')
    """
    low, high = (pick(numbers, key=lambda number: float(number.replace(",", ""))) for pick in (min, max))
    return low if low == high else f"{low} to {high}"


def page_ranges(pages: Sequence[int]) -> str:
    """
    >>> page_ranges([2, 4, 5, 6, 9, 10])
    '2, 4-6, 9-10'
    """
    runs: list[list[int]] = []
    for page in pages:
        if runs and page == runs[-1][1] + 1:
            runs[-1][1] = page
        else:
            runs.append([page, page])
    return ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in runs)
