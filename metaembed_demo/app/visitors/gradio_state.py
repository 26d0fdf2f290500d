"""What Gradio keeps of browser tabs and of calls of the API, cleared away when nobody can want it any more.

Gradio copies the whole page's configuration, some 200 kB, for every tab and for every call over plain HTTP,
and keeps ten thousand such copies: 2 GB. Past that, an idle tab would lose its session to a program's calls.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any


class States:
    """The states of a `gr.Blocks`, which has no way to drop one, and the traces of calls in its queue."""

    def __init__(self, blocks: Any = None) -> None:
        """blocks: `gr.Blocks`; has states from when it is served."""
        self._blocks = blocks
        self._strays: set[str] = set()

    def __len__(self) -> int:
        holder = self._holder()
        return len(holder.session_data) if holder else 0

    def drop(self, name: str | None) -> None:
        """Forget what goes by Gradio's `name` of a tab or call. An event at work holds its own."""
        holder = self._holder()
        if holder is None or name is None:
            return
        with holder.lock:
            holder.session_data.pop(name, None)
            holder.time_last_used.pop(name, None)

    def sweep(self, tabs: Container[str]) -> None:
        """Drop all but those of `tabs`, and the new ones since the last sweep: a tab may be arriving."""
        holder = self._holder()
        if holder is None:
            return
        with holder.lock:
            names = set(holder.session_data)
        waiting: dict[str, set[str]] = self._blocks._queue.pending_event_ids_session
        names |= {name for name, events in list(waiting.items()) if not events}  # Gradio leaves those behind
        strays = {name for name in names if name not in tabs}
        for name in strays & self._strays:
            self.drop(name)
            if not waiting.get(name, True):
                del waiting[name]
        self._strays = strays - self._strays

    def _holder(self) -> Any:
        return getattr(self._blocks, "state_holder", None)
