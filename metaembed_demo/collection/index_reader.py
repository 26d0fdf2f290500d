"""Reads an index file page by page. Nothing in it is believed: not its ids, its counts or its sizes.

It runs in a process of its own (collection/index_worker.py). Where none can be started it runs in the app,
with the same bounds. Each announced number is compared with what is there before anything is allocated.
"""

from __future__ import annotations

import gzip
import io
import json
import logging
import math
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import time
from typing import Any

from PIL import Image

from metaembed_demo.core import disk
from metaembed_demo.core.config import RENDER, Limits
from metaembed_demo.core.text import clean
from metaembed_demo.core.types import FloatArray, Upload, Word
from metaembed_demo.documents.sandbox import protocol

from . import persistence
from .calibration import Kept
from .index_archive import ROW, InTime, Refused, damaged, unpack
from .index_vectors import MISFIT, Broken, Vectors
from .stored_page import Place, StoredPage

MOST_WORDS = 50_000  # of a page: as many as the characters read of a text layer (pdf_text.py) allow
MOST_LETTERS = 100_000  # of a word: as many as those characters
MOST_TEXT = 8 << 20  # bytes of a page's words, unpacked
VALUES_A_WORD = 10  # of JSON, see `protocol.values`: a row of up to seven, and commas in its text
VALUES_A_ROW = 200  # of the table for a page
MOST_NAME = 2_000  # characters of a document's name
PLACES_A_PAGE, MOST_PLACES = 8, 1_000  # of all pages together: so many for each, and so many more
MOST_NUMBER = 10**9
MOST_SENTENCES = 100  # about how a page was read
FAR = 100.0  # times the page's size that a box may lie away from it
PICTURE_ID = re.compile(r"[\w-]{1,64}")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """The encoder that an index must be of: fingerprint, vectors of a page and components."""

    fingerprint: str
    r_c: int
    dim: int


@dataclass(frozen=True)
class Found:
    """A page of an index file without its picture, and without an id.

    digest: `StoredPage.digest` of what the file stores. vectors: (r_c, dim) float32, finite.
    """

    page: StoredPage
    digest: str
    vectors: FloatArray


