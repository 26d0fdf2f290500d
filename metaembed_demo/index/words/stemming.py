"""Snowball stems and stop words by ISO 639-1 code, from tantivy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

import tantivy

from .tokenizer import folded

NAMES = {
    "ar": "arabic",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "fi": "finnish",
    "fr": "french",
    "hu": "hungarian",
    "it": "italian",
    "nl": "dutch",
    "no": "norwegian",
    "nb": "norwegian",
    "nn": "norwegian",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
}
UNLISTED = {"ar", "el", "ro", "ta", "tr"}  # without stop words; asking for some ends in a panic in 0.26


def stems(plain: Sequence[str], language: str) -> list[str]:
    """The folded stem of each part of `plain`; the folded part where the language has no stemmer.

    >>> stems(["houses", "running"], "en"), stems(["häuser"], "de"), stems(["häuser"], "xx")
    (['hous', 'run'], ['haus'], ['hauser'])
    """
    analyser = _analyser(language, "stemmer") if plain else None
    found = plain if analyser is None else analyser.analyze(" ".join(plain))
    assert len(found) == len(plain), "a part holds a space"
    return [folded(stem) for stem in found]


def stop_words(plain: Iterable[str], language: str) -> set[str]:
    """Those of `plain` that are stop words of the language.

    >>> stop_words(["the", "die", "casting"], "en"), stop_words(["the"], "tr")
    ({'the'}, set())
    """
    analyser = _analyser(language, "stopword")
    return set() if analyser is None else set(plain) - set(analyser.analyze(" ".join(plain)))


@cache
def _analyser(language: str, kind: str) -> tantivy.TextAnalyzer | None:
    if language not in NAMES or (kind == "stopword" and language in UNLISTED):
        return None
    spaces = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace())
    return spaces.filter(getattr(tantivy.Filter, kind)(NAMES[language])).build()
