"""Gradio's names of tabs, made to belong to a visitor.

Gradio knows a tab by a name that the tab's script draws (`session_hash`), and whoever names it gets the tab's
answers, adds to them, or ends it. So the name in a request is replaced by a keyed digest of it and of who
asks: the visitor by the cookie, or without a cookie the client's address. What another visitor asks for under
the same name is then another tab.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.requests import HTTPConnection
from starlette.types import Scope

from .refusals import Refused
from .visitor_cookie import visitor_of

GIVEN = re.compile(r"[\w-]{1,64}", re.ASCII)
HEARTBEAT = "/gradio_api/heartbeat/"
STREAM = "/gradio_api/queue/data"
FIELD = "session_hash"
_KEY = secrets.token_bytes(32)


def owner_of(scope: Scope, client: str) -> str:
    """Who sends a request: a visitor by a valid cookie, else an address."""
    visitor = visitor_of(HTTPConnection(scope).cookies)
    return f"visitor {visitor}" if visitor else f"address {client}"


def name_of(given: Any, owner: str) -> str:
    """The name of the owner's tab that calls itself `given`. Raises Refused when that is no name."""
    if not isinstance(given, str) or not GIVEN.fullmatch(given):
        raise Refused(400, "session_hash is to be a short name.")
    return "t" + hmac.new(_KEY, f"{owner} {given}".encode(), hashlib.sha256).hexdigest()[:39]


def in_address(scope: Scope, client: str) -> Scope:
    """`scope` with the tab's name in its path or query replaced. Raises Refused."""
    path = scope["path"]
    if path.startswith(HEARTBEAT):
        name = name_of(path.removeprefix(HEARTBEAT).rstrip("/"), owner_of(scope, client))
        path = HEARTBEAT + name
        return {**scope, "path": path, "raw_path": path.encode()}
    if path.rstrip("/") == STREAM:
        asked = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1")))
        name = name_of(asked.get(FIELD), owner_of(scope, client))
        return {**scope, "query_string": urlencode({FIELD: name}).encode()}
    return scope
