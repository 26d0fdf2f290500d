"""Boxes: their areas and how they lie; boxes of turned text."""

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


def area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def holds(box: Box, inner: Box) -> bool:
    """Whether `box` contains the centre of `inner`."""
    x, y = (inner[0] + inner[2]) / 2, (inner[1] + inner[3]) / 2
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]
