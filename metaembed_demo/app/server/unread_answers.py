"""Answers of Gradio's queue that no tab has fetched yet, within bounds.

Gradio keeps them for as long as it runs, of up to 2,000 tabs, however many and large. So a tab that sends
events and reads nothing fills the memory, and calls that nobody fetches push out the answers of others.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Any

MOST_TABS = 2000  # as Gradio's
UNREAD_OF_ONE, UNREAD = 16 << 20, 256 << 20  # bytes, of one client address and of all
TABS_OF_ONE = 100  # with unread answers, of one address
UNREAD_S = 600.0  # a call may be made now and fetched later


class Mailbox(asyncio.Queue[Any]):
    """The messages for one tab. size: their bytes; since: when the oldest came, or one was read last."""

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self.client, self.size, self.since = "", 0, time.monotonic()
        self._sizes: deque[int] = deque()

    def _put(self, item: Any) -> None:
        super()._put(item)
        if not self.size:
            self.since = time.monotonic()
        self._sizes.append(size_of(getattr(item, "output", None)) + 500)
        self.size += self._sizes[-1]

    def _get(self) -> Any:
        self.size -= self._sizes.popleft()
        self.since = time.monotonic()
        return super()._get()


class Mailboxes(OrderedDict[str, Mailbox]):
    """Tab -> its mailbox, in place of Gradio's mapping. A tab whose mailbox is dropped has to ask again."""

    def __init__(self, events: dict[str, set[str]]) -> None:
        """events: Gradio's mapping, tab -> its events whose result was not read."""
        super().__init__()
        self._events = events

    def __setitem__(self, tab: str, box: Any) -> None:
        """Put an empty mailbox in place of Gradio's. Of too many, one that nobody needs goes first."""
        while len(self) >= MOST_TABS and tab not in self:
            idle = (name for name, each in self.items() if not each.size and not self._events.get(name))
            self._drop(next(idle, next(iter(self))))
        super().__setitem__(tab, Mailbox())

    def keep_bounds(self, client: str) -> None:
        """Drop what was not read for the longest time, while there is too much of `client`, or of all."""
        unread = [(tab, box) for tab, box in list(self.items()) if box.size]
        mine = [(tab, box) for tab, box in unread if box.client == client]
        self._shrink(mine, UNREAD_OF_ONE, TABS_OF_ONE)
        self._shrink(unread, UNREAD, MOST_TABS)

    def drop_old(self) -> None:
        """Drop what was not read for UNREAD_S."""
        then = time.monotonic() - UNREAD_S
        for tab in [tab for tab, box in list(self.items()) if box.size and box.since < then]:
            self._drop(tab)

    def _shrink(self, boxes: Iterable[tuple[str, Mailbox]], size: int, count: int) -> None:
        left = sorted((pair for pair in boxes if pair[0] in self), key=lambda pair: -pair[1].since)
        while left and (len(left) > count or sum(box.size for _, box in left) > size):
            self._drop(left.pop()[0])

    def _drop(self, tab: str) -> None:
        self.pop(tab, None)
        if tab in self._events:
            self._events[tab] = set()


def size_of(value: Any) -> int:
    """About the bytes that JSON types take in memory."""
    if isinstance(value, dict):
        return 64 + sum(map(size_of, value.values()))
    if isinstance(value, list | tuple):
        return 64 + sum(map(size_of, value))
    return sys.getsizeof(value)
