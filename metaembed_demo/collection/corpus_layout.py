"""A plane on which pages that are alike lie side by side, and its groups, named by their telling words.

Pages are laid out by the first vector of each, which is what the 1x1 budget compares, with PaCMAP (Wang et
al., JMLR 22, 2021); 19 pages and fewer by their principal components. Then pages are pushed apart until none
covers another. Groups are what HDBSCAN finds on that plane; pages between groups belong to none. The same
pages give the same plane.

`lay_out` takes seconds and compiles PaCMAP when it runs for the first time, so the app calls it in a process
of its own (collection/layout_worker.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.core.types import FloatArray

LEAST = 20  # pages that PaCMAP lays out
NEIGHBOURS = 10  # of a page, for PaCMAP
SEED = 20250922
WIDTH, HEIGHT = 1.6, 1.0  # of the plane, about
ROOM = 0.72  # distance of two pages, as a share of what an even grid gives them
ROUNDS = 200  # in which pages are pushed apart, at most
LEAST_GROUP = 3  # pages
NAMED_BY = 3  # words of a name
# Letters alone; of four, because shorter words tell little, but where characters are words.
WORD = r"(?u)[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{2,8}|[^\W\d_]{4,24}"
MOST_WORDS = 20_000  # different ones in a language, the most frequent
NONE = -1  # the group of pages between groups


@dataclass(frozen=True)
class Layout:
    """Pages on a plane.

    places: (n, 2) float32, around the origin, x to the right and y downwards, of the pages `ids`.
    groups: (n,) the group of each, NONE for none. names: telling words of each group; () where its pages have
    no words. room: no two pages are closer.
    """

    ids: tuple[str, ...]
    places: FloatArray
    groups: NDArray[np.int32]
    names: tuple[tuple[str, ...], ...]
    room: float

    def __post_init__(self) -> None:
        n = len(self.ids)
        if self.places.shape != (n, 2) or self.groups.shape != (n,) or not np.isfinite(self.places).all():
            raise ValueError(f"A layout of {n} pages has {n} places and groups.")
        if n and not NONE <= self.groups.min() <= self.groups.max() < len(self.names):
            raise ValueError("A layout has a name for each group.")

    def as_json(self) -> dict[str, Any]:
        """JSON types; places in thousandths."""
        return {
            "ids": list(self.ids),
            "places": np.rint(self.places * 1000).astype(int).tolist(),
            "groups": self.groups.tolist(),
            "names": [list(words) for words in self.names],
            "room": round(self.room, 4),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Layout:
        """Raises ValueError, KeyError or TypeError where `value` is none."""
        return cls(
            tuple(map(str, value["ids"])),
            (np.array(value["places"], np.float64).reshape(-1, 2) / 1000).astype(np.float32),
            np.array(value["groups"], np.int32),
            tuple(tuple(map(str, words)) for words in value["names"]),
            float(value["room"]),
        )


def lay_out(
    ids: Sequence[str], vectors: FloatArray, texts: Sequence[str], languages: Sequence[str]
) -> Layout:
    """The pages `ids` on a plane.

    Args:
        vectors: (n, D) the first vector of each, of length 1. texts: their words.
        languages: ISO 639-1 codes or "".
    """
    n = len(ids)
    room = ROOM * float(np.sqrt(WIDTH * HEIGHT / max(n, 1)))
    flat = _scaled(_flat(vectors.astype(np.float32)))
    groups = _groups(flat)
    return Layout(tuple(ids), apart(flat, room), groups, _names(groups, texts, languages), room)


def with_new(old: Layout, known: FloatArray, ids: Sequence[str], vectors: FloatArray) -> Layout:
    """`old` for the pages `ids`: those that it lacks are placed at the mean of the places of their three
    nearest pages by cosine, in the group of the nearest, and pushed apart from those that are there.

    Args:
        known, vectors: (n, D) unit vectors of the pages of `old`, and of `ids`.
    """
    at = {page_id: i for i, page_id in enumerate(old.ids)}
    places, groups = np.zeros((len(ids), 2), np.float32), np.full(len(ids), NONE, np.int32)
    for i, page_id in enumerate(ids):
        near = [at[page_id]] if page_id in at else np.argsort(-(known @ vectors[i]), kind="stable")[:3]
        places[i], groups[i] = old.places[near].mean(0), old.groups[near[0]]
        if page_id not in at:
            places[i] += 1e-3 * old.room * (i % 7 + 1)  # two new ones may be at one place
    return Layout(tuple(ids), apart(places, old.room), groups, old.names, old.room)


def _flat(vectors: FloatArray) -> FloatArray:
    """(n, D) -> (n, 2)."""
    if len(vectors) < LEAST:
        return _components(vectors)
    from pacmap import PaCMAP

    # Vectors of length 1: the order of Euclidean distances is that of cosines.
    found = PaCMAP(n_components=2, n_neighbors=NEIGHBOURS, random_state=SEED).fit_transform(vectors)
    return np.asarray(found, np.float32)


def _components(points: FloatArray) -> FloatArray:
    """(n, D) -> (n, 2): the first two principal components; zeros where there are fewer."""
    if not len(points):
        return np.zeros((0, 2), np.float32)
    centred = points - points.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])[:, None]  # a sign is arbitrary
    found = centred @ axes[:2].T
    return np.pad(found, ((0, 0), (0, 2 - found.shape[1]))).astype(np.float32)


def _scaled(points: FloatArray) -> FloatArray:
    """Turned so that the longer axis lies flat, and scaled to about WIDTH by HEIGHT. Equal pages stand
    side by side, on a small spiral."""
    turned = _components(points)
    spread = np.abs(turned).max(0, initial=0.0)
    scale = min(WIDTH / 2 / max(spread[0], 1e-6), HEIGHT / 2 / max(spread[1], 1e-6))
    n = np.arange(len(points))
    angle = n * np.pi * (3 - np.sqrt(5))
    spiral = np.sqrt(n / max(len(points), 1))[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    return np.asarray(turned * (scale if spread.any() else 1.0) + 1e-4 * spiral, np.float32)


def apart(points: FloatArray, room: float) -> FloatArray:
    """Push pages apart that are closer than `room`, until there are none, or for ROUNDS."""
    from scipy.spatial import cKDTree

    at = points.astype(np.float64)
    for _ in range(ROUNDS if len(at) > 1 else 0):
        pairs = cKDTree(at).query_pairs(room * 0.99, output_type="ndarray")
        if not len(pairs):
            break
        between = at[pairs[:, 0]] - at[pairs[:, 1]]
        far = np.maximum(np.linalg.norm(between, axis=1, keepdims=True), 1e-9)
        push = between / far * (room - far) / 2
        moved, shares = np.zeros_like(at), np.zeros((len(at), 1))
        for side, way in ((0, 1), (1, -1)):
            np.add.at(moved, pairs[:, side], way * push)
            np.add.at(shares, pairs[:, side], 1)
        at += moved / np.maximum(np.sqrt(shares), 1)  # all of them would overshoot in a crowd
    return at.astype(np.float32)


def _groups(places: FloatArray) -> NDArray[np.int32]:
    """(n,) the group of each place, from left to right; NONE between groups."""
    n = len(places)
    if n < 2 * LEAST_GROUP:
        return np.full(n, NONE, np.int32)
    from sklearn.cluster import HDBSCAN

    least = max(LEAST_GROUP, round(np.sqrt(n) / 2))
    found = HDBSCAN(min_cluster_size=least, min_samples=2, copy=True).fit_predict(places)
    centres = [places[found == group].mean(0)[0] for group in range(found.max(initial=NONE) + 1)]
    rank = np.argsort(np.argsort(centres)) if centres else np.zeros(0)
    return np.array([rank[group] if group >= 0 else NONE for group in found], np.int32)


def _names(
    groups: NDArray[np.int32], texts: Sequence[str], languages: Sequence[str]
) -> tuple[tuple[str, ...], ...]:
    """For each group words that its pages have and others of their language lack, by TF-IDF."""
    by_language: dict[str, _Words | None] = {}
    names: list[tuple[str, ...]] = []
    for group in range(int(groups.max(initial=NONE)) + 1):
        spoken = [languages[i] for i in np.flatnonzero(groups == group).tolist() if texts[i]]
        language = max(dict.fromkeys(spoken), key=spoken.count, default="")
        if spoken and language not in by_language:
            rows = [i for i, each in enumerate(languages) if each == language and texts[i]]
            by_language[language] = _Words.of(rows, [texts[i] for i in rows])
        counted = by_language.get(language) if spoken else None
        names.append(counted.telling(groups[counted.rows] == group) if counted else ())
    return tuple(names)


@dataclass(frozen=True)
class _Words:
    """The words of the pages `rows`. counts, weights: (pages, words), as they are and by TF-IDF."""

    rows: list[int]
    words: NDArray[Any]
    counts: Any
    weights: Any

    @classmethod
    def of(cls, rows: list[int], texts: Sequence[str]) -> _Words | None:
        from sklearn.feature_extraction.text import CountVectorizer

        counting = CountVectorizer(token_pattern=WORD, max_features=MOST_WORDS)
        try:
            counts = counting.fit_transform(texts)
        except ValueError:  # none has a word of letters
            return None
        met = np.asarray((counts > 0).sum(0)).ravel()
        rare = np.log((1 + len(rows)) / met)
        weights = counts.astype(np.float64).log1p().multiply(rare).tocsr()
        return cls(rows, counting.get_feature_names_out(), counts, weights)

    def telling(self, inside: NDArray[np.bool_]) -> tuple[str, ...]:
        """inside: which of the pages are of the group."""
        scores = np.asarray(self.weights[inside].mean(0)).ravel()
        if not inside.all():
            scores = scores - np.asarray(self.weights[~inside].mean(0)).ravel()
        shared = np.asarray((self.counts[inside] > 0).sum(0)).ravel() >= min(2, inside.sum())
        best = [at for at in np.argsort(-scores, kind="stable") if shared[at] and scores[at] > 0]
        return tuple(_distinct([str(self.words[at]) for at in best[: 4 * NAMED_BY]])[:NAMED_BY])


def _distinct(words: Sequence[str]) -> list[str]:
    """Without those that begin as one before them does.

    >>> _distinct(["table", "tables", "red", "tab", "redder"])
    ['table', 'red']
    """
    kept: list[str] = []
    for word in words:
        if not any(word.startswith(other) or other.startswith(word) for other in kept):
            kept.append(word)
    return kept
