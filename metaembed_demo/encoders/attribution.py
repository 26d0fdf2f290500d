"""Attribution of Meta Token vectors and their scores to words. NumPy arrays only.

A Meta Token's vector is a weighted sum over word pieces, so a cosine decomposes exactly into one term per
piece: attention times the gradient of the cosine by the attention. The vector's norm is held constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.core.types import FloatArray, Word


@dataclass(frozen=True, eq=False)
class Evidence:
    """Attention pooling of one text: R Meta Tokens, H heads of width d, T word pieces.

    words: n words; image cells follow the words, with "" as their text.
    attention: (H, R, T) float32, sums to 1 over the pieces.
    states: (T, H, d) float32, the value of each piece per head.
    owner: (T,) int64, index of the word a piece belongs to; -1 for special tokens such as [CLS].
    out: (D, H * d) float32, the output projection.
    lengths: (R,) float32, norms of the vectors before normalisation.
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

    def contributions(self, queries: FloatArray, tokens: Sequence[int] | NDArray[np.int64]) -> FloatArray:
        """(k, n) float32: signed contribution of each word to the cosine of a query vector and a Meta Token.

        The contributions of all pieces sum to the cosine; the remainder of a row belongs to special tokens.

        Args:
            queries: (k, D) unit rows.
            tokens: (k,) 0-based Meta Token compared with each query vector.
        """
        rows = np.asarray(tokens, np.int64)
        heads, width = self.states.shape[1:]
        back = (queries @ self.out).reshape(len(queries), heads, width)
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
