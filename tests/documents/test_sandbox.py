"""The sandboxed process: after a crash or timeout, other files are read and earlier pages are kept."""

from __future__ import annotations

import os
import sys
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.indexing import index_files
from metaembed_demo.collection.progress import Report
from metaembed_demo.core.config import LIMITS
from metaembed_demo.core.types import Page, Problem, Upload
from metaembed_demo.documents import loader
from metaembed_demo.documents.extraction import read as read_here
from metaembed_demo.documents.sandbox import client
from metaembed_demo.documents.sandbox import pool as pool_module
from tests.support.dummy_encoder import DummyEncoder
from tests.support.sample_files import make_pdf, png_bytes

pytestmark = pytest.mark.slow

ENCODER = DummyEncoder()
NUMBERS = count()
BRIEF = LIMITS.model_copy(update={"seconds_per_page": 5.0})  # where something hangs


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pool_module.Workers]:
    """A pool whose processes fail as file names request (support/crashing_process.py)."""
    monkeypatch.setattr(pool_module, "COMMAND", [sys.executable, "-m", "tests.support.crashing_process"])
    monkeypatch.setenv("TEST_NOTES", str(tmp_path))
    pool = pool_module.Workers(1)
    monkeypatch.setattr(client, "UPLOADS", pool)
    monkeypatch.setattr(client, "PICTURES", pool)
    yield pool
    pool.end()


def pictures(folder: Path, *names: str) -> list[Upload]:
    """Small pictures, no two alike."""
    made = []
    for name in names:
        number = next(NUMBERS)
        path = folder / f"{number}.png"
        path.write_bytes(png_bytes(f"rgb({number % 256}, {number // 256}, 200)"))
        made.append(Upload(path, name))
    return made


def archive(path: Path, *names: str) -> Upload:
    with zipfile.ZipFile(path, "w") as packed:
        for i, name in enumerate(names):
            packed.writestr(name, png_bytes(f"rgb(20, {20 * i}, 20)"))
    return Upload(path, path.name)


def add(
    collection: Collection, files: Sequence[Upload], limits: object = LIMITS
) -> tuple[list[str], list[Problem]]:
    """Sources of the pages that were added, and the problems."""
    report, before = Report(), set(collection.pages)
    list(index_files(collection, files, ENCODER, report, limits))  # type: ignore[arg-type]
    assert report.finished
    return [collection.pages[i].source for i in collection.pages if i not in before], report.problems


@pytest.fixture
def collection(workers: pool_module.Workers, tmp_path: Path) -> Collection:
    """One that holds a page."""
    found = Collection.for_encoder(ENCODER)
    (tmp_path / "own").mkdir()
    assert add(found, pictures(tmp_path / "own", "own.png")) == (["own.png"], [])
    return found


# Faults


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("segfault", "its reader crashed (SIGSEGV)"),
        ("exit", "its reader crashed (exit status 3)"),
        ("abort", "its reader needed more than 3,000 MB of memory, or crashed (SIGABRT)"),
        ("hang", "it took more than 5 s (METAEMBED_SECONDS_PER_PAGE)"),
        ("raise", "could not be read (IndexError: list index out of range)"),
        ("recurse", "could not be read (RecursionError"),
        ("pickle", "an answer that makes no sense"),
        ("endless", "an answer that makes no sense (4,294,967,295 bytes of JSON)"),
        ("empty", "an answer that makes no sense"),
        ("fieldless", "an answer that makes no sense (KeyError)"),
        ("placeless", "an answer that makes no sense (TypeError)"),
        ("shapeless", "an answer that makes no sense (a page of 1000000000 x 1000000000 pixels)"),
        ("another", "an answer that makes no sense (another file's name)"),
        ("unnamed", "an answer that makes no sense (a page without a name)"),
        ("boxless", "an answer that makes no sense (a box without a place)"),
        ("kindless", "an answer that makes no sense (a word that is none)"),
    ],
)
def test_a_crash_affects_only_its_file(collection: Collection, tmp_path: Path, fault: str, said: str) -> None:
    names = ["before.png", f"{fault}.png", "after.png"]
    added, [problem] = add(collection, pictures(tmp_path, *names), BRIEF)
    assert added == ["before.png", "after.png"]
    assert problem.source == f"{fault}.png"
    assert problem.message.startswith(f"{fault}.png ")
    assert said in problem.message
    assert [page.source for page in collection.pages.values()] == ["own.png", *added]


