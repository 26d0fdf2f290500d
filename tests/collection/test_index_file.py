"""An index as one file: what is packed comes back; what is damaged, foreign or hostile changes nothing."""

from __future__ import annotations

import gzip
import io
import stat
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metaembed_demo.app.views import documents_tab
from metaembed_demo.collection import index_archive, index_file, index_worker
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.budgets import STOPS
from metaembed_demo.core.config import LIMITS
from metaembed_demo.core.types import Problem, Upload
from metaembed_demo.documents.loader import read_files
from tests.support.dummy_encoder import DummyEncoder
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
    with_table,
)
from tests.support.ladder_encoder import THREE, Ladder
from tests.support.sample_pages import keep_as, make_page


def contents(collection: Collection) -> object:
    """What pages hold and where, without their ids, which an opened file does not give."""
    pages = [(page.places, page.words, page.width, page.height) for page in collection.pages.values()]
    return pages, collection.index.vectors(collection.index.ids).tobytes()


@pytest.fixture
def home() -> Collection:
    return collection_of(*TEXTS)


@pytest.fixture
def packed(tmp_path: Path) -> Upload:
    """An index file of five pages."""
    return Upload(index_file.pack(collection_of(*TEXTS), tmp_path), "mine.zip")


# There and back


def test_what_is_packed_comes_back(packed: Upload) -> None:
    original, empty = collection_of(*TEXTS), Collection.for_encoder(ENCODER)
    assert index_file.add(empty, packed)[:2] == (5, 5)
    assert contents(empty) == contents(original)
    for mine, theirs in zip(empty.pages.values(), original.pages.values(), strict=True):
        pixels = (np.asarray(Image.open(io.BytesIO(page.picture)), int) for page in (mine, theirs))
        assert np.abs(np.subtract(*pixels)).max() <= 2  # it is encoded again


def test_an_encoders_own_stops_come_along(tmp_path: Path) -> None:
    encoder = Ladder(THREE)
    original, empty = Collection.for_encoder(encoder), Collection.for_encoder(encoder)
    page = make_page("ladder.pdf", 1, "level 2")
    original.put(StoredPage.of(page), encoder.encode_pages([page])[0])
    file = Upload(index_file.pack(original, tmp_path), "own.zip")
    assert index_file.add(empty, file)[:2] == (1, 1)
    assert empty.index.budgets == THREE
    np.testing.assert_array_equal(
        empty.index.vectors(empty.index.ids), original.index.vectors(original.index.ids)
    )


def test_a_removed_document_is_restored_and_what_is_here_stays_once(home: Collection, tmp_path: Path) -> None:
    page = make_page("atlas.pdf", 1, "a map of the harbour")
    home.put(StoredPage.of(page), ENCODER.encode_pages([page])[0])
    file = Upload(index_file.pack(home, tmp_path), "mine.zip")
    home.remove("atlas.pdf")
    assert index_file.add(home, file)[:2] == (1, 6)
    assert [document.source for document in home.documents()] == ["guide.pdf", "atlas.pdf"]
    assert index_file.add(home, file)[:2] == (0, 6)


def test_a_name_that_is_taken_gets_a_number(packed: Upload) -> None:
    home = collection_of("something else entirely")  # guide.pdf page 1, too
    assert index_file.add(home, packed)[:2] == (5, 5)
    assert [document.source for document in home.documents()] == ["guide.pdf", "guide (2).pdf"]


@pytest.mark.parametrize("kind", ["int8", "pq", "binary"])
def test_full_vectors_survive_a_file_of_codes(kind: str, tmp_path: Path) -> None:
    original = collection_of(*TEXTS)
    wanted = contents(original)
    keep_as(original, kind)
    file = Upload(index_file.pack(original, tmp_path), "codes.zip")
    empty = Collection.for_encoder(ENCODER)
    index_file.add(empty, file)
    assert contents(empty) == wanted


def test_pages_join_an_index_that_is_kept_as_codes(packed: Upload) -> None:
    home = collection_of("one", "two", "three", "four")
    keep_as(home, "int8")
    index_file.add(home, packed)
    assert (home.index.storage, len(home.index)) == ("int8", 9)
    query = ENCODER.encode_pages([make_page("", 1, TEXTS[1])])[0].vectors[:16]
    best = home.index.search(query, STOPS[-1], 1)[0].page_id
    assert home.pages[best].words[0].text == "train"


