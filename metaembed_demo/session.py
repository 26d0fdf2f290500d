"""Sessions: each browser session has a collection of its own, which starts as the sample corpus."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable

from .collection import Collection
from .config import LIMITS
from .records import STOPS, Budget, Trace


class Session:
    """One user's pages and last search. The page in the browser keeps only `id`."""

    def __init__(self, session_id: str, base: Collection) -> None:
        self.id = session_id
        self.collection = base.copy()
        self.trace: Trace | None = None
        self.chosen: str | None = None  # page id of the hit shown large
        self.budget: Budget = STOPS[-1]
        self.lock = threading.RLock()  # hold while reading and then setting several of the above
        self.used = 0.0  # on the clock of `Sessions`
        self.base = base  # what `restore_samples` brings back

    def restore_samples(self) -> int:
        """Bring back the sample pages that were removed. Returns how many."""
        return self.collection.merge(self.base)

    def forget_search(self) -> None:
        """Drop the last search, as after a change of the pages."""
        with self.lock:
            self.trace, self.chosen = None, None


class Sessions:
    """All open sessions, by an id that cannot be guessed. `sweep` closes those unused for `ttl_s` seconds."""

    def __init__(
        self,
        base: Collection,
        ttl_s: float = LIMITS.session_ttl_s,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.base, self.ttl_s = base, ttl_s
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._open)

    def open(self) -> str:
        """Start a session with a copy of the sample corpus. Returns its id."""
        self.sweep()
        session = Session(secrets.token_urlsafe(24), self.base)
        session.used = self._clock()
        with self._lock:
            self._open[session.id] = session
        return session.id

    def get(self, session_id: str) -> Session:
        """The session called `session_id`, which counts as a use of it.

        Raises:
            KeyError: when it was closed, has expired or never was.
        """
        now = self._clock()
        with self._lock:
            session = self._open.get(session_id)
            if session is None or now - session.used > self.ttl_s:
                self._open.pop(session_id, None)
                raise KeyError("This session has ended. Reload the page to start a new one.")
            session.used = now
            return session

    def close(self, session_id: str) -> None:
        """End a session and free its pages; one that is gone already is no error."""
        with self._lock:
            self._open.pop(session_id, None)

    def sweep(self) -> int:
        """Close sessions that have expired. Returns how many."""
        now = self._clock()
        with self._lock:
            old = [key for key, session in self._open.items() if now - session.used > self.ttl_s]
            for key in old:
                del self._open[key]
        return len(old)