def test_a_file_that_needs_too_much_memory(collection: Collection, tmp_path: Path) -> None:
    files = pictures(tmp_path, "before.png", "hog.png", "after.png")
    added, [problem] = add(collection, files, LIMITS.model_copy(update={"worker_megabytes": 800}))
    assert added == ["before.png", "after.png"]
    assert problem.message.startswith("hog.png needs more memory than is allowed for one file.")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("segfault", "could not be read: its reader crashed (SIGSEGV); what follows it was left out."),
        ("hang", "could not be read: it took more than 5 s (METAEMBED_SECONDS_PER_PAGE); what follows"),
        ("raise", "could not be read: list index out of range"),
    ],
)
def test_a_crash_in_ocr_affects_its_page(
    collection: Collection, tmp_path: Path, fault: str, said: str
) -> None:
    names = ["before.png", f"read-{fault}.png", "after.png"]
    added, [problem] = add(collection, pictures(tmp_path, *names), BRIEF)
    assert added == ["before.png", "after.png"]
    assert problem.message.startswith(f"read-{fault}.png page 1 {said}")


def test_pages_of_a_file_that_were_read_before_its_fault_stay(collection: Collection, tmp_path: Path) -> None:
    make_pdf(tmp_path / "third.pdf", 5)
    files = [Upload(tmp_path / "third.pdf", "third.pdf"), *pictures(tmp_path, "after.png")]
    added, [problem] = add(collection, files)
    assert added == ["third.pdf", "third.pdf", "after.png"]
    assert problem.message.startswith("third.pdf could not be read past page 2: its reader crashed")


def test_the_other_members_of_an_archive_are_read(collection: Collection, tmp_path: Path) -> None:
    file = archive(tmp_path / "box.zip", "a.png", "in/segfault.png", "b.png", "exit.png", "c.png")
    added, problems = add(collection, [file])
    assert added == ["box.zip/a.png", "box.zip/b.png", "box.zip/c.png"]
    assert [problem.source for problem in problems] == ["box.zip/in/segfault.png", "box.zip/exit.png"]


def test_an_archive_of_nothing_but_faults_ends(collection: Collection, tmp_path: Path) -> None:
    file = archive(tmp_path / "box.zip", *[f"{i}/exit.png" for i in range(9)], "good.png")
    added, problems = add(collection, [file, *pictures(tmp_path, "after.png")])
    assert added == ["after.png"]
    assert len(problems) == client.MOST_LOSSES + 1
    assert "box.zip holds 5 files that cannot be read, and what follows" in problems[-1].message


def test_seconds_of_a_file_are_counted_over_its_pages(collection: Collection, tmp_path: Path) -> None:
    make_pdf(tmp_path / "slow.pdf", 9)
    files = [Upload(tmp_path / "slow.pdf", "slow.pdf"), *pictures(tmp_path, "after.png")]
    added, [problem] = add(collection, files, LIMITS.model_copy(update={"seconds_per_file": 6.0}))
    assert 0 < added.count("slow.pdf") < 9
    assert added[-1] == "after.png"
    assert "past page" in problem.message
    assert "it took more than 6 s (METAEMBED_SECONDS_PER_FILE)" in problem.message


def test_what_a_library_prints_is_no_answer(collection: Collection, tmp_path: Path) -> None:
    assert add(collection, pictures(tmp_path, "print.png", "after.png"))[1] == []


def test_half_a_surrogate_pair_is_replaced(collection: Collection, tmp_path: Path) -> None:
    add(collection, pictures(tmp_path, "surrogate.png"))
    [page] = [page for page in collection.pages.values() if page.source == "surrogate.png"]
    assert page.words[0].text == "half ?"


