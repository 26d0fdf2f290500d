"""The visitor cookie: signed by this server, so that tabs and reloads of a browser share a session.

The cookie is HttpOnly. On a Space the page is in a frame of another site, where browsers only accept
`SameSite=None; Secure; Partitioned`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metaembed_demo.core.config import SPACE

NAME = "metaembed_visitor"
FORM = re.compile(r"[\w-]{32}\.[0-9a-f]{32}")
# Requests before or with a visitor's first event.
MADE_FOR = re.compile(r"/|/gradio_api/(queue/join|run/predict)/?")
_KEY = secrets.token_bytes(32)  # per process, because sessions do not survive a restart


def make() -> str:
    """A cookie for a new visitor."""
    token = secrets.token_urlsafe(24)
    return f"{token}.{_mark(token)}"


def visitor_of(cookies: Mapping[str, str]) -> str | None:
    """The visitor named by `cookies`, or None if there is no cookie signed by this server."""
    value = cookies.get(NAME, "")
    if not FORM.fullmatch(value):
        return None
    token, _, mark = value.partition(".")
    return token if hmac.compare_digest(mark, _mark(token)) else None


def _mark(token: str) -> str:
    return hmac.new(_KEY, token.encode(), hashlib.sha256).hexdigest()[:32]


def attributes(root: str, space: bool = SPACE.here) -> str:
    """The cookie's attributes; `root` is the path that the app is served under."""
    place = "SameSite=None; Secure; Partitioned" if space else "SameSite=Lax"
    return f"Path={root or '/'}; HttpOnly; {place}"


class VisitorCookie:
    """Middleware that sets the cookie with the page or the first event, and adds it to that request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or not MADE_FOR.fullmatch(scope["path"])
            or visitor_of(HTTPConnection(scope).cookies)
        ):
            await self.app(scope, receive, send)
            return
        made = f"{NAME}={make()}"
        line = f"{made}; {attributes(scope.get('root_path', ''))}".encode("latin-1")

        async def respond(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), (b"set-cookie", line)]}
            await send(message)

        # Appended without parsing, because cookies of other programs on this host may be malformed.
        others = [pair for pair in scope["headers"] if pair[0] != b"cookie"]
        held = [value for name, value in scope["headers"] if name == b"cookie"]
        joined = b"; ".join([*held, made.encode()])
        await self.app({**scope, "headers": [*others, (b"cookie", joined)]}, receive, respond)
