"""Work in steps: a generator tells how far it is and returns what it made; closing it gives the work up."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

T = TypeVar("T")


def finish(steps: Generator[Any, None, T]) -> T:
    """Take all steps; what they made.

    >>> def two():
    ...     yield 1
    ...     return "made"
    >>> finish(two())
    'made'
    """
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            made: T = ended.value
            return made
