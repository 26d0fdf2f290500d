"""What a collection on Qdrant knows of its pages besides their ids, and filters on it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from metaembed_demo.index.selection import Span, Where

from .client import Link, models

# Field -> its index. A page may be in several places; a filter is met by one of them as a whole.
FIELDS = {
    "places[].document": "KEYWORD",
    "places[].type": "KEYWORD",
    "places[].number": "INTEGER",
    "language": "KEYWORD",
    "added": "INTEGER",
}


def payload(places: Iterable[tuple[str, str, int]], language: str, added: int) -> dict[str, Any]:
    """Of one page. places: document, type and number. added: seconds UTC, 0 where it is unknown."""
    there = [{"document": document, "type": kind, "number": number} for document, kind, number in places]
    return {"places": there, "language": language, "added": added}


def make_indexes(link: Link) -> None:
    """Payload indexes, without which a filter reads every payload. Existing ones are kept."""
    for name, kind in FIELDS.items() if not link.simulated else ():
        schema = models().PayloadSchemaType[kind]
        link("create_payload_index", field_name=name, field_schema=schema)


def condition(where: Where) -> Any:
    """`where` as Qdrant's Filter."""
    m = models()
    must, placed = [], []
    if where.languages:
        must.append(_any("language", where.languages))
    if where.added:
        must.append(_within("added", where.added))
    if where.documents:
        placed.append(_any("document", where.documents))
    if where.types:
        placed.append(_any("type", where.types))
    if where.numbers:
        placed.append(_within("number", where.numbers))
    if where.places:
        one = [m.Filter(must=[_any("document", [name]), _within("number", of)]) for name, of in where.places]
        placed.append(m.Filter(should=one))
    if placed:
        must.append(m.NestedCondition(nested=m.Nested(key="places", filter=m.Filter(must=placed))))
    return m.Filter(must=must)


def _any(key: str, values: Sequence[str]) -> Any:
    return models().FieldCondition(key=key, match=models().MatchAny(any=list(values)))


def _within(key: str, spans: Iterable[Span]) -> Any:
    """A filter that one of the spans is met."""
    m = models()
    ranges = [m.FieldCondition(key=key, range=m.Range(gte=first, lte=last)) for first, last in spans]
    return m.Filter(should=ranges)
