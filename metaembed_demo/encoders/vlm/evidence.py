"""What the vectors of a vision-language model come from: what they lose when a cell cannot be attended to.

A cell counts for how far the cosines fall that the score adds up, with every query token's winner held;
another candidate token may step in, so the score itself falls by that much at most. Cells that say the same
count for little each, and the falls do not add up to the score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.core.types import Box, FloatArray, Page, Query, Word
from metaembed_demo.encoders.attribution import Evidence, Kind, Tokens
from metaembed_demo.encoders.base import Mask
from metaembed_demo.encoders.hiding import painted

from . import gradients, zero_gpu
from .cells import MOST_CELLS, Cells
from .knockout import Blockable, Knockout
from .prompts import Inputs, Item

CPU_BATCH, GPU_BATCH = 8, 32  # cells of a pass
CPU_CELLS = 64  # of a page, at most: on two cores a billion weights take seconds for each
PLAIN = "most read"
Progress = tuple[int, int]


@dataclass(frozen=True, eq=False)
class LostEvidence:
    """Vectors of R Meta Tokens, and how they change without each of n words or cells.

    whole: (R, D) float32 unit rows.
    change: (n, R, D) float16, the unit rows without a word less those with it.
    """

    words: tuple[Word, ...]
    whole: FloatArray
    change: NDArray[np.float16]

    kind: ClassVar[Kind] = "lost"
    plain: ClassVar[str] = PLAIN

    @property
    def nbytes(self) -> int:
        return self.change.nbytes

    def vectors(self) -> FloatArray:
        """(R, D) float32 unit rows, the embedding."""
        return self.whole

    def read(self) -> FloatArray:
        """(R, n) float32: how far each vector turns without each word. Rows sum to 1, or to 0."""
        turned = np.maximum(self.map(self.whole, np.arange(len(self.whole))), 0)
        total = turned.sum(1, keepdims=True)
        return np.asarray(turned / np.where(total > 0, total, 1), np.float32)

    def attended(self) -> FloatArray:
        """(R, n) float32: `read`."""
        return self.read()

    def map(self, query: FloatArray, winners: Tokens) -> FloatArray:
        """(k, n) float32: how far the cosine of a query vector and a Meta Token falls without each word."""
        found = np.empty((len(query), len(self.words)), np.float32)
        for row, (vector, token) in enumerate(zip(query, winners, strict=True)):
            found[row] = -(self.change[:, token].astype(np.float32) @ vector)
        return found


class AskedEvidence:
    """A query's vectors; what they lose without a word is computed when it is asked for."""

    kind: Kind = "lost"
    plain, nbytes = PLAIN, 0

    def __init__(self, vectors: FloatArray, make: Callable[[], LostEvidence]) -> None:
        self._vectors, self._make = vectors, make

    @cached_property
    def _made(self) -> LostEvidence:
        return self._make()

    @property
    def words(self) -> tuple[Word, ...]:
        return self._made.words

    def vectors(self) -> FloatArray:
        return self._vectors

    def read(self) -> FloatArray:
        return self._made.read()

    def attended(self) -> FloatArray:
        return self._made.attended()

    def map(self, query: FloatArray, winners: Tokens) -> FloatArray:
        return self._made.map(query, winners)


def page_evidence(model: Blockable, page: Page) -> Iterator[Progress | LostEvidence]:
    """Passes done and of how many; at last what the page's vectors lose without each cell of its picture, or
    each word where it has none.
    """
    item = Item("" if page.image else page.text, page.image)
    yield from _evidence(model, item, False, [word.box for word in page.words])


def query_evidence(model: Blockable, query: Query) -> AskedEvidence:
    """The query's vectors, and of its words what they lose."""
    (embedding,) = model.encode_queries([query])
    item = Item(query.text, query.image)
    return AskedEvidence(embedding.vectors, lambda: _last(_evidence(model, item, True)))


