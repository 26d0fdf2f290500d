"""Calibrating the fit (index/fit.py): judged queries of a corpus against foreign ones, at all stops."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.collection.collection import Collection
from metaembed_demo.core.budgets import OURS, Budget, Budgets
from metaembed_demo.core.config import PATHS
from metaembed_demo.core.types import FloatArray, Query
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.index.fit import LEAST, Bins, FitCalibration, Floats

from .beir import Beir, Judgements
from .evaluate import ENCODE_BATCH

FOLDS = 5
GIBBERISH = 60  # queries that are made
HALVINGS, DRAWS = 3, 8  # of the pages, to see how scores grow with them; random draws of each


@dataclass(frozen=True)
class Means:
    """Mean cosines of all pages.

    own, foreign: (stops, queries, pages). answers: (own queries, pages), which pages answer.
    budgets: of the encoder.
    """

    own: FloatArray
    foreign: FloatArray
    answers: NDArray[np.bool_]
    budgets: Budgets = OURS

    def firsts(self) -> tuple[FloatArray, NDArray[np.bool_]]:
        """(stops, queries): the mean cosine of each own query's first hit, and whether that is an answer."""
        first = self.own.argmax(axis=2)
        return self.own.max(axis=2), np.take_along_axis(self.answers, first.T, axis=1).T


def foreign_questions(path: Path = PATHS.foreign_questions) -> list[tuple[str, str]]:
    """ISO 639-1 code and text of the shipped questions that hardly any collection answers."""
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = [line.partition("\t") for line in lines if line and not line.startswith("#")]
    return [(code, text) for code, _, text in rows]


def gibberish(count: int = GIBBERISH, seed: int = 1) -> list[str]:
    """One to four random words each, deterministic by the seed."""
    rng = np.random.default_rng(seed)
    letters = np.array(list(string.ascii_lowercase))

    def word() -> str:
        return "".join(rng.choice(letters, rng.integers(3, 10)))

    return [" ".join(word() for _ in range(1 + at % 4)) for at in range(count)]


def foreign_texts() -> list[str]:
    return [text for _, text in foreign_questions()] + gibberish()


def fit_of_corpus(
    collection: Collection, encoder: Encoder, beir: Beir, judgements: Judgements
) -> FitCalibration | None:
    """The calibration by a corpus's judged text queries; None where those are too few, or tell nothing."""
    keys = [key for key in judgements.judged if beir.queries[key].image is None]
    if len(keys) < LEAST:
        return None
    own = encoded(encoder, [beir.queries[key].text for key in keys])
    foreign = encoded(encoder, foreign_texts())
    with collection.lock:
        answers = answers_of(collection, judgements, keys)
        own_means, foreign_means = (
            mean_cosines(collection, each, encoder.budgets) for each in (own, foreign)
        )
        means = Means(own_means, foreign_means, answers, encoder.budgets)
    try:
        return replace(calibrated(means), reliability=reliability(means))
    except ValueError:
        return None


def calibrated(means: Means) -> FitCalibration:
    """Curves by first hits, with the growth of foreign queries. Raises ValueError as `FitCalibration.fit`."""
    own, right = means.firsts()
    found = FitCalibration.fit(own, means.foreign.max(axis=2), right, means.own.shape[2], means.budgets)
    return replace(found, growth=growth(means.foreign))


def folds(means: Means) -> list[FitCalibration]:
    """Calibrations by all queries but every fifth, own and foreign. Raises ValueError as `calibrated`."""
    found = []
    for fold in range(FOLDS):
        own, foreign = (np.arange(each.shape[1]) % FOLDS != fold for each in (means.own, means.foreign))
        parts = means.own[:, own], means.foreign[:, foreign], means.answers[own]
        found.append(calibrated(Means(*parts, means.budgets)))
    return found


