"""Bodies that are large, slow, deep or in many parts, before anything parses them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from starlette.types import Message, Receive

from metaembed_demo.app.server import bodies, mcp_messages
from metaembed_demo.app.server.bodies import Form, Room, bounded, parse, read
from metaembed_demo.app.server.refusals import Refused
from tests.support.coroutines import run

TYPE = b"multipart/form-data; boundary=xx"


def part(head: bytes, data: bytes = b"") -> bytes:
    return b"--xx\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + data + b"\r\n"


def status(wrong: pytest.ExceptionInfo[Refused]) -> int:
    return wrong.value.answer.status_code


def arriving(*parts: bytes, then: float = 0.0) -> Receive:
    """Parts of a body, the last after `then` seconds."""
    left: Iterator[bytes] = iter(parts)
    count = len(parts)

    async def receive() -> Message:
        nonlocal count
        count -= 1
        if count <= 0:
            await asyncio.sleep(then)
        return {"type": "http.request", "body": next(left), "more_body": count > 0}

    return receive


# Forms


def test_a_form_of_files_and_short_fields_is_taken() -> None:
    form = Form(TYPE + b"; charset=UTF-8")
    body = part(b'name="a"', b"x" * bodies.FIELD_BYTES)
    body += part(b'name="files"; filename="a.png"\r\nContent-Type: image/png', b"x" * 100_000) + b"--xx--\r\n"
    for byte in body[:300]:
        form.feed(bytes([byte]))
    form.feed(body[300:])


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        (TYPE + b"; charset=punycode", b"", 415),
        (TYPE + b'; charset="idna"', b"", 415),
        (TYPE, part(b'name="a"\r\nContent-Type: text/plain; charset=punycode', b"a"), 415),
        (TYPE, part(b'name="files"; filename="a"\r\nContent-Type: text/plain; charset=utf-7'), 415),
        (TYPE, part(b'name="a"', b"x" * 4097), 413),
        (TYPE, part(b'name="files"; filename="' + b"a" * 3000 + b'"'), 413),
        (TYPE, part(b'name="a"') * 17, 413),
        (TYPE, part(b'name="files"; filename="a"') * 1001, 413),
        (TYPE, part(b"name=\"files\"; filename*=utf-16''%FE%FF"), 400),
        (TYPE, part(b'name="files"'), 400),
        (TYPE, b"no form", 400),
        (b"application/x-www-form-urlencoded", b"", 400),
        (b"multipart/form-data", b"", 400),
        (b"", b"", 400),
    ],
)
def test_other_forms_are_refused(content_type: bytes, body: bytes, expected: int) -> None:
    with pytest.raises(Refused) as wrong:
        Form(content_type).feed(body)
    assert status(wrong) == expected


# JSON


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"[" + b"{}," * 300_000 + b"{}]", 413),
        (b'["' + rb"\u007b\u007d\u002c" * 100_000 + b'"]', 413),  # what is JSON once it is decoded
        (b"[" * 15_000, 400),
        (b"[" * 40 + b"]" * 40, 400),
        (b'{"a":' * 40 + b"1" + b"}" * 40, 400),
        (b"{", 400),
        (b"\xff", 400),
        (b"1" * 5000, 400),
        (b'{"data": [{"path": " HTTP://127.0.0.1/"}]}', 400),
    ],
)
def test_json_is_short_and_flat(body: bytes, expected: int) -> None:
    with pytest.raises(Refused) as wrong:
        parse(body)
    assert status(wrong) == expected
    assert len(str(wrong.value)) < 100, "what was sent is not repeated"


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (b"[" * 15_000, "not JSON"),
        (b'{"jsonrpc": "2.0", "method": "a", "params": ' + b"[" * 15_000 + b"]" * 15_000 + b"}", "not JSON"),
        (b'{"jsonrpc": "2.0", "method": "a", "params": ' + b'{"a":' * 40 + b"1" + b"}" * 41, "too deeply"),
        (b'{"jsonrpc": "2.0", "method": "a", "params": {"k": ' + b"9" * 1_000_000 + b"}}", "not JSON"),
        (b"[" + b'{"jsonrpc": "2.0"},' * 50 + b"{}]", "one at a time"),
        (b"", "JSON object"),
        (b'{"method": "a"}', "JSON object"),
        (b'{"jsonrpc": "2.0", "id": 1}', "name a method"),
        (b'{"jsonrpc": "2.0", "method": "a", "id": {}}', "id of a message"),
        (b'{"jsonrpc": "2.0", "method": "a", "params": []}', "an object"),
        (
            b'{"jsonrpc": "2.0", "method": "a", "params": {"name": "' + b"x" * 5000 + b'"}}',
            "name of a message",
        ),
        (
            b'{"jsonrpc": "2.0", "method": "a", "params": {"uri": "a:' + b"x" * 5000 + b'"}}',
            "uri of a message",
        ),
        (b'{"jsonrpc": "2.0", "method": "a", "id": "' + b"x" * 5000 + b'"}', "id of a message"),
    ],
    ids=range(13),
)
def test_of_a_wrong_message_for_tools_the_first_error_is_told(message: bytes, told: str) -> None:
    with pytest.raises(Refused, match=told) as wrong:
        mcp_messages.check(message)
    assert status(wrong) == 400
    assert len(str(wrong.value)) < 100


def test_a_message_for_tools_may_hold_any_argument() -> None:
    """A path is just an argument there: no tool reads it."""
    call = {"name": "search", "arguments": {"query": "x" * 100_000, "path": "http://127.0.0.1/"}}
    for id_ in (0, "a"):
        mcp_messages.check(
            json.dumps({"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": call}).encode()
        )
    mcp_messages.check(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}')


def test_usual_json_is_read() -> None:
    assert parse(b"") is None
    assert parse(b'{"data": ["dog, cat", {"path": "/tmp/a"}]}') == {"data": ["dog, cat", {"path": "/tmp/a"}]}


# Time and room


def collect(receive: Receive, most: int = 1000, room: Room | None = None) -> bytes:
    async def all_of_it() -> bytes:
        with (room or Room(10_000, 10_000)).hold("a") as take:
            return await read({}, receive, most, take)

    return run(all_of_it())


@pytest.mark.parametrize(("gap", "grace"), [(0.01, 60.0), (60.0, 0.01)])
def test_a_body_that_does_not_come_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, gap: float, grace: float
) -> None:
    monkeypatch.setattr(bodies, "GAP_S", gap)
    monkeypatch.setattr(bodies, "GRACE_S", grace)
    room = Room(10_000, 10_000)
    with pytest.raises(Refused) as wrong:
        collect(arriving(b"a", b"b", then=60), room=room)
    assert status(wrong) == 408
    assert room.taken == 0
    assert collect(arriving(b"a", b"b")) == b"ab"


def test_after_the_body_there_is_no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "GAP_S", 0.001)

    async def listen() -> Any:
        async def receive() -> Message:
            return given.pop(0) if given else await asyncio.sleep(0.05, {"type": "http.disconnect"})

        given: list[Message] = [{"type": "http.request", "body": b"a"}]
        wait = bounded(receive, 10)
        return [await wait(), await wait()]

    assert run(listen())[1] == {"type": "http.disconnect"}


def test_bodies_share_the_room_there_is() -> None:
    room = Room(most=100, each=60)
    with ExitStack() as held:
        mine, theirs = held.enter_context(room.hold("a")), held.enter_context(room.hold("b"))
        mine(60)
        with pytest.raises(Refused) as wrong:
            mine(1)
        assert status(wrong) == 503
        theirs(40)
        with pytest.raises(Refused):
            theirs(1)  # of the room for all
        with room.hold("a") as again, pytest.raises(Refused):
            again(1)
        assert room.taken == 100
    assert room.taken == 0
    assert not room._taken, "nobody is remembered"
