"""What the Meta Tokens of one text read: their attention, and what each word gave to a score. Arrays only.

A token's vector is a weighted sum over the text's word pieces, so each piece's part in a cosine is exact:
the gradient of the cosine by the attention, times the attention. Only the length of the vector is held fixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.core.types import FloatArray, Word


@dataclass(frozen=True, eq=False)
class Evidence:
    """The last attention of one text's R Meta Tokens, with H heads of width d over T pieces.

    words: n words; cells of pictures follow the text's own words, with "" as their text.
    attention: (H, R, T) float32, each token's rows sum to 1 over the pieces.
    states: (T, H, d) float32, what a piece gives through each head.
    owner: (T,) int64, the word a piece belongs to; -1 for marks that belong to none, such as [CLS].
    out: (D, H * d) float32, from the heads to the embedding.
    lengths: (R,) float32, of the vectors before they are normalised.
    """

    words: tuple[Word, ...]
    attention: FloatArray
    states: FloatArray
    owner: NDArray[np.int64]
    out: FloatArray
    lengths: FloatArray

    def __post_init__(self) -> None:
        heads, tokens, pieces = self.attention.shape
        fits = self.states.shape[:2] == (pieces, heads) and self.owner.shape == (pieces,)
        if not fits or self.lengths.shape != (tokens,):
            raise ValueError(
                f"The arrays do not fit: {self.attention.shape}, {self.states.shape}, {self.owner.shape}."
            )

    def vectors(self) -> FloatArray:
        """(R, D) float32 unit rows: the embedding that this attention makes."""
        pooled = np.einsum("hrt,thd->rhd", self.attention, self.states).reshape(len(self.lengths), -1)
        return np.asarray(pooled @ self.out.T / self.lengths[:, None], np.float32)

    def read(self) -> FloatArray:
        """(R, n) float32: the share of each word in what each token read; rows sum to 1, without words to 0.

        A piece counts by the length of what it gives (Kobayashi et al. 2020): attention to a short state
        moves nothing.
        """
        given = np.linalg.norm(self.attention * np.linalg.norm(self.states, axis=2).T[:, None], axis=0)
        return _shares(self._by_word(given))

    def attended(self) -> FloatArray:
        """(R, n) float32: plain attention, the mean over heads; rows sum to 1, without words to 0."""
        return _shares(self._by_word(self.attention.mean(0)))

    def contributions(self, queries: FloatArray, tokens: Sequence[int] | NDArray[np.int64]) -> FloatArray:
        """(k, n) float32: what each word gives to the cosine of each query vector with its token's vector.

        Signed. Over all pieces they sum to the cosine, so what a row lacks comes from marks without a word.

        Args:
            queries: (k, D) unit rows.
            tokens: (k,) 0-based, the token that each of them is compared with.
        """
        rows = np.asarray(tokens, np.int64)
        heads, width = self.states.shape[1:]
        back = (queries @ self.out).reshape(len(queries), heads, width)
        asked = self.states.transpose(1, 0, 2) @ back.transpose(1, 2, 0)  # (H, T, k)
        parts = np.einsum("hkt,htk->kt", self.attention[:, rows], asked)
        return self._by_word(parts / self.lengths[rows, None])

    def _by_word(self, pieces: FloatArray) -> FloatArray:
        """(k, T) -> (k, n): the sum over each word's pieces."""
        # One row more takes the marks, which belong to no word.
        found = np.zeros((len(self.words) + 1, len(pieces)), np.float32)
        np.add.at(found, self.owner, pieces.T)
        return found[:-1].T


def _shares(values: FloatArray) -> FloatArray:
    total = values.sum(1, keepdims=True)
    return np.asarray(values / np.where(total > 0, total, 1), np.float32)
