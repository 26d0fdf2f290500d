"""What a search and a move of the dial cost on the wire and in the server, for one checkout or several.

    python -m benchmarks.speed.wire [--checkout A ...] [--out F] [--interactions N] [--pages P ...] [--light]

Each checkout's app runs in a process of its own, and one visitor uses it in Chromium, the Alignment tab open:
a search (a sample question typed, Enter), a move of the dial (a click on another stop), and so on. Checkouts
take turns of ten such rounds, so that whatever else the machine does meets all of them.

Bytes: bodies of answers, decompressed, from before the typing or the click until the page has settled: other
hits or scores are shown, no request is open (streams aside), and for 0.6 s nothing came. Pictures fetched by
address are told apart; all else is events, with pictures that lie in them as data addresses. What is in the
browser's cache does not count, and a first pass, which is not measured, has shown every page once.

With --light the visitor is no browser but a script that sends the requests that the page sends, so that
nothing competes with the server for the cores. It tells server time; bytes are told by the browser.

Server time: stamped in ASGI middleware around all of the app. A queued event lasts from the arrival of POST
/queue/join until `process_completed` was handed to the connection, less its wait for the browser to open the
stream; events that follow one another add up, without the browser's time between them. Any other request
lasts until its last byte. Overlaps count once; time between requests, heartbeats and the tab's icon do not.
`own_ms` leaves out what the encoder takes to encode, and to look at a page again to explain it; `own_cpu_ms`
is that in CPU time of the process, for a busy machine. Chromium has a low priority, or its drawing would slow
the server.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from copy import copy
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

# No import from this project: it would be this checkout's, in the server of another one too.
RESULTS = Path(__file__).resolve().parents[1] / "results"
# Where a checkout has load_encoder and open_samples.
ENCODERS, SAMPLES = "metaembed_demo.encoders.registry", "metaembed_demo.evaluation.sample_corpus"
ENCODING = ("encode_pages", "encode_queries", "encode_query", "page_evidence", "query_evidence")
QUESTIONS = 40  # a multiple of five: then each question meets the same stops in every pass
STOPS = (0, 3, 1, 4, 2)  # of the dial, in the order in which moves go to them
TURN = 10  # rounds, before another checkout has its turn
SILENCE_S = 0.6
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
HEARD = "requestWillBeSent requestServedFromCache responseReceived dataReceived loadingFinished loadingFailed"
QUERY, SLIDER = "#query textarea, #query input", "#dial [role=slider]"
SHOWN = "[...document.querySelectorAll('#results .hit')].map((hit) => hit.innerText).join()"
PICTURE = re.compile(r"pictures/[\w-]+/\w+/[\w.]+")
QUEUE, APART = re.compile("/queue/(join|data)"), re.compile("/heartbeat/|/favicon")
Span = tuple[float, float]
Entries = dict[str, list[dict[str, Any]]]  # of the server's log, by kind


def now() -> Span:
    """On the clock, which is one for all processes, and in this process' CPU time."""
    return time.monotonic(), time.process_time()


def note(kind: str, began: Span, **more: Any) -> None:
    """In the server: log what began then and ends now."""
    wall, cpu = zip(began, now(), strict=True)
    os.write(1, json.dumps({"kind": kind, "wall": wall, "cpu": cpu, **more}).encode() + b"\n")