class IndexReader:
    """An index file, unpacked into a folder. Every method raises Refused when it is not to be opened."""

    def __init__(
        self, file: Upload, folder: Path, wanted: Wanted, limits: Limits, in_time: InTime = lambda: None
    ) -> None:
        """Unpack `file` into the empty `folder`, and check its manifest, its table and its vectors."""
        self._name, self._folder, self._limits, self._in_time = file.name, folder, limits, in_time
        self._read = 0  # bytes of words, unpacked
        paths = unpack(file, folder, limits, in_time)
        with self._refusing():
            head = disk.read_json(folder / "manifest.json")
            pages = self._check_head(head, wanted)
            self.calibrations = _calibrations(head)
            if pages > sum(path.startswith("images/") for path in paths):
                raise Broken(f"it announces {pages:,} pages and has pictures of fewer")
            self._records = self._table(head["table"], pages)
            self._vectors = Vectors(folder, head["index"], wanted.r_c, wanted.dim, limits.max_session_pages)
            if self._vectors.ids != [record.id for record in self._records]:
                raise Broken(MISFIT)

    def __len__(self) -> int:
        return len(self._records)

    def page(self, at: int) -> Found:
        """The page at `at`, from 0."""
        self._in_time()
        record = self._records[at]
        with self._refusing():
            page = self._stored(record)
            return Found(replace(page, kept=b""), page.digest, self._vectors.of(record.id))

    def picture(self, at: int) -> Image.Image:
        """The RGB picture of the page at `at`, decoded."""
        self._in_time()
        with self._refusing(), Image.open(self._picture(self._records[at].id), formats=["JPEG"]) as picture:
            return picture.convert("RGB")

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Any error is a Refused that names the file, without this machine's paths."""
        try:
            yield
        except Refused:
            raise
        except MemoryError as error:
            raise Refused(
                f"{self._name} needs more memory than is allowed. Save an index of fewer documents."
            ) from error
        except Exception as error:  # an untrusted file can be wrong in any way
            log.info("%s was refused", self._name, exc_info=True)
            raise damaged(self._name, _reason(error)) from error

    # The manifest and the table

    def _check_head(self, head: dict[str, Any], wanted: Wanted) -> int:
        """The number of pages that it announces."""
        name = self._name
        if head.get("kind") != persistence.KIND:
            raise Refused(f"{name} is no index: its manifest.json is of some other program.")
        if head.get("format") != persistence.FORMAT:
            raise Refused(
                f"{name} has format {str(head.get('format'))[:20]}; this program reads {persistence.FORMAT}. "
                "Add the documents themselves."
            )
        if head.get("encoder") != wanted.fingerprint:
            raise Refused(
                f"{name} was made by another encoder ({str(head.get('encoder'))[:80]}, not "
                f"{wanted.fingerprint}), so its vectors do not fit. Choose that encoder first, or add the "
                "documents themselves."
            )
        pages = head["pages"]
        if type(pages) is not int or pages < 1:
            raise Broken("it announces no pages")
        check_room(name, pages, 0, self._limits)
        return pages

    def _table(self, about: dict[str, Any], pages: int) -> list[persistence.Record]:
        """The record of each page, checked to lie within the files that are there."""
        file = self._folder / Path(about["file"]).name
        if disk.sha256_of(file) != about["sha256"]:
            raise Broken(f"the checksum of {file.name} is not the recorded one")
        most = ROW * (pages + 1)
        with gzip.open(file) as table:
            text = table.read(most + 1)
        if len(text) > most or protocol.values(text) > VALUES_A_ROW * (pages + 1):
            raise Refused(
                f"{self._name} looks like a decompression bomb: its table is too long. It was not opened."
            )
        rows = json.loads(text.decode("utf-8", "surrogatepass"))
        if len(rows) != pages:
            raise Broken(f"it announces {pages:,} pages and lists {len(rows):,}")
        sizes = {each.name: each.stat().st_size for each in (self._folder / "texts").glob("*.bin")}
        records = [self._record(row, sizes) for row in rows]
        if len({record.id for record in records}) != pages:
            raise Broken("a page is in it twice")
        places = [place for record in records for place in record.places]
        if len(places) > PLACES_A_PAGE * pages + MOST_PLACES:
            raise Broken(f"its {pages:,} pages are in {len(places):,} places")
        return records

    def _record(self, row: Any, sizes: dict[str, int]) -> persistence.Record:
        found = persistence.Record.of_row(self._folder, row)
        if not (isinstance(found.id, str) and PICTURE_ID.fullmatch(found.id)):
            raise _not_a_page()
        if not (found.places and all(map(is_place, found.places))):
            raise _not_a_page()
        if found.file not in sizes:
            raise Broken(f"texts/{found.file[:60]} is missing")
        if not all(type(n) is int and n >= 0 for n in (found.offset, found.length)):
            raise _not_a_page()
        if found.offset + found.length > sizes[found.file]:
            raise Broken(f"texts/{found.file} is cut off")
        places = tuple((clean(source), number) for source, number in found.places)
        return replace(found, places=places, added=checked_date(found.added))

    # Pages

    def _stored(self, record: persistence.Record) -> StoredPage:
        """The page with its picture as it is in the file, whose header alone is read."""
        value = self._value(record)
        file = self._picture(record.id)
        source, number = record.places[0]
        picture = file.read_bytes()
        if disk.sha256(picture) != value["picture_sha256"]:
            raise Broken(f"the checksum of the picture of {source} page {number} is wrong")
        found = StoredPage.from_json({**value, "id": "", "source": "", "number": 1, "also": []}, picture)
        check_words(found.words)
        # As words and sentences are when they come from the process that reads documents.
        words = protocol.unpack_words(protocol.pack_words(found.words))
        reading = tuple(map(protocol.sentence, found.reading[:MOST_SENTENCES]))
        if not protocol.LANGUAGE.fullmatch(found.language):
            raise _not_a_page()
        _check_picture(picture, found.width, found.height, self._limits)
        return replace(found, words=words, reading=reading, added=record.added).at(record.places)

    def _value(self, record: persistence.Record) -> dict[str, Any]:
        """A page's words as JSON types."""
        unpacking = zlib.decompressobj()
        text = unpacking.decompress(record.packed(), MOST_TEXT)
        self._read += len(text)
        if not unpacking.eof:
            raise Refused(f"{self._name} looks like a decompression bomb: a page's words do not end.")
        if protocol.values(text) > VALUES_A_WORD * MOST_WORDS:
            raise Refused(
                f"{self._name} was not opened: a page of it has more than {MOST_WORDS:,} words. Add the "
                "documents themselves."
            )
        if self._read > self._limits.max_archive_bytes:
            raise Refused(
                f"{self._name} was not opened: the words of its pages take more than "
                f"{self._limits.max_archive_bytes:,} bytes. Save an index of fewer documents, or raise "
                "METAEMBED_MAX_ARCHIVE_BYTES."
            )
        value = json.loads(text.decode("utf-8", "surrogatepass"))
        if not isinstance(value, dict):
            raise _not_a_page()
        return value

    def _picture(self, page_id: str) -> Path:
        return self._folder / "images" / f"{page_id}.jpg"


