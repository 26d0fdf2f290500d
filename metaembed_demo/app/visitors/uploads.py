"""The uploaded files of sessions on disk, and their removal.

Each upload request has a folder of its own in the upload folder, under a random name, so that visitors who
upload the same file share nothing. A file that one client names in two sessions is reference-counted, and
removed when the last of them releases it.
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
from metaembed_demo.core.disk import clear_scratch
from metaembed_demo.core.text import bytes_text
from metaembed_demo.core.types import Problem, Upload

PREFIX = "metaembed-uploads-"
BLOCK = 4096  # minimum bytes of a file on disk
Held = tuple[Path, int]  # path and inode: uploading the same file again gives another inode
_lock = threading.Lock()
_held: Counter[Held] = Counter()  # reference counts, for all sessions
_handed: set[Path] = set()  # files that visitors may download
receiving: set[Path] = set()  # folders of running upload requests
_seen: dict[Path, dict[tuple[Held, int], float]] = {}  # folder -> its files and when `sweep` first saw each


class UploadedFiles:
    """The files of one session. Files outside the upload `folder` are counted but never removed."""

    def __init__(self, folder: Path | None = None, limits: Limits = LIMITS) -> None:
        self.folder = folder.resolve() if folder else None
        self.limits = limits
        self.bytes = 0  # accepted so far, including released files
        self._mine: list[Held] = []
        self._handed: Path | None = None
        self._refused: list[Problem] = []
        self._shut = False

    def take(self, files: Sequence[Upload]) -> list[Upload]:
        """Hold `files` and return those accepted. The others are in `refusals`."""
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
            f"{name} ({bytes_text(size)}) was left out: it takes this session's uploads over the limit of "
            f"{bytes_text(most)}. Reload the page for a new session, or raise METAEMBED_MAX_SESSION_BYTES."
        )

    def refusals(self) -> list[Problem]:
        """The files that `take` refused since the last call."""
        refused, self._refused = self._refused, []
        return refused

    def share(self, file: Upload) -> Upload | None:
        """Hold a file once more, for another tab, which counts no bytes. None if it is not held."""
        with _lock:
            held = next((each for each in self._mine if each[0] == file.path), None)
            if held is None or self._shut:
                return None
            _held[held] += 1
            self._mine.append(held)
        return file

    def swap(self, old: Upload | None, files: Sequence[Upload]) -> Upload | None:
        """Release `old` and hold the first of `files`. None when there is none, or it was refused."""
        if old is not None:
            self.release([old])
        return next(iter(self.take(files[:1])), None)

    def release(self, files: Sequence[Upload]) -> None:
        """Release `files`; those that no session holds are removed."""
        for file in files:  # a file taken twice is held twice
            self._drop([held for held in self._mine if held[0] == file.path][:1])

    def hand_out(self, name: str) -> Path:
        """A random path for a file that the visitor may download. Removes the previous one.

        Raises:
            ValueError: when the session has ended, or there is no upload folder.
        """
        if self.folder is None or self._shut:
            raise ValueError("This session has ended. Reload the page to start a new one.")
        self._take_back()
        target = self.folder / secrets.token_urlsafe(32) / name
        make_private(self.folder)
        target.parent.mkdir(mode=0o700)
        with _lock:
            _handed.add(target)
            self._handed = target
        return target

    def clear(self) -> None:
        """Release all files for good. Later uploads are refused."""
        self._shut = True
        self._drop(list(self._mine))
        self._take_back()

    def _take_back(self) -> None:
        with _lock:
            path, self._handed = self._handed, None
            _handed.discard(path) if path else None
        if path and self.folder:
            _remove(path, self.folder)

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
            if last and self.folder and self._is_upload(held):
                _remove(held[0], self.folder)

    def _is_upload(self, held: Held) -> bool:
        """Whether the file is unchanged since it was taken, and in the upload folder."""
        if self.folder is None or not held[0].resolve().is_relative_to(self.folder):
            return False
        with contextlib.suppress(OSError):
            return held[0].stat().st_ino == held[1]
        return False


def private_folder(parent: Path) -> Path:
    """A new folder in `parent`, removed when this process ends. Removes folders of dead processes."""
    parent.mkdir(parents=True, exist_ok=True)
    clear_scratch(parent, PREFIX)
    clear_scratch()  # of its reading processes, in the folder for temporary files
    made = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=parent)).resolve()
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def make_private(folder: Path) -> None:
    """Make `folder` again, for this user alone, should somebody have removed it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def handed_out(path: Path) -> bool:
    """Whether `path` is open for download. Its random path is the access secret."""
    return path in _handed


def sweep(folder: Path, age_s: float, clock: Callable[[], float] = time.monotonic) -> int:
    """Remove files in `folder` that no session holds and that sweeps have seen for `age_s` seconds.

    Files that are arriving stay. Returns the number removed. Ages are on `clock`, not file times, because the
    machine's clock may be set.
    """
    now, removed = clock(), 0
    before, seen = _seen.get(folder, {}), {}
    for path, (held, _) in _files(folder).items():
        with contextlib.suppress(OSError):
            state = (held, path.stat().st_mtime_ns)  # changes when the file is written again
            since = seen[state] = before.get(state, now)
            arriving = any(parent in receiving for parent in path.parents)
            if now - since > age_s and held not in _held and not handed_out(path) and not arriving:
                _remove(path, folder)
                removed += 1
    _seen[folder] = seen
    return removed


def clear_parts(folder: Path, whole: bool = False) -> None:
    """Remove the parts of files that Gradio stores directly in a request's `folder`, or the `whole`."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                os.truncate(entry, 0)  # frees the space even if the file is still open
                os.unlink(entry)
    if whole:
        shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.rmdir()  # fails unless empty


def used(folder: Path) -> int:
    """Disk usage of the files in `folder`, or of the file `folder`, in bytes."""
    if folder.is_file():
        return max(folder.stat().st_size, BLOCK)
    return sum(max(size, BLOCK) for _, size in _files(folder).values())


def _files(folder: Path) -> dict[Path, tuple[Held, int]]:
    found = {}
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                found[Path(root, name)] = _at(Path(root, name))
    return found


def _at(path: Path) -> tuple[Held, int]:
    """A file's path, inode and size. Raises OSError when it does not exist."""
    status = path.stat()
    return (path, status.st_ino), status.st_size


def _remove(path: Path, folder: Path) -> None:
    """Remove a file, and the folders around it below the upload `folder` that become empty."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
        for parent in path.parents:
            if parent == folder or not parent.is_relative_to(folder):
                return
            parent.rmdir()  # fails unless empty
