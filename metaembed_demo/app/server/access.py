"""Access control: an allow-list of Gradio's routes, with limits on size and rate.

ASGI middleware in front of Gradio. Gradio has more routes than this page uses: some fetch URLs for the
caller, some store a visitor's state on disk. Routes that are not listed here answer 404.
"""

from __future__ import annotations

import hmac
import json
import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from anyio import CancelScope
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metaembed_demo.app.visitors.upload_room import NoRoom, Receiving, UploadRoom
from metaembed_demo.app.visitors.uploads import handed_out
from metaembed_demo.core.config import Limits
from metaembed_demo.core.disk import FULL_DISK, is_full
from metaembed_demo.core.text import bytes_text

from .rate_limit import CLIENT, Addresses, Guesses, Requests, in_words

MCP = "/gradio_api/mcp"
UPLOAD = "/gradio_api/upload"
OPEN = re.compile(
    r"/|/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt|pwa_icon(/\d+)?|login|logout|health)/?"
    r"|/(assets|static|svelte)/[^?]*|/pictures/[\w-]+/\w+/[\w.]+"
    r"|/gradio_api/(info|upload|upload_progress|queue/(join|data|status)|run/predict|call(/v2)?/\w+(/\w+)?"
    r"|cancel|reset|heartbeat/\w+|startup-events|app_id|user|login_check|theme\.css|mcp|file=.+)/?"
)
FILE = "/gradio_api/file="
CALL = "/gradio_api/call"
RUN = "/gradio_api/run/predict"  # the page's events that do not go through the queue
LOGIN = "/login"
RECEIVING = "metaembed.receiving"  # key in an upload request's scope: its `Receiving`
CHECK = "metaembed.check"  # key in a request's scope: `check` with this client's rate limit
READING = ("GET", "HEAD", "OPTIONS")
FREE = re.compile(r"/gradio_api/(cancel|reset|startup-events)/?")  # not rate-limited
BODY = 1 << 20  # maximum bytes of a request that is no upload
TOOL_BODY = 32 << 20  # of an MCP tool call, which may carry files
FRAMING = 1 << 20  # maximum multipart overhead of an upload, in bytes
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),  # a link names the query
    (b"content-security-policy", b"frame-ancestors 'self' https://huggingface.co https://*.hf.space"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)


log = logging.getLogger(__name__)


class Refused(Exception):
    """A refused request: the HTTP status and the reason."""

    def __init__(self, status: int, why: str, **headers: str) -> None:
        super().__init__(why)
        # The page shows `detail` of a queued event and of an upload, `error` of another event.
        self.answer = JSONResponse({"detail": why, "error": why}, status, headers)


