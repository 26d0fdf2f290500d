"""Maps requests to sessions: browsers by their cookie, API clients by the session id."""

from __future__ import annotations

import ctypes
import logging
import threading
from collections.abc import Container
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from metaembed_demo.collection import memory
from metaembed_demo.collection.collection import Collection
from metaembed_demo.core.config import LIMITS, Limits

from . import uploads
from .session import Session, Sessions
from .tools import Tools
from .visitor import Visit

SWEEP_S = 30  # maximum interval between sweeps
MOST_TABS = 16  # per visitor
log = logging.getLogger(__name__)


class Kept(Protocol):
    """The web framework's state per browser tab and API call, by its own names."""

    def drop(self, name: str | None) -> None: ...

    def sweep(self, tabs: Container[str]) -> None: ...


class Visits:
    """All open sessions and their tabs. When a session ends, its pages and files are removed.

    A browser is identified by its visitor cookie and Gradio's tab name, an API client by its session id. A
    tab name alone gives no access.
    """

    def __init__(
        self, tools: Tools, base: Collection, folder: Path | None = None, limits: Limits = LIMITS
    ) -> None:
        """folder: the upload folder."""
        self.tools, self.base, self.folder, self.limits = tools, base, folder, limits
        self.sessions = Sessions(base, limits.session_ttl_s, limits=limits, folder=folder)
        self.shares = self.sessions.shares
        self.kept: Kept | None = None  # set by the page
        self._lock = threading.RLock()
        self._session_ids: dict[str, str] = {}  # visitor -> session id
        self._visits: dict[str, dict[str, Visit]] = {}  # session id -> tab -> visit; tab "" is an API client
        self._tabs: dict[str, str] = {}  # open tab -> session id
        memory.ask_when_full(self)

    def get(self, visitor: str, tab: str, client: str = "") -> Visit:
        """The visit of a visitor's `tab`, in their session, which is created if needed, for `client`.

        Raises:
            Full: when there are too many sessions.
        """
        with self._lock:  # the first two events of a browser may arrive concurrently
            try:
                session = self.sessions.get(self._session_ids.get(visitor, ""))
            except KeyError:
                session = self.sessions.get(self.sessions.open(client))
                self._session_ids[visitor] = session.id
                self._forget_ended()
            self._tabs[tab] = session.id
            visit = self._visit(session, tab)
        visit.follow()  # may encode a query, so not under the lock
        return visit

    def open(self, client: str = "") -> Visit:
        """A new session for an API client at the address `client`. Raises `Full` when there are too many."""
        with self._lock:
            session = self.sessions.get(self.sessions.open(client))
            self._forget_ended()
            return self._visit(session, "")

    def known(self, session_id: str | None) -> Visit:
        """The visit of an API client. Raises KeyError when `session_id` is unknown or has ended."""
        with self._lock:
            visit = self._visit(self.sessions.get(session_id or ""), "")
        visit.follow()
        return visit

    def session_of(self, visitor: str | None) -> Session | None:
        """The session of a visitor, or None. Does not create one and does not count as a use."""
        return self.sessions.look(self._session_ids.get(visitor or "", ""))

    def is_anothers(self, visitor: str, tab: str) -> bool:
        """Whether `tab` belongs to another visitor's open session, as when a browser rejects the cookie."""
        session = self.sessions.look(self._tabs.get(tab, ""))
        return session is not None and session.id != self._session_ids.get(visitor)

    def before(self, visit: Visit, mark: str) -> Visit | None:
        """The tab of the same session that had `mark`, such as before a reload. None if there is none.

        A mark opens nothing by itself: it is looked for among the visitor's own tabs alone.
        """
        tabs = self.tabs_of(visit.session.id)
        return next((each for each in tabs if each.mark == mark and each is not visit), None)

    def tabs_of(self, session_id: str) -> list[Visit]:
        with self._lock:
            return list(self._visits.get(session_id, {}).values())

    def _visit(self, session: Session, tab: str) -> Visit:
        tabs = self._visits.setdefault(session.id, {})
        if tab not in tabs:
            if len(tabs) >= MOST_TABS:
                oldest = min(tabs, key=lambda name: tabs[name].used)
                self._stop(tabs.pop(oldest))
                self._tabs.pop(oldest, None)
            tabs[tab] = Visit(session.tools or self.tools, session)
        visit = tabs[tab]
        visit.used = session.used
        return visit

    def close(self, session_id: str | None) -> None:
        """End a session."""
        self.sessions.close(session_id or "")
        self._forget_ended()

    def left(self, tab: str | None) -> None:
        """Note that a tab was closed or lost its connection."""
        with self._lock:
            session_id = self._tabs.pop(tab or "", "")
            for name, visit in self._visits.get(session_id, {}).items():
                visit.used = self.sessions.now() if name == tab else visit.used
            if session_id not in self._tabs.values():
                self.sessions.leave(session_id)

    def called(self, name: str | None) -> None:
        """Drop Gradio's state of a finished API call, unless `name` is a tab."""
        if self.kept and name not in self._tabs:
            self.kept.drop(name)

    # Cleaning up

    def make_memory(self) -> bool:
        """End a session that its visitor left, because memory is full. Returns whether there was one."""
        ended = self.sessions.make_memory()
        self._forget_ended()
        return ended

    def watch(self) -> None:
        """Start a thread that sweeps regularly, so that cleaning up does not depend on requests."""
        shortest = min(self.limits.session_ttl_s, self.limits.leave_after_s)
        every = max(0.2, min(SWEEP_S, shortest / 4))
        threading.Thread(target=self._watch, args=(every,), daemon=True, name="sweep").start()

    def _watch(self, every_s: float) -> None:
        pause = threading.Event()
        while not pause.wait(every_s):
            try:
                self.sweep()
                trim()
            except Exception:  # the thread must survive, or nothing is ever cleaned up
                log.exception("Ended sessions could not be cleared away")

    def sweep(self) -> None:
        """Remove expired sessions, and uploads that no session holds."""
        self.sessions.sweep()
        self._forget_ended()
        if self.kept:
            self.kept.sweep(dict(self._tabs))
        if self.folder is not None:
            uploads.sweep(self.folder, min(self.limits.unclaimed_s, self.limits.session_ttl_s))

    def _forget_ended(self) -> None:
        with self._lock:
            ended = {each: self._visits.pop(each) for each in list(self._visits) if each not in self.sessions}
            for names in (self._tabs, self._session_ids):
                for name in [name for name, each in names.items() if each not in self.sessions]:
                    names.pop(name, None)
            self._drop_closed_tabs()
        for tabs in ended.values():
            for visit in tabs.values():
                self._stop(visit)
                self._forget_pages(visit)

    def _drop_closed_tabs(self) -> None:
        """Drop tabs closed for `leave_after_s`. A tab that only lost its connection reconnects sooner."""
        for session_id in set(self._tabs.values()):
            tabs, now = self._visits.get(session_id, {}), self.sessions.now()
            for name, visit in list(tabs.items()):
                idle = now - visit.used > self.limits.leave_after_s
                if name and name not in self._tabs and idle and not self.sessions.at_work(session_id):
                    del tabs[name]

    def _stop(self, visit: Visit) -> None:
        """Stop a tab's running jobs."""
        for stop in (visit.stop, visit.study.stop, visit.explanation_tabs.stop, visit.storage_choice.stop):
            stop.set()

    def _forget_pages(self, visit: Visit) -> None:
        """Drop cached data derived from a visitor's pages."""
        with visit.collection.lock:
            pages = list(visit.collection.pages.values())
        visit.tools.forget(visit.session.base, pages)


def trim() -> bool:
    """Return freed memory to the system. Returns whether any was; False without glibc."""
    found = _trimmer()
    return bool(found and found(0))


@cache
def _trimmer() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):  # no glibc: musl, macOS, Windows
        return None
