"""The app of any checkout in a process group of its own on loopback, with its memory, descriptors and log."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

START_S = 240  # a busy machine
DESCRIPTORS = 1024  # the usual soft limit of a process
MOST_MB = 6_000  # of the server; it is killed beyond that


class Server:
    """The app, once it answers. A context manager, at whose end it is ended.

    `address` is its URL, `log` the file of all that it wrote, `uploads` the folder in which files arrive.
    """

    def __init__(self, checkout: Path, folder: Path, settings: dict[str, str]) -> None:
        """folder: an empty one of its own; settings: environment variables.

        Raises RuntimeError when the app does not start.
        """
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.host, self.settings = "127.0.0.1", settings
        self.address = f"http://{self.host}:{self.port}"
        self.log, self.uploads = folder / "log", folder / "uploads"
        for each in (self.uploads, folder / "tmp"):
            each.mkdir(parents=True, exist_ok=True)
        ours = {name: value for name, value in os.environ.items() if not name.startswith("METAEMBED_")}
        env = {
            **ours,
            "PYTHONPATH": str(checkout),
            "TMPDIR": str(folder / "tmp"),
            "GRADIO_TEMP_DIR": str(self.uploads),
            "METAEMBED_HOST": self.host,
            "METAEMBED_PORT": str(self.port),
            **settings,
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "app.py"],
                cwd=checkout,
                env=env,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_as_started_by_hand,  # before any thread is started
            )
        self.pid = self.process.pid
        try:
            self._wait()
        except BaseException:  # an interrupt, too
            self.end()
            raise

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def _wait(self) -> None:
        ends = time.monotonic() + START_S
        while time.monotonic() < ends and self.process.poll() is None:
            time.sleep(0.5)
            if self.answers(2):
                return
        raise RuntimeError(f"The app did not start:\n{self.log.read_text(errors='replace')[-2000:]}")

    def answers(self, within_s: float) -> bool:
        """Whether /health says ok in time."""
        with suppress(OSError, ValueError):
            request = urllib.request.urlopen(f"{self.address}/health", timeout=within_s)
            with request as answer:
                return bool(json.load(answer)["status"] == "ok")
        return False

    def end(self) -> None:
        """End the app and its workers: at first in peace, so that it clears its files away."""
        if self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        kill(self.pid)
        self.process.wait(30)


def kill(group: int) -> None:
    """End a server and its workers at once."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _as_started_by_hand() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(DESCRIPTORS, hard), hard))
    os.umask(0o022)


def processes(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                for child in (task / "children").read_text().split():
                    found += processes(int(child))
    return found


def resident_mb(pid: int) -> float:
    """Resident memory of one process, in MB (10^6 bytes); 0 if it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def descriptors(pid: int) -> int:
    """Open file descriptors of a process; 0 if they cannot be seen."""
    with suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/fd"))
    return 0


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    total = 0
    with suppress(OSError):
        if path.is_file():
            return path.stat().st_size
        for file in path.rglob("*"):
            with suppress(OSError):
                total += file.stat().st_size if file.is_file() else 0
    return total
