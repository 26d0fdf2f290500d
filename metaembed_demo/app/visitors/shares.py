"""Shares of the server: how much of what visitors compete for one client address may take.

An address has at most its share of what runs and of the places in which work waits, and waiting work is
served in turn between addresses: next is the one that has had the least time. So a visitor who asks for much
waits for what they asked, and the others do not.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TypeVar

from metaembed_demo.core.config import LIMITS, Limits

SEARCHES = 4  # short events and calls at once; an address has two of them
JOBS = 2  # steps of long jobs at once, one of them of an address: a page to index, a query of a survey
INDEX_JOBS = 3  # visitors whose files are being indexed, page by page in turn; each has a reading process
PICTURES = 2  # query pictures read at once
ADMITTED = 1000  # jobs that wait for a step: as many as were let in, which is bounded before
MOST_CLIENTS = 10_000  # remembered addresses
LOOK_S = 0.2  # how often a wait looks at `stop`
T = TypeVar("T")


class Busy(ValueError):
    """Too much waits already. The message is for the visitor, `retry_s` for a Retry-After header."""

    def __init__(self, message: str, retry_s: int = 5) -> None:
        super().__init__(message)
        self.retry_s = retry_s


class _Turn:
    """One place in `Turns`, waiting until `begun` is done."""

    def __init__(self, client: str) -> None:
        self.client, self.since = client, 0.0
        self.begun: Future[None] = Future()


class Turns:
    """At most `most` turns at once, for threads and coroutines. An address has at most its share of them.

    Waiting turns are given to the address that has had the least time, one after the other within an address.
    An address that comes back starts level with the one served last, so that a rest earns no credit.
    """

    def __init__(
        self,
        most: int,
        waiting: int = LIMITS.max_queue,
        limits: Limits = LIMITS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """waiting: turns that may wait, of which an address has its share as well."""
        self.most, self.waiting, self.clock = most, waiting, clock
        self.share, self.waiting_share = limits.share(most), limits.share(waiting)
        self._lock = threading.Lock()
        self._asked: dict[str, deque[_Turn]] = {}
        self._running: Counter[str] = Counter()
        self._had: OrderedDict[str, float] = OrderedDict()  # seconds; the most recent addresses
        self._level = 0.0  # what the address served last had had by then

    @contextmanager
    def turn(
        self, client: str, stop: threading.Event | None = None, seconds: float = float("inf")
    ) -> Iterator[bool]:
        """Wait for a turn, and keep it during the context. False if `stop` was set before it came.

        Raises:
            Busy: when too many wait, or none came within `seconds`.
        """
        turn = self._ask(client)
        try:
            yield self._wait(turn, stop, seconds)
        finally:
            self._end(turn)

    @asynccontextmanager
    async def turn_async(self, client: str) -> AsyncIterator[None]:
        """As `turn`, for a coroutine. A cancelled one gives up its place."""
        turn = self._ask(client)
        try:
            await asyncio.wrap_future(turn.begun)
            yield
        finally:
            self._end(turn)

    def each(
        self, client: str, steps: Iterator[T], stop: threading.Event | None = None
    ) -> Generator[T, None, None]:
        """`steps`, each with a turn of its own, so that the work of others comes between.

        Once `stop` is set no turn is waited for: the job is to see it and end.
        """
        turn = self._ask(client)
        try:
            while True:
                self._wait(turn, stop)
                try:
                    step = next(steps)
                except StopIteration:
                    return
                # The next turn is asked for before this one ends, or a job of short steps would be behind one
                # of long steps each time.
                before, turn = turn, self._ask(client)
                self._end(before)
                yield step
        finally:
            self._end(turn)

    def _wait(self, turn: _Turn, stop: threading.Event | None = None, seconds: float = float("inf")) -> bool:
        ends = time.monotonic() + seconds
        while not turn.begun.done():
            if stop is not None and stop.is_set():
                return False
            left = ends - time.monotonic()
            if left <= 0:
                raise Busy("The server is busy with the work of others. Try again in a minute.", 60)
            with suppress(NotYet):
                turn.begun.result(min(left, LOOK_S if stop else threading.TIMEOUT_MAX))
        return True

    def waits(self) -> int:
        """The number of turns that wait."""
        with self._lock:
            return self._waits()

    def _waits(self) -> int:
        return sum(map(len, self._asked.values()))

    def _ask(self, client: str) -> _Turn:
        turn = _Turn(client)
        with self._lock:
            mine = self._asked.get(client, ())
            runs = sum(self._running.values()) < self.most and self._running[client] < self.share
            if mine or not runs:
                if len(mine) >= self.waiting_share:
                    why = f"Too many requests of your address are waiting ({len(mine)}). Try again later."
                    raise Busy(why)
                if self._waits() >= self.waiting:
                    raise Busy(f"Too many requests are waiting ({self.waiting}). Try again later.")
            if not mine and not self._running[client]:
                self._note(client, max(self._had.get(client, 0.0), self._level))
            self._asked.setdefault(client, deque()).append(turn)
            self._serve()
        return turn

    def _serve(self) -> None:
        """Give the free turns away. Under the lock."""
        while sum(self._running.values()) < self.most:
            able = [client for client in self._asked if self._running[client] < self.share]
            if not able:
                return
            client = min(able, key=lambda each: (self._running[each], self._had.get(each, self._level)))
            turn = self._asked[client].popleft()
            if not self._asked[client]:
                del self._asked[client]
            if not turn.begun.set_running_or_notify_cancel():
                continue
            self._running[client] += 1
            self._level = max(self._level, self._had.get(client, 0.0))
            turn.since = self.clock()
            turn.begun.set_result(None)

    def _end(self, turn: _Turn) -> None:
        """Return a turn, or give up the wait for it."""
        client = turn.client
        with self._lock:
            waiting = self._asked.get(client, ())
            if turn in waiting:
                waiting.remove(turn)  # type: ignore[union-attr]
                if not waiting:
                    del self._asked[client]
            elif turn.begun.done() and not turn.begun.cancelled():
                self._note(client, self._had.get(client, self._level) + self.clock() - turn.since)
                self._running[client] -= 1
                if not self._running[client]:
                    del self._running[client]
            self._serve()

    def _note(self, client: str, had: float) -> None:
        self._had[client] = had
        self._had.move_to_end(client)
        while len(self._had) > MOST_CLIENTS:
            self._had.popitem(last=False)


class Shares:
    """What the visitors of a server take turns in."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.searches = Turns(SEARCHES, limits.max_queue, limits)
        self.jobs = Turns(JOBS, ADMITTED, limits)
        self.indexing = Turns(INDEX_JOBS, ADMITTED, limits)
        self.pictures = Turns(PICTURES, limits.max_queue, limits)
