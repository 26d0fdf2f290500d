"""Jobs shared by the page and the API: indexing files, reading query pictures, time limits."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from PIL.Image import Image

from metaembed_demo.collection.indexing import index_files
from metaembed_demo.collection.progress import Progress, Report
from metaembed_demo.core.config import LIMITS, Limits
from metaembed_demo.core.types import Problem, Upload
from metaembed_demo.documents.sandbox.client import read_picture
from metaembed_demo.encoders.base import Encoder

from .session import Session
from .shares import Busy, Turns

PICTURE_WAIT_S = 15.0  # for another picture of the same address
log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Indexed:
    """Result of indexing: the report, the error that stopped it, if any, and whether it was cancelled."""

    report: Report
    error: str
    cancelled: bool


def index(
    session: Session,
    encoder: Encoder,
    files: Sequence[Upload],
    refused: Sequence[Problem],
    stop: threading.Event,
    limits: Limits = LIMITS,
) -> Iterator[Progress | Indexed]:
    """Index `files` until done, until `stop` is set, or until the job's time limit. Yields `Indexed` last.

    The pages are read in turn with those of other visitors. Pages read before an error or a stop are kept.
    `refused` is added to the report's problems.
    """
    report, error = Report(), ""
    for problem in refused:
        report.note(problem)
    indexing = index_files(session.collection, files, encoder, report, limits)
    pages = session.shares.jobs.each(session.client, _until(stop, indexing), stop)
    try:
        with session.shares.indexing.turn(session.client, stop):
            ends = time.monotonic() + limits.seconds_per_job
            for at in pages:
                if stop.is_set():
                    break
                if time.monotonic() > ends:
                    error = out_of_time(at.source, limits)
                    break
                yield at
    except Exception as stopped:
        if not isinstance(stopped, Busy):
            log.exception("Indexing stopped early")
        error = str(stopped) or type(stopped).__name__
    finally:  # closing the generator indexes the pages read so far
        pages.close()
        indexing.close()
    yield Indexed(report, error, stop.is_set() and not report.finished)


def _until(stop: threading.Event, steps: Iterator[T]) -> Iterator[T]:
    while not stop.is_set() and (step := next(steps, None)) is not None:
        yield step


def in_turn(
    session: Session, stop: threading.Event, steps: Iterator[T], limits: Limits = LIMITS
) -> Iterator[T]:
    """Run a long job as `job`, its steps in turn with those of other visitors."""
    with job(session, stop, limits):
        yield from session.shares.jobs.each(session.client, steps, stop)


@contextlib.contextmanager
def job(session: Session, stop: threading.Event, limits: Limits = LIMITS) -> Iterator[None]:
    """Context of a long job: the session does not expire, and `stop` is set at the time limit."""
    timer = threading.Timer(limits.seconds_per_job, stop.set)
    timer.daemon = True
    timer.start()
    try:
        with session.at_work():
            yield
    finally:
        timer.cancel()


def out_of_time(source: str, limits: Limits) -> str:
    """The message for indexing that reached its time limit at `source`."""
    return (
        f"it took more than {limits.seconds_per_job:,g} s, at {source}. Add the rest in smaller batches, or "
        "raise METAEMBED_SECONDS_PER_JOB."
    )


def picture(file: Upload, turns: Turns, client: str, limits: Limits = LIMITS) -> Image:
    """Read a query picture, with the same checks as for an uploaded file and less time.

    turns: `Shares.pictures`, in which the address `client` waits for its pictures before this one.

    Raises:
        ValueError: when it cannot be read; `Busy` when too many of that address are waiting.
    """
    with turns.turn(client, seconds=PICTURE_WAIT_S):
        found = read_picture(file, limits)
    if isinstance(found, Problem):
        raise ValueError(found.message)
    if found is None or found.image is None:
        raise ValueError("The picture is empty. Drop another one.")
    return found.image
