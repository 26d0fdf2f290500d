"""Listing: builds inverted lists for an index and its copies, in a background thread."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import Protocol
from weakref import WeakSet

from metaembed_demo.core.budgets import Budgets
from metaembed_demo.core.types import FloatArray

from .ivf import TokenLists

NICE = 15  # niceness of the thread; searches have priority
log = logging.getLogger(__name__)


class Listed(Protocol):
    """An index that uses inverted lists."""

    def take_lists(self, lists: TokenLists, ids: Sequence[str]) -> None:
        """Use `lists` of the pages `ids`, in this order, if needed."""
        ...


class Listing:
    """Builds lists for the joined indexes, in a low-priority thread; cancelled when all of them are gone.

    A failure is logged once and not retried.
    """

    def __init__(self) -> None:
        self._wanted_by: WeakSet[Listed] = WeakSet()
        self._lock = threading.Lock()
        self._begun = self._failed = False
        self._thread: threading.Thread | None = None
        self._pages: tuple[int, int] | None = None

    def join(self, index: Listed) -> None:
        """Deliver lists to `index` too, which is held weakly."""
        self._wanted_by.add(index)

    @property
    def progress(self) -> tuple[int, int] | None:
        """Pages done and total; None when idle."""
        return self._pages

    @property
    def idle(self) -> bool:
        """Whether a build can be started."""
        return not (self._begun or self._failed)

    def begin(
        self, ids: Sequence[str], vectors_of: Callable[[Sequence[str]], FloatArray], budgets: Budgets
    ) -> None:
        """Start building lists of the pages `ids`, unless a build is running or has failed.

        vectors_of: must not reference a joined index, which would keep it alive.
        """
        with self._lock:
            if not self.idle:
                return
            self._begun = True
        self._pages = (0, len(ids))
        self._thread = threading.Thread(
            target=self._run, args=(ids, vectors_of, budgets), name="metaembed-lists", daemon=True
        )
        self._thread.start()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the thread, if there is one. Returns whether it has ended."""
        if self._thread is not None:
            self._thread.join(seconds)
        return self._thread is None or not self._thread.is_alive()

    def _run(
        self, ids: Sequence[str], vectors_of: Callable[[Sequence[str]], FloatArray], budgets: Budgets
    ) -> None:
        try:
            stand_back()
            lists = self._made(ids, vectors_of, budgets)
            if lists is not None:
                for index in list(self._wanted_by):
                    index.take_lists(lists.copy(), ids)
        except Exception:  # e.g. no memory or no FAISS: searches keep scanning
            self._failed = True
            log.exception("No inverted lists could be made of %d pages; searches scan them instead", len(ids))
        finally:
            self._pages, self._begun = None, False

    def _made(
        self, ids: Sequence[str], vectors_of: Callable[[Sequence[str]], FloatArray], budgets: Budgets
    ) -> TokenLists | None:
        """The lists; None if all joined indexes are gone."""
        steps = TokenLists.making(ids, vectors_of, budgets)
        while True:
            try:
                self._pages = (next(steps), len(ids))
            except StopIteration as ended:
                return ended.value
            if not len(self._wanted_by):
                return None


def stand_back() -> None:
    """Lower the calling thread's priority: one FAISS thread, and a high niceness.

    Both are per thread: OpenMP's thread count everywhere, niceness on Linux only; elsewhere niceness is per
    process and unchanged.
    """
    import faiss

    faiss.omp_set_num_threads(1)
    if hasattr(os, "sched_getaffinity"):  # Linux
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
