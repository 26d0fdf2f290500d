"""A query as phrases in quotation marks and bare words. Nothing in a query is syntax, but for the quotes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from metaembed_demo.core.text import normalised

from .tokenizer import Terms, terms

MOST_GROUPS = 100  # words of a query that count
LONGEST_JOIN = 4  # words in a row that may be one code: AX 4711 B
_QUOTED = re.compile('"([^"]+)"|“([^“”]+)”|„([^„“”]+)[“”]|«([^«»]+)»|「([^「」]+)」')


@dataclass(frozen=True, slots=True)
class Group:
    """One word of a query: `text` as typed, its parts, plain and folded, and its whole forms."""

    text: str
    plain: tuple[str, ...]
    parts: tuple[str, ...]
    whole: tuple[str, ...] = ()

    @property
    def is_code(self) -> bool:
        """Whether it is a code, a date or a number that is asked for as it stands.

        >>> [word for word in "AX-4711-B 6,278 5901234123457 2024 covid-19 A4 e-mail".split()
        ...  if groups([word])[0].is_code]
        ['AX-4711-B', '6,278', '5901234123457', 'covid-19']
        """
        digits = sum(map(str.isdigit, "".join(self.parts)))
        if not self.whole or not digits:
            return False
        mixed = digits < len("".join(self.parts))
        return len(self.whole[0]) >= (5 if mixed or len(self.parts) == 1 else 4)

    @property
    def may_be_code(self) -> bool:
        """Whether it is written like a code, or is a run of words that makes one."""
        return not self.parts or self.is_code


@dataclass(frozen=True, slots=True)
class Question:
    """A parsed query. `phrases` are the parts of each quoted phrase; `groups` all words, quoted ones, too.

    joins: runs of words that may stand as one code on a page; of these only the whole form is given.
    """

    text: str
    groups: tuple[Group, ...]
    phrases: tuple[tuple[str, ...], ...] = ()
    joins: tuple[Group, ...] = ()

    @property
    def plain(self) -> dict[str, str]:
        """The folded parts of all groups -> the same with accents."""
        return {
            part: bare for group in self.groups for part, bare in zip(group.parts, group.plain, strict=True)
        }


def question(text: str) -> Question:
    """Parse a query. Never raises; a query of signs alone has no groups.

    >>> found = question('where is "red door" in AX 4711?')
    >>> [group.text for group in found.groups], found.phrases, [join.whole for join in found.joins]
    (['where', 'is', 'red', 'door', 'in', 'AX', '4711?'], (('red', 'door'),), \
[('doorinax4711',), ('inax4711',), ('ax4711',)])
    >>> question('+(a OR "b" ~*:[]{} 😀').phrases, question("").groups
    ((('b',),), ())
    """
    plain = normalised(text)
    phrases = []
    for match in _QUOTED.finditer(plain):
        parts = tuple(terms(next(filter(None, match.groups())).split(), joining=False).parts)
        if parts:
            phrases.append(parts)
    found = groups(_QUOTED.sub(lambda match: f" {match.group(0)[1:-1]} ", plain).split())
    return Question(text, tuple(found), tuple(dict.fromkeys(phrases)), tuple(_joins(found)))


def groups(words: Sequence[str]) -> list[Group]:
    """The words that have terms, each once, at most MOST_GROUPS."""
    found: dict[tuple[str, ...], Group] = {}
    for word in words:
        of = terms([word], joining=False)
        if of.parts and len(found) < MOST_GROUPS:
            key = tuple(of.parts)
            found.setdefault(key, Group(word, tuple(of.plain), key, _whole(of)))
    return list(found.values())


def _whole(of: Terms) -> tuple[str, ...]:
    """Whole forms; a character of a script without spaces is one only where it is asked for alone."""
    forms = [form for form, _ in of.whole]
    return tuple(form for form in forms if len(form) > 1 or len(of.parts) == 1)


def _joins(found: Sequence[Group]) -> list[Group]:
    """Runs of two to LONGEST_JOIN words, one with a digit, as one code each."""
    joins = []
    for size in range(LONGEST_JOIN, 1, -1):
        for run in (found[at : at + size] for at in range(len(found) - size + 1)):
            parts = tuple(part for group in run for part in group.parts)
            joined = "".join(parts)
            if joined.isalnum() and any(part.isdigit() for part in parts) and len(joined) <= 24:
                joins.append(Group(" ".join(group.text for group in run), (), (), (joined,)))
    return joins
