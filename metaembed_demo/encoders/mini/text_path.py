"""What the Meta Tokens read: a frozen text encoder that runs over a text in windows.

Prefixes, special tokens, windows and the vocabulary belong to the encoder: `minilm.py` (English) and `e5.py`
(about a hundred languages).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F
from transformers import BertModel

from metaembed_demo.core.text import normalised
from metaembed_demo.core.types import FloatArray

WIDTH = 384
MAX_WINDOWS = 128  # per page, about 12,000 words; the rest is dropped
WINDOW_BATCH = 16  # windows per forward pass; bounds memory for long pages
KEPT = 2  # of the layers: their states are kept for the Meta Tokens, which attend to the last ones only


@dataclass(frozen=True)
class TextStates:
    """States of a batch of texts, padded to the longest.

    layers: KEPT tensors (B, T, WIDTH), the input states of the last layers.
    final: (B, T, WIDTH) float32, output of the last layer; their mean is the encoder's own embedding.
    mask: (B, T) bool, true for tokens.
    place: (B, T) float32, relative position in the text, 0..1. Of a query after a prefix, among its words.
    ids: (B, T) int64 word piece ids; 0 is padding. A prefix counts as the first special token.
    reach: (B, T) float32, half the width around `place`; 0 for words.
    words: (B, T) bool, true for word pieces: neither special tokens, prefixes, views nor padding.
    parts: (B, T) int64, the part by content that a piece belongs to (`parts.py`); None if not known.
    """

    layers: list[torch.Tensor]
    final: torch.Tensor
    mask: torch.Tensor
    place: torch.Tensor
    ids: torch.Tensor
    reach: torch.Tensor
    words: torch.Tensor
    parts: torch.Tensor | None = None


class TextPath(ABC):
    """Tokenizer and frozen model. Long texts are encoded in windows, each with positions from 0."""

    name: str  # also in the weight file of the Meta Tokens that belong to it
    title: str  # as people know it
    languages: Sequence[str]  # ISO 639-1 codes that it reads
    vocabulary: int  # word pieces
    room: int  # word pieces of a window, beside special tokens and prefix
    cls: int
    sep: int
    page_prefix: Sequence[int] = ()
    query_prefix: Sequence[int] = ()

    trained: bool = False  # whether gradients reach its adapters (`adapters.py`)

    def __init__(self, model: BertModel) -> None:
        self.model = model.eval().requires_grad_(False)

    @property
    def most_tokens(self) -> int:
        """Word pieces of a text that are read."""
        return MAX_WINDOWS * self.room

    def _pieces(self, words: Sequence[str]) -> tuple[list[int], list[int]]:
        """Word pieces, and the index of the word of each."""
        if not words:
            return [], []
        # Nearly every word has at least one piece, so words past the limit need no tokenising.
        return self._known([normalised(word) for word in words[: self.most_tokens + 1]])

    @abstractmethod
    def _known(self, words: Sequence[str]) -> tuple[list[int], list[int]]:
        """As `_pieces`, with what stands for pieces that are not known."""

    @abstractmethod
    def vectors(self, ids: torch.Tensor) -> torch.Tensor:
        """(...) int64 -> (..., WIDTH) float32: the vocabulary's vectors, the model's input."""

    def tokens(self, words: Sequence[str]) -> list[int]:
        """Word piece ids without special tokens, truncated to `most_tokens`."""
        return self._pieces(words)[0][: self.most_tokens]

    def owners(self, words: Sequence[str], of_query: bool = False) -> NDArray[np.int64]:
        """(T,) int64 word index of each position in `states`; -1 for special tokens and prefixes."""
        found = self._pieces(words)[1][: self.most_tokens]
        head = (-1,) * (1 + len(self._prefix(of_query)))
        starts = range(0, max(len(found), 1), self.room)
        return np.array([o for at in starts for o in (*head, *found[at : at + self.room], -1)], np.int64)

    def words_read(self, words: Sequence[str]) -> int:
        """How many of the words, from the first, are within the limit of tokens."""
        owners = self._pieces(words)[1]
        return len(words) if len(owners) <= self.most_tokens else owners[self.most_tokens]

    def states(self, token_lists: Sequence[Sequence[int]], of_queries: bool = False) -> TextStates:
        """Encode texts given as token ids. An empty text is one window without word pieces."""
        with torch.set_grad_enabled(self.trained and torch.is_grad_enabled()):
            return self._states(token_lists, of_queries)

    def _states(self, token_lists: Sequence[Sequence[int]], of_queries: bool) -> TextStates:
        prefix = self._prefix(of_queries)
        windows = [self._windows(tokens, prefix) for tokens in token_lists]
        states = self._run([window for group in windows for window in group])
        lengths = [sum(map(len, group)) for group in windows]
        longest = max(lengths)
        mask = torch.zeros(len(windows), longest, dtype=torch.bool)
        place = torch.zeros(len(windows), longest)
        ids = torch.zeros(len(windows), longest, dtype=torch.int64)
        layers = [torch.zeros(len(windows), longest, WIDTH) for _ in states]
        bounds = np.cumsum([0, *lengths])
        for row, (start, end) in enumerate(pairwise(bounds)):
            length = int(end - start)
            mask[row, :length] = True
            place[row, :length] = (torch.arange(length) + 0.5) / length
            seen = [
                id_ for w in windows[row] for id_ in (*[self.cls] * len(prefix), w[0], *w[1 + len(prefix) :])
            ]
            ids[row, :length] = torch.tensor(seen)
            for layer, state in zip(layers, states, strict=True):
                layer[row, :length] = state[start:end]
        words = mask & (ids != self.cls) & (ids != self.sep)
        if of_queries and prefix:  # which would be more than half of a short query
            place = (words.cumsum(1) - 0.5 * words) / words.sum(1, keepdim=True).clamp(min=1)
        return TextStates(layers[:-1], layers[-1], mask, place, ids, torch.zeros_like(place), words)

    def _prefix(self, of_queries: bool) -> Sequence[int]:
        return self.query_prefix if of_queries else self.page_prefix

    def _windows(self, tokens: Sequence[int], prefix: Sequence[int]) -> list[list[int]]:
        starts = range(0, max(len(tokens), 1), self.room)
        return [[self.cls, *prefix, *tokens[at : at + self.room], self.sep] for at in starts]

    def _run(self, windows: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """KEPT + 1 tensors (sum of lengths, WIDTH), unpadded."""
        # Sorted by length to reduce padding.
        order = sorted(range(len(windows)), key=lambda i: len(windows[i]))
        parts: list[list[torch.Tensor]] = [[] for _ in windows]
        for start in range(0, len(order), WINDOW_BATCH):
            rows = order[start : start + WINDOW_BATCH]
            ids, mask = _pad([windows[i] for i in rows])
            output = self.model(
                inputs_embeds=self.vectors(ids), attention_mask=mask.long(), output_hidden_states=True
            )
            hidden = output.hidden_states[-KEPT - 1 :]
            for k, i in enumerate(rows):
                parts[i] = [states[k, : len(windows[i])] for states in hidden]
        return [torch.cat(states) for states in zip(*parts, strict=True)]

    @torch.no_grad()
    def embed(self, texts: Sequence[str], max_tokens: int = 256, of_queries: bool = False) -> FloatArray:
        """The encoder's own sentence embeddings, (n, WIDTH) float32 unit rows: one vector a text."""
        prefix = self._prefix(of_queries)
        room = max_tokens - 2 - len(prefix)
        rows = [[self.cls, *prefix, *self._pieces(text.split())[0][:room], self.sep] for text in texts]
        found = np.zeros((len(rows), WIDTH), np.float32)
        # Batches of equal length need no padding mask for the mean.
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        for _, group in groupby(order, key=lambda i: len(rows[i])):
            alike = list(group)
            for start in range(0, len(alike), WINDOW_BATCH):
                part = alike[start : start + WINDOW_BATCH]
                inputs = self.vectors(torch.tensor([rows[i] for i in part]))
                hidden = self.model(inputs_embeds=inputs).last_hidden_state
                found[part] = F.normalize(hidden.mean(1), dim=-1).numpy()
        return found

    @torch.no_grad()
    def token_vectors(self, words: Sequence[str], of_query: bool = False) -> FloatArray:
        """Final states of all word pieces, (n, WIDTH) float32 unit rows; the first one for an empty text."""
        (rows,) = word_vectors(self.states([self.tokens(words)], of_query))
        return np.asarray(rows.numpy(), np.float32)


def word_vectors(states: TextStates, center: torch.Tensor | float = 0.0) -> list[torch.Tensor]:
    """Per text the final states of its word pieces less `center`, (n, WIDTH) unit rows; the first state of a
    text without any.
    """
    unit = F.normalize(states.final.float() - center, dim=-1)
    return [rows[keep] if keep.any() else rows[:1] for rows, keep in zip(unit, states.words, strict=True)]


def _pad(rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (n, longest) int64 padded with 0, and their mask (n, longest) bool."""
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
    mask = torch.tensor([[True] * len(row) + [False] * (longest - len(row)) for row in rows])
    return ids, mask
