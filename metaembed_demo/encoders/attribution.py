"""What vectors and their scores come from: the protocol of evidence, and that of attention pooling.

Of a page pooled by attention, a Meta Token's vector is a weighted sum over word pieces, so a cosine
decomposes exactly into one term per piece: attention times the gradient of the cosine by the attention. The
vector's norm is held constant. NumPy arrays only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.core.types import FloatArray, View, Word

Tokens = Sequence[int] | NDArray[np.int64]
# What the parts of a score are: exact shares; what it loses without each; integrated gradients, which add up
# as shares do; or the similarity of a part to all of the query.
Kind = Literal["share", "lost", "gradients", "similarity"]


class Evidence(Protocol):
    """What the R Meta Token vectors of a page or query come from: its n words and cells, with boxes."""

    @property
    def words(self) -> tuple[Word, ...]:
        """n words; image cells have "" as their text."""
        ...

    @property
    def kind(self) -> Kind:
        """What parts of a score are."""
        ...

    @property
    def plain(self) -> str:
        """What `attended` says of the words that it puts first: "most attended"."""
        ...

    @property
    def nbytes(self) -> int:
        """Of its arrays, about."""
        ...

    def vectors(self) -> FloatArray:
        """(R, D) float32 unit rows, the embedding."""
        ...

    def read(self) -> FloatArray:
        """(R, n) float32: how much of each Meta Token comes from each word. Rows sum to 1, or to 0."""
        ...

    def attended(self) -> FloatArray:
        """(R, n) float32, as `read`: a simpler account to compare a map with, whatever the query."""
        ...

    def map(self, query: FloatArray, winners: Tokens) -> FloatArray:
        """(k, n) float32: the part of each word in the cosines of query vectors and Meta Tokens.

        Args:
            query: (k, D) unit rows.
            winners: (k,) 0-based Meta Token compared with each query vector.
        """
        ...


@dataclass(frozen=True, eq=False)
class AttentionEvidence:
    """Attention pooling of one text: R Meta Tokens, H heads of width d, T word pieces.

    words: n words; image cells follow the words, with "" as their text.
    attention: (H, R, T) float32, sums to 1 over the pieces.
    states: (T, H, d) float32, the value of each piece per head.
    owner: (T,) int64, index of the word a piece belongs to; -1 for special tokens such as [CLS].
    out: (D, H * d) float32, the output projection.
    lengths: (R,) float32, norms of the vectors before normalisation.
    views: of the page's pictures.
    """

    kind: ClassVar[Kind] = "share"

    words: tuple[Word, ...]
    attention: FloatArray
    states: FloatArray
    owner: NDArray[np.int64]
    out: FloatArray
    lengths: FloatArray
    views: tuple[View, ...] = ()
    plain: str = "most attended"

    def __post_init__(self) -> None:
        heads, tokens, pieces = self.attention.shape
        fits = self.states.shape[:2] == (pieces, heads) and self.owner.shape == (pieces,)
        if not fits or self.lengths.shape != (tokens,):
            raise ValueError(
                f"The arrays do not fit: {self.attention.shape}, {self.states.shape}, {self.owner.shape}."
            )

    @property
    def nbytes(self) -> int:
        return self.attention.nbytes

    def vectors(self) -> FloatArray:
        """(R, D) float32 unit rows: the embedding computed from this attention."""
        pooled = np.einsum("hrt,thd->rhd", self.attention, self.states).reshape(len(self.lengths), -1)
        return np.asarray(pooled @ self.out.T / self.lengths[:, None], np.float32)

    def read(self) -> FloatArray:
        """(R, n) float32: norm-weighted attention of each Meta Token to each word (Kobayashi et al. 2020).

        A piece counts by the norm of attention times value. Rows sum to 1, or to 0 without words.
        """
        given = np.linalg.norm(self.attention * np.linalg.norm(self.states, axis=2).T[:, None], axis=0)
        return _shares(self._by_word(given))

    def attended(self) -> FloatArray:
        """(R, n) float32: plain attention, mean over heads. Rows sum to 1, or to 0 without words."""
        return _shares(self._by_word(self.attention.mean(0)))

    def map(self, query: FloatArray, winners: Tokens) -> FloatArray:
        """(k, n) float32: signed contribution of each word to the cosine of a query vector and a Meta Token.

        The contributions of all pieces sum to the cosine; the remainder of a row belongs to special tokens.

        Args:
            query: (k, D) unit rows.
            winners: (k,) 0-based Meta Token compared with each query vector.
        """
        rows = np.asarray(winners, np.int64)
        heads, width = self.states.shape[1:]
        back = (query @ self.out).reshape(len(query), heads, width)
        asked = self.states.transpose(1, 0, 2) @ back.transpose(1, 2, 0)  # (H, T, k)
        parts = np.einsum("hkt,htk->kt", self.attention[:, rows], asked)
        return self._by_word(parts / self.lengths[rows, None])

    def _by_word(self, pieces: FloatArray) -> FloatArray:
        """(k, T) -> (k, n): sums over the pieces of each word."""
        # The extra last row collects special tokens (owner -1).
        found = np.zeros((len(self.words) + 1, len(pieces)), np.float32)
        np.add.at(found, self.owner, pieces.T)
        return found[:-1].T


def _shares(values: FloatArray) -> FloatArray:
    total = values.sum(1, keepdims=True)
    return np.asarray(values / np.where(total > 0, total, 1), np.float32)
