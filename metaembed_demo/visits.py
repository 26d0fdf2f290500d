"""The visits behind the session ids that browsers hold."""

from __future__ import annotations

import time

from .collection import Collection
from .session import Sessions
from .visit import Tools, Visit


class Visits:
    """The visits behind the session ids that browsers hold."""

    def __init__(self, tools: Tools, base: Collection) -> None:
        self.tools, self.sessions = tools, Sessions(base)
        self._visits: dict[str, Visit] = {}

    def open(self) -> Visit:
        visit = Visit(self.tools, self.sessions.get(self.sessions.open()))
        self._visits[visit.session.id] = visit
        self._forget_ended()
        return visit

    def get(self, session_id: str | None) -> Visit:
        """The visit of `session_id`; a new one where that has ended or never was."""
        try:
            session = self.sessions.get(session_id or "")
        except KeyError:
            return self.open()
        visit = self._visits[session.id]
        visit.used = time.monotonic()
        return visit

    def close(self, session_id: str | None) -> None:
        """End a visit, as when the browser tab is closed."""
        visit = self._visits.pop(session_id or "", None)
        if visit:
            visit.stop.set()
            self.sessions.close(visit.session.id)

    def _forget_ended(self) -> None:
        """Drop visits as `Sessions` drops sessions: unused for too long."""
        now = time.monotonic()
        for session_id, visit in list(self._visits.items()):
            if now - visit.used > self.sessions.ttl_s:
                self._visits.pop(session_id, None)