def test_a_file_that_was_packed_anew_by_another_program_opens(
    home: Collection, packed: Upload, tmp_path: Path
) -> None:
    def flat(found: Entries) -> None:
        """Without the folder, with what file managers leave behind, compressed."""
        for name in list(found):
            found[name.removeprefix("metaembed-index/")] = found.pop(name)
        found["__MACOSX/._manifest.json"] = b"\0"
        found[".DS_Store"] = b"\0"
        found["notes.txt"] = b"my notes"

    empty = Collection.for_encoder(ENCODER)
    assert index_file.add(empty, repack(packed, flat, tmp_path, zipfile.ZIP_DEFLATED))[:2] == (5, 5)
    assert contents(empty) == contents(home)


def test_an_empty_collection_is_not_packed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="There are no pages to pack"):
        index_file.pack(Collection.for_encoder(ENCODER), tmp_path)


def test_only_an_indexs_own_files_are_unpacked(packed: Upload, tmp_path: Path) -> None:
    def add(found: Entries) -> None:
        found["metaembed-index/run.sh"] = b"echo"
        found["metaembed-index/images/evil.svg"] = b"<svg/>"
        found["metaembed-index/segments/../../x"] = b"x"

    def add_quietly(found: Entries) -> None:
        add(found)
        del found["metaembed-index/segments/../../x"]

    assert "a path that leads elsewhere" in refused(
        Collection.for_encoder(ENCODER), repack(packed, add, tmp_path)
    )
    folder = tmp_path / "out"
    index_archive.unpack(repack(packed, add_quietly, tmp_path), folder, LIMITS)
    names = {file.name for file in folder.rglob("*") if file.is_file()}
    assert "manifest.json" in names
    assert not names & {"run.sh", "evil.svg", "x"}


# Refusals


@pytest.mark.parametrize(
    "name", ["../../escape.txt", "/etc/escape.txt", "C:/escape.txt", "a\\..\\escape.txt"]
)
def test_a_path_that_leads_elsewhere_is_refused(
    home: Collection, packed: Upload, tmp_path: Path, name: str
) -> None:
    file = repack(packed, lambda found: found.update({name: b"x"}), tmp_path)
    assert "a path that leads elsewhere" in refused(home, file)
    assert not list(tmp_path.parent.rglob("escape.txt"))


def test_a_link_is_refused(home: Collection, packed: Upload, tmp_path: Path) -> None:
    path = tmp_path / "link.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries(packed).items():
            archive.writestr(name, data)
        info = zipfile.ZipInfo("metaembed-index/images/abc.jpg")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    assert "a path that leads elsewhere" in refused(home, Upload(path, "link.zip"))


def test_another_encoders_index_is_refused(home: Collection, packed: Upload, tmp_path: Path) -> None:
    file = repack(packed, edit_head(lambda head: head.update(encoder="other-1")), tmp_path)
    assert "was made by another encoder (other-1, not dummy-1)" in refused(home, file)


def test_another_format_or_program_is_refused(home: Collection, packed: Upload, tmp_path: Path) -> None:
    later = repack(packed, edit_head(lambda head: head.update(format=99)), tmp_path)
    assert "has format 99; this program reads" in refused(home, later)
    other = repack(packed, edit_head(lambda head: head.update(kind="recipes")), tmp_path)
    assert "is of some other program" in refused(home, other)


