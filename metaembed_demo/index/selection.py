"""Selection: the pages that a search is limited to, by their ids and by what a server knows of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Span = tuple[int, int]  # first and last, both included


@dataclass(frozen=True)
class Where:
    """Pages by what is known of them. Alternatives within a part, parts are combined by and; empty: any.

    documents: exact names. numbers: of pages in a document. added: seconds UTC. places: exact names, each
    with numbers. One place of a page has to meet documents, types, numbers and places together.
    """

    documents: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    numbers: tuple[Span, ...] = ()
    added: tuple[Span, ...] = ()
    places: tuple[tuple[str, tuple[Span, ...]], ...] = ()


class Selection(list[str]):
    """Page ids in the order of the index. A server that knows `where` need not be sent the ids."""

    def __init__(self, ids: Iterable[str] = (), where: Where | None = None) -> None:
        super().__init__(ids)
        self.where = where
