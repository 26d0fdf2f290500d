"""Sessions: each visitor has a private collection, initially a copy of the sample corpus."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Set
from pathlib import Path
from typing import Any

from metaembed_demo.collection.collection import Collection
from metaembed_demo.core.config import LIMITS, Limits

from .removal import UNDO_S, Removal
from .shares import Shares
from .uploads import UploadedFiles

PROCESS = secrets.token_urlsafe(6)  # sessions do not survive a restart, and the page tells which it was
LEAST_SESSIONS = 8  # of one address, whatever its share: people behind one address, an API client
ENDED = "This session has ended. Reload the page to start a new one."


class Full(Exception):
    """The session limit, of the server or of an address, is reached and no session is idle."""


class Session:
    """One visitor's pages and files, shared by their tabs.

    `id` is the token of API clients; browsers are identified by a cookie and never see it. `picture_key` is
    part of the URLs of the session's pictures. `client` is the address that opened it: its work takes that
    address's share of `shares`.
    """

    def __init__(
        self,
        session_id: str,
        base: Collection,
        files: UploadedFiles | None = None,
        client: str = "",
        shares: Shares | None = None,
    ) -> None:
        self.id, self.client, self.shares = session_id, client, shares or Shares()
        self.picture_key = secrets.token_urlsafe(12)
        self.mark = f"{PROCESS}.{secrets.token_urlsafe(6)}"  # by which a page knows it again; opens nothing
        self.collection = base.copy()
        self.files = files or UploadedFiles()
        self.tools: Any = None  # `visitor.Tools` after a switch to another encoder
        self.lock = threading.RLock()  # held for consistent reads and writes of several of the above
        self.clock: Callable[[], float] = time.monotonic
        self.used = 0.0  # time of the last use, on the clock of `Sessions`
        self.left: float | None = None  # time when the last tab was closed, on the same clock
        self.jobs = 0  # running jobs
        self.uploading: Any = None  # `upload_queue.UploadQueue` after an upload
        self.removal: Removal | None = None  # the last one, which can be undone
        self.calibrating: threading.Thread | None = None  # of its pages, see auto_choice.py
        self.over = threading.Event()  # set when it ends, or its pages took too long to calibrate
        self.base = base  # the sample corpus, for `restore_samples`

    @property
    def has_uploads(self) -> bool:
        """Whether ending it loses something that the visitor brought."""
        return bool(self.files.bytes)

    def own_documents(self) -> int:
        """The number of documents that are not of the sample corpus."""
        return len(self.collection.sources() - self.base.sources())

    def remove(self, sources: Set[str]) -> None:
        """Remove documents, which `undo` puts back until something else changes the documents."""
        with self.lock, self.collection.lock:
            sources = self.collection.sources() & sources
            self.removal = None  # one at a time, and its memory is free before the next takes some
            if not sources:
                return
            removal = Removal.of(self.collection, sources, self.base, self.clock())
            if sources == self.collection.sources():
                self.collection.clear()
            else:
                for source in sources:
                    self.collection.remove(source)
            self.removal = removal

    def undo(self) -> int:
        """Put the documents of the last removal back. Returns the number of pages, 0 if it is too late."""
        with self.lock:
            removal, self.removal = self.removal, None
        return removal.undo(self.collection) if removal else 0

    def restore_samples(self) -> int:
        """Restore removed sample pages. Returns the number restored."""
        return self.collection.merge(self.base)

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Keep the session from expiring while the context is active."""
        with self.lock:
            self.jobs += 1
        try:
            yield
        finally:
            with self.lock:
                self.jobs -= 1
                self.used = self.clock()


