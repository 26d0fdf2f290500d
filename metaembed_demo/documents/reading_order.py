"""Reading order of words with boxes: a recursive XY-cut over line fragments.

Columns are split only at a white band of several lines between two blocks of prose. Tables, with short cells
aligned in rows, stay in row order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

from metaembed_demo.core.boxes import upright
from metaembed_demo.core.text import RIGHT_TO_LEFT
from metaembed_demo.core.types import Word

WORD_GAP = 0.45  # of the line height: maximum gap between words of one fragment
CELL_GAP = 1.0  # of the line height: minimum gap of words that are no neighbours in one sentence
COLUMN_GAP = 0.5  # of the line height: minimum white band between columns
LEAST_LINES = 3  # of a column
LEAST_WORDS = 3  # with letters, in the median line of prose
LEAST_FILL = 0.45  # of the column width, filled by the median line of prose
LABEL = 0.2  # of the column width: maximum width of list labels before a white band
ALIGNED = 0.3  # of the line height: maximum distance of lines in the same row
MOST_GAPS = 7  # four columns of labelled lists; more gaps are a table
DEPTH = 40  # recursion limit; pages need five or six
LETTER = re.compile(r"[^\W\d_]")
DIVIDED = re.compile(r"[^\W\d_]-$")
PUNCTUATION = ".,;:!?()[]\"'"
Place = tuple[float, float, float, float]  # left, top, right, bottom of an upright box, in page heights


@dataclass(frozen=True)
class _Fragment:
    """Adjacent words of one line. `top` and `bottom` span 60% of its height, to separate tight lines."""

    words: tuple[int, ...]  # indices into the input
    left: float
    right: float
    top: float
    bottom: float
    height: float
    word_count: int  # words with at least two letters, excluding numbers and bullets

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2


def reading_order(words: Sequence[Word], aspect: float = 1.0, slope: float = 0.0) -> list[Word]:
    """The words in reading order: upright lines, then lines turned by one, two and three quarters.

    Words of one box, as of a note, stay together in their order. The halves of a word divided at a line's end
    become the whole word at the first box, and an empty text at the second.

    aspect: page width / height.
    slope: downward slope of text lines, in page heights per page width, for skewed scans.
    """
    found: list[Word] = []
    for turn in sorted({word.turn for word in words}):
        turned = [word for word in words if word.turn == turn]
        found += _undivided(_in_order(turned, turn, aspect, slope if turn == 0 else 0.0))
    return found


def _in_order(words: Sequence[Word], turn: int, aspect: float, slope: float) -> list[tuple[Word, Place]]:
    """Words of lines with one `turn` in reading order, with their upright boxes; sideways words come last."""
    places = [_place(word, turn, aspect, slope) for word in words]
    rightmost = max(x1 for _, _, x1, _ in places)
    mirrored = _is_right_to_left(words)
    if mirrored:  # all that follows is the same from the other side
        places = [(rightmost - x1, y0, rightmost - x0, y1) for x0, y0, x1, y1 in places]
    same: dict[Place, list[int]] = {}
    for i, place in enumerate(places):
        same.setdefault(place, []).append(i)
    firsts = [group[0] for group in same.values()]
    upright = [i for i in firsts if not _is_sideways(words[i].text, places[i])]
    fragments = _fragments(words, upright, places)
    order = [i for line in _neighbours(_cut(fragments, DEPTH)) for i in _bidirectional(line, words, mirrored)]
    placed = set(order)
    order += [i for i in firsts if i not in placed]
    return [(words[k], places[k]) for i in order for k in same[places[i]]]


def _place(word: Word, turn: int, aspect: float, slope: float) -> Place:
    """The word's box turned so that its line runs to the right, in page heights, without the slope."""
    x0, y0, x1, y1 = word.box
    fall = slope * (x0 + x1) / 2
    return upright((x0 * aspect, y0 - fall, x1 * aspect, y1 - fall), turn)


def _is_sideways(text: str, place: Place) -> bool:
    """Whether a word that is not marked as turned, as from OCR, stands on its side."""
    x0, y0, x1, y1 = place
    return len(text) > 3 and y1 - y0 > 1.5 * (x1 - x0)


def _is_right_to_left(words: Sequence[Word]) -> bool:
    right = sum(len(word.text) for word in words if RIGHT_TO_LEFT.search(word.text))
    return 2 * right > sum(len(word.text) for word in words if LETTER.search(word.text))


def _neighbours(fragments: Sequence[_Fragment]) -> list[list[int]]:
    """The words of fragments, those of one line together unless they are apart as cells of a table are."""
    found: list[list[int]] = []
    last: _Fragment | None = None
    for fragment in fragments:
        near = last is not None and 0 <= fragment.left - last.right <= CELL_GAP * fragment.height
        if near and last is not None and abs(fragment.middle - last.middle) < ALIGNED * fragment.height:
            found[-1].extend(fragment.words)
        else:
            found.append(list(fragment.words))
        last = fragment
    return found


