"""What visitors hand in, by the page or by the API: files to index, pictures to ask with."""

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
    """How indexing ended: the report; what stopped it early, if something did; whether it was cancelled."""

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
    """Index `files` until done, until `stop` is set, or until the time for a job is up; `Indexed` comes last.

    Whatever goes wrong, the pages read until then stay. `refused` joins the report's problems.
    """
    report, error = Report(problems=list(refused)), ""
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
    finally:  # closing keeps what was read
        indexing.close()
    yield Indexed(report, error, stop.is_set() and not report.finished)


@contextlib.contextmanager
def job(session: Session, stop: threading.Event, limits: Limits = LIMITS) -> Iterator[None]:
    """Work that takes a while: the session stays meanwhile, and `stop` is set when the time is up."""
    timer = threading.Timer(limits.seconds_per_job, stop.set)
    timer.daemon = True
    timer.start()
    try:
        with session.at_work():
            yield
    finally:
        timer.cancel()


def out_of_time(source: str, limits: Limits) -> str:
    """Why indexing ended at `source`."""
    return (
        f"it took more than {limits.seconds_per_job:,g} s, at {source}. Add the rest in smaller batches, or "
        "raise METAEMBED_SECONDS_PER_JOB."
    )


def picture(file: Upload, limits: Limits = LIMITS) -> Image:
    """A picture to ask with, through the same checks as an uploaded file.

    Raises:
        ValueError: when it cannot be read; the message says why.
    """
    found = read_picture(file, limits)
    if isinstance(found, Problem):
        raise ValueError(found.message)
    if found is None or found.image is None:
        raise ValueError("The picture is empty. Drop another one.")
    return found.image
