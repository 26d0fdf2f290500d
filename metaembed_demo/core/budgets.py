"""Budgets (r_q, r_c): an encoder's trained stops, and the nested groups of Meta Tokens between them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import overload

# The five nested budgets (r_q, r_c) that MMR trains (paper, section 3.2, table 3), and that Mini has.
BUDGETS: tuple[tuple[int, int], ...] = ((1, 1), (2, 4), (4, 8), (8, 16), (16, 64))
MOST_STOPS = 12  # of an encoder: as many fit on a dial
MOST_TOKENS = 9_999  # a side
SHADES = 5  # of the ramp in app/theme.py


@dataclass(frozen=True, slots=True, order=True)
class Budget:
    """The number of Meta Tokens a search uses: the first `r_q` of the query, the first `r_c` of a page.

    >>> Budget.parse("8x16")
    Budget(r_q=8, r_c=16)
    """

    r_q: int
    r_c: int

    def __post_init__(self) -> None:
        if self.r_q < 1 or self.r_c < 1:
            raise ValueError(f"A budget needs at least one token a side, not {self.r_q}x{self.r_c}.")

    def __str__(self) -> str:
        return f"{self.r_q}x{self.r_c}"

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Parse "8x16" or "8,16". Raises ValueError with the accepted format."""
        match = re.fullmatch(r"\s*\(?\s*(\d{1,4})\s*[x×,]\s*(\d{1,4})\s*\)?\s*", text, re.IGNORECASE)
        if not match:
            raise ValueError(f"{text!r} is not a budget. Write r_q x r_c, for example 8x16.")
        return cls(int(match[1]), int(match[2]))

    def clip(self, r_q: int, r_c: int) -> Budget:
        """This budget, capped at (r_q, r_c)."""
        return Budget(min(self.r_q, r_q), min(self.r_c, r_c))


@dataclass(frozen=True)
class Group:
    """One nested group of Meta Tokens: the tokens that stop `index` of `count` adds to the previous stop.

    `query` and `candidate` are 1-based inclusive token ranges, (9, 8) where a side adds none.
    """

    index: int
    query: tuple[int, int]
    candidate: tuple[int, int]
    count: int = len(BUDGETS)

    @property
    def shade(self) -> str:
        """The CSS color of this group, on a ramp of `count` shades; see `mixed` for what lies between two.

        >>> Group(4, (9, 16), (17, 64)).shade, Group(1, (2, 4), (5, 8), count=3).shade
        ('var(--shade-5)', 'var(--shade-3)')
        >>> Group(1, (2, 2), (2, 4), count=6).shade
        'var(--shade-2-of-6)'
        """
        full, part = self._place
        return f"var(--shade-{self.index + 1}-of-{self.count})" if part else f"var(--shade-{full})"

    def mixed(self, ramp: str) -> str:
        """This group's color on the ramp of the custom properties --RAMP-1 to 5.

        >>> Group(1, (2, 2), (2, 4), count=6).mixed("shade"), Group(0, (1, 1), (1, 1), count=6).mixed("mark")
        ('color-mix(in srgb, var(--shade-1) 20%, var(--shade-2))', 'var(--mark-1)')
        """
        full, part = self._place
        if not part:
            return f"var(--{ramp}-{full})"
        share = round((1 - part) * 100)
        return f"color-mix(in srgb, var(--{ramp}-{full}) {share}%, var(--{ramp}-{full + 1}))"

    @property
    def _place(self) -> tuple[int, float]:
        """Number of the shade, from 1 on, and how far this group's lies towards the next, 0 to 1."""
        last = self.count - 1
        full, part = divmod(self.index * (SHADES - 1), last) if last else (SHADES - 1, 0)
        return full + 1, part / max(last, 1)

    def span(self, side: str) -> tuple[int, int]:
        """(first, last + 1) of its tokens on `side` ("query" or "candidate"), 0-based."""
        first, last = self.query if side == "query" else self.candidate
        return first - 1, last

    def label(self, side: str) -> str:
        """The token range on `side`, such as 17–64 or 1; "" for none."""
        first, end = self.span(side)
        if first >= end:
            return ""
        return str(end) if first + 1 == end else f"{first + 1}–{end}"


