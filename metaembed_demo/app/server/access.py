"""Access control: an allow-list of Gradio's routes, with limits on size and rate.

ASGI middleware in front of Gradio. Gradio has more routes than this page uses: some fetch URLs for the
caller, some store a visitor's state on disk. Routes that are not listed here answer 404.
"""

from __future__ import annotations

import hmac
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from anyio import CancelScope
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metaembed_demo.app.visitors.upload_room import NoRoom, Receiving, UploadRoom
from metaembed_demo.app.visitors.uploads import handed_out
from metaembed_demo.core.config import Limits
from metaembed_demo.core.disk import FULL_DISK, is_full

from . import bodies, mcp_messages, origins, tab_names
from .answers import Answer
from .bodies import Room
from .rate_limit import CLIENT, Addresses, Guesses, Requests
from .refusals import FAILED, Refused, later

MCP = "/gradio_api/mcp"
UPLOAD = "/gradio_api/upload"
# What is in brackets ends up as keys in memory, so it is short.
OPEN = re.compile(
    r"/|/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt|pwa_icon(/\d{1,4})?|login|logout|health)/?"
    r"|/(assets|static|svelte)/[^?]*|/pictures/[\w-]{1,64}/\w{1,128}/[\w.]{1,64}"
    r"|/gradio_api/(info|upload|queue/(join|data|status)|run/predict|call(/v2)?/\w{1,64}(/\w{1,64})?"
    r"|cancel|reset|heartbeat/[\w-]{1,64}|startup-events|app_id|user|login_check|theme\.css|mcp(/schema)?|file=.+)/?",
    re.ASCII,
)
FILE = "/gradio_api/file="
CALL = "/gradio_api/call"
CALLED = re.compile(CALL + r"(?:/v2)?/(\w+)(?:/(\w+))?/?")
RUN = "/gradio_api/run/predict"  # the page's events that do not go through the queue
JOIN = "/gradio_api/queue/join"
CANCEL = "/gradio_api/cancel"
RESET = "/gradio_api/reset"
LOGIN = "/login"
HEALTH = "/health"  # not counted
CHECK = "metaembed.check"  # key in a request's scope: `check` with this client's rate limit
RECEIVING = "metaembed.receiving"  # key in an upload request's scope: its `Receiving`
READING = ("GET", "HEAD", "OPTIONS")
# Gradio answers these without a login as well.
LOGGED_IN = re.compile(r"/gradio_api/(cancel|reset|heartbeat/.+)/?")
# Not counted with what computes something.
FREE = re.compile(r"/gradio_api/(cancel|reset|startup-events)/?")
BODY = 1 << 20  # maximum bytes of a request that is no upload
TOOL_BODY = 32 << 20  # of an MCP tool call, which may carry files
SMALL_BODY = 4096  # of a login and what else has a few short fields
CLIENT_BODIES = TOOL_BODY + BODY  # of one client, in memory together
FRAMING = 1 << 20  # maximum multipart overhead of an upload, in bytes
MOST_PART = 255  # bytes of a part of a path
MOST_PATH, MOST_QUERY, MOST_HEADERS = 2048, 12_000, 16_384  # bytes; a link holds a query of 1,000 characters

log = logging.getLogger(__name__)


class Events(Protocol):
    """What Gradio knows of its events."""

    def has_call(self, name: str) -> bool:
        """Whether the API has a function of that name."""

    def has_event(self, number: Any) -> bool:
        """Whether there is an event of that number."""

    def tab_of(self, event_id: str) -> str | None:
        """The name of the tab that an event belongs to; of a plain call the event's own; None if unknown."""