class Sessions:
    """All open sessions by their random id. `sweep` closes those unused for `ttl_s` seconds.

    One whose tabs are closed ends after `limits.leave_after_s` if nothing was uploaded to it. With uploads it
    waits for its visitor like an open one, but is the first to make room.

    At `limits.max_sessions`, a new session replaces one whose tabs are closed and to which nothing was
    uploaded; else one that has been idle for `limits.yield_after_s`: the one unused for longest of those
    whose tabs are closed, then of all. Otherwise `open` raises `Full`, so that newcomers cannot evict active
    sessions. The same holds among the sessions of one address, at its share of them.
    """

    def __init__(
        self,
        base: Collection,
        ttl_s: float = LIMITS.session_ttl_s,
        clock: Callable[[], float] = time.monotonic,
        limits: Limits = LIMITS,
        folder: Path | None = None,
    ) -> None:
        """folder: the upload folder, see `UploadedFiles`."""
        self.shares = Shares(limits)
        self.share = limits.share(limits.max_sessions, LEAST_SESSIONS)
        self.base, self.ttl_s, self.limits, self.folder = base, ttl_s, limits, folder
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, session_id: object) -> bool:
        return session_id in self._open

    def open(self, client: str = "") -> str:
        """Start a session of the address `client` with a copy of the sample corpus. Returns its id.

        Raises:
            Full: when the session limit is reached and no session is idle.
        """
        self.sweep()
        files = UploadedFiles(self.folder, self.limits)
        session = Session(secrets.token_urlsafe(24), self.base, files, client, self.shares)
        with self._lock:
            session.clock = self._clock
            session.used = self._clock()
            ended = self._make_room(client, session.used)
            self._open[session.id] = session
        _end(ended)
        return session.id

    def _make_room(self, client: str, now: float) -> list[Session]:
        rivals = [session for session in self._open.values() if session.client == client]
        what = f"All {self.share} sessions that one address may have"
        if len(rivals) < self.share or self.share == self.limits.max_sessions:
            rivals = list(self._open.values())
            what = f"All {self.limits.max_sessions} sessions of this server"
            if len(rivals) < self.limits.max_sessions:
                return []
        idle = [session for session in rivals if not session.jobs]
        left = [session for session in idle if session.left is not None]
        # Visitors behind one address come and go: what was left without an upload loses nothing.
        empty = [session for session in left if not session.has_uploads]
        for able, after_s in (
            (empty, 0),
            (left, self.limits.yield_after_s),
            (idle, self.limits.yield_after_s),
        ):
            oldest = min(able, key=lambda session: session.used, default=None)
            if oldest is not None and now - oldest.used >= after_s:
                return [self._open.pop(oldest.id)]
        raise Full(f"{what} are in use. Try again in a few minutes.")

    def make_memory(self) -> bool:
        """Give up what removals keep; else end the session with uploads that was left longest ago, if it has
        been idle for `limits.yield_after_s`. Returns whether there was something: memory is full.
        """
        with self._lock:
            now = self._clock()
            kept = [session for session in self._open.values() if session.removal and session.removal.held]
            for session in kept:
                session.removal = None
            if kept:
                return True
            able = [
                session
                for session in self._open.values()
                if session.left is not None
                and not session.jobs
                and session.collection.held
                and now - session.used >= self.limits.yield_after_s
            ]
            oldest = min(able, key=lambda session: session.used, default=None)
            if oldest is None:
                return False
            del self._open[oldest.id]
        _end([oldest])
        return True

    def get(self, session_id: str) -> Session:
        """The session `session_id`; counts as a use.

        Raises:
            KeyError: when it is unknown, closed or expired.
        """
        with self._lock:
            now = self._clock()
            session = self._open.get(session_id)
            if session is not None and not self._is_over(session, now):
                session.used, session.left = now, None
                return session
            self._open.pop(session_id, None)
        _end([session] if session else [])
        raise KeyError(ENDED)

    def look(self, session_id: str) -> Session | None:
        """The session `session_id` if it is open; does not count as a use."""
        with self._lock:
            session = self._open.get(session_id)
            return None if session is None or self._is_over(session, self._clock()) else session

    def _is_over(self, session: Session, now: float) -> bool:
        left, most = session.left, self.limits.leave_after_s
        if left is not None and now - left > most and not session.jobs and not session.has_uploads:
            return True
        return now - session.used > self.ttl_s and not session.jobs

    def now(self) -> float:
        """The current time on the clock of `Session.used`."""
        return self._clock()

    def at_work(self, session_id: str) -> bool:
        session = self._open.get(session_id)
        return session is not None and session.jobs > 0

    def leave(self, session_id: str) -> None:
        """Note that the last tab was closed. The session ends soon unless it is used again."""
        with self._lock:
            session = self._open.get(session_id)
            if session is not None and session.left is None:
                session.left = self._clock()

    def close(self, session_id: str) -> None:
        """End a session, free its pages and remove its files. An unknown id is ignored."""
        with self._lock:
            session = self._open.pop(session_id, None)
        _end([session] if session else [])

    def sweep(self) -> int:
        """Close expired sessions. Returns the number closed."""
        with self._lock:
            now = self._clock()
            for session in self._open.values():
                if session.removal is not None and now - session.removal.made > UNDO_S:
                    session.removal = None
            old = [session for session in self._open.values() if self._is_over(session, now)]
            for session in old:
                del self._open[session.id]
        _end(old)
        return len(old)


def _end(sessions: list[Session]) -> None:
    for session in sessions:
        session.over.set()
        session.removal = None
        if session.uploading is not None:
            session.uploading.cancel()
        session.files.clear()
