"""Processes in which files are read (documents/sandbox/process.py), bounded in memory and time, and taken
in turns.

Whatever touches what strangers send runs there: opening archives, PDFs and pictures, poppler, OCR and the
picture network. A process is started when it is first needed and kept, for loading its models takes seconds.

Where no process can be started, files are read in the app itself, and the log says so.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from time import monotonic
from typing import Any, BinaryIO, cast

from metaembed_demo.core.config import ROOT, SERVER, Limits

from . import protocol

START_S = 120  # to import what it needs; a busy machine may take half a minute
IDLE_S = 600  # without a file, after which it ends and its memory is free
PATIENCE_S = 300  # for a turn; then another process is started, for the turn may have been forgotten
SECRET = re.compile("KEY|TOKEN|SECRET|PASSW", re.IGNORECASE)  # of environment variables, not handed on
COMMAND = [sys.executable, "-m", "metaembed_demo.documents.sandbox.process"]
log = logging.getLogger(__name__)


class Lost(Exception):
    """The process is gone, or had to be ended: why, in a clause that goes on after a colon."""


class Unavailable(Exception):
    """No process can be started: why."""


class Worker:
    """One reading process. It answers what it is asked, or `Lost` is raised and it is of no more use."""

    def __init__(self, megabytes: int) -> None:
        """Start it. Raises Unavailable when it does not start."""
        self.megabytes = megabytes
        self.busy = True  # whether it owes an answer
        self.worked = 0.0  # seconds spent on the file at hand
        self._ended = False
        # One message is taken for each request, so that nothing piles up, whatever it says.
        self._asked, self._answers = threading.Semaphore(), queue.SimpleQueue[Any]()
        # Its temporary files, which it cannot clear away when it is killed.
        self._folder = tempfile.TemporaryDirectory(prefix="metaembed-", ignore_cleanup_errors=True)
        try:
            self._process = subprocess.Popen(
                [*COMMAND, str(megabytes), self._folder.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=_surroundings(self._folder.name),
                start_new_session=True,  # Ctrl+C is for the app; and poppler ends with it
            )
        except OSError as error:
            self._folder.cleanup()
            raise Unavailable(f"the reading process does not start ({error})") from error
        _widen(cast(BinaryIO, self._process.stdout))
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            self._hear(START_S)
        except (Lost, queue.Empty) as error:
            self.end()
            raise Unavailable(f"the reading process does not start ({error})") from error

    def ask(self, allowed: Limits, do: str, **more: Any) -> tuple[protocol.Message, list[bytes]]:
        """Its answer. Raises Lost when none comes in time."""
        left = allowed.seconds_per_file - self.worked
        name = "SECONDS_PER_PAGE" if left > allowed.seconds_per_page else "SECONDS_PER_FILE"
        started = monotonic()
        self.busy = True
        try:
            self._tell({"do": do, **more})
            answer = self._hear(max(0.0, min(allowed.seconds_per_page, left)))
        except queue.Empty:
            self.end()
            seconds = getattr(allowed, name.lower())
            raise Lost(f"it took more than {seconds:,g} s (METAEMBED_{name})") from None
        self.busy = False
        self.worked += monotonic() - started
        return answer

    def end(self) -> None:
        """Kill it, with what it started, and remove what it left behind."""
        if self._ended:
            return
        self._ended = True
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        self._process.wait()
        self._asked.release()
        self._folder.cleanup()

    @property
    def usable(self) -> bool:
        """Whether it waits for a request."""
        return not self.busy and self._process.poll() is None

    def _tell(self, request: protocol.Message) -> None:
        pipe = cast(BinaryIO, self._process.stdin)
        with contextlib.suppress(OSError):  # it is gone, as the missing answer will say
            pipe.write(json.dumps(request).encode("ascii") + b"\n")
            pipe.flush()
        self._asked.release()

    def _listen(self) -> None:
        source = cast(BinaryIO, self._process.stdout)
        try:
            while self._asked.acquire():
                self._answers.put(protocol.receive(source))
        except (EOFError, OSError, ValueError):
            self._answers.put(None)
        except protocol.Garbled as error:
            self._answers.put(error)

    def _hear(self, seconds: float) -> tuple[protocol.Message, list[bytes]]:
        answer = self._answers.get(timeout=seconds)
        if answer is None:
            raise Lost(self._fate())
        if isinstance(answer, protocol.Garbled):
            self.end()
            raise Lost(f"its reader gave an answer that makes no sense ({answer})")
        return cast("tuple[protocol.Message, list[bytes]]", answer)

    def _fate(self) -> str:
        """Why it is gone."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        code = self._process.poll()
        self.end()
        reason = f"exit status {code}"
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                reason = signal.Signals(-code).name
        if reason in ("SIGABRT", "SIGKILL"):  # what C++ libraries do without memory, and what the system does
            return f"its reader needed more than {self.megabytes:,} MB of memory, or crashed ({reason})"
        return f"its reader crashed ({reason})"


def _widen(pipe: BinaryIO) -> None:
    """Let it hold a mebibyte where the system can: a page's pixels then take 5 turns, and not 64."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, 1 << 20)


def _surroundings(folder: str) -> dict[str, str]:
    """The environment of a reading process: no secrets, its own folder for temporary files."""
    kept = {name: value for name, value in os.environ.items() if not SECRET.search(name)}
    paths = [str(ROOT), kept.get("PYTHONPATH", "")]
    kept["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return {**kept, "TMPDIR": folder, "TEMP": folder, "TMP": folder}


class Workers:
    """Reading processes that callers take turns with, `most` at a time."""

    def __init__(self, most: int) -> None:
        self._most, self._turn = most, threading.Semaphore(most)
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._timer: threading.Timer | None = None
        self._proven = False  # whether one has ever started
        self.available = SERVER.worker and bool(sys.executable)
        atexit.register(self.end)

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for the others, but not for ever."""
        mine = self._turn.acquire(timeout=PATIENCE_S)
        try:
            yield
        finally:
            if mine:
                self._turn.release()

    def take(self, limits: Limits) -> Worker:
        """One for the caller alone, who gives it back. Raises Unavailable when none starts."""
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if worker.usable and worker.megabytes == limits.worker_megabytes:
                    return worker
                worker.end()
        try:
            worker = Worker(limits.worker_megabytes)
        except Unavailable as error:
            if not self._proven:  # else a file may have brought this about, which must not get into the app
                log.warning("Files are read in the app itself: %s", error)
                self.available = False
            raise
        self._proven = True
        return worker

    def give_back(self, worker: Worker) -> None:
        """Keep it for the next caller. One that owes an answer is ended."""
        if not worker.usable:
            worker.end()
            return
        with self._lock:
            self._idle.append(worker)
            for spare in self._idle[: -self._most]:
                spare.end()
            del self._idle[: -self._most]
            if self._timer:
                self._timer.cancel()
            self._timer = threading.Timer(IDLE_S, self.end)
            self._timer.daemon = True
            self._timer.start()

    def end(self) -> None:
        """End those that nobody uses."""
        with self._lock:
            while self._idle:
                self._idle.pop().end()


UPLOADS = Workers(1)  # as many as there are uploads at a time; see app/ui/page.py
PICTURES = Workers(2)  # of queries, which do not wait for uploads; these load no models