def test_what_the_process_started_ends_with_it(collection: Collection, tmp_path: Path) -> None:
    _, [problem] = add(collection, pictures(tmp_path, "grandchild.png"), BRIEF)
    assert "took more than" in problem.message
    pid = int((tmp_path / "pid").read_text())
    for _ in range(200):
        if not _runs(pid):
            return
        time.sleep(0.05)
    raise AssertionError("The program goes on.")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] == "Z")


def test_its_temporary_files_go_with_it(collection: Collection, tmp_path: Path) -> None:
    add(collection, pictures(tmp_path, "litter.png"))
    assert not Path((tmp_path / "folder").read_text()).exists()


# Turns


def desk_of(rendered: client.Rendered) -> str:
    return rendered.read().words[-1].text


def test_one_process_serves_all_uploads(workers: pool_module.Workers, tmp_path: Path) -> None:
    served = set()
    for _ in range(3):
        for page in client.read_files(pictures(tmp_path, "a.png", "b.png")):
            assert isinstance(page, client.Rendered)
            served.add(desk_of(page))
    assert len(served) == 1


def test_a_cancel_frees_the_process_and_its_files(workers: pool_module.Workers, tmp_path: Path) -> None:
    pages = client.read_files([archive(tmp_path / "box.zip", "a.png", "b.png", "c.png")])
    first = next(pages)
    assert isinstance(first, client.Rendered)
    served = desk_of(first)
    run = first.reader.__self__  # type: ignore[attr-defined]
    idle = run.worker
    assert idle is not None
    folder = Path(idle._folder.name)
    assert list(folder.glob("*/member"))  # on disk while it is looked at
    pages.close()  # type: ignore[attr-defined]
    assert run.worker is None
    assert not list(folder.iterdir())
    again = next(client.read_files(pictures(tmp_path, "d.png")))
    assert isinstance(again, client.Rendered)
    workers.end()
    assert not folder.exists()
    assert served.startswith("desk")


def test_a_cancel_in_the_middle_keeps_what_was_read(collection: Collection, tmp_path: Path) -> None:
    make_pdf(tmp_path / "long.pdf", 9)
    report = Report()
    indexing = index_files(collection, [Upload(tmp_path / "long.pdf", "long.pdf")], ENCODER, report)
    for _ in range(3):
        next(indexing)
    indexing.close()
    assert (report.added, report.finished) == (3, False)
    assert add(collection, pictures(tmp_path, "after.png")) == (["after.png"], [])


def test_a_page_is_read_before_the_next_one_or_not_at_all(
    workers: pool_module.Workers, tmp_path: Path
) -> None:
    first, second = client.read_files(pictures(tmp_path, "a.png", "b.png"))
    for late in (first, second):
        assert isinstance(late, client.Rendered)
        with pytest.raises(RuntimeError, match=r"[ab]\.png page 1 was to be read before the next one"):
            late.read()


