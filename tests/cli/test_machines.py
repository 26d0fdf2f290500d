"""Machines that lack something: packages, fonts, a home to write to, a clock that goes evenly.

Each either works or says what to do.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from gradio_client import Client, handle_file
from PIL import Image, ImageDraw

from metaembed_demo.__main__ import main
from metaembed_demo.app.server import plotly_script, share_card
from metaembed_demo.app.ui.page import build_ui
from metaembed_demo.app.visitors import uploads as uploads_module
from metaembed_demo.cli.console import BadInput, told
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.indexing import index_files
from metaembed_demo.collection.progress import Report
from metaembed_demo.collection.search import search
from metaembed_demo.core.budgets import Budget
from metaembed_demo.core.config import ROOT
from metaembed_demo.core.types import Query
from metaembed_demo.documents import poppler
from metaembed_demo.documents.file_types import uploads
from metaembed_demo.index.local import LocalIndex
from metaembed_demo.training.vlm.dataset import optional_import
from tests.support.app_server import serve
from tests.support.cli_faults import ENCODER, documents, files, ok, refused, run, surroundings
from tests.support.sample_files import split
from tests.support.sample_pages import random_vectors
from tests.support.small_app import samples

pytestmark = pytest.mark.slow

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
        ("qdrant_client", ["push", "INDEX", "PLACE"], r'pip install .* -e "\.\[qdrant\]"'),
        ("qdrant_edge", ["push", "INDEX", "edge:PLACE"], r'pip install .* -e "\.\[qdrant\]"'),
    ],
)
def test_a_command_says_which_package_it_needs(
    index: Path, tmp_path: Path, blocked: str, argv: list[str], match: str
) -> None:
    known = {"INDEX": str(index), "PLACE": str(tmp_path / "place"), "edge:PLACE": f"edge:{tmp_path}"}
    assert re.search(match, refused(*(known.get(arg, arg) for arg in argv), BLOCKED=blocked))


def test_any_other_package_is_named() -> None:
    with pytest.raises(BadInput, match=r"package plotly is missing: pip install .* -e \.$"), told():
        raise ModuleNotFoundError(name="plotly")


def test_training_names_its_extra(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def lacking(argv: object) -> int:
        raise ModuleNotFoundError(name="lxml")

    monkeypatch.setattr("metaembed_demo.training.mini.trainer.main", lacking)
    assert main(["train"]) == 2
    assert 'lxml is missing: pip install -c constraints.txt -e ".[train]"' in capsys.readouterr().err


def test_libraries_that_read_tables_or_fit_codes_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ValueError, match=r"pip install .*\[train\]"):
        optional_import("pyarrow.parquet")
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
        "from tests.support.small_app import DummyEncoder, build_ui, samples\n"
        "_, options = build_ui(DummyEncoder(), samples(DummyEncoder()))\n"
        "print([route.path for route in options['app_kwargs']['routes']])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=surroundings(), timeout=120
    )
    routes = ["/gradio_api/run/predict", "/gradio_api/upload", "/health", "/pictures/{key}/{page}/{name}"]
    assert ran.stdout.strip() == str([*routes, plotly_script.PATH, share_card.PATH]), ran.stderr


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
    sheets = sorted((ROOT / "metaembed_demo" / "app" / "web").glob("*.css"))
    assert sheets
    for file in sheets:
        assert "@font-face" not in file.read_text(), file.name
    theme = (ROOT / "metaembed_demo" / "app/theme.py").read_text()
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
    for _ in index_files(found, uploads([pdfs[0]]), ENCODER, report):
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
    assert uploads_module.sweep(tmp_path, 100, tick) == 0
    clock.now = 90
    assert uploads_module.sweep(tmp_path, 100, tick) == 0
    os.utime(late, (0, 0))  # written again, as when the same file is uploaded once more
    assert uploads_module.sweep(tmp_path, 100, tick) == 0
    clock.now = 110
    assert uploads_module.sweep(tmp_path, 100, tick) == 1
    assert (early.exists(), late.exists()) == (False, True)
    clock.now = 200
    assert uploads_module.sweep(tmp_path, 100, tick) == 1


def test_nothing_goes_by_the_machine_s_clock() -> None:
    """Neither our code, nor what Gradio would clear away by it."""
    files = sorted((ROOT / "metaembed_demo").rglob("*.py"))
    assert len(files) > 100
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                assert ast.unparse(node) not in {"time.time", "time.localtime", "datetime.now"}, file.name
                assert node.attr not in {"utcnow", "fromtimestamp", "st_mtime", "st_ctime"}, file.name
    demo, _ = build_ui(ENCODER, samples(ENCODER))
    kept = [block for block in demo.blocks.values() if hasattr(block, "time_to_live")]
    assert kept == [], "Gradio keeps no state of ours, which it would clear away by the clock"
    assert demo.delete_cache is None
