"""Tasks of mteb made by hand, with ViDoRe's schema, and an encoder whose scores can be seen by eye."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageColor, ImageDraw, ImageFont

from metaembed_demo.core.budgets import OURS
from metaembed_demo.core.types import Embedding, Page, Query, Similarity

if sys.version_info < (3, 11):
    pytest.skip("mteb needs Python 3.11", allow_module_level=True)

import mteb
from datasets import Dataset, Features, Value
from datasets import Image as ImageColumn
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata

SIDE, SQUARE = 8, 4  # a page is 8 x 8 squares, one for each candidate token
# What is asked for; what a wrong page has in its first square; which square of the right page has the answer.
PAINTS = (
    ("#ff0000", "#ff5a00", 0),
    ("#00ff00", "#00ff5a", 3),
    ("#0000ff", "#5a00ff", 7),
    ("#ffff00", "#ffff78", 15),
    ("#ff00ff", "#ff78ff", 63),
)
HITS = {"1x1": 0.2, "2x4": 0.4, "4x8": 0.6, "8x16": 0.8, "16x64": 1.0}  # one more query at each budget


class Painter:
    """Sees colours: a page's tokens are its squares, or the colours its words name; a query's are its own."""

    name, device, fingerprint = "Painter", "CPU", "painter-1"
    dim, r_q, r_c = 3, 16, 64
    budgets = OURS
    similarity: Similarity = "MaxSim"

    def __init__(self) -> None:
        self.pages: list[Page] = []  # all that were encoded
        self.queries: list[Query] = []

    def encode_pages(self, pages: Sequence[Page]) -> list[Embedding]:
        self.pages += pages
        return [self._tokens(page.image, page.text, self.r_c) for page in pages]

    def encode_queries(self, queries: Sequence[Query]) -> list[Embedding]:
        self.queries += queries
        return [self._tokens(query.image, query.text, self.r_q) for query in queries]

    def _tokens(self, image: Image.Image | None, text: str, r: int) -> Embedding:
        colours = [ImageColor.getrgb(word) for word in text.split() if word.startswith("#")]
        if image is not None:
            colours += np.asarray(image)[SQUARE // 2 :: SQUARE, SQUARE // 2 :: SQUARE].reshape(-1, 3).tolist()
        tokens = np.resize(np.array(colours, np.float32), (r, 3))
        return Embedding(tokens / np.linalg.norm(tokens, axis=1, keepdims=True))


def paint(colours: Sequence[str]) -> Image.Image:
    """A page of 64 squares, row by row."""
    page = Image.new("RGB", (SIDE * SQUARE, SIDE * SQUARE))
    for at, colour in enumerate(colours):
        y, x = divmod(at, SIDE)
        page.paste(colour, (x * SQUARE, y * SQUARE, (x + 1) * SQUARE, (y + 1) * SQUARE))
    return page


def squares() -> dict[str, list[str]]:
    """Page id -> 64 colours: but for one square a grey of its own, so that no two pages tie."""
    found = {}
    for at, (answer, lure, place) in enumerate(PAINTS):
        for name, colour, square in (("right", answer, place), ("wrong", lure, 0)):
            tint = 2 * at + (name == "wrong")
            found[f"{name}-{at}"] = [f"#{128 + 3 * tint:02x}{140 - tint:02x}{120 + tint * tint:02x}"] * 64
            found[f"{name}-{at}"][square] = colour
    return found


QRELS = {f"asks-{at}": {f"right-{at}": 1} for at in range(len(PAINTS))}
ASKED = {f"asks-{at}": answer for at, (answer, _, _) in enumerate(PAINTS)}


def rows_of(texts: dict[str, str] | None = None, images: dict[str, Image.Image] | None = None) -> Dataset:
    """A data set as mteb's tasks have them: a column of ids, one of texts or pictures or both."""
    ids = list(texts or images or {})
    columns: dict[str, Any] = {"id": ids}
    features: dict[str, Any] = {"id": Value("string")}
    if texts is not None:
        columns["text"], features["text"] = [texts[key] for key in ids], Value("string")
    if images is not None:
        columns["image"], features["image"] = [images[key] for key in ids], ImageColumn()
    return Dataset.from_dict(columns, features=Features(features))


def describe(name: str, **changes: Any) -> TaskMetadata:
    """The metadata of ViDoRe v2's tasks, but for what `changes` says."""
    like = mteb.get_task("Vidore2ESGReportsHLRetrieval").metadata
    return like.model_copy(
        update={"name": name, "dataset": {"path": "made/here", "revision": "1"}, **changes}, deep=True
    )


def pages_of_squares() -> Dataset:
    return rows_of(images={key: paint(colours) for key, colours in squares().items()})


