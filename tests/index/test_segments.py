"""An index and a collection on disk: appended to, mapped, killed at any instant, damaged."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from metaembed_demo.collection import persistence
from metaembed_demo.collection.collection import Collection
from metaembed_demo.core import disk
from metaembed_demo.core.budgets import Budget
from metaembed_demo.core.config import ROOT
from metaembed_demo.core.types import FloatArray
from metaembed_demo.index import row_reader, segments
from metaembed_demo.index.local import LocalIndex
from tests.support.dummy_encoder import DummyEncoder
from tests.support.sample_pages import fill, make_page, random_vectors

ALL = Budget(16, 64)
ENCODER = DummyEncoder()


def files(path: Path) -> dict[str, int]:
    """Every file under `path` and when it was written."""
    return {str(f.relative_to(path)): f.stat().st_mtime_ns for f in path.rglob("*") if f.is_file()}


def vectors(seed: int, n: int) -> FloatArray:
    return random_vectors(seed, n, 64, 32).astype(np.float16).astype(np.float32)


def filled(kind: str = "float16", n: int = 60) -> LocalIndex:
    index = LocalIndex(64, 32)
    index.add([f"p{i}" for i in range(n)], vectors(0, n))
    return index.stored_as(kind)


@pytest.mark.parametrize("kind", ["float16", "int8", "pq", "binary"])
@pytest.mark.parametrize("keep_full", [True, False])
def test_every_storage_comes_back_as_it_was(tmp_path: Path, kind: str, keep_full: bool) -> None:
    index = filled().stored_as(kind, keep_full)
    index.remove(["p3", "p7"])
    index.add(["late"], vectors(1, 1))
    index.save(tmp_path)
    again = LocalIndex.load(tmp_path)
    assert (again.storage, again.ids) == (kind, index.ids)
    np.testing.assert_array_equal(again.vectors(again.ids), index.vectors(index.ids))
    query = random_vectors(2, 16, 32)
    assert again.search(query, ALL, 5) == index.search(query, ALL, 5)
    assert again.search(query, ALL, 5, exact=True) == index.search(query, ALL, 5, exact=True)
    assert again.bytes_held()["memory"] == 0
    again.remove(["late"])
    again.add(["later"], vectors(3, 1))
    assert again.ids[-1] == "later"
    assert len(again.search(query, ALL, 100)) == 59


def test_adding_to_a_saved_index_writes_the_new_pages_alone(tmp_path: Path) -> None:
    index = LocalIndex(64, 32)
    for turn in range(3):
        index.add([f"{turn}-{i}" for i in range(1_100)], vectors(turn, 1_100))
        before = files(tmp_path)
        index.save(tmp_path)
        after = files(tmp_path)
        assert {name: after[name] for name in before if name != "index.json"} == {
            name: when for name, when in before.items() if name != "index.json"
        }
        assert len(list((tmp_path / "segments").iterdir())) == turn + 1
    loaded = LocalIndex.load(tmp_path)
    loaded.remove(["1-5"])  # a bit in the head
    loaded.save(tmp_path)
    assert files(tmp_path).keys() == after.keys()
    assert "1-5" not in LocalIndex.load(tmp_path)


def test_small_blocks_are_written_together_and_removed_pages_give_their_space_back(tmp_path: Path) -> None:
    index = LocalIndex(64, 32)
    for turn in range(5):
        index.add([f"{turn}-{i}" for i in range(50)], vectors(turn, 50))
        index.save(tmp_path)
        assert len(list((tmp_path / "segments").iterdir())) == 1
    whole = sum(f.stat().st_size for f in tmp_path.rglob("*.npy"))
    held = index.bytes_held()["memory"]
    index.remove([page_id for page_id in index.ids if page_id.startswith(("0", "1", "2"))])
    assert index.bytes_held()["memory"] < 0.45 * held
    index.save(tmp_path)
    assert sum(f.stat().st_size for f in tmp_path.rglob("*.npy")) < 0.45 * whole
    assert len(LocalIndex.load(tmp_path)) == 100


def test_a_copy_shares_vectors_but_not_changes() -> None:
    index = filled(n=20)
    twin = index.copy()
    twin.remove(["p1"])
    twin.add(["new"], vectors(5, 1))
    index.add(["other"], vectors(6, 1))
    assert (len(index), len(twin)) == (21, 20)
    assert "new" not in index
    assert "other" not in twin
    assert "p1" in index
    np.testing.assert_array_equal(index.vectors(["other"]), vectors(6, 1))
    np.testing.assert_array_equal(twin.vectors(["new"]), vectors(5, 1))


@pytest.mark.parametrize("kind", ["int8", "pq", "binary"])
def test_full_vectors_bring_the_exact_order_back(kind: str) -> None:
    index, other = filled(), filled(kind)
    query = random_vectors(4, 16, 32)
    exact = index.search(query, ALL, 10)
    assert other.search(query, ALL, 10, exact=True) == exact
    other.rescore = 60
    assert other.search(query, ALL, 10) == exact
    np.testing.assert_array_equal(other.vectors(["p5"]), index.vectors(["p5"]))
    assert other.stored_as("float16").search(query, ALL, 10) == exact
    assert other.bytes_held()["disk"] == 60 * 64 * 32 * 2


@pytest.mark.parametrize("ahead", [True, False], ids=["ahead", "by threads"])
@pytest.mark.parametrize("budget", [Budget(4, 8), ALL], ids=str)
def test_pages_on_disk_score_the_same_however_they_are_read(
    tmp_path: Path, ahead: bool, budget: Budget, monkeypatch
) -> None:
    index = filled(n=300)
    index.save(tmp_path)
    index.add([f"late{i}" for i in range(40)], vectors(4, 40))
    index.save(tmp_path)
    stored, query = LocalIndex.load(tmp_path), random_vectors(2, 16, 32)
    monkeypatch.setattr(row_reader, "READS_AHEAD", ahead and row_reader.READS_AHEAD)
    some = [*(f"p{i}" for i in (3, 4, 5, 90, 7)), "late1", "late39"]
    assert stored.rerank(query, budget, some, 10) == index.rerank(query, budget, some, 10)
    assert stored.rerank(query, budget, index.ids, 10) == index.rerank(query, budget, index.ids, 10)


@pytest.mark.skipif(not row_reader.READS_AHEAD, reason="Linux")
def test_rows_that_follow_each_other_are_asked_for_together(tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "rows"
    file.write_bytes(bytes(10 * 4 * 2))
    asked = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _, start, size, advice: asked.append((start, size)))
    with file.open("rb") as opened:
        reader = row_reader.Reader.of(opened.fileno(), 100, np.dtype(np.float16), (4, 1))
    row_reader.read_ahead(reader, np.array([0, 1, 2, 5, 8, 9]), 4)
    assert asked == [(100, 24), (140, 8), (164, 16)]
    asked.clear()
    row_reader.read_ahead(reader, np.array([1, 2]), 3)
    assert asked == [(108, 6), (116, 6)], "what lies between is not wanted"
    row_reader.read_ahead(reader, np.array([], np.int64), 4)
    assert len(asked) == 2


@pytest.mark.parametrize(("kind", "keep"), [("float16", False), ("int8", True), ("int8", False)])
def test_an_index_knows_whether_it_has_the_full_vectors(tmp_path: Path, kind: str, keep: bool) -> None:
    index = filled().stored_as(kind, keep)
    has = keep or kind == "float16"
    assert index.has_full == index.copy().has_full == has
    index.add(["late"], vectors(1, 1))
    index.save(tmp_path)
    assert LocalIndex.load(tmp_path).has_full == has


def test_saving_again_hashes_no_picture_twice(tmp_path: Path, monkeypatch) -> None:
    collection = Collection.for_encoder(ENCODER)
    fill(monkeypatch, collection, *(make_page("kept.pdf", n, f"kept {n}") for n in (1, 2, 3)))
    collection.save(tmp_path)
    pictures, hashed = {page.picture for page in collection.pages.values()}, []
    sha256 = disk.sha256

    def counted(data: bytes) -> str:
        hashed.extend([1] if data in pictures else [])
        return sha256(data)

    monkeypatch.setattr(disk, "sha256", counted)
    monkeypatch.setattr(disk, "sha256_of", lambda path: pytest.fail(f"{path} was hashed, not compared"))
    before = files(tmp_path / "images")
    collection.save(tmp_path)
    assert files(tmp_path / "images") == before
    assert len(hashed) == len(collection) == 3

    harmed = next((tmp_path / "images").glob("*.jpg"))
    whole = harmed.read_bytes()
    harmed.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    collection.save(tmp_path)
    assert harmed.read_bytes() == whole


def test_without_full_vectors_no_other_storage_can_be_made() -> None:
    with pytest.raises(ValueError, match="keeps int8 codes only"):
        filled().stored_as("int8", keep_full=False).stored_as("pq")


def test_hits_score_what_the_vectors_that_explain_them_say() -> None:
    query = random_vectors(4, 16, 32)
    for kind in ("int8", "pq", "binary"):
        index = filled(kind)
        for hit in index.search(query, ALL, 5):
            rows = index.vectors([hit.page_id])[0]
            assert (query @ rows.T).max(axis=1).sum() == pytest.approx(hit.score, abs=0.05)


@pytest.mark.parametrize("name", ["full.npy", "codes.0.npy", "ids.json"])
@pytest.mark.parametrize("harm", ["cut", "changed", "gone"])
def test_damage_is_named(tmp_path: Path, name: str, harm: str) -> None:
    filled("int8").save(tmp_path)
    file = next(tmp_path.glob(f"segments/*/{name}"))
    data = file.read_bytes()
    file.unlink()
    if harm != "gone":
        file.write_bytes(data[:-40] if harm == "cut" else data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises((ValueError, FileNotFoundError), match=name):
        LocalIndex.load(tmp_path)


def test_a_large_index_opens_before_its_checksums_are_compared(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(segments, "AT_ONCE", 0)
    filled().save(tmp_path)
    query = random_vectors(4, 16, 32)
    good = LocalIndex.load(tmp_path)
    good.save(tmp_path / "copy")
    assert good.search(query, ALL, 5) == filled().search(query, ALL, 5)
    file = next(tmp_path.glob("segments/*/full.npy"))
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    bad = LocalIndex.load(tmp_path)
    with pytest.raises(ValueError, match="checksum"):
        bad.save(tmp_path / "other")
    assert bad._checked is not None
    with pytest.raises(ValueError, match="checksum"):
        bad._checked.wait()
    with pytest.raises(ValueError, match="checksum"):
        bad.search(query, ALL, 5)
    file.write_bytes(data[:-1])
    with pytest.raises(ValueError, match="bytes, not"):
        LocalIndex.load(tmp_path)


def test_a_page_in_two_segments_is_refused(tmp_path: Path) -> None:
    filled(n=5).save(tmp_path)
    head = json.loads((tmp_path / "index.json").read_text())
    head["segments"] *= 2
    (tmp_path / "index.json").write_text(json.dumps(head))
    with pytest.raises(ValueError, match="twice"):
        LocalIndex.load(tmp_path)


def test_a_large_collection_leaves_its_words_and_pictures_on_disk(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(persistence, "EAGER", 2)
    collection = Collection.for_encoder(ENCODER)
    pages = [make_page("a.pdf", n, f"page {n} of a") for n in range(1, 6)]
    fill(monkeypatch, collection, *pages)
    collection.save(tmp_path / "ix")
    again = Collection.load(tmp_path / "ix", ENCODER.fingerprint)
    file = tmp_path / "ix" / "images" / f"{pages[1].id}.jpg"
    good = file.read_bytes()
    file.write_bytes(good[:-1] + b"?")
    with pytest.raises(ValueError, match=r"picture of a\.pdf page 2"):
        again.pages[pages[1].id]
    file.write_bytes(good)
    assert again.pages[pages[0].id].as_json() == collection.pages[pages[0].id].as_json()
    assert again.documents() == collection.documents()
    before = files(tmp_path / "ix")
    fill(monkeypatch, again, make_page("b.pdf", 1, "one more"))
    again.remove("b.pdf")
    fill(monkeypatch, again, make_page("c.pdf", 1, "another"))
    again.save(tmp_path / "ix")
    kept = [name for name in before if name.startswith(("texts/", "images/"))]
    assert {name: files(tmp_path / "ix")[name] for name in kept} == {name: before[name] for name in kept}
    third = Collection.load(tmp_path / "ix", ENCODER.fingerprint)
    assert [(d.source, d.pages) for d in third.documents()] == [("a.pdf", 5), ("c.pdf", 1)]
    third.save(tmp_path / "copy")  # somewhere else: words and pictures go along
    copied = Collection.load(tmp_path / "copy", ENCODER.fingerprint)
    assert [copied.pages[i].as_json() for i in copied.pages] == [
        third.pages[i].as_json() for i in third.pages
    ]


KILLED = """
import os, sys
from pathlib import Path
from tests.support.sample_pages import make_page
from metaembed_demo.collection.collection import Collection
from tests.support.dummy_encoder import DummyEncoder
from metaembed_demo.collection.stored_page import StoredPage