def check_room(name: str, new: int, here: int, limits: Limits) -> None:
    """Raises Refused when `new` pages beside `here` are more than a session may have."""
    if new + here > limits.max_session_pages:
        beside = f" beside the {here:,} that are here" if here else ""
        raise Refused(
            f"{name} holds {new:,} pages to add{beside}, over the limit of {limits.max_session_pages:,}. "
            "Remove documents, or raise METAEMBED_MAX_SESSION_PAGES."
        )


def _calibrations(head: dict[str, Any]) -> Kept:
    """Those of the pages. Raises Broken when they are none."""
    try:
        return Kept.from_json(head.get("calibrations", {}))
    except ValueError as error:
        raise Broken("its calibration is none") from error


def check_words(words: tuple[Word, ...]) -> None:
    """Raises Broken when there are more or longer words than a page has, or they lie nowhere near it."""
    if len(words) > MOST_WORDS:
        raise Broken(f"a page has {len(words):,} words")
    for word in words:
        if not isinstance(word.text, str) or len(word.text) > MOST_LETTERS:
            raise _not_a_page()
        if not all(math.isfinite(edge) and abs(edge) <= FAR for edge in word.box):
            raise _not_a_page()


def _check_picture(picture: bytes, width: int, height: int, limits: Limits) -> None:
    """Raises Broken unless it is a JPEG as this program stores them: baseline, and no larger."""
    if not all(type(side) is int and 0 < side <= RENDER.view_side for side in (width, height)):
        raise _not_a_page()
    with Image.open(io.BytesIO(picture), formats=["JPEG"]) as found:  # reads only the header
        plain = found.format == "JPEG" and "progressive" not in found.info
        if not plain or found.size != (width, height) or width * height > limits.max_pixels:
            raise _not_a_page()


def is_place(place: Place) -> bool:
    """Whether it is the name of a document and the number of a page."""
    source, number = place
    if not isinstance(source, str) or not 0 < len(source) <= MOST_NAME:
        return False
    return type(number) is int and 0 < number <= MOST_NUMBER


def checked_date(added: object) -> int:
    """Seconds UTC at which a page was added: not before 1970, nor after now. Raises Broken for no number."""
    if type(added) is not int:
        raise _not_a_page()
    return min(max(added, 0), int(time()))


def _not_a_page() -> Broken:
    return Broken("it holds a page that is none")


def _reason(error: Exception) -> str:
    """What is wrong, without this machine's paths."""
    if isinstance(error, Broken):
        return str(error)
    if isinstance(error, disk.Damaged):
        return error.reason
    if isinstance(error, FileNotFoundError):
        return f"{Path(str(error.filename)).name} is missing"
    if isinstance(error, Image.UnidentifiedImageError):
        return str(_not_a_page())
    return "its content is not that of an index"
