"""The Encoder protocol, and the one place that turns a name into an encoder."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from metaembed_demo.core.budgets import BUDGETS
from metaembed_demo.core.config import SPACE, Space
from metaembed_demo.core.types import Embedding, FloatArray, Page, Query


class Encoder(Protocol):
    """Pages and queries to Meta Token vectors."""

    name: str  # for people: "MetaEmbed-Mini"
    device: str  # "CPU", "CUDA"
    fingerprint: str  # changes whenever the vectors would
    dim: int
    r_q: int
    r_c: int

    def encode_pages(self, pages: Sequence[Page]) -> list[Embedding]:
        """Read pages (see `reading.read`) to one embedding (r_c, dim) each, in order."""
        ...

    def encode_queries(self, queries: Sequence[Query]) -> list[Embedding]:
        """Queries to one embedding (r_q, dim) each, in order."""
        ...


def load_encoder(name: str = "mini") -> Encoder:
    """The encoder called `name`: "mini", a checkpoint's folder, or a hub id, "owner/name[@revision]".

    Raises:
        ValueError: when there is no such encoder, or it cannot be loaded safely.
        FileNotFoundError: when its weights are missing; the message says what to do.
    """
    if name == "mini":
        from .mini import Mini  # torch is loaded only when a real encoder is asked for

        return Mini.load()
    if os.path.isdir(name):
        from .checkpoints import load_vlm

        return load_vlm(name)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise FileNotFoundError(f"There is no folder {name}. Give the folder of a MetaEmbed checkpoint.")
    if hub := re.fullmatch(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", name):
        from .checkpoints import load_vlm

        return load_vlm(hub[1], hub[2])
    raise ValueError(
        f"There is no encoder called {name!r}. Use 'mini', the folder of a MetaEmbed checkpoint, "
        "or a hub id: owner/name or owner/name@revision."
    )


def affordable(name: str, space: Space = SPACE) -> tuple[str, str]:
    """The encoder to load for `name`, and a notice where that is another: Mini on a Space without a GPU.

    Elsewhere a large model on a CPU is slow, but it is the user's own machine and choice.
    """
    if name == "mini" or not space.here or space.zero_gpu:
        return name, ""
    import torch

    if torch.cuda.is_available():
        return name, ""
    return "mini", f"{name} needs a GPU, which this Space does not have"


class DummyEncoder:
    """For tests: hashes words into vectors, so that pages sharing words with a query score high.

    Token 0 is the direction of all words together; token i > 0 is that of every (R-1)th word from i on.
    """

    name = "Dummy"
    device = "CPU"
    fingerprint = "dummy-1"
    r_q, r_c = BUDGETS[-1]

    def __init__(self, dim: int = 128) -> None:
        self.dim = dim

    def encode_pages(self, pages: Sequence[Page]) -> list[Embedding]:
        return [self._encode(page.text, self.r_c) for page in pages]

    def encode_queries(self, queries: Sequence[Query]) -> list[Embedding]:
        return [self._encode(query.text, self.r_q) for query in queries]

    def _encode(self, text: str, r: int) -> Embedding:
        words = re.findall(r"\w+", text.lower()) or [""]
        groups = [words] + [words[i :: r - 1] or words for i in range(r - 1)]
        vectors = np.stack([np.sum([self._direction(w) for w in group], axis=0) for group in groups])
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9
        return Embedding(vectors.astype(np.float32))

    def _direction(self, word: str) -> FloatArray:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "little")
        return np.random.default_rng(seed).standard_normal(self.dim).astype(np.float32)
