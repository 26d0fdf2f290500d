"""What of a text layer is believed, and the writing that it lacks, with the real recogniser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from metaembed_demo.core.config import PATHS
from metaembed_demo.core.types import Page, Word
from metaembed_demo.documents import text_layer
from metaembed_demo.documents.extraction import read
from metaembed_demo.documents.image_colours import is_blank
from metaembed_demo.documents.text_layer import believed, uncovered
from tests.support.typeset import SANS, typeset

pytestmark = pytest.mark.slow

NOTICE = [
    "Notice to all tenants",
    "The lift is out of service until Thursday",
    "and parcels are kept by the porter.",
    "Bicycles must not block the cellar stairs.",
]


def shifted(word: Word) -> Word:
    """Its letters 29 places back, as glyph numbers are when a font has no character map."""
    return replace(word, text="".join(chr(max(33, ord(c) - 29)) for c in word.text))


def texts(words: list[Word]) -> list[str]:
    return [word.text for word in words]


def test_a_layer_that_says_what_is_drawn_is_kept() -> None:
    image, words = typeset(NOTICE)
    assert believed(image, words, scan=False) == (words, [])
    assert believed(image, words, scan=True) == (words, [])


def test_shifted_letters_are_not_believed() -> None:
    image, words = typeset(NOTICE)
    kept, why = believed(image, [shifted(word) for word in words], scan=False)
    assert (kept, why) == ([], ["it does not say what is drawn"])


def test_each_font_is_judged_by_itself() -> None:
    image, words = typeset(NOTICE)
    good = words[:4]
    good = [replace(word, font="heading") for word in good]
    bad = [replace(shifted(word), font="body") for word in words[4:]]
    kept, why = believed(image, [*good, *bad], scan=False)
    assert kept == good
    assert why


def test_a_font_is_tried_once_for_a_document(monkeypatch: pytest.MonkeyPatch) -> None:
    image, words = typeset(NOTICE)
    words = [replace(word, font="7 Body") for word in words]
    believed(image, words, scan=False)

    def unexpected(crops: list[object]) -> list[object]:
        assert not crops, "recognised again"
        return []

    monkeypatch.setattr(text_layer, "read_lines", unexpected)
    assert believed(image, words, scan=False)[0] == words


def test_a_poor_old_ocr_layer_is_read_again() -> None:
    image, words = typeset(NOTICE)
    poor = [replace(w, text=w.text.replace("e", "c").replace("i", "l").replace("s", "5")) for w in words]
    assert believed(image, poor, scan=True)[0] == []


def test_letters_that_mean_nothing_are_left_out() -> None:
    image, words = typeset(NOTICE)
    private = [replace(word, text="\ue012\ue00a\ue043") for word in words[4:]]
    kept, why = believed(image, [*words[:4], *private], scan=False)
    assert kept == words[:4]
    assert "no meaning" in why[0]


@pytest.mark.parametrize(
    ("text", "code_page"),
    [
        ("Правила пользования библиотекой и читальным залом", "cp1251"),
        ("Правила пользования библиотекой и читальным залом", "koi8_r"),
        ("Κανονισμός λειτουργίας της δημοτικής βιβλιοθήκης", "cp1253"),
    ],
)
def test_a_foreign_code_page_is_mended(text: str, code_page: str) -> None:
    image, words = typeset([text])
    stored = [replace(w, text=w.text.encode(code_page).decode("latin-1")) for w in words]
    if any("\x80" <= c < "\xa0" for word in stored for c in word.text):
        stored = [replace(w, text=w.text.encode(code_page).decode("cp1252")) for w in words]
    kept, why = believed(image, stored, scan=False)
    assert texts(kept) == texts(words)
    assert "code page" in why[0]


@pytest.mark.parametrize("text", ["Größe über fünf Äpfel für Öl", "à côté où déjà élève", "año señor niño"])
def test_accents_are_no_foreign_code_page(text: str) -> None:
    image, words = typeset([text])
    assert believed(image, words, scan=False) == (words, [])


def test_writing_without_words_is_found() -> None:
    image, words = typeset(NOTICE)
    covered, missing = words[:4], words[4:]
    boxes = uncovered(image, covered)
    assert boxes
    for word in missing:
        x, y = (word.box[0] + word.box[2]) / 2, (word.box[1] + word.box[3]) / 2
        assert any(x0 <= x <= x1 and y0 <= y <= y1 for x0, y0, x1, y1 in boxes)


def test_rules_frames_and_panels_are_no_writing() -> None:
    image, words = typeset(NOTICE)
    draw = ImageDraw.Draw(image)
    draw.rectangle((60, 500, 900, 900), fill="#dde6f0", outline="#334455")
    for y in range(520, 900, 60):
        draw.line((60, y, 900, y), fill="black")
    draw.line((300, 500, 300, 900), fill="black", width=2)
    assert uncovered(image, words) == []


def page(image: Image.Image, words: list[Word], **more: object) -> Page:
    return Page("0" * 20, "a.pdf", 1, image, tuple(words), **more)  # type: ignore[arg-type]


def test_a_scan_under_a_stamp_is_read() -> None:
    image, words = typeset(NOTICE)
    stamp = words[:4]  # the live part
    found = read(page(image, stamp, pictures=((0.0, 0.0, 1.0, 1.0),)))
    assert found.text.split() == " ".join(NOTICE).split()
    assert {word.kind for word in found.words} == {"text", "ocr"}
    assert any("does not cover" in sentence for sentence in found.reading)


def test_garbage_is_replaced_by_what_is_drawn() -> None:
    image, words = typeset(NOTICE)
    found = read(page(image, list(map(shifted, words))))
    assert found.text.split() == " ".join(NOTICE).split()
    assert any("does not say what is drawn" in sentence for sentence in found.reading)


def test_a_blank_page_has_no_words_and_says_so() -> None:
    found = read(page(Image.new("RGB", (992, 1403), "#fffdf8"), []))
    assert found.words == ()
    assert "is blank" in found.notices[0]


def test_a_single_dot_of_ink_is_no_blank_page() -> None:
    image = Image.new("RGB", (992, 1403), "white")
    ImageDraw.Draw(image).ellipse((400, 400, 700, 700), fill="red")
    found = read(page(image, []))
    assert {word.kind for word in found.words} == {"visual"}
    assert "no words" in found.notices[0]


def test_comments_are_kept_whatever_lies_below_them() -> None:
    image, words = typeset(NOTICE)
    comment = [Word(text, words[5].box, font="note") for text in ["Ask", "the", "porter"]]
    kept, why = believed(image, [*words, *comment], scan=False)
    assert (kept[-3:], why) == (comment, [])
    assert read(page(image, [*words, *comment])).text.split().count("porter") == 1


@pytest.mark.parametrize(("text", "points"), [("\u00a347", 22), ("Sauna", 30), ("14 May 1987", 16)])
def test_short_writing_without_words_is_read(text: str, points: int) -> None:
    image, words = typeset(NOTICE)
    drawn, _ = typeset([text], (400, 90), points=points, at=(20, 20))
    image.paste(drawn, (120, 700))
    found = [word.text for word in read(page(image, words)).words if word.kind == "ocr"]
    assert "".join(found) == text.replace(" ", "")


def test_what_lies_under_a_slanted_stamp_is_read() -> None:
    image, words = typeset(NOTICE)
    stamp = Word("DRAFT", (0.05, 0.02, 0.95, 0.4))  # the box of large letters aslant
    found = read(page(image, [stamp], pictures=((0.0, 0.0, 1.0, 1.0),)))
    assert [word.text for word in found.words if word.kind == "ocr"] == [word.text for word in words]


def test_letters_of_a_script_that_is_not_drawn_are_not_believed() -> None:
    image, words = typeset(NOTICE)
    greek = [replace(word, text="".join(chr(0x3B1 + ord(c) % 24) for c in word.text)) for word in words]
    assert believed(image, greek, scan=False)[0] == []


def noisy_sheet(tone: tuple[int, int, int]) -> Image.Image:
    noise = np.random.default_rng(5).normal(0, 5, (1403, 992, 1))
    sheet = np.clip(np.array(tone) + noise, 0, 255).astype(np.uint8)
    sheet[700:703, 300:303] = 90  # dust
    sheet[200:230, 10:40] = 40  # a hole
    return Image.fromarray(sheet)


@pytest.mark.parametrize("tone", [(250, 250, 250), (244, 232, 200), (190, 190, 190)])
def test_a_scanned_blank_sheet_is_blank(tone: tuple[int, int, int]) -> None:
    assert is_blank(noisy_sheet(tone))
    written = noisy_sheet(tone)
    ImageDraw.Draw(written).text((500, 900), "7", fill=(60, 60, 60), font=ImageFont.truetype(SANS, 20))
    assert not is_blank(written)


@pytest.mark.parametrize("path", [*PATHS.sample_corpus.glob("pictures/*.[jpw]*")], ids=lambda path: path.name)
def test_no_picture_is_blank(path: Path) -> None:
    assert not is_blank(Image.open(path))


def test_a_colour_and_a_faint_drawing_are_not_blank() -> None:
    assert not is_blank(Image.new("RGB", (400, 300), (30, 90, 200)))
    assert not is_blank(Image.linear_gradient("L").resize((90, 60)))
    pale = Image.new("RGB", (992, 1403), "white")
    ImageDraw.Draw(pale).ellipse((300, 300, 600, 600), outline="#dddddd", width=3)
    assert not is_blank(pale)
