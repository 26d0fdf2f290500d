"""Boxes of turned text."""

from __future__ import annotations

from collections.abc import Sequence

from .types import Box


def upright(box: Sequence[float], turn: int) -> Box:
    """The box of a line that lies turned right by `turn` quarters, on the page turned so that it is level.

    In fractions of a page; other lengths are kept, with another origin. `-turn` gives the box on the page
    as it is again.

    >>> upright((0.9, 0.0, 1.0, 0.5), 1), upright((0.0, 0.0, 0.5, 0.25), -1)
    ((0.0, 0.0, 0.5, 0.1), (0.75, 0.0, 1.0, 0.5))
    """
    x0, y0, x1, y1 = box
    for _ in range(turn % 4):
        x0, y0, x1, y1 = y0, round(1 - x1, 5), y1, round(1 - x0, 5)
    return x0, y0, x1, y1
