"""Hostile index files: ids are not believed, announced numbers allocate nothing, all is bounded."""

from __future__ import annotations

import io
import json
import sys
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metaembed_demo.collection import index_file, index_worker, memory
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.index_archive import KNOWN
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.config import LIMITS
from metaembed_demo.core.disk import Damaged
from metaembed_demo.core.types import Upload
from metaembed_demo.documents.sandbox.pool import Workers
from tests.support.index_files import (
    ENCODER,
    TEXTS,
    Entries,
    collection_of,
    edit_head,
    entries,
    refused,
    repack,
    rewritten,
)
from tests.support.sample_pages import make_page

LITTLE = 48 << 20  # bytes that opening a small file may allocate at its peak


@pytest.fixture
def home() -> Collection:
    return collection_of("something of my own", source="mine.pdf")


@pytest.fixture
def packed(tmp_path: Path) -> Upload:
    return Upload(index_file.pack(collection_of(*TEXTS), tmp_path), "theirs.zip")


@pytest.fixture
def in_app(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process: the bounds must hold by themselves (METAEMBED_WORKER=0)."""
    monkeypatch.setattr(index_worker.INDEXES, "available", False)


def pack(page: StoredPage, tmp_path: Path) -> Upload:
    """An index file of this page."""
    other = Collection.for_encoder(ENCODER)
    other.put(page, ENCODER.encode_pages([make_page("", 1, page.title)])[0])
    return Upload(index_file.pack(other, tmp_path), "theirs.zip")


def peak(call: Callable[[], object]) -> int:
    """Bytes allocated at the peak of `call`."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# Ids


def test_a_page_that_bears_anothers_id_gets_its_own(home: Collection, tmp_path: Path) -> None:
    (victim,) = home.pages.values()
    forged = replace(StoredPage.of(make_page("evil.pdf", 1, "not what you think")), id=victim.id)
    assert index_file.add(home, pack(forged, tmp_path))[:2] == (1, 1)
    assert home.pages[victim.id] is victim
    (page,) = [page for page in home.pages.values() if page.source == "evil.pdf"]
    assert page.id != victim.id
    assert page.words == forged.words


def test_a_sample_is_itself_alone_where_all_that_is_stored_is_equal(home: Collection, tmp_path: Path) -> None:
    base = collection_of(*TEXTS)
    sample = next(iter(base.pages.values()))
    moved = replace(sample, words=tuple(replace(word, box=(0.5, 0.5, 0.6, 0.6)) for word in sample.words))
    index_file.add(home, pack(moved, tmp_path), base=base)
    assert sample.id not in home.pages
    assert index_file.add(home, pack(sample, tmp_path), base=base)[:2] == (1, 1)
    assert home.pages[sample.id].picture is sample.picture, "the sample's own, not a copy of it"
    np.testing.assert_array_equal(home.index.full([sample.id]), base.index.full([sample.id]))


def test_opening_a_file_again_adds_nothing(home: Collection, packed: Upload) -> None:
    assert index_file.add(home, packed)[:2] == (5, 5)
    assert index_file.add(home, packed)[:2] == (0, 5)
    assert len(home) == 6


# What a file announces


def test_an_error_message_is_not_searched_for_its_reason(
    home: Collection, packed: Upload, tmp_path: Path
) -> None:
    """A document's name of many "damaged: " took seconds, and was told as the reason."""

    def change(value: dict, row: list) -> None:
        row[1] = [["damaged: a" * 150, 1]]
        value["picture_sha256"] = "0"

    told = refused(home, repack(packed, lambda found: rewritten(found, change, zlib.compress), tmp_path))
    assert "the checksum of the picture" in told
    long = repack(packed, lambda found: rewritten(found, _long_name, zlib.compress), tmp_path)
    assert len(refused(home, long)) < 200


def _long_name(value: dict, row: list) -> None:
    row[1] = [["damaged: a" * 2_000, 1]]
    value["picture_sha256"] = "0"


def _pages(head: dict) -> None:
    head["index"]["segments"][0]["pages"] = 400_000_000


def _pages_everywhere(head: dict) -> None:
    _pages(head)
    head["pages"] = 400_000_000


@pytest.mark.usefixtures("in_app")
@pytest.mark.parametrize("change", [_pages, _pages_everywhere])
def test_a_number_of_pages_is_not_believed(
    home: Collection, packed: Upload, tmp_path: Path, change: Callable[[dict], None]
) -> None:
    file = repack(packed, edit_head(change), tmp_path)
    assert peak(lambda: refused(home, file)) < LITTLE


def test_a_folder_that_is_loaded_is_not_believed_either(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    collection_of(*TEXTS).save(folder)
    head = json.loads((folder / "manifest.json").read_text())
    _pages(head)
    (folder / "manifest.json").write_text(json.dumps(head))

    def load() -> None:
        with pytest.raises(Damaged, match="it lists 5 pages, not 400,000,000"):
            Collection.load(folder, ENCODER.fingerprint)

    assert peak(load) < LITTLE


@pytest.mark.usefixtures("in_app")
def test_the_length_of_a_record_is_not_believed(home: Collection, packed: Upload, tmp_path: Path) -> None:
    def change(found: Entries) -> None:
        rewritten(found, lambda value, row: None, zlib.compress, length=8 << 30)

    file = repack(packed, change, tmp_path)
    assert peak(lambda: refused(home, file)) < LITTLE
    assert "is cut off" in refused(home, file)


@pytest.mark.usefixtures("in_app")
def test_a_manifest_is_small(home: Collection, packed: Upload, tmp_path: Path) -> None:
    file = repack(packed, edit_head(lambda head: head.update(more=[[]] * 900_000)), tmp_path)
    assert peak(lambda: refused(home, file)) < LITTLE
    assert "its manifest.json unpacks to" in refused(home, file)


def test_a_page_has_so_many_words(home: Collection, packed: Upload, tmp_path: Path) -> None:
    def change(value: dict, row: list) -> None:
        value["words"] = value["words"][:1] * 80_000

    file = repack(packed, lambda found: rewritten(found, change, zlib.compress), tmp_path)
    assert "a page of it has more than 50,000 words" in refused(home, file)


def test_an_archive_has_so_many_entries(home: Collection, packed: Upload, tmp_path: Path) -> None:
    few = LIMITS.model_copy(update={"max_session_pages": 10, "max_archive_files": 10})
    many = repack(packed, lambda found: found.update({f"other/{n}": b"" for n in range(400)}), tmp_path)
    assert "over the limit of 20 for an index" in refused(home, many, few)
    names = {f"{n}" + "x" * 60_000: b"" for n in range(30)}
    long = repack(packed, lambda found: found.update(names), tmp_path)
    assert "holds more files than an index has" in refused(home, long)


def test_only_methods_of_small_decoders_are_unpacked(
    home: Collection, packed: Upload, tmp_path: Path
) -> None:
    file = repack(packed, lambda found: None, tmp_path, zipfile.ZIP_LZMA)
    assert "packed by a method that is not read" in refused(home, file)


# Pictures


def _encoded(size: tuple[int, int], **options: object) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size).save(data, "JPEG", **options)
    return data.getvalue()


@pytest.mark.parametrize(
    ("size", "options"), [((60, 80), {"progressive": True}), ((1300, 80), {})], ids=["progressive", "large"]
)
def test_a_picture_that_is_costly_to_decode_is_refused(
    home: Collection, tmp_path: Path, size: tuple[int, int], options: dict
) -> None:
    page = StoredPage.of(make_page("guide.pdf", 1, "a page"))
    page = replace(page, kept=_encoded(size, **options), width=size[0], height=size[1])
    assert "holds a page that is none" in refused(home, pack(page, tmp_path))


def test_a_picture_is_encoded_again(home: Collection, tmp_path: Path) -> None:
    page = StoredPage.of(make_page("guide.pdf", 1, "a page"))
    file = pack(replace(page, kept=page.picture + b"<script>alert(1)</script>"), tmp_path)
    assert index_file.add(home, file)[:2] == (1, 1)
    assert not any(b"<script>" in page.picture for page in home.pages.values())


# The process


def test_the_app_itself_opens_no_file(
    home: Collection, packed: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*args: object) -> None:
        raise AssertionError("read in the app")

    monkeypatch.setattr(index_worker, "IndexReader", forbidden)
    monkeypatch.setattr(zipfile, "ZipFile", forbidden)
    assert index_file.add(home, packed)[:2] == (5, 5)


def test_a_process_that_dies_or_talks_nonsense_costs_nothing(
    home: Collection, packed: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(code: str) -> Workers:
        begin = "import sys, json; out = sys.stdout.buffer\n"
        begin += "def say(text): out.write(len(text).to_bytes(4, 'big') + text); out.flush()\n"
        return Workers(1, command=[sys.executable, "-c", begin + code])

    ready, asked = 'say(b\'{"is": "ready", "blobs": []}\')\n', "sys.stdin.readline()\n"
    pool = started(ready + asked + "import os; os.abort()")
    monkeypatch.setattr(index_worker, "INDEXES", pool)
    assert "could not be opened: its reader needed more than" in refused(home, packed)
    pool = started(ready + (asked + 'say(b\'{"is": "open", "pages": 3, "blobs": []}\')\n') * 2)
    monkeypatch.setattr(index_worker, "INDEXES", pool)
    assert "gave an answer that makes no sense" in refused(home, packed)
    pool = started("")
    monkeypatch.setattr(pool, "_proven", True)
    monkeypatch.setattr(index_worker, "INDEXES", pool)
    assert "no process starts" in refused(home, packed)


# Memory


def test_pages_for_which_there_is_memory_are_kept_and_the_rest_told(home: Collection, packed: Upload) -> None:
    before = memory.in_all()
    one = home.held  # of a page as large as the others
    few = LIMITS.model_copy(update={"max_session_memory": home.held + 2 * one + one // 2})
    found = index_file.add(home, packed, few)
    assert found[:2] == (2, 5)
    assert found.left_out.startswith("theirs.zip: 3 of 5 pages were left out. The pages of one session take")
    assert found.left_out.endswith("Remove documents, or raise METAEMBED_MAX_SESSION_MEMORY.")
    whole = LIMITS.model_copy(update={"max_memory": memory.in_all() + one + one // 2})
    found = index_file.add(home, packed, whole)
    assert found[:2] == (1, 5)
    assert "METAEMBED_MAX_MEMORY" in found.left_out
    home.clear()
    assert home.held == 0
    assert memory.in_all() <= before


def test_what_files_of_an_index_are_called(packed: Upload) -> None:
    """So that the bounds above are of all there is."""
    names = {name.removeprefix("metaembed-index/") for name in entries(packed)}
    assert all(KNOWN.fullmatch(name) for name in names)