class ColourPages(AbsTaskRetrieval):
    """Text to pictures of pages, loaded as ViDoRe's tasks load theirs."""

    metadata = describe("ColourPages")
    loads = 0

    def load_data(self, num_proc: int | None = None, **_: Any) -> None:
        type(self).loads += 1
        self.queries = {"test": rows_of(texts=ASKED)}
        self.corpus = {"test": pages_of_squares()}
        self.relevant_docs = {"test": QRELS}
        self.data_loaded = True


class ColourTongues(AbsTaskRetrieval):
    """The same with two subsets that share a corpus, as the languages of ViDoRe v2 do."""

    metadata = describe("ColourTongues", eval_langs={"english": ["eng-Latn"], "german": ["deu-Latn"]})

    def load_data(self, num_proc: int | None = None, **_: Any) -> None:
        asked = {"english": ASKED, "german": {key: f"{text} bitte" for key, text in ASKED.items()}}
        corpus = pages_of_squares()
        self.queries = {lang: {"test": rows_of(texts=texts)} for lang, texts in asked.items()}
        self.corpus = {lang: {"test": corpus} for lang in asked}
        self.relevant_docs = {lang: {"test": QRELS} for lang in asked}
        self.data_loaded = True


class ColourTexts(AbsTaskRetrieval):
    """Text to text with titles: the first square is the title."""

    metadata = describe(
        "ColourTexts", type="Retrieval", category="t2t", modalities=["text"], main_score="precision_at_1"
    )

    def load_data(self, num_proc: int | None = None, **_: Any) -> None:
        texts = squares()
        corpus = rows_of(texts={key: " ".join(colours[1:]) for key, colours in texts.items()})
        self.queries = {"test": rows_of(texts=ASKED)}
        self.corpus = {"test": corpus.add_column("title", [colours[0] for colours in texts.values()])}
        self.relevant_docs = {"test": QRELS}
        self.data_loaded = True


class ColourSamples(AbsTaskRetrieval):
    """Pictures to pictures with a text, and for each query its own candidates, as in MMEB."""

    metadata = describe("ColourSamples", type="Any2AnyRetrieval", category="i2it", main_score="hit_rate_at_1")

    def load_data(self, num_proc: int | None = None, **_: Any) -> None:
        pages = {key: paint(colours) for key, colours in squares().items()}
        captions = {key: f"page {key}" for key in pages}
        self.queries = {"test": rows_of(images={key: paint([c] * 64) for key, c in ASKED.items()})}
        self.corpus = {"test": rows_of(captions, pages)}
        self.relevant_docs = {"test": QRELS}
        self.top_ranked = {
            "test": {f"asks-{at}": [f"wrong-{at}", f"right-{at}"] for at in range(len(PAINTS))}
        }
        self.data_loaded = True


class NoHub(AbsTaskRetrieval):
    """What a task does where there is no network."""

    metadata = describe("NoHub")

    def load_data(self, num_proc: int | None = None, **_: Any) -> None:
        raise ConnectionError("Couldn't reach 'made/here' on the Hub (OfflineModeIsEnabled)\nand much more")


class NoKey(NoHub):
    metadata = describe("NoKey", is_public=False)


class Film(ColourPages):
    metadata = describe("Film", modalities=["text", "video"], category="t2v")


# MetaEmbed-Mini on pages that it has to read

LETTERS = {
    "lease": "The tenant shall pay the monthly rent for the apartment to the landlord",
    "recipe": "Whisk the eggs with sugar and flour and bake the cake in a hot oven",
    "orbit": "The telescope observed a distant galaxy and its massive black hole",
}
QUESTIONS = {
    "lease": "How much rent does the tenant owe?",
    "recipe": "How do I bake a cake?",
    "orbit": "Which galaxy was observed?",
}


def write(text: str) -> Image.Image:
    """A page with a sentence, a few words a line."""
    page = Image.new("RGB", (620, 300), "white")
    words = text.split()
    lines = "\n".join(" ".join(words[at : at + 4]) for at in range(0, len(words), 4))
    ImageDraw.Draw(page).multiline_text((30, 30), lines, "black", ImageFont.load_default(32), spacing=16)
    return page


class Letters(AbsTaskRetrieval):
    metadata = describe("Letters")

    def load_data(self, num_proc: int | None = None, **_: Any) -> None:
        self.queries = {"test": rows_of(texts=QUESTIONS)}
        self.corpus = {"test": rows_of(images={key: write(text) for key, text in LETTERS.items()})}
        self.relevant_docs = {"test": {key: {key: 1} for key in QUESTIONS}}
        self.data_loaded = True
