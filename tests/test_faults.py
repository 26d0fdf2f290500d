"""Faults of the machine: killed processes, full and closed disks, missing packages and fonts, clocks set.

Each either works or says what to do, and saved indexes survive.
"""

from __future__ import annotations

import ast
import contextlib
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from files_made import split
from gradio_client import Client, handle_file
from made import random_vectors
from PIL import Image, ImageDraw
from reportlab.pdfgen.canvas import Canvas
from served import Tab, serve, until
from small_app import samples

from metaembed_demo import locker, poppler, shelf
from metaembed_demo.adding import Report
from metaembed_demo.collection import Collection
from metaembed_demo.config import ROOT
from metaembed_demo.console import BadInput, told
from metaembed_demo.encoder import DummyEncoder
from metaembed_demo.ingest import uploads
from metaembed_demo.local import LocalIndex
from metaembed_demo.pairs import _library
from metaembed_demo.records import Budget, Query
from metaembed_demo.search import search
from metaembed_demo.ui import build_ui

resource = pytest.importorskip("resource")  # not on Windows
ENCODER = DummyEncoder()

# The command line with the dummy encoder. BLOCKED: packages that are not there. STOP: where it waits to be
# killed: "encode", or the n-th time that something is renamed, as whatever is saved is at its end.
COMMAND = """
import os, signal, sys, time
for name in os.environ.get("BLOCKED", "").split():
    sys.modules[name] = None
from metaembed_demo import __main__ as cli
from metaembed_demo.encoder import DummyEncoder

stop, seen = os.environ.get("STOP", ""), 0

def wait():
    print("here", flush=True)
    time.sleep(60)

class Slow(DummyEncoder):
    def encode_pages(self, pages):
        if stop == "encode" and any("new" in page.source for page in pages):
            wait()
        return super().encode_pages(pages)

def hook(event, args):
    global seen
    if event == "os.rename":
        seen += 1
        if str(seen) == stop:
            wait()

sys.addaudithook(hook)
if "FILE_BYTES" in os.environ:
    import resource
    most = int(os.environ["FILE_BYTES"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
cli.load_encoder = lambda name: Slow()
sys.exit(cli.main())
"""


def surroundings(**more: str) -> dict[str, str]:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    ours = {name: value for name, value in os.environ.items() if not name.startswith("METAEMBED_")}
    return {**ours, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "METAEMBED_WORKER": "0", **more}


def run(*argv: object, before: tuple[str, ...] = (), **more: str) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-c", COMMAND, *map(str, argv)]
    return subprocess.run(command, capture_output=True, text=True, env=surroundings(**more), timeout=120)


def ok(*argv: object, before: tuple[str, ...] = (), **more: str) -> str:
    ran = run(*argv, before=before, **more)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout + ran.stderr


def refused(*argv: object, **more: str) -> str:
    """What a command says that cannot do it: a line, and no traceback."""
    ran = run(*argv, **more)
    assert ran.returncode == 2, ran.stderr
    assert "Traceback" not in ran.stderr
    return ran.stderr


def files(path: Path) -> set[str]:
    return {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}


def documents(path: Path) -> list[str]:
    """The sources in the index at `path`, which answers, and of which every file is in use."""
    found = Collection.load(path, ENCODER.fingerprint)
    assert search(found, ENCODER, Query("Chapter"), Budget(16, 64), 3).hits
    return sorted(document.source for document in found.documents())


def book(path: Path, pages: int) -> Path:
    canvas = Canvas(str(path))
    for number in range(1, pages + 1):
        canvas.drawString(72, 720, f"Chapter {number} of {path.stem}")
        canvas.showPage()
    canvas.save()
    return path


@pytest.fixture
def pdfs(tmp_path: Path) -> tuple[Path, Path]:
    """Two documents: one that is indexed first, one that is added."""
    return book(tmp_path / "old.pdf", 3), book(tmp_path / "new.pdf", 5)


@pytest.fixture
def index(pdfs: tuple[Path, Path], tmp_path: Path) -> Path:
    """A saved index of the first."""
    found = Collection.for_encoder(ENCODER)
    for _ in found.add(uploads([pdfs[0]]), ENCODER, Report()):
        pass
    found.save(tmp_path / "ix")
    return tmp_path / "ix"


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
    after = files(index)
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
        shelf.check_target(tmp_path)
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
            said = tab.send("parcel", "submit", {})
            assert "The index was not packed" in said
            assert "server&#x27;s disk is full" in said
            assert str(tmp_path) not in said
            asked = {"data": ["dog", "16x64", 1, "", None]}
            assert httpx.post(f"{served.address}/gradio_api/call/search", json=asked).status_code == 200
        assert served.files() == []
        assert tab.upload("b.png", b"x" * 50_000)
        assert "metaembed-index.zip" in tab.send("parcel", "submit", {})


# Missing packages


OPTIONAL = (
    "numba faiss pdf2image mcp qdrant_client qdrant_edge peft accelerate spaces pyarrow datasets bm25s "
    "sentence_transformers mteb lxml plotly bitsandbytes num2words"
)