@dataclass(frozen=True)
class Budgets(Sequence[Budget]):
    """The budgets of an encoder: the stops that it was trained at, smallest first.

    Raises:
        ValueError: when there is none or more than MOST_STOPS, or one does not contain the one before.

    >>> six = Budgets.of([(1, 1), (2, 4), (4, 8), (8, 16), (8, 32), (16, 64)])
    >>> six.page_spans
    ((0, 1), (1, 4), (4, 8), (8, 16), (16, 32), (32, 64))
    """

    stops: tuple[Budget, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.stops) <= MOST_STOPS:
            raise ValueError(f"An encoder has 1 to {MOST_STOPS} budgets, not {len(self.stops)}.")
        for before, after in pairwise(self.stops):
            if before == after or before != before.clip(after.r_q, after.r_c):
                raise ValueError(f"Budgets are nested and grow: {after} does not contain {before}.")
        if max(self.full.r_q, self.full.r_c) > MOST_TOKENS:
            raise ValueError(f"A budget has at most {MOST_TOKENS} tokens a side, not {self.full}.")

    @classmethod
    def of(cls, pairs: Iterable[Sequence[int]]) -> Budgets:
        """From pairs (r_q, r_c). Raises ValueError, also for what is no such pairs."""
        found = list(pairs)
        for pair in found:
            if len(pair) != 2 or not all(type(n) is int for n in pair):
                raise ValueError(f"A budget is a pair of whole numbers (r_q, r_c), not {pair!r:.40}.")
        return cls(tuple(Budget(*pair) for pair in found))

    @classmethod
    def parse(cls, text: str) -> Budgets:
        """The opposite of `str`. Raises ValueError.

        >>> str(Budgets.parse("1x1 4x8 32x128"))
        '1x1 4x8 32x128'
        """
        return cls(tuple(Budget.parse(word) for word in text.split()))

    def __str__(self) -> str:
        return " ".join(map(str, self.stops))

    def __len__(self) -> int:
        return len(self.stops)

    @overload
    def __getitem__(self, at: int) -> Budget: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Budget, ...]: ...
    def __getitem__(self, at: int | slice) -> Budget | tuple[Budget, ...]:
        return self.stops[at]

    @property
    def full(self) -> Budget:
        """The largest."""
        return self.stops[-1]

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        return tuple((stop.r_q, stop.r_c) for stop in self.stops)

    def within(self, r_q: int, r_c: int) -> Budgets:
        """Those of an encoder with (r_q, r_c) tokens: clipped, without repetition, up to all its tokens.

        >>> str(OURS.within(4, 8)), str(OURS.within(32, 128)), str(OURS.within(16, 6))
        ('1x1 2x4 4x8', '1x1 2x4 4x8 8x16 16x64 32x128', '1x1 2x4 4x6 8x6 16x6')
        """
        stops = dict.fromkeys([*(stop.clip(r_q, r_c) for stop in self.stops), Budget(r_q, r_c)])
        return Budgets(tuple(stops))

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The nested groups: what each stop adds to the one before."""
        spans = zip(self.query_spans, self.page_spans, strict=True)
        return tuple(
            Group(i, (q0 + 1, q1), (c0 + 1, c1), len(self)) for i, ((q0, q1), (c0, c1)) in enumerate(spans)
        )

    @cached_property
    def query_spans(self) -> tuple[tuple[int, int], ...]:
        """(first, last + 1) query token of each group, 0-based: of ours 1 | 2 | 3-4 | 5-8 | 9-16."""
        return tuple(pairwise((0, *(stop.r_q for stop in self.stops))))

    @cached_property
    def page_spans(self) -> tuple[tuple[int, int], ...]:
        """(first, last + 1) page token of each group, 0-based: of ours 1 | 2-4 | 5-8 | 9-16 | 17-64."""
        return tuple(pairwise((0, *(stop.r_c for stop in self.stops))))

    @property
    def query_sizes(self) -> tuple[int, ...]:
        """Query tokens per group: of ours 1, 1, 2, 4, 8."""
        return tuple(end - first for first, end in self.query_spans)

    @property
    def page_sizes(self) -> tuple[int, ...]:
        """Page tokens per group: of ours 1, 3, 4, 8, 48."""
        return tuple(end - first for first, end in self.page_spans)

    def group_of(self, token: int, side: str) -> Group:
        """The group of 0-based `token` on `side` ("query" or "candidate").

        >>> OURS.group_of(21, "candidate").label("candidate")
        '17–64'
        """
        return next((group for group in self.groups if token < group.span(side)[1]), self.groups[-1])

    def reach(self, budget: Budget) -> int:
        """The number of groups a budget uses, at least 1. Stop i (1-based) uses i groups."""
        last = self.group_of(budget.r_q - 1, "query"), self.group_of(budget.r_c - 1, "candidate")
        return max(group.index for group in last) + 1

    def position(self, budget: Budget) -> float:
        """A budget's position on the dial: whole numbers from 0 at the stops, interpolated between them.

        >>> [OURS.position(stop) for stop in OURS]
        [0.0, 1.0, 2.0, 3.0, 4.0]
        >>> six = Budgets.of([(1, 1), (2, 4), (4, 8), (8, 16), (8, 32), (16, 64)])
        >>> [six.position(stop) for stop in six]
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
        """
        q = _places(budget.r_q, [stop.r_q for stop in self.stops])
        c = _places(budget.r_c, [stop.r_c for stop in self.stops])
        return (max(q[0], c[0]) + min(q[1], c[1])) / 2

    def nearest(self, budget: Budget) -> int:
        """The index of the stop nearest to a budget on the dial.

        >>> OURS.nearest(Budget(8, 16)), OURS.nearest(Budget(7, 20))
        (3, 3)
        """
        return round(self.position(budget))


def _places(value: int, ends: Sequence[int]) -> tuple[float, float]:
    """First and last position of `value` among stops that end at `ends`, on a scale of logarithms."""
    if value in ends:
        return float(ends.index(value)), float(len(ends) - 1 - ends[::-1].index(value))
    after = next((i for i, end in enumerate(ends) if value < end), None)
    if after is None:
        return float(len(ends) - 1), float(len(ends) - 1)
    if after == 0:
        return 0.0, 0.0
    low, high = math.log2(ends[after - 1]), math.log2(ends[after])
    found = after - 1 + (math.log2(value) - low) / (high - low)
    return found, found


OURS = Budgets.of(BUDGETS)
STOPS = OURS.stops
