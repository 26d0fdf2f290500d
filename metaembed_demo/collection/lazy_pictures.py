"""Drawing: a page picture that is rendered from the page's file on first use instead of being stored."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable

from PIL import Image

from metaembed_demo.core.types import Upload
from metaembed_demo.documents.loader import picture_of

from .stored_page import StoredPage, jpeg_of, view_of

AT_ONCE = 2  # pages drawn concurrently: each starts a process, and a result list requests ten
NICE = 10  # niceness of the thread that draws in the background
_turns = threading.BoundedSemaphore(AT_ONCE)
log = logging.getLogger(__name__)


class Drawing:
    """Page `number` of `file`, which must not move. Safe to use from several threads.

    The JPEG, about 100 kB per page, is cached in this object.
    """

    def __init__(self, file: Upload, number: int, width: int, height: int) -> None:
        self._file, self._number, self._size = file, number, (width, height)
        self._lock = threading.Lock()
        self._drawn: bytes | None = None

    def jpeg(self) -> bytes:
        """A JPEG of width x height pixels. Raises ValueError when the file is missing or cannot be drawn."""
        with self._lock:
            if self._drawn is None:
                with _turns:
                    image = view_of(picture_of(self._file, self._number))
                if image.size != self._size:  # the render limits changed since the page was read
                    image = image.resize(self._size, Image.Resampling.LANCZOS)
                self._drawn = jpeg_of(image)
            return self._drawn


def draw_behind(pages: Iterable[StoredPage]) -> threading.Thread:
    """Make the pictures and thumbnails of `pages` ahead of use, in a daemon thread of low priority.

    The thread ends at the first picture that cannot be made, which is logged.
    """
    thread = threading.Thread(target=_draw, args=(list(pages),), name="metaembed-draw", daemon=True)
    thread.start()
    return thread


def _draw(pages: list[StoredPage]) -> None:
    if hasattr(os, "sched_getaffinity"):  # Linux, where niceness is per thread and inherited by children
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
    try:
        for page in pages:
            page.picture  # noqa: B018  # first, because cached_property in Python 3.11 locks all instances
            page.thumbnail  # noqa: B018
    except (ValueError, OSError) as error:
        log.warning("The pictures of pages are drawn when they are asked for: %s", error)
