"""How much memory pages take, and whether there is room for more in a session and in the whole process.

An estimate from what a page holds: it is counted when the page is put into a collection, and given back when
it is removed or the collection is gone. Pages of a copied collection are shared and count once, in the
original.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Iterable
from typing import Protocol

from metaembed_demo.core.config import Limits
from metaembed_demo.core.text import bytes_text

from .stored_page import Place, StoredPage

WORD = 320  # bytes of a word without its letters: the object, its box, its numbers
PLACE = 300  # bytes of a place without its name
PAGE = 20_000  # bytes of a page without its words and its picture: its thumbnail and its entries
DRAWN = 100_000  # bytes of a picture that is made on demand
COMPONENT = 4  # bytes of float16, and as many spare while the last block of an index grows


class Holder(Protocol):
    """What holds pages: a collection."""

    @property
    def held(self) -> int:
        """Bytes of its own pages."""
        ...


class Giver(Protocol):
    """What can give memory back: the sessions of a server."""

    def make_memory(self) -> bool:
        """Give up some pages. Returns whether there were any to give up."""
        ...


_holders: weakref.WeakSet[Holder] = weakref.WeakSet()
_givers: weakref.WeakSet[Giver] = weakref.WeakSet()
_lock = threading.Lock()


def watch(holder: Holder) -> None:
    """Count what `holder` holds in `in_all`, as long as it lives."""
    with _lock:
        _holders.add(holder)


def ask_when_full(giver: Giver) -> None:
    """Have `giver` make room before pages are refused, as long as it lives."""
    with _lock:
        _givers.add(giver)


def in_all() -> int:
    """Bytes of the pages of all collections in this process."""
    with _lock:
        holders = tuple(_holders)
    return sum(holder.held for holder in holders)


def cost_of(places: Iterable[Place]) -> int:
    """Bytes of the places of a page in memory."""
    return sum(PLACE + len(source) for source, _ in places)


def cost(page: StoredPage, r_c: int, dim: int) -> int:
    """Bytes of a page and its vectors (r_c, dim) in memory."""
    words = sum(WORD + sys.getsizeof(word.text) for word in page.words)
    picture = len(page.kept) if isinstance(page.kept, bytes) else DRAWN
    return PAGE + words + picture + cost_of(page.places) + COMPONENT * r_c * dim


def no_room(holder: Holder, more: int, limits: Limits, beside: int = 0) -> str:
    """Why `more` bytes do not fit into `holder`, and the remedy, as a sentence; "" if they fit.

    beside: bytes that are held elsewhere for `holder`.
    """
    if holder.held + beside + more > limits.max_session_memory:
        most = bytes_text(limits.max_session_memory)
        return (
            f"The pages of one session take at most {most} of memory. Remove documents, or raise "
            "METAEMBED_MAX_SESSION_MEMORY."
        )
    while (full := in_all() + more > limits.max_memory) and _is_given():
        pass
    if full:
        return (
            f"The pages of all sessions take at most {bytes_text(limits.max_memory)} of memory. Try again "
            "later, or raise METAEMBED_MAX_MEMORY."
        )
    return ""


def _is_given() -> bool:
    with _lock:
        givers = tuple(_givers)
    return any(giver.make_memory() for giver in givers)
