"""Lockers: the files that sessions have on this disk, and what is cleared away when.

Gradio keeps what browsers upload in one folder, each file under a seeded hash of its content, so that two
visitors who upload the same file share one. A file goes when the last locker that holds it lets go.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from metaembed_demo.core.config import LIMITS, Limits
from metaembed_demo.core.types import Problem, Upload
from metaembed_demo.documents.file_types import mebibytes

PREFIX = "metaembed-uploads-"
BLOCK = 4096  # bytes that even an empty file takes
Held = tuple[Path, int]  # where a file lies, and its inode: the same file uploaded again is another
_lock = threading.Lock()
_held: Counter[Held] = Counter()  # of all lockers
_handed: set[Path] = set()  # files that visitors may fetch
_seen: dict[Path, dict[tuple[Held, int], float]] = {}  # folder -> its files, and when `sweep` first saw each


class Locker:
    """The files of one session. `folder` is where uploads arrive: files elsewhere are counted, and kept."""

    def __init__(self, folder: Path | None = None, limits: Limits = LIMITS) -> None:
        self.folder = folder.resolve() if folder else None
        self.limits = limits
        self.bytes = 0  # taken in so far; a file that is released still counts
        self._mine: list[Held] = []
        self._handed: Path | None = None
        self._refused: list[Problem] = []
        self._shut = False

    def take(self, files: Sequence[Upload]) -> list[Upload]:
        """Hold `files`. Those over the limit of a session are let go; `refusals` says which."""
        kept = []
        for file in files:
            try:
                held, size = _at(file.path)
            except OSError:
                self._refused.append(Problem(file.name, f"{file.name} is gone. Upload it again."))
                continue
            with _lock:
                _held[held] += 1
                self._mine.append(held)
                room = not self._shut and self.bytes + size <= self.limits.max_session_bytes
                self.bytes += size if room else 0
            if room:
                kept.append(file)
            else:
                self.release([file])
                self._refused.append(Problem(file.name, self._no_room(file.name, size)))
        return kept

    def _no_room(self, name: str, size: int) -> str:
        most = self.limits.max_session_bytes
        return (
            f"{name} ({mebibytes(size)}) was left out: it takes this session's uploads over the limit of "
            f"{mebibytes(most)}. Reload the page for a new session, or raise METAEMBED_MAX_SESSION_BYTES."
        )

    def refusals(self) -> list[Problem]:
        """What `take` let go since this was last asked."""
        told, self._refused = self._refused, []
        return told

    def swap(self, old: Upload | None, files: Sequence[Upload]) -> Upload | None:
        """Hold the first of `files` in place of `old`. None where there is none, or no room."""
        if old is not None:
            self.release([old])
        return next(iter(self.take(files[:1])), None)

    def release(self, files: Sequence[Upload]) -> None:
        """Let go of `files`; those that nobody else holds are removed."""
        for file in files:  # one that was taken twice is held twice
            self._drop([held for held in self._mine if held[0] == file.path][:1])

    def hand_out(self, name: str) -> Path:
        """Where to put a file that the visitor may fetch, in place of the last one. Nobody can guess it.

        Raises:
            ValueError: when the session has ended, or there is no folder to hand files out from.
        """
        if self.folder is None or self._shut:
            raise ValueError("This session has ended. Reload the page to start a new one.")
        self._take_back()
        target = self.folder / secrets.token_urlsafe(32) / name
        target.parent.mkdir(parents=True)
        with _lock:
            _handed.add(target)
            self._handed = target
        return target

    def clear(self) -> None:
        """Let go of everything, for good: what is still on its way in is refused."""
        self._shut = True
        self._drop(list(self._mine))
        self._take_back()

    def _take_back(self) -> None:
        with _lock:
            path, self._handed = self._handed, None
            _handed.discard(path) if path else None
        if path:
            _remove(path)

    def _drop(self, these: Sequence[Held]) -> None:
        for held in these:
            with _lock:
                if held not in self._mine:
                    continue
                self._mine.remove(held)
                _held[held] -= 1
                last = _held[held] <= 0
                if last:
                    del _held[held]
            if last and self._is_upload(held):
                _remove(held[0])

    def _is_upload(self, held: Held) -> bool:
        """Whether this is still the file that was taken, and lies where uploads arrive."""
        if self.folder is None or not held[0].resolve().is_relative_to(self.folder):
            return False
        with contextlib.suppress(OSError):
            return held[0].stat().st_ino == held[1]
        return False


def private_folder(parent: Path) -> Path:
    """A new folder in `parent` for this process alone, gone when it ends. Clears away those of dead ones."""
    parent.mkdir(parents=True, exist_ok=True)
    for old in parent.glob(f"{PREFIX}*-*"):
        if _is_dead(old.name.removeprefix(PREFIX).partition("-")[0]):
            shutil.rmtree(old, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=parent)).resolve()
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def _is_dead(pid: str) -> bool:
    if not pid.isdigit() or os.name != "posix":
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def handed_out(path: Path) -> bool:
    """Whether some visitor may fetch this file. Whoever names it has been told its name."""
    return path in _handed


def sweep(folder: Path, age_s: float, clock: Callable[[], float] = time.monotonic) -> int:
    """Remove what lay in `folder` for `age_s` seconds of sweeps and nobody holds. Returns how many.

    A file's own time is compared with nothing but itself: the machine's clock may have been set since.
    """
    now, removed = clock(), 0
    before, seen = _seen.get(folder, {}), {}
    for path, (held, _) in _files(folder).items():
        with contextlib.suppress(OSError):
            state = (held, path.stat().st_mtime_ns)  # another one when it is written again
            since = seen[state] = before.get(state, now)
            if now - since > age_s and held not in _held and not handed_out(path):
                _remove(path)
                removed += 1
    _seen[folder] = seen
    return removed


def clear_parts(folder: Path) -> None:
    """Remove what failed uploads left: Gradio keeps what came in, right in `folder`, until all is there."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(tempfile.gettempprefix()) and entry.is_file(follow_symlinks=False):
                os.truncate(entry, 0)  # some are still open, and would keep their room
                os.unlink(entry)


def used(folder: Path) -> int:
    """Bytes that the files in `folder` take."""
    return sum(max(size, BLOCK) for _, size in _files(folder).values())


def _files(folder: Path) -> dict[Path, tuple[Held, int]]:
    found = {}
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                found[Path(root, name)] = _at(Path(root, name))
    return found


def _at(path: Path) -> tuple[Held, int]:
    """A file and its size. Raises OSError where there is none."""
    status = path.stat()
    return (path, status.st_ino), status.st_size


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
        path.parent.rmdir()  # fails where another file lies beside it