class Guard:
    """The middleware."""

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        folder: Path,
        secrets: Mapping[str, Sequence[str]],
        addresses: Addresses = Addresses(),  # noqa: B008  # frozen
        events: Events | None = None,
        user_of: Callable[[Scope], str | None] = lambda _: "",
    ) -> None:
        """folder: the upload folder; secrets: path -> tokens for it and the paths below it.

        user_of: who is logged in, None: nobody.
        """
        self.app, self.limits, self.folder, self.secrets = app, limits, folder, secrets
        self.addresses, self.events, self.user_of = addresses, events, user_of
        self.requests, self.guesses = Requests(limits.requests_per_minute), Guesses(limits.max_guesses)
        self.reads = Requests(limits.reads_per_minute)
        self.body_room = Room(limits.max_body_bytes, CLIENT_BODIES)
        self._running: Counter[str] = Counter()  # requests, by client
        self.room = UploadRoom(folder, limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # web sockets are not used
        client = self.addresses.of(scope)
        answer = Answer(send, scope["path"])
        self._running[client] += 1
        try:
            refusal = await self._pass(scope, receive, answer, client)
        finally:
            self._running[client] -= 1
            if not self._running[client]:
                del self._running[client]
        if refusal is not None and not answer.begun:  # after partial uploads have been removed
            await refusal.answer(scope, receive, answer.send)

    async def _pass(self, scope: Scope, receive: Receive, answer: Answer, client: str) -> Refused | None:
        """Pass a request on, or return why not."""
        receiving = None
        try:
            with self.body_room.hold(client) as take:
                self._within_rates(scope, client)
                if _is_login(scope):
                    self._guess((client, LOGIN), "passwords")
                    answer.learn = partial(self._learn, (client, LOGIN))
                scope, receive = await self._admit(scope, receive, client, take)
                receiving = scope.get(RECEIVING)
                await self.app(scope, receive, answer.send_checked)
        except Refused as refused:
            return refused
        except OSError as error:
            if not answer.begun and is_full(error):
                log.warning("There is no room in %s: %s", self.folder, error)
                return Refused(507, FULL_DISK)
            return await self._failed(scope, answer)
        except Exception:
            return await self._failed(scope, answer)
        finally:
            if receiving is not None:
                with CancelScope(shield=True):  # a request that is cancelled gives its room back, too
                    await run_in_threadpool(receiving.end, answer.status == 200)
        return None

    async def _failed(self, scope: Scope, answer: Answer) -> Refused | None:
        """Called in an exception that Gradio let through. Starlette's own answer to it has no headers."""
        if not answer.begun:
            log.exception("A request to %s failed", scope["path"])
            return Refused(500, FAILED)
        if not await answer.end_stream():
            raise
        return None

    def _within_rates(self, scope: Scope, client: str) -> None:
        """Raises Refused for what is not open or from elsewhere, and for a client over its limits."""
        path, headers, reading = scope["path"], dict(scope["headers"]), scope["method"] in READING
        _check_sizes(scope)
        origins.check_host(headers)
        origins.check_origin(scope, headers, reading)
        counted = self.reads if reading or FREE.fullmatch(path) else self.requests
        if path.rstrip("/") != HEALTH and (wait := counted.take(client)):
            raise later("Too many requests from your address", wait)
        if 0 < self.limits.max_connections < self._running[client]:
            raise later("Too many requests at once from your address", 5)
        if not OPEN.fullmatch(path) or not self._is_known(path):
            raise Refused(404, "Not found.")

    def _is_known(self, path: str) -> bool:
        """Whether a call names a function of the API, and if it names an event, not one of a tab."""
        called = CALLED.fullmatch(path)
        if self.events is None or not called:
            return True
        name, event = called.groups()
        return self.events.has_call(name) and (not event or self.events.tab_of(event) in (None, event))

    def _guess(self, guesser: tuple[str, str], what: str) -> None:
        """Count a guess of a secret. Raises Refused if the client has to wait."""
        if wait := self.guesses.take(guesser):
            raise later(f"Too many wrong {what} from your address", wait)

    def _learn(self, guesser: tuple[str, str], status: int) -> None:
        """Take the result of a login into account: 200 if it was right, 302 if there is no password.

        All else counts as wrong, so that a malformed one is no guess for nothing.
        """
        if status == 200:
            self.guesses.forget(guesser)
        elif status == 302:
            self.guesses.untake(guesser)

    def _check_token(self, client: str, authorization: str, secrets: Sequence[str]) -> None:
        """As `check`, with a limit on wrong guesses per client."""
        guesses = bool(secrets) and authorization.lower().startswith("bearer ")
        if guesses:  # a request without a token, or with a proxy's own login, is no guess
            self._guess((client, CALL), "tokens")
        check(authorization, secrets)
        if guesses:
            self.guesses.forget((client, CALL))

    async def _admit(
        self, scope: Scope, receive: Receive, client: str, take: Callable[[int], None]
    ) -> tuple[Scope, Receive]:
        path, headers = scope["path"], dict(scope["headers"])
        if path.startswith(FILE) and not handed_out(Path(path.removeprefix(FILE))):
            raise Refused(404, "Not found.")
        for place, secrets in self.secrets.items():
            if (path + "/").startswith(place + "/"):
                self._check_token(client, headers.get(b"authorization", b"").decode("latin-1"), secrets)
        scope = origins.without_claims(scope, headers)
        if LOGGED_IN.fullmatch(path) and self.user_of(scope) is None:
            raise Refused(401, "Not authenticated")
        scope = {**scope, CHECK: partial(self._check_token, client), CLIENT: client}
        if scope["method"] in READING:
            return tab_names.in_address(scope, client), receive
        if _is_upload(scope):
            return await self._upload(scope, headers, receive, client)
        body = await bodies.read(headers, receive, _most(path), take)
        bodies.check_charset(headers.get(b"content-type", b""))
        if path.startswith(MCP):
            if scope["method"] == "POST":
                mcp_messages.check(body)
        elif not _is_login(scope):
            body = self._named(scope, bodies.parse(body), client) if body.strip() else body
            scope = _with_length(scope, len(body))
        return scope, bodies.replay(body, receive)

    def _named(self, scope: Scope, asked: Any, client: str) -> bytes:
        """The body of an event or call, for the tab it belongs to."""
        path = scope["path"].rstrip("/")
        if not isinstance(asked, dict):
            raise Refused(400, "The request is to be a JSON object.")
        if path.startswith(CALL):
            asked.pop(tab_names.FIELD, None)  # its answer would arrive in that tab
        elif asked.get(tab_names.FIELD) is not None:
            asked[tab_names.FIELD] = tab_names.name_of(
                asked[tab_names.FIELD], tab_names.owner_of(scope, client)
            )
        if (
            path in (JOIN, RUN)
            and self.events is not None
            and not self.events.has_event(asked.get("fn_index"))
        ):
            raise Refused(404, "There is no such event.")
        if path == CANCEL and self.events is not None:
            event = str(asked.get("event_id"))
            if self.events.tab_of(event) not in (None, event, asked.get(tab_names.FIELD)):
                raise Refused(404, "Not found.")
        return json.dumps(asked).encode()

    async def _upload(
        self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, client: str
    ) -> tuple[Scope, Receive]:
        most = self.limits.max_session_bytes + FRAMING
        bodies.check_length(headers, most)
        form = bodies.Form(headers.get(b"content-type", b""))
        try:
            receiving = await run_in_threadpool(
                self.room.admit, client, int(headers.get(b"content-length", b"0"))
            )
        except NoRoom as full:
            raise Refused(507, str(full)) from full
        arriving = _arriving(form.follow(bodies.bounded(receive, most)), receiving)
        return {**scope, "query_string": b"", RECEIVING: receiving}, arriving


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


def _check_sizes(scope: Scope) -> None:
    """Raises Refused for a long address or long headers."""
    path = scope.get("raw_path") or scope["path"].encode()
    if len(path) > MOST_PATH or len(scope.get("query_string", b"")) > MOST_QUERY:
        raise Refused(414, "The address is too long.")
    if any(len(part.encode()) > MOST_PART for part in scope["path"].split("/")):  # no file has such a name
        raise Refused(404, "Not found.")
    if sum(len(name) + len(value) for name, value in scope["headers"]) > MOST_HEADERS:
        raise Refused(431, "The headers are too long.")


def _most(path: str) -> int:
    """The maximum bytes of a body that is no upload."""
    path = path.rstrip("/")
    if path.startswith(MCP):
        return TOOL_BODY
    return BODY if path in (JOIN, RUN) or path.startswith(CALL) else SMALL_BODY


def _with_length(scope: Scope, length: int) -> Scope:
    kept = [pair for pair in scope["headers"] if pair[0] not in (b"content-length", b"transfer-encoding")]
    return {**scope, "headers": [*kept, (b"content-length", str(length).encode())]}


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
