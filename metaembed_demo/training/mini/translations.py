"""Documents in several languages, aligned section by section: a heading in one language is a query for the
page in another.

They are translations of Debian's documentation. No language of a document is trained on when the English
one is kept out (`dataset.is_kept_out`).
"""

from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .corpora import Document, fetch, headed, page_body
from .dataset import ENGLISH, is_kept_out

LANGUAGES = ("de", "fr", "es", "it", "ru", "ja", "zh")  # zh: simplified
DENSE = ("ja", "zh")  # written without spaces
LETTERS_PER_WORD = 2.5  # of these
PART = 150  # words, where a section may be cut
SAME_LETTERS = 0.3  # share from which a section counts as left in English

_DROP = (
    "//script|//style|//nav|//header|//footer|//aside|//form|//*[@class='MAC']"
    "|//*[contains(@class,'navheader') or contains(@class,'navfooter') or contains(@class,'docnav')"
    " or contains(@class,'related') or @id='banner' or @id='title' or @class='toc']"
)
_CHAPTER = re.compile(
    r"^\s*(?:第\s*\d+\s*[章节節]|(?:Kapitel|Anhang|Chapitre|Annexe|Capítulo|Apéndice|Capitolo|Appendice"
    r"|Глава|Приложение|付録|附录)\s+[\dA-Z]+)[.．。:]?\s*"
)


@dataclass(frozen=True)
class Source:
    """Where a document's languages lie: `package` and `root` have {} for the code of the language, and so has
    `pages`, a glob below `root`. `codes`: those that are not the key in LANGUAGES; None for no translation.
    """

    package: str
    root: str
    pages: str = "**/*.html"
    codes: Mapping[str, str | None] = field(default_factory=dict)

    def code(self, language: str) -> str | None:
        return self.codes.get(language, language)

    def package_of(self, code: str) -> str:
        return self.package.format(code.lower().replace("_", "-"))

    def files(self, folder: Path, code: str) -> dict[str, Path]:
        """Path below `root`, the same in every language -> file. `folder` holds the unpacked packages."""
        root = folder / self.package_of(code) / self.root.format(code)
        found = sorted(root.glob(self.pages.format(code)))
        return {path.relative_to(root).as_posix().replace(f".{code}.", "."): path for path in found}


_REGIONS = {key: f"{key}-{key.upper()}" for key in LANGUAGES} | {
    "en": "en-US",
    "ja": "ja-JP",
    "zh": "zh-CN",
}
SOURCES = {  # by the English package, as in corpora.HTML_SOURCES
    "libreoffice-help-en-us": Source(
        "libreoffice-help-{}", "usr/share/libreoffice/help/{}/text", codes={"en": "en-US", "zh": "zh-CN"}
    ),
    "gimp-help-en": Source("gimp-help-{}", "usr/share/gimp/2.0/help/{}", codes={"zh": "zh_CN"}),
    "debian-handbook": Source(
        "debian-handbook", "usr/share/doc/debian-handbook/html/{}", "*.html", codes=_REGIONS
    ),
    "installation-guide-amd64": Source(
        "installation-guide-amd64", "usr/share/doc/installation-guide-amd64/{}", codes={"zh": "zh_CN"}
    ),
    "stellarium-data": Source(
        "stellarium-data", "usr/share/stellarium", "**/description.{}.utf8", codes={"zh": "zh_CN"}
    ),
}


@dataclass(frozen=True)
class Translations:
    """A document: its English package and file name, and its sections, each language -> (heading, text).

    Every section has "en", and those of LANGUAGES into which it is translated.
    """

    source: str
    name: str
    sections: list[dict[str, tuple[str, str]]]

    @property
    def is_kept_out(self) -> bool:
        """Whether the document is not trained on, in any language."""
        return is_kept_out(Document(self.source, self.name, []))


@dataclass(frozen=True)
class Page:
    """Adjacent sections, or parts of them, in one language.

    parts: (section of the document, heading, text); the heading is "" where a section goes on.
    """

    language: str
    parts: list[tuple[int, str, str]]

    def text(self, without: Collection[str] = ()) -> str:
        """Headings and texts in order, except the headings in `without`."""
        shown = [(heading, text) for _, heading, text in self.parts]
        return "\n".join(filter(None, (row for h, t in shown for row in ("" if h in without else h, t))))


