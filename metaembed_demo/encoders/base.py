"""The protocols that every encoder fulfils, and those that can be explained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from metaembed_demo.core.types import Embedding, Page, Query
from metaembed_demo.documents.image_tags import Closer

from .attribution import Evidence


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


@runtime_checkable
class Explainable(Encoder, Protocol):
    """An encoder that can tell what its Meta Tokens read."""

    def page_evidence(self, page: Page, pictures: Sequence[Closer]) -> Evidence: ...

    def query_evidence(self, query: Query) -> Evidence: ...