def held_out(by: Sequence[FitCalibration], means: FloatArray, stop: Budget, pages: int) -> Floats:
    """The chance of every query with this mean cosine, by the fold that leaves it out."""
    each = [fold.chances(means, stop, pages) for fold in by]
    return np.array([each[query % FOLDS][query] for query in range(len(means))])


def reliability(means: Means) -> tuple[Bins, ...]:
    """Bins of the chances at the stops, of held-out queries; () where the folds are too small."""
    try:
        by = folds(means)
    except ValueError:
        return ()
    own, right = means.firsts()
    foreign, pages = means.foreign.max(axis=2), means.own.shape[2]
    found = []
    for at, stop in enumerate(means.budgets):
        chances = [held_out(by, each[at], stop, pages) for each in (own, foreign)]
        found.append(bins_of(*together(chances[0], right[at], chances[1])))
    return tuple(found)


def together(
    own: Floats, right: NDArray[np.bool_], foreign: Floats
) -> tuple[Floats, NDArray[np.bool_], Floats]:
    """Chances, answers and weights of both kinds of queries, which weigh one half each."""
    weights = np.concatenate([np.full(len(each), 0.5 / len(each)) for each in (own, foreign)])
    return np.concatenate([own, foreign]), np.concatenate([right, np.zeros(len(foreign), bool)]), weights


def bins_of(chances: Floats, answers: NDArray[np.bool_], weights: Floats, bins: int = 10) -> Bins:
    """Mean chance, share of answers and number of queries of each tenth of the chances that has any."""
    places = np.minimum((chances * bins).astype(int), bins - 1)
    found = []
    for place in np.unique(places):
        here = places == place
        chance, share = (np.average(each[here], weights=weights[here]) for each in (chances, answers))
        found.append((round(float(chance), 3), round(float(share), 3), int(here.sum())))
    return tuple(found)


def growth(foreign: FloatArray, seed: int = 1) -> float:
    """How far the first hits of foreign queries rise with a doubling of the pages, over random subsets.

    foreign: (stops, queries, pages) mean cosines.
    """
    rng, pages = np.random.default_rng(seed), foreign.shape[2]
    sizes = [pages >> halving for halving in range(HALVINGS + 1) if pages >> halving > 1]
    if len(sizes) < 2:
        return 0.0
    tops = [
        np.mean([foreign[:, :, rng.permutation(pages)[:size]].max(axis=2).mean() for _ in range(DRAWS)])
        for size in sizes
    ]
    return float(np.polyfit(np.log2(sizes), tops, 1)[0])


def mean_cosines(
    collection: Collection, vectors: Sequence[FloatArray], budgets: Budgets = OURS
) -> FloatArray:
    """(stops, queries, pages): MaxSim divided by r_q, of query vectors (R_q, D). The caller holds a lock."""
    scores = collection.index.scores
    return np.stack([[scores(query, stop) / np.float32(stop.r_q) for query in vectors] for stop in budgets])


def answers_of(collection: Collection, judgements: Judgements, keys: Sequence[str]) -> NDArray[np.bool_]:
    """(queries, pages), whether a page is judged to answer."""
    units = [set[tuple[str, str]]().union(*judgements.ranking([page])) for page in collection.index.ids]
    return np.array([[not units_.isdisjoint(judgements.judged[key]) for units_ in units] for key in keys])


def encoded(encoder: Encoder, texts: Sequence[str]) -> list[FloatArray]:
    """(R_q, D) vectors of each text."""
    batches = (texts[at : at + ENCODE_BATCH] for at in range(0, len(texts), ENCODE_BATCH))
    return [e.vectors for batch in batches for e in encoder.encode_queries([Query(text) for text in batch])]


def expected_error(chances: Floats, answers: NDArray[np.bool_], weights: Floats, bins: int = 10) -> float:
    """Expected calibration error: mean distance, over bins of the chance, to the share that are answers."""
    places = np.minimum((chances * bins).astype(int), bins - 1)
    gaps = weights * (chances - answers)
    return float(np.abs(np.bincount(places, gaps, bins)).sum() / weights.sum())
