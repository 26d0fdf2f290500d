"""Synthetic training set of MetaEmbed-Mini: pages and queries sampled from documents.

A page is a run of adjacent sections. A query is a section's heading, a sentence, or keywords of a sentence;
the heading or sentence is mostly removed from the page, so that lexical overlap does not suffice. Some pages
are lists of image tags, as from documents/image_tags.py. Some have natural questions written for them
(assets/questions.jsonl).
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from .corpora import Document

ENGLISH = "en"
UNIT_WORDS = 220  # longer sections are split, so that a page can begin inside one
CLUSTER = 4  # pages per batch from the same document: hard negatives
DEV_SHARE = 25  # one document in 25 is in the dev set
HELD_OUT = ("installation-guide-amd64",)  # sources that are kept out of training as a whole
NOISE_SHARE = 0.15
DICTIONARIES = ("dict-", "wordnet")
QUESTIONS = (
    "what is {}?",
    "how does {} work?",
    "how do I use {}?",
    "tell me about {}",
    "where is {} explained?",
    "why {}",
    "{} meaning",
    "when should I use {}?",
)
PICTURE_QUERIES = (
    "{}",
    "{}",
    "a picture of a {}",
    "a photo of a {}",
    "where is the {}?",
    "a {} in the picture",
)
COLOURS = ["black", "white", "grey", "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown"]
STARTS = 8  # first words that identify the unit a question was written for
GENERIC = 4  # headings that occur more often are not used as queries


@dataclass(frozen=True)
class Mix:
    """Composition of a batch, as shares of its clusters; the rest is prose."""

    pictures: float  # lists of image tags
    entries: float  # a few dictionary entries: short pages in general English
    asked: float  # pages with natural questions
    foreign: float  # queries per page that no page of the batch answers; only the teacher scores them


TRANSLATED = 0.6  # of the clusters, where the text path reads other languages
MIX = Mix(pictures=0.1, entries=0.2, asked=0.3, foreign=0.25)


@dataclass(frozen=True)
class Question:
    """A natural question, and the unit that answers it by package and first words."""

    source: str
    starts: str
    text: str


def load_questions(path: Path) -> list[Question]:
    """Read JSON lines with the fields of `Question`."""
    return [Question(**json.loads(line)) for line in path.read_text().splitlines()]


@dataclass(frozen=True)
class ImageConcept:
    """A subject of images: names, categories, and a description of its appearance."""

    names: list[str]
    categories: list[str]
    description: str


@dataclass(frozen=True)
class TrainingExample:
    """A page's words, the queries it answers, and foreign queries, answered by no page of the batch.

    language: of the page. original: a query in another language -> what it translates, which the teacher
    reads in its place.
    """

    words: list[str]
    queries: list[str]
    foreign: list[str] = field(default_factory=list)
    language: str = ENGLISH
    original: dict[str, str] = field(default_factory=dict)


def queries(examples: Sequence[TrainingExample]) -> list[str]:
    """Those that the pages answer, in their order, then the foreign ones."""
    answered = [query for example in examples for query in example.queries]
    return answered + [query for example in examples for query in example.foreign]


def originals(examples: Sequence[TrainingExample]) -> list[tuple[str, str]]:
    """What each of `queries(examples)` translates, or itself, and the language of that."""
    answered = [(e.original.get(query, query), e.language) for e in examples for query in e.queries]
    return answered + [(query, ENGLISH) for e in examples for query in e.foreign]


@dataclass
class Unit:
    """A section, or part of a long one."""

    heading: str
    sentences: list[str]

    @property
    def size(self) -> int:
        return sum(len(s.split()) for s in self.sentences)


class TrainingSet:
    """All training documents, and sampling of batches."""

    def __init__(
        self,
        documents: Sequence[Document],
        things: Sequence[ImageConcept] = (),
        questions: Sequence[Question] = (),
        without: Sequence[str] = (),
        translated: Callable[[int, random.Random], list[TrainingExample]] | None = None,
    ) -> None:
        """translated: draws clusters in other languages. without: sources that are not trained on; `left_out`
        has the pages of their questions.
        """
        kept = [document for document in documents if document.source not in without]
        if without and len(kept) < len(documents):
            others = [document for document in documents if document.source in without]
            self.left_out = TrainingSet(others, questions=questions).questioned(seed=7)
            documents = kept
        else:
            self.left_out = {}
        counts = Counter(heading.lower() for d in documents for heading, _ in d.sections)
        self.generic = {heading for heading, n in counts.items() if n > GENERIC}
        split = [(d, self._units(d)) for d in documents]
        self.train = [(d.source, units) for d, units in split if not is_kept_out(d) and units]
        self.dev = [(d, units) for d, units in split if is_dev(d) and units]
        self.entries = [units for source, units in self.train if source.startswith(DICTIONARIES)]
        self.asked = self._asked(questions)
        self.concepts = list(things)
        self.translated = translated
        # Sublinear in length, for variety.
        self.weights = [_share(source) * len(units) ** 0.6 for source, units in self.train]

    def batch(self, size: int, seed: int) -> list[TrainingExample]:
        """`size` examples in clusters of CLUSTER, deterministic by seed."""
        rng = random.Random(seed)
        examples: list[TrainingExample] = []
        while len(examples) < size:
            cluster = self._cluster(min(CLUSTER, size - len(examples)), rng)
            examples += [
                replace(example, foreign=[self._foreign(rng)]) if rng.random() < MIX.foreign else example
                for example in cluster
            ]
        return examples

    def _cluster(self, room: int, rng: random.Random) -> list[TrainingExample]:
        if self.translated and rng.random() < TRANSLATED:
            return self.translated(room, rng)
        roll = rng.random()
        if self.concepts and roll < MIX.pictures:
            # Not from one theme: such images would all be relevant.
            return [self._picture(rng) for _ in range(room)]
        roll -= MIX.pictures
        if self.asked and 0 <= roll < MIX.asked:
            return [self._answer(rng) for _ in range(room)]
        short = bool(self.entries) and 0 <= roll - MIX.asked < MIX.entries
        if short:
            units = rng.choice(self.entries)
        else:
            _, units = rng.choices(self.train, self.weights)[0]
        sizes = (rng.randint(10, 120),) * 3 if short else None
        return [example for _ in range(room) if (example := self._example(units, rng, sizes))]

    def _asked(self, questions: Sequence[Question]) -> list[tuple[list[Unit], int, list[str]]]:
        """Training units with questions: (units of the document, index of the unit, questions)."""
        texts: dict[tuple[str, str], list[str]] = {}
        for question in questions:
            texts.setdefault((question.source, question.starts), []).append(question.text)
        found = []
        for source, units in self.train:
            for at, unit in enumerate(units):
                asked = texts.pop((source, starts(unit)), None)
                if asked:
                    found.append((units, at, asked))
        return found

    def questioned(self, seed: int) -> dict[str, list[TrainingExample]]:
        """Package -> a page for each unit with natural questions, to compare models that are not trained."""
        rng, found = random.Random(seed), dict[str, list[TrainingExample]]()
        sources = {id(units): source for source, units in self.train}
        for asked in self.asked:
            found.setdefault(sources[id(asked[0])], []).append(self._answer(rng, asked))
        return found

    def _answer(
        self, rng: random.Random, chosen: tuple[list[Unit], int, list[str]] | None = None
    ) -> TrainingExample:
        """A page that contains a unit with questions, by default any, at a random position."""
        units, at, asked = chosen or rng.choice(self.asked)
        target = rng.choice((150, 350, 600, 600))
        start, size = at, units[at].size
        before = (target - size) * rng.random()
        while start > 0 and size + units[start - 1].size < before:
            start -= 1
            size += units[start].size
        page = _run(units, start, target)
        if start + len(page) <= at:
            page = [units[at]]
        hidden = [unit.heading for unit in page if rng.random() < 0.3]
        words = _words(page, without=hidden)
        return TrainingExample(_noise(words, rng) if rng.random() < NOISE_SHARE else words, asked[:2])

    def _foreign(self, rng: random.Random) -> str:
        unit = rng.choice(rng.choices(self.train, self.weights)[0][1])
        if self._telling(unit.heading) and rng.random() < 0.5:
            return _ask(unit.heading, rng)
        return " ".join(rng.choice(unit.sentences).split()[:25])

    def sentences(self, count: int, seed: int) -> list[str]:
        """Random sentences of training documents."""
        rng = random.Random(seed)
        drawn = rng.choices(self.train, self.weights, k=count)
        return [rng.choice(rng.choice(units).sentences) for _, units in drawn]

    def dev_entries(self, count: int, seed: int = 7) -> list[TrainingExample]:
        """Dev pages of three dictionary entries; the query is a headword, removed from the page."""
        rng = random.Random(seed)
        found: list[TrainingExample] = []
        for document, units in self.dev:
            at = [i for i, unit in enumerate(units) if self._telling(unit.heading)]
            if document.source.startswith(DICTIONARIES) and at:
                start = rng.choice(at)
                asked = units[start].heading
                found.append(TrainingExample(_words(units[start : start + 3], without=asked), [asked]))
        return found[:count]

    def dev_documents(
        self, count: int, seed: int = 7, words: tuple[int, int] = (450, 800)
    ) -> list[TrainingExample]:
        """Long dev pages of technical documents; the query is a heading, removed from the page."""
        rng = random.Random(seed)
        found: list[TrainingExample] = []
        usable = [units for document, units in self.dev if not document.source.startswith(DICTIONARIES)]
        for units in rng.sample(usable, len(usable)):
            start, made = 0, 0
            while start < len(units) and made < 6:
                page = _run(units, start, rng.randint(*words))
                start += len(page)
                headed = [unit for unit in page if self._telling(unit.heading)]
                if sum(unit.size for unit in page) < words[0] // 2 or not headed:
                    continue
                asked = rng.choice(headed)
                found.append(TrainingExample(_words(page, without=asked.heading), [asked.heading]))
                made += 1
        rng.shuffle(found)
        return found[:count]

    def _units(self, document: Document) -> list[Unit]:
        units = []
        for heading, text in document.sections:
            kept: list[str] = []
            for sentence in _sentences(text):
                kept.append(sentence)
                if sum(len(s.split()) for s in kept) >= UNIT_WORDS:
                    units.append(Unit(heading, kept))
                    heading, kept = "", []
            if kept:
                units.append(Unit(heading, kept))
        return units

    def _telling(self, heading: str) -> bool:
        return len(heading) > 3 and heading.lower() not in self.generic

    def _example(
        self, units: list[Unit], rng: random.Random, sizes: tuple[int, ...] | None = None
    ) -> TrainingExample | None:
        sizes = sizes or (rng.randint(30, 150), rng.randint(150, 400), rng.randint(400, 850))
        target = rng.choices(sizes, [0.25, 0.4, 0.35])[0]
        page = _run(units, rng.randrange(len(units)), target)
        queries, hidden = [], []
        headed = [unit for unit in page if self._telling(unit.heading)]
        if headed:
            heading = rng.choice(headed).heading
            queries.append(_ask(heading, rng))
            if rng.random() < 0.75:
                hidden.append(heading)
        sentences = [s for unit in page for s in unit.sentences if 5 <= len(s.split()) <= 40]
        while sentences and len(queries) < 2:
            sentence = sentences.pop(rng.randrange(len(sentences)))
            keywords = rng.random() < 0.4
            queries.append(_keywords(sentence, rng) if keywords else sentence)
            if rng.random() < 0.7 and len(sentences) > 3:
                hidden.append(sentence)
        words = _words(page, without=hidden)
        if not queries or len(words) < 5:
            return None
        return TrainingExample(_noise(words, rng) if rng.random() < NOISE_SHARE else words, queries)

    def _picture(self, rng: random.Random) -> TrainingExample:
        """A list of image tags: some labels correct, some of similar classes, some wrong."""
        at = rng.randrange(len(self.concepts))
        thing = self.concepts[at]
        near = [
            rng.choice(self.concepts[(at + rng.randint(-4, 4)) % len(self.concepts)].names) for _ in range(3)
        ]
        far = [rng.choice(rng.choice(self.concepts).names) for _ in range(rng.randint(0, 3))]
        labels = [*thing.names[:2], *rng.sample(near, rng.randint(0, 3)), *far]
        colours = ["black and white"] if rng.random() < 0.15 else rng.sample(COLOURS, rng.randint(1, 3))
        style = rng.choice(("photograph", "photograph", "drawing"))
        words = " ".join([*labels, *thing.categories, *colours, style]).split()
        asked = rng.choice(PICTURE_QUERIES).format(rng.choice([*thing.names, *thing.categories]))
        return TrainingExample(words, [asked, rng.choice(_sentences(thing.description))])


def is_dev(document: Document) -> bool:
    """Whether a document is in the dev set; a hash of its name, so it never changes."""
    return hashlib.sha256(f"{document.source}/{document.name}".encode()).digest()[0] % DEV_SHARE == 0


def is_kept_out(document: Document) -> bool:
    """Whether a document is not trained on, in any language."""
    return document.source in HELD_OUT or is_dev(document)


def starts(unit: Unit) -> str:
    """The first STARTS words of a unit, which identify it in a `Question`."""
    return " ".join(" ".join(unit.sentences).split()[:STARTS])


def _share(source: str) -> float:
    return {"dict-gcide": 0.35, "wordnet-base": 0.35, "vim-doc": 0.5, "anarchism": 2.5}.get(source, 1.0)


def _sentences(text: str) -> list[str]:
    """Sentences, split at 40 words."""
    found = []
    for sentence in re.split(r"(?<=[.!?:;])\s+(?=[A-Z\"'(0-9])", text):
        words = sentence.split()
        found += [" ".join(words[i : i + 40]) for i in range(0, len(words), 40)]
    return found


def _run(units: list[Unit], start: int, words: int) -> list[Unit]:
    """Adjacent units from `start` with about `words` words in all; at least one."""
    page = [units[start]]
    total = page[0].size
    for unit in units[start + 1 :]:
        if total + unit.size / 2 > words:
            break
        page.append(unit)
        total += unit.size
    return page


def _words(page: list[Unit], without: str | list[str]) -> list[str]:
    hidden = {without} if isinstance(without, str) else set(without)
    parts = [part for unit in page for part in (unit.heading, *unit.sentences) if part not in hidden]
    return " ".join(parts).split()


def _ask(heading: str, rng: random.Random) -> str:
    if heading.endswith("?") or rng.random() < 0.6:
        return heading
    return rng.choice(QUESTIONS).format(heading[0].lower() + heading[1:])


def _keywords(sentence: str, rng: random.Random) -> str:
    words = [w for w in re.findall(r"[\w-]+", sentence) if len(w) > 3] or sentence.split()
    chosen = sorted(rng.sample(range(len(words)), min(len(words), rng.randint(2, 5))))
    return " ".join(words[i] for i in chosen)


def _noise(words: list[str], rng: random.Random) -> list[str]:
    """Simulated OCR errors: some words dropped, some letters replaced."""
    noisy = []
    for word in words:
        roll = rng.random()
        if roll < 0.04:
            continue
        if roll < 0.10 and len(word) > 3:
            at = rng.randrange(len(word))
            word = word[:at] + rng.choice("abcdefghilmnorstu1I0") + word[at + 1 :]
        noisy.append(word)
    return noisy
