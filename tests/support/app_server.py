"""Servers of their own for tests, with limits of their own, and a browser tab without a browser."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from metaembed_demo.app.server.access import RUN
from metaembed_demo.core.config import ROOT

START_S = 240  # a busy machine


@dataclass(frozen=True)
class Served:
    """A running app: its address, the folder in which its uploads arrive, and its process."""

    address: str
    temporary: Path
    pid: int

    def files(self) -> list[Path]:
        """What lies there now."""
        return [path for path in self.temporary.rglob("*") if path.is_file()]


def free_port() -> int:
    """One that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def serve(temporary: Path, *before: str, app: str = "small_app", **settings: object) -> Iterator[Served]:
    """`small_app.py` or another with METAEMBED_* `settings`, started by the command `before`, if any."""
    port = free_port()
    ours = {name: value for name, value in os.environ.items() if not name.startswith("METAEMBED_")}
    process = subprocess.Popen(
        [*before, sys.executable, "-m", f"tests.support.{app}"],
        env={
            **ours,
            "PYTHONPATH": str(ROOT),
            "GRADIO_TEMP_DIR": str(temporary),
            "METAEMBED_HOST": "127.0.0.1",
            "METAEMBED_PORT": str(port),
            "METAEMBED_WORKER": "0",
            **{f"METAEMBED_{name}": str(value) for name, value in settings.items()},
        },
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        assert process.stdout is not None
        told = ""
        for line in process.stdout:
            told += line
            if line.startswith("Ready"):
                break
        assert "Ready" in told, told
        yield Served(f"http://127.0.0.1:{port}", temporary, process.pid)
    finally:
        process.terminate()
        process.wait(30)


def until(done: Callable[[], bool], seconds: float = 30) -> bool:
    """Wait for something that happens in the background."""
    ends = time.monotonic() + seconds
    while not done():
        if time.monotonic() > ends:
            return False
        time.sleep(0.1)
    return True


class Tab:
    """A tab of the page: its events as a browser sends them, and what the server answers."""

    def __init__(self, address: str, client: httpx.Client | None = None) -> None:
        self.http = client or httpx.Client(base_url=address, timeout=60)
        self.hash = secrets.token_hex(6)
        self.http.get("/").raise_for_status()  # brings the visitor's cookie
        self.config = self.http.get("/config").json()
        ids = {each["props"].get("elem_id"): each["id"] for each in self.config["components"]}
        self._events = {}
        for each in self.config["dependencies"]:
            for target, event in each["targets"]:
                names = [name for name, number in ids.items() if number == target]
                self._events[names[0] if names else None, event] = each

    def send(
        self, name: str | None, event: str, more: Any = None, data: list[Any] | None = None, query: str = ""
    ) -> str:
        """Fire an event of the component called `name`. Returns all that the server says to it, as text.

        The answer to an event that does not go through the queue reads as the queue's last message.
        """
        if self._events[name, event]["queue"]:
            self.join(name, event, more, data, query)
            return self.hear(1)
        told = self.http.post(RUN + query, json=self._asked(name, event, more, data))
        success = "true" if told.is_success else "false"
        return f'{{"msg":"process_completed","success":{success},"output":{told.text}}}'

    def join(
        self, name: str | None, event: str, more: Any = None, data: list[Any] | None = None, query: str = ""
    ) -> None:
        """Fire an event of the queue and go on."""
        asked = self._asked(name, event, more, data)
        self.http.post(f"/gradio_api/queue/join{query}", json=asked).raise_for_status()

    def _asked(self, name: str | None, event: str, more: Any, data: list[Any] | None) -> dict[str, Any]:
        found = self._events[name, event]
        return {
            "fn_index": found["id"],
            "session_hash": self.hash,
            "data": data if data is not None else [None] * len(found["inputs"]),
            "event_data": more,
        }

    def hear(self, events: int) -> str:
        """All that the server says until so many events are done, as text."""
        told = []
        stream = self.http.stream("GET", "/gradio_api/queue/data", params={"session_hash": self.hash})
        with stream as lines:
            for line in lines.iter_lines():
                told.append(line)
                done = line.startswith("data:") and json.loads(line[5:])["msg"] == "process_completed"
                events -= done
                if not events:
                    break
        return "\n".join(told)

    def upload(self, name: str, content: bytes) -> str:
        """The path that an uploaded file has on the server."""
        sent = self.http.post("/gradio_api/upload", files={"files": (name, content)})
        sent.raise_for_status()
        return str(sent.json()[0])
