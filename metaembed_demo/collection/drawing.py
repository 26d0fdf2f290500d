"""Drawing: a page's picture that is not kept but drawn from the page's file when it is first asked for."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable

from PIL import Image

from metaembed_demo.core.types import Upload
from metaembed_demo.documents.loader import picture_of

from .stored_page import StoredPage, jpeg_of, view_of

AT_ONCE = 2  # pages drawn together: each starts a process, and visitors ask for ten at a time
NICE = 10  # how far the thread that draws beforehand stands back
_turns = threading.BoundedSemaphore(AT_ONCE)
log = logging.getLogger(__name__)


class Drawing:
    """Page `number` of `file`, which must stay where it is. Safe to use from several threads.

    Once drawn the JPEG is kept, about 100 kB a page; all who hold this very object share it.
    """

    def __init__(self, file: Upload, number: int, width: int, height: int) -> None:
        self._file, self._number, self._size = file, number, (width, height)
        self._lock = threading.Lock()
        self._drawn: bytes | None = None

    def jpeg(self) -> bytes:
        """A JPEG of width x height pixels. Raises ValueError when the file is gone or cannot be drawn."""
        with self._lock:
            if self._drawn is None:
                with _turns:
                    image = view_of(picture_of(self._file, self._number))
                if image.size != self._size:  # drawn under other limits than when the page was read
                    image = image.resize(self._size, Image.Resampling.LANCZOS)
                self._drawn = jpeg_of(image)
            return self._drawn


def draw_behind(pages: Iterable[StoredPage]) -> threading.Thread:
    """Make the pictures and thumbnails of `pages` in a thread of low priority, so that nobody waits for them.

    It ends at the first picture that cannot be made, which is logged, and with the process.
    """
    thread = threading.Thread(target=_draw, args=(list(pages),), name="metaembed-draw", daemon=True)
    thread.start()
    return thread


def _draw(pages: list[StoredPage]) -> None:
    if hasattr(os, "sched_getaffinity"):  # Linux, where niceness belongs to a thread and what it starts
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
    try:
        for page in pages:
            page.picture  # noqa: B018  # first, for a cached_property of Python 3.11 has all others wait
            page.thumbnail  # noqa: B018
    except (ValueError, OSError) as error:
        log.warning("The pictures of pages are drawn when they are asked for: %s", error)
