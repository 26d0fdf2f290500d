"""Does anything fit? The chance that each hit of a search answers it, and what is said of the whole search.

The calibrations (index/fit.py) are those of the sample corpus, one per encoder: shipped in assets/fit.json,
or measured when the samples are opened. They serve every collection: on other pages their expected error is
0.05 to 0.13, that of calibrations of those pages' own 0.04 to 0.07 (benchmarks/results/fit.json).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from metaembed_demo.core import disk
from metaembed_demo.core.budgets import Budget
from metaembed_demo.core.config import PATHS
from metaembed_demo.core.languages import language_name
from metaembed_demo.core.text import budget_text, normalised
from metaembed_demo.core.types import Hit, WordScore
from metaembed_demo.documents import language
from metaembed_demo.encoders.base import Encoder, Reader
from metaembed_demo.index.fit import FitCalibration
from metaembed_demo.index.quantization import SCORE_ALIKE
from metaembed_demo.index.words.asking import Asked
from metaembed_demo.index.words.marking import holds_all

from .collection import Collection
from .modes import MEANING
from .page_words import written
from .stored_page import StoredPage

MOST_NAMED = 3  # languages of an encoder that are named
NOTHING = 0.15  # chance of the best hit below which nothing fits well: as likely a foreign query as not
Verdict = Literal["fits", "words", "nothing"]
log = logging.getLogger(__name__)
_measured: dict[str, FitCalibration] = {}  # encoder's fingerprint -> calibration that was not shipped


@dataclass(frozen=True)
class Fit:
    """How well the hits fit.

    chances: page id -> the chance that the hit answers, as of a first hit with its mean cosine.
    first: that of the first hit.
    verdict: "fits"; "words" where no score is high, but a hit has every word of the query, or a code or
        phrase of it; "nothing" otherwise.
    at: the budget, as text, where a larger one may tell more; "" at the full one.
    """

    chances: Mapping[str, float]
    first: float
    verdict: Verdict
    at: str = ""

    @property
    def sentence(self) -> str:
        """What is said above the hits; "" where something fits."""
        if self.verdict != "nothing":
            return ""
        where = f" at {self.at}. Try a larger budget" if self.at else ""
        return f"Nothing fits well{where}."

    def as_json(self) -> dict[str, Any]:
        return {"chance": round(self.first, 4), "verdict": self.verdict, "note": self.sentence}


@dataclass(frozen=True)
class UnreadLanguage:
    """A query in a language that its encoder does not read.

    language: ISO 639-1 code, "" where only the script tells.
    """

    encoder: str
    reads: tuple[str, ...]
    language: str

    def sentence(self, mode: str) -> str:
        """
        >>> UnreadLanguage("Mini", ("en",), "de").sentence("both")
        'Mini reads English; this question seems to be in German. Words are still searched.'
        """
        known = " and ".join(map(language_name, self.reads))
        if len(self.reads) > MOST_NAMED:
            known = f"{len(self.reads)} languages"
        it = language_name(self.language) if self.language else "another language"
        words = "Words can still be searched" if mode == MEANING else "Words are still searched"
        return f"{self.encoder} reads {known}; this question seems to be in {it}. {words}."

    def as_json(self, mode: str) -> dict[str, Any]:
        return {"language": self.language, "note": self.sentence(mode)}


def unread_language(encoder: Encoder, text: str) -> UnreadLanguage | None:
    """Whether the text of a query is in a language that the encoder does not read; None if not, or unsure."""
    if not isinstance(encoder, Reader):
        return None
    found = language.other_than(encoder.languages, normalised(text))
    return None if found is None else UnreadLanguage(encoder.name, tuple(encoder.languages), found)


@dataclass(frozen=True)
class Scored:
    """How hits were scored: the budget and the full one, the pages searched, the storage kind, whether the
    best were scored again with full vectors."""

    budget: Budget
    full: Budget
    pages: int
    storage: str
    rescored: bool


def fit_of(
    collection: Collection,
    hits: Sequence[Hit],
    scored: Scored,
    words: Mapping[str, WordScore],
    asked: Asked | None,
) -> Fit | None:
    """How well the hits of a text query fit; None without a calibration for the encoder and such scores.

    words, asked: what the words of the query did, unless it is by meaning. The caller holds the lock.
    """
    calibration = calibration_of(collection.fingerprint)
    if calibration is None or not hits or not (scored.rescored or scored.storage in SCORE_ALIKE):
        return None
    means = [hit.score / scored.budget.r_q for hit in hits]
    found = calibration.chances(means, scored.budget, scored.pages).tolist()
    verdict: Verdict = "fits"
    if max(found) < NOTHING:
        literal = any(of.literals for of in words.values())
        pages = [collection.pages[hit.page_id] for hit in hits]
        verdict = "words" if literal or (asked and any(_holds(page, asked) for page in pages)) else "nothing"
    at = "" if scored.budget == scored.full else budget_text(scored.budget.r_q, scored.budget.r_c)
    chances = {hit.page_id: chance for hit, chance in zip(hits, found, strict=True)}
    return Fit(chances, found[0], verdict, at)


def _holds(page: StoredPage, asked: Asked) -> bool:
    return holds_all(asked, list(written(page)), page.language)


# Calibrations


def calibration_of(fingerprint: str) -> FitCalibration | None:
    """The calibration for an encoder's vectors, None if there is none."""
    return _measured.get(fingerprint) or _shipped(PATHS.shipped_fit).get(fingerprint)


def is_shipped(fingerprint: str) -> bool:
    """Whether that calibration was made elsewhere, when it was shipped."""
    return fingerprint not in _measured and fingerprint in _shipped(PATHS.shipped_fit)


def keep(fingerprint: str, calibration: FitCalibration) -> None:
    """Use `calibration` for an encoder in this process."""
    _measured[fingerprint] = calibration


def ship(path: Path, encoder: Encoder, calibration: FitCalibration) -> None:
    """Write the calibration to the file of those that are shipped, in place of that encoder's."""
    rows = disk.read_json(path) if path.is_file() else {}
    rows[encoder.name] = {"fingerprint": encoder.fingerprint, **calibration.as_json()}
    disk.write_json(path, rows)


@cache
def _shipped(path: Path) -> dict[str, FitCalibration]:
    def take(value: dict[str, Any]) -> dict[str, FitCalibration]:
        return {row["fingerprint"]: FitCalibration.from_json(row) for row in value.values()}

    return disk.read_kept(path, take, "no chances are told") or {}
