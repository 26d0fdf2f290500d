"""Data types shared by all packages: Page, Word, Query, Embedding, Hit, Alignment, Trace, Upload."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from .budgets import OURS, Budget, Budgets
from .moments import named
from .text import normalised

FloatArray = NDArray[np.float32]
Box = tuple[float, float, float, float]  # x0, y0, x1, y1 as fractions of the page, origin top left
Similarity = Literal["MaxSim", "MeanMaxSim"]
WordKind = Literal["text", "ocr", "visual"]
WORD_KINDS = ("text", "ocr", "visual")


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a page and its box. Words of kind `visual` name what a picture shows.

    `confidence`, from 0 to 1, is the recogniser's; words of a text layer have 1.
    `turn`: quarter turns clockwise of its line; 1 reads downwards, as vertical Japanese does. `drawn` is
    False for the invisible text that recognition has laid over a picture. `font` is unique to a font of a
    document; "note" for a comment that is not drawn, at the place it is about. These are not stored.
    """

    text: str
    box: Box
    kind: WordKind = "text"
    confidence: float = 1.0
    turn: int = field(default=0, compare=False)
    drawn: bool = field(default=True, compare=False)
    font: str = field(default="", compare=False)

    @property
    def is_cell(self) -> bool:
        """Whether it stands for a part of a picture, in evidence (a divided word leaves one empty, too)."""
        return self.kind == "visual" and not self.text


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The picture network's output for a picture, or for one region of it.

    features: (1280,) float32, the network's last feature map averaged over the region.
    probability: (1000,) float32, one per ImageNet class.
    """

    box: Box
    features: FloatArray
    probability: FloatArray


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a PDF, or one picture.

    `pictures` are the boxes of the raster pictures on a PDF page; an image file is one picture that fills
    its page. A page as loaded has the raw text layer in file order as its words; once read, it has all words
    in reading order and a view of each picture. `reading` says in sentences what was read how, and why;
    `notices` what was left out or is in doubt, each as the rest of a sentence that begins with the page.
    `language` is an ISO 639-1 code, "" where it is unknown.

    `full`, for the reader alone, gives the picture at full size where `image` is scaled down.
    """

    id: str  # hash of the content, see `page_id`
    source: str  # file name as the user knows it; inside a zip: "archive.zip/inner/name.pdf"
    number: int  # 1-based, within the source
    image: Image | None  # RGB; None when only the stored picture remains
    words: tuple[Word, ...] = ()
    pictures: tuple[Box, ...] = ()
    views: tuple[View, ...] = ()
    reading: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    language: str = ""
    full: Callable[[], Image | None] | None = field(default=None, compare=False, repr=False)

    @property
    def text(self) -> str:
        """The words in order, joined by single spaces."""
        return " ".join(word.text for word in self.words)

    def with_words(self, words: Sequence[Word], views: Sequence[View] = ()) -> Page:
        return replace(self, words=tuple(words), views=tuple(views))


