"""Pools of sandboxed processes (documents/sandbox/serving.py) with memory and time limits.

All parsing of untrusted files runs there: archives, PDFs, images, poppler, OCR and the image network in
documents/sandbox/process.py, index files in collection/index_worker.py, labels in
evaluation/label_worker.py.
Processes start on demand and are reused, since loading their models takes seconds. If no process can be
started, files are read in the app itself, with a warning in the log.
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
from collections.abc import Iterator, Sequence
from time import monotonic
from typing import Any, BinaryIO, cast

from metaembed_demo.core.config import LIMITS, ROOT, SERVER, Limits
from metaembed_demo.core.disk import scratch_prefix

from . import protocol

START_S = 120  # startup timeout; imports may take half a minute on a busy machine
IDLE_S = 600  # idle time after which a process is ended
SLOT_TIMEOUT_S = 300  # wait for a free slot; then start another process, in case a slot was leaked
SECRET = re.compile("KEY|TOKEN|SECRET|PASSW", re.IGNORECASE)  # environment variables that are not passed on
COMMAND = [sys.executable, "-m", "metaembed_demo.documents.sandbox.process"]  # by default
log = logging.getLogger(__name__)


class Lost(Exception):
    """The process crashed or was killed. The message is a clause that follows a colon."""


class TimedOut(Lost):
    """It took longer than allowed, and was killed."""


class Unavailable(Exception):
    """No process can be started."""


class Worker:
    """One sandboxed process. After `Lost` is raised it is unusable."""

    def __init__(
        self,
        megabytes: int,
        of_file: str = "SECONDS_PER_FILE",
        nice: int = 0,
        command: Sequence[str] = (),
    ) -> None:
        """Start the process. Raises Unavailable when that fails. of_file, nice, command: as of `Workers`."""
        self.megabytes, self._of_file = megabytes, of_file
        self.busy = True  # an answer is pending
        self.worked = 0.0  # seconds spent on the current file
        self._ended = False
        # The semaphore admits one message per request, so a rogue process cannot fill the queue.
        self._asked, self._answers = threading.Semaphore(), queue.SimpleQueue[Any]()
        # Temporary files, removed here because a killed process cannot.
        self._folder = tempfile.TemporaryDirectory(prefix=scratch_prefix(), ignore_cleanup_errors=True)
        try:
            self._process = subprocess.Popen(
                [*(command or COMMAND), str(megabytes), self._folder.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=_environment(self._folder.name),
                start_new_session=True,  # shields it from Ctrl+C; killpg also ends poppler
            )
        except OSError as error:
            self._folder.cleanup()
            raise Unavailable(f"the reading process does not start ({error})") from error
        if nice and hasattr(os, "setpriority"):
            with contextlib.suppress(OSError):  # it may have ended already
                os.setpriority(os.PRIO_PROCESS, self._process.pid, nice)
        _widen(cast(BinaryIO, self._process.stdout))
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            self._receive(START_S)
        except (Lost, queue.Empty) as error:
            self.end()
            raise Unavailable(f"the reading process does not start ({error})") from error

    def ask(self, allowed: Limits, do: str, **more: Any) -> tuple[protocol.Message, list[bytes]]:
        """The answer to a request. Raises Lost on a crash or timeout."""
        left = getattr(allowed, self._of_file.lower()) - self.worked
        name = "SECONDS_PER_PAGE" if left > allowed.seconds_per_page else self._of_file
        started = monotonic()
        self.busy = True
        try:
            self._send({"do": do, **more})
            answer = self._receive(max(0.0, min(allowed.seconds_per_page, left)))
        except queue.Empty:
            self.end()
            seconds = getattr(allowed, name.lower())
            raise TimedOut(f"it took more than {seconds:,g} s (METAEMBED_{name})") from None
        self.busy = False
        self.worked += monotonic() - started
        return answer

    def end(self) -> None:
        """Kill the process and its children, and remove its temporary files."""
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
        """Whether it is alive and idle."""
        return not self.busy and self._process.poll() is None

    def _send(self, request: protocol.Message) -> None:
        pipe = cast(BinaryIO, self._process.stdin)
        with contextlib.suppress(OSError):  # a dead process shows as a missing answer
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

    def _receive(self, seconds: float) -> tuple[protocol.Message, list[bytes]]:
        answer = self._answers.get(timeout=seconds)
        if answer is None:
            raise Lost(self._cause())
        if isinstance(answer, protocol.Garbled):
            self.end()
            raise Lost(f"its reader gave an answer that makes no sense ({answer})")
        return cast("tuple[protocol.Message, list[bytes]]", answer)

    def _cause(self) -> str:
        """Why the process ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        code = self._process.poll()
        self.end()
        reason = f"exit status {code}"
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                reason = signal.Signals(-code).name
        if reason in ("SIGABRT", "SIGKILL"):  # C++ libraries out of memory; the OOM killer
            return f"its reader needed more than {self.megabytes:,} MB of memory, or crashed ({reason})"
        return f"its reader crashed ({reason})"


