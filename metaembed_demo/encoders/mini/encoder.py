"""MetaEmbed-Mini: Meta Tokens over a frozen text encoder, for any CPU.

The text encoder is an unmodified MiniLM, or multilingual-e5-small. The Meta Tokens (16 per query, 64 per
page) pass through copies of its last layers, where they attend to the text states entering that layer and to
one another. Text does not attend to Meta Tokens, as in a causal vision-language model. Each Meta Token then
pools the final text states and the image views by attention, weighted by IDF. The pooled states, rotated to
principal directions and L2-normalised, are the embedding (paper, section 3.1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL.Image import Image

from metaembed_demo.core.budgets import OURS
from metaembed_demo.core.config import PATHS
from metaembed_demo.core.text import normalised
from metaembed_demo.core.types import Embedding, Page, Query, Similarity, Word
from metaembed_demo.documents.extraction import read_image, recompute_views
from metaembed_demo.documents.image_tags import (
    WHOLE,
    Contents,
    ViewCells,
    cell_features,
    class_rows,
    tag_image,
)
from metaembed_demo.encoders.attribution import AttentionEvidence, Evidence
from metaembed_demo.encoders.base import Mask
from metaembed_demo.encoders.hiding import painted

from . import adapters, e5, minilm
from .meta_file import load_meta
from .meta_tokens import DIM, HEADS, R_C, R_Q, ImageInputs, MetaPath
from .text_path import TextPath, TextStates

PAGE_BATCH = 8  # pages per forward pass
BATCH_TOKENS = 32_768  # of the pages of one pass, padded to the longest; bounds memory for long pages
# Part of the fingerprint, as vectors depend on it: changes with how words become word pieces.
READING = "2: normalised words, no unknown pieces but spelled ideographs, 128 windows, repetition"
CLUSTERED = "; tags in one part"
PREFIXED = "; queries' places among their words, pieces by sentencepiece"


TEXT_PATHS: Mapping[str, Callable[[], TextPath]] = {"minilm": minilm.load, "e5": e5.load}
NAMES = {"minilm": "MetaEmbed-Mini", "e5": "MetaEmbed-Mini multilingual"}


class MetaForward(Protocol):
    """`MetaPath.pages` or `MetaPath.queries`."""

    def __call__(self, text: TextStates, images: Sequence[ImageInputs]) -> torch.Tensor: ...


class Mini:
    """The app's default encoder. Thread-safe."""

    device = "CPU"
    dim, r_q, r_c = DIM, R_Q, R_C
    budgets = OURS
    similarity: Similarity = "MaxSim"
    waits = False

    def __init__(self, text: TextPath, meta: MetaPath, fingerprint: str) -> None:
        self.text, self.meta, self.fingerprint = text, meta.eval(), fingerprint
        self.name, self.languages = NAMES[text.name], text.languages
        self._last: tuple[Image, Contents] | None = None  # last query image and its contents

    @classmethod
    def load(cls, weights: Path = PATHS.mini_weights) -> Mini:
        """Raises FileNotFoundError or ValueError when the weight file is missing or invalid."""
        if not weights.is_file():
            raise FileNotFoundError(
                f"The Mini weights are missing: {weights}. Check the file out again, "
                "or train them: python -m metaembed_demo train"
            )
        meta, changes = load_meta(weights)
        text = TEXT_PATHS[meta.config.text_path]()
        reading = READING + CLUSTERED * (meta.config.parts == "clusters") + PREFIXED * bool(text.query_prefix)
        digest = hashlib.sha256(weights.read_bytes() + reading.encode()).hexdigest()
        adapters.load(text, changes)
        return cls(text, meta, f"mini-{digest[:16]}")

    def encode_pages(self, pages: Sequence[Page]) -> list[Embedding]:
        """One (64, 384) embedding per page, from its words and views; run `extraction.read` first."""
        return self._encode([Contents(page.words, page.views) for page in pages], self.meta.pages, False)

    def encode_queries(self, queries: Sequence[Query]) -> list[Embedding]:
        """One (16, 384) embedding per query. OCR words and tags of its image follow the query text."""
        return self._encode([self._read(query) for query in queries], self.meta.queries, True)

    def left_out(self, page: Page) -> str:
        """What of a page exceeds the encoder, as the rest of a sentence; "" when nothing does."""
        if (
            sum(len(word.text) for word in page.words) <= self.text.most_tokens
        ):  # a piece has a letter or more
            return ""
        read = self.text.words_read([word.text for word in page.words])
        if read == len(page.words):
            return ""
        return f"has {len(page.words):,} words, of which {self.name} reads the first {read:,}."

    def page_evidence(self, page: Page) -> Iterator[tuple[int, int] | AttentionEvidence]:
        """Attribution of the 64 page tokens to the page's words and the cells of its pictures."""
        yield self._evidence(page.words, recompute_views(page), of_queries=False)

    def without(self, page: Page, evidence: Evidence, hidden: Mask) -> Page:
        """Without words its pictures stay; without cells, which are painted over, it is looked at again."""
        assert isinstance(evidence, AttentionEvidence)
        kept = [word for word, gone in zip(evidence.words, hidden, strict=True) if not (gone or word.is_cell)]
        cells = [word for word, gone in zip(evidence.words, hidden, strict=True) if gone and word.is_cell]
        if not cells:
            return page.with_words(kept, evidence.views)
        assert page.image is not None
        seen = tag_image(painted(page.image, cells))
        return page.with_words([*(w for w in kept if w.kind != "visual"), *seen.words], seen.views)

    def query_evidence(self, query: Query) -> AttentionEvidence:
        """Attribution of the 16 query tokens."""
        words, views = self._read(query)
        pictures = [ViewCells(view, cell_features(query.image)) for view in views if query.image is not None]
        return self._evidence(words, pictures, of_queries=True)

    def _read(self, query: Query) -> Contents:
        """Words and views of a query. Those of the last image are cached: attribution follows a search."""
        words = tuple(Word(text, WHOLE) for text in normalised(query.text).split())
        if query.image is None:
            return Contents(words, ())
        last = self._last
        if last is None or last[0] is not query.image:
            last = self._last = (query.image, read_image(query.image))
        seen = last[1]
        return Contents((*words, *seen.words), seen.views)

    @torch.no_grad()
    def _evidence(
        self, words: Sequence[Word], pictures: Sequence[ViewCells], of_queries: bool
    ) -> AttentionEvidence:
        read = Contents(tuple(words), tuple(picture.view for picture in pictures))
        text = self.text.states([self.text.tokens([word.text for word in words])], of_queries)
        seen, attention = self.meta.attention(text, [self._image_inputs(read)], of_queries)
        n = len(text.ids[0])
        states, weights = seen.final[0, :n], attention[0, :, :, :n]
        owner, named = self.text.owners([word.text for word in words], of_queries).tolist(), list(words)
        for at, picture in enumerate(pictures, n):
            cells = torch.from_numpy(picture.cells).flatten(0, 1)
            # First-order split of the view's state over its cells; their mean is exact.
            changes = self.meta.state_length * self.meta.image_projection.jvp(
                picture.view, cells, class_rows()
            )
            states = torch.cat([states, seen.final[0, at] + changes])
            weights = torch.cat(
                [weights, attention[0, :, :, at, None].expand(-1, -1, len(cells)) / len(cells)], 2
            )
            owner += range(len(named), len(named) + len(cells))
            named += _cells(picture)
        pooled = torch.einsum("hrt,thd->rhd", weights, states.unflatten(-1, (HEADS, -1))).flatten(1)
        return AttentionEvidence(
            tuple(named),
            weights.numpy(),
            states.unflatten(-1, (HEADS, -1)).numpy(),
            np.array(owner, np.int64),
            self.meta.project.weight.numpy(),
            self.meta.project(pooled).norm(dim=-1).numpy(),
            read.views,
        )

    @torch.inference_mode()
    def _encode(self, read: Sequence[Contents], path: MetaForward, of_queries: bool) -> list[Embedding]:
        texts = [self.text.tokens([word.text for word in words]) for words, _ in read]
        # Sorted by length to reduce padding.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        found: dict[int, Embedding] = {}
        while order:
            longest = max(1, len(texts[order[-1]]))
            at = max(0, len(order) - min(PAGE_BATCH, max(1, BATCH_TOKENS // longest)))
            rows, order = order[at:], order[:at]
            images = [self._image_inputs(read[i]) for i in rows]
            vectors = path(self.text.states([texts[i] for i in rows], of_queries), images).numpy()
            for k, i in enumerate(rows):
                # A text without a known word and without a picture is like no other: all its cosines are 0.
                says_something = bool(texts[i] or read[i].views)
                found[i] = Embedding(vectors[k].copy() if says_something else np.zeros_like(vectors[k]))
        return [found[i] for i in range(len(texts))]

    def _image_inputs(self, read: Contents) -> ImageInputs:
        words, views = read
        naming = [word.text for word in words if word.kind == "visual"] if views else []
        return ImageInputs(views, len(self.text.tokens(naming)))


def _cells(picture: ViewCells) -> list[Word]:
    """The cells of an image, row by row, as words with empty text."""
    rows, columns = picture.cells.shape[:2]
    x0, y0, x1, y1 = picture.view.box
    wide, high = (x1 - x0) / columns, (y1 - y0) / rows
    return [
        Word("", (x0 + j * wide, y0 + i * high, x0 + (j + 1) * wide, y0 + (i + 1) * high), "visual")
        for i in range(rows)
        for j in range(columns)
    ]
