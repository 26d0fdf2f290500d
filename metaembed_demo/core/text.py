"""Text: normalised for search, cleaned of characters that HTML cannot hold, numbers with units."""

from __future__ import annotations

import re
import unicodedata

TIMES = "\u00d7"
DASH = "\u2013"


# Characters that HTML cannot hold (control characters, lone surrogates), and bidirectional marks, which can
# make "exe.fdp" read as "pdf.exe".
LONGEST_NAME = 255  # characters of a file's name that are kept: answers repeat it for each page
UNSHOWN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufffe\uffff]"
)


# Characters without a shape of their own, which would cut a word or hide it from a query: the soft hyphen,
# joiners and zero-width spaces, marks of direction, variation selectors, tags, the Arabic kashida.
SHAPELESS = re.compile(
    "[\u00ad\u034f\u061c\u0640\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff]"
)
RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
HYPHENS = str.maketrans("\u2010\u2011", "--")


def normalised(text: str) -> str:
    """`text` as it is compared in search: NFKC, without shapeless characters, with one kind of hyphen.

    For words of pages and for queries alike. So ligatures, full-width letters and Arabic presentation forms
    become plain letters, and an accent joins its letter.

    >>> normalised("of\ufb01ce de\u00adduct\u200bible caf\u0065\u0301 \uff21\uff22")
    'office deductible caf\u00e9 AB'
    """
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", SHAPELESS.sub("", text)).translate(HYPHENS)


def clean(text: str) -> str:
    """`text` with control characters, lone surrogates and bidirectional marks replaced by U+FFFD.

    >>> clean("a\\x00b\\u202ec") == "a\\ufffdb\\ufffdc"
    True
    """
    return UNSHOWN.sub("\ufffd", text)


def short_name(name: str) -> str:
    """A file's name, or its path in an archive, of at most LONGEST_NAME characters; its end is kept.

    >>> short_name("a.pdf"), len(short_name("x" * 60_000 + ".pdf")), short_name("x" * 60_000 + ".pdf")[-5:]
    ('a.pdf', 255, 'x.pdf')
    """
    if len(name) <= LONGEST_NAME:
        return name
    half = LONGEST_NAME // 2
    return f"{name[: LONGEST_NAME - half - 1]}…{name[-half:]}"


def check_length(query: str, most: int) -> None:
    """Raises ValueError when a query is longer than `most` characters."""
    if len(query) > most:
        raise ValueError(
            f"The query has {len(query):,} characters, over the limit of {most:,}. Shorten it, or search "
            f"again with its first {most:,}."
        )


def bytes_text(n: float) -> str:
    """Bytes in decimal units: a GB is 10^9 bytes everywhere. Where 2^30 is meant, it says GiB.

    >>> [bytes_text(n) for n in (256, 1000, 49_152, 1_363_149, 99_960_000, 4.9e12)]
    ['256 B', '1 KB', '49 KB', '1.4 MB', '100 MB', '4.9 TB']
    """
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if n < 999.5 or unit == "TB":
            break
        n /= 1000
    return f"{n:.0f} {unit}" if n >= 9.95 or n == int(n) else f"{n:.1f} {unit}"


def ms_text(ms: float) -> str:
    """
    >>> [ms_text(ms) for ms in (3.14159, 187.2, 1580.1)]
    ['3.1 ms', '187 ms', '1.6 s']
    """
    if ms >= 999.5:
        return f"{ms / 1000:.1f} s"
    return f"{ms:.1f} ms" if ms < 99.95 else f"{ms:.0f} ms"


def plural(n: int, noun: str) -> str:
    """
    >>> plural(1, "page"), plural(4608, "vector"), plural(2, "query")
    ('1 page', '4,608 vectors', '2 queries')
    """
    many = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{n:,} {noun if n == 1 else many}"


COUNTS = ("no", "one", "two", "three", "four", "five", "six")


def count_text(count: int) -> str:
    """A small number in words.

    >>> count_text(5), count_text(7)
    ('five', '7')
    """
    return COUNTS[count] if count < len(COUNTS) else str(count)


def budget_text(r_q: int, r_c: int) -> str:
    return f"{r_q}{TIMES}{r_c}"
