"""A short title for a page, taken from its words."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import PurePosixPath

from metaembed_demo.core.boxes import upright
from metaembed_demo.core.text import RIGHT_TO_LEFT
from metaembed_demo.core.types import Word
from metaembed_demo.documents.image_tags import MEDIA
from metaembed_demo.documents.imagenet_labels import CATEGORIES, GENERAL, same_thing

TITLE_LENGTH = 60  # characters
FEW_WORDS, FEW_LETTERS = 4, 12  # below both, a page may be a picture with some words in it
LEAST_LETTERS = 3  # of a line that can be a title
LARGER = 1.15  # minimum ratio of a heading's type size to the page's median size
LARGEST = 2.0  # the same for a heading in the lower half
ALIKE, SAME = 0.85, 0.97  # minimum ratio of the sizes of a heading's lines, and of a line before the largest
MOST_CAPS = 20  # drop caps of a page that are joined to their words: each is compared with all words
DROP_CAP = 1.8  # minimum ratio of a drop cap's height to the page's median size
TALL = 1.5  # ratio of the heights of long words to their widths from which the text lies on its side
TALLER = 4.0  # times the median ratio: a word that lies on its side on a page of any shape
NOTE = 3  # words in one box
LEGIBLE = 0.5  # minimum confidence of a word in a title
SURE = 0.5  # minimum probability of a label in a title; on the sample pictures no label above it is wrong
# Words stamped across pages: a line of nothing else is no heading.
STAMPS = (
    "draft confidential copy do not specimen sample void internal secret strictly private preliminary "
    "entwurf vertraulich kopie muster brouillon confidentiel copie borrador confidencial copia bozza "
    "riservato rascunho concept kopi utkast not for distribution only use final approved duplicate paid "
    "received restricted"
)
SURE_OF_DRAWING = 0.8  # the same for a drawing: the labels are of photographs, and a house was an envelope
NARROWER = 0.1  # advantage of a label over its category, so "a balloon" and not "an aircraft", but "a cat"
COLOUR = "orange"  # the only label that is a colour's name as well
PLAIN = "wool food clothing furniture furnishings kitchenware fruit bread space sport"  # no article


def caption(source: str, words: Sequence[Word]) -> str:
    """The heading if there is larger type, else the first words; for a picture what it shows, or its name.

    Stamps such as DRAFT, numbers and symbols are no titles; a drop cap is joined with the rest of its word.

    >>> caption("zoo/noon.jpg", [Word("tiger", (0, 0, 1, 1), "visual")])
    'a tiger'
    >>> heading = [Word("Yearly", (0.1, 0.1, 0.3, 0.2)), Word("Report", (0.3, 0.1, 0.5, 0.2))]
    >>> body = [Word(w, (0.1 * i, 0.3, 0.1 * i + 0.1, 0.32)) for i, w in enumerate(["It", "went", "well"])]
    >>> caption("report.pdf", heading + body)
    'Yearly Report'
    """
    words = _upright(words)
    lines = _said([word for word in words if word.kind != "visual" and word.confidence >= LEGIBLE])
    text = [word for line in lines for word in line]
    if len(text) >= FEW_WORDS or _letters(text) >= FEW_LETTERS:
        return _short([word.text for word in _heading(lines) or text])
    said = [word.text for word in text if _is_word(word.text)]
    shown = said or [_shown([word for word in words if word.kind == "visual"])]
    return _short(shown if any(shown) else [_name(source)])


def _name(source: str) -> str:
    return re.sub(r"[\W_]+", " ", PurePosixPath(source).stem).strip() or source


# Text


def _upright(words: Sequence[Word]) -> Sequence[Word]:
    """Words of a page whose text lies on its side or upside down, as they are on the page turned level."""
    text = [word for word in words if word.kind != "visual" and len(word.text) > 3]
    wide = [word.box[2] - word.box[0] for word in text]
    tall = [_height(word) for word in text]
    across = along = 0
    for a, b in pairwise(text):
        right, down = b.box[0] - a.box[0], _middle(b) - _middle(a)
        if abs(down) < _height(a):
            along += 1 if right > 0 else -1
        if abs(right) < a.box[2] - a.box[0]:
            across += 1 if down > 0 else -1
    if sum(tall) > TALL * sum(wide):
        turn = 1 if across > 0 else 3
    else:
        turn = 2 if along < 0 and not any(RIGHT_TO_LEFT.search(word.text) for word in text) else 0
    if not turn:
        return _level(words, text)
    return [replace(word, box=upright(word.box, turn)) for word in words]


def _level(words: Sequence[Word], long: Sequence[Word]) -> Sequence[Word]:
    """Words of an upright page without those on their side, as in a margin: their height is no type size."""
    if not long:
        return words
    ratios = {id(word): _height(word) / max(word.box[2] - word.box[0], 1e-6) for word in long}
    least = max(TALL, TALLER * statistics.median(ratios.values()))
    sideways = {id(word) for word in words if word.kind != "visual" and word.turn % 2}
    if 2 * len(sideways) > len(words):  # a page turned as a whole, or vertical writing
        sideways = set()
    sideways |= {key for key, ratio in ratios.items() if ratio > least}
    return [word for word in words if id(word) not in sideways]


def _said(words: Sequence[Word]) -> list[list[Word]]:
    """Lines of text in reading order from the first with letters on, without stamps and stray symbols."""
    shared = Counter(word.box for word in words)
    # Words of a note all have the box of its icon, which is no type size.
    words = [word for word in words if shared[word.box] < NOTE] or words
    sized = [word for word in words if re.search(r"\w", word.text)]
    if not sized:
        return []
    body = statistics.median(_height(word) for word in sized)
    kept = _joined([word for word in words if word.text == "&" or re.search(r"\w", word.text)], body)
    lines = [line for line in _lines(kept) if not _is_stamp(line, body)]
    first = next((i for i, line in enumerate(lines) if _letters(line) >= LEAST_LETTERS), len(lines))
    return lines[first:]


def _joined(words: Sequence[Word], body: float) -> list[Word]:
    """The words, with each drop cap joined to the rest of its word."""
    found = list(words)
    for cap in islice((word for word in words if _is_cap(word, body)), MOST_CAPS):
        beside = [word for word in words if word is not cap and _is_beside(word, cap)]
        if not beside:
            continue
        rest = min(beside, key=lambda word: (word.box[1], word.box[0]))
        near = rest.box[0] - cap.box[2] < 2 * _height(rest) and rest.box[1] - cap.box[1] < _height(rest)
        one = cap.text in "AIO" and any(rest.text == word.text for word in words if word is not rest)
        if near and rest.text[:1].isalpha() and _height(rest) < _height(cap) / DROP_CAP:
            joint = f"{cap.text}{' ' if one else ''}{rest.text}"
            found[found.index(rest)] = replace(rest, text=joint)
            found.remove(cap)
    return found


def _is_cap(word: Word, body: float) -> bool:
    alone = len(word.text.strip("\"'“”„«»‘’")) <= 1 and word.text[-1:].isupper()
    return alone and _height(word) >= DROP_CAP * body


def _is_beside(word: Word, cap: Word) -> bool:
    return cap.box[1] - _height(word) <= _middle(word) <= cap.box[3] and word.box[0] >= cap.box[2] - 0.01


def _is_stamp(line: Sequence[Word], body: float) -> bool:
    """Whether a line is a stamp, or one very large letter, as of a stamp across the page."""
    joint = re.sub(r"\bv?\d+\b", " ", " ".join(word.text for word in line).casefold())  # as in DRAFT v2
    text = re.findall(r"[^\W\d_]+", joint)
    if all(len(part) == 1 for part in text) and "".join(text) in STAMPS.split():  # spaced letters
        return True
    lone = len(line) == 1 and len(line[0].text) == 1 and _height(line[0]) > DROP_CAP * body
    return lone or (bool(text) and set(text) <= set(STAMPS.split()))


def _heading(lines: Sequence[list[Word]]) -> list[Word]:
    """The line with the largest type in the upper half and its neighbours of that size; may be empty.

    Only if there is none, a line in the lower half of much larger type.
    """
    body = statistics.median(_height(word) for line in lines for word in line)
    upper = _largest([line for line in lines if line[0].box[1] < 0.5], LARGER * body)
    return upper or _largest(lines, LARGEST * body)


def _largest(lines: Sequence[list[Word]], least: float) -> list[Word]:
    sizes = [
        statistics.median(_height(word) for word in line) if _letters(line) >= LEAST_LETTERS else 0.0
        for line in lines
    ]
    if not sizes or max(sizes) < least:
        return []
    first = last = sizes.index(max(sizes))
    while first > 0 and sizes[first - 1] >= SAME * sizes[last] and _follows(lines[first - 1], lines[first]):
        first -= 1
    found = list(lines[first])
    for line, size in zip(lines[first + 1 :], sizes[first + 1 :], strict=True):
        if size < ALIKE * sizes[last] or len(found) >= 8:
            break
        found += line
    return found


def _follows(line: Sequence[Word], after: Sequence[Word]) -> bool:
    """Whether `after` is the next line of the same paragraph."""
    return 0 < _middle(after[0]) - _middle(line[0]) < 1.6 * _height(after[0])


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
    """Letters of a line; ideographs and kana count twice.

    >>> _letters([Word("目次", (0, 0, 1, 1)), Word("12", (0, 0, 1, 1))])
    4
    """
    return sum(1 + (c >= "\u2e80") for word in line for c in word.text if c.isalpha())


def _is_word(text: str) -> bool:
    """Whether text that a picture shows is worth a title: strokes are often read as I, l or 1.

    >>> [_is_word(text) for text in ("MEOW", "IIIC", "4", "l1")]
    [True, False, False, False]
    """
    letters = [c for c in text.casefold() if c.isalpha()]
    return len(letters) >= LEAST_LETTERS and not re.search(r"(.)\1\1", text)


# Pictures


def _shown(tags: Sequence[Word]) -> str:
    """What a picture shows, from the labels that are sure: "a cat", "a drawing of a cat"; may be empty."""
    medium = next((tag.text for tag in tags if tag.text in MEDIA), "")
    things: list[str] = []
    for name in _sure(tags, SURE_OF_DRAWING if medium == "drawing" else SURE):
        if len(things) < 2 and not any(same_thing(name, thing) for thing in things):
            things.append(name)
    if not things:
        return ""
    what = " and ".join(_with_article(thing) for thing in things)
    return f"a {medium} of {what}" if medium == "drawing" or (medium and len(things) > 1) else what


def _sure(tags: Sequence[Word], least: float) -> Iterator[str]:
    """Labels and narrow categories, or else wide ones, without colours and media; the most probable first."""
    things = [tag for tag in tags if tag.confidence >= least and same_thing(tag.text, tag.text)]
    ranked = sorted(things, key=lambda tag: -tag.confidence - NARROWER * (tag.text not in CATEGORIES))
    known = [tag.text for tag in ranked if tag.text != COLOUR]
    return iter([name for name in known if name not in GENERAL] or known)


def _with_article(name: str) -> str:
    """
    >>> [_with_article(name) for name in ("cat", "Egyptian cat", "sunglasses", "wool")]
    ['a cat', 'an Egyptian cat', 'sunglasses', 'wool']
    """
    if name in PLAIN.split() or re.search(r"[^su]s$", name):
        return name
    return f"{'an' if name[0] in 'aeiouAEIOU' and not name.startswith('uni') else 'a'} {name}"


def _short(parts: Sequence[str]) -> str:
    """Parts joined by spaces, without control characters, cut at a word boundary to TITLE_LENGTH."""
    text = " ".join("".join(c if c.isprintable() else " " for c in " ".join(parts)).split())
    if len(text) <= TITLE_LENGTH:
        return text
    cut = text[: TITLE_LENGTH - 1]
    return (cut.rsplit(" ", 1)[0] if " " in cut[TITLE_LENGTH // 2 :] else cut).rstrip(" ,;:-") + "…"
