"""Faults that interrupt work: killed processes and full disks. What was saved before stays."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from metaembed_demo.collection import persistence
from metaembed_demo.core.budgets import Budget
from metaembed_demo.documents.file_types import uploads
from metaembed_demo.index.local import LocalIndex
from tests.support.app_server import Tab, serve, until
from tests.support.cli_faults import COMMAND, book, documents, files, ok, refused, resource, surroundings
from tests.support.sample_files import split
from tests.support.sample_pages import random_vectors

pytestmark = pytest.mark.slow

# Killed


def kill_at(stop: str, *argv: object, **more: str) -> None:
    command = [sys.executable, "-c", COMMAND, *map(str, argv)]
    going = subprocess.Popen(command, stdout=subprocess.PIPE, env=surroundings(STOP=stop, **more))
    assert going.stdout is not None
    assert going.stdout.readline() == b"here\n"
    going.send_signal(signal.SIGKILL)
    going.wait()
    going.stdout.close()


def test_killed_while_it_adds_the_earlier_index_answers(index: Path, pdfs: tuple[Path, Path]) -> None:
    before = files(index)
    for stop in ("encode", "4", "4"):
        kill_at(stop, "index", pdfs[1], "--out", index)
        assert documents(index) == ["old.pdf"], stop
        assert len([name for name in files(index) if name.endswith(".tmp")]) <= 1, stop
    assert files(index) > before  # something was written
    ok("index", pdfs[1], "--out", index)  # the same command again
    assert documents(index) == ["new.pdf", "old.pdf"]
    after = {name for name in files(index) if not name.startswith("words")}
    assert not [name for name in after if "tmp" in name or ".new-" in name]
    assert (len([n for n in after if n.startswith("images")]), len(after - before)) == (8, 5 + 4)


def test_a_first_index_that_was_cut_off_is_made_by_the_same_command(
    pdfs: tuple[Path, Path], tmp_path: Path
) -> None:
    kill_at("3", "index", *pdfs, "--out", tmp_path / "ix")
    assert files(tmp_path / "ix")
    ok("index", *pdfs, "--out", tmp_path / "ix")
    assert documents(tmp_path / "ix") == ["new.pdf", "old.pdf"]


@pytest.mark.parametrize("name", ["images/holiday.jpg", "texts/notes.bin", "segments/a/b.npy", "readme"])
def test_a_folder_of_other_files_is_not_taken_for_such_a_rest(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(ValueError, match="holds other files"):
        persistence.check_target(tmp_path)
    assert (tmp_path / name).read_bytes() == b"mine"


def test_who_reads_files_ends_with_the_app_that_was_killed(pdfs: tuple[Path, Path], tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    kill_at("encode", "index", pdfs[1], "--out", tmp_path / "ix", METAEMBED_WORKER="1", TMPDIR=str(scratch))
    assert until(lambda: not list(scratch.glob("metaembed-*")))


# A full disk


@pytest.fixture(params=["disk", "quota"])
def full(request: pytest.FixtureRequest, index: Path) -> Iterator[dict[str, str]]:
    """The index on a disk with a little room left, or under a bound of what one file may take."""
    if request.param == "quota":
        yield {"FILE_BYTES": "20000"}
        return
    disk = index.parent / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", "size=300k", "tmpfs"]
    if subprocess.run(["mount", *options, disk], capture_output=True).returncode:
        pytest.skip("needs the right to mount a disk")
    try:
        shutil.move(index, disk / "ix")
        index.symlink_to(disk / "ix")
        yield {}
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_on_a_full_disk_a_save_says_so_and_changes_nothing(
    full: dict[str, str], index: Path, pdfs: tuple[Path, Path], tmp_path: Path
) -> None:
    before = files(index)
    big = book(tmp_path / "big.pdf", 12)
    said = refused("index", big, "--out", index, **full)
    assert f"There is no room for the index in {index}" in said
    assert "Free some space there, or name a folder on another disk." in said
    assert files(index) == before  # what was begun is gone
    assert documents(index) == ["old.pdf"]
    if full:
        said = refused("index", big, "--out", tmp_path / "first", **full)
        assert "There is no room" in said
        assert files(tmp_path / "first") == set()
        ok("index", big, "--out", tmp_path / "first")


@contextlib.contextmanager
def quota(most: int, pid: int = 0) -> Iterator[None]:
    """Until the end no file of a process may get longer than `most` bytes."""
    if not hasattr(resource, "prlimit"):
        pytest.skip("needs Linux")
    old = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, old[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, old)


def test_on_a_full_disk_vectors_stay_in_memory() -> None:
    index = LocalIndex(64, 32)
    index.add([f"p{i}" for i in range(60)], random_vectors(0, 60, 64, 32))
    query = random_vectors(1, 16, 32)
    before = index.search(query, Budget(16, 64), 5)
    with quota(100_000), pytest.raises(OSError, match=r"no room in /\S+ for 2\d\d KB .* set TMPDIR"):
        index.stored_as("int8")
    assert index.search(query, Budget(16, 64), 5) == before
    assert index.stored_as("int8").storage == "int8"


def test_on_a_full_disk_an_archive_is_not_called_damaged(pdfs: tuple[Path, Path], tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    with zipfile.ZipFile(tmp_path / "box.zip", "w") as box:
        for path in (tmp_path / "noise.png", pdfs[0]):
            box.write(path, path.name)
    with quota(100_000):
        pages, problems = split(uploads([tmp_path / "box.zip"]))
    assert [page.source for page in pages] == ["box.zip/old.pdf"] * 3
    assert [problem.source for problem in problems] == ["box.zip/noise.png"]
    assert "disk that holds temporary files is full" in problems[0].message
    assert "set TMPDIR" in problems[0].message


def test_on_a_full_disk_the_app_goes_on(tmp_path: Path) -> None:
    with serve(tmp_path) as served:
        with quota(20_000, served.pid):
            for _ in range(2):
                sent = httpx.post(
                    f"{served.address}/gradio_api/upload", files={"files": ("a.png", b"x" * 50_000)}
                )
                assert sent.status_code == 507
                assert sent.json()["detail"].startswith("The server's disk is full. Try again later")
            assert served.files() == []  # what came in of it is gone
            tab = Tab(served.address)
            said = tab.send("index-file", "submit", {})
            assert "The index was not packed" in said
            assert "server&#x27;s disk is full" in said
            assert str(tmp_path) not in said
            asked = {"data": ["dog", "16x64", 1, "", None]}
            assert httpx.post(f"{served.address}/gradio_api/call/search", json=asked).status_code == 200
        assert served.files() == []
        assert tab.upload("b.png", b"x" * 50_000)
        assert "metaembed-index.zip" in tab.send("index-file", "submit", {})
