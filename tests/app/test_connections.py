"""Connections to a running server: half a head, half a body, an answer that nobody takes, and too many."""

from __future__ import annotations

import asyncio
import io
import logging
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from metaembed_demo.app.server import connections
from metaembed_demo.app.server.connections import Connections, raise_file_limit
from metaembed_demo.app.server.visitor_cookie import VisitorCookie
from metaembed_demo.core import logs
from tests.support.app_server import free_port, until

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"
LARGE = b"GET /?size=20000000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
MOST = 8
Connect = Callable[..., socket.socket]


async def answer(request: Request) -> PlainTextResponse:
    size = int(request.query_params.get("size", 2))
    return PlainTextResponse("x" * size, headers={"X-Client": request.client.host if request.client else ""})


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Connections, Connect]]:
    """A server with short deadlines, and a way to connect to it."""
    monkeypatch.setattr(connections, "HEAD_S", 0.3)
    monkeypatch.setattr(connections, "REST_S", 0.3)
    monkeypatch.setattr(connections, "TAKEN_S", 0.3)
    app = Starlette(
        routes=[Route("/", answer, methods=["GET", "POST"])], middleware=[Middleware(VisitorCookie)]
    )
    names = ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio")
    loggers = [(each, each.handlers[:], each.propagate) for each in map(logging.getLogger, names)]
    held = Connections(MOST, lambda address: False, (VisitorCookie,))
    port = free_port()
    config = uvicorn.Config(
        app, "127.0.0.1", port, log_level="warning", log_config=None, timeout_keep_alive=1
    )
    held.set_up(config)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    assert until(lambda: server.started)
    with ExitStack() as open_ones:

        def connect(sent: bytes = b"", **options: int) -> socket.socket:
            made = socket.socket()
            for name, value in options.items():
                made.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
            made.settimeout(30)
            made.connect(("127.0.0.1", port))
            made.sendall(sent)
            return open_ones.enter_context(closing(made))

        yield held, connect
    server.should_exit = True
    thread.join(30)
    for logger, handlers, propagate in loggers:
        logger.handlers[:], logger.propagate = handlers, propagate


def all_of(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    found = b""
    try:
        while part := connection.recv(65536):
            found += part
    except ConnectionResetError:
        pass
    return found


def test_half_a_request_is_not_waited_for(served: tuple[Connections, Connect]) -> None:
    held, connect = served
    assert all_of(connect()) == b""
    assert all_of(connect(HEAD)) == b""
    # After a whole one, too.
    again = connect(HEAD + b"\r\n" + HEAD)
    assert all_of(again).startswith(b"HTTP/1.1 200")
    # A body that nobody reads is let in for a while, however slowly it comes.
    slow = connect(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc")
    assert all_of(slow).startswith(b"HTTP/1.1 200")
    assert until(lambda: not held._open), "and all are forgotten"


def test_a_whole_request_is_answered_by_its_peer_s_address(served: tuple[Connections, Connect]) -> None:
    _, connect = served
    claimed = connect(HEAD + b"X-Forwarded-For: 192.0.2.1\r\nConnection: close\r\n\r\n")
    told = all_of(claimed).lower()
    assert b"x-client: 127.0.0.1" in told
    assert b"server:" not in told


def test_an_answer_that_is_not_taken_is_dropped(served: tuple[Connections, Connect]) -> None:
    held, connect = served
    connect(LARGE, SO_RCVBUF=4096)
    assert until(lambda: not held._open)
    assert not held._unread


def test_an_address_leaves_few_answers_untaken(
    served: tuple[Connections, Connect], monkeypatch: pytest.MonkeyPatch
) -> None:
    held, connect = served
    monkeypatch.setattr(connections, "TAKEN_S", 600.0)
    first = connect(LARGE, SO_RCVBUF=4096)
    assert until(lambda: held._unread.total() > 10_000_000), "one is kept, however large"
    kept = held._unread.total()
    for _ in range(3):
        untaken = connect(LARGE)
        assert untaken.recv(1) == b"H"
        assert until(lambda: held._open.total() == 1)
        assert len(all_of(untaken)) < 20_000_000
    assert held._unread.total() == kept
    first.close()
    assert until(lambda: not held._unread)


def test_untaken_answers_have_a_bound_for_all() -> None:
    held = Connections(2, lambda address: address == "10.0.0.1", ())
    size = connections.UNREAD_OF_ONE
    assert [held.keep("192.0.2.1", size) for _ in range(2)] == [True, False]
    room = connections.UNREAD // size - 1
    assert [held.keep("10.0.0.1", size) for _ in range(room + 1)] == [True] * room + [False]
    assert not held.keep("192.0.2.2", size)
    held.let_go("192.0.2.1", size)
    assert held.keep("192.0.2.2", size)
    assert "192.0.2.1" not in held._unread


def test_an_address_has_so_many_connections(served: tuple[Connections, Connect]) -> None:
    _, connect = served
    waiting = [connect(HEAD) for _ in range(MOST)]
    assert all_of(connect(HEAD + b"Connection: close\r\n\r\n")) == b""
    for each in waiting:
        each.close()
    assert until(lambda: b"200" in all_of(connect(HEAD + b"Connection: close\r\n\r\n")))


def test_proxies_have_as_many_as_there_are() -> None:
    held = Connections(2, lambda address: address == "10.0.0.1", ())
    assert [held.enter("192.0.2.1") for _ in range(3)] == [True, True, False]
    assert all(held.enter("10.0.0.1") for _ in range(100))
    held._most = 103
    assert [held.enter("192.0.2.2") for _ in range(2)] == [True, False]
    assert "192.0.2.9" not in held._open
    for _ in range(2):
        held.leave("192.0.2.1")
    assert "192.0.2.1" not in held._open


def test_more_files_may_be_open_and_running_out_is_logged_a_few_times(
    served: tuple[Connections, Connect],
) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[0], 256), before[1]))
        assert raise_file_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 256
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    written = io.StringIO()
    for handler in logging.getLogger("asyncio").handlers:
        if isinstance(handler.formatter, logs.Formatter):
            handler.setStream(written)  # type: ignore[attr-defined]
    for _ in range(5000):
        logging.getLogger("asyncio").error("socket.accept() out of system resource\nsocket: 5")
    assert 1 <= written.getvalue().count("out of system resource") <= 30
