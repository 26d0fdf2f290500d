"""Each script of examples/ does what it says on a small folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from reportlab.pdfgen.canvas import Canvas

from metaembed_demo.core.config import ROOT

pytestmark = pytest.mark.slow
PAGES = {
    "coffee": "Descale the coffee machine with citric acid every month.",
    "energy": "Energy use of the buildings by quarter, in megawatt hours.",
    "bees": "The hive swarms in May when the queen runs out of room.",
}
EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three documents of a page each, and a question about one of them."""
    made = tmp_path_factory.mktemp("corpus")
    for name, text in PAGES.items():
        canvas = Canvas(str(made / f"{name}.pdf"))
        canvas.drawString(72, 720, text)
        canvas.save()
    (made / "queries.jsonl").write_text('{"_id": "q1", "text": "how much electricity was used?"}\n')
    (made / "qrels").mkdir()
    (made / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tenergy.pdf#1\t1\n")
    return made


def run(name: str, *argv: object) -> str:
    """What the example prints, started from the checkout as its first lines say."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith("METAEMBED_")}
    paths = {"PYTHONPATH": str(ROOT), "METAEMBED_WORKER": "0"}
    ran = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, argv)],
        env={**ours, **paths},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a_folder_is_searched_at_two_budgets(folder: Path) -> None:
    said = run("search_a_folder.py", folder, "how do I clean the coffee maker?")
    large, small = said.split("Budget ")[1:]
    assert large.startswith("16x64")
    assert small.startswith("1x1")
    assert re.search(r"1\. [\d.]+  .*coffee\.pdf, page 1", large)


def test_budgets_are_studied(folder: Path) -> None:
    said = run("study_budgets.py", folder)
    assert "3 pages, 1 questions" in said
    assert re.findall(r"^(\d+x\d+) +[\d.]+ ", said, flags=re.MULTILINE) == [
        "1x1",
        "2x4",
        "4x8",
        "8x16",
        "16x64",
    ]


def test_a_multi_vector_checkpoint_is_searched(folder: Path) -> None:
    said = run("multi_vector_checkpoint.py", folder)
    assert len(re.findall(r"^\d\. -?[\d.]+  \S*\.pdf, page 1$", said, flags=re.MULTILINE)) == 3


def test_an_index_goes_to_qdrant(folder: Path, tmp_path: Path) -> None:
    place = f"edge:{tmp_path / 'there'}"
    said = run("push_to_qdrant.py", folder, "how much electricity was used?", place)
    assert f"3 of 3 pages are at {place}" in said
    assert re.search(r"1\. [\d.]+  .*energy\.pdf, page 1", said)


def test_examples_are_short_and_all_are_run() -> None:
    scripts = sorted(EXAMPLES.glob("*.py"))
    assert len(scripts) == 4
    text = Path(__file__).read_text(encoding="utf-8")
    assert [script.name for script in scripts if f'run("{script.name}"' not in text] == []
    assert max(len(script.read_text(encoding="utf-8").splitlines()) for script in scripts) < 60
