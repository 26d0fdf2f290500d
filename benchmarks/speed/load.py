"""Many users at once: `python -m benchmarks.speed.load` starts the app, asks it over HTTP, writes load.json.

Every user has a session of the API. Searchers ask, read for a few seconds (exponential, `--think` on average)
and ask again, at a random budget; uploaders index a small PDF of their own, wait until it is done, and delete
it. After `--stay` seconds on average a user leaves, and comes back in a new session. What is told: searches
and uploads with their times, every answer that was not what it should be, the server's memory over time, and
how evenly the searchers were served. `--minutes 60 --out benchmarks/results/soak.json` makes a soak of it;
memory's growth is that of the second half.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from reportlab.pdfgen.canvas import Canvas

from benchmarks import RESULTS
from metaembed_demo.core.config import ROOT

OUT = RESULTS / "load.json"
BUDGETS = ("1x1", "2x4", "4x8", "8x16", "16x64")
QUESTIONS = ROOT / "sample_corpus" / "queries.jsonl"
WAIT_S = 180.0
SAMPLED_S = 5.0


@dataclass
class Tally:
    """What all users met."""

    searches: list[float] = field(default_factory=list)  # milliseconds
    uploads: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    by_user: dict[int, int] = field(default_factory=dict)
    sessions: int = 0  # that came after the first of each user
    megabytes: list[float] = field(default_factory=list)


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
        began = time.perf_counter()
        found = await self.call(
            "search", [self.chance.choice(questions), self.chance.choice(BUDGETS), 10, self.session, None]
        )
        self.tally.searches.append((time.perf_counter() - began) * 1000)
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


async def run(address: str, pid: int, options: argparse.Namespace, folder: Path) -> Tally:
    tally, ends = Tally(), time.monotonic() + options.minutes * 60
    questions = [json.loads(line)["text"] for line in QUESTIONS.read_text().splitlines()]
    # Shorter than the server keeps a connection, or a request now and then meets one that is being closed.
    kept = {"keepalive_expiry": 2.0}
    limits = httpx.Limits(max_connections=options.searchers + options.uploaders + 8, **kept)
    async with httpx.AsyncClient(base_url=address, timeout=WAIT_S, limits=limits) as client:
        users = [User(client, n, tally) for n in range(options.searchers + options.uploaders)]
        for user in users:
            await user.begin(options.stay)

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
            while time.monotonic() < ends:
                tally.megabytes.append(resident(pid))
                await asyncio.sleep(SAMPLED_S)

        await asyncio.gather(
            watch(),
            *(searches(user) for user in users[: options.searchers]),
            *(uploads(user) for user in users[options.searchers :]),
        )
    return tally


def resident(pid: int) -> float:
    """Resident memory of a process and its children, in MB (10^6 bytes)."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    pids = [pid, *map(int, children.read_text().split())] if children.exists() else [pid]
    pages = [int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in pids if _alive(each)]
    return round(sum(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def _alive(pid: int) -> bool:
    return Path(f"/proc/{pid}/statm").exists()


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


def serve(port: int) -> subprocess.Popen[bytes]:
    """The app in a process of its own, once it answers. Raises SystemExit when it does not."""
    # All its users come from one address, and may ask as much as so many addresses.
    env = {**os.environ, "METAEMBED_PORT": str(port), "METAEMBED_REQUESTS_PER_MINUTE": "0"}
    env["METAEMBED_ADDRESS_SHARE"] = "100"  # all users have one address
    server = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
    for _ in range(180):
        time.sleep(1)
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health", timeout=2).status_code == 200:
                return server
        except httpx.HTTPError:
            if server.poll() is not None:
                break
    server.terminate()
    raise SystemExit("The app did not start; run python app.py to see why.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searchers", type=int, default=50)
    parser.add_argument("--uploaders", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--think", type=float, default=4.0, help="seconds between a user's searches")
    parser.add_argument("--stay", type=float, default=300.0, help="seconds until a user begins a new session")
    parser.add_argument("--port", type=int, default=7979)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    server = serve(options.port)
    try:
        with tempfile.TemporaryDirectory() as folder:
            address = f"http://127.0.0.1:{options.port}"
            tally = asyncio.run(run(address, server.pid, options, Path(folder)))
    finally:
        server.terminate()
    found = summary(tally, options)
    options.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
