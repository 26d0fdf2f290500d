"""Gradio's queue, with turns by client address and an address's share of what waits and what runs."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from gradio.queueing import Queue

from metaembed_demo.core.config import Limits

from .rate_limit import Recent
from .unread_answers import Mailboxes


class FairQueue(Queue):
    """Gradio's queue with shares. Each concurrency id runs at most an address's share for that address."""

    def begin(self, limits: Limits, client_of: Callable[[Any], str]) -> None:
        self._limits, self._client_of = limits, client_of
        self._served, self._turn = Recent[int](), 0  # address -> when it was served last
        self._boxes = Mailboxes(self.pending_event_ids_session)
        self.pending_messages_per_session = self._boxes  # type: ignore[assignment]

    async def push(self, body: Any, request: Any, username: str | None) -> Any:
        """As Gradio's, but an address whose share of the places is taken is refused."""
        self._boxes.drop_old()
        client, most = self._client_of(request), self._limits.share(self.max_size or 0)
        waiting = self._waiting()
        mine = sum(self._client_of(event.request) == client for event in waiting)
        if self.max_size is not None and most <= mine and len(waiting) < self.max_size:
            why = f"Too many requests of your address are waiting ({most}). Try again later."
            return False, why, "queue_full"
        return await super().push(body, request, username)

    def send_message(self, event: Any, event_message: Any) -> None:
        """As Gradio's, within bounds on what is not read. An event whose tab was dropped ends."""
        box = self._boxes.get(event.session_hash)
        if box is None:
            event.alive = False
            return
        box.client = self._client_of(event.request)
        super().send_message(event, event_message)
        self._boxes.keep_bounds(box.client)

    def get_events(self) -> tuple[list[Any], bool, str] | None:
        """The event that is due: of the address served longest ago, among those below their share."""
        running = Counter(
            (event.concurrency_id, self._client_of(event.request))
            for events in self.active_jobs
            for event in events or ()
        )
        names = list(self.event_queue_per_concurrency_id)
        random.shuffle(names)  # as Gradio does
        for name in names:
            waiting = self.event_queue_per_concurrency_id[name]
            limit = waiting.concurrency_limit
            if limit is not None and waiting.current_concurrency >= limit:
                continue
            first: dict[str, Any] = {}
            for event in waiting.queue:
                first.setdefault(self._client_of(event.request), event)
            most = math.inf if limit is None else self._limits.share(limit)
            able = [each for each in first if running[name, each] < most]
            if able:
                client = min(able, key=lambda each: self._served.get(each, 0))
                waiting.queue.remove(first[client])
                self._turn += 1
                self._served.put(client, self._turn)
                return [first[client]], False, name
        return None

    def _waiting(self) -> list[Any]:
        return [event for each in self.event_queue_per_concurrency_id.values() for event in each.queue]