def _bidirectional(line: Sequence[int], words: Sequence[Word], mirrored: bool) -> list[int]:
    """A line's words as they are read: runs of the other direction are turned round.

    Such a run begins and ends with a word of that direction; numbers and signs within belong to it.
    """
    found: list[int] = []
    start = end = 0  # of the run of the other direction, in `found`
    for i in line:
        text = words[i].text
        found.append(i)
        if LETTER.search(text):
            if bool(RIGHT_TO_LEFT.search(text)) == mirrored:
                found[start:end] = found[start:end][::-1]
                start = end = len(found)
            else:
                start, end = (start if end > start else len(found) - 1), len(found)
    found[start:end] = found[start:end][::-1]
    return found


def _undivided(ordered: Sequence[tuple[Word, Place]]) -> list[Word]:
    """Words divided by a hyphen at a line's end, whole.

    A hyphen stays where the page has the same word with it elsewhere: only a dictionary could tell
    "well-" and "known" from "glass-" and "house".
    """
    found = [word for word, _ in ordered]
    texts = {word.text.lower().strip(PUNCTUATION) for word in found}
    for i, ((_, a), (word, b)) in enumerate(pairwise(ordered)):
        head, tail = found[i].text, word.text
        other_line = abs(a[1] + a[3] - b[1] - b[3]) > a[3] - a[1]  # the next, or at the next column's top
        if other_line and DIVIDED.search(head) and tail[:1].islower():
            kept = (head + tail).lower().strip(PUNCTUATION) in texts
            found[i] = replace(found[i], text=(head if kept else head[:-1]) + tail)
            found[i + 1] = replace(word, text="")
    return found


# Words -> fragments of lines


def _fragments(words: Sequence[Word], chosen: list[int], places: Sequence[Place]) -> list[_Fragment]:
    """Chains of words, each the nearest to the right of its predecessor on the same line."""
    boxes = {i: places[i] for i in chosen}
    follower = _followers(boxes)
    led = set(follower.values())
    found = []
    for i in chosen:
        if i not in led:
            chain = [i]
            while chain[-1] in follower:
                chain.append(follower[chain[-1]])
            word_count = sum(sum(map(str.isalpha, words[k].text)) >= 2 for k in chain)
            found.append(_fragment(chain, [boxes[k] for k in chain], word_count))
    return found


def _fragment(chain: list[int], boxes: list[Place], word_count: int) -> _Fragment:
    height = median(y1 - y0 for _, y0, _, y1 in boxes)
    middle = median((y0 + y1) / 2 for _, y0, _, y1 in boxes)
    return _Fragment(
        tuple(chain),
        min(box[0] for box in boxes),
        max(box[2] for box in boxes),
        middle - 0.3 * height,
        middle + 0.3 * height,
        height,
        word_count,
    )


def _followers(boxes: dict[int, Place]) -> dict[int, int]:
    """Word -> its successor on the line; a word succeeds at most one other."""
    by_middle = sorted(boxes, key=lambda i: boxes[i][1] + boxes[i][3])
    middles = [(boxes[i][1] + boxes[i][3]) / 2 for i in by_middle]
    best: dict[int, tuple[float, int]] = {}  # word -> gap and predecessor
    for at, i in enumerate(by_middle):
        height = boxes[i][3] - boxes[i][1]
        nearest: tuple[float, int] | None = None
        for step in (1, -1):
            k = at + step
            while 0 <= k < len(by_middle) and abs(middles[k] - middles[at]) <= 0.5 * height:
                j = by_middle[k]
                gap = _gap(boxes[i], boxes[j])
                if gap is not None and (nearest is None or gap < nearest[0]):
                    nearest = (gap, j)
                k += step
        if nearest is not None and (nearest[1] not in best or nearest[0] < best[nearest[1]][0]):
            best[nearest[1]] = (nearest[0], i)
    return {leader: word for word, (_, leader) in best.items()}


def _gap(a: Place, b: Place) -> float | None:
    """Gap between a and b to its right; None if they are not adjacent on one line."""
    shorter, taller = sorted((a[3] - a[1], b[3] - b[1]))
    if min(a[3], b[3]) - max(a[1], b[1]) < 0.5 * shorter or a[0] + a[2] >= b[0] + b[2]:
        return None
    gap = b[0] - a[2]
    return gap if -0.5 * taller <= gap <= WORD_GAP * taller else None


# Fragments -> columns and bands


def _cut(fragments: list[_Fragment], depth: int) -> list[_Fragment]:
    """Columns from left to right if there are any, else bands from top to bottom."""
    if len(fragments) < 2 or depth == 0:
        return _rows(fragments)
    columns = _columns(fragments)
    if len(columns) > 1:
        return [fragment for column in columns for fragment in _cut(column, depth - 1)]
    bands = _bands(fragments)
    found: list[_Fragment] = []
    at = 0
    while at < len(bands):
        end, in_columns = _run(bands, at)
        run = [fragment for band in bands[at:end] for fragment in band]
        found += _cut(run, depth - 1) if in_columns else [f for band in bands[at:end] for f in _rows(band)]
        at = end
    return found


def _rows(fragments: list[_Fragment]) -> list[_Fragment]:
    """By line, each from left to right."""
    return [fragment for line in _lines(fragments) for fragment in sorted(line, key=lambda f: f.left)]


