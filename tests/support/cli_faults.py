"""What tests of faults share: the command line with a dummy encoder, and a folder with an index."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from reportlab.pdfgen.canvas import Canvas

from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.indexing import index_files
from metaembed_demo.collection.progress import Report
from metaembed_demo.collection.search import search
from metaembed_demo.core.budgets import Budget
from metaembed_demo.core.config import ROOT
from metaembed_demo.core.types import Query
from metaembed_demo.documents.file_types import uploads
from tests.support.dummy_encoder import DummyEncoder

resource = pytest.importorskip("resource")  # not on Windows
ENCODER = DummyEncoder()

# The command line with the dummy encoder. BLOCKED: packages that are not there. STOP: where it waits to be
# killed: "encode", or the n-th time that something is renamed, as whatever is saved is at its end.
COMMAND = """
import os, signal, sys, time
for name in os.environ.get("BLOCKED", "").split():
    sys.modules[name] = None
from metaembed_demo import __main__ as cli
from metaembed_demo.cli import commands
from tests.support.dummy_encoder import DummyEncoder

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
commands.load_encoder = lambda name: Slow()
sys.exit(cli.main())
"""


def surroundings(**more: str) -> dict[str, str]:
    paths = str(ROOT)
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
    for _ in index_files(found, uploads([pdfs[0]]), ENCODER, Report()):
        pass
    found.save(tmp_path / "ix")
    return tmp_path / "ix"
