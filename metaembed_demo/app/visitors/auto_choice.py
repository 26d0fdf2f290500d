"""One tab's choice that the budget sets itself, and the calibration of its pages in the background."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator
from dataclasses import dataclass

from metaembed_demo.collection.calibration import Auto
from metaembed_demo.collection.collection import Collection
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.evaluation.auto_study import calibrating
from metaembed_demo.evaluation.sample_calibrations import QUERIES

from .jobs import in_turn
from .session import Session

log = logging.getLogger(__name__)


@dataclass
class AutoChoice:
    """Whether the budget sets itself."""

    on: bool = False

    def of(self, session: Session, encoder: Encoder) -> Auto | None:
        """How it does for the session's pages, which are calibrated behind if need be; None if it is off."""
        return auto_of(session, encoder) if self.on else None


def auto_of(session: Session, encoder: Encoder) -> Auto:
    """How the budget sets itself for a session's pages, which are calibrated behind if need be."""
    mine = session.collection
    auto = Auto.of_pages(mine.index, mine.calibrations, session.base.calibrations)
    if auto.wanted:
        calibrate_behind(session, encoder)
    return auto


def calibrate_behind(session: Session, encoder: Encoder) -> threading.Thread:
    """Calibrate a session's pages in a thread, each query in turn with the jobs of others; once at a time."""
    with session.lock:
        thread = session.calibrating
        if thread is None or not thread.is_alive():
            given = session, session.collection, encoder
            thread = threading.Thread(target=_calibrate, args=given, daemon=True, name="calibrate")
            session.calibrating = thread
            thread.start()
    return thread


def _calibrate(session: Session, collection: Collection, encoder: Encoder) -> None:
    try:
        for _ in in_turn(session, session.over, _keeping(collection, encoder)):
            if session.over.is_set():
                return
    except Exception:  # nobody waits for it; searches go on without a calibration
        log.exception("The pages of a session could not be calibrated")


def _keeping(collection: Collection, encoder: Encoder) -> Generator[None, None, None]:
    kind = collection.index.storage
    found = yield from calibrating(collection, encoder, QUERIES)
    with collection.lock:
        collection.calibrations.keep(kind, found, abs(len(collection) - found.pages))