def test_uploads_take_turns(workers: pool_module.Workers, tmp_path: Path) -> None:
    found: dict[int, list[str]] = {}
    files = {i: pictures(tmp_path, *[f"{i}-{n}.png" for n in range(4)]) for i in range(3)}

    def upload(i: int) -> None:
        found[i] = []
        for page in client.read_files(files[i]):
            assert isinstance(page, client.Rendered)
            found[i].append(f"{page.page.source} {desk_of(page)}")

    threads = [threading.Thread(target=upload, args=(i,)) for i in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len({line.split()[1] for lines in found.values() for line in lines}) == 1
    for i, lines in found.items():
        assert [line.split()[0] for line in lines] == [f"{i}-{n}.png" for n in range(4)]


def test_pages_are_counted_there_and_bad_files_count_nothing(
    workers: pool_module.Workers, tmp_path: Path
) -> None:
    make_pdf(tmp_path / "three.pdf", 3)
    (tmp_path / "bad.pdf").write_bytes(b"%PDF-1.4 nothing")
    names = ("three.pdf", "bad.pdf", "gone.pdf")
    assert client.count_pages([Upload(tmp_path / name, name) for name in names]) == 3
    assert client.count_pages([]) == 0


def test_a_query_image_that_crashes_the_process_is_reported(
    workers: pool_module.Workers, tmp_path: Path
) -> None:
    bad, good = pictures(tmp_path, "segfault.png", "good.png")
    problem, page = client.read_picture(bad), client.read_picture(good)
    assert isinstance(problem, Problem)
    assert problem.message.startswith("segfault.png could not be read: its reader crashed")
    assert isinstance(page, Page)
    assert page.image is not None
    assert page.image.size == (8, 8)


def test_a_query_image_has_a_few_seconds(
    workers: pool_module.Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (client.LIMITS.seconds_per_picture, pool_module.PICTURES._of_file) == (5, "SECONDS_PER_PICTURE")
    brief = pool_module.Workers(1, of_file="SECONDS_PER_PICTURE")
    monkeypatch.setattr(client, "PICTURES", brief)
    hanging, good = pictures(tmp_path, "hang.png", "good.png")
    allowed = LIMITS.model_copy(update={"seconds_per_picture": 0.2})
    problem = client.read_picture(hanging, allowed)
    assert isinstance(problem, Problem)
    assert "it took more than 0.2 s (METAEMBED_SECONDS_PER_PICTURE)" in problem.message
    assert isinstance(client.read_picture(good, LIMITS), Page)
    brief.end()


def test_a_query_image_is_a_picture_or_a_pdf(tmp_path: Path) -> None:
    many = archive(tmp_path / "many.zip", "one.png")
    text = Upload(tmp_path / "a.txt", "a.txt")
    text.path.write_text("a letter")
    for file in (many, text):
        problem = client.read_picture(file)
        assert isinstance(problem, Problem)
        assert problem.message == f"{file.name} is neither a picture nor a PDF. Ask with one of these."


# Without a process


def test_where_no_process_starts_files_are_read_in_the_app(
    workers: pool_module.Workers,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(pool_module, "COMMAND", [str(tmp_path / "no-such-python")])
    files = pictures(tmp_path, "a.png", "b.png")
    assert client.count_pages(files) == 2
    assert [item.page.source for item in client.read_files(files)] == ["a.png", "b.png"]
    assert "Files are read in the app itself" in caplog.text


def test_once_one_has_started_no_file_gets_into_the_app(
    workers: pool_module.Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(next(client.read_files(pictures(tmp_path, "a.png"))), client.Rendered)
    workers.end()
    monkeypatch.setattr(pool_module, "COMMAND", [sys.executable, "-c", "raise SystemExit(9)"])
    [problem] = client.read_files(pictures(tmp_path, "b.png"))
    assert isinstance(problem, Problem)
    assert problem.message.startswith("b.png could not be read: the reading process does not start")
    assert workers.available


def test_secrets_are_not_in_the_process_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    monkeypatch.setenv("METAEMBED_QDRANT_KEY", "x")
    given_on = pool_module._environment("/tmp/x")
    assert not {"HF_TOKEN", "METAEMBED_QDRANT_KEY"} & set(given_on)
    assert given_on["PATH"] == os.environ["PATH"]


# The real process


def test_the_process_reads_what_the_app_would(tmp_path: Path) -> None:
    make_pdf(tmp_path / "manual.pdf", 2)
    Image.effect_mandelbrot((200, 140), (-2, -1.2, 1, 1.2), 40).save(tmp_path / "set.png")
    files = [Upload(tmp_path / name, name) for name in ("manual.pdf", "set.png")]
    there = [(item.page, item.read()) for item in client.read_files(files) if not isinstance(item, Problem)]
    here = [(page, read_here(page)) for page in loader.read_files(files) if isinstance(page, Page)]
    assert len(there) == len(here) == 3
    for (page, done), (page_here, done_here) in zip(there, here, strict=True):
        assert replace(page, image=None) == replace(page_here, image=None)
        assert page.image is not None
        assert page_here.image is not None
        assert page.image.tobytes() == page_here.image.tobytes()
        assert done.words == done_here.words
        for view, view_here in zip(done.views, done_here.views, strict=True):
            assert view.box == view_here.box
            np.testing.assert_allclose(view.features, view_here.features, atol=1e-4)
            np.testing.assert_allclose(view.probability, view_here.probability, atol=1e-4)
