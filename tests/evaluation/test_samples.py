"""The sample corpus: indexed once, kept, brought up to date, and searchable without a cache too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from reportlab.lib.pagesizes import A6
from reportlab.pdfgen.canvas import Canvas

from metaembed_demo.core.budgets import STOPS
from metaembed_demo.evaluation import sample_corpus
from metaembed_demo.evaluation.sample_corpus import open_samples
from tests.support.dummy_encoder import DummyEncoder

PAGES = {
    "coffee.pdf": ["Fill the tank and press the steam button to descale", "Grind size sets the taste"],
    "trains.pdf": ["Trains from Bern to Zurich leave from platform 4"],
}
QUESTIONS = {
    "How do I descale the tank?": "coffee.pdf#1",
    "Which grind size tastes best?": "coffee.pdf#2",
    "Which platform for trains to Zurich?": "trains.pdf",
}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    (folder / "qrels").mkdir(parents=True)
    for name, texts in PAGES.items():
        write_pdf(folder / name, texts)
    lines = [json.dumps({"_id": f"q{i}", "text": text}) for i, text in enumerate(QUESTIONS)]
    (folder / "queries.jsonl").write_text("\n".join(lines), encoding="utf-8")
    judged = [f"q{i}\t{target}\t1" for i, target in enumerate(QUESTIONS.values())]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(judged))
    return folder


def write_pdf(path: Path, texts: list[str]) -> None:
    canvas = Canvas(str(path), pagesize=A6)
    for text in texts:
        canvas.setFontSize(9)
        canvas.drawString(20, 380, text)
        canvas.showPage()
    canvas.save()


class CountingEncoder(DummyEncoder):
    """Counts the pages and queries that it encodes."""

    def __init__(self) -> None:
        super().__init__()
        self.pages = self.queries = 0

    def encode_pages(self, pages):  # type: ignore[no-untyped-def]
        self.pages += len(pages)
        return super().encode_pages(pages)

    def encode_queries(self, queries):  # type: ignore[no-untyped-def]
        self.queries += len(queries)
        return super().encode_queries(queries)


def test_the_second_start_encodes_nothing(corpus: Path, tmp_path: Path) -> None:
    first = open_samples(CountingEncoder(), corpus, tmp_path / "cache", tell=lambda _: None)
    assert len(first.collection) == first.report.added == 3
    assert first.curve is not None
    assert first.curve.questions == 3
    assert len(first.curve.floors) == len(STOPS)
    encoder = CountingEncoder()
    second = open_samples(encoder, corpus, tmp_path / "cache", tell=lambda _: None)
    assert (encoder.pages, encoder.queries) == (0, 0)
    assert second.curve == first.curve
    assert sorted(second.collection.pages) == sorted(first.collection.pages)


def test_a_changed_corpus_is_brought_up_to_date_and_measured_again(corpus: Path, tmp_path: Path) -> None:
    open_samples(DummyEncoder(), corpus, tmp_path / "cache", tell=lambda _: None)
    write_pdf(corpus / "trains.pdf", ["Trains from Bern to Zurich leave from platform 9", "No bicycles"])
    encoder = CountingEncoder()
    again = open_samples(encoder, corpus, tmp_path / "cache", tell=lambda _: None)
    assert encoder.pages == 2
    assert encoder.queries > 0
    assert len(again.collection) == 4


def test_a_damaged_cache_is_made_anew(corpus: Path, tmp_path: Path) -> None:
    cache, told = tmp_path / "cache", []
    open_samples(DummyEncoder(), corpus, cache, tell=told.append)
    (manifest,) = cache.glob("samples-*/manifest.json")
    manifest.write_text("{}")
    assert len(open_samples(DummyEncoder(), corpus, cache, tell=told.append).collection) == 3
    assert any("made anew" in line for line in told)


def test_without_a_writable_cache_the_corpus_is_searchable_all_the_same(corpus: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("where the cache should be")
    told: list[str] = []
    samples = open_samples(DummyEncoder(), corpus, blocked, tell=told.append)
    assert len(samples.collection) == 3
    assert samples.curve is not None
    assert any("will not be kept" in line for line in told)


def test_a_kept_index_that_cannot_be_written_is_read_all_the_same(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    first = open_samples(DummyEncoder(), corpus, cache, tell=lambda _: None)
    before = {path: path.read_bytes() for path in cache.rglob("*") if path.is_file()}
    # As root, whom CI may be, no folder is read-only.
    monkeypatch.setattr(sample_corpus, "_writable", lambda folder: cache not in folder.parents)
    told: list[str] = []
    again = open_samples(DummyEncoder(), corpus, cache, tell=told.append)
    assert again.report.added == 0 < first.report.added
    assert again.curve == first.curve
    assert any("METAEMBED_CACHE" in line for line in told)
    assert {path: path.read_bytes() for path in cache.rglob("*") if path.is_file()} == before


def test_examples_are_short_questions_about_different_documents(corpus: Path, tmp_path: Path) -> None:
    samples = open_samples(DummyEncoder(), corpus, tmp_path / "cache", tell=lambda _: None)
    assert samples.examples == ("How do I descale the tank?", "Which platform for trains to Zurich?")


def test_a_corpus_without_questions_has_no_curve(corpus: Path, tmp_path: Path) -> None:
    (corpus / "queries.jsonl").unlink()
    samples = open_samples(DummyEncoder(), corpus, tmp_path / "cache", tell=lambda _: None)
    assert len(samples.collection) == 3
    assert samples.curve is None
    assert samples.examples == ()
