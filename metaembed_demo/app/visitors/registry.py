"""The visits behind the session ids that browsers and programs hold."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import threading
from functools import cache
from pathlib import Path
from typing import Any

from metaembed_demo.collection.collection import Collection
from metaembed_demo.core.config import LIMITS, Limits

from . import registry, uploads
from .gradio_state import States
from .session import Sessions
from .visitor import Tools, Visit

SWEEP_S = 30  # at most, between two looks for what has ended
log = logging.getLogger(__name__)


class Visits:
    """The visits behind the session ids. A session that ends takes its pages and files with it."""

    def __init__(
        self, tools: Tools, base: Collection, folder: Path | None = None, limits: Limits = LIMITS
    ) -> None:
        """folder: where uploads arrive."""
        self.tools, self.base, self.folder, self.limits = tools, base, folder, limits
        self.sessions = Sessions(base, limits.session_ttl_s, limits=limits, folder=folder)
        self.states = States()  # the page sets its own
        self._opening = threading.Lock()
        self._visits: dict[str, Visit] = {}
        self._tabs: dict[str, str] = {}  # Gradio's name of a browser tab -> session id

    def open(self) -> Visit:
        """A new visit. Raises session.Full where there are too many."""
        visit = Visit(self.tools, self.sessions.get(self.sessions.open()))
        self._visits[visit.session.id] = visit
        self._forget_ended()
        return visit

    def get(self, session_id: str | None, tab: str | None = None) -> Visit:
        """The visit of `session_id`; else that of the browser `tab`; else a new one. Raises as `open`.

        A visitor may ask before the page has told its tab the session: both belong to one visit.
        """
        with contextlib.suppress(KeyError):
            return self.known(session_id)
        with self._opening:  # the first two events of a tab may come at once
            with contextlib.suppress(KeyError):
                return self.known(self._tabs.get(tab or ""))
            visit = self.open()
            self.arrived(tab, visit)
            return visit

    def known(self, session_id: str | None) -> Visit:
        """The visit of `session_id`. Raises KeyError when that has ended or never was."""
        return self._visits[self.sessions.get(session_id or "").id]

    def close(self, session_id: str | None) -> None:
        """End a visit."""
        self.sessions.close(session_id or "")
        self._forget_ended()

    # Browser tabs

    def arrived(self, tab: str | None, visit: Visit) -> None:
        """Remember whose tab that is."""
        if tab:
            self._tabs[tab] = visit.session.id

    def left(self, tab: str | None) -> None:
        """The tab was closed, or lost its connection."""
        session_id = self._tabs.get(tab or "")
        if session_id:
            self.sessions.leave(session_id)

    def called(self, name: str | None) -> None:
        """A call of the API was answered: what Gradio keeps of it goes, unless a tab has that name."""
        if name not in self._tabs:
            self.states.drop(name)

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
                registry.trim()
            except Exception:  # the next round may do better, and without one nothing is ever cleared
                log.exception("Ended sessions could not be cleared away")

    def sweep(self) -> None:
        """Clear away sessions that have ended, and uploads that no session took."""
        self.sessions.sweep()
        self._forget_ended()
        self.states.sweep(dict(self._tabs))
        if self.folder is not None:
            uploads.sweep(self.folder, self.limits.session_ttl_s)

    def _forget_ended(self) -> None:
        for session_id, visit in list(self._visits.items()):
            if session_id not in self.sessions and self._visits.pop(session_id, None) is not None:
                self._end(visit)
        for tab, session_id in list(self._tabs.items()):
            if session_id not in self._visits:
                self._tabs.pop(tab, None)

    def _end(self, visit: Visit) -> None:
        """Stop what the visitor started, and forget what was derived from their pages."""
        for stop in (visit.stop, visit.survey.stop, visit.panel.stop, visit.storing.stop):
            stop.set()
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
