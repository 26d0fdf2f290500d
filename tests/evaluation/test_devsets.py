"""The dev set builder: PDF contents, scans without text layer, hashes."""

from __future__ import annotations

import json
from pathlib import Path

import pypdfium2 as pdfium
import pytest

from benchmarks.quality import devsets
from metaembed_demo.evaluation.beir import load_beir
from metaembed_demo.training.mini.clipart import Drawing
from metaembed_demo.training.mini.corpora import Document
from metaembed_demo.training.mini.dataset import is_dev

BLOCKS = [
    {"title": "Notice of works"},
    {"text": "The pipes in Öl Street\nare renewed & tested."},
    {"list": ["bring water", "shut the taps"]},
    {"table": [["Day", "Hours"], ["Monday", "8 < 12"]]},
]


def text_of(path: Path) -> list[str]:
    with pdfium.PdfDocument(path) as document:
        return [" ".join(page.get_textpage().get_text_range().split()) for page in document]


def test_blocks_become_a_page_with_a_text_layer(tmp_path: Path) -> None:
    devsets.draw(tmp_path / "notice.pdf", "notice", [BLOCKS, [{"text": "word " * 2500}]], size=10)
    first, second = text_of(tmp_path / "notice.pdf")
    for part in (
        "Notice of works",
        "Öl Street are renewed & tested.",
        "bring water",
        "Monday",
        "8 < 12",
    ):
        assert part in first
    assert second.count("word") == 2500  # too much for a page: set smaller, nothing lost


def test_a_scan_has_no_text_layer(tmp_path: Path) -> None:
    devsets.draw(tmp_path / "notice.pdf", "notice", [BLOCKS], size=10)
    devsets.scan_pages(tmp_path / "notice.pdf")
    assert text_of(tmp_path / "notice.pdf") == [""]


def test_long_pages_come_from_documents_kept_out_of_training() -> None:
    documents = [Document("toy", f"d{n}", [("Head", "one two three four " * 400)] * 2) for n in range(120)]
    pages = devsets.long_pages([*documents, *documents])
    kept = {f"toy/{document.name}" for document in documents if is_dev(document)}
    assert {key.split("#")[0] for key in pages} == kept
    for key, blocks in pages.items():
        words = sum(len(block["text"].split()) for block in blocks if "text" in block)
        assert devsets.LEAST_WORDS <= words <= devsets.PAGE_WORDS[1] + devsets.SECTION_PART, key


def test_drawings_of_one_title_answer_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devsets.clipart, "is_dev", lambda drawing: drawing.title != "left out")
    monkeypatch.setattr(devsets, "CANDIDATES", 6)
    titles = ["kite"] * 5 + ["left out"] * 3 + ["boat"] * 2 + ["cup", "ball", "hat"]
    drawings = [Drawing(f"{n}.svg", Path(), title, ()) for n, title in enumerate(titles)]
    groups = devsets.dev_groups(drawings)
    assert {title: len(found) for title, found in groups.items()}.items() >= {"kite": 3, "boat": 2}.items()
    assert sum(map(len, groups.values())) == 6


def test_a_set_is_written_as_a_beir_folder_and_hashed(tmp_path: Path) -> None:
    def build(folder: Path, data: Path) -> devsets.DevSet:
        found = devsets.DevSet(frozen=[BLOCKS])
        devsets.draw(folder / "notice.pdf", "notice", [BLOCKS], size=10)
        found.ask("when is the water off?", "notice.pdf#1")
        return found

    digest = devsets.make(tmp_path / "set", tmp_path, build)
    assert digest == devsets.make(tmp_path / "set", tmp_path, build)
    beir = load_beir(tmp_path / "set")
    assert beir.queries["q1"].text == "when is the water off?"
    assert beir.qrels == {"q1": {"notice.pdf#1": 1}}
    other = devsets.DevSet(frozen=[BLOCKS])
    other.ask("when is the water on?", "notice.pdf#1")
    assert other.digest() != digest


def test_the_questions_kept_here_are_well_formed() -> None:
    """Every business question names a page of its document, and no question is asked twice."""
    asked: list[str] = []
    for line in (devsets.OURS / "business.jsonl").read_text().splitlines():
        document = json.loads(line)
        for page in document["pages"]:
            assert page
            assert all(set(block) <= {"title", "text", "list", "table"} for block in page)
        for question in document["questions"]:
            assert 1 <= question["page"] <= len(document["pages"])
            asked.append(question["text"])
    asked += [json.loads(line)["text"] for line in (devsets.OURS / "long.jsonl").read_text().splitlines()]
    assert len(asked) == len(set(asked)) > 700
