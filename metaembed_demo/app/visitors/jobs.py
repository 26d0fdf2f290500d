"""Jobs shared by the page and the API: indexing files, reading query pictures, time limits."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL.Image import Image

from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.indexing import index_files
from metaembed_demo.collection.progress import Progress, Report
from metaembed_demo.core.config import LIMITS, Limits
from metaembed_demo.core.types import Problem, Upload
from metaembed_demo.documents.sandbox.client import read_picture
from metaembed_demo.encoders.base import Encoder

from .session import Session

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Indexed:
    """Result of indexing: the report, the error that stopped it, if any, and whether it was cancelled."""

    report: Report
    error: str
    cancelled: bool


def index(
    collection: Collection,
    encoder: Encoder,
    files: Sequence[Upload],
    refused: Sequence[Problem],
    stop: threading.Event,
    limits: Limits = LIMITS,
) -> Iterator[Progress | Indexed]:
    """Index `files` until done, until `stop` is set, or until the job's time limit. Yields `Indexed` last.

    Pages read before an error or a stop are kept. `refused` is added to the report's problems.
    """
    report, error = Report(), ""
    for problem in refused:
        report.note(problem)
    ends = time.monotonic() + limits.seconds_per_job
    indexing = index_files(collection, files, encoder, report, limits)
    try:
        for at in indexing:
            if stop.is_set():
                break
            if time.monotonic() > ends:
                error = out_of_time(at.source, limits)
                break
            yield at
    except Exception as stopped:
        log.exception("Indexing stopped early")
        error = str(stopped) or type(stopped).__name__
    finally:  # closing the generator indexes the pages read so far
        indexing.close()
    yield Indexed(report, error, stop.is_set() and not report.finished)


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


def picture(file: Upload, limits: Limits = LIMITS) -> Image:
    """Read a query picture, with the same checks as for an uploaded file.

    Raises:
        ValueError: when it cannot be read.
    """
    found = read_picture(file, limits)
    if isinstance(found, Problem):
        raise ValueError(found.message)
    if found is None or found.image is None:
        raise ValueError("The picture is empty. Drop another one.")
    return found.image
