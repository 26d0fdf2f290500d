"""Protocols: encoders, and encoders that support attribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from metaembed_demo.core.budgets import Budgets
from metaembed_demo.core.types import Embedding, Page, Query, Similarity
from metaembed_demo.documents.image_tags import ViewCells

from .attribution import Evidence


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
    """An encoder that can attribute its vectors to words."""

    def page_evidence(self, page: Page, pictures: Sequence[ViewCells]) -> Evidence: ...

    def query_evidence(self, query: Query) -> Evidence: ...
