"""Room on the disk for uploads: reserved before a request's files arrive, overall and per client address."""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from metaembed_demo.core.config import Limits

from . import uploads

COUNTED_S = 1.0  # how long the measured size of all uploads is used


class NoRoom(Exception):
    """There is no room for an upload. The message is for the visitor."""


class UploadRoom:
    """The bytes of uploads: measured on the disk, received since then, and reserved by running requests."""

    def __init__(self, folder: Path, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        """folder: the upload folder. Everything in it counts."""
        self.folder, self.limits, self.clock = folder, limits, clock
        # A share holds at least one file, where all of the room does.
        self.share = limits.share(limits.max_upload_bytes, limits.max_file_bytes)
        self._lock, self._measuring = threading.Lock(), threading.Lock()
        self._counted = float("-inf")
        self._measured: Counter[str] = Counter()  # client -> bytes; "" is nobody's, as packed index files
        self._since: Counter[str] = Counter()  # received since the measurement began
        self._reserved: Counter[str] = Counter()
        self._owners: dict[Path, str] = {}  # a request's folder -> client

    def admit(self, client: str, size: int) -> Receiving:
        """Reserve `size` bytes for a request of `client`, and a folder for its files.

        Raises:
            NoRoom: when the room, or the client's share of it, is taken.
        """
        self._measure()
        self.reserve(client, size)
        return Receiving(self, client, size)

    def reserve(self, client: str, size: int) -> None:
        """Add to what `client` has reserved. Raises NoRoom as `admit`."""
        with self._lock:
            counts = (self._measured, self._since, self._reserved)
            if sum(map(Counter.total, counts)) + size > self.limits.max_upload_bytes:
                raise NoRoom("The server's room for uploads is full. Try again in a few minutes.")
            if sum(each[client] for each in counts) + size > self.share:
                raise NoRoom(
                    "Uploads from your address take all of its share of the server's room. Wait until those "
                    "are indexed, or close other tabs."
                )
            self._reserved[client] += size

    def turn_into_use(self, client: str, folder: Path, reserved: int, used: int) -> None:
        """End a reservation; `used` bytes are in `folder`."""
        with self._lock:
            self._reserved[client] -= reserved
            self._reserved = +self._reserved  # forgets clients with nothing
            if used:
                self._since[client] += used
                self._owners[folder] = client
            uploads.receiving.discard(folder)

    def _measure(self) -> None:
        with self._measuring:
            if self.clock() - self._counted < COUNTED_S:
                return
            with self._lock:
                began, before, running = self.clock(), self._since.copy(), set(uploads.receiving)
            found: Counter[str] = Counter()
            folders = [each for each in self.folder.glob("*") if each not in running]
            for each in folders:
                found[self._owners.get(each, "")] += uploads.used(each)
            with self._lock:
                self._measured, self._counted = found, began
                self._since = self._since - before
                here = {*folders, *running}
                self._owners = {each: client for each, client in self._owners.items() if each in here}


class Receiving:
    """A running upload request: its reservation, and its own `folder`, which nobody can guess."""

    def __init__(self, room: UploadRoom, client: str, reserved: int) -> None:
        self.folder = room.folder / secrets.token_urlsafe(24)
        self._room, self._client, self._reserved, self._arrived = room, client, reserved, 0
        uploads.receiving.add(self.folder)

    def arrive(self, size: int) -> None:
        """Count `size` bytes of the body; what was not announced is reserved now. Raises NoRoom."""
        self._arrived += size
        more = self._arrived - self._reserved
        if more > 0:
            self._room.reserve(self._client, more)
            self._reserved += more

    def end(self, kept: bool) -> None:
        """Turn the reservation into use, without the parts of files; with all else removed unless `kept`."""
        uploads.clear_parts(self.folder, whole=not kept)
        used = uploads.used(self.folder)
        self._room.turn_into_use(self._client, self.folder, self._reserved, used)
