"""How a server fares: /health asked by one address, searches by another, memory, descriptors and log.

All of it runs in a process of its own, so that what an attack computes on its side slows no answer.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import statistics
import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx

from .server import MOST_MB, descriptors, kill, processes, resident_mb, size_of

EVERY_S = 0.2  # between two questions for /health
PAUSE_S = 0.5  # between the other visitor's searches
SAMPLED_S = 0.1
MOST_LOG = 500_000_000  # bytes; the server is killed beyond that
HEALTH, SEARCHER = "127.0.0.9", "127.0.0.10"
QUESTION = "How do I descale the machine?"


@dataclass
class Seen:
    """What was noted. Times are monotonic."""

    asked: list[tuple[float, float | None]] = field(default_factory=list)  # sent, answered
    searches: list[float] = field(default_factory=list)  # seconds
    failed: list[str] = field(default_factory=list)
    total_mb: list[float] = field(default_factory=list)
    app_mb: list[float] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    log: list[int] = field(default_factory=list)
    killed: str = ""

    def summary(self, ended: float) -> dict[str, Any]:
        """The figures of a row."""
        waits, answered = [], None
        for sent, done in sorted(self.asked, reverse=True):
            # A question that failed counts until the next one was answered.
            answered = done if done is not None else answered
            waits.append((answered if answered is not None else ended) - sent)
        searched = sorted(self.searches)
        last_ok = bool(self.asked) and any(done is not None for _, done in self.asked[-15:])
        return {
            "health": {
                "longest_s": round(max(waits, default=0.0), 2),
                "asked": len(self.asked),
                "unanswered": sum(done is None for _, done in self.asked),
                "answers_at_the_end": last_ok and not self.killed,
            },
            "search_of_another": {
                "count": len(searched),
                "median_s": round(statistics.median(searched), 2) if searched else None,
                "longest_s": round(searched[-1], 2) if searched else None,
                "failed": len(self.failed),
                "failures": sorted(set(self.failed))[:3],
            },
            "memory_mb": _span(self.total_mb),
            "app_memory_mb": _span(self.app_mb),
            "descriptors": {"before": self.descriptors[0], "most": max(self.descriptors)}
            if self.descriptors
            else None,
            "log_bytes": self.log[-1] - self.log[0] if self.log else None,
            "killed": self.killed,
        }


def _span(values: list[float]) -> dict[str, int] | None:
    alive = [value for value in values if value]
    if not alive:
        return None
    return {"before": round(alive[0]), "peak": round(max(alive)), "after": round(alive[-1])}


class Observer:
    """Starts to observe when it is made; `stop` gives the figures."""

    def __init__(self, address: str, pid: int, log: Path, login: dict[str, str]) -> None:
        """login: "token" and "password" of the server, where it has them."""
        context = multiprocessing.get_context("fork")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(theirs, address, pid, log, login), daemon=True)
        self._process.start()
        theirs.close()

    def stop(self) -> dict[str, Any]:
        """The figures. Raises EOFError when the observer has ended before."""
        try:
            self._pipe.send("stop")
            found: dict[str, Any] = self._pipe.recv()
        finally:
            self._process.join(10)
            self._process.kill()
        return found


def _run(pipe: Connection, address: str, pid: int, log: Path, login: dict[str, str]) -> None:
    pipe.send(asyncio.run(_observe(pipe, address, pid, log, login)))


async def _observe(
    pipe: Connection, address: str, pid: int, log: Path, login: dict[str, str]
) -> dict[str, Any]:
    seen, ends = Seen(), asyncio.Event()
    asyncio.get_running_loop().add_reader(pipe.fileno(), ends.set)
    jobs = [
        asyncio.create_task(each)
        for each in (_health(seen, address), _searches(seen, address, login), _watch(seen, pid, log))
    ]
    await ends.wait()
    ended = time.monotonic()
    for job in jobs:
        job.cancel()
    await asyncio.gather(*jobs, return_exceptions=True)
    return seen.summary(ended)


async def _health(seen: Seen, address: str) -> None:
    host, _, port = address.removeprefix("http://").partition(":")
    asking: set[asyncio.Task[None]] = set()
    try:
        while True:
            if len(asking) < 300:
                asking.add(task := asyncio.create_task(_ask(seen, host, int(port))))
                task.add_done_callback(asking.discard)
            await asyncio.sleep(EVERY_S)
    finally:
        left = list(asking)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _ask(seen: Seen, host: str, port: int) -> None:
    sent, done = time.monotonic(), None
    writer: asyncio.StreamWriter | None = None
    try:
        reader, writer = await asyncio.open_connection(host, port, local_addr=(HEALTH, 0))
        writer.write(f"GET /health HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        if (await reader.readline()).split()[1:2] == [b"200"]:
            done = time.monotonic()
    except OSError:
        pass
    finally:
        seen.asked.append((sent, done))
        if writer:
            writer.transport.abort()


async def _searches(seen: Seen, address: str, login: dict[str, str]) -> None:
    headers = {"Authorization": f"Bearer {login['token']}"} if "token" in login else {}
    transport = httpx.AsyncHTTPTransport(local_address=SEARCHER)
    async with httpx.AsyncClient(
        base_url=address, transport=transport, timeout=None, headers=headers
    ) as client:
        if "password" in login:
            form = {"username": "me", "password": login["password"]}
            await client.post("/login", data=form, headers={"Origin": address})
        while True:
            began = time.monotonic()
            try:
                failure = await _search(client)
            except httpx.HTTPError as error:
                failure = type(error).__name__
            except asyncio.CancelledError:
                if time.monotonic() - began > 1:  # it would have taken still longer
                    seen.searches.append(time.monotonic() - began)
                raise
            if failure:
                seen.failed.append(failure)
            else:
                seen.searches.append(time.monotonic() - began)
            await asyncio.sleep(PAUSE_S)


async def _search(client: httpx.AsyncClient) -> str:
    """Search the samples; returns why it failed, if it did."""
    data = [QUESTION, "16x64", 10, "", None]
    asked = await client.post("/gradio_api/call/search", json={"data": data})
    if asked.status_code != 200:
        return str(asked.status_code)
    told = await client.get(f"/gradio_api/call/search/{asked.json()['event_id']}")
    with suppress(ValueError, IndexError, KeyError, TypeError):
        lines = told.text.rpartition("event: complete")[2].strip()
        if json.loads(lines.removeprefix("data: "))[0]["hits"]:
            return ""
    return f"{told.status_code}, no hits"


async def _watch(seen: Seen, pid: int, log: Path) -> None:
    below, looked = processes(pid), time.monotonic()
    while True:
        if time.monotonic() - looked > 1:
            below, looked = processes(pid), time.monotonic()
        sizes = [resident_mb(each) for each in below]
        seen.app_mb.append(sizes[0])
        seen.total_mb.append(sum(sizes))
        seen.descriptors.append(descriptors(pid))
        seen.log.append(size_of(log))
        if not seen.killed and (sum(sizes) > MOST_MB or seen.log[-1] > MOST_LOG):
            seen.killed = f"at {MOST_MB:,} MB" if sum(sizes) > MOST_MB else f"at {MOST_LOG:,} bytes of log"
            kill(pid)
            os.truncate(log, 0) if seen.log[-1] > MOST_LOG else None
        await asyncio.sleep(SAMPLED_S)
