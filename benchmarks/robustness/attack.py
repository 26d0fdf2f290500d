"""Attacks on the running app, one by one: `python -m benchmarks.robustness.attack`.

    python -m benchmarks.robustness.attack [--checkout DIR] [--label before|after] [--only NAME ...]
    python -m benchmarks.robustness.attack --at ADDRESS --minutes N      # as benchmarks/speed/load.py does

Starts the app of a checkout on loopback, anew for every attack, with a folder of its own for its files and
the usual 1,024 descriptors. The attack comes from one address, 127.0.0.66; meanwhile /health is asked from
another every 0.2 s, and a third visitor searches. An attack is ended after a minute, its process may take
4 GB, and a server is killed at 6 GB, so the machine stays usable. What the server refuses is a result as any
other. In the table, ! says that /health did not answer at the end.

Writes the rows of `label` in benchmarks/results/attack.json; --only replaces only the rows it runs. "before"
is to be run with --checkout, on what the attacks were written against.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks import RESULTS
from benchmarks.robustness.attacks import access, files, index_files, starving  # noqa: F401  # fill ATTACKS
from benchmarks.robustness.attacks.attack import ATTACKS, Attack
from benchmarks.robustness.attacks.client import Field, Refused
from benchmarks.robustness.attacks.observer import Observer
from benchmarks.robustness.attacks.server import Server
from metaembed_demo.core.config import ROOT

OUT = RESULTS / "attack.json"
QUIET_S = 2.0  # before an attack, so that memory and answers are known as they were
RECOVERS_S = 15.0  # after it, until the server answers again
OURS = 4 << 30  # bytes of address space for an attack's own process, beside what it has
BEAT_S = 18.0  # Gradio's streams say every 15 s that they live
LOOP_S = 20.0  # of one attack, where all of them take turns


def attacked(attack: Attack, checkout: Path, kept: Path) -> dict[str, Any]:
    """The row of one attack against a server of its own."""
    row: dict[str, Any] = {"attack": attack.name, "point": attack.point, "what": attack.what}
    login = {
        name: attack.settings[variable]
        for name, variable in (("token", "METAEMBED_TOKEN"), ("password", "METAEMBED_PASSWORD"))
        if variable in attack.settings
    }
    with (
        tempfile.TemporaryDirectory(prefix="metaembed-attack-") as folder,
        Server(checkout, Path(folder), attack.settings) as server,
    ):
        if not login:  # some attacks need it; made before anything is measured
            with suppress(Refused, ValueError):
                Field(server, kept, time.monotonic() + 60, lambda _: None).own_index()
        observer = Observer(server.address, server.pid, server.log, login)
        time.sleep(QUIET_S)
        began = time.monotonic()
        found = bounded(attack, server, kept, attack.seconds)
        row["seconds"] = round(time.monotonic() - began, 1)
        until = time.monotonic() + RECOVERS_S
        while time.monotonic() < until and not server.answers(1) and server.process.poll() is None:
            pass
        time.sleep(1)
        return {**row, **found, **observer.stop(), "exited": server.process.poll()}


def bounded(attack: Attack, server: Any, kept: Path, seconds: float) -> dict[str, Any]:
    """What the attack found, run in a process that is killed when its time is over."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=_attack, args=(theirs, attack, server, kept, seconds), daemon=True)
    child.start()
    theirs.close()
    found: dict[str, Any] = {"statuses": {}, "notes": {}, "ended": "cut off"}
    until = time.monotonic() + seconds + BEAT_S  # a stream is left with its next sign of life
    with suppress(EOFError, ConnectionResetError):
        while ours.poll(max(0.0, until - time.monotonic())):
            found |= ours.recv()
    child.kill()
    child.join()
    return found


def _attack(pipe: Connection, attack: Attack, server: Any, kept: Path, seconds: float) -> None:
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + OURS, size + OURS))
    field = Field(server, kept, time.monotonic() + seconds, pipe.send, alone=not server.pid)
    try:
        attack.run(field)
        ended = "done"
    except Refused as refused:
        ended = f"refused: {refused}"[:240]
    except OSError as error:
        ended = f"closed: {type(error).__name__}: {error}"[:240]
    except Exception as error:
        ended = f"fault of the attack: {type(error).__name__}: {error}"[:240]
    field.note()
    pipe.send({"ended": ended})


