"""Whose session a request belongs to: a browser's by its cookie, a program's by the session's id."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import threading
from collections.abc import Container
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from metaembed_demo.collection.collection import Collection
from metaembed_demo.core.config import LIMITS, Limits

from . import uploads
from .session import Session, Sessions
from .visitor import Tools, Visit

SWEEP_S = 30  # at most, between two looks for what has ended
MOST_TABS = 16  # of one visitor
log = logging.getLogger(__name__)


class Kept(Protocol):
    """What the web framework keeps of browser tabs and calls, by its own name of each."""

    def drop(self, name: str | None) -> None: ...

    def sweep(self, tabs: Container[str]) -> None: ...


class Visits:
    """Every open session, and what each of its tabs shows. A session that ends takes its pages and files
    along.

    A browser names its visitor by a cookie, and Gradio names the tab; a program names its session by id. A
    tab alone opens nothing.
    """

    def __init__(
        self, tools: Tools, base: Collection, folder: Path | None = None, limits: Limits = LIMITS
    ) -> None:
        """folder: where uploads arrive."""
        self.tools, self.base, self.folder, self.limits = tools, base, folder, limits
        self.sessions = Sessions(base, limits.session_ttl_s, limits=limits, folder=folder)
        self.kept: Kept | None = None  # what the web framework keeps of tabs; the page sets it
        self._lock = threading.RLock()
        self._session_ids: dict[str, str] = {}  # visitor -> session id
        self._visits: dict[str, dict[str, Visit]] = {}  # session id -> tab -> visit; "" is a program's
        self._tabs: dict[str, str] = {}  # open tab -> session id

    def get(self, visitor: str, tab: str) -> Visit:
        """The visit of a visitor's `tab`, in a session of their own, new where they have none.

        Raises:
            Full: when there are too many sessions.
        """
        with self._lock:  # the first two events of a browser may come at once
            try:
                session = self.sessions.get(self._session_ids.get(visitor, ""))
            except KeyError:
                session = self.sessions.get(self.sessions.open())
                self._session_ids[visitor] = session.id
                self._forget_ended()
            self._tabs[tab] = session.id
            return self._visit(session, tab)

    def open(self) -> Visit:
        """A new session for a program. Raises `Full` where there are too many."""
        with self._lock:
            session = self.sessions.get(self.sessions.open())
            self._forget_ended()
            return self._visit(session, "")

    def known(self, session_id: str | None) -> Visit:
        """A program's visit of `session_id`. Raises KeyError when that has ended or never was."""
        with self._lock:
            return self._visit(self.sessions.get(session_id or ""), "")

    def session_of(self, visitor: str | None) -> Session | None:
        """The session of a visitor, if there is one; looking makes none, and is no use of it."""
        return self.sessions.look(self._session_ids.get(visitor or "", ""))

    def is_anothers(self, visitor: str, tab: str) -> bool:
        """Whether `tab` shows another visitor's open session, as where a browser has not kept its cookie."""
        session = self.sessions.look(self._tabs.get(tab, ""))
        return session is not None and session.id != self._session_ids.get(visitor)

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
        visit.follow()
        return visit

    def close(self, session_id: str | None) -> None:
        """End a session."""
        self.sessions.close(session_id or "")
        self._forget_ended()

    def left(self, tab: str | None) -> None:
        """The tab was closed, or lost its connection; with its last tab, a session is left."""
        with self._lock:
            session_id = self._tabs.pop(tab or "", "")
            for name, visit in self._visits.get(session_id, {}).items():
                visit.used = self.sessions.now() if name == tab else visit.used
            if session_id not in self._tabs.values():
                self.sessions.leave(session_id)

    def called(self, name: str | None) -> None:
        """A call of the API was answered: what Gradio keeps of it goes, unless a tab has that name."""
        if self.kept and name not in self._tabs:
            self.kept.drop(name)

    # What has ended

    def watch(self) -> None:
        """From now on, clear away what has ended, even when nobody comes."""
        shortest = min(self.limits.session_ttl_s, self.limits.leave_after_s)
        every = max(0.2, min(SWEEP_S, shortest / 4))
        threading.Thread(target=self._watch, args=(every,), daemon=True, name="sweep").start()

    def _watch(self, every_s: float) -> None:
        pause = threading.Event()
        while not pause.wait(every_s):
            try:
                self.sweep()
                trim()
            except Exception:  # the next round may do better, and without one nothing is ever cleared
                log.exception("Ended sessions could not be cleared away")

    def sweep(self) -> None:
        """Clear away sessions that have ended, and uploads that no session took."""
        self.sessions.sweep()
        self._forget_ended()
        if self.kept:
            self.kept.sweep(dict(self._tabs))
        if self.folder is not None:
            uploads.sweep(self.folder, self.limits.session_ttl_s)

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
        """A tab that was closed a while ago does not come back; one that lost its connection does, at once.

        Where no tab is left, the session ends as a whole, and all that was derived from its pages with it.
        """
        for session_id in set(self._tabs.values()):
            tabs, now = self._visits.get(session_id, {}), self.sessions.now()
            for name, visit in list(tabs.items()):
                idle = now - visit.used > self.limits.leave_after_s
                if name and name not in self._tabs and idle and not self.sessions.at_work(session_id):
                    del tabs[name]

    def _stop(self, visit: Visit) -> None:
        """Stop what a tab started."""
        for stop in (visit.stop, visit.survey.stop, visit.panel.stop, visit.storing.stop):
            stop.set()

    def _forget_pages(self, visit: Visit) -> None:
        """Forget what was derived from a visitor's pages."""
        with visit.collection.lock:
            own = [page_id for page_id in visit.collection.pages if page_id not in self.base.pages]
        if visit.tools.explainer:
            visit.tools.explainer.forget(own)
        for page_id in own:
            with contextlib.suppress(KeyError):
                del visit.tools.habits[page_id]


def trim() -> bool:
    """Give freed memory back. Returns whether there was any; False where the C library cannot."""
    found = _trimmer()
    return bool(found and found(0))


@cache
def _trimmer() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):  # no glibc: musl, macOS, Windows
        return None
