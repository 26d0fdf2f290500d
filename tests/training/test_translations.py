"""Aligned translations: sections by place, what is still in English, pages of one language."""

from __future__ import annotations

import random
from pathlib import Path

from metaembed_demo.training.mini import translations
from metaembed_demo.training.mini.dataset import HELD_OUT
from metaembed_demo.training.mini.translations import Page, Source, Translations

SOURCE = Source("toy-{}", "help/{}", codes={"de": "de-DE", "zh": "zh_CN"} | dict.fromkeys(("fr", "es", "it")))
ENGLISH = [("Sharpening a knife", "Hold the blade flat on the stone."), ("Storing it", "Keep the blade dry.")]
GERMAN = [("Ein Messer schärfen", "Die Klinge liegt flach auf dem Stein."), ("Lagern", "Trocken halten.")]
CHINESE = [("磨刀", "将刀刃平放在石头上。"), ("Storing it", "Keep the blade dry.")]


def page(folder: Path, code: str, sections: list[tuple[str, str]], name: str = "knife.html") -> None:
    body = "".join(f"<h2>1.{n}. {heading}</h2><p>{text}</p>" for n, (heading, text) in enumerate(sections))
    path = folder / f"toy-{code.lower().replace('_', '-')}" / "help" / code / "tools" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    text = (
        f"<html><head><meta charset='utf-8'></head><body><div class='toc'>Contents</div>{body}</body></html>"
    )
    path.write_text(text)


def test_sections_are_aligned_and_those_in_english_left_out(tmp_path: Path) -> None:
    page(tmp_path, "en", ENGLISH)
    page(tmp_path, "de-DE", GERMAN)
    page(tmp_path, "zh_CN", CHINESE)
    page(tmp_path, "ru", GERMAN[:1])  # another number of sections
    page(tmp_path, "en", ENGLISH, "alone.html")
    (tmp_path / "toy-ja").mkdir()
    (document,) = translations.aligned("toy-en", SOURCE, tmp_path)
    assert (document.source, document.name) == ("toy-en", "knife.html")
    first, second = document.sections[1:]  # before the first heading nothing stands
    assert first == {"en": ENGLISH[0], "de": GERMAN[0], "zh": CHINESE[0]}
    assert second == {"en": ENGLISH[1], "de": GERMAN[1]}


def test_a_chapter_number_is_no_part_of_a_heading(tmp_path: Path) -> None:
    page(tmp_path, "en", [("Stones", "Of many kinds.")])
    file = tmp_path / "toy-de-de" / "help" / "de-DE" / "tools" / "knife.html"
    file.parent.mkdir(parents=True)
    file.write_text("<html><body><h1>Kapitel 3. Steine</h1><p>Viele Arten.</p></body></html>")
    for package in ("toy-zh-cn", "toy-ru", "toy-ja"):
        (tmp_path / package).mkdir()
    (document,) = translations.aligned("toy-en", SOURCE, tmp_path)
    assert document.sections[1]["de"] == ("Steine", "Viele Arten.")


def test_pages_are_cut_by_words_or_letters() -> None:
    sections = [{"en": (f"Head {n}", "word " * 40), "zh": (f"标题{n}", "字" * 750)} for n in range(6)]
    document = Translations("toy", "a.html", sections)
    made = list(translations.pages(document, "en", random.Random(1), (100, 100)))
    assert [[at for at, _, _ in page.parts] for page in made] == [[0, 1, 2], [3, 4, 5]]
    made = list(translations.pages(document, "zh", random.Random(1), (300, 300)))
    assert [page.text() for page in made] == [f"标题{n}\n{'字' * 375}\n{'字' * 375}" for n in range(6)]
    assert list(translations.pages(document, "de", random.Random(1))) == []


def test_a_page_without_a_heading_keeps_its_text() -> None:
    made = Page("en", [(0, "Stones", "Of many kinds."), (1, "Water", "")])
    assert made.text() == "Stones\nOf many kinds.\nWater"
    assert made.text(without=["Stones"]) == "Of many kinds.\nWater"


def test_training_has_no_document_that_is_kept_out_in_english(tmp_path: Path) -> None:
    rows = [Translations("toy", f"{n}.html", [{"en": ("a", "b"), "de": ("c", "d")}]) for n in range(100)]
    rows.append(Translations(HELD_OUT[0], "1.html", rows[0].sections))
    translations.store(rows, tmp_path / "translations.jsonl")
    kept = list(translations.training_documents(tmp_path))
    assert list(translations.load(tmp_path / "translations.jsonl")) == rows
    assert kept == [row for row in rows if not row.is_kept_out]
    assert 80 < len(kept) < 100
