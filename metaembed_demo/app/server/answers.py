"""What every answer carries: security headers, no copy in caches, and no echo of what was sent."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

from starlette.responses import JSONResponse
from starlette.types import Message, Scope, Send

from metaembed_demo.core.config import SPACE

FRAMES = "'self' https://huggingface.co https://*.hf.space" if SPACE.here else "'self'"
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),  # a link names the query
    (b"content-security-policy", f"frame-ancestors {FRAMES}".encode()),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)
NO_STORE = (b"cache-control", b"no-store")
# Alike for all, or kept by the visitor's own browser alone.
CACHED = re.compile(
    r"/(assets|static|svelte|pictures|pwa_icon)/.*|.*/theme\.css/?|/favicon\.ico|/robots\.txt"
)
MALFORMED = "The request is malformed."
log = logging.getLogger(__name__)


class Answer:
    """An answer on its way to the client."""

    def __init__(self, send: Send, path: str) -> None:
        self.begun, self.status = False, 0
        self.learn: Callable[[int], None] | None = None  # is told the status
        self._send = send
        self._cached = bool(CACHED.fullmatch(path))
        self._replaced = self._streams = False

    async def send(self, message: Message) -> None:
        """Pass on a message of an answer, with our headers."""
        if message["type"] == "http.response.start":
            self.begun, self.status = True, message["status"]
            if self.learn is not None:
                self.learn(message["status"])
            here = HEADERS if self._cached and message["status"] < 400 else (*HEADERS, NO_STORE)
            names = {name for name, _ in here}
            kept = [pair for pair in message.get("headers", []) if pair[0].lower() not in names]
            self._streams = any(b"event-stream" in value for name, value in kept if name == b"content-type")
            message = {**message, "headers": [*kept, *here]}
        await self._send(message)

    async def send_checked(self, message: Message) -> None:
        """As `send`, but FastAPI's answer to a malformed request is replaced: it repeats the request."""
        if self._replaced:
            return
        if message["type"] == "http.response.start" and message["status"] == 422:
            self._replaced = True
            await JSONResponse({"detail": MALFORMED, "error": MALFORMED}, 422)(_NOWHERE, _nothing, self.send)
            return
        await self.send(message)

    async def end_stream(self) -> bool:
        """End a stream of events that broke off, as for an unknown tab. False for other answers."""
        if self._streams:
            log.info("A stream of events broke off", exc_info=True)
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        return self._streams


_NOWHERE: Scope = {"type": "http"}


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
