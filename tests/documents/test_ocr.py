"""OCR of pictures however they lie, large or small, light or dark, with the real models."""

from __future__ import annotations

import shutil
from difflib import SequenceMatcher
from itertools import pairwise

import pytest
from PIL import Image

from metaembed_demo.core.types import Page
from metaembed_demo.documents import other_scripts
from metaembed_demo.documents.extraction import read
from metaembed_demo.documents.ocr import recognise
from tests.support.typeset import MONO, typeset

pytestmark = pytest.mark.slow

NOTES = [
    "Minutes of the allotment society",
    "The water butt behind the shed leaks and",
    "must be replaced before the spring planting.",
    "Rents rise by four pounds a plot next year.",
]


def alike(a: str, b: str) -> float:
    return SequenceMatcher(None, a, b, autojunk=False).ratio()


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_a_turned_scan_is_read_in_order_with_boxes_where_the_words_are(turn: int) -> None:
    upright, words = typeset(NOTES)
    # PIL's turns go left; `turn` counts to the right.
    image = upright.rotate(-90 * turn, expand=True)
    found = recognise(image)
    assert found.turn == turn
    assert alike(" ".join(word.text for word in found.words), " ".join(NOTES)) > 0.97
    first, box = words[0].box, found.words[0].box
    x, y = (first[0] + first[2]) / 2, (first[1] + first[3]) / 2
    for _ in range(turn):
        x, y = 1 - y, x
    assert box[0] <= x <= box[2]
    assert box[1] <= y <= box[3]


@pytest.mark.parametrize(("ink", "paper"), [("#dddddd", "#1e1e1e"), ("#222222", "#fafafa")])
def test_a_terminal_in_small_type_is_read(ink: str, paper: str) -> None:
    lines = [f"{i:03d} kettle-host brewd[{411 + i}]: {line}" for i, line in enumerate(NOTES)]
    image, _ = typeset(lines, (1280, 720), points=14, ink=ink, paper=paper, font=MONO, leading=1.4)
    text = " ".join(word.text for word in recognise(image).words)
    assert alike(text.replace(" ", ""), "".join(lines).replace(" ", "")) > 0.95


def test_a_long_screenshot_is_read_in_bands_at_full_size() -> None:
    lines = [f"{i}. {NOTES[i % 4]}" for i in range(36)]
    whole, _ = typeset(lines, (700, 2600), points=26, at=(60, 60), leading=2.6)
    small = whole.copy()
    small.thumbnail((2000, 500))
    found = recognise(small, lambda: whole)
    assert found.tiles > 1
    assert alike(" ".join(word.text for word in found.words), " ".join(lines)) > 0.95
    assert all(b.box[3] > a.box[1] for a, b in pairwise(found.words))


def test_words_keep_their_confidence_and_a_poor_reading_is_told() -> None:
    image, _ = typeset(NOTES, points=30)
    poor = image.resize((230, 325)).resize((992, 1403), Image.Resampling.BICUBIC)
    page = read(Page("0" * 20, "fax.png", 1, poor, pictures=((0.0, 0.0, 1.0, 1.0),)))
    sure = [word.confidence for word in recognise(image).words]
    assert min(sure) > 0.8
    assert all(0 < word.confidence <= 1 for word in page.words)
    assert page.notices or min(word.confidence for word in page.words if word.kind == "ocr") < min(sure)


def test_latin_letters_with_marks_are_read() -> None:
    lines = ["Zażółć gęślą jaźń w sobotę", "Příliš žluťoučký kůň úpěl", "Árvíztűrő tükörfúrógép größte"]
    image, _ = typeset(lines, points=28)
    assert alike(" ".join(word.text for word in recognise(image).words), " ".join(lines)) > 0.95


RUSSIAN = [
    "Правила пользования библиотекой",
    "Читатели обязаны бережно относиться к книгам",
    "и возвращать их в установленный срок.",
    "За каждый день просрочки взимается плата.",
]


def test_cyrillic_is_read_by_tesseract_or_told() -> None:
    image, _ = typeset(RUSSIAN, points=28)
    page = read(Page("0" * 20, "rules.png", 1, image, pictures=((0.0, 0.0, 1.0, 1.0),)))
    if shutil.which("tesseract") and "rus" in other_scripts._installed():
        assert alike(page.text, " ".join(RUSSIAN)) > 0.95
        assert any("tesseract" in sentence for sentence in page.reading)
    else:
        assert any("cannot read" in notice and "tesseract-ocr" in notice for notice in page.notices)


def test_without_tesseract_an_unknown_script_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other_scripts.shutil, "which", lambda name: None)
    image, _ = typeset(RUSSIAN, points=28)
    page = read(Page("0" * 20, "rules.png", 1, image, pictures=((0.0, 0.0, 1.0, 1.0),)))
    assert "cannot read" in page.notices[0]
    assert not any(word.kind == "visual" for word in page.words)  # a page of text is no picture


HEBREW = ["שעות הפתיחה של המוזיאון בקיץ", "ביום שני המוזיאון סגור", "כרטיס לילד עולה 15 שקלים"]


def has(language: str) -> bool:
    return bool(shutil.which("tesseract")) and language in other_scripts._installed()


def test_hebrew_is_read_by_tesseract_where_latin_was_made_of_it() -> None:
    if not has("heb"):
        pytest.skip("needs tesseract with heb")
    image, _ = typeset(HEBREW, points=36)
    found = recognise(image)
    assert (found.script, found.engine) == ("Hebrew", "tesseract")
    text = " ".join(word.text for word in found.words)
    assert "סגור" in text or "רוגס" in text, "as the machine's Pillow draws it"


def test_lines_in_another_script_are_read_apart_or_told(monkeypatch: pytest.MonkeyPatch) -> None:
    image, _ = typeset([*NOTES, *RUSSIAN], points=28)
    if has("rus"):
        found = recognise(image)
        assert (found.script, found.engine) == ("Cyrillic", "PP-OCR and tesseract")
        assert alike(" ".join(word.text for word in found.words), " ".join([*NOTES, *RUSSIAN])) > 0.95
    monkeypatch.setattr(other_scripts.shutil, "which", lambda name: None)
    found = recognise(image)
    assert (found.script, found.engine) == ("an unknown script", "")
    assert alike(" ".join(word.text for word in found.words), " ".join(NOTES)) > 0.95


def test_plain_text_needs_no_other_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(image: Image.Image) -> other_scripts.Found:
        raise AssertionError

    monkeypatch.setattr(other_scripts, "read", never)
    image, _ = typeset(
        [*NOTES, "Contents .................................................... 12"], points=28
    )
    assert recognise(image).engine == "PP-OCR"
