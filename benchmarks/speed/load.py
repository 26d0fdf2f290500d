"""Many users at once: `python -m benchmarks.speed.load` starts the app, asks it over HTTP, writes load.json.

Every user has a session of the API. Searchers ask, read for a few seconds (exponential, `--think` on average)
and ask again, at a random budget; uploaders index a small PDF of their own, wait until it is done, and delete
it. After `--stay` seconds on average a user leaves, and comes back in a new session. What is told: searches
and uploads with their times, every answer that was not what it should be, the server's memory over time, and
how evenly the searchers were served. `--minutes 60 --out benchmarks/results/soak.json` makes a soak of it;
memory's growth is that of the second half.

With `--attacker` one address, 127.0.0.66, runs the attacks of benchmarks/robustness that slow others, in turn
until the end, and every user has an address of their own, from 127.0.0.2 on, with
the limits that the app has for it. Then it writes attacked.json; as in

    python -m benchmarks.speed.load --attacker --searchers 20 --uploaders 0 --minutes 5 [--checkout DIR]

the goal is that in every minute each search succeeds, 95% of them in 1.5 s.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from reportlab.pdfgen.canvas import Canvas

from benchmarks import RESULTS
from benchmarks.robustness.attack import provenance
from benchmarks.robustness.attacks.server import MOST_MB, Server, kill, processes, resident_mb
from metaembed_demo.core.config import ROOT

OUT, ATTACKED = RESULTS / "load.json", RESULTS / "attacked.json"
BUDGETS = ("1x1", "2x4", "4x8", "8x16", "16x64")
QUESTIONS = ROOT / "sample_corpus" / "queries.jsonl"
WAIT_S = 180.0
LATE_S = 30.0  # after the end, for searches beside an attacker; they have failed then
MOST_USERS = 64  # beside an attacker: 127.0.0.2 to 127.0.0.65
SAMPLED_S, WATCHED_S = 5.0, 0.25
GOAL_MS = 1500.0  # of 95% of the searches of a minute beside an attacker


@dataclass
class Tally:
    """What all users met."""

    searches: list[float] = field(default_factory=list)  # milliseconds
    uploads: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    by_user: dict[int, int] = field(default_factory=dict)
    sessions: int = 0  # that came after the first of each user
    megabytes: list[float] = field(default_factory=list)
    began: float = 0.0  # monotonic
    by_minute: list[tuple[int, float]] = field(default_factory=list)  # minute and milliseconds of a search
    failed: Counter[int] = field(default_factory=Counter)  # minute -> searches that failed
    attacks: dict[str, int] = field(default_factory=dict)  # how often each was run
    killed: bool = False  # the server, for its memory

    def minute(self) -> int:
        return int((time.monotonic() - self.began) // 60)


class User:
    """One session of the API over plain HTTP."""

    def __init__(self, client: httpx.AsyncClient, number: int, tally: Tally) -> None:
        self.client, self.number, self.tally = client, number, tally
        self.session, self.leaves = "", float("inf")
        self.chance = random.Random(number)

    async def call(self, name: str, data: list[Any]) -> Any:
        """The answer of an endpoint. Raises RuntimeError with what the server said instead."""
        asked = await self.client.post(f"/gradio_api/call/{name}", json={"data": data})
        asked.raise_for_status()
        told = await self.client.get(f"/gradio_api/call/{name}/{asked.json()['event_id']}")
        told.raise_for_status()
        event, _, rest = told.text.rpartition("event: ")[2].partition("\n")
        if event.strip() != "complete":
            raise RuntimeError(f"{name}: {event.strip()} {rest.strip()[:200]}")
        return json.loads(rest.removeprefix("data: ").strip())[0]

    async def begin(self, stay: float) -> None:
        self.session = (await self.call("new_session", []))["session"]
        self.leaves = time.monotonic() + self.chance.expovariate(1 / stay)

    async def come_back(self, stay: float) -> None:
        """A session ends, and another begins, when it is time."""
        if time.monotonic() >= self.leaves:
            await self.call("end_session", [self.session])
            await self.begin(stay)
            self.tally.sessions += 1

    async def search(self, questions: list[str]) -> None:
        began, minute = time.perf_counter(), self.tally.minute()
        data = [self.chance.choice(questions), self.chance.choice(BUDGETS), 10, self.session, None]
        try:
            found = await self.call("search", data)
        except BaseException:  # one that is given up at the end, too
            self.tally.failed[minute] += 1
            raise
        self.tally.searches.append((time.perf_counter() - began) * 1000)
        self.tally.by_minute.append((minute, self.tally.searches[-1]))
        self.tally.by_user[self.number] = self.tally.by_user.get(self.number, 0) + 1
        if len(found["hits"]) != 10:
            self.tally.errors.append(f"a search found {len(found['hits'])} pages")

    async def upload(self, folder: Path, turn: int) -> None:
        file = folder / f"user{self.number}-{turn}.pdf"
        write_pdf(file, f"Report {turn} of user {self.number}", pages=2)
        began = time.perf_counter()
        with file.open("rb") as data:
            sent = await self.client.post("/gradio_api/upload", files={"files": (file.name, data)})
        sent.raise_for_status()
        given = {"path": sent.json()[0], "orig_name": file.name, "meta": {"_type": "gradio.FileData"}}
        report = await self.call("index", [[given], self.session])
        self.tally.uploads.append((time.perf_counter() - began) * 1000)
        if report["added"] != 2:
            self.tally.errors.append(f"an upload added {report['added']} pages: {report['problems']}")
        own = await self.call(
            "search", [f"report {turn} of user {self.number}", "8x16", 3, self.session, None]
        )
        if own["hits"][0]["source"] != file.name:
            self.tally.errors.append(
                f"user {self.number} found {own['hits'][0]['source']} for their own file"
            )
        await self.call("delete", [file.name, self.session])

    async def guarded(self, step: Any) -> None:
        try:
            await step
        except Exception as error:
            self.tally.errors.append(f"{type(error).__name__}: {error}"[:300])
            await asyncio.sleep(1.0)


def write_pdf(path: Path, title: str, pages: int) -> None:
    canvas = Canvas(str(path))
    for number in range(1, pages + 1):
        canvas.drawString(72, 720, f"{title}, page {number}")
        canvas.drawString(
            72, 690, "The machine was cleaned, the figures were checked, the harbour stayed open."
        )
        canvas.showPage()
    canvas.save()


async def run(server: Server, options: argparse.Namespace, folder: Path) -> Tally:
    tally, attacker = Tally(), None
    questions = [json.loads(line)["text"] for line in QUESTIONS.read_text().splitlines()]
    async with contextlib.AsyncExitStack() as stack:
        users = []
        for number in range(options.searchers + options.uploaders):
            client = _client(server.address, f"127.0.0.{2 + number}" if options.attacker else None)
            users.append(User(await stack.enter_async_context(client), number, tally))
        for user in users:
            await user.begin(options.stay)
        tally.began = time.monotonic()
        ends = tally.began + options.minutes * 60
        if options.attacker:
            attacker = await _attacker(server.address, options.minutes)
            stack.callback(kill, attacker.pid)  # if it is still there

        async def searches(user: User) -> None:
            while time.monotonic() < ends:
                await asyncio.sleep(user.chance.expovariate(1 / options.think))
                await user.guarded(user.come_back(options.stay))
                await user.guarded(user.search(questions))

        async def uploads(user: User) -> None:
            turn = 0
            while time.monotonic() < ends:
                turn += 1
                await user.guarded(user.come_back(options.stay))
                await user.guarded(user.upload(folder, turn))
                await asyncio.sleep(options.think)

        async def watch() -> None:
            while time.monotonic() < ends and not tally.killed:
                sampled = time.monotonic()
                tally.megabytes.append(resident(server.pid))
                while time.monotonic() < sampled + SAMPLED_S:
                    await asyncio.sleep(WATCHED_S)
                    if resident(server.pid) > MOST_MB:
                        tally.killed = True
                        kill(server.pid)

        doing = [asyncio.create_task(watch())]
        doing += [asyncio.create_task(searches(user)) for user in users[: options.searchers]]
        doing += [asyncio.create_task(uploads(user)) for user in users[options.searchers :]]
        late_s = LATE_S if attacker else WAIT_S
        _, late = await asyncio.wait(doing, timeout=options.minutes * 60 + late_s)
        for each in late:
            each.cancel()
        for told in await asyncio.gather(*doing, return_exceptions=True):
            if isinstance(told, Exception):
                raise told
        if attacker:
            tally.attacks = json.loads((await attacker.communicate())[0] or "{}")
    return tally


def _client(address: str, own: str | None) -> httpx.AsyncClient:
    """A user's connections, from their `own` address, if any."""
    # Shorter than the server keeps a connection, or a request now and then meets one that is being closed.
    limits = httpx.Limits(max_connections=4, keepalive_expiry=2.0)
    transport = httpx.AsyncHTTPTransport(local_address=own, limits=limits)
    return httpx.AsyncClient(base_url=address, timeout=WAIT_S, transport=transport)