def prepare(folder: Path) -> Path:
    """Download, unpack and align all packages once; returns the JSON Lines file of documents.

    Raises:
        RuntimeError: as `corpora.fetch`.
    """
    done = folder / "translations.jsonl"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        store((row for name, source in SOURCES.items() for row in aligned(name, source, folder)), done)
    return done


def store(documents: Iterable[Translations], path: Path) -> None:
    """Write what `load` reads; `path` exists only once it is whole."""
    partial = path.with_suffix(".part")
    with partial.open("w") as out:
        for row in documents:
            out.write(json.dumps([row.source, row.name, row.sections]) + "\n")
    partial.rename(path)


def load(path: Path) -> Iterator[Translations]:
    """Read the file from `prepare`."""
    with path.open() as lines:
        for source, name, sections in map(json.loads, lines):
            pairs = [{key: (heading, text) for key, (heading, text) in row.items()} for row in sections]
            yield Translations(source, name, pairs)


def training_documents(folder: Path) -> Iterator[Translations]:
    """Those that may be trained on. `folder` as in `prepare`."""
    return (document for document in load(prepare(folder)) if not document.is_kept_out)


def pages(
    document: Translations, language: str, rng: random.Random, size: tuple[int, int] = (150, 300)
) -> Iterator[Page]:
    """Pages of one language, each of at least a number of words that is drawn from `size`.

    Queries for a page are the headings of its sections in every language: `document.sections[at][key][0]`.
    """
    parts: list[tuple[int, str, str]] = []
    count, room = 0, rng.randint(*size)
    for at, section in enumerate(document.sections):
        heading, text = section.get(language, ("", ""))
        for number, part in enumerate(_parts(text, language) or [""] * bool(heading)):
            parts.append((at, "" if number else heading, part))
            count += words(part, language)
            if count >= room:
                yield Page(language, parts)
                parts, count, room = [], 0, rng.randint(*size)
    if count >= size[0]:
        yield Page(language, parts)


def aligned(name: str, source: Source, folder: Path) -> Iterator[Translations]:
    """Fetch a source; its documents that are translated at least in part. `name`: its English package."""
    for code in filter(None, map(source.code, (ENGLISH, *LANGUAGES))):
        fetch(source.package_of(code), folder)
    print(f"aligning {name}", file=sys.stderr, flush=True)
    files = {key: source.files(folder, known) for key in LANGUAGES if (known := source.code(key))}
    for path, english in source.files(folder, source.code(ENGLISH) or ENGLISH).items():
        if "faq" in path.lower():
            continue
        others = {key: _sections(found[path]) for key, found in files.items() if path in found}
        sections = align(_sections(english), others)
        if any(len(section) > 1 for section in sections):
            yield Translations(name, english.name, sections)


def align(
    english: list[tuple[str, str]], others: Mapping[str, list[tuple[str, str]]]
) -> list[dict[str, tuple[str, str]]]:
    """Sections by place. A language with another number of sections is left out, and so is a section that is
    still in English, or empty in one of the two.
    """
    same = {key: sections for key, sections in others.items() if len(sections) == len(english)}
    found = []
    for at, (heading, text) in enumerate(english):
        found.append({ENGLISH: (heading, text)})
        for key, sections in same.items():
            other, translation = sections[at]
            if bool(other) == bool(heading) and is_translated(text or heading, translation or other):
                found[-1][key] = other, translation
    return found


def is_translated(english: str, other: str) -> bool:
    """Whether less than SAME_LETTERS of the letters of `other` are in words that `english` has too."""
    known = set(re.findall(r"\w+", english.lower()))
    found = re.findall(r"\w+", other.lower())
    same = sum(len(word) for word in found if word in known)
    return bool(known) and same < SAME_LETTERS * sum(map(len, found))


def words(text: str, language: str) -> int:
    """Length of a text in words, or in what takes as many letters in DENSE languages."""
    return round(len("".join(text.split())) / LETTERS_PER_WORD) if language in DENSE else len(text.split())


def _parts(text: str, language: str) -> list[str]:
    if language in DENSE:
        step = round(PART * LETTERS_PER_WORD)
        return [text[start : start + step] for start in range(0, len(text), step)]
    split = text.split()
    return [" ".join(split[start : start + PART]) for start in range(0, len(split), PART)]


def _sections(path: Path) -> list[tuple[str, str]]:
    root = page_body(path, _DROP)
    return [] if root is None else [(_CHAPTER.sub("", heading), text) for heading, text in headed(root)]