def _widen(pipe: BinaryIO) -> None:
    """Set the pipe buffer to 1 MiB where supported: a page's pixels take 5 reads instead of 64."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, 1 << 20)


def _environment(folder: str) -> dict[str, str]:
    """The process's environment: no secrets, and its own temporary folder."""
    kept = {name: value for name, value in os.environ.items() if not SECRET.search(name)}
    paths = [str(ROOT), kept.get("PYTHONPATH", "")]
    kept["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return {**kept, "TMPDIR": folder, "TEMP": folder, "TMP": folder}


class Workers:
    """A pool of at most `most` sandboxed processes in use at a time."""

    def __init__(
        self, most: int, of_file: str = "SECONDS_PER_FILE", nice: int = 0, command: Sequence[str] = ()
    ) -> None:
        """of_file: the setting that bounds the time of a file; nice: how far its processes stand back.

        command: what starts one, by default COMMAND.
        """
        self._command = command
        self._most, self._turn = most, threading.Semaphore(most)
        self._of_file, self._nice = of_file, nice
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._timer: threading.Timer | None = None
        self._proven = False  # whether a process has ever started
        self.available = SERVER.worker and bool(sys.executable)
        atexit.register(self.end)

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a free slot, at most SLOT_TIMEOUT_S."""
        acquired = self._turn.acquire(timeout=SLOT_TIMEOUT_S)
        try:
            yield
        finally:
            if acquired:
                self._turn.release()

    @contextlib.contextmanager
    def lent(self, limits: Limits) -> Iterator[Worker | None]:
        """A process, in turn, for one file; None where none can be started and files are read in the app.

        Afterwards it is asked to "close". Raises Unavailable when none starts now.
        """
        with self.turn():
            worker = None
            try:
                worker = self.take(limits) if self.available else None
            except Unavailable:
                if self.available:
                    raise
            try:
                yield worker
            finally:
                if worker is not None:
                    self._closed(worker)

    def _closed(self, worker: Worker) -> None:
        if worker.usable:
            worker.worked = 0.0
            with contextlib.suppress(Lost):
                worker.ask(LIMITS, "close")
            worker.worked = 0.0
        self.give_back(worker)

    def take(self, limits: Limits) -> Worker:
        """A process for exclusive use, to be given back. Raises Unavailable when none starts."""
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if worker.usable and worker.megabytes == limits.worker_megabytes:
                    return worker
                worker.end()
        try:
            worker = Worker(limits.worker_megabytes, self._of_file, self._nice, self._command)
        except Unavailable as error:
            if not self._proven:  # otherwise a file may have caused this; never parse it in the app
                log.warning("Files are read in the app itself: %s", error)
                self.available = False
            raise
        self._proven = True
        return worker

    def give_back(self, worker: Worker) -> None:
        """Return a process to the pool; one with a pending answer is ended."""
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
        """End all idle processes."""
        with self._lock:
            while self._idle:
                self._idle.pop().end()


# As many as visitors whose files are indexed in turn (app/visitors/shares.py). They stand back for searches.
UPLOADS = Workers(3, nice=10)
# For query images, which must not wait for uploads; these load no models.
PICTURES = Workers(2, of_file="SECONDS_PER_PICTURE")