def loop(address: str, minutes: float) -> dict[str, int]:
    """All attacks that slow others, in turn, against a server that somebody else started and watches."""
    host, _, port = address.removeprefix("http://").partition(":")
    server = SimpleNamespace(address=address, host=host, port=int(port), pid=0)
    _step_back()
    files.dense_pdf()  # kept for the attacks, which run in forks of this process
    files.labels(starving.LABEL)
    ends, turns = time.monotonic() + minutes * 60, dict[str, int]()
    with tempfile.TemporaryDirectory(prefix="metaembed-attack-") as kept:
        while time.monotonic() < ends:
            for attack in (each for each in ATTACKS if each.load):
                if (left := ends - time.monotonic()) <= 0:
                    break
                found = bounded(attack, server, Path(kept), min(LOOP_S, left))
                turns[attack.name] = turns.get(attack.name, 0) + 1
                print(f"{attack.name}: {found['ended']} {found['statuses']}", file=sys.stderr, flush=True)
    return turns


def _step_back() -> None:
    """Take the processor only when nobody else wants it: a real attacker has one of their own."""
    os.nice(19)
    with suppress(OSError):  # Linux shares first between the groups of sessions
        Path("/proc/self/autogroup").write_text("19")


def provenance(checkout: Path) -> dict[str, Any]:
    """The machine, the versions, and what was attacked."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=checkout, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "metaembed_demo", "app.py")
    cpu = re.findall(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    return {
        "commit": git("rev-parse", "HEAD") + (" with changes" if changed else ""),
        "machine": {"cpu": cpu[0] if cpu else platform.machine(), "cores": os.cpu_count()},
        "load": [round(each, 2) for each in os.getloadavg()],
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("gradio", "uvicorn", "starlette", "pillow")},
        },
    }


def table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Lines of text, one for each row."""
    yield f"{'':20} health  search of another     memory MB         others'  log kB  ended"
    for row in rows:
        health, search, memory = row["health"], row["search_of_another"], row["memory_mb"] or {}
        longest = f"{health['longest_s']:6.1f}{' ' if health['answers_at_the_end'] else '!'}"
        searched = f"{search['longest_s'] or 0:6.1f} s ({search['failed']} failed)"
        sizes = " ".join(f"{memory.get(name, 0):5}" for name in ("before", "peak", "after"))
        seen = row["notes"].get("others_pages", "")
        log = (row["log_bytes"] or 0) // 1000
        ended = row["killed"] and f"killed {row['killed']}"
        ended = ended or row["ended"][:60]
        yield f"{row['attack']:20} {longest} {searched:20} {sizes} {seen!s:>4} {log:8,}  {ended}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--checkout", type=Path, default=ROOT, help="whose app is attacked; default: this one"
    )
    parser.add_argument(
        "--label", choices=("before", "after"), help="default: before with --checkout, else after"
    )
    parser.add_argument("--only", nargs="+", choices=[each.name for each in ATTACKS], metavar="NAME")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--at", help="attack the server at this address, in a loop; nothing is written")
    parser.add_argument("--minutes", type=float, default=5.0)
    options = parser.parse_args()
    if options.at:
        print(json.dumps(loop(options.at, options.minutes)))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the server ends, too
    checkout = options.checkout.resolve()
    label = options.label or ("after" if checkout == ROOT else "before")
    attacks = sorted(ATTACKS, key=lambda each: each.point)
    told = json.loads(options.out.read_text()) if options.out.exists() else {}
    known = {row["attack"]: row for row in told.get(label, {}).get("rows", [])}
    failures = 0
    with tempfile.TemporaryDirectory(prefix="metaembed-attack-") as kept:
        for attack in attacks:
            if options.only and attack.name not in options.only:
                continue
            try:
                known[attack.name] = attacked(attack, checkout, Path(kept))
            except (RuntimeError, EOFError) as error:  # no server, or nothing was observed
                print(f"{attack.name}: {error}", file=sys.stderr)
                failures += 1
                continue
            print(*list(table([known[attack.name]]))[1:], sep="\n", flush=True)
            rows = [known[each.name] for each in attacks if each.name in known]
            told[label] = {**provenance(checkout), "rows": rows}
            options.out.write_text(json.dumps(told, indent=1) + "\n")
    print(*table(told[label]["rows"]), sep="\n")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
