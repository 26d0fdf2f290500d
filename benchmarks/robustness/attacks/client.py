"""Visitors without a browser, each from a loopback address of its own, honest and not."""

from __future__ import annotations

import json
import re
import socket
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from .files import IndexFile, text_pdf
from .server import Server

ATTACKER = "127.0.0.66"
PICTURE = re.compile(r"pictures/[\w-]+/\w+/[\w.]+")
PACKED = re.compile(r'"path": ?"([^"]*\.zip)"')
OWN = "persimmon tumbleweed"  # words of the attacker's page
MOST_ANSWER = 300_000_000  # bytes that are read of one answer


class Refused(Exception):
    """The server did not do what was asked: a result, not a fault."""


@dataclass
class Field:
    """The field of one attack: the server, when the attack ends, and what it notes."""

    server: Server
    kept: Path  # a folder that attacks on one checkout share
    ends: float  # monotonic
    tell: Callable[[dict[str, Any]], object]  # takes what has been found so far
    statuses: Counter[str] = field(default_factory=Counter)
    notes: dict[str, Any] = field(default_factory=dict)
    alone: bool = False  # everything comes from the attacker's address, whoever it is meant to be

    def note(self, **found: Any) -> None:
        """Add findings to the row."""
        self.notes.update(found)
        self.tell({"statuses": dict(self.statuses), "notes": self.notes})

    def left_s(self) -> float:
        """Seconds until the attack has to end. Raises Refused when they are over."""
        left = self.ends - time.monotonic()
        if left <= 0:
            raise Refused("out of time")
        return left

    def hold(self, seconds: float) -> None:
        time.sleep(min(seconds, max(0.0, self.ends - time.monotonic())))

    def visitor(self, address: str = ATTACKER, **headers: str) -> Visitor:
        return Visitor(self, ATTACKER if self.alone else address, headers)

    def tab(self, address: str = ATTACKER) -> Tab:
        return Tab(self, ATTACKER if self.alone else address)

    def socket(self, address: str = ATTACKER) -> socket.socket:
        """A connection without HTTP."""
        where = (self.server.host, self.server.port)
        return socket.create_connection(where, timeout=5, source_address=(address, 0))

    def own_index(self) -> IndexFile:
        """An index file of one page, downloaded from the server that is attacked."""
        file = self.kept / "own.zip"
        if not file.exists():
            file.write_bytes(self.tab("127.0.0.165").own_index())
        return IndexFile(file.read_bytes())