def without(page: Page, evidence: Evidence, hidden: Mask) -> Page:
    """The page with hidden cells painted over, and without hidden words."""
    gone = [word for word, out in zip(evidence.words, hidden, strict=True) if out]
    if page.image is not None and all(word.is_cell for word in evidence.words):
        return replace(page, image=painted(page.image, gone) if gone else page.image)
    return page.with_words([w for w, out in zip(evidence.words, hidden, strict=True) if not out])


class ByKnockout:
    """What an encoder that is `Blockable` says of its vectors (`encoders.base.Explainable`)."""

    waits = True
    second: Kind = "gradients"

    def page_evidence(self: Blockable, page: Page) -> Iterator[Progress | Evidence]:
        """What the page's vectors lose without each cell of its picture: a part of a pass for each."""
        return page_evidence(self, page)

    def query_evidence(self: Blockable, query: Query) -> Evidence:
        """The query's vectors; what they lose without each of its words, when that is asked for."""
        return query_evidence(self, query)

    def second_map(
        self: Blockable, page: Page, found: Evidence, asked: Evidence, query: FloatArray, winners: Tokens
    ) -> Iterator[Progress | FloatArray]:
        """Integrated gradients of a hit's score."""
        return shares(self, page, query, winners)

    def without(self, page: Page, evidence_of_page: Evidence, hidden: Mask) -> Page:
        """The page with the hidden cells of its picture painted over."""
        return without(page, evidence_of_page, hidden)


def _last(steps: Iterator[Progress | LostEvidence]) -> LostEvidence:
    *_, found = steps
    assert isinstance(found, LostEvidence)
    return found


def _evidence(
    model: Blockable, item: Item, of_queries: bool, boxes: Sequence[Box] = ()
) -> Iterator[Progress | LostEvidence]:
    inputs, keep, cells = model.taken(item, of_queries, boxes)
    total = len(cells.words) + 1
    rows: list[FloatArray] = []
    for found in _in_turn(model, passes, inputs, keep, cells):
        rows.append(found)
        yield sum(map(len, rows)), total
    whole = rows[0][0]
    change = np.concatenate([(each - whole).astype(np.float16) for each in rows])[1:]
    yield LostEvidence(cells.words, whole, change)


def shares(
    model: Blockable, page: Page, query: FloatArray, winners: Tokens
) -> Iterator[Progress | FloatArray]:
    """Steps done and of how many; at last the parts (k, n) of a hit's score by integrated gradients."""
    item = Item("" if page.image else page.text, page.image)
    found: list[FloatArray] = []
    for step in _in_turn(model, gradients.steps, *model.taken(item, False, ()), query, winners):
        found.append(step)
        yield len(found), gradients.STEPS
    yield np.concatenate(found).mean(0)


def most_cells(device: str) -> int:
    """Of a picture on a kind of device."""
    return CPU_CELLS if device == "CPU" else MOST_CELLS


def items_of(run: Any, inputs: Inputs, keep: slice, cells: Cells, *more: Any) -> int:
    """How many items take as long, for `zero_gpu.lent`: a whole pass a cell at most, which is enough for all
    backbones."""
    return len(cells.words)


def _in_turn(model: Blockable, run: Callable[..., Iterator[FloatArray]], *given: Any) -> Iterator[FloatArray]:
    """What `run` yields with an encoder and its inputs; between two steps others may encode."""
    if zero_gpu.active():  # a GPU is lent to one call
        with model.lock:
            found = model.all_passes(run, *given)
        yield from found
        return
    steps = run(model, *given)
    while True:
        with model.lock:
            step = next(steps, None)
        if step is None:
            return
        yield step


def passes(model: Blockable, inputs: Inputs, keep: slice, cells: Cells) -> Iterator[FloatArray]:
    """(b, r, dim) float32 rows in batches, as of `Knockout.vectors`."""
    knockout = Knockout(model.network, model.placed(inputs), keep)
    batch = CPU_BATCH if model.device == "CPU" else GPU_BATCH
    for found in knockout.vectors(cells, batch):
        rows: FloatArray = found.cpu().numpy()
        yield rows
