"""Captioned drawings from Debian's package openclipart-svg (public domain), to fit the image projection.

Titles must consist of WordNet words, which excludes file names, artists and other languages. Drawings with
the same title are all in the dev set or all in training. Drawings with only keywords are used for training.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from . import corpora

PACKAGE = "openclipart-svg"
FOLDER = "usr/share/openclipart/svg"
# Folders with drawings of objects; the others have buttons, flags, signs, stars and patterns.
KEPT_FOLDERS = (
    "animals", "buildings", "computer/hardware", "containers", "education", "electronics", "food",
    "geography/astronomy", "office", "people", "plants", "recreation", "science", "tools", "transportation",
)  # fmt: skip
EXCLUDED = ("/cards/", "/roadsigns/", "/aiga-symbols/", "/smilies/", "/stickmen/", "/chess/", "/hummers/")
STOP_WORDS = frozenset(
    "a an and b black bw color colour in large big of on outline small the w white with".split()  # noqa: SIM905
)
MOST_WORDS = 5  # of a title
DEV_SHARE = (2, 5)  # two titles in five; the dev set needs 500 candidates
CAPTION_KEYWORDS = 3
SIDE = 380  # pixels; longer side of a rendered drawing


@dataclass(frozen=True)
class Drawing:
    """One SVG: name within the package, file, title in plain words or "", keywords; (language, title) of
    further titles.
    """

    name: str
    path: Path
    title: str
    keywords: tuple[str, ...]
    names: tuple[tuple[str, str], ...] = ()

    @property
    def caption(self) -> str:
        """The title, or the first keywords of a drawing without one."""
        return self.title or " ".join(self.keywords[:CAPTION_KEYWORDS])


def fetch(data: Path) -> Path:
    """Download the SVGs, and WordNet for checking titles; returns the SVG folder. Raises RuntimeError."""
    corpora.fetch(PACKAGE, data)
    corpora.fetch(corpora.WORDNET, data)
    return data / PACKAGE / FOLDER


def training_drawings(folder: Path) -> list[Drawing]:
    """Drawings whose captions are not titles of the dev set."""
    found = list(drawings(folder, untitled=True))
    dev_titles = {drawing.title for drawing in found if drawing.title and is_dev(drawing)}
    return [drawing for drawing in found if drawing.caption not in dev_titles]


def drawings(folder: Path, untitled: bool = False) -> Iterator[Drawing]:
    """Drawings with a usable title, sorted by name. `folder` is from `fetch`.

    untitled: include drawings with only keywords.
    """
    from lxml import etree  # only training needs it

    known = _words(folder.parents[len(Path(FOLDER).parts)] / corpora.WORDNET / "usr/share/wordnet")
    for path in sorted(folder.rglob("*.svg")):
        name = path.relative_to(folder).as_posix()
        if not name.startswith(KEPT_FOLDERS) or any(part in name for part in EXCLUDED):
            continue
        root = etree.fromstring(path.read_bytes(), etree.XMLParser(recover=True, huge_tree=True))
        work = None if root is None else root.find(".//{*}Work")
        if work is None:
            continue
        title = plain_title(work.findtext("{*}title") or "", known)
        words = ((item.text or "").strip() for item in work.iterfind("{*}subject//{*}li"))
        keywords = tuple(word for word in words if word in known)
        if title or (untitled and keywords):
            yield Drawing(name, path, title, keywords)


def is_dev(drawing: Drawing) -> bool:
    """Whether drawings with this title are in the dev set."""
    return hashlib.sha256(drawing.title.encode()).digest()[0] % DEV_SHARE[1] < DEV_SHARE[0]


def plain_title(title: str, known: frozenset[str]) -> str:
    """A title in lower case, singular if known; empty when it contains an unknown word.

    >>> known = frozenset({"cherry", "pie"})
    >>> plain_title("Cherry Pies (B and W)", known), plain_title("gateau_01", known)
    ('cherry pie', '')
    """
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", re.sub(r"\(.*?\)", " ", title))
    words = [word.lower() for word in re.findall(r"[A-Za-z]+", spaced)]
    plain = [_singular(word, known) for word in words if word not in STOP_WORDS and len(word) > 1]
    return " ".join(plain) if 0 < len(plain) <= MOST_WORDS and all(word in known for word in plain) else ""


def render(drawing: Drawing, target: Path) -> None:
    """Render to a PNG on white. Raises RuntimeError when rsvg-convert is missing or fails."""
    side = str(SIDE)
    command = [
        "rsvg-convert",
        "-w",
        side,
        "-h",
        side,
        "-a",
        "-b",
        "white",
        "-o",
        str(target),
        str(drawing.path),
    ]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        raise RuntimeError(
            f"{drawing.name} could not be rendered ({error}); rsvg-convert comes with librsvg2-bin."
        ) from error


def _singular(word: str, known: frozenset[str]) -> str:
    return word[:-1] if word.endswith("s") and word[:-1] in known else word


@cache
def _words(wordnet: Path) -> frozenset[str]:
    """All words of WordNet's nouns, verbs and adjectives, in lower case."""
    found: set[str] = set()
    for name in ("data.noun", "data.verb", "data.adj"):
        for line in (wordnet / name).read_text(errors="replace").splitlines():
            if not line.startswith("  "):
                lemmas = corpora.lemmas(line)
                found |= {word for lemma in lemmas for word in lemma.split("(")[0].lower().split(" ")}
    return frozenset(found)