def test_a_file_that_is_no_index_is_refused(home: Collection, packed: Upload, tmp_path: Path) -> None:
    text = tmp_path / "notes.zip"
    text.write_text("these are notes")
    assert "is no .zip file" in refused(home, Upload(text, "notes.zip"))
    data = packed.path.read_bytes()
    text.write_bytes(data[: len(data) // 2])
    assert "or is cut off" in refused(home, Upload(text, "notes.zip"))
    pictures = tmp_path / "pictures.zip"
    with zipfile.ZipFile(pictures, "w") as archive:
        archive.writestr("cat.jpg", b"\xff\xd8\xff")
    assert "holds no manifest.json" in refused(home, Upload(pictures, "pictures.zip"))


def _drop(part: str) -> Callable[[Entries], None]:
    def run(found: Entries) -> None:
        del found[next(name for name in found if part in name)]

    return run


def _flip(part: str) -> Callable[[Entries], None]:
    def run(found: Entries) -> None:
        name = next(name for name in found if part in name)
        data = bytearray(found[name])
        data[len(data) // 2] ^= 0xFF
        found[name] = bytes(data)

    return run


@pytest.mark.parametrize("part", ["full.npy", "ids.json", "table-", "texts/", "images/"])
@pytest.mark.parametrize("change", [_drop, _flip], ids=["missing", "changed"])
def test_a_damaged_file_is_refused_whatever_is_damaged(
    home: Collection,
    packed: Upload,
    tmp_path: Path,
    part: str,
    change: Callable[[str], Callable[[Entries], None]],
) -> None:
    told = refused(home, repack(packed, change(part), tmp_path))
    assert "is damaged" in told
    assert told.endswith("Download it again.")


@pytest.mark.parametrize(
    "head",
    [
        {"pages": "many"},
        {"pages": None},
        {"table": []},
        {"table": {"file": "../../manifest.json", "sha256": ""}},
        {"index": {"format": 2}},
        {"index": None},
    ],
    ids=str,
)
def test_a_head_of_nonsense_is_refused(home: Collection, packed: Upload, tmp_path: Path, head: dict) -> None:
    file = repack(packed, edit_head(lambda found: found.update(head)), tmp_path)
    assert "is damaged" in refused(home, file)


def test_bytes_that_fail_their_checksum_in_the_archive_are_refused(
    home: Collection, packed: Upload, tmp_path: Path
) -> None:
    data = bytearray(packed.path.read_bytes())
    start = data.index(b"\x93NUMPY")
    data[start + 1000] ^= 0xFF
    path = tmp_path / "bad.zip"
    path.write_bytes(bytes(data))
    assert "cannot be unpacked" in refused(home, Upload(path, "bad.zip"))


# Limits


def test_limits_of_pages_bytes_and_files_are_kept(home: Collection, packed: Upload, tmp_path: Path) -> None:
    few = LIMITS.model_copy(update={"max_session_pages": 4})
    assert "5 pages to add, over the limit of 4" in refused(home, packed, few)
    assert "unpacks to" in refused(home, packed, LIMITS.model_copy(update={"max_archive_bytes": 10_000}))
    assert "over the limit of 6 for an index" in refused(
        home, packed, LIMITS.model_copy(update={"max_archive_files": 1, "max_session_pages": 5})
    )
    others = Upload(index_file.pack(collection_of("six", "seven"), tmp_path), "others.zip")
    told = refused(home, others, LIMITS.model_copy(update={"max_session_pages": 6}))
    assert "2 pages to add beside the 5 that are here, over the limit of 6" in told
    assert index_file.add(home, others, LIMITS.model_copy(update={"max_session_pages": 7}))[:2] == (2, 2)


def test_pages_that_are_here_do_not_count_against_the_limit(home: Collection, packed: Upload) -> None:
    assert index_file.add(home, packed, LIMITS.model_copy(update={"max_session_pages": 5}))[:2] == (0, 5)


def test_opening_ends_when_the_time_of_a_job_is_up(packed: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it is by then; nothing is added."""
    short = LIMITS.model_copy(update={"seconds_per_job": 0.0})
    assert "takes more than 0 s to open" in refused(collection_of("other"), packed, short)
    monkeypatch.setattr(index_worker.INDEXES, "available", False)
    looks = count()
    monkeypatch.setattr(index_file, "monotonic", lambda: float(next(looks)))
    assert index_file.add(collection_of(*TEXTS), packed)[:2] == (0, 5)
    whole = next(looks)
    assert whole > 20
    for seconds in range(whole - 1):
        looks = count()
        told = refused(
            collection_of("other"), packed, LIMITS.model_copy(update={"seconds_per_job": seconds + 0.5})
        )
        assert told.startswith(
            f"mine.zip takes more than {seconds + 0.5:g} s to open. Save an index of fewer"
        )


def test_a_bomb_is_not_unpacked(home: Collection, packed: Upload, tmp_path: Path) -> None:
    def add(found: Entries) -> None:
        found["metaembed-index/images/bomb.jpg"] = bytes(5 << 20)

    file = repack(packed, add, tmp_path, zipfile.ZIP_DEFLATED)
    assert "looks like a decompression bomb: metaembed-index/images/bomb.jpg" in refused(home, file)


def test_a_bomb_inside_the_table_is_not_unpacked(home: Collection, packed: Upload, tmp_path: Path) -> None:
    bomb = gzip.compress(b"[" + b" " * (8 << 20) + b"]")
    file = repack(packed, lambda found: with_table(found, bomb), tmp_path)
    assert "its table is too long" in refused(
        home, file, LIMITS.model_copy(update={"max_session_pages": 100})
    )


def test_a_bomb_inside_a_pages_words_is_not_unpacked(
    home: Collection, packed: Upload, tmp_path: Path
) -> None:
    def pack(data: bytes) -> bytes:
        return zlib.compress(data + b" " * (20 << 20))

    file = repack(packed, lambda found: rewritten(found, lambda value, row: None, pack), tmp_path)
    assert "a page's words do not end" in refused(home, file)


def _number(value: dict, row: list) -> None:
    row[1] = [["guide.pdf", "<script>alert(1)</script>"]]


def _source(value: dict, row: list) -> None:
    row[1] = [[7, 1]]


def _kind(value: dict, row: list) -> None:
    value["words"][0][5] = '"><script>'


def _box(value: dict, row: list) -> None:
    value["words"][0][1] = None


def _width(value: dict, row: list) -> None:
    value["width"] = 999


def _id(value: dict, row: list) -> None:
    row[0] = "../../x"


@pytest.mark.parametrize("change", [_number, _source, _kind, _box, _width, _id])
def test_a_page_that_is_none_is_refused(
    home: Collection, packed: Upload, tmp_path: Path, change: Callable[[dict, list], None]
) -> None:
    file = repack(packed, lambda found: rewritten(found, change, zlib.compress), tmp_path)
    assert "is damaged" in refused(home, file)


def test_a_page_that_was_only_written_anew_is_taken(home: Collection, packed: Upload, tmp_path: Path) -> None:
    """So that the refusals above are for what was changed."""
    file = repack(packed, lambda found: rewritten(found, lambda value, row: None, zlib.compress), tmp_path)
    assert index_file.add(home, file)[:2] == (0, 5)


def test_a_picture_that_is_none_is_refused(home: Collection, tmp_path: Path) -> None:
    """A page may be whole in itself and hold a picture that no browser should be given."""
    data = io.BytesIO()
    Image.new("RGB", (60, 80)).save(data, "GIF")
    other = Collection.for_encoder(ENCODER)
    page = make_page("guide.pdf", 9, "a ninth page")
    other.put(replace(StoredPage.of(page), kept=data.getvalue()), ENCODER.encode_pages([page])[0])
    file = Upload(index_file.pack(other, tmp_path), "mine.zip")
    assert "holds a page that is none" in refused(home, file)


def test_vectors_that_are_no_numbers_or_of_another_shape_are_refused(
    home: Collection, tmp_path: Path
) -> None:
    other = collection_of("one", "two")
    index = other.index
    index._blocks[0].part("full")[1, 3, 5] = np.nan
    file = Upload(index_file.pack(other, tmp_path), "mine.zip")
    assert "vectors that are not finite" in refused(home, file)
    small = Collection("dummy-1", 64, 32)
    page = make_page("guide.pdf", 1, "small")
    small.put(StoredPage.of(page), DummyEncoder(dim=32).encode_pages([page])[0])
    assert "another shape" in refused(home, Upload(index_file.pack(small, tmp_path), "mine.zip"))


# An index among documents


def test_an_index_dropped_among_documents_is_not_read_as_pictures(packed: Upload) -> None:
    (found,) = read_files([packed], LIMITS)
    assert isinstance(found, Problem)
    assert found.message == "mine.zip is a saved index, not documents. Use Open an index for it."


def test_a_file_that_brings_nothing_says_so() -> None:
    assert "<h2>Nothing new</h2>" in documents_tab.opened("a.zip", 0, 3)
    assert "3 pages of it were here already" in documents_tab.opened("a.zip", 0, 3)
    assert "<h2>1 page added</h2>" in documents_tab.opened("a.zip", 1, 1)
