"""Budgets (r_q, r_c): the five trained stops and the nested groups of Meta Tokens between them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

# The five nested budgets (r_q, r_c) that MMR trains (paper, section 3.2, table 3).
BUDGETS: tuple[tuple[int, int], ...] = ((1, 1), (2, 4), (4, 8), (8, 16), (16, 64))


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
            raise ValueError(f"{text!r} is not a budget. Write r_q x r_c, for example {STOPS[3]}.")
        return cls(int(match[1]), int(match[2]))

    @property
    def trained(self) -> bool:
        """Whether this is one of the five budgets that MMR trains."""
        return self in STOPS

    def clip(self, r_q: int, r_c: int) -> Budget:
        """This budget, capped at (r_q, r_c)."""
        return Budget(min(self.r_q, r_q), min(self.r_c, r_c))


STOPS: tuple[Budget, ...] = tuple(Budget(*pair) for pair in BUDGETS)


@dataclass(frozen=True)
class Group:
    """One nested group of Meta Tokens: the tokens that stop `index` adds to the previous stop.

    `query` and `candidate` are 1-based inclusive token ranges.
    """

    index: int
    query: tuple[int, int]
    candidate: tuple[int, int]

    @property
    def shade(self) -> str:
        """The CSS color of this group."""
        return f"var(--shade-{self.index + 1})"

    def label(self, side: str) -> str:
        """The token range on `side` ("query" or "candidate"), such as 17–64 or 1."""
        first, last = self.query if side == "query" else self.candidate
        return str(first) if first == last else f"{first}–{last}"


def _spans(ends: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """(first, last + 1) of each group, 0-based, where the nested groups end at `ends`."""
    return tuple(pairwise((0, *ends)))


# The same groups as slices: (first, last + 1) token of each, 0-based.
QUERY_SPANS: tuple[tuple[int, int], ...] = _spans([r_q for r_q, _ in BUDGETS])  # 1 | 2 | 3-4 | 5-8 | 9-16
PAGE_SPANS: tuple[tuple[int, int], ...] = _spans([r_c for _, r_c in BUDGETS])  # 1 | 2-4 | 5-8 | 9-16 | 17-64

# Tokens per group.
QUERY_SIZES: tuple[int, ...] = tuple(end - first for first, end in QUERY_SPANS)  # 1, 1, 2, 4, 8
PAGE_SIZES: tuple[int, ...] = tuple(end - first for first, end in PAGE_SPANS)  # 1, 3, 4, 8, 48

GROUPS: tuple[Group, ...] = tuple(
    Group(i, (q0 + 1, q1), (c0 + 1, c1))
    for i, ((q0, q1), (c0, c1)) in enumerate(zip(QUERY_SPANS, PAGE_SPANS, strict=True))
)


def group_of(token: int, side: str) -> Group:
    """The group of 0-based `token` on `side` ("query" or "candidate").

    >>> group_of(21, "candidate").label("candidate")
    '17–64'
    """
    for group in GROUPS:
        if token < (group.query if side == "query" else group.candidate)[1]:
            return group
    return GROUPS[-1]


def reach(budget: Budget) -> int:
    """The number of groups a budget uses, 1 to 5. Stop i (1-based) uses i groups."""
    return max(group_of(budget.r_q - 1, "query").index, group_of(budget.r_c - 1, "candidate").index) + 1


def position(budget: Budget) -> float:
    """A budget's position on the dial: 0 to 4 at the trained stops, interpolated between them.

    >>> [position(stop) for stop in STOPS]
    [0.0, 1.0, 2.0, 3.0, 4.0]
    """

    def place(value: int, ends: Sequence[int]) -> float:
        logs = [math.log2(end) for end in ends]
        x = min(max(math.log2(value), logs[0]), logs[-1])
        after = next((i for i, log in enumerate(logs) if x <= log), len(logs) - 1)
        if after == 0:
            return 0.0
        return after - 1 + (x - logs[after - 1]) / (logs[after] - logs[after - 1])

    return (place(budget.r_q, [s.r_q for s in STOPS]) + place(budget.r_c, [s.r_c for s in STOPS])) / 2
