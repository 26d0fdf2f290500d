"""Reading, by the complement that a visitor has chosen, the pages that the refinement of a query needs."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from metaembed_demo.collection.second_encoder import read_pool

from .jobs import in_turn
from .page_state import Screen
from .search_state import SearchState

ROUNDS = 3  # pools that are read, as other searches are opened meanwhile


def refine_open_search(search: SearchState) -> Iterator[Screen]:
    """Read the pool of the open search, a page in turn with others' jobs; then refine it.

    When another search is open by then, that is refined. Only one call at a time reads.
    """
    if search.ranking.reading:
        return
    search.ranking.reading = True
    stop = threading.Event()  # set at the time limit of a job
    try:
        for _ in range(ROUNDS):
            trace, second = search.trace, search.complement
            if trace is None or second is None or not trace.unread or stop.is_set():
                return
            for at in in_turn(search.session, stop, read_pool(search.collection, trace.unread, second)):
                if search.trace is not trace or stop.is_set():
                    break
                yield Screen(ranking=search.ranking_control((at.done, at.total)))
            if search.trace is trace:
                search.again()
                yield search.screen()
    finally:
        search.ranking.reading = False
