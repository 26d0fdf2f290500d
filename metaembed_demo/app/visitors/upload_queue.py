"""The uploads of a session: indexed in turn, in a thread, so that a reload does not cut them off."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from metaembed_demo.app.views import documents_tab
from metaembed_demo.collection.notices import in_lines
from metaembed_demo.collection.progress import Progress
from metaembed_demo.core.types import Problem, Upload
from metaembed_demo.encoders.base import Encoder

from .jobs import Indexed, index
from .session import Session

log = logging.getLogger(__name__)
PROGRESS_EVERY_S = 0.15  # minimum interval between progress updates
LEFT_S = 120.0  # how long uploads go on without an open tab: a reload, a lost connection
PACE_AFTER_S = 1.0  # how long the pace is measured before it is told


@dataclass(frozen=True)
class Batch:
    """Files uploaded together, what was refused of them, and the encoder of the tab that sent them."""

    files: Sequence[Upload]
    refused: Sequence[Problem]
    encoder: Encoder


@dataclass(frozen=True)
class State:
    """What the visitor is told. ended: batches so far, of all uploads of the session."""

    news: str
    ended: int
    busy: bool


class UploadQueue:
    """Batches in the order in which they came. The tabs of the session follow it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.stop = threading.Event()  # cancels what is being indexed and what waits
        self._lock = threading.Lock()
        self._waiting: deque[Batch] = deque()
        self._idle = threading.Event()
        self._idle.set()
        self._outcomes: list[str] = []  # HTML, since the queue was empty
        self._ended = 0
        self._now: tuple[Progress, float] | None = None  # and when the batch began
        self._opening = 0  # files

    @property
    def busy(self) -> bool:
        return not self._idle.is_set()

    def add(self, files: Sequence[Upload], refused: Sequence[Problem], encoder: Encoder) -> None:
        """Index `files` after those that came before."""
        if not files and not refused:
            return
        with self._lock:
            self._waiting.append(Batch(files, refused, encoder))
            if self.busy:
                return
            self._idle.clear()
            self.stop.clear()
            self._outcomes = []
        run = contextvars.copy_context().run  # on ZeroGPU the request is part of it
        threading.Thread(target=run, args=(self._run,), daemon=True, name="uploads").start()

    def cancel(self) -> None:
        """Stop after the page that is being read. What was done stays."""
        self.stop.set()

    def state(self) -> State:
        with self._lock:
            return State("".join(self._outcomes) + self._progress(), self._ended, self.busy)

    def follow(self, ended: int) -> Iterator[State]:
        """The state whenever it changes, until all is done; nothing if no batch ended since `ended`."""
        last = None
        while True:
            state = self.state()
            if state != last and (state.busy or state.ended > ended):
                last = state
                yield state
            if not state.busy:
                return
            self._idle.wait(PROGRESS_EVERY_S)

    def _progress(self) -> str:
        if not self.busy:
            return ""
        then = [file.name for batch in self._waiting for file in batch.files]
        if self._now is None:
            return documents_tab.waiting(self._opening, then)
        at, began = self._now
        took = time.monotonic() - began
        left = took / at.done * (at.total - at.done) if at.done and took > PACE_AFTER_S else None
        return documents_tab.progress(at.done, at.total, at.source, at.number, left, then)

    def _run(self) -> None:
        with self.session.at_work():
            while batch := self._next():
                try:
                    told = documents_tab.outcome(_outcome(self._index(batch)))
                except Exception as error:  # the queue must go on, or the next upload would wait for ever
                    log.exception("Indexing ended early")
                    told = documents_tab.failed(type(error).__name__)
                self.session.files.release(batch.files)
                with self._lock:
                    self._outcomes.append(told)
                    self._ended += 1

    def _next(self) -> Batch | None:
        with self._lock:
            self._now = None
            if self.stop.is_set():  # a cancel is for all
                for batch in self._waiting:
                    self.session.files.release(batch.files)
                self._waiting.clear()
            if not self._waiting:
                self._idle.set()
                return None
            batch = self._waiting.popleft()
            self._opening = len(batch.files)
            return batch

    def _index(self, batch: Batch) -> Indexed:
        began, session = None, self.session
        with session.lock:  # a switch to another encoder is over, or waits for this batch
            encoder = session.tools.encoder if session.tools else batch.encoder
        for at in index(session, encoder, batch.files, batch.refused, self.stop):
            if isinstance(at, Indexed):
                return at
            began = began or time.monotonic()
            with self._lock:
                self._now = at, began
            if session.left is not None and session.clock() - session.left > LEFT_S:
                self.stop.set()
        raise AssertionError("indexing ends with its result")


def uploads_of(session: Session) -> UploadQueue:
    """The queue of a session."""
    with session.lock:
        if session.uploading is None:
            session.uploading = UploadQueue(session)
        queue: UploadQueue = session.uploading
        return queue


def _outcome(ended: Indexed) -> documents_tab.Outcome:
    report = ended.report
    counts = (report.added, tuple(report.duplicates), tuple(report.problems), report.seconds)
    return documents_tab.Outcome(
        *counts,
        notices=tuple(in_lines(report.notices)),
        blank=report.blank,
        cancelled=ended.cancelled,
        error=ended.error,
    )
