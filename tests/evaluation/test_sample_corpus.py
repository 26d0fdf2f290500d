"""The sample corpus keeps what it promises: size, variety, licences, judged questions, reproducible PDFs."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from functools import cache
from pathlib import Path
from types import ModuleType

import pypdfium2 as pdfium
import pytest
from PIL import Image

from metaembed_demo.core.config import PATHS
from sample_corpus.make.__main__ import documents, merged

CORPUS = PATHS.sample_corpus
PDFS = sorted(CORPUS.glob("*.pdf"))
PICTURES = sorted(path for path in (CORPUS / "pictures").iterdir() if path.suffix != ".md")
KINDS = {"text": 20, "chart": 15, "table": 15, "scan": 12, "photo": 12, "paraphrase": 30}  # kind -> at least
SCANS = {"accident-report-scan.pdf", "letter-scan.pdf"}  # pictures of text
STOP_WORDS = """
a about after again all also am an and any are as at be because been before being between both but by can
could did do does doing done down during each else ever every few for from get gets getting give go goes
going got had has have having he her here hers him his how i if in into is it its itself just let like
made make makes many may me mean means might mine more most much must my near need needs no nobody none
nor not nothing now of off often on once one only onto or other our ours out over own per put s same
shall she should so some somebody someone something such take takes t than that the their theirs them
then there these they thing things this those through to too under until up upon us use used uses using
very via want wants was way we well were what when where whether which while who whole whom whose why
will with without would yes yet you your yours
"""
STOP = frozenset(STOP_WORDS.split())
ENDINGS = (
    "ations",
    "ation",
    "ings",
    "ing",
    "ies",
    "ied",
    "ers",
    "est",
    "er",
    "es",
    "ed",
    "ly",
    "s",
    "y",
    "e",
)


def stem(word: str) -> str:
    """A plain stemmer, rather too eager: what it calls the same word, a search by words might match.

    >>> stem("stations") == stem("station"), stem("bake") == stem("baking")
    (True, True)
    """
    for ending in ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def content_words(text: str) -> set[str]:
    return {stem(word) for word in re.findall(r"[^\W\d_]+|\d+", text.lower()) if word not in STOP}


@cache
def page_texts(name: str) -> tuple[str, ...]:
    """The text layer of every page."""
    document = pdfium.PdfDocument(CORPUS / name)
    try:
        return tuple(page.get_textpage().get_text_bounded() for page in document)
    finally:
        document.close()


def questions() -> dict[str, dict[str, str]]:
    lines = (CORPUS / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["_id"]: row for row in map(json.loads, lines)}


def answers() -> list[tuple[str, str, int]]:
    with (CORPUS / "qrels" / "test.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    assert rows[0] == ["query-id", "corpus-id", "score"]
    return [(query, target, int(score)) for query, target, score in rows[1:]]


def test_enough_documents_and_pages() -> None:
    assert len(PDFS) >= 10
    assert sum(len(page_texts(path.name)) for path in PDFS) >= 60


def test_corpus_stays_small() -> None:
    files = [path for path in CORPUS.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) < 12_000_000
    assert max(path.stat().st_size for path in PICTURES) < 300_000


def test_documents_of_every_kind_asked_for() -> None:
    asked_for = "annual-report manual paper slides invoices letter timetable recipe data-sheet brochure"
    names = " ".join(path.stem for path in PDFS)
    assert [name for name in asked_for.split() if name not in names] == []


def test_scans_have_no_text_layer_and_all_else_has() -> None:
    for path in PDFS:
        lengths = [len(text.split()) for text in page_texts(path.name)]
        assert (max(lengths) == 0) == (path.name in SCANS), path.name
        if path.name not in SCANS:
            assert min(lengths) >= 15, f"{path.name}: {lengths}"


def test_slides_are_wider_than_high_and_the_paper_has_two_columns() -> None:
    with pdfium.PdfDocument(CORPUS / "slides.pdf") as slides:
        assert all(width > height for width, height in (page.get_size() for page in slides))
    (paper,) = CORPUS.glob("*paper*.pdf")
    with pdfium.PdfDocument(paper) as document:
        page = document[1]
        text, middle = page.get_textpage(), page.get_width() / 2
        boxes = [text.get_rect(i) for i in range(text.count_rects())]
        starts = {x0 > middle for x0, _, _, _ in boxes}
        crossing = [box for box in boxes if box[0] < middle - 12 and box[2] > middle + 12]
        page.close()
    assert starts == {False, True}
    assert len(crossing) <= len(boxes) / 10


def test_every_picture_opens_and_has_a_licence_row() -> None:
    assert len(PICTURES) >= 12
    table = (CORPUS / "pictures" / "LICENSES.md").read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip(): line for line in table.splitlines() if line.startswith("| ")}
    for path in PICTURES:
        with Image.open(path) as image:
            image.verify()
        cells = [cell.strip() for cell in rows[path.name].strip("|").split("|")]
        assert len(cells) == 7
        assert all(cells), path.name
    assert len(rows) == len(PICTURES) + 1  # and the table's head: no row without its picture


def test_questions_are_many_and_of_every_kind() -> None:
    rows = questions().values()
    kinds = Counter(row["kind"] for row in rows)
    assert len(rows) >= 80
    assert kinds.keys() == KINDS.keys()
    assert {kind: n for kind, n in kinds.items() if n < KINDS[kind]} == {}
    assert len({row["text"].lower() for row in rows}) == len(rows)


def test_every_document_and_picture_is_asked_about() -> None:
    judged = {target.partition("#")[0] for _, target, _ in answers()}
    corpus = {path.relative_to(CORPUS).as_posix() for path in PDFS + PICTURES}
    assert judged == corpus


def test_every_judgement_names_a_question_and_a_page_that_exist() -> None:
    asked = questions()
    assert {query for query, _, _ in answers()} == asked.keys()
    for query, target, score in answers():
        assert score in (1, 2), query
        name, _, number = target.partition("#")
        if name.endswith(".pdf"):
            assert 1 <= int(number) <= len(page_texts(name)), target
        else:
            assert not number
            assert (CORPUS / name).is_file(), target


def test_kinds_match_what_answers() -> None:
    for query, target, _ in answers():
        kind = questions()[query]["kind"]
        if kind == "scan":
            assert target.partition("#")[0] in SCANS, query
        if kind == "photo":
            assert target.startswith("pictures/") or ".pdf#" in target, query


def test_paraphrases_share_no_content_word_with_their_page() -> None:
    asked, shared = questions(), {}
    for query, target, _ in answers():
        name, _, number = target.partition("#")
        if asked[query]["kind"] == "paraphrase" and number:
            same = content_words(asked[query]["text"]) & content_words(page_texts(name)[int(number) - 1])
            if same:
                shared[f"{query} {target}"] = sorted(same)
    assert not shared, "\n".join(f"{which}: {words}" for which, words in shared.items())


def test_merged_questions_are_up_to_date() -> None:
    queries, qrels = merged()
    assert (CORPUS / "queries.jsonl").read_text(encoding="utf-8") == queries
    assert (CORPUS / "qrels" / "test.tsv").read_text(encoding="utf-8") == qrels


@pytest.mark.parametrize("module", documents(), ids=lambda module: module.__name__.rpartition(".")[2])
@pytest.mark.slow
def test_script_writes_the_document_that_is_kept(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same text and size of every page, and the same bytes each time; JPEG bytes may differ by library."""
    monkeypatch.setattr(module, "CORPUS", tmp_path)
    module.main()
    (made,) = tmp_path.iterdir()
    first = made.read_bytes()
    with pdfium.PdfDocument(first) as new, pdfium.PdfDocument(CORPUS / made.name) as kept:
        assert [page.get_size() for page in new] == [page.get_size() for page in kept]
        texts = [page.get_textpage().get_text_bounded() for page in new]
    assert tuple(texts) == page_texts(made.name)
    module.main()
    assert made.read_bytes() == first
