"""Index files: a collection packed as one .zip file, and the import of such a file.

An index file is untrusted: it is read in a process of its own (collection/index_worker.py), within bounds. A
refused file changes nothing. Ids come from what is stored, never from the file, so that a page cannot take
the place of another one.
"""

from __future__ import annotations

import contextlib
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.core.config import LIMITS, Limits
from metaembed_demo.core.disk import FULL_DISK, is_full
from metaembed_demo.core.types import Upload

from . import memory
from .collection import Collection
from .index_archive import InTime
from .index_reader import Wanted, check_room
from .index_worker import Reader, opened, out_of_time
from .stored_page import Place, StoredPage, jpeg_of

NAME = "metaembed-index.zip"
FOLDER = "metaembed-index"  # in the archive
ID = 20  # hex digits of a page id
NONE = np.zeros(0, np.float32)


class Opened(NamedTuple):
    """The number of pages added, the number of pages in the file, and why some were left out ("": none)."""

    added: int
    pages: int
    left_out: str = ""


def pack(collection: Collection, folder: Path) -> Path:
    """Write `collection` as one .zip into `folder`, which exists. Returns its path.

    Raises:
        OSError: when it cannot be written; no partial file is left.
        ValueError: when there are no pages.
    """
    if not len(collection):
        raise ValueError("There are no pages to pack. Add documents first.")
    try:
        return _pack(collection, folder / NAME)
    except OSError as error:
        (folder / NAME).unlink(missing_ok=True)
        if is_full(error):
            raise OSError(FULL_DISK) from error
        raise


def _pack(collection: Collection, target: Path) -> Path:
    # Not in the system's temporary folder: this folder is removed even after this process was killed.
    with tempfile.TemporaryDirectory(prefix="metaembed-", dir=target.parent) as scratch:
        saved = Path(scratch, "index")
        collection.save(saved, words=False)  # made again where it is opened
        # JPEG pictures and vectors do not compress.
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as packed:
            for file in sorted(each for each in saved.rglob("*") if each.is_file()):
                packed.write(file, f"{FOLDER}/{file.relative_to(saved).as_posix()}")
    return target


def add(
    collection: Collection, file: Upload, limits: Limits = LIMITS, base: Collection | None = None
) -> Opened:
    """Add the pages of an index file to `collection`. Sources whose names are taken are renamed.

    A page whose content `collection` or `base` holds is theirs, with its id and its vectors. Pages for which
    there is no memory are left out, and told. The calibrations of the file are kept if its pages are nearly
    all that is then here.

    Args:
        base: the sample corpus under the same encoder.

    Raises:
        ValueError: when it is no index file, is damaged, was made by another encoder, holds more than the
            limits allow, or takes longer than a job may. The message names the file, the error and a remedy;
            nothing is added.
    """
    wanted = Wanted(collection.fingerprint, collection.index.r_c, collection.index.dim)
    in_time = _until(monotonic() + limits.seconds_per_job, file.name, limits)
    homes = [home for home in (collection, base) if home is not None]
    with opened(file, wanted, limits, in_time) as reader:
        pages = len(reader)
        found = _Import(collection, homes, limits)
        for at in range(pages):
            in_time()
            if why := found.take(reader, at):
                left_out = f"{file.name}: {pages - at:,} of {pages:,} pages were left out. {why}"
                break
        else:
            left_out = ""
    with collection.lock:
        check_room(file.name, found.new(), len(collection), limits)
        here = found.ids()
        added = found.merge()
        collection.calibrations.take(reader.calibrations, len(collection) - len(here) + pages - len(here))
        return Opened(added, pages, left_out)


def _until(ends: float, name: str, limits: Limits) -> InTime:
    """A check that raises Refused once the monotonic clock is past `ends`."""

    def in_time() -> None:
        if monotonic() > ends:
            raise out_of_time(name, limits)

    return in_time


class _Import:
    """Pages that were read and are not yet in `home`. Counted in memory as long as they are kept here."""

    def __init__(self, home: Collection, homes: Sequence[Collection], limits: Limits) -> None:
        """homes: collections whose pages are recognised, `home` first."""
        self.home, self.limits = home, limits
        self.held = 0  # bytes
        self._known: dict[str, tuple[StoredPage, Collection]] = {}  # digest -> page, and who has its vectors
        self._pages: list[
            tuple[StoredPage, NDArray[np.float16] | Collection]
        ] = []  # with vectors, or who has them
        memory.watch(self)
        for owner in reversed(homes):
            with owner.lock:
                pages = list(owner.pages.values())
            for page in pages:
                with contextlib.suppress(ValueError, OSError):  # its picture cannot be drawn
                    self._known[page.digest] = page, owner

    def take(self, reader: Reader, at: int) -> str:
        """Read a page. Returns why there is no room for it, or ""."""
        found = reader.page(at)
        if found.digest in self._known:
            return self._meet(found.digest, found.page.places)
        page = _imported(found.page, jpeg_of(reader.picture(at)))
        if page.digest in self._known:  # it was opened before
            return self._meet(page.digest, page.places)
        why = self._count(memory.cost(page, *found.vectors.shape))
        if not why:
            self._known[page.digest] = page, self.home
            self._pages.append((page, found.vectors.astype(np.float16)))
        return why

    def _meet(self, digest: str, places: Sequence[Place]) -> str:
        """Note other places of a page. Returns as `take`."""
        page, owner = self._known[digest]
        why = self._count(memory.cost_of(place for place in places if self.home.holder(place) != page.id))
        if not why:
            self._pages.append((page.at(places), owner))
        return why

    def _count(self, more: int) -> str:
        why = memory.no_room(self.home, more, self.limits, beside=self.held)
        self.held += 0 if why else more
        return why

    def ids(self) -> set[str]:
        """The ids of the file's pages."""
        return {page.id for page, _ in self._pages}

    def new(self) -> int:
        """The number of pages that `home` has not."""
        return len(self.ids() - self.home.pages.keys())

    def merge(self) -> int:
        """Put the pages into `home`, whose lock is held. Returns the number added."""
        pages: list[StoredPage] = []
        vectors: list[NDArray[Any]] = []
        own = {page.id for page, kept in self._pages if not isinstance(kept, Collection)}
        for page, kept in self._pages:
            if not isinstance(kept, Collection):
                vectors.append(kept)
            elif page.id in self.home.pages or page.id in own:
                vectors.append(NONE)  # its place is noted alone
            elif page.id in kept.pages:
                vectors.append(kept.index.full([page.id])[0])
            else:
                continue  # removed meanwhile
            pages.append(page)
        self._pages, self.held = [], 0
        return self.home.take(pages, vectors)


def _imported(page: StoredPage, picture: bytes) -> StoredPage:
    """`page` with a picture, and an id from what is stored: `core.types.page_id` hashes other data."""
    found = replace(page, kept=picture)
    return replace(found, id=found.digest[:ID])
