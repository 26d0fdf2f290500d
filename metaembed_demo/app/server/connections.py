"""Bounds on connections: how many, and how long until a request's head has come and its answer is taken.

uvicorn waits for ever for the rest of a head, takes any number of connections until no file can be opened,
and then logs two thousand tracebacks a second. Deadlines of bodies are in bodies.py.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from metaembed_demo.core import logs

HEAD_S = 15.0  # until the head of a request has come
REST_S = 5.0  # until the rest of a body that was not wanted has come
TAKEN_S = 60.0  # until a client that does not read takes more of its answer
MOST_HEAD = 32_768  # bytes of an incomplete head
UNREAD_OF_ONE, UNREAD = 16 << 20, 256 << 20  # bytes of answers not taken yet, of one address and of all
ANSWERED = (h11.DONE, h11.MUST_CLOSE, h11.CLOSED)
FILES = 65_536  # the limit on open files is raised up to this
OTHER_FILES = 256  # left for uploads, processes, libraries
log = logging.getLogger(__name__)


class Connections:
    """The open connections, by address."""

    def __init__(self, most_of_one: int, shared: Callable[[str], bool], first: Sequence[type]) -> None:
        """most_of_one: of one address, 0: no limit; shared: whether an address stands for many clients.

        first: the middleware of the app that gets requests before any other, and sees all answers.
        """
        self._most_of_one, self._shared, self._first = most_of_one, shared, first
        self._most = FILES
        self._open: Counter[str] = Counter()
        self._unread: Counter[str] = Counter()  # bytes
        self.used = False

    def set_up(self, config: uvicorn.Config) -> None:
        """Let a server that has not started yet accept connections through this."""
        self.used = True
        self._most = max(OTHER_FILES, raise_file_limit() - OTHER_FILES)
        # Else uvicorn believes what clients on this machine say about their address.
        config.proxy_headers = False
        config.server_header = False
        config.h11_max_incomplete_event_size = MOST_HEAD
        config.http = partial(Connection, self)  # type: ignore[assignment]
        config.ws = "none"
        layers = getattr(config.app, "user_middleware", [])
        layers.sort(key=lambda layer: layer.cls not in self._first)
        logs.take_over("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio")

    def enter(self, address: str) -> bool:
        """Count a connection, unless there are too many."""
        one = self._open[address]
        if self._open.total() >= self._most or (0 < self._most_of_one <= one and not self._shared(address)):
            if not one:
                del self._open[address]
            log.warning("Connections were refused: there are too many.")
            return False
        self._open[address] += 1
        return True

    def leave(self, address: str) -> None:
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]

    def keep(self, address: str, size: int) -> bool:
        """Count bytes of an answer that wait for a client, unless there are too many. One may always wait."""
        one = self._unread[address]
        over = one and one + size > UNREAD_OF_ONE and not self._shared(address)
        if over or self._unread.total() + size > UNREAD:
            log.warning("Answers that are not taken were dropped: there are too many.")
            size = 0
        self.let_go(address, -size)
        return bool(size)

    def let_go(self, address: str, size: int) -> None:
        self._unread[address] -= size
        if not self._unread[address]:
            del self._unread[address]


class Connection(H11Protocol):
    """uvicorn's, with deadlines."""

    def __init__(self, connections: Connections, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._connections = connections
        self._address: str | None = None  # once it is counted
        self._deadline: asyncio.TimerHandle | None = None  # of what is to arrive
        self._taken: asyncio.TimerHandle | None = None  # of what is to be read by the client
        self._unread = 0  # bytes of that

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        address = str(self.client[0]) if self.client else ""
        if not self._connections.enter(address):
            transport.abort()
            return
        self._address = address
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._address is not None:
            self._stop_unread()
            self._connections.leave(self._address)
            self._address = None
        self._stop_waiting()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._taken is None:
            self._taken = self.loop.call_later(TAKEN_S, self.transport.abort)
        if self._address is not None and not self._unread:
            size = self.transport.get_write_buffer_size()
            if self._connections.keep(self._address, size):
                self._unread = size
            else:
                self.transport.abort()

    def resume_writing(self) -> None:
        if self._taken is not None:
            self._taken.cancel()
            self._taken = None
        self._stop_unread()
        if self.flow is not None:
            super().resume_writing()

    def _stop_unread(self) -> None:
        if self._address is not None:
            self._connections.let_go(self._address, self._unread)
        self._unread = 0

    def _watch(self) -> None:
        """Set a deadline for what is awaited now. An idle connection between requests has uvicorn's."""
        if self.transport.is_closing():
            self._stop_waiting()
        elif self.conn.their_state is h11.IDLE and self.timeout_keep_alive_task is None:
            self._wait(HEAD_S)
        elif self.conn.their_state is h11.SEND_BODY and self.conn.our_state in ANSWERED:
            self._wait(REST_S)
        else:
            self._stop_waiting()

    def _wait(self, seconds: float) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(seconds, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def raise_file_limit() -> int:
    """Raise this process's limit on open files as far as is allowed. Returns it."""
    try:
        import resource
    except ImportError:  # Windows
        return FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES if hard == resource.RLIM_INFINITY else min(hard, FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    return FILES if soft == resource.RLIM_INFINITY else soft
