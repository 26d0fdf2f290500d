"""MetaEmbed-Mini: Meta Tokens over a frozen MiniLM, for any CPU.

The text path is MiniLM, untouched. The Meta Tokens (16 for a query, 64 for a page) go through their own
copy of its last layers; at each layer they attend to the text states entering that layer and to one
another, but the text never sees them, as in a causal vision-language model. Then they know where to look:
each pools the text's final states and the views of pictures, rare words more than common ones. What comes
of it, turned so that its first dimensions say most, and normalised, is the embedding (paper, section 3.1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL.Image import Image

from metaembed_demo.core.config import PATHS
from metaembed_demo.core.types import Embedding, Page, Query, Word
from metaembed_demo.documents.extraction import read_image
from metaembed_demo.documents.image_tags import WHOLE, Closer, Contents, cells_of, class_rows
from metaembed_demo.encoders.attribution import Evidence

from . import minilm
from .meta_tokens import DIM, HEADS, R_C, R_Q, MetaPath, Shown, load_meta
from .minilm import MiniLM, TextStates

PAGE_BATCH = 8  # pages in one forward pass


class Route(Protocol):
    """`MetaPath.pages` or `MetaPath.queries`."""

    def __call__(self, text: TextStates, shown: Sequence[Shown]) -> torch.Tensor: ...


class Mini:
    """The encoder that the app runs by default. Safe to call from several threads."""

    name = "MetaEmbed-Mini"
    device = "CPU"
    dim, r_q, r_c = DIM, R_Q, R_C

    def __init__(self, text: MiniLM, meta: MetaPath, fingerprint: str) -> None:
        self.text, self.meta, self.fingerprint = text, meta.eval(), fingerprint
        self._last: tuple[Image, Contents] | None = None  # the last query's picture, and what was read in it

    @classmethod
    def load(cls, weights: Path = PATHS.mini_weights) -> Mini:
        """Raises FileNotFoundError or ValueError that says what is wrong with the weight file."""
        if not weights.is_file():
            raise FileNotFoundError(
                f"The Mini weights are missing: {weights}. Check the file out again, "
                "or train them: python -m metaembed_demo train"
            )
        meta = load_meta(weights)
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        return cls(minilm.load(), meta, f"mini-{digest[:16]}")

    def encode_pages(self, pages: Sequence[Page]) -> list[Embedding]:
        """One (64, 384) embedding a page, from its words and views; run `reading.read` first."""
        return self._encode([Contents(page.words, page.views) for page in pages], self.meta.pages)

    def encode_queries(self, queries: Sequence[Query]) -> list[Embedding]:
        """One (16, 384) embedding a query. A picture is read into words, which follow the text, and views."""
        return self._encode([self._read(query) for query in queries], self.meta.queries)

    def page_evidence(self, page: Page, pictures: Sequence[Closer]) -> Evidence:
        """What the 64 candidate tokens read of a page; `pictures` are its own (`reading.look_again`)."""
        return self._evidence(page.words, pictures, of_queries=False)

    def query_evidence(self, query: Query) -> Evidence:
        """What the 16 query tokens read of a query; its picture has cells, but no boxes of its own."""
        words, views = self._read(query)
        pictures = [Closer(view, cells_of(query.image)) for view in views if query.image is not None]
        return self._evidence(words, pictures, of_queries=True)

    def _read(self, query: Query) -> Contents:
        """The query's words, and its picture's; the last picture's are kept, for it is explained next."""
        words = tuple(Word(text, WHOLE) for text in query.text.split())
        if query.image is None:
            return Contents(words, ())
        last = self._last
        if last is None or last[0] is not query.image:
            last = self._last = (query.image, read_image(query.image))
        seen = last[1]
        return Contents((*words, *seen.words), seen.views)

    @torch.no_grad()
    def _evidence(self, words: Sequence[Word], pictures: Sequence[Closer], of_queries: bool) -> Evidence:
        read = Contents(tuple(words), tuple(closer.view for closer in pictures))
        text = self.text.states([self.text.tokens([word.text for word in words])])
        seen, attention = self.meta.attention(text, [self._shown(read)], of_queries)
        n = len(text.ids[0])
        states, weights = seen.final[0, :n], attention[0, :, :, :n]
        owner, named = self.text.owners([word.text for word in words]).tolist(), list(words)
        for at, closer in enumerate(pictures, n):
            cells = torch.from_numpy(closer.cells).flatten(0, 1)
            # To first order each cell gives its share of the view; together they give it exactly.
            slopes = self.meta.state_length * self.meta.sight.slopes(closer.view, cells, class_rows())
            states = torch.cat([states, seen.final[0, at] + slopes])
            weights = torch.cat(
                [weights, attention[0, :, :, at, None].expand(-1, -1, len(cells)) / len(cells)], 2
            )
            owner += range(len(named), len(named) + len(cells))
            named += _cells(closer)
        pooled = torch.einsum("hrt,thd->rhd", weights, states.unflatten(-1, (HEADS, -1))).flatten(1)
        return Evidence(
            tuple(named),
            weights.numpy(),
            states.unflatten(-1, (HEADS, -1)).numpy(),
            np.array(owner, np.int64),
            self.meta.project.weight.numpy(),
            self.meta.project(pooled).norm(dim=-1).numpy(),
        )

    @torch.inference_mode()
    def _encode(self, read: Sequence[Contents], path: Route) -> list[Embedding]:
        texts = [self.text.tokens([word.text for word in words]) for words, _ in read]
        # Texts of like length go together, so that padding costs little.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        found: dict[int, Embedding] = {}
        for start in range(0, len(order), PAGE_BATCH):
            rows = order[start : start + PAGE_BATCH]
            shown = [self._shown(read[i]) for i in rows]
            vectors = path(self.text.states([texts[i] for i in rows]), shown)
            found |= {i: Embedding(vectors[k].numpy().copy()) for k, i in enumerate(rows)}
        return [found[i] for i in range(len(texts))]

    def _shown(self, read: Contents) -> Shown:
        words, views = read
        naming = [word.text for word in words if word.kind == "visual"] if views else []
        return Shown(views, len(self.text.tokens(naming)))


def _cells(closer: Closer) -> list[Word]:
    """A picture cut into cells, row by row, as words without a text."""
    rows, columns = closer.cells.shape[:2]
    x0, y0, x1, y1 = closer.view.box
    wide, high = (x1 - x0) / columns, (y1 - y0) / rows
    return [
        Word("", (x0 + j * wide, y0 + i * high, x0 + (j + 1) * wide, y0 + (i + 1) * high), "visual")
        for i in range(rows)
        for j in range(columns)
    ]
