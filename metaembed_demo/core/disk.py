"""Atomic, durable file writes, checksums, scratch folders of dead processes, and detection of a full disk."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
log = logging.getLogger(__name__)


class Damaged(ValueError):
    """A file or folder that is not as it was written; `reason` alone names no path."""

    def __init__(self, where: object, reason: str, remedy: str = "") -> None:
        super().__init__(f"{where} is damaged: {reason}.{remedy and ' '}{remedy}")
        self.reason = reason


def sha256(data: bytes) -> str:
    """Hex digest of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_of(path: Path) -> str:
    """Hex digest of a file, read in pieces of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def write(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically, replacing an existing file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make renames within a folder durable. Does nothing on systems that cannot open a folder."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: dict[str, Any]) -> None:
    write(path, json.dumps(value, indent=1).encode("ascii"))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from `path`.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is not a JSON object.
    """
    try:
        value = json.loads(path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Damaged(path, str(error)) from error
    if not isinstance(value, dict):
        raise Damaged(path, "it holds no JSON object")
    return value


def read_kept(path: Path, take: Callable[[dict[str, Any]], T | None], otherwise: str) -> T | None:
    """What `take` makes of the JSON object at `path`; None where there is none, or it is damaged.

    otherwise: what is done then, for the log: "PATH is damaged, so OTHERWISE".
    """
    try:
        return take(read_json(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("%s is damaged, so %s: %s", path.name, otherwise, error)
        return None


SCRATCH = "metaembed-"


def scratch_prefix() -> str:
    """The prefix of this process's folders for temporary files, which names the process."""
    return f"{SCRATCH}{os.getpid()}-"


def clear_scratch(folder: Path | None = None, prefix: str = SCRATCH) -> int:
    """Remove the folders PREFIX + PID + "-..." of dead processes of this user, which were killed.

    folder: where they lie, by default the folder for temporary files. Returns the number removed.
    """
    removed = 0
    for old in (folder or Path(tempfile.gettempdir())).glob(f"{prefix}*-*"):
        if _is_dead(old.name.removeprefix(prefix).partition("-")[0]) and _is_own(old):
            shutil.rmtree(old, ignore_errors=True)
            removed += not old.exists()
    return removed


def _is_own(folder: Path) -> bool:
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()


def _is_dead(pid: str) -> bool:
    if not pid.isdigit() or os.name != "posix":
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# Shown to visitors, so it names no path of this machine.
FULL_DISK = "The server's disk is full. Try again later, or tell whoever runs it."


def is_full(error: Exception) -> bool:
    """Whether `error` means that the disk is full or a quota is used up."""
    return isinstance(error, OSError) and error.errno in FULL