ENCODER = DummyEncoder()
path, events = Path(sys.argv[1]), ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")

def collect(names):
    found = Collection.for_encoder(ENCODER)
    for page in (make_page(f"{name}.pdf", 1, f"the words of {name}") for name in names):
        found.put(StoredPage.of(page), ENCODER.encode_pages([page])[0])
    return found

def save(names, stop):
    collection = collect(names)
    child = os.fork()
    if not child:
        seen = 0
        def hook(event, args):
            nonlocal seen
            if event in events:
                seen += 1
                if seen == stop:
                    os._exit(9)
        sys.addaudithook(hook)
        collection.save(path)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

old, new = ["a", "b", "c"], ["b", "c", "d", "e"]
assert save(old, 0) == 0
stop = 0
while True:
    stop += 1
    ended = save(new, stop)
    found = sorted(d.source[0] for d in Collection.load(path, ENCODER.fingerprint).documents())
    assert found in (old, new), (stop, found)
    if ended == 0:
        break
    assert save(old, 0) == 0, stop
assert found == new
print(stop)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
@pytest.mark.slow
def test_killed_at_any_instant_of_a_save_the_last_good_state_loads(tmp_path: Path) -> None:
    """The process ends at its n-th step on the file system, for every n."""
    paths = str(ROOT)
    ran = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "ix")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) > 15  # so many steps did it take
