"""Listing: the making of inverted lists for an index and its copies, in one thread beside the searches."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import Protocol
from weakref import WeakSet

from metaembed_demo.core.types import FloatArray

from .ivf import TokenLists

NICE = 15  # of the thread at work: searches come first
log = logging.getLogger(__name__)


class Listed(Protocol):
    """An index that inverted lists are made for."""

    def take_lists(self, lists: TokenLists, ids: Sequence[str]) -> None:
        """Search with `lists`, in which the pages `ids` stand in this order, if there is use for them."""
        ...


class Listing:
    """Lists on their way, wanted by the indexes that joined. When all of these are gone, the work ends.

    One thread of low priority, for it may take minutes. What goes wrong is logged once and not tried again.
    """

    def __init__(self) -> None:
        self._wanted_by: WeakSet[Listed] = WeakSet()
        self._lock = threading.Lock()
        self._begun = self._failed = False
        self._thread: threading.Thread | None = None
        self._pages: tuple[int, int] | None = None

    def join(self, index: Listed) -> None:
        """Give lists to `index` too when they are done; it may be gone by then."""
        self._wanted_by.add(index)

    @property
    def progress(self) -> tuple[int, int] | None:
        """Pages in the lists, and of how many; None while none are made."""
        return self._pages

    @property
    def idle(self) -> bool:
        """Whether lists could be begun."""
        return not (self._begun or self._failed)

    def begin(self, ids: Sequence[str], vectors_of: Callable[[Sequence[str]], FloatArray]) -> None:
        """Make lists of the pages `ids`, unless that is on its way or has failed before.

        vectors_of: must not hold one of the indexes that joined, or they would never be gone.
        """
        with self._lock:
            if not self.idle:
                return
            self._begun = True
        self._pages = (0, len(ids))
        self._thread = threading.Thread(
            target=self._run, args=(ids, vectors_of), name="metaembed-lists", daemon=True
        )
        self._thread.start()

    def wait(self, seconds: float | None = None) -> bool:
        """Until the thread has ended, if there is one. Returns whether it has."""
        if self._thread is not None:
            self._thread.join(seconds)
        return self._thread is None or not self._thread.is_alive()

    def _run(self, ids: Sequence[str], vectors_of: Callable[[Sequence[str]], FloatArray]) -> None:
        try:
            stand_back()
            lists = self._made(ids, vectors_of)
            if lists is not None:
                for index in list(self._wanted_by):
                    index.take_lists(lists.copy(), ids)
        except Exception:  # too little memory, no FAISS: every search scans, as before
            self._failed = True
            log.exception("No inverted lists could be made of %d pages; searches scan them instead", len(ids))
        finally:
            self._pages, self._begun = None, False

    def _made(
        self, ids: Sequence[str], vectors_of: Callable[[Sequence[str]], FloatArray]
    ) -> TokenLists | None:
        """The lists; None when nobody wants them any more."""
        steps = TokenLists.making(ids, vectors_of)
        while True:
            try:
                self._pages = (next(steps), len(ids))
            except StopIteration as ended:
                return ended.value
            if not len(self._wanted_by):
                return None


def stand_back() -> None:
    """Let the calling thread give way to all others: one thread in FAISS, and little processor time.

    Both are settings of a thread: OpenMP keeps the number for each thread that calls it, and on Linux a
    niceness belongs to a thread. Elsewhere that would be the whole process's, so it is left as it is.
    """
    import faiss

    faiss.omp_set_num_threads(1)
    if hasattr(os, "sched_getaffinity"):  # Linux
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
