"""What is read of a PDF page is what its picture shows: text, fields, notes, turned and spaced lines."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from metaembed_demo.core.types import Notice, Upload, Word
from metaembed_demo.documents import pdf, pdf_notes
from metaembed_demo.documents.loader import read_files
from metaembed_demo.documents.reading_order import reading_order
from tests.support.pdf_pages import coded, lettered, only_page, page_pdf, text_of
from tests.support.sample_files import stream

HEADING = "BT /F 12 Tf 20 350 Td (Garden club) Tj ET\n"
FORM = "/AcroForm << /Fields [20 0 R] /DR << /Font << /F 4 0 R >> >> /DA (/F 12 Tf 0 g) %s >>"
FIELD = "/Subtype /Widget /Rect [20 200 300 220] /F 4 /T (f) /DA (/F 12 Tf 0 g)"
APPEARANCE = {
    30: stream(
        b"BT /F 12 Tf 2 4 Td (copper kettle) Tj ET",
        b"/Type /XObject /Subtype /Form /BBox [0 0 280 20] /Resources << /Font << /F 4 0 R >> >>",
    )
}
HEBREW = "\u05e9\u05dc\u05d5\u05dd\u05e2\u05d1\u05e8\u05d9\u05ea"  # nine letters
KANA = "\u56f3\u66f8\u9928\u958b\u6642\u9593\u4e5d"


def at(x: float, y: float, text: str, more: str = "") -> str:
    return f"BT /F 12 Tf {more} {x} {y} Td ({text}) Tj ET\n"


def words_of(path: Path) -> list[str]:
    return [word.text for word in only_page(path).words]


@pytest.fixture(params=["poppler", "pdfium"])
def renderer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "pdfium":
        monkeypatch.setenv("PATH", "")
    return str(request.param)


def has_ink(page: Image.Image, left: float, top: float, right: float, bottom: float) -> bool:
    w, h = page.size
    low, high = (
        page.convert("L").crop((int(left * w), int(top * h), int(right * w), int(bottom * h))).getextrema()
    )
    return high - low > 50  # type: ignore[operator]


# Fields and notes


@pytest.mark.parametrize(
    ("extra", "form"),
    [
        ("/FT /Tx /V (copper kettle) /AP << /N 30 0 R >>", ""),
        ("/FT /Tx /V (copper kettle)", ""),
        ("/FT /Tx /V (copper kettle)", "/NeedAppearances true"),
        (
            "/FT /Ch /Ff 131072 /Opt [[(k1) (copper kettle)] [(k2) (tin cup)]] /V (k1)",
            "/NeedAppearances true",
        ),
    ],
    ids=["drawn", "undrawn", "to be drawn", "chosen"],
)
@pytest.mark.usefixtures("renderer")
def test_a_value_in_a_field_is_read_once_and_shown(tmp_path: Path, extra: str, form: str) -> None:
    path = page_pdf(
        tmp_path / "form.pdf", HEADING, catalog=FORM % form, annotations=[f"{FIELD} {extra}"], more=APPEARANCE
    )
    page = only_page(path)
    assert [word.text for word in page.words] == ["Garden", "club", "copper", "kettle"]
    for word in page.words[2:]:
        assert 0.05 - 0.01 <= word.box[0] < word.box[2] <= 0.75 + 0.01
        assert 0.45 - 0.01 <= word.box[1] < word.box[3] <= 0.5 + 0.01
    assert has_ink(page.image, 0.06, 0.46, 0.3, 0.49)


def test_a_value_in_a_box_for_each_letter_is_a_word(tmp_path: Path) -> None:
    comb = FIELD + " /FT /Tx /Ff 16777216 /MaxLen 8 /V (AB4711)"
    assert (
        words_of(page_pdf(tmp_path / "comb.pdf", HEADING, catalog=FORM % "", annotations=[comb]))[-1]
        == "AB4711"
    )


def test_hidden_fields_ticks_and_passwords_are_not_read(tmp_path: Path) -> None:
    hidden = FIELD.replace("/F 4", "/F 2") + " /FT /Tx /V (copper kettle) /AP << /N 30 0 R >>"
    secret = FIELD + " /FT /Tx /Ff 8192 /V (tinderbox)"
    tick = FIELD + " /FT /Btn /V /Yes /AS /Yes"
    for body in (hidden, secret, tick):
        path = page_pdf(tmp_path / "f.pdf", HEADING, catalog=FORM % "", annotations=[body], more=APPEARANCE)
        read = words_of(path)
        assert not {"copper", "kettle", "tinderbox", "Yes"} & set(read)


def test_text_boxes_and_notes_are_read_at_their_place(tmp_path: Path) -> None:
    notes = [
        "/Subtype /FreeText /Rect [20 200 300 220] /F 4 /Contents (copper kettle) /AP << /N 30 0 R >>",
        "/Subtype /FreeText /Rect [20 100 300 130] /F 4 /DA (/Helv 12 Tf 0 g) /Contents (brass lantern)",
        "/Subtype /Text /Rect [340 280 360 300] /F 4 /Contents (ask the glazier)",
        "/Subtype /Text /Rect [340 180 360 200] /F 2 /Contents (withdrawn)",
        "/Subtype /Link /Rect [20 345 90 365] /Contents (a link to elsewhere)",
    ]
    page = only_page(page_pdf(tmp_path / "notes.pdf", HEADING, annotations=notes, more=APPEARANCE))
    text = " ".join(word.text for word in reading_order(page.words))
    assert text == "Garden club ask the glazier copper kettle brass lantern"
    boxes = {word.text: word.box for word in page.words}
    assert boxes["ask"] == boxes["glazier"] == (0.85, 0.25, 0.9, 0.3)
    assert boxes["copper"][2] < boxes["kettle"][0]


def test_a_note_that_repeats_the_text_under_it_is_read_once(tmp_path: Path) -> None:
    mark = (
        "/Subtype /Highlight /Rect [18 345 95 365] /QuadPoints [18 365 95 365 18 345 95 345] /Contents (%s)"
    )
    path = tmp_path / "marked.pdf"
    assert text_of(page_pdf(path, HEADING, annotations=[mark % "Garden club"])) == "Garden club"
    assert set(text_of(page_pdf(path, HEADING, annotations=[mark % "why"])).split()) == {
        "Garden",
        "club",
        "why",
    }


def test_too_many_annotations_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf_notes, "MOST_NOTES", 3)
    note = "/Subtype /Text /Rect [340 280 360 300] /Contents (many)"
    path = page_pdf(tmp_path / "many.pdf", HEADING, annotations=[note] * 4)
    [page, notice] = read_files([Upload(path, "many.pdf")])
    assert page.text == "Garden club"  # type: ignore[union-attr]
    assert isinstance(notice, Notice)
    assert "4 annotations" in notice.message


# What is drawn


HIDDEN_LAYER = (
    "/OCProperties << /OCGs [8 0 R] /D << /BaseState /ON /OFF [8 0 R] /Order [8 0 R] >> >>",
    {8: b"<< /Type /OCG /Name (internal) >>"},
)


@pytest.mark.parametrize(
    "content",
    [
        at(20, 200, "supplier margin", "1 1 1 rg"),
        at(20, 200, "supplier margin", "0.995 g"),
        at(20, 200, "supplier margin", "3 Tr"),
        "/OC /M BDC " + at(20, 200, "supplier margin") + "EMC",
        at(20, 200, "supplier margin") + "1 g 0 190 400 30 re f",
        "0 0 1 rg 0 190 400 30 re f " + at(20, 200, "supplier margin", "0 0 1 rg"),
        "q 0 0 10 10 re W n " + at(20, 200, "supplier margin") + " Q",
        at(20, 200, "supplier margin", "/G gs"),
    ],
    ids=[
        "white",
        "nearly white",
        "invisible",
        "layer off",
        "covered",
        "blue on blue",
        "clipped",
        "transparent",
    ],
)
@pytest.mark.usefixtures("renderer")
def test_text_that_is_not_drawn_is_not_read(tmp_path: Path, content: str) -> None:
    catalog, layer = HIDDEN_LAYER
    resources = "/Properties << /M 8 0 R >> /ExtGState << /G << /ca 0 /CA 0 >> >>"
    path = page_pdf(
        tmp_path / "hidden.pdf", HEADING + content, resources=resources, catalog=catalog, more=layer
    )
    page = only_page(path)
    assert [word.text for word in page.words] == ["Garden", "club"]
    assert any("2 words that cannot be seen" in note for note in page.notes)


def test_white_text_under_other_text_is_not_read(tmp_path: Path) -> None:
    content = at(20, 200, "supplier margin supplier margin", "1 g") + at(20, 203, "the price of honey", "0 g")
    path = page_pdf(tmp_path / "under.pdf", HEADING + content)
    assert words_of(path) == ["Garden", "club", "the", "price", "of", "honey"]


def test_text_outside_the_crop_box_is_not_read(tmp_path: Path) -> None:
    path = page_pdf(
        tmp_path / "cropped.pdf",
        HEADING + at(20, 20, "printer marks") + at(350, 350, "edge"),
        page="/MediaBox [0 0 400 400] /CropBox [0 100 300 400]",
    )
    assert words_of(path) == ["Garden", "club"]


@pytest.mark.usefixtures("renderer")
def test_pale_thin_reversed_and_tiny_text_is_read(tmp_path: Path) -> None:
    content = (
        at(20, 300, "pale", "0.92 g")
        + at(20, 280, "a - b . c , d ;")
        + "0 g 0 240 400 30 re f "
        + at(20, 250, "reversed", "1 g")
        + "BT 0 g /F 3 Tf 20 220 Td (tiny print. ok) Tj ET\n"
        + at(20, 180, "outlined", "1 Tr 0.1 w")
    )
    read = words_of(page_pdf(tmp_path / "pale.pdf", HEADING + content))
    assert " ".join(read) == "Garden club pale a - b . c , d ; reversed tiny print. ok outlined"


def test_text_in_a_font_that_is_missing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "LAST_COMMON_LETTER", "a")  # as if these fonts drew nothing
    path = page_pdf(tmp_path / "font.pdf", at(20, 200, "unseen glyphs", "1 g"))
    page = only_page(path)
    assert [word.text for word in page.words] == ["unseen", "glyphs"]
    assert any("font" in note for note in page.notes)


def test_invisible_text_over_a_picture_is_marked(tmp_path: Path) -> None:
    canvas = Canvas(str(tmp_path / "scan.pdf"), pagesize=(400, 400))
    canvas.drawImage(ImageReader(Image.effect_noise((300, 150), 80).convert("RGB")), 0, 200, 400, 200)
    canvas.drawString(30, 50, "typed")
    for y in (300, 100):
        text = canvas.beginText(30, y)
        text.setTextRenderMode(3)
        text.textLine("recognised" if y == 300 else "smuggled")
        canvas.drawText(text)
    canvas.save()
    found = only_page(tmp_path / "scan.pdf").words
    assert [(word.text, word.drawn) for word in found] == [("typed", True), ("recognised", False)]


def test_a_page_smaller_than_its_unit_is_drawn_at_a_readable_size(tmp_path: Path) -> None:
    content = "BT /F 0.2 Tf 0.3 4 Td (Lighthouse lens) Tj ET"
    path = page_pdf(tmp_path / "unit.pdf", content, page="/MediaBox [0 0 5.5 5.5] /UserUnit 72")
    page = only_page(path)
    assert page.image.size == (660, 660)
    assert [word.text for word in page.words] == ["Lighthouse", "lens"]


# Turned lines and other directions


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_turned_lines_are_read_in_order(tmp_path: Path, degrees: int) -> None:
    lines = ["Ferry timetable for winter", "The boat leaves at seven", "and again at sixteen hours"]
    canvas = Canvas(str(tmp_path / "turned.pdf"), pagesize=(400, 400))
    canvas.translate(200, 200)
    canvas.rotate(degrees)
    for row in (2, 0, 1):
        canvas.drawString(-150, 100 - 20 * row, lines[row])
    canvas.save()
    assert text_of(tmp_path / "turned.pdf") == " ".join(lines)


@pytest.mark.parametrize("degrees", [90, 270])
def test_rows_of_a_sideways_table_stay_together(tmp_path: Path, degrees: int) -> None:
    rows = [["Species", "Boxes", "Eggs"], ["Kestrel", "12", "51"], ["Owl", "7", "9"], ["Wren", "4", "22"]]
    canvas = Canvas(str(tmp_path / "table.pdf"), pagesize=(400, 400))
    canvas.drawString(30, 380, "Upright caption")
    canvas.translate(200, 200)
    canvas.rotate(degrees)
    for column in range(3):
        for row, cells in enumerate(rows):
            canvas.drawString(-150 + 100 * column, 100 - 16 * row, cells[column])
    canvas.save()
    expected = "Upright caption " + " ".join(cell for cells in rows for cell in cells)
    assert text_of(tmp_path / "table.pdf") == expected


def test_vertical_writing_is_read_down_and_to_the_left(tmp_path: Path) -> None:
    columns = [KANA[:4], KANA[3:], KANA[2:5]]
    letters = [
        (300 - 40 * i, 340 - 18 * k, c) for i, column in enumerate(columns) for k, c in enumerate(column)
    ]
    content = "\n".join(f"BT /U 14 Tf {x} {y} Td {coded(KANA, c)} Tj ET" for x, y, c in letters)
    path = page_pdf(tmp_path / "vertical.pdf", content, more=lettered(KANA))
    assert text_of(path) == " ".join(columns)


def hebrew(x: float, y: float, text: str) -> str:
    return f"BT /U 12 Tf {x} {y} Td {coded(HEBREW + '0123456789abc', text)} Tj ET\n"


def letter_by_letter(right: float, y: float, text: str) -> str:
    return "".join(hebrew(right - 7.2 * (i + 1), y, letter) for i, letter in enumerate(text) if letter != " ")


def test_right_to_left_lines_are_read_from_the_right(tmp_path: Path) -> None:
    """Stored as they look, in the order they are read, and word by word."""
    first, second = f"{HEBREW[:4]} {HEBREW[4:]}", f"{HEBREW[5:]} {HEBREW[:4]}"
    as_seen = hebrew(100, 300, first[::-1]) + hebrew(93, 280, second[::-1])
    as_read = letter_by_letter(300, 300, first) + letter_by_letter(300, 280, second)
    by_word = "".join(
        hebrew(x, y, word[::-1])
        for y, words in ((300, first.split()), (280, second.split()))
        for x, word in zip((200, 150), words, strict=True)
    )
    for content in (as_seen, as_read, by_word):
        path = page_pdf(tmp_path / "rtl.pdf", content, more=lettered(HEBREW + "0123456789abc"))
        assert text_of(path) == f"{first} {second}"


def test_numbers_and_latin_words_in_right_to_left_lines(tmp_path: Path) -> None:
    one, two = HEBREW[:4], HEBREW[4:]
    content = hebrew(100, 300, f"{two[::-1]} 2034 {one[::-1]}") + hebrew(
        100, 280, f"{two[::-1]} abc cab {one[::-1]}"
    )
    path = page_pdf(tmp_path / "mixed.pdf", content, more=lettered(HEBREW + "0123456789abc"))
    assert text_of(path) == f"{one} 2034 {two} {one} abc cab {two}"


def test_a_right_to_left_line_on_a_page_of_another_direction() -> None:
    def line(y: float, *texts: str) -> list[Word]:
        return [Word(t, (0.1 + 0.1 * i, y, 0.19 + 0.1 * i, y + 0.02)) for i, t in enumerate(texts)]

    words = [
        *line(0.1, "plain", "words", "first"),
        *line(0.2, HEBREW[4:], HEBREW[:4]),
        *line(0.3, "then", "more"),
    ]
    found = [word.text for word in reading_order(words)]
    assert found == ["plain", "words", "first", HEBREW[:4], HEBREW[4:], "then", "more"]


# Spaced and divided words


@pytest.mark.parametrize(
    "content",
    [
        at(20, 300, "F A L C O N R Y   C O U R S E"),
        at(20, 300, "FALCONRY  COURSE", "6 Tc"),
        "BT /F 12 Tf 20 300 Td [(F) -500 (A) -500 (L) -500 (C) -500 (O) -500 (N) -500 (R) -500 (Y) -1500 "
        "(C) -500 (O) -500 (U) -500 (R) -500 (S) -500 (E)] TJ ET",
    ],
    ids=["spaces", "spacing", "offsets"],
)
def test_a_spaced_heading_is_read_as_words(tmp_path: Path, content: str) -> None:
    path = page_pdf(tmp_path / "spaced.pdf", content + at(20, 280, "\\nThe bird returns to the glove"))
    assert text_of(path).split()[:2] == ["FALCONRY", "COURSE"]


def test_letters_that_stand_alone_stay_so(tmp_path: Path) -> None:
    content = at(20, 300, "plan B or a C") + "".join(at(20 + 60 * i, 280, c) for i, c in enumerate("ABCDE"))
    assert text_of(page_pdf(tmp_path / "alone.pdf", content)) == "plan B or a C A B C D E"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("R U L E S   2 0 2 4 - 2 5", "RULES 2024-25"),
        ("S O N S ,   L T D .", "SONS, LTD."),
        ("Vitamins A B C D E K", "Vitamins A B C D E K"),
        ("1 2 3 4 5 6 7", "1 2 3 4 5 6 7"),
    ],
)
def test_digits_and_signs_are_spaced_with_letters_alone(tmp_path: Path, text: str, read: str) -> None:
    assert text_of(page_pdf(tmp_path / "spaced.pdf", at(20, 300, text))) == read


def test_a_kerned_word_is_one_word(tmp_path: Path) -> None:
    content = "BT /F 12 Tf 20 300 Td [(W) 80 (alrus T) 110 (able V) -40 (alley)] TJ ET"
    assert text_of(page_pdf(tmp_path / "kerned.pdf", content)) == "Walrus Table Valley"


def test_soft_hyphens_and_marks_without_width_do_not_cut_words(tmp_path: Path) -> None:
    letters = "deuctibl\u00ad\u200b\ufb01n\u0301\uff21"
    text = "de\u00adduct\u200bible \ufb01ne\u0301 \uff21\uff21"
    path = page_pdf(
        tmp_path / "soft.pdf", f"BT /U 12 Tf 20 300 Td {coded(letters, text)} Tj ET", more=lettered(letters)
    )
    assert text_of(path) == "deductible fin\u00e9 AA"


def test_a_word_divided_at_a_line_end_is_whole(tmp_path: Path) -> None:
    content = at(20, 300, "damage to the glass-") + at(20, 284, "house is insured, two- or three-fold")
    page = only_page(page_pdf(tmp_path / "divided.pdf", content))
    found = reading_order(page.words)
    assert [word.text for word in found][:6] == ["damage", "to", "the", "glasshouse", "", "is"]
    assert found[3].box[1] < found[4].box[1]
    assert {"two-", "three-fold"} <= {word.text for word in found}


def test_a_hyphen_that_the_page_has_elsewhere_stays(tmp_path: Path) -> None:
    content = at(20, 300, "a well-known and a well-") + at(20, 284, "known road")
    assert "well-known " in text_of(page_pdf(tmp_path / "known.pdf", content)).removeprefix("a well-known")