def timed(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """`method`, its runs noted as encoding."""

    def run(*args: Any, **more: Any) -> Any:
        began = now()
        try:
            return method(*args, **more)
        finally:
            note("encoding", began, name=name)

    return run


def watched(app: Any) -> Any:
    """The ASGI app, with a note when an answer is out, and when an event is."""

    async def run(scope: Any, receive: Any, send: Any) -> None:
        began, path = now(), scope.get("path", "")
        told = {"path": path, "query": str(scope.get("query_string"))}

        async def pass_on(message: Any) -> None:
            await send(message)
            body = message.get("body", b"")
            if message["type"] == "http.response.start":
                told.update(status=message["status"], type=str(dict(message["headers"]).get(b"content-type")))
            elif message["type"] == "http.response.body":
                if path.endswith("/queue/data") and b'"process_completed"' in body[:200]:
                    note("completed", began)
                if not message.get("more_body"):
                    note("request", began, **told)

        await app(scope, receive, pass_on)

    return run


def serve(checkout: Path, pages: int) -> None:
    """Run the checkout's app.py, watched, with made pages beside the samples. The log is standard output."""
    import uvicorn
    from gradio.queueing import Queue

    sys.path[0] = str(checkout)
    os.chdir(checkout)
    encoders, corpus = importlib.import_module(ENCODERS), importlib.import_module(SAMPLES)
    load, open_samples = encoders.load_encoder, corpus.open_samples
    configure, send_message = uvicorn.Config.__init__, Queue.send_message

    def load_watched(*args: Any, **more: Any) -> Any:
        encoder = load(*args, **more)
        for name in filter(partial(hasattr, encoder), ENCODING):
            setattr(encoder, name, timed(name, getattr(encoder, name)))
        return encoder

    def open_enlarged(*args: Any, **more: Any) -> Any:
        samples = open_samples(*args, **more)
        enlarge(samples.collection, pages)
        ours = [module for name, module in list(sys.modules.items()) if name.startswith("metaembed_demo")]
        for explainer in {module.Explainer for module in ours if hasattr(module, "Explainer")}:
            explainer.look = timed("look", explainer.look)
        return samples

    def send_noted(self: Any, event: Any, message: Any) -> None:
        if message.msg == "process_completed":
            note("ready", now())
        send_message(self, event, message)

    Queue.send_message = send_noted  # type: ignore[assignment,method-assign]
    encoders.load_encoder, corpus.open_samples = load_watched, open_enlarged
    uvicorn.Config.__init__ = lambda self, app, **more: configure(self, watched(app), **more)  # type: ignore
    runpy.run_path("app.py", run_name="__main__")


def enlarge(collection: Any, pages: int) -> None:
    """Up to so many pages: copies of the samples, each unit vector turned at random, to a cosine of 0.9."""
    chance, samples = np.random.default_rng(1), list(collection.pages.values())
    for number in range(len(samples), pages):
        page = samples[number % len(samples)]
        vectors = np.asarray(collection.index.vectors([page.id])[0], np.float32)
        noise = chance.standard_normal(vectors.shape).astype(np.float32)
        vectors = vectors + 0.48 * noise / np.linalg.norm(noise, axis=1, keepdims=True)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        made = copy(page)  # with its thumbnail and its title
        vars(made).update(id=f"{number:020x}", source=f"made-{number // len(samples)}/{page.source}", also=())
        collection.put(made, SimpleNamespace(vectors=vectors))


@contextmanager
def served(checkout: Path, pages: int, log: Path) -> Iterator[str]:
    """The address of the checkout's app, in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    here = {"METAEMBED_HOST": "127.0.0.1", "METAEMBED_PORT": port, "GRADIO_TEMP_DIR": f"{log}.files"}
    command = [sys.executable, __file__, "--serve", str(checkout), "--pages", str(pages)]
    with log.open("ab") as out:
        process = subprocess.Popen(command, env=os.environ | here, stdout=out)
    found = None
    try:
        while found is None:
            time.sleep(1)
            assert process.poll() is None, f"the app of {checkout} ended with {process.returncode}"
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as answer:
                found = json.load(answer)["pages"]
        assert found == pages, f"{found} pages, not {pages}"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


class Visitor:
    """A tab on one checkout, what was done in it and what it was sent."""

    def __init__(self, browser: Any, address: str, questions: list[str]) -> None:
        self.page = browser.new_page(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
        self.page.set_default_timeout(300_000)  # a busy machine
        self.questions = questions
        self.done: list[dict[str, Any]] = []
        self._bytes: Counter[str] = Counter()  # since the interaction began
        self._kinds: dict[str, str] = {}  # of requests
        self._open, self._heard = set[str](), time.monotonic()
        network = self.page.context.new_cdp_session(self.page)
        for name in HEARD.split():
            network.on(f"Network.{name}", partial(self._hear, name))
        network.send("Network.enable")
        self.page.goto(f"{address}/?still")  # without the landing
        self.page.wait_for_selector(SLIDER)
        self._settle()

    def rounds(self, first: int, last: int) -> None:
        self.page.bring_to_front()
        for number in range(first, last):
            self._act("search", number)
            self._act("dial", number)

    def _act(self, kind: str, number: int) -> None:
        before = self.page.evaluate(SHOWN)
        self._bytes, began = Counter(), time.monotonic()
        if kind == "search":
            self.page.fill(QUERY, self.questions[number % len(self.questions)])
            self.page.press(QUERY, "Enter")
        else:
            box = self.page.locator(SLIDER).bounding_box()
            at = (STOPS[number % len(STOPS)] + 0.5) / len(STOPS)
            self.page.locator(SLIDER).click(position={"x": at * box["width"], "y": box["height"] / 2})
        self.page.wait_for_function(f"(before) => {SHOWN} !== before", arg=before, polling=50)
        self._settle()
        self.done.append({"kind": kind, "span": (began, time.monotonic()), "bytes": self._bytes})

    def _settle(self) -> None:
        while self._open or time.monotonic() - self._heard < SILENCE_S:
            self.page.wait_for_timeout(50)

    def _hear(self, name: str, event: dict[str, Any]) -> None:
        """Chromium tells of a request, data addresses included, of its answer, or of a piece of that."""
        request, address = event["requestId"], event.get("request", {}).get("url", "")
        if address.startswith("http") and not APART.search(address):
            self._kinds[request] = "events"
            self._open.add(request)
        if request not in self._kinds:
            return
        self._heard, answer = time.monotonic(), event.get("response", {})
        mime = answer.get("mimeType", "")
        if name == "requestServedFromCache" or answer.get("fromDiskCache"):
            self._kinds[request] = "cached"
        elif mime.startswith("image/") and self._kinds[request] != "cached":
            self._kinds[request] = "pictures"
        if name.startswith("loading") or mime == "text/event-stream":
            self._open.discard(request)
        self._bytes[self._kinds[request]] += event.get("dataLength", 0)


class Script:
    """As `Visitor`, without a browser: the requests of an event, of what follows it and of its pictures."""

    def __init__(self, address: str, questions: list[str]) -> None:
        import httpx

        self.http = httpx.Client(base_url=address, timeout=300)
        self.questions, self.tab = questions, uuid.uuid4().hex[:12]
        self.done: list[dict[str, Any]] = []
        self._kept, self._bytes = set[str](), 0  # what the browser's cache holds
        self.http.get("/").raise_for_status()
        config = self.http.get("/config").json()
        ids = {each["id"]: each["props"].get("elem_id") for each in config["components"]}
        self._events = {(ids.get(at), name): e for e in config["dependencies"] for at, name in e["targets"]}
        self._fire(None, "load", None)

    def rounds(self, first: int, last: int) -> None:
        for number in range(first, last):
            self._act("search", "query", "submit", None, [self.questions[number % len(self.questions)]])
            self._act("dial", "dial", "input", {"stop": STOPS[number % len(STOPS)]})

    def _act(self, kind: str, name: str, event: str, more: Any, data: Sequence[Any] = ()) -> None:
        self._bytes, began = 0, time.monotonic()
        told = self._fire(name, event, more, data)
        if "data-pending" in told:
            told += self._fire("marks", "submit", {})
        for path in sorted(set(PICTURE.findall(told)) - self._kept):
            self.http.get(f"/{path}").raise_for_status()
            self._kept.add(path)
        time.sleep(0.05)  # until the server has logged it
        times = {"span": (began, time.monotonic())}
        self.done.append({"kind": kind, "bytes": {"events": self._bytes, "pictures": 0}, **times})

    def _fire(self, name: str | None, event: str, more: Any, data: Sequence[Any] = ()) -> str:
        found = self._events[name, event]
        asked = {"fn_index": found["id"], "session_hash": self.tab, "data": data, "event_data": more}
        if not found["queue"]:
            told = self.http.post("/gradio_api/run/predict", json=asked).raise_for_status().text
        else:
            self.http.post("/gradio_api/queue/join", json=asked).raise_for_status()
            told = self.http.get("/gradio_api/queue/data", params={"session_hash": self.tab}).text
        self._bytes += len(told.encode())
        return told


def union(spans: list[Span]) -> list[Span]:
    """As spans in order that do not touch."""
    found: list[Span] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            begin, end = found[-1][0], max(end, found.pop()[1])
        found.append((begin, end))
    return found


def server_time(window: Span, log: Entries, clock: str) -> Span | None:
    """Milliseconds of the server's work for what was done in the window, and how many of them encode."""
    near = {k: [e for e in log[k] if window[0] <= e["wall"][1] <= window[1]] for k in log}  # what ended in it
    joins = [each[clock][0] for each in near["request"] if each["path"].endswith("/queue/join")]
    if not len(joins) == len(near["ready"]) == len(near["completed"]):
        return None  # an event went on after the page had settled, as on a busy machine
    spans = [tuple(each[clock]) for each in near["request"] if not QUEUE.search(each["path"])]
    for join, done, out in zip(sorted(joins), near["ready"], near["completed"], strict=True):
        ready, (opened, sent) = done[clock][1], out[clock]
        spans += [(join, ready), (max(ready, opened), sent)]
    busy, encoding = union(spans), union([tuple(each[clock]) for each in near["encoding"]])
    shared = (min(a[1], b[1]) - max(a[0], b[0]) for a in busy for b in encoding)
    return sum(end - begin for begin, end in busy) * 1000, sum(max(0, each) for each in shared) * 1000


def summary(done: list[dict[str, Any]], log: Entries) -> dict[str, Any]:
    """The figures of one kind of interaction."""
    done = [each for each in done if server_time(each["span"], log, "wall")]
    walls, cpus = ([server_time(each["span"], log, clock) for each in done] for clock in ("wall", "cpu"))
    (total, encoding), (cpu, cpu_encoding) = np.transpose(walls), np.transpose(cpus)
    events, pictures = ([each["bytes"][kind] for each in done] for kind in ("events", "pictures"))
    times = {"server_ms": total, "own_ms": total - encoding, "own_cpu_ms": cpu - cpu_encoding}
    spread = {name: np.percentile(ms, (50, 95)).round(1).tolist() for name, ms in times.items()}
    return {
        "interactions": len(done),
        "events_bytes": int(np.median(events)),
        "picture_bytes": int(np.median(pictures)),
        "picture_bytes_mean": int(np.mean(pictures)),
        **{name: {"p50": p50, "p95": p95} for name, (p50, p95) in spread.items()},
    }


def told(visitor: Any, log_file: Path) -> dict[str, Any]:
    """All figures of one checkout at one size, from what its tab and its server noted."""
    log: Entries = {"request": [], "ready": [], "completed": [], "encoding": []}
    for line in log_file.read_text().splitlines():
        if line.startswith("{") and not APART.search(line):  # else the app said it
            log[json.loads(line)["kind"]].append(json.loads(line))
    assert log["encoding"], "load_encoder is taken from another module than ENCODERS says"
    assert all(each["status"] < 400 for each in log["request"])
    whole = [each for each in log["request"] if "image/" in each["type"] and each["status"] == 200]
    sent = Counter((each["path"], each["query"]) for each in whole)
    return {
        **{k: summary([each for each in visitor.done if each["kind"] == k], log) for k in ("search", "dial")},
        "pictures_sent": len(sent),
        "pictures_sent_again": sum(sent.values()) - len(sent),
        "encoding_calls": dict(Counter(each["name"] for each in log["encoding"])),
    }


def chromium(stack: ExitStack, folder: Path) -> Any:
    """The browser, at a low priority."""
    from playwright.sync_api import sync_playwright

    (nice := folder / "chromium").write_text(
        '#!/bin/sh\necho 5 > /proc/$$/autogroup\nexec nice /usr/bin/chromium "$@"\n'
    )
    nice.chmod(0o755)
    playwright = stack.enter_context(sync_playwright())
    return stack.enter_context(playwright.chromium.launch(executable_path=nice, args=FLAGS))


def measure(checkouts: list[Path], pages: int, rounds: int, light: bool) -> dict[str, Any]:
    """Every checkout's figures at one size."""
    lines = (checkouts[0] / "sample_corpus" / "queries.jsonl").read_text().splitlines()
    texts = list(dict.fromkeys(text for line in lines if (text := json.loads(line).get("text"))))
    texts = texts[:: len(texts) // QUESTIONS][:QUESTIONS]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        logs = {checkout: folder / f"{number}.log" for number, checkout in enumerate(checkouts)}
        addresses = {c: stack.enter_context(served(c, pages, log)) for c, log in logs.items()}
        browser = None if light else chromium(stack, folder)
        visitors: dict[Path, Any] = {
            c: Visitor(browser, address, texts) if browser else Script(address, texts)
            for c, address in addresses.items()
        }
        for visitor in visitors.values():
            visitor.rounds(0, 1)
            if browser:
                visitor.page.get_by_role("tab", name="Alignment", exact=True).click()
            visitor.rounds(1, QUESTIONS)
            visitor.done.clear()
        for first in range(0, rounds, TURN):
            for visitor in visitors.values():
                visitor.rounds(first, min(first + TURN, rounds))
            print(f"{pages} pages: {min(first + TURN, rounds)} of {rounds} rounds", file=sys.stderr)
        return {str(checkout): told(visitors[checkout], log) for checkout, log in logs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--checkout", type=Path, action="append", help="default: this one; repeat it to compare"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "wire.json")
    parser.add_argument("--interactions", type=int, default=200, help="of each kind")
    parser.add_argument("--pages", type=int, nargs="+", default=[113, 2000])
    parser.add_argument("--light", action="store_true", help="a script instead of Chromium")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.pages[0])
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers end, too
    checkouts = [path.resolve() for path in options.checkout or [Path.cwd()]]
    cpu = re.findall(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    machine = {"cpu": cpu[:1], "cores": os.cpu_count(), "load": os.getloadavg(), "python": sys.version}
    result: dict[str, Any] = {"machine": machine, "pages": {}}
    for pages in options.pages:
        result["pages"][pages] = measure(checkouts, pages, options.interactions, options.light)
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
