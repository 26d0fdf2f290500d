"""The files of the attacks are what they are said to be, or they would be refused for another reason."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.robustness.attack import ATTACKS
from benchmarks.robustness.attacks import files
from benchmarks.robustness.attacks.files import IndexFile
from metaembed_demo.collection import index_file
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.types import Query, Upload
from metaembed_demo.documents.file_types import sniff
from tests.support.dummy_encoder import DummyEncoder
from tests.support.sample_pages import make_page

ENCODER = DummyEncoder()


@pytest.fixture
def packed(tmp_path: Path) -> bytes:
    """An index file of one page, as a visitor downloads it."""
    collection, page = Collection.for_encoder(ENCODER), make_page("own.pdf", 1, "tank of the coffee machine")
    collection.put(StoredPage.of(page), ENCODER.encode_pages([page])[0])
    return index_file.pack(collection, tmp_path).read_bytes()


def manifest(data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read("metaembed-index/manifest.json")


def added(data: bytes, folder: Path) -> index_file.Opened:
    file = folder / "attack.zip"
    file.write_bytes(data)
    return index_file.add(Collection.for_encoder(ENCODER), Upload(file, file.name))


def test_an_index_with_another_id_is_a_whole_one(packed: bytes, tmp_path: Path) -> None:
    assert added(IndexFile(packed).with_id("0" * 20), tmp_path) == index_file.Opened(1, 1, "")


def test_index_files_hold_what_they_ask_for(packed: bytes) -> None:
    made = json.loads(manifest(IndexFile(packed).announcing(5_000)))
    assert (made["pages"], made["index"]["segments"][0]["pages"]) == (1, 5_000)
    assert len(json.loads(manifest(IndexFile(packed).quadratic(9_000)))["index"]["format"]) > 8_000
    assert len(manifest(IndexFile(packed).nested(0.1))) > 100_000
    with zipfile.ZipFile(io.BytesIO(IndexFile(packed).crowded(66_000))) as archive:  # more than 16 bits count
        assert len(archive.infolist()) > 66_000
    wordy = IndexFile(packed).wordy(5_000, 3)
    assert len(wordy) < 100_000
    assert [len(IndexFile(wordy).record["words"]), len(IndexFile(wordy).table)] == [5_000, 3]


def test_a_picture_of_many_scans_is_a_picture_and_small(packed: bytes, tmp_path: Path) -> None:
    picture = files.progressive_jpeg(side=160, scans=400)
    assert picture.count(b"\xff\xda") > 400
    assert len(picture) < 50_000
    with Image.open(io.BytesIO(picture)) as opened:
        assert opened.format == "JPEG"
        assert opened.getpixel((80, 80)) in (199, 200)
    assert IndexFile(IndexFile(packed).pictured(picture, 160)).picture == picture


def test_labels_and_documents_are_what_they_should_be(tmp_path: Path) -> None:
    queries, _ = files.labels(0.01, run=100)
    assert b"\n" not in queries
    assert len(Query(json.loads(queries)["text"]).text) > 4_000
    assert len(files.punycode(90).decode("punycode")) == 88
    slow = tmp_path / "slow.pdf"
    slow.write_bytes(files.slow_pdf())
    assert (sniff(slow), slow.stat().st_size < 4_000) == ("PDF", True)
    assert files.dense_pdf(1, 640).startswith(b"%PDF")


def test_every_attack_has_a_name_of_its_own_and_a_bound() -> None:
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)
    assert {attack.point for attack in ATTACKS} == set(range(1, 9))
    assert all(0 < attack.seconds <= 60 for attack in ATTACKS)
    assert not [attack.name for attack in ATTACKS if attack.load and attack.settings]  # they share a server
