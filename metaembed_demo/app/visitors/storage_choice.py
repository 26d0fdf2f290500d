"""One visitor's storage control: storage kind, re-ranking, recall target, check against exact search."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

from metaembed_demo.app.views import documents_tab, storage_control
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.convert_storage import convert, pages_for_pq, sizes, storage_of
from metaembed_demo.core.budgets import Budget, Budgets
from metaembed_demo.core.config import LIMITS, Limits
from metaembed_demo.core.moments import place
from metaembed_demo.core.types import Trace
from metaembed_demo.evaluation.exact_search import RESCORE, Exactness, measure
from metaembed_demo.index.base import MultiVectorIndex
from metaembed_demo.index.quantization import KINDS, codec

PROGRESS_EVERY_S = 0.3  # minimum interval between progress updates of a conversion
log = logging.getLogger(__name__)


@dataclass
class StorageChoice:
    """State and actions of one visitor's storage control."""

    changing: str = ""  # the target kind of a running conversion
    done: int = 0  # pages converted
    stop: threading.Event = field(default_factory=threading.Event)  # cancels a conversion
    problem: tuple[str, int] = ("", 0)  # why a conversion failed, and the number of pages then
    _checked: tuple[object, Exactness] | None = None  # state of the checked search, and the result

    def control(self, collection: Collection, budget: Budget, trace: Trace | None) -> str:
        """The control as HTML; empty for an index outside this process."""
        index = collection.index
        if not index.in_process:
            return ""
        stored = storage_control.Stored(
            kind=index.storage,
            pages=len(index),
            sizes=sizes(budget, index.r_c, index.dim),
            least={"pq": pages_for_pq(index.r_c)},
            changing=self.changing,
            done=self.done,
            listing=index.listing,
            problem=self.problem[0] if self.problem[1] == len(index) else "",
            rescore=index.rescore > 0,
            recall=index.recall if len(index) > index.exact_up_to else None,
            checkable=trace is not None and len(index) > 0 and index.has_full,
            found=self._found(collection, index, trace),
        )
        return storage_control.control(stored)

    def _found(self, collection: Collection, index: MultiVectorIndex, trace: Trace | None) -> str:
        if self._checked is None or trace is None or self._checked[0] != _state(index, trace):
            return ""
        found = self._checked[1]
        with collection.lock:
            pages = [collection.pages[m.page_id] for m in found.moves if m.page_id in collection.pages]
        named = {page.id: (page.title, place(page.source, page.number)) for page in pages}
        return storage_control.agreement(found, index.storage, index.rescore > 0, named)

    def statistics(self, collection: Collection, budgets: Budgets) -> str:
        """Statistics of the index at an encoder's budgets, as HTML for the Documents tab."""
        index, pages = collection.index, len(collection)
        kind = storage_of(collection)
        full = 0
        if kind != "float16":
            full = pages * codec("float16", index.r_c, index.dim).bytes_per_page(index.r_c)
        sizes = [index.bytes_per_page(stop) for stop in budgets]
        return documents_tab.statistics(pages, sizes, index.dim, kind, full, budgets)

    def convert(self, collection: Collection, kind: str, limits: Limits = LIMITS) -> Iterator[bool]:
        """Convert the pages to `kind`. Yields False during the conversion, then whether it succeeded.

        Yields nothing when there is nothing to do. `done` is the progress. On an error or at the job's time
        limit, `problem` has the reason. An error, `stop` and closing the generator leave the index unchanged.
        """
        index = collection.index
        if kind not in KINDS or not index.in_process or self.changing or kind == index.storage:
            return
        self.changing, self.done = kind, 0
        self.stop.clear()
        problem, kept, least = "", False, pages_for_pq(index.r_c)
        try:
            if kind == "pq" and len(index) < least:
                problem = f"PQ is fitted to at least {least} pages; there are {len(index)}. Add pages first."
            else:
                yield False
                for done in _limited(convert(collection, kind), self.stop, limits):
                    self.done = done
                    yield False
                kept = storage_of(collection) == kind
        except TimeoutError as error:
            problem = f"The pages stay {index.storage}: {error}"
        except ValueError as error:
            problem = str(error)
        except (OSError, MemoryError) as error:  # a full disk must not end the visit
            log.exception("The index could not be kept as %s", kind)
            problem = f"The pages stay {index.storage}: {error or type(error).__name__}."
        finally:
            self.changing = ""
        self.problem = (problem, len(collection.index))
        yield kept

    def rescore(self, collection: Collection, on: bool) -> None:
        """Turn rescoring of the best pages with full vectors on or off."""
        if collection.index.in_process:
            collection.index.rescore = RESCORE if on and collection.index.storage != "float16" else 0

    def aim(self, collection: Collection, recall: float) -> None:
        """Set the recall target, one of `storage_control.TARGETS`. Other values are ignored."""
        if collection.index.in_process and recall in storage_control.TARGETS:
            collection.index.recall = recall

    def check(self, collection: Collection, trace: Trace | None, k: int) -> None:
        """Compare the open search with an exact search over full vectors."""
        index = collection.index
        if trace is not None and index.in_process and index.has_full and len(index):
            state = _state(index, trace)
            self._checked = (state, measure(index, trace.query_vectors, trace.budget, k))

    def hide(self) -> None:
        """Hide the comparison."""
        self._checked = None


def _limited(steps: Generator[int, None, None], stop: threading.Event, limits: Limits) -> Iterator[int]:
    """Run `steps` until `stop` is set, and yield one of them every PROGRESS_EVERY_S.

    Raises:
        TimeoutError: at the job's time limit.
    """
    began = yielded = time.monotonic()
    try:
        for step in steps:
            if stop.is_set():
                return
            now = time.monotonic()
            if now - began > limits.seconds_per_job:
                raise TimeoutError(
                    f"it took more than {limits.seconds_per_job:,g} s. Raise METAEMBED_SECONDS_PER_JOB."
                )
            if now - yielded >= PROGRESS_EVERY_S:
                yielded = now
                yield step
    finally:
        steps.close()


def _state(index: MultiVectorIndex, trace: Trace) -> object:
    """Identity of a search for which a comparison is valid: query, budget, hits and scoring."""
    hits = tuple(hit.page_id for hit in trace.hits)
    return (
        id(trace.query_vectors),
        trace.budget,
        hits,
        len(index),
        index.storage,
        index.rescore,
        index.recall,
    )