def test_without_optional_packages_pages_are_indexed_and_found(
    pdfs: tuple[Path, Path], tmp_path: Path
) -> None:
    said = ok("index", *pdfs, "--out", tmp_path / "ix", BLOCKED=OPTIONAL)
    assert "8 pages added" in said
    assert "Problems: 0" in said
    found = ok("search", tmp_path / "ix", "Chapter 2", "--json", BLOCKED=OPTIONAL)
    assert '"pages": 8' in found


@pytest.mark.parametrize(
    ("blocked", "argv", "match"),
    [
        ("qdrant_client", ["push", "INDEX", "PLACE"], r'pip install "qdrant-client'),
        ("qdrant_edge", ["push", "INDEX", "edge:PLACE"], r'pip install "qdrant-edge-py'),
        ("bm25s", ["eval", "PLACE", "--baselines"], "pip install bm25s"),
    ],
)
def test_a_command_says_which_package_it_needs(
    index: Path, tmp_path: Path, blocked: str, argv: list[str], match: str
) -> None:
    known = {"INDEX": str(index), "PLACE": str(tmp_path / "place"), "edge:PLACE": f"edge:{tmp_path}"}
    assert re.search(match, refused(*(known.get(arg, arg) for arg in argv), BLOCKED=blocked))


def test_any_other_package_is_named() -> None:
    with pytest.raises(BadInput, match=r"package lxml is missing. pip install -r requirements\.txt"), told():
        raise ModuleNotFoundError(name="lxml")


def test_libraries_that_read_tables_or_fit_codes_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ValueError, match="pip install datasets"):
        _library("pyarrow.parquet")
    monkeypatch.setitem(sys.modules, "faiss", None)
    index = LocalIndex(64, 32)
    index.add([f"p{i}" for i in range(60)], random_vectors(0, 60, 64, 32))
    with pytest.raises(ValueError, match="pip install faiss-cpu"):
        index.stored_as("pq")
    assert index.stored_as("binary").storage == "binary"


def scan(path: Path) -> Path:
    image = Image.new("RGB", (600, 300), "white")
    ImageDraw.Draw(image).text((20, 40), "private walrus", fill="black", font_size=48)
    image.save(path)
    return path


@pytest.mark.parametrize(
    ("blocked", "worker"),
    [("rapidocr", "0"), ("onnxruntime", "1"), ("efficientnet_lite_pytorch", "0")],
)
def test_a_picture_that_cannot_be_read_names_the_package(
    pdfs: tuple[Path, Path], tmp_path: Path, blocked: str, worker: str
) -> None:
    folder = tmp_path / "hooks"
    folder.mkdir()
    block = (
        'import os, sys\nfor name in os.environ.get("BLOCKED", "").split():\n    sys.modules[name] = None\n'
    )
    (folder / "sitecustomize.py").write_text(block)  # for the reading process, too
    paths = os.pathsep.join([str(folder), str(ROOT)])
    ran = run(
        "index",
        pdfs[0],
        scan(tmp_path / "scan.png"),
        "--out",
        tmp_path / "ix",
        BLOCKED=blocked,
        METAEMBED_WORKER=worker,
        PYTHONPATH=paths,
    )
    assert ran.returncode == 0
    assert re.search(r"scan\.png page 1 could not be read: .* pip install ", ran.stderr)
    assert "Traceback" not in ran.stderr
    assert documents(tmp_path / "ix") == ["old.pdf"]


def test_the_app_runs_without_mcp() -> None:
    code = (
        "import sys; sys.modules['mcp'] = None\n"
        "from small_app import DummyEncoder, build_ui, samples\n"
        "_, options = build_ui(DummyEncoder(), samples(DummyEncoder()))\n"
        "print([route.path for route in options['app_kwargs']['routes']])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=surroundings(), timeout=120
    )
    assert ran.stdout.strip() == "['/health']", ran.stderr


# No fonts


@pytest.fixture
def no_fonts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    (tmp_path / "fonts.conf").write_text("<fontconfig></fontconfig>")
    monkeypatch.setenv("FONTCONFIG_FILE", str(tmp_path / "fonts.conf"))
    poppler._has_fonts.cache_clear()
    yield
    poppler._has_fonts.cache_clear()


