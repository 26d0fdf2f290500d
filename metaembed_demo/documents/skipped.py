"""Files that are skipped by their kind: a few are named one by one, the rest together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from metaembed_demo.core.types import Skipped

NAMED = 3  # files of a kind that have a message of their own
T = TypeVar("T")


def folded(items: Iterable[T]) -> Iterator[T | Skipped]:
    """`items`, in which one Skipped at the end stands for all of a kind after the first few."""
    met: dict[str, list[Skipped]] = {}
    for item in items:
        if not isinstance(item, Skipped):
            yield item
            continue
        same = met.setdefault(item.kind, [])
        same.append(item)
        if len(same) <= NAMED:
            yield item
    for kind, same in met.items():
        if len(same) == NAMED + 1:
            yield same[-1]
        elif len(same) > NAMED:
            last, more = same[-1].source, len(same) - NAMED
            yield Skipped(last, f"{last} and {more - 1:,} more files like it were skipped: {kind}.", kind)
