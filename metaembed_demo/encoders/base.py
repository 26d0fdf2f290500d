"""Protocols: encoders, and encoders that can say what their vectors come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.core.budgets import Budgets
from metaembed_demo.core.types import Embedding, FloatArray, Page, Query, Similarity

from .attribution import Evidence, Kind, Tokens

Mask = NDArray[np.bool_]


class Encoder(Protocol):
    """Encodes pages and queries as Meta Token vectors."""

    name: str  # display name, e.g. "MetaEmbed-Mini"
    device: str  # "CPU", "CUDA"
    fingerprint: str  # changes whenever the vectors change
    dim: int
    r_q: int
    r_c: int
    budgets: Budgets  # its stops; the largest is (r_q, r_c)
    similarity: Similarity  # what it was trained with, and a score is shown as: the sum, or divided by r_q

    def encode_pages(self, pages: Sequence[Page]) -> list[Embedding]:
        """One (r_c, dim) embedding per page, in order. Pages have been through `extraction.read`."""
        ...

    def encode_queries(self, queries: Sequence[Query]) -> list[Embedding]:
        """One (r_q, dim) embedding per query, in order."""
        ...


@runtime_checkable
class Limited(Encoder, Protocol):
    """An encoder that reads only so much of a page."""

    def left_out(self, page: Page) -> str:
        """What of a page it does not read, as the rest of a sentence; "" when nothing is left out."""
        ...


@runtime_checkable
class Reader(Encoder, Protocol):
    """An encoder that reads only certain languages well."""

    languages: Sequence[str]  # ISO 639-1 codes


@runtime_checkable
class Explainable(Encoder, Protocol):
    """An encoder that can say what its vectors come from.

    waits: whether evidence of a page costs so much that it is made when it is asked for, and not with a hit.
    """

    waits: bool

    def page_evidence(self, page: Page) -> Iterator[tuple[int, int] | Evidence]:
        """Passes done and of how many, where they are many; at last the evidence of the r_c page tokens."""
        ...

    def query_evidence(self, query: Query) -> Evidence:
        """Of the r_q query tokens; its words and what reads them may be computed when they are asked for."""
        ...

    def without(self, page: Page, evidence: Evidence, hidden: Mask) -> Page:
        """The page, to be encoded again, without the words or cells `hidden` (n,) of its evidence."""
        ...


@runtime_checkable
class TwiceExplainable(Explainable, Protocol):
    """An encoder with a second account of a hit, of the kind `second`."""

    second: Kind

    def second_map(
        self, page: Page, found: Evidence, asked: Evidence, query: FloatArray, winners: Tokens
    ) -> Iterator[tuple[int, int] | FloatArray]:
        """Steps done and of how many, where they are many; at last as `found.map(query, winners)`.

        found, asked: the evidence of the page and of the query.
        """
        ...