def _bands(fragments: list[_Fragment]) -> list[list[_Fragment]]:
    """Split at horizontal gaps."""
    found: list[list[_Fragment]] = []
    bottom = -1.0
    for fragment in sorted(fragments, key=lambda f: f.top):
        if found and fragment.top < bottom:
            found[-1].append(fragment)
        else:
            found.append([fragment])
        bottom = max(bottom, fragment.bottom)
    return found


def _run(bands: list[list[_Fragment]], start: int) -> tuple[int, bool]:
    """End of the run of bands from `start`, and whether it is set in columns.

    A run of columns starts at a band with a white gap and lasts until a band closes all gaps, or half as long
    if the full run is not in columns. Other runs, such as tables, advance in steps of an eighth, as columns
    may begin further down.
    """
    end, white = start + 1, _free(bands[start])
    if not white:
        return end, False
    while end < len(bands) and (white := _still_free(white, bands[end])):
        end += 1
    for last in (end, (start + end) // 2):
        tried = [fragment for band in bands[start:last] for fragment in band]
        if 2 <= last - start < len(bands) and len(_columns(tried)) > 1:
            return last, True
    return start + max(1, (end - start) // 8), False


def _free(fragments: list[_Fragment]) -> list[tuple[float, float]]:
    """Vertical white bands (left, right) wide enough to separate columns."""
    least = COLUMN_GAP * median(f.height for f in fragments)
    found, right = [], float("inf")
    for fragment in sorted(fragments, key=lambda f: f.left):
        if fragment.left - right >= least:
            found.append((right, fragment.left))
        right = fragment.right if right == float("inf") else max(right, fragment.right)
    return found


def _still_free(white: list[tuple[float, float]], band: list[_Fragment]) -> list[tuple[float, float]]:
    """The white bands that remain after another band of fragments."""
    least = COLUMN_GAP * median(f.height for f in band)
    for f in band:
        white = [
            (left, right)
            for start, end in white
            for left, right in ((start, min(end, f.left)), (max(start, f.right), end))
            if right - left >= least
        ]
    return white


def _columns(fragments: list[_Fragment]) -> list[list[_Fragment]]:
    """Fragments split at white bands between columns of prose; one list if there are none."""
    gaps = _free(fragments)
    if len(gaps) > MOST_GAPS or len(fragments) < 2 * LEAST_LINES:
        return [fragments]
    while gaps:
        edges = [left for left, _ in gaps]
        parts: list[list[_Fragment]] = [[] for _ in range(len(gaps) + 1)]
        for fragment in fragments:
            parts[sum(fragment.left > edge for edge in edges)].append(fragment)
        bad = [k for k in range(len(gaps)) if not _are_columns(parts[k], parts[k + 1])]
        if not bad:
            return parts
        gaps.pop(min(bad, key=lambda k: gaps[k][1] - gaps[k][0]))
    return [fragments]


def _are_columns(a: list[_Fragment], b: list[_Fragment]) -> bool:
    left, right = _lines(a), _lines(b)
    if min(len(left), len(right)) < LEAST_LINES:
        return False
    if _is_table(a) or _is_table(b):
        return False
    if _is_prose(left) and _is_prose(right):
        return True
    return not _share_rows(left, right) and min(_words_a_line(left), _words_a_line(right)) >= 2


def _lines(fragments: list[_Fragment]) -> list[list[_Fragment]]:
    """Fragments grouped into lines, from top to bottom."""
    found: list[list[_Fragment]] = []
    for fragment in sorted(fragments, key=lambda f: f.middle):
        near = ALIGNED * max(fragment.height, found[-1][0].height) if found else 0.0
        if found and fragment.middle - found[-1][0].middle < near:
            found[-1].append(fragment)
        else:
            found.append([fragment])
    return found


def _is_table(fragments: list[_Fragment]) -> bool:
    """Whether white bands cross all lines, except one after bullets, numbers or labels."""
    gaps = _free(fragments)
    left, right = min(f.left for f in fragments), max(f.right for f in fragments)
    return len(gaps) > 1 or any(start - left > LABEL * (right - left) for start, _ in gaps)


def _words_a_line(lines: list[list[_Fragment]]) -> float:
    return median(sum(fragment.word_count for fragment in line) for line in lines)


def _is_prose(lines: list[list[_Fragment]]) -> bool:
    lefts = [min(f.left for f in line) for line in lines]
    rights = [max(f.right for f in line) for line in lines]
    fill = median(right - left for left, right in zip(lefts, rights, strict=True))
    return _words_a_line(lines) >= LEAST_WORDS and fill >= LEAST_FILL * (max(rights) - min(lefts))


def _share_rows(a: list[list[_Fragment]], b: list[list[_Fragment]]) -> bool:
    """Whether most lines of the shorter side align with lines of the other, as in a table."""
    fewer, more = sorted(([line[0].middle for line in a], [line[0].middle for line in b]), key=len)
    near = ALIGNED * median(f.height for line in a + b for f in line)
    shared = sum(any(abs(middle - other) <= near for other in more) for middle in fewer)
    return shared >= 0.6 * len(fewer)
