"""The parts of a picture that a score comes from: outlined, so that the picture keeps its colours.

Those of the open page are drawn by web/page_viewer.js, because they follow the matrix.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from metaembed_demo.core.types import Box, FloatArray, Word

CELLS_COUNT = 0.05  # minimum share of all picture cells together; below, none is outlined
LEVELS = ((0.35, "part"), (0.7, "part best"))  # least share relative to the strongest cell, and class


def outlines(words: Sequence[Word], shares: FloatArray) -> list[str]:
    """Paths around the picture cells that contribute most, in thousandths of the page; empty if all are weak.

    Args:
        shares: (n,) each word's or cell's share of the score.
    """
    cells = [(word.box, float(share)) for word, share in zip(words, shares, strict=True) if word.is_cell]
    if sum(share for _, share in cells) < CELLS_COUNT:
        return []
    top = max(share for _, share in cells)
    return [
        f'<path class="{name}" d="{around(box for box, share in cells if share >= least * top)}"/>'
        for least, name in LEVELS
    ]


def around(boxes: Iterable[Box]) -> str:
    """The outline of boxes that touch: the edges that only one of them has.

    >>> around([(0, 0, 0.5, 0.5), (0.5, 0, 1, 0.5)])
    'M0 0H500M0 500H500M0 0V500M500 0H1000M500 500H1000M1000 0V500'
    """
    edges: Counter[str] = Counter()
    for box in boxes:
        x0, y0, x1, y1 = (round(edge * 1000) for edge in box)
        edges.update((f"M{x0} {y0}H{x1}", f"M{x0} {y1}H{x1}", f"M{x0} {y0}V{y1}", f"M{x1} {y0}V{y1}"))
    return "".join(edge for edge, times in edges.items() if times == 1)
