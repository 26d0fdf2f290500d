"""The parts of a picture that a score comes from: outlined, so that the picture keeps its colours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metaembed_demo.core.types import FloatArray, Word

CELLS_COUNT = 0.05  # minimum share of all picture cells together; below, none is outlined
# Pixels on the screen: how far cells run into one another, and half the line's width.
OUTLINES = {"outline": (7, 1.5), "outline-small": (3, 1)}


def strength(words: Sequence[Word], weights: FloatArray) -> FloatArray:
    """(n,) strength of each picture cell, 1 for the strongest; 0 for words, and if all cells are weak.

    >>> words = [Word("a", (0, 0, 1, 1)), *[Word("", (0, 0, 1, 1), "visual")] * 2]
    >>> strength(words, np.array([0.0, 0.75, 0.375])).tolist()
    [0.0, 1.0, 0.5]
    """
    cells = np.array([word.is_cell for word in words], bool)
    found = np.zeros(len(words), np.float64)
    if weights[cells].sum() >= CELLS_COUNT:
        found[cells] = weights[cells] / weights[cells].max()
    return found.astype(np.float32)


def outlines() -> str:
    """The filters of web/explanation.css, for a page and for its thumbnail: where the blur of the cells is half as
    strong as the strongest cell runs a line in their shade, and a white one inside it for dark pictures."""
    filters = "".join(_outline(name, *sizes) for name, sizes in OUTLINES.items())
    return f'<svg class="hidden" width="0" height="0" aria-hidden="true">{filters}</svg>'


def _outline(name: str, smooth: float, line: float) -> str:
    return (
        f'<filter id="{name}" x="-4%" y="-4%" width="108%" height="108%" color-interpolation-filters="sRGB">'
        f'<feGaussianBlur stdDeviation="{smooth}"/>'
        '<feComponentTransfer result="inside"><feFuncA type="linear" slope="30" intercept="-14.5"/>'
        f'</feComponentTransfer><feMorphology operator="dilate" radius="{line}"/>'
        '<feComposite in2="inside" operator="out" result="line"/>'
        f'<feMorphology in="inside" operator="erode" radius="{line}" result="core"/>'
        '<feFlood flood-color="#fff"/><feComposite in2="inside" operator="in"/>'
        '<feComposite in2="core" operator="out" result="white"/>'
        '<feMerge><feMergeNode in="white"/><feMergeNode in="line"/></feMerge></filter>'
    )
