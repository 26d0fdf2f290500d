"""What kinds of content the Meta Tokens tell apart: headings, numbers, names, captions and margins."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.core.types import FloatArray, Word

CONTENTS = ("heading", "number", "name", "caption", "margin", "other")
MARGIN = 0.07  # of the page's height, at its top and its bottom
LARGE = 1.2  # times the median height of the page's words
CAPTIONED = """figure fig fig. figura table tab. abbildung abb. tabelle tableau tabla tabella рис рис. рисунок
таблица 図 表 图"""
CAPTION = re.compile(rf"(?:{'|'.join(map(re.escape, CAPTIONED.split()))})[\s.]*\d*[.:]?", re.IGNORECASE)
ENDS = (".", "!", "?", ":")


def contents(words: Sequence[Word]) -> NDArray[np.int64]:
    """(n,) index into CONTENTS of each word of a page in reading order.

    A word has the first kind that it is: in the margin, in a line that begins as captions do, in a line of
    large letters, with a digit, a capital within a sentence.
    """
    if not words:
        return np.zeros(0, np.int64)
    height = float(np.median([_height(word) for word in words]))
    found: list[str] = []
    before = "."
    for line in _lines(words):
        captioned = CAPTION.fullmatch(line[0].text) is not None and any(c.isdigit() for c in _start(line))
        large = float(np.median([_height(word) for word in line])) >= LARGE * height
        for word in line:
            inside = MARGIN <= (word.box[1] + word.box[3]) / 2 <= 1 - MARGIN
            if not inside:
                kind = "margin"
            elif captioned:
                kind = "caption"
            elif large:
                kind = "heading"
            elif any(c.isdigit() for c in word.text):
                kind = "number"
            else:
                capital = unicodedata.category(word.text[0]) == "Lu" if word.text else False
                kind = "name" if capital and not before.endswith(ENDS) else "other"
            found.append(kind)
            before = word.text
    return np.array([CONTENTS.index(kind) for kind in found], np.int64)


def information(shares: FloatArray, kinds: NDArray[np.int64]) -> FloatArray:
    """(R,) bits: what each of R tokens adds to the mutual information of token and kind of content.

    The sum is how much less uncertain a word's kind is once it is known which token reads it. Every word
    counts alike: `shares` (R, n) are normalised by word first.
    """
    joint = np.zeros((len(shares), len(CONTENTS)))
    total = shares.sum(0)
    read = total > 0
    np.add.at(joint.T, kinds[read], (shares[:, read] / total[read]).T)
    if not read.any():
        return np.zeros(len(shares), np.float32)
    joint /= joint.sum()
    alone = joint.sum(1, keepdims=True) * joint.sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = np.where(joint > 0, joint * np.log2(joint / alone), 0.0)
    return np.asarray(bits.sum(1), np.float32)


def slices(count: int, words: int) -> FloatArray:
    """(count, words) float32: each word wholly in one of `count` equal parts of the page."""
    at = np.minimum(np.arange(words) * count // max(words, 1), count - 1)
    return np.asarray(at == np.arange(count)[:, None], np.float32)


def _height(word: Word) -> float:
    return word.box[3] - word.box[1]


def _start(line: Sequence[Word]) -> str:
    return "".join(word.text for word in line[:2])


def _lines(words: Sequence[Word]) -> list[list[Word]]:
    """Runs of words whose centres lie within half a word's height of the one before."""
    lines = [[words[0]]]
    for one, two in pairwise(words):
        apart = abs((one.box[1] + one.box[3]) - (two.box[1] + two.box[3])) / 2
        if apart <= max(_height(one), _height(two)) / 2 and two.box[0] >= one.box[0]:
            lines[-1].append(two)
        else:
            lines.append([two])
    return lines
