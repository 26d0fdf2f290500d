"""Training pages in other languages than English, with queries in theirs and in another one."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Sequence

from .dataset import TrainingExample
from .translations import ENGLISH, LANGUAGES, Page, Translations, pages

SIZES = ((40, 120), (120, 250), (250, 450))  # words of a page; a cluster has one of them
IN_ENGLISH, IN_ANOTHER = 0.6, 0.2  # how often a heading is asked for in English, or in a third language
LEAST_LETTERS = {"ja": 4, "zh": 3}  # of a heading that is asked for; others 6
SENTENCE = re.compile(r"(?<=[.!?:;])\s+|(?<=[。！？；])")
SENTENCE_LETTERS = {"ja": (12, 80), "zh": (10, 60)}  # of a sentence that is asked for; others (30, 220)


class TranslatedPages:
    """Clusters of pages of one document in one language."""

    def __init__(self, documents: Sequence[Translations]) -> None:
        self.documents = [
            (document, known)
            for document in documents
            if (known := _languages(document)) and document.sections
        ]
        lengths = [len(document.sections) ** 0.6 for document, _ in self.documents]
        of_source: dict[str, float] = defaultdict(float)
        for (document, _), length in zip(self.documents, lengths, strict=True):
            of_source[document.source] += length
        # Sublinear in the length of documents and sources, for variety.
        self.weights = [
            length / of_source[document.source] ** 0.6
            for (document, _), length in zip(self.documents, lengths, strict=True)
        ]

    def draw(self, room: int, rng: random.Random) -> list[TrainingExample]:
        """At most `room` examples; fewer where a document is short."""
        language = rng.choice(sorted(set(LANGUAGES) & {key for _, known in self.documents for key in known}))
        weights = [
            w * (language in known) for w, (_, known) in zip(self.weights, self.documents, strict=True)
        ]
        document, _ = rng.choices(self.documents, weights)[0]
        found = [_example(document, page, rng) for page in pages(document, language, rng, rng.choice(SIZES))]
        asked = [example for example in found if example.queries]
        return rng.sample(asked, min(room, len(asked)))


def _languages(document: Translations) -> set[str]:
    return {key for section in document.sections for key in section} - {ENGLISH}


def _example(document: Translations, page: Page, rng: random.Random) -> TrainingExample:
    language, queries, hidden = page.language, [], []
    original: dict[str, str] = {}
    headed = [(at, h) for at, h, text in page.parts if text and len(h) >= LEAST_LETTERS.get(language, 6)]
    if headed:
        at, heading = rng.choice(headed)
        hidden = [heading] if rng.random() < 0.75 else []
        queries.append(heading)
        other = _elsewhere(document, at, language, rng)
        if other and other != heading:
            queries.append(other)
            original[other] = heading
    least, most = SENTENCE_LETTERS.get(language, (30, 220))
    said = [s.strip() for _, _, text in page.parts for s in SENTENCE.split(text)]
    said = [sentence for sentence in said if least <= len(sentence) <= most]
    if said and len(queries) < 2:
        queries.append(rng.choice(said))
    words = page.text(hidden)
    if queries and rng.random() < 0.7:
        words = words.replace(queries[-1], " ")
    return TrainingExample(words.split(), queries, language=language, original=original)


def _elsewhere(document: Translations, at: int, language: str, rng: random.Random) -> str | None:
    """The section's heading in English or in a third language."""
    roll = rng.random()
    others = sorted(document.sections[at].keys() - {ENGLISH, language})
    asked_in = ENGLISH if roll < IN_ENGLISH else rng.choice(others) if others else None
    if asked_in is None or roll > IN_ENGLISH + IN_ANOTHER:
        return None
    return document.sections[at][asked_in][0] or None
