"""The page and its configuration, rendered once.

Gradio renders each anew for every request, which takes 50 ms of a processor. They differ by who is logged in
and by the address in the browser, which is filled in afterwards. Their query is for the page's own script.
"""

from __future__ import annotations

import asyncio
import gzip
from collections import OrderedDict
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import origins, share_card

PATHS = ("/", "/config", "/gradio_api/info")
HOST = b"host.invalid"  # in place of the host of whoever asks first
MOST = 16  # of each kind of copy
Key = tuple[str, str, str | None]  # path, root path, who is logged in


class Copies(OrderedDict[Key | tuple[Key, bytes], tuple[bytes, str]]):
    """The most recent ones: a body and its type."""

    def put(self, key: Key | tuple[Key, bytes], value: tuple[bytes, str]) -> tuple[bytes, str]:
        self[key] = value
        self.move_to_end(key)
        while len(self) > MOST:
            self.popitem(last=False)
        return value


class KeptPages:
    """The middleware."""

    def __init__(
        self, app: ASGIApp, ready: Callable[[], bool], user_of: Callable[[Scope], str | None]
    ) -> None:
        """ready: whether what is rendered now is final; user_of: who is logged in, None: nobody."""
        self.app, self._ready, self._user_of = app, ready, user_of
        self._rendered, self._packed = Copies(), Copies()
        self._lock = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").rstrip("/") or "/"
        if scope["type"] != "http" or path not in PATHS or scope["method"] not in ("GET", "HEAD"):
            await self.app(scope, receive, send)
            return
        key = (path, scope.get("root_path", ""), self._user_of(scope))
        async with self._lock:  # it is rendered once, however many ask
            found = self._rendered.get(key) or await self._render(scope, key)
        if isinstance(found, Response):
            await found(scope, receive, send)
            return
        await self._answer(scope, key, *found)(scope, receive, send)

    async def _render(self, scope: Scope, key: Key) -> tuple[bytes, str] | Response:
        """Gradio's body and its type, or its answer as it is when that is no page."""
        headers = [pair for pair in scope["headers"] if pair[0] in (b"cookie", b"user-agent")]
        asked = {
            **scope,
            "path": key[0],
            "raw_path": key[0].encode(),
            "method": "GET",
            "query_string": b"",
            "scheme": "http",
            "headers": [*headers, (b"host", HOST)],
        }
        parts: list[bytes] = []
        status, got = 500, Headers()

        async def keep(message: Message) -> None:
            nonlocal status, got
            if message["type"] == "http.response.start":
                status, got = message["status"], Headers(raw=list(message.get("headers", [])))
            parts.append(message.get("body", b""))

        await self.app(asked, _no_body, keep)
        body, kind = b"".join(parts), got.get("content-type", "")
        if status != 200 or not self._ready():
            return Response(body.replace(b"http://" + HOST, origins.place(scope)), status, media_type=kind)
        if kind.startswith("text/html"):
            body = share_card.put(body, f"http://{HOST.decode()}{key[1]}")
        return self._rendered.put(key, (body, kind))

    def _answer(self, scope: Scope, key: Key, body: bytes, kind: str) -> Response:
        place, packs = origins.place(scope), "gzip" in Headers(scope=scope).get("accept-encoding", "")
        if not packs:
            return Response(body.replace(b"http://" + HOST, place), media_type=kind)
        packed = self._packed.get((key, place))
        if packed is None:
            plain = body.replace(b"http://" + HOST, place)
            packed = self._packed.put((key, place), (gzip.compress(plain, 5), kind))
        return Response(
            packed[0], media_type=kind, headers={"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        )


async def _no_body() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}