def page_id(image: Image, words: Sequence[Word] = ()) -> str:
    """20 hex digits of a hash of the page's pixels and text layer, not of its file name or number."""
    digest = hashlib.sha256(f"{image.size}".encode())
    digest.update(image.convert("RGB").tobytes())
    digest.update("\n".join(word.text for word in words).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class Query:
    """A query: text, a picture, or both.

    Raises:
        ValueError: when there is neither text nor a picture.
    """

    text: str = ""
    image: Image | None = None

    def __post_init__(self) -> None:
        if not normalised(self.text).strip() and self.image is None:
            raise ValueError("The query is empty: type some words or give a picture.")


@dataclass(frozen=True, slots=True)
class Embedding:
    """Last-layer states of the Meta Tokens: `vectors` (r, D) float32, rows L2-normalized."""

    vectors: FloatArray


@dataclass(frozen=True, slots=True)
class Hit:
    """One result. `score` is MaxSim at the search's budget, between -r_q and r_q; `rank` is 1-based."""

    page_id: str
    score: float
    rank: int


@dataclass(frozen=True, slots=True)
class Alignment:
    """The terms of one hit's MaxSim score (paper, equation 1).

    similarity: (r_q, r_c) float32 cosines.
    winners: (r_q,) int64, the candidate token with the maximum cosine for each query token.
    gains: (r_q,) float32, those maxima; their sum is the score.
    """

    page_id: str
    similarity: FloatArray
    winners: NDArray[np.int64]
    gains: FloatArray


@dataclass(frozen=True, slots=True)
class WordScore:
    """What the words of a query are worth on a page.

    bm25: its score by the lexical index. literals: codes and quoted phrases of the query that stand on it.
    share: of words in the score by which the page was ranked, 0 to 1.
    """

    bm25: float
    literals: int
    share: float


def divisor(similarity: Similarity, r_q: int) -> int:
    """What a MaxSim score, and every part of it, is divided by to be told as a similarity."""
    return r_q if similarity == "MeanMaxSim" else 1


@dataclass(frozen=True, slots=True)
class Trace:
    """The result of one search, with everything needed to explain it.

    `timings` are milliseconds by stage: encode, coarse, rerank, align, total. `query_vectors` is the query
    embedding (R_q, D) at full size, so that another budget needs no new encoding. `cosines` holds the full
    matrix of every hit; gains and alignments at any budget are slices of it. `query_evidence` is the evidence
    of the query's tokens (encoders.attribution.Evidence), if it was requested. `storage` is the storage kind
    that scores come from, one of `quantization.KINDS`; unless it is float16, the best `rescored` pages were
    rescored with their full vectors. `mode` says what ranked the hits: "meaning", "words" or "both"; their
    scores are MaxSim in every mode, and `words` holds what words are worth on each. `budgets` are the
    encoder's stops, `similarity` what its scores are shown as: "MaxSim", or "MeanMaxSim", divided by r_q.
    `also` are the spellings that were searched for words that no page has, `missing` the quoted phrases that
    stand nowhere.
    """

    query_text: str
    budget: Budget
    hits: tuple[Hit, ...]
    timings: dict[str, float]
    bytes_per_page: int
    pages_searched: int
    candidates: int  # pages scored at this budget
    query_vectors: FloatArray
    alignment: Alignment | None = None
    query_image: bool = False
    movement: dict[str, int] = field(default_factory=dict)  # page id -> ranks gained since the last search
    budgets: Budgets = OURS
    similarity: Similarity = "MaxSim"
    storage: str = "float16"
    rescored: int = 0
    cosines: Mapping[str, FloatArray] = field(default_factory=dict)  # page id -> (R_q, R_c) float32
    query_evidence: Any = None
    only: Any = None  # collection.filters.PageFilter, what hits are limited to; None or empty: all pages
    mode: str = "meaning"
    words: Mapping[str, WordScore] = field(default_factory=dict)  # page id -> of every hit, unless by meaning
    also: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    unsearched: tuple[str, ...] = ()  # what words could not be searched for: "phrases", "other spellings"
    word_query: Any = None  # the query as the lexical index took it (index.words.asking.Asked)
    refinement: Any = None  # collection.ranker.Refinement, if the query was refined
    second_query: Any = None  # the query for a complement (collection.second_encoder.AskedOfSecond)
    unread: tuple[str, ...] = ()  # pages that the complement is to read before the query is refined
    auto: Any = None  # collection.ranker.Automatic, if the budget set itself
    fit: Any = None  # collection.fitting.Fit, of a text query with a calibrated encoder
    unread_language: Any = (
        None  # collection.fitting.UnreadLanguage, if the query seems to be in a language that is not read
    )

    @property
    def by_full_vectors(self) -> bool:
        """Whether hits are scored with full vectors and not with codes."""
        return self.storage == "float16" or self.rescored > 0

    def shown(self, score: float) -> float:
        """A MaxSim score at this budget as the encoder's own similarity."""
        return score / divisor(self.similarity, self.budget.r_q)

    def of_words(self) -> dict[str, Any]:
        """The mode, and what the lexical index made of the query, as JSON types."""
        also = {word: list(spellings) for word, spellings in self.also.items()}
        told = {"mode": self.mode, "also_searched": also, "missing_phrases": list(self.missing)}
        return told | ({"not_searched": list(self.unsearched)} if self.unsearched else {})

    def of_fit(self) -> dict[str, Any]:
        """Whether anything fits, and a language that is not read, as JSON types, where they are known."""
        found: dict[str, Any] = {"fit": self.fit.as_json()} if self.fit else {}
        return found | (
            {"unread_language": self.unread_language.as_json(self.mode)} if self.unread_language else {}
        )

    def worth(self, page_id: str) -> dict[str, Any]:
        """What words are worth on a hit, and the chance that it answers, as JSON types, if known."""
        worth: dict[str, Any] = {}
        if of := self.words.get(page_id):
            worth["words"] = {"bm25": round(of.bm25, 5), "literals": of.literals, "share": round(of.share, 4)}
        if self.fit and page_id in self.fit.chances:
            worth["chance"] = round(self.fit.chances[page_id], 4)
        return worth

    def as_json(self) -> dict[str, Any]:
        """JSON types, without the vectors; scores and cosines rounded to 5 decimals."""
        found: dict[str, Any] = {
            "query": {"text": self.query_text, "image": self.query_image},
            "budget": {
                "r_q": self.budget.r_q,
                "r_c": self.budget.r_c,
                "trained": self.budget in self.budgets,
            },
            "hits": [{"page_id": h.page_id, "score": round(h.score, 5), "rank": h.rank} for h in self.hits],
            "timings_ms": {stage: round(ms, 2) for stage, ms in self.timings.items()},
            "bytes_per_page": self.bytes_per_page,
            "pages_searched": self.pages_searched,
            "candidates": self.candidates,
            "storage": self.storage,
            "refined": self.rescored,
        }
        if self.similarity != "MaxSim":  # scores are MaxSim still
            found["similarity"] = self.similarity
        if self.only:
            found["query"]["filter"] = str(self.only)
        if self.only and self.only.language:
            found["query"]["language"] = self.only.language
        found |= self.of_fit()
        if self.mode != "meaning":
            found |= self.of_words()
        if self.auto is not None:
            found["auto"] = self.auto.as_json()
        for hit in found["hits"]:
            hit |= self.worth(hit["page_id"])
        if self.alignment is not None:
            found["alignment"] = {
                "page_id": self.alignment.page_id,
                "similarity": np.round(self.alignment.similarity.astype(float), 5).tolist(),
                "winners": self.alignment.winners.tolist(),
                "gains": np.round(self.alignment.gains.astype(float), 5).tolist(),
            }
        return found


@dataclass(frozen=True)
class Problem:
    """A file or page that could not be read. The message names it, the error and a remedy."""

    source: str
    message: str


@dataclass(frozen=True)
class Notice(Problem):
    """Something left out of a page, or read with doubt: the rest is kept. `page` is 0 for a whole file."""

    page: int = 0

    @classmethod
    def of(cls, source: str, page: int, text: str) -> Notice:
        """From the rest of a sentence that begins with the page.

        >>> Notice.of("a.pdf", 2, "is blank.").message
        'Page 2 of a.pdf is blank.'
        """
        return cls(source, f"{named(source, page)} {text}", page)


@dataclass(frozen=True)
class Skipped(Problem):
    """A file of a kind that is not read, such as a program. `kind` says which."""

    kind: str = ""


@dataclass(frozen=True)
class Upload:
    """A file on disk and its name as the user knows it. `subtitles`: those of a video or sound, if any."""

    path: Path
    name: str
    subtitles: Path | None = field(default=None, kw_only=True)