def test_without_fonts_pages_whose_fonts_are_not_embedded_are_drawn(
    no_fonts: None, pdfs: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    pages, problems = split(uploads([pdfs[0]]))
    assert (len(pages), problems) == (3, [])
    for page in pages:
        assert page.image is not None
        assert (np.asarray(page.image.convert("L")) < 128).sum() > 200  # ink
    if shutil.which("pdftoppm"):
        assert caplog.text.count("finds no fonts") == 1


def test_the_page_asks_for_no_font_that_a_machine_may_lack() -> None:
    for file in (ROOT / "metaembed_demo" / "web").glob("*.css"):
        assert "@font-face" not in file.read_text(), file.name
    theme = (ROOT / "metaembed_demo" / "theme.py").read_text()
    assert "GoogleFont" not in theme


# A closed disk


CLOSED = """
mount --make-rprivate / && for each in "$HOME" "$CODE"; do
  mount --bind "$each" "$each" && mount -o remount,ro,bind "$each" || exit 77
done
exec "$@"
"""


@pytest.fixture
def closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """A command before another, which then finds home and program on disks that cannot be written."""
    home = tmp_path / "home"
    home.mkdir(mode=0o555)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("CODE", str(ROOT))
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HF_HOME", "MPLCONFIGDIR"):
        monkeypatch.delenv(name, raising=False)
    if os.getuid():
        return ()  # whom the mode of the folder keeps out
    before = ("unshare", "-m", "bash", "-c", CLOSED, "closed")
    try:
        tried = subprocess.run([*before, "touch", home / "a"], capture_output=True, text=True)
    except OSError:
        pytest.skip("needs unshare")
    if "Read-only" not in tried.stderr:
        pytest.skip("needs the right to mount disks read-only")
    return before


def test_with_home_and_program_closed_pages_are_indexed_and_found(
    closed: tuple[str, ...], pdfs: tuple[Path, Path], tmp_path: Path
) -> None:
    said = ok("index", pdfs[0], scan(tmp_path / "scan.png"), "--out", tmp_path / "ix", before=closed)
    assert "4 pages added" in said
    assert "Warning" not in said
    found = ok("search", tmp_path / "ix", "walrus", "-k", 1, before=closed)
    assert "scan.png" in found
    ran = run("index", pdfs[1], "--out", tmp_path / "home" / "ix", before=closed)
    assert ran.returncode == 2
    assert re.search(
        r"home/ix cannot be written \(.+\)\. Change its permissions, or name another", ran.stderr
    )


def test_with_home_and_program_closed_the_app_serves(closed: tuple[str, ...], tmp_path: Path) -> None:
    with serve(tmp_path / "uploads", *closed) as served:
        client = Client(served.address, verbose=False)
        added = client.predict([handle_file(str(scan(tmp_path / "scan.png")))], api_name="/index")
        assert (added["added"], added["problems"]) == (1, [])
        found = client.predict("walrus", "16x64", 1, added["session"], api_name="/search")
        assert found["hits"][0]["source"] == "scan.png"


def test_nothing_is_left_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime keeps an id there, for what it reports to its makers, unless it is told not to report."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    ok("index", scan(tmp_path / "scan.png"), "--out", tmp_path / "ix")
    assert files(tmp_path / "home") == set()


# A clock that is set


class Jumping:
    """A clock that is a day ahead, then a day behind, and so on."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock, self.calls = clock, 0

    def __call__(self) -> float:
        self.calls += 1
        return self.clock() + (86_400 if self.calls % 2 else -86_400)


def test_a_jump_of_the_clock_changes_no_result_and_no_time(
    monkeypatch: pytest.MonkeyPatch, pdfs: tuple[Path, Path]
) -> None:
    monkeypatch.setattr(time, "time", Jumping(time.time))
    found, report = Collection.for_encoder(ENCODER), Report()
    for _ in found.add(uploads([pdfs[0]]), ENCODER, report):
        pass
    assert report.added == 3
    assert 0 < report.seconds < 600
    trace = search(found, ENCODER, Query("Chapter"), Budget(16, 64), 3)
    assert all(0 <= ms < 60_000 for ms in trace.timings.values())


def test_a_jump_of_the_clock_removes_no_upload_and_keeps_none(tmp_path: Path) -> None:
    clock = SimpleNamespace(now=0.0)
    tick = lambda: clock.now  # noqa: E731
    early, late = tmp_path / "early.png", tmp_path / "late.png"
    for path, ahead in ((early, -86_400), (late, 86_400)):  # written before the clock was set on, and back
        path.write_bytes(b"x")
        os.utime(path, (time.time() + ahead,) * 2)
    assert locker.sweep(tmp_path, 100, tick) == 0
    clock.now = 90
    assert locker.sweep(tmp_path, 100, tick) == 0
    os.utime(late, (0, 0))  # written again, as when the same file is uploaded once more
    assert locker.sweep(tmp_path, 100, tick) == 0
    clock.now = 110
    assert locker.sweep(tmp_path, 100, tick) == 1
    assert (early.exists(), late.exists()) == (False, True)
    clock.now = 200
    assert locker.sweep(tmp_path, 100, tick) == 1


def test_nothing_goes_by_the_machine_s_clock() -> None:
    """Neither our code, nor what Gradio would clear away by it."""
    for file in (ROOT / "metaembed_demo").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                assert ast.unparse(node) not in {"time.time", "time.localtime", "datetime.now"}, file.name
                assert node.attr not in {"utcnow", "fromtimestamp", "st_mtime", "st_ctime"}, file.name
    demo, _ = build_ui(ENCODER, samples(ENCODER))
    kept = [block.time_to_live for block in demo.blocks.values() if hasattr(block, "time_to_live")]
    assert kept
    assert set(kept) == {math.inf}
    assert demo.delete_cache is None