class Guard:
    """The middleware."""

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        folder: Path,
        secrets: Mapping[str, Sequence[str]],
        addresses: Addresses = Addresses(),  # noqa: B008  # frozen
    ) -> None:
        """folder: the upload folder; secrets: path -> tokens for it and the paths below it."""
        self.app, self.limits, self.folder, self.secrets = app, limits, folder, secrets
        self.addresses = addresses
        self.requests, self.guesses = Requests(limits.requests_per_minute), Guesses(limits.max_guesses)
        self.room = UploadRoom(folder, limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # web sockets are not used
        answered, client, stored = False, self.addresses.of(scope), False
        guessed = (client, LOGIN) if _is_login(scope) else None

        async def respond(message: Message) -> None:
            nonlocal answered, stored
            if message["type"] == "http.response.start":
                answered, stored = True, message["status"] == 200
                self._learn(guessed, message["status"])
                here = {name for name, _ in HEADERS}
                kept = [pair for pair in message.get("headers", []) if pair[0].lower() not in here]
                message = {**message, "headers": [*kept, *HEADERS]}
            await send(message)

        refusal: Refused | None = None
        try:
            self._within_rates(scope, client)
            scope, receive = await self._admit(scope, receive, client)
            await self.app(scope, receive, respond)
        except Refused as refused:
            refusal = refused
        except OSError as error:
            if answered or not is_full(error):
                raise
            log.warning("There is no room in %s: %s", self.folder, error)
            refusal = Refused(507, FULL_DISK)
        finally:
            if RECEIVING in scope:
                with CancelScope(shield=True):  # a request that is cancelled gives its room back, too
                    await run_in_threadpool(scope[RECEIVING].end, stored)
        if refusal is not None and not answered:  # after partial uploads have been removed
            await refusal.answer(scope, receive, respond)

    def _within_rates(self, scope: Scope, client: str) -> None:
        """Raises Refused for a client over its request rate, or with too many wrong guesses."""
        path = scope["path"]
        if not OPEN.fullmatch(path):
            raise Refused(404, "Not found.")
        if (
            scope["method"] not in READING
            and not FREE.fullmatch(path)
            and (wait := self.requests.take(client))
        ):
            raise _later("Too many requests from your address", wait)
        if _is_login(scope):
            self._guess((client, LOGIN), "passwords")

    def _guess(self, guesser: tuple[str, str], what: str) -> None:
        """Count a guess of a secret. Raises Refused if the client has to wait."""
        if wait := self.guesses.take(guesser):
            raise _later(f"Too many wrong {what} from your address", wait)

    def _learn(self, guesser: tuple[str, str] | None, status: int) -> None:
        """Take the result of a login into account: Gradio answers 200 if it was right, 400 if wrong."""
        if guesser is None or status in (400, 429):
            return
        if status == 200:
            self.guesses.forget(guesser)
        else:
            self.guesses.untake(guesser)

    def _check_token(self, client: str, authorization: str, secrets: Sequence[str]) -> None:
        """As `check`, with a limit on wrong guesses per client."""
        guesses = bool(secrets) and authorization.lower().startswith("bearer ")
        if guesses:  # a request without a token, or with a proxy's own login, is no guess
            self._guess((client, CALL), "tokens")
        check(authorization, secrets)
        if guesses:
            self.guesses.forget((client, CALL))

    async def _admit(self, scope: Scope, receive: Receive, client: str) -> tuple[Scope, Receive]:
        path, headers = scope["path"], dict(scope["headers"])
        if path.startswith(FILE) and not handed_out(Path(path.removeprefix(FILE))):
            raise Refused(404, "Not found.")
        for place, secrets in self.secrets.items():
            if (path + "/").startswith(place + "/"):
                self._check_token(client, headers.get(b"authorization", b"").decode("latin-1"), secrets)
        scope = _without_deep_link(_without_foreign_cookies(scope, headers))
        scope = {**scope, CHECK: partial(self._check_token, client), CLIENT: client}
        if scope["method"] in READING:
            return scope, receive
        if _is_upload(scope):
            return await self._upload(scope, headers, receive, client)
        body = await _read(headers, receive, TOOL_BODY if path.startswith(MCP) else BODY)
        if not path.startswith(MCP):
            _refuse_addresses(body)
        return scope, _replay(body, receive)

    async def _upload(
        self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, client: str
    ) -> tuple[Scope, Receive]:
        most = self.limits.max_session_bytes + FRAMING
        _check_length(headers, most)
        size = int(headers.get(b"content-length", b"0"))
        try:
            receiving = await run_in_threadpool(self.room.admit, client, size)
        except NoRoom as full:
            raise Refused(507, str(full)) from full
        return {**scope, RECEIVING: receiving}, _arriving(_counting(receive, most), receiving)


def _later(why: str, wait_s: float) -> Refused:
    seconds = str(max(1, math.ceil(wait_s)))
    return Refused(429, f"{why}. Try again in {in_words(wait_s)}.", **{"Retry-After": seconds})


def _is_upload(scope: Scope) -> bool:
    return scope["method"] not in READING and scope["path"].rstrip("/") == UPLOAD


def _is_login(scope: Scope) -> bool:
    return scope["method"] == "POST" and scope["path"].rstrip("/") == LOGIN


def check_of(request: Any) -> Callable[[str, Sequence[str]], None]:
    """`check` for the client of `request` (Starlette's or None), with its limit on wrong guesses."""
    return request.scope.get(CHECK, check) if request is not None else check


def check(authorization: str, secrets: Sequence[str]) -> None:
    """Check for one of `secrets` as the bearer token. Without secrets, every caller passes.

    Raises:
        Refused: when the token is missing or wrong. Comparison takes constant time.
    """
    if not secrets:
        return
    scheme, _, token = authorization.partition(" ")
    given = token.strip().encode()
    known = [hmac.compare_digest(given, secret.encode()) for secret in secrets]
    if scheme.lower() != "bearer" or not any(known):
        why = "This needs a token: send the header 'Authorization: Bearer ...'."
        raise Refused(401, why, **{"WWW-Authenticate": "Bearer"})


def _without_foreign_cookies(scope: Scope, headers: dict[bytes, bytes]) -> Scope:
    """Remove login cookies from cross-site requests.

    Gradio's cookie is SameSite=None so that it works in frames, but a framed page's requests are same-site.
    """
    if headers.get(b"sec-fetch-site") != b"cross-site" or headers.get(b"sec-fetch-mode") == b"navigate":
        return scope
    return {**scope, "headers": [pair for pair in scope["headers"] if pair[0] != b"cookie"]}


def _without_deep_link(scope: Scope) -> Scope:
    """Remove the parameter of Gradio's deep links, which restore state from a file in the upload folder."""
    query = scope.get("query_string", b"")
    if b"deep" not in query.lower() and b"%" not in query:
        return scope
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return {
        **scope,
        "query_string": urlencode([pair for pair in pairs if pair[0] != "deep_link"]).encode("latin-1"),
    }


def _check_length(headers: dict[bytes, bytes], most: int) -> None:
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length) > most:
        raise Refused(413, f"The request is too large: {bytes_text(most)} are taken.")


def _counting(receive: Receive, most: int) -> Receive:
    """`receive` that raises Refused beyond `most` bytes, whatever Content-Length says."""
    seen = 0

    async def count() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > most:
            raise Refused(413, f"The request is too large: {bytes_text(most)} are taken.")
        return message

    return count


def _arriving(receive: Receive, receiving: Receiving) -> Receive:
    """`receive` that counts what arrives. Raises Refused when there is no room for more."""

    async def count() -> Message:
        message = await receive()
        try:
            receiving.arrive(len(message.get("body", b"")))
        except NoRoom as full:
            raise Refused(507, str(full)) from full
        return message

    return count


async def _read(headers: dict[bytes, bytes], receive: Receive, most: int) -> bytes:
    _check_length(headers, most)
    parts, counted = [], _counting(receive, most)
    while True:
        message = await counted()
        if message["type"] == "http.disconnect":
            raise Refused(400, "The request was cut off.")
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


def _refuse_addresses(body: bytes) -> None:
    """Refuse files given as URLs: Gradio would download them, whatever their size."""
    try:
        data = json.loads(body) if body.strip() else None
    except (ValueError, RecursionError):
        return  # Gradio refuses it, as it is not JSON
    if _names_an_address(data):
        raise Refused(400, "Files are not fetched from addresses. Upload the file itself.")


def _names_an_address(data: Any) -> bool:
    waiting = [data]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            path = each.get("path")
            if isinstance(path, str) and path.strip().lower().startswith(("http:", "https:")):
                return True
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each)
    return False