class Visitor:
    """A client of the API and of plain HTTP."""

    def __init__(self, field: Field, address: str, headers: dict[str, str]) -> None:
        self.field = field
        self.http = httpx.Client(
            base_url=field.server.address,
            transport=httpx.HTTPTransport(local_address=address),
            headers=headers,
            event_hooks={"response": [self._count]},
        )

    def _count(self, answer: httpx.Response) -> None:
        self.field.statuses[str(answer.status_code)] += 1

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Any request. The answer is read up to a bound. Raises Refused when the connection is lost."""
        try:
            with self.http.stream(method, path, timeout=self.field.left_s(), **more) as answer:
                parts, size = [], 0
                for part in answer.iter_bytes():
                    size += len(part)
                    parts.append(part)
                    if size > MOST_ANSWER or time.monotonic() > self.field.ends:
                        break
                answer._content = b"".join(parts)
                return answer
        except httpx.HTTPError as error:
            self.field.statuses[type(error).__name__] += 1
            raise Refused(f"{type(error).__name__} from {path[:60]}") from error

    def wanted(self, method: str, path: str, **more: Any) -> httpx.Response:
        """As `ask`. Raises Refused for any status but success."""
        answer = self.ask(method, path, **more)
        if answer.status_code >= 400:
            raise Refused(f"{answer.status_code} from {path[:60]}: {answer.text[:160]}")
        return answer

    def start(self, name: str, data: Sequence[Any]) -> str:
        """Put a call into the queue; returns its id."""
        asked = self.wanted("POST", f"/gradio_api/call/{name}", json={"data": list(data)})
        return str(asked.json()["event_id"])

    def finish(self, name: str, event: str) -> Any:
        told = self.wanted("GET", f"/gradio_api/call/{name}/{event}").text
        kind, _, rest = told.rpartition("event: ")[2].partition("\n")
        if kind.strip() != "complete":
            raise Refused(f"{name}: {kind.strip()} {rest.strip()[:160]}")
        return json.loads(rest.strip().removeprefix("data: "))[0]

    def call(self, name: str, *data: Any) -> Any:
        """The answer of a named endpoint. Raises Refused when there is none."""
        return self.finish(name, self.start(name, data))

    def upload(self, name: str, data: bytes) -> dict[str, Any]:
        """The file as later calls name it."""
        sent = self.wanted("POST", "/gradio_api/upload", files={"files": (name, data)})
        meta = {"_type": "gradio.FileData"}
        return {"path": sent.json()[0], "name": name, "orig_name": name, "meta": meta}


class Tab(Visitor):
    """A tab on the page, which sends the requests that a browser sends."""

    def __init__(self, field: Field, address: str) -> None:
        super().__init__(field, address, {"Sec-Fetch-Site": "same-origin", "Origin": field.server.address})
        self.hash = uuid.uuid4().hex[:12]
        self.wanted("GET", "/")
        config = self.wanted("GET", "/config").json()
        names = {each["id"]: each["props"].get("elem_id") for each in config["components"]}
        wired = config["dependencies"]
        self.events = {(names.get(at), kind): each for each in wired for at, kind in each["targets"]}
        self.after = {each["trigger_after"]: each for each in wired if each.get("trigger_after") is not None}
        self.fire(None, "load")

    def fire(self, name: str | None, kind: str, more: Any = None, data: Sequence[Any] = ()) -> str:
        """An event of the region `name`, and the one that follows it; returns all that was sent for it."""
        event = self.events[name, kind]
        told = self._send(event, more, data)
        return told + self._send(self.after[event["id"]], None, ()) if event["id"] in self.after else told

    def _send(self, event: dict[str, Any], more: Any, data: Sequence[Any]) -> str:
        asked = {"fn_index": event["id"], "session_hash": self.hash, "data": list(data), "event_data": more}
        if not event["queue"]:
            return self.wanted("POST", "/gradio_api/run/predict", json=asked).text
        self.wanted("POST", "/gradio_api/queue/join", json=asked)
        return self.wanted("GET", "/gradio_api/queue/data", params={"session_hash": self.hash}).text

    def search(self, text: str) -> str:
        return self.fire("query", "submit", None, [text])

    def own_index(self) -> bytes:
        """A downloaded index with one page of one's own alone."""
        self.fire("listing", "submit", {"action": "clear", "value": ""})
        self.fire("drop", "upload", {"files": [self.upload("own.pdf", text_pdf(f"harmless words {OWN}"))]})
        found = PACKED.findall(self.fire("index-file", "submit"))
        if not found:
            raise Refused("the index was not packed")
        return self.wanted("GET", f"/gradio_api/file={found[-1]}").content

    def open_index(self, data: bytes) -> str:
        """Open an index file beside no other page; returns what the page says of it."""
        self.fire("listing", "submit", {"action": "clear", "value": ""})
        given = self.upload("index.zip", data)
        told = self.fire("index-file", "upload", {"files": [given]})
        return _news(told)

    def evidence(self, page_id: str, query: str) -> str:
        """All that the page tells of a hit, or of the first one, if it has no page of that id.

        Results, marks, map, record and reading; a step that is refused tells nothing.
        """
        told = self.search(query)
        for step in (
            lambda: self.fire("results", "select", {"page": page_id}),
            lambda: self.fire("marks", "submit", {}),
            lambda: self.fire("evidence-tabs", "select", {"value": "Alignment", "index": 0}),
            lambda: self.fire("evidence-tabs", "select", {"value": "Page map", "index": 1}),
            lambda: self.fire("link", "submit", {}),
        ):
            with suppress(Refused):
                told += step()
        readings = sorted(set(re.findall(r"pictures/[\w-]+/\w+/\w+\.json", told)))
        return told + "".join(self.wanted("GET", f"/{path}").text for path in readings)


def _news(told: str) -> str:
    """The last message about an index file in the answers of events, as plain text."""
    plain = re.sub(r"<[^>]*>|\\u003c.*?\\u003e", " ", told.replace('\\"', '"'))
    found = re.findall(r"[^.:{}]{0,60}index\.zip[^\"{}]{0,200}", plain)
    return " ".join(found[-1].split())[:240] if found else ""