async def _attacker(address: str, minutes: float) -> asyncio.subprocess.Process:
    command = ["-m", "benchmarks.robustness.attack", "--at", address, "--minutes", str(minutes)]
    return await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True
    )


def resident(pid: int) -> float:
    """Resident memory of a process and all below it, in MB (10^6 bytes)."""
    return round(sum(map(resident_mb, processes(pid))), 1)


def summary(tally: Tally, options: argparse.Namespace) -> dict[str, Any]:
    def times(ms: list[float]) -> dict[str, Any]:
        if not ms:
            return {"count": 0}
        p50, p95, p99 = (round(float(np.percentile(ms, q)), 1) for q in (50, 95, 99))
        return {"count": len(ms), "p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "max_ms": round(max(ms), 1)}

    counts = [tally.by_user.get(n, 0) for n in range(options.searchers)]
    held = tally.megabytes
    return {
        "minutes": options.minutes,
        "searchers": options.searchers,
        "uploaders": options.uploaders,
        "think_s": options.think,
        "stay_s": options.stay,
        "sessions": tally.sessions + options.searchers + options.uploaders,
        "machine": {"cpus": os.cpu_count(), "load": os.getloadavg()},
        "searches": times(tally.searches),
        "uploads": times(tally.uploads),
        "errors": len(tally.errors),
        "errors_told": sorted(set(tally.errors))[:20],
        "searches_a_user": {"fewest": min(counts), "most": max(counts)},
        "resident_mb": {
            "first": held[0],
            "middle": held[len(held) // 2],
            "last": held[-1],
            "most": max(held),
            "by_minute": [round(float(np.median(part))) for part in _minutes(held)],
            "growth_an_hour": _growth(held[len(held) // 2 :]),
        },
    }


def _minutes(held: list[float]) -> list[list[float]]:
    step = round(60 / SAMPLED_S)
    return [held[at : at + step] for at in range(0, len(held), step)]


def _growth(held: list[float]) -> float | None:
    """MB an hour, as the straight line of least squares has it; None of too few samples."""
    if len(held) < 3:
        return None
    hours = np.arange(len(held)) * SAMPLED_S / 3600
    return round(float(np.polyfit(hours, held, 1)[0]), 1)


def minutes(tally: Tally, count: int) -> list[dict[str, Any]]:
    """Every minute's searches, by when they were sent, and whether they reached the goal."""
    found = []
    for minute in range(count):
        times = [ms for at, ms in tally.by_minute if at == minute]
        p95 = round(float(np.percentile(times, 95)), 1) if times else None
        held = p95 is not None and p95 < GOAL_MS and not tally.failed[minute]
        found.append({"searches": len(times), "failed": tally.failed[minute], "p95_ms": p95, "held": held})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searchers", type=int, default=50)
    parser.add_argument("--uploaders", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--think", type=float, default=4.0, help="seconds between a user's searches")
    parser.add_argument("--stay", type=float, default=300.0, help="seconds until a user begins a new session")
    parser.add_argument(
        "--attacker", action="store_true", help="attack meanwhile, from an address of its own"
    )
    parser.add_argument("--checkout", type=Path, default=ROOT, help="whose app is started; default: this one")
    parser.add_argument("--label", default="after", help="the part of attacked.json that is written")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.attacker and options.searchers + options.uploaders > MOST_USERS:
        parser.error(f"At most {MOST_USERS} users have an address of their own beside an attacker.")
    # Without an attacker all users have one address, and may ask as much as so many addresses.
    alone = {"METAEMBED_REQUESTS_PER_MINUTE": "0", "METAEMBED_ADDRESS_SHARE": "100"}
    settings = {} if options.attacker else alone
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the server ends, too
    checkout = options.checkout.resolve()
    with tempfile.TemporaryDirectory() as folder, Server(checkout, Path(folder, "app"), settings) as server:
        tally = asyncio.run(run(server, options, Path(folder)))
    found = summary(tally, options)
    out = options.out or (ATTACKED if options.attacker else OUT)
    if options.attacker:
        found |= {
            **provenance(checkout),
            "by_minute": minutes(tally, math.ceil(options.minutes)),
            "attacks": tally.attacks,
            "killed": tally.killed,
        }
        told = json.loads(out.read_text()) if out.exists() else {}
        found = {**told, options.label: found}
    out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
