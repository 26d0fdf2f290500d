"""The help of Battle for Wesnoth in several languages: units, terrains and topics.

English lies in configuration files (`name= _ "..."`), the other languages in gettext catalogues.
"""

from __future__ import annotations

import gettext
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from metaembed_demo.training.mini import corpora
from metaembed_demo.training.mini.translations import ENGLISH, LANGUAGES, Translations

PACKAGE = "wesnoth-1.16-data"
ROOT = "usr/share/games/wesnoth/1.16"
DOMAINS = ("wesnoth-units", "wesnoth-help", "wesnoth-lib", "wesnoth")

_BLOCK = re.compile(r"\[(unit_type|topic|terrain_type)\](.*?)\[/\1\]", re.S)
_QUOTED = r'"(?:[^"]|"")*"'
_MARKUP = re.compile(r"<(\w+)>(?:[^<]*?text='((?:[^'\\]|\\.)*)'[^<]*|[^<]*)</\1>")


def documents(data: Path) -> Iterator[Translations]:
    """One for each folder of configuration files, with a section for each unit, terrain or topic."""
    corpora.fetch(PACKAGE, data)
    root = data / PACKAGE / ROOT
    catalogues = {key: _catalogues(root, key) for key in LANGUAGES}
    files = sorted((root / "data/core").rglob("*.cfg"))
    for folder, group in groupby(files, key=lambda path: path.parent if "units" in path.parts else path):
        entries = [entry for path in group for entry in parse(path.read_text())]
        sections = [
            {ENGLISH: (name.rpartition("^")[2], plain(" ".join(text)))}
            | {key: found for key, known in catalogues.items() if (found := translated(known, name, text))}
            for name, text in entries
        ]
        if sections:
            yield Translations(PACKAGE, folder.name, sections)


def parse(text: str) -> Iterator[tuple[str, list[str]]]:
    """(name, paragraphs) of each entry of a configuration file that is described."""
    for _, block in _BLOCK.findall(text):
        name, paragraphs = _value(block, "name|title"), _value(block, "description|text|help_topic_text")
        if name and paragraphs:
            yield name[0], paragraphs


def translated(
    catalogues: Sequence[gettext.NullTranslations], name: str, text: list[str]
) -> tuple[str, str] | None:
    """Name and text by the catalogues, the first that knows a string counts; None if a string is unknown."""
    found: list[str | None] = []
    for string in (name, *text):
        known = (catalogue.gettext(string) for catalogue in catalogues)
        found.append(next((other for other in known if other != string), None))
    if None in found:
        return None
    heading, *paragraphs = (string or "" for string in found)
    return heading.rpartition("^")[2], plain(" ".join(paragraphs))


def plain(text: str) -> str:
    r"""Without the help's markup.

    >>> plain("see <ref>dst='x' text='Kent\\'s end'</ref><jump>to=20</jump> there")
    "see Kent's end there"
    """
    shown = _MARKUP.sub(lambda match: match[2] or "", text)
    return " ".join(shown.replace("\\'", "'").split())


def _catalogues(root: Path, language: str) -> list[gettext.NullTranslations]:
    folder = root / "locale" / {"zh": "zh_CN"}.get(language, language) / "LC_MESSAGES"
    found: list[gettext.NullTranslations] = []
    for domain in DOMAINS:
        with (folder / f"{domain}.mo").open("rb") as file:
            found.append(gettext.GNUTranslations(file))
    return found


def _value(block: str, keys: str) -> list[str]:
    """The translatable strings that make up a value."""
    found = re.search(rf'^\s*(?:{keys})\s*=((?:{_QUOTED}|[^"\n]|\+\s*\n)*)', block, re.M)
    strings = re.findall(rf"_\s*({_QUOTED})", found[1]) if found else []
    return [text for quoted in strings if (text := quoted[1:-1].replace('""', '"')).strip()]
