"""Words as terms: folded parts in reading order, and whole forms of codes, numbers and dates.

A word of a page, or of a query, is split where letters, digits and signs meet. So "AX-4711-B" has the parts
ax, 4711, b and the whole form ax4711b, which "AX4711B" has, too; "6,278" has 6, 278 and 6278. Scripts that
are written without spaces, and Korean, give overlapping pairs of characters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby, pairwise

from metaembed_demo.core.text import normalised

MOST_PARTS = 20_000  # of a page
LONGEST = 64  # characters of a part; the rest is cut
LONGEST_CODE = 40  # characters of a whole form
MOST_DIGIT_WORDS = 5  # that are joined as one number

_KOREAN = "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af"
_UNSPACED = (  # Chinese and Japanese; Thai, Lao, Burmese and Khmer
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
)
_PAIRED = re.compile(f"([{_UNSPACED}{_KOREAN}]+)")
_JOINS = re.compile(f"[{_UNSPACED}]")
_RUNS = re.compile("[a-z]+|[0-9]+")
# Marks that are left out in comparison: of Latin, Greek and Cyrillic letters, Hebrew and Arabic vowels.
_MARKS = re.compile("[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670]")
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe"})
_DATE = re.compile(r"(\d{1,4})([-./])(\d{1,2})\2(\d{1,4})")


@dataclass(frozen=True, slots=True)
class Pieces:
    """One word as terms. `plain`: its parts with accents, for a stemmer; `parts`: the same, folded.

    whole: its whole forms, of words of several parts and of numbers; the ISO form of a date is one, too.
    """

    plain: tuple[str, ...]
    parts: tuple[str, ...]
    whole: tuple[str, ...]


@dataclass(slots=True)
class Terms:
    """The terms of a text: `plain`, `parts` in order, `spans` of each (its first and last word), `whole`.

    whole: pairs of a whole form, and its first and last word.
    """

    plain: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)
    whole: list[tuple[str, tuple[int, int]]] = field(default_factory=list)

    def put(self, pieces: Pieces, span: tuple[int, int]) -> None:
        self.plain += pieces.plain
        self.parts += pieces.parts
        self.spans += [span] * len(pieces.parts)
        self.whole += [(form, span) for form in pieces.whole]


def terms(words: Iterable[str], joining: bool = True) -> Terms:
    """The terms of `words`, at most MOST_PARTS parts.

    joining: whether scripts without spaces go on from one word to the next, as on a page.

    >>> found = terms(["Order", "AX-4711-B,", "6,278", "図書", "館"])
    >>> found.parts
    ['order', 'ax', '4711', 'b', '6', '278', '図書', '書館']
    >>> [form for form, _ in found.whole], found.spans[-1]
    (['ax4711b', '6278', '図', '書', '館'], (3, 4))
    """
    found = Terms()
    run: list[tuple[str, int]] = []  # characters without spaces between them, and their words
    digits: list[tuple[str, int]] = []  # the last words, as long as they are plain digits
    for at, word in enumerate(words):
        for piece, paired in _chunks(word):
            if paired:
                _put_number(found, digits)
                if run and not (joining and _JOINS.match(run[-1][0]) and _JOINS.match(piece)):
                    _put_pairs(found, run)
                run += [(character, at) for character in _clusters(piece)]
                continue
            if run:
                _put_pairs(found, run)
            of_word = pieces(piece)
            found.put(of_word, (at, at))
            number = of_word.parts[0] if len(of_word.parts) == 1 and of_word.parts[0].isdigit() else ""
            if digits and not (number and piece.startswith(number)):
                _put_number(found, digits)
            if number:
                digits.append((number, at))
                if not piece.endswith(number):
                    _put_number(found, digits)
        if len(found.parts) + len(run) >= MOST_PARTS:
            break
        if not joining:
            _put_pairs(found, run)
    _put_pairs(found, run)
    _put_number(found, digits)
    return found


@lru_cache(maxsize=1 << 16)
def pieces(chunk: str) -> Pieces:
    """The terms of a word in lower case, of a script with spaces.

    >>> pieces("zr-5500/12"), pieces("café")
    (Pieces(plain=('zr', '5500', '12'), parts=('zr', '5500', '12'), whole=('zr550012',)), \
Pieces(plain=('café',), parts=('cafe',), whole=()))
    >>> pieces("12.03.2024").whole, pieces("l'eau").parts
    (('12032024', '20240312'), ('eau',))
    """
    runs = tuple(_RUNS.findall(chunk) if chunk.isascii() else _runs(chunk))
    if not runs:
        return Pieces((), (), ())
    numeric = any(run.isdigit() for run in runs)
    joined = folded("".join(runs))
    whole = (joined,) if (numeric or len(runs) > 1) and len(joined) <= LONGEST_CODE else ()
    if len(runs) > 1 and not numeric:  # the l of l'eau, the s of dog's
        runs = tuple(run for run in runs if len(run) > 1) or runs
    plain = tuple(run[:LONGEST] for run in runs)
    return Pieces(plain, tuple(map(folded, plain)), tuple(dict.fromkeys((*whole, *_dates(chunk)))))


def folded(word: str) -> str:
    """`word`, in lower case, without accents and Semitic vowel points.

    >>> folded("électricité"), folded("łódź"), folded("が")
    ('electricite', 'lodz', 'が')
    """
    if word.isascii():
        return word
    bare = _MARKS.sub("", unicodedata.normalize("NFKD", word.translate(_LETTERS)))
    return unicodedata.normalize("NFC", bare)


def is_paired(part: str) -> bool:
    """Whether a part is a pair of characters, or a single one, of a script that gives pairs."""
    return _PAIRED.match(part) is not None


@lru_cache(maxsize=1 << 16)
def _chunks(word: str) -> tuple[tuple[str, bool], ...]:
    """Pieces of a word in lower case, and whether pairs of characters are its terms."""
    found = []
    for chunk in normalised(word).casefold().split():
        if chunk.isascii():
            found.append((chunk, False))
            continue
        chunk = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in chunk)
        found += [(part, at % 2 == 1) for at, part in enumerate(_PAIRED.split(chunk)) if part]
    return tuple(found)


def _runs(chunk: str) -> list[str]:
    kinds = groupby(chunk, _kind)
    return ["".join(run) for kind, run in kinds if kind]


@lru_cache(maxsize=1 << 12)
def _kind(character: str) -> str:
    if character.isdecimal():
        return "digit"
    return "letter" if unicodedata.category(character)[0] in "LMN" else ""


def _clusters(text: str) -> list[str]:
    """Characters, each with the marks that follow it."""
    found: list[str] = []
    for character in text:
        if found and unicodedata.category(character)[0] == "M":
            found[-1] += character
        else:
            found.append(character)
    return found


def _put_pairs(found: Terms, run: list[tuple[str, int]]) -> None:
    """Add the pairs of `run`, and each character as a whole form; a single one is a part. Empties it."""
    pairs = pairwise(run) if len(run) > 1 else ((one, ("", one[1])) for one in run)
    for (first, at), (second, end) in pairs:
        found.plain.append(first + second)
        found.parts.append(first + second)
        found.spans.append((at, end))
    found.whole += [(character, (at, at)) for character, at in run]
    run.clear()


def _put_number(found: Terms, digits: list[tuple[str, int]]) -> None:
    """Add adjacent words of digits as one number, as "5 901234 123457" is. Empties it."""
    joined = "".join(word for word, _ in digits)
    if 1 < len(digits) <= MOST_DIGIT_WORDS and len(joined) <= LONGEST_CODE:
        found.whole.append((joined, (digits[0][1], digits[-1][1])))
    digits.clear()


def _dates(chunk: str) -> list[str]:
    """Dates as year, month, day without signs; of 3/12/2024 both readings."""
    match = _DATE.search(chunk)
    if match is None:
        return []
    first, sign, second, third = match.groups()
    orders: Sequence[tuple[str, str, str]] = [(third, second, first), (third, first, second)]
    if len(first) == 4:
        orders = [(first, second, third)]
    elif sign == ".":
        orders = orders[:1]
    found = []
    for year, month, day in orders:
        if len(year) in (2, 4) and 1 <= int(month) <= 12 and 1 <= int(day) <= 31 and len(day) < 3:
            century = "" if len(year) == 4 else "20" if int(year) < 50 else "19"
            found.append(f"{century}{year}{int(month):02}{int(day):02}")
    return found
