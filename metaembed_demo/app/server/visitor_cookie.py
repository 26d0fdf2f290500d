"""Who a browser is: a cookie that only this server can make, so that tabs and reloads find the same session.

The cookie is HttpOnly. On a Space the page stands in a frame of another site, where browsers keep it only as
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
# requests that come before or with a visitor's first event
MADE_FOR = re.compile(r"/|/gradio_api/queue/join/?")
_KEY = secrets.token_bytes(32)  # of this process: a cookie of an earlier one names no session here


def make() -> str:
    """A new visitor's cookie."""
    token = secrets.token_urlsafe(24)
    return f"{token}.{_mark(token)}"


def visitor_of(cookies: Mapping[str, str]) -> str | None:
    """The visitor that `cookies` name, or None where this server did not make the cookie."""
    value = cookies.get(NAME, "")
    if not FORM.fullmatch(value):
        return None
    token, _, mark = value.partition(".")
    return token if hmac.compare_digest(mark, _mark(token)) else None


def _mark(token: str) -> str:
    return hmac.new(_KEY, token.encode(), hashlib.sha256).hexdigest()[:32]


def attributes(root: str, space: bool = SPACE.here) -> str:
    """What follows the cookie's value; `root` is the path that the app is served under."""
    place = "SameSite=None; Secure; Partitioned" if space else "SameSite=Lax"
    return f"Path={root or '/'}; HttpOnly; {place}"


class VisitorCookie:
    """Middleware: gives a browser its cookie with the page, or with its first event, which then has it
    too."""

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

        # As it stands, with the new one last: what other programs of this host set is not always well-formed.
        others = [pair for pair in scope["headers"] if pair[0] != b"cookie"]
        held = [value for name, value in scope["headers"] if name == b"cookie"]
        joined = b"; ".join([*held, made.encode()])
        await self.app({**scope, "headers": [*others, (b"cookie", joined)]}, receive, respond)
