"""A short title for a page, taken from its words."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from pathlib import PurePosixPath

from metaembed_demo.core.types import Word

TITLE_LENGTH = 60  # characters
FEW_WORDS = 4  # with fewer words of text, the title names what the picture shows
LARGER = 1.15  # minimum ratio of a heading's type size to the page's median size


def caption(source: str, words: Sequence[Word]) -> str:
    """The heading if the upper half has larger type, else the first words; for pictures what they show.

    >>> caption("zoo/tiger-at-noon.jpg", [Word("tiger", (0, 0, 1, 1), "visual")])
    'tiger at noon: tiger'
    >>> heading = [Word("Yearly", (0.1, 0.1, 0.3, 0.2)), Word("Report", (0.3, 0.1, 0.5, 0.2))]
    >>> body = [Word(w, (0.1 * i, 0.3, 0.1 * i + 0.1, 0.32)) for i, w in enumerate(["It", "went", "well"])]
    >>> caption("report.pdf", heading + body)
    'Yearly Report'
    """
    textual = [word for word in words if word.kind != "visual" and re.search(r"\w", word.text)]
    if len(textual) >= FEW_WORDS:
        return _short([word.text for word in _heading(textual) or textual])
    name = re.sub(r"[\W_]+", " ", PurePosixPath(source).stem).strip() or source
    shown = list(dict.fromkeys(word.text for word in words if word.kind == "visual"))[:2]
    said = [word.text for word in textual] or shown
    return _short([f"{name}:", ", ".join(said)] if said else [name])


def _heading(words: Sequence[Word]) -> list[Word]:
    """The line with the largest type in the upper half and the following lines of that size; may be empty."""
    body = statistics.median(_height(word) for word in words)
    lines = [line for line in _lines(words) if line[0].box[1] < 0.5 and _letters(line) >= 3]
    if not lines:
        return []
    sizes = [statistics.median(_height(word) for word in line) for line in lines]
    first = max(range(len(lines)), key=lambda i: sizes[i])
    if sizes[first] < LARGER * body:
        return []
    found = list(lines[first])
    for line, size in zip(lines[first + 1 :], sizes[first + 1 :], strict=True):
        if size < 0.85 * sizes[first] or len(found) >= 8:
            break
        found += line
    return found


def _lines(words: Sequence[Word]) -> list[list[Word]]:
    """Words in reading order, split where the next word is at another height or further left."""
    lines: list[list[Word]] = []
    for word in words:
        last = lines[-1][-1] if lines else None
        if (
            last is not None
            and word.box[0] >= last.box[0]
            and abs(_middle(word) - _middle(last)) < 0.6 * max(_height(word), _height(last))
        ):
            lines[-1].append(word)
        else:
            lines.append([word])
    return lines


def _height(word: Word) -> float:
    return word.box[3] - word.box[1]


def _middle(word: Word) -> float:
    return (word.box[1] + word.box[3]) / 2


def _letters(line: Sequence[Word]) -> int:
    return sum(character.isalpha() for word in line for character in word.text)


def _short(parts: Sequence[str]) -> str:
    """Parts joined by spaces, without control characters, cut at a word boundary to TITLE_LENGTH."""
    text = " ".join("".join(c if c.isprintable() else " " for c in " ".join(parts)).split())
    if len(text) <= TITLE_LENGTH:
        return text
    cut = text[: TITLE_LENGTH - 1]
    return (cut.rsplit(" ", 1)[0] if " " in cut[TITLE_LENGTH // 2 :] else cut).rstrip(" ,;:-") + "…"
