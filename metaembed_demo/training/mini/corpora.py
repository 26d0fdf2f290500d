"""Training text for MetaEmbed-Mini: sections of Debian's documentation packages.

Each package has its licence in usr/share/doc/NAME/copyright. FAQs, except the one in `anarchism`, are
excluded, since quality is measured on unseen question-and-answer documents.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

HTML_SOURCES: dict[str, str] = {  # package -> glob of its pages
    "python3.11-doc": "usr/share/doc/python3.11/html/**/*.html",
    "postgresql-doc-15": "usr/share/doc/postgresql-doc-15/html/*.html",
    "gimp-help-en": "usr/share/gimp/2.0/help/en/*.html",
    "git-doc": "usr/share/doc/git-doc/*.html",
    "sqlite3-doc": "usr/share/doc/sqlite3/**/*.html",
    "libreoffice-help-en-us": "usr/share/libreoffice/help/en-US/text/**/*.html",
    "debian-handbook": "usr/share/doc/debian-handbook/html/en-US/*.html",
    "vim-doc": "usr/share/doc/vim/html/*.html",
    "gnumeric-doc": "usr/share/help/C/gnumeric/*.xml",
    "r-doc-html": "usr/share/R/doc/manual/*.html",
    "installation-guide-amd64": "usr/share/doc/installation-guide-amd64/en/*.html",
    "anarchism": "usr/share/doc/anarchism/html/*.html",
    "stellarium-data": "usr/share/stellarium/**/description.en.utf8",
}
DICTIONARIES = {
    "dict-gcide": "gcide",
    "dict-foldoc": "foldoc",
    "dict-jargon": "jargon",
    "dict-devil": "devil",
}
WORDNET = "wordnet-base"

_DROP = (
    "//script|//style|//nav|//header|//footer|//aside|//form"
    "|//*[contains(@class,'navheader') or contains(@class,'navfooter') or contains(@class,'docnav')"
    " or contains(@class,'sphinxsidebar') or contains(@class,'related') or contains(@class,'menu')"
    " or contains(@class,'mobile-nav') or contains(@class,'headerlink') or @id='banner' or @id='title']"
)
_HEADINGS = {"h1", "h2", "h3", "h4", "h5", "title"}
_BLOCKS = {"p", "li", "dt", "dd", "td", "th", "pre", "div", "tr", "para", "entry", "listitem", "br", "table"}
_NUMBER = re.compile(
    r"^\s*(?:(?:chapter|appendix|section)\s+)?(?:[A-Z]\.)?[\d.]*\d\.?\s+|^[A-Z]\.\d[\d.]*\s+", re.I
)


@dataclass(frozen=True)
class Document:
    """One source file: its package, a name, and (heading, text) sections in order."""

    source: str
    name: str
    sections: list[tuple[str, str]]


def prepare(folder: Path) -> Path:
    """Download, unpack and split all packages once; returns the JSON Lines file of documents.

    Raises:
        RuntimeError: when apt-get or dpkg is missing (Debian and Ubuntu only) or fails.
    """
    done = folder / "documents.jsonl"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for package in (*HTML_SOURCES, *DICTIONARIES, WORDNET):
            fetch(package, folder)
        partial = done.with_suffix(".part")
        with partial.open("w") as out:
            for document in _documents(folder):
                out.write(json.dumps([document.source, document.name, document.sections]) + "\n")
        partial.rename(done)
    return done


def load(path: Path) -> list[Document]:
    """Read the file from `prepare`."""
    with path.open() as lines:
        rows = (json.loads(line) for line in lines)
        return [Document(source, name, [(h, t) for h, t in sections]) for source, name, sections in rows]


def fetch(package: str, folder: Path) -> None:
    """Download and unpack a Debian package into `folder`, once. Raises RuntimeError when that fails."""
    target = folder / package
    if target.exists():
        return
    print(f"fetching {package}", file=sys.stderr, flush=True)
    try:
        if not list(folder.glob(f"{package}_*.deb")):
            subprocess.run(
                ["apt-get", "download", "-q", package], cwd=folder, check=True, capture_output=True
            )
        archive = next(folder.glob(f"{package}_*.deb"))
        subprocess.run(["dpkg", "-x", archive.name, f"{package}.part"], cwd=folder, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise RuntimeError(
            f"The Debian package {package} could not be fetched ({error}). "
            "Training data comes from Debian or Ubuntu: run apt-get update there first."
        ) from error
    (folder / f"{package}.part").rename(target)


def _documents(folder: Path) -> Iterator[Document]:
    for package, pattern in HTML_SOURCES.items():
        for path in sorted((folder / package).glob(pattern)):
            if "faq" in path.as_posix().lower() and package != "anarchism":
                continue
            sections = parse_sections(path, plain=package == "vim-doc")
            if sections:
                yield Document(package, path.name, sections)
    for package, name in DICTIONARIES.items():
        base = folder / package / "usr/share/dictd" / name
        yield from _bundles(
            package, list(parse_dictd(base.with_suffix(".index"), base.with_suffix(".dict.dz")))
        )
    yield from _bundles(WORDNET, list(parse_wordnet(folder / WORDNET / "usr/share/wordnet")))


def parse_sections(path: Path, plain: bool) -> list[tuple[str, str]]:
    """(heading, text) sections. `plain` pages (one long PRE) are split by paragraphs instead."""
    root = page_body(path, _DROP)
    if root is None:
        return []
    if plain:
        paragraphs = re.split(r"\n\s*\n", root.text_content())
        return _blocks([" ".join(p.split()) for p in paragraphs])
    return [(heading, text) for heading, text in headed(root) if len(text.split()) >= 12]


def page_body(path: Path, drop: str) -> Any:
    """The body of an HTML file (an lxml element) without what the XPath `drop` finds; None if unreadable."""
    from lxml import html  # only training needs it

    try:
        tree = html.fromstring(path.read_bytes())
    except (ValueError, html.etree.ParserError):
        return None
    for element in tree.xpath(drop):
        if element.getparent() is not None:
            element.drop_tree()
    body = tree.find(".//body")
    return tree if body is None else body


def headed(root: Any) -> list[tuple[str, str]]:
    """Every (heading, text) section below an lxml element, also empty ones; what precedes has heading ""."""
    sections: list[tuple[str, list[str]]] = [("", [])]
    _walk(root, sections)
    return [(_clean(heading), " ".join("".join(text).split())) for heading, text in sections]


def _walk(element, sections: list[tuple[str, list[str]]]) -> None:  # type: ignore[no-untyped-def]
    if isinstance(element.tag, str) and element.tag.lower() in _HEADINGS:
        sections.append((element.text_content(), []))
    elif isinstance(element.tag, str):
        space = " " if element.tag.lower() in _BLOCKS else ""
        text = sections[-1][1]
        text.append(space + (element.text or ""))
        for child in element:
            _walk(child, sections)
        sections[-1][1].append(space)
    sections[-1][1].append(element.tail or "")


def _clean(heading: str) -> str:
    heading = " ".join(heading.replace("¶", " ").split())
    return _NUMBER.sub("", heading).strip()


def _blocks(paragraphs: list[str], words: int = 120) -> list[tuple[str, str]]:
    """Paragraphs joined until each block has about `words` words; no headings."""
    blocks: list[tuple[str, str]] = []
    kept: list[str] = []
    for paragraph in paragraphs:
        kept.append(paragraph)
        if sum(len(p.split()) for p in kept) >= words:
            blocks.append(("", " ".join(kept)))
            kept = []
    return blocks


def parse_dictd(index: Path, data: Path) -> Iterator[tuple[str, str]]:
    """(headword, definition) of a dictd dictionary; offsets are base 64 numbers."""
    text = gzip.decompress(data.read_bytes())
    for line in index.read_text(errors="replace").splitlines():
        word, start, length = line.split("\t")[:3]
        if word.startswith("00-") or not word:
            continue
        begin = _base64(start)
        entry = text[begin : begin + _base64(length)].decode("utf-8", "replace")
        entry = re.sub(r"\[1913 Webster\]|\\[^\\]*\\|[{}]", "", entry)
        definition = " ".join(entry.split("\n", 1)[-1].split())
        if len(definition.split()) >= 8:
            yield word, " ".join(definition.split()[:160])


def _base64(number: str) -> int:
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    value = 0
    for digit in number:
        value = value * 64 + digits.index(digit)
    return value


def parse_wordnet(folder: Path) -> Iterator[tuple[str, str]]:
    """(lemmas, gloss) of every noun and verb synset."""
    for name in ("data.noun", "data.verb"):
        for line in (folder / name).read_text(errors="replace").splitlines():
            if line.startswith("  ") or " | " not in line:
                continue
            gloss = line.split(" | ", 1)[1]
            if len(gloss.split()) >= 6:
                yield ", ".join(lemmas(line)[:3]), " ".join(gloss.split())


def lemmas(line: str) -> list[str]:
    """The words and phrases of one line of a WordNet data file, as they are spelled."""
    fields = line.split(" | ", 1)[0].split()
    return [fields[4 + 2 * i].replace("_", " ") for i in range(int(fields[3], 16))]


def _bundles(source: str, entries: list[tuple[str, str]]) -> Iterator[Document]:
    """Documents of 30 dictionary entries each, which serve as hard negatives of one another."""
    random.Random(source).shuffle(entries)  # alphabetical neighbours share only first letters
    edges = list(range(0, min(len(entries), 30_000), 30))
    for start, end in pairwise([*edges, min(len(entries), 30_000)]):
        yield Document(source, f"{source}-{start}", entries[start:end])
