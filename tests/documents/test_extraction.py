"""Reading order, OCR and image tags, and their combination on a page, with the real models."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle, getSampleStyleSheet
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    FrameBreak,
    PageTemplate,
    Paragraph,
    SimpleDocTemplate,
    Table,
)

from metaembed_demo.core.types import Page, Word
from metaembed_demo.documents.extraction import read, read_image
from metaembed_demo.documents.file_types import uploads
from metaembed_demo.documents.image_colours import colours, is_drawing, is_grey
from metaembed_demo.documents.imagenet_labels import CATEGORIES, categories, label
from metaembed_demo.documents.loader import read_files
from metaembed_demo.documents.reading_order import reading_order

pytestmark = pytest.mark.slow

VOCABULARY = """harbour lantern ledger copper meadow voyage engine timber quarter margin chapel orchard signal
bridge winter cargo letter pasture kettle gravel council summit valley ribbon anchor mirror thunder basket
compass farmer granite hollow island journey kingdom ladder market needle office pepper"""
STYLES = getSampleStyleSheet()
BODY = ParagraphStyle("body", parent=STYLES["BodyText"], fontSize=9.5, leading=11.5, alignment=4)
RAGGED = ParagraphStyle("ragged", parent=BODY, alignment=0)


def prose(rng: random.Random, count: int) -> str:
    return " ".join(rng.choices(VOCABULARY.split(), k=count))


def one(path: Path) -> Page:
    [page] = read_files(uploads([path]))
    assert isinstance(page, Page)
    return page


def columns(path: Path, count: int, gap: float, rng: random.Random) -> list[str]:
    """A titled page in columns with headings and a small table; its words as they should be read."""
    margin, head = 50, 80
    width = (A4[0] - 2 * margin - gap * (count - 1)) / count
    bare = {"leftPadding": 0, "rightPadding": 0}
    frames = [Frame(margin, A4[1] - margin - head, A4[0] - 2 * margin, head, id="title", **bare)]
    for i in range(count):
        x = margin + i * (width + gap)
        frames.append(Frame(x, margin, width, A4[1] - 2 * margin - head, id=f"column{i}", **bare))
    title, author = "On the " + prose(rng, 11), "By " + prose(rng, 6)
    story: list[Flowable] = [Paragraph(title, STYLES["Title"]), Paragraph(author, BODY), FrameBreak()]
    words = [title, author]
    table = [["Method", "Recall", "Gain"], ["Ours", "0.81", "0.77"], ["Theirs", "0.62", "0.58"]]
    for i in range(4 * count):
        heading, text = f"{i + 1} {prose(rng, 2)}", prose(rng, 110 // count)
        story += [Paragraph(heading, STYLES["Heading4"]), Paragraph(text, BODY)]
        words += [heading, text]
        if i == 1:
            story.append(Table(table, colWidths=width / 3.2))
            words += [cell for row in table for cell in row]
    document = BaseDocTemplate(str(path), pagesize=A4)
    document.addPageTemplates([PageTemplate("page", frames)])
    document.build(story)
    return " ".join(words).split()


def likeness(expected: Sequence[str], words: Sequence[Word]) -> float:
    return SequenceMatcher(None, expected, [word.text for word in words], autojunk=False).ratio()


# Reading order


@pytest.mark.parametrize(("count", "gap"), [(2, 14.0), (2, 10.0), (3, 14.0)])
def test_columns_are_read_one_after_another(tmp_path: Path, count: int, gap: float) -> None:
    rng = random.Random(count)
    expected = columns(tmp_path / "paper.pdf", count, gap, rng)
    page = one(tmp_path / "paper.pdf")
    assert likeness(expected, read(page).words) > 0.995
    mixed = list(page.words)
    rng.shuffle(mixed)
    assert likeness(expected, read(page.with_words(mixed)).words) > 0.995


def test_columns_in_the_wrong_file_order(tmp_path: Path) -> None:
    """Line by line across both columns, as some typesetters write files, with the title last."""
    rng = random.Random(9)
    left, right = ([prose(rng, 5) for _ in range(40)] for _ in range(2))
    canvas = Canvas(str(tmp_path / "across.pdf"), pagesize=A4)
    canvas.setFont("Times-Roman", 9)
    for row, pair in enumerate(zip(left, right, strict=True)):
        for x, line in zip((50, 310), pair, strict=True):
            canvas.drawString(x, 700 - 12 * row, line)
    canvas.setFont("Times-Bold", 20)
    canvas.drawCentredString(A4[0] / 2, 760, "A title that stands above both of the columns")
    canvas.save()
    page = one(tmp_path / "across.pdf")
    expected = " ".join(["A title that stands above both of the columns", *left, *right]).split()
    assert likeness(expected, page.words) < 0.7
    assert [word.text for word in read(page).words] == expected


def build(path: Path, story: list[Flowable]) -> Page:
    SimpleDocTemplate(str(path), pagesize=A4).build(story)
    return one(path)


@pytest.mark.parametrize("style", [BODY, RAGGED], ids=["justified", "ragged"])
def test_one_column_is_not_torn_apart(tmp_path: Path, style: ParagraphStyle) -> None:
    rng = random.Random(3)
    texts = [prose(rng, rng.randint(8, 90)) for _ in range(9)]
    page = build(tmp_path / "letter.pdf", [Paragraph(text, style) for text in texts])
    assert [word.text for word in read(page).words] == " ".join(texts).split()


@pytest.mark.parametrize("width", [3, 5, 11])
def test_tables_stay_in_their_rows(tmp_path: Path, width: int) -> None:
    rng = random.Random(width)
    rows = [["Item", *(f"C{column}" for column in range(1, width))]]
    rows += [[prose(rng, 3), *(str(rng.randint(1, 999)) for _ in range(1, width))] for _ in range(30)]
    page = build(tmp_path / "table.pdf", [Paragraph("Price list", STYLES["Title"]), Table(rows)])
    expected = ["Price", "list", *" ".join(cell for row in rows for cell in row).split()]
    assert [word.text for word in read(page).words] == expected


def test_an_invoice_stays_in_its_rows(tmp_path: Path) -> None:
    """Addresses and items form two aligned halves that are not columns of prose."""
    heads = [("Marrow Hill Farm Shop", "Invoice number PP-3391"), ("Attn. Dora Pike", "Date 2 May 2024")]
    items = [("Redesign of the online shop, fixed price", "1 project 2,150.00 2,150.00")]
    items += [(f"Product photographs of the {word} harvest", "34 photos 12.00 408.00") for word in "abcdefgh"]
    canvas = Canvas(str(tmp_path / "invoice.pdf"), pagesize=A4)
    canvas.setFont("Helvetica", 9)
    rows = [*heads, *items]
    for row, pair in enumerate(rows):
        for x, line in zip((60, 340), pair, strict=True):
            canvas.drawString(x, 700 - 14 * row, line)
    canvas.save()
    expected = " ".join(cell for pair in rows for cell in pair).split()
    assert [word.text for word in read(one(tmp_path / "invoice.pdf")).words] == expected


def test_two_lists_side_by_side_on_a_slide(tmp_path: Path) -> None:
    rng = random.Random(4)
    lists = [[f"• {prose(rng, 4)}" for _ in range(6)] for _ in range(2)]
    canvas = Canvas(str(tmp_path / "slide.pdf"), pagesize=(960, 540))
    canvas.setFont("Helvetica-Bold", 36)
    canvas.drawString(60, 460, "Where the two roads lead us next")
    canvas.setFont("Helvetica", 20)
    for row in range(6):
        for x, lines in zip((60, 520), lists, strict=True):
            canvas.drawString(x, 390 - 40 * row, lines[row])
    canvas.save()
    expected = " ".join(["Where the two roads lead us next", *lists[0], *lists[1]]).split()
    assert [word.text for word in read(one(tmp_path / "slide.pdf")).words] == expected


def test_sideways_words_do_not_disturb_the_lines(tmp_path: Path) -> None:
    canvas = Canvas(str(tmp_path / "stamped.pdf"), pagesize=A4)
    canvas.drawString(100, 700, "first line here")
    canvas.drawString(100, 680, "second line here")
    canvas.rotate(90)
    canvas.drawString(600, -40, "sideways stamp")
    canvas.save()
    text = read(one(tmp_path / "stamped.pdf")).text
    assert text == "first line here second line here sideways stamp"


def test_order_loses_and_adds_nothing() -> None:
    rng = np.random.default_rng(0)
    for count in (0, 1, 2, 7, 300):
        corners = rng.random((count, 2)) * 0.9
        words = [
            Word(f"w{i}", (float(x), float(y), float(x + 0.05), float(y + 0.015)))
            for i, (x, y) in enumerate(corners)
        ]
        assert sorted(word.text for word in reading_order(words, 0.7)) == sorted(word.text for word in words)


# OCR


def typeset(
    lines: Sequence[str], size: tuple[int, int], points: int = 22, at: tuple[int, int] = (60, 60)
) -> Image.Image:
    image = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(points)
    for row, line in enumerate(lines):
        pen.text((at[0], at[1] + row * int(points * 1.6)), line, "black", font)
    return image


def scanned(image: Image.Image, degrees: float = 0.0) -> Image.Image:
    """As from a worn scanner: tilted, blurred, grey and noisy."""
    tilted = image.convert("L").rotate(degrees, Image.Resampling.BICUBIC, fillcolor=255)
    soft = np.asarray(tilted.filter(ImageFilter.GaussianBlur(0.6)), dtype=np.float64)
    noisy = soft * 0.85 + 25 + np.random.default_rng(0).normal(0, 8, soft.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).convert("RGB")


LETTER = [
    "Dear Madam, thank you for the parcel of lanterns",
    "that reached our harbour office on the third of May.",
    "Two of the copper kettles were dented on the voyage",
    "and we ask you to send replacements before winter.",
    "Yours faithfully, Edmund Granville, Quartermaster",
]


def test_a_scanned_letter_is_read_and_nothing_else(tmp_path: Path) -> None:
    scanned(typeset(LETTER, (800, 1100)), 0.8).save(tmp_path / "letter.png")
    page = read(one(tmp_path / "letter.png"))
    assert {word.kind for word in page.words} == {"ocr"}
    assert likeness(" ".join(LETTER).split(), page.words) > 0.9


def test_ocr_words_stand_where_the_ink_is() -> None:
    image = typeset(["meadow lantern granite"], (600, 160), 28, (80, 60))
    words = {word.text: word.box for word in read_image(image).words if word.kind == "ocr"}
    font = ImageFont.load_default(28)
    x = 80.0
    for text in ("meadow", "lantern", "granite"):
        width = font.getlength(text)
        x0, y0, x1, y1 = words[text]
        assert x0 == pytest.approx(x / 600, abs=0.02)
        assert x1 == pytest.approx((x + width) / 600, abs=0.02)
        assert y0 < 75 / 160 < y1
        x += width + font.getlength(" ")


def test_a_scan_in_two_columns_is_read_in_order() -> None:
    rng = random.Random(1)
    left, right = ([prose(rng, 4) for _ in range(9)] for _ in range(2))
    image = typeset(left, (1100, 520), 20, (40, 110))
    image.paste(typeset(right, (520, 400), 20, (0, 0)), (580, 110))
    image.paste(typeset(["The title runs over both of these columns"], (1000, 60), 32, (0, 0)), (150, 30))
    expected = " ".join(["The title runs over both of these columns", *left, *right]).split()
    found = [word for word in read_image(scanned(image, -0.7)).words if word.kind == "ocr"]
    assert likeness(expected, found) > 0.93


def test_a_pdf_that_is_only_a_scan(tmp_path: Path) -> None:
    canvas = Canvas(str(tmp_path / "scan.pdf"), pagesize=(400, 550))
    canvas.drawImage(ImageReader(scanned(typeset(LETTER, (800, 1100)))), 0, 0, 400, 550)
    canvas.drawString(5, 5, "p. 1")  # a stamp is not all of the text
    canvas.save()
    page = read(one(tmp_path / "scan.pdf"))
    assert {word.kind for word in page.words} == {"ocr", "text"}
    assert "lanterns" in page.text


def test_a_text_layer_of_nameless_glyphs_is_not_trusted() -> None:
    image = typeset(LETTER, (800, 500))
    garbled = [Word("\ue001\ue002\ue003\ue004", (0.1, 0.1 * i, 0.2, 0.1 * i + 0.05)) for i in range(9)]
    words = read(Page("x", "x.pdf", 1, image, tuple(garbled))).words
    assert "parcel" in [word.text for word in words]


# Visual words


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    """The Summer Palace in Beijing, a sample that scikit-learn ships; sentence-transformers needs that."""
    return Image.open(files("sklearn.datasets.images") / "china.jpg").convert("RGB")  # type: ignore[arg-type]


def test_a_photograph_is_tagged(photograph: Image.Image, tmp_path: Path) -> None:
    photograph.save(tmp_path / "palace.png")
    page = read(one(tmp_path / "palace.png"))
    texts = [word.text for word in page.words]
    assert {word.kind for word in page.words} == {"visual"}
    assert texts[0] == "palace"
    assert {"building", "photograph"} <= set(texts)
    assert len(texts) == len(set(texts)) <= 30
    assert read_image(photograph).words == page.words


def test_tags_of_an_embedded_image_have_its_box(photograph: Image.Image, tmp_path: Path) -> None:
    canvas = Canvas(str(tmp_path / "report.pdf"), pagesize=(400, 600))
    canvas.drawString(40, 560, "Our journey took us to a lake near the capital")
    canvas.drawImage(ImageReader(photograph), 100, 150, 240, 180)
    canvas.save()
    page = read(one(tmp_path / "report.pdf"))
    words = {word.text: word for word in page.words if word.kind == "visual"}
    assert page.text.startswith("Our journey took us to a lake near the capital ")
    assert "palace" in words
    x0, y0, x1, y1 = words["palace"].box
    assert x0 >= 0.25 - 0.01
    assert x1 <= 0.85 + 0.01
    assert y0 >= 0.45 - 0.01
    assert y1 <= 0.75 + 0.01
    assert words["photograph"].box == pytest.approx((0.25, 0.45, 0.85, 0.75), abs=0.01)


def test_text_inside_a_picture_on_a_page_is_read_in_its_place(tmp_path: Path) -> None:
    canvas = Canvas(str(tmp_path / "poster.pdf"), pagesize=(400, 600))
    canvas.drawString(40, 560, "The poster below hung in the station")
    poster = typeset(["GRANITE FESTIVAL", "Saturday evening"], (500, 240), 40)
    canvas.drawImage(ImageReader(poster), 50, 200, 300, 144)
    canvas.drawString(40, 100, "It was taken down in June")
    canvas.save()
    page = read(one(tmp_path / "poster.pdf"))
    found = [(word.text, word.kind) for word in page.words if word.kind != "visual"]
    texts = [text for text, _ in found]
    assert ("FESTIVAL", "ocr") in found
    assert texts.index("station") < texts.index("FESTIVAL") < texts.index("taken")
    box = next(word.box for word in page.words if word.text == "FESTIVAL")
    assert 0.125 < box[0] < box[2] < 0.875
    assert 0.42 < box[1] < box[3] < 0.67


def test_a_page_with_its_scan_behind_the_text_is_not_read_twice(tmp_path: Path) -> None:
    """A scan with an invisible text layer."""
    canvas = Canvas(str(tmp_path / "layered.pdf"), pagesize=(400, 550))
    canvas.drawImage(ImageReader(scanned(typeset(LETTER, (800, 1100)))), 0, 0, 400, 550)
    for row, line in enumerate(LETTER):
        text = canvas.beginText(30, 505 - 17.5 * row)
        text.setTextRenderMode(3)
        text.textLine(line)
        canvas.drawText(text)
    canvas.save()
    page = read(one(tmp_path / "layered.pdf"))
    assert {word.kind for word in page.words} == {"text"}
    assert page.text == " ".join(LETTER)


def test_a_white_diagram_gets_few_words() -> None:
    image = Image.new("RGB", (800, 600), "white")
    pen = ImageDraw.Draw(image)
    for x in (100, 300, 500):
        pen.rectangle((x, 200, x + 120, 300), outline="black", width=3)
    visual = [word.text for word in read_image(image).words if word.kind == "visual"]
    assert "drawing" in visual
    assert len(visual) <= 6


@pytest.mark.parametrize(
    ("tone", "name"),
    [
        ((220, 30, 30), "red"),
        ((240, 140, 20), "orange"),
        ((245, 225, 40), "yellow"),
        ((40, 150, 50), "green"),
        ((40, 190, 190), "turquoise"),
        ((30, 60, 200), "blue"),
        ((130, 50, 180), "purple"),
        ((250, 150, 190), "pink"),
        ((110, 65, 30), "brown"),
        ((225, 205, 165), "beige"),
        ((10, 10, 12), "black"),
        ((250, 250, 250), "white"),
        ((128, 128, 130), "grey"),
    ],
)
def test_colours_have_their_everyday_names(tone: tuple[int, int, int], name: str) -> None:
    assert colours(Image.new("RGB", (50, 50), tone)) == [name]


def test_medium_tags(photograph: Image.Image) -> None:
    assert not is_drawing(photograph)
    assert not is_grey(photograph)
    assert is_grey(photograph.convert("L").convert("RGB"))
    chart = Image.new("RGB", (400, 300), "white")
    ImageDraw.Draw(chart).rectangle((50, 100, 120, 280), fill="red")
    assert is_drawing(chart)


def test_category_table_names_what_it_should() -> None:
    members = {name: {label(int(i)) for i in numbers} for name, numbers in categories().items()}
    assert "golden retriever" in {name.lower() for name in members["dog"]}
    assert members["cat"] == {"tabby cat", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat"}
    assert {"bald eagle", "flamingo", "king penguin", "rooster"} <= members["bird"]
    assert {"sports car", "minivan"} <= members["car"] <= members["vehicle"]
    assert {"banana", "lemon"} <= members["fruit"] <= members["food"]
    assert {"acoustic guitar", "violin", "grand piano"} <= members["musical instrument"]
    assert set(members) == set(CATEGORIES)
    assert all(0 <= int(i) < 1000 for numbers in categories().values() for i in numbers)


# Around the models


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (500, 2), (20, 20)])
def test_tiny_and_odd_pictures_are_read(size: tuple[int, int]) -> None:
    words = read_image(Image.new("RGB", size, "red")).words
    assert "red" in [word.text for word in words]


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1"])
def test_query_pictures_of_any_mode(mode: str) -> None:
    assert read_image(Image.new("RGB", (40, 40), "white").convert(mode)).words


def test_a_page_without_its_picture_keeps_its_words() -> None:
    words = (Word("right", (0.5, 0.1, 0.6, 0.12)), Word("left", (0.1, 0.1, 0.2, 0.12)))
    assert read(Page("x", "x.pdf", 1, None, words)).text == "left right"


def test_no_model_is_loaded_by_importing() -> None:
    code = (
        "import sys, metaembed_demo.documents.extraction, metaembed_demo.documents.loader; "
        "print('rapidocr' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("False", "")


def test_reading_is_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    read_image(typeset(["quiet please"], (300, 120)))
    assert capfd.readouterr() == ("", "")


def in_threads(work: Callable[[], object], count: int = 3) -> list[object]:
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(work())) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_threads_read_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns(tmp_path / "paper.pdf", 2, 14, random.Random(0))
    image = typeset(LETTER[:2], (800, 200))

    def work() -> object:
        pages = [page for page in read_files(uploads([tmp_path / "paper.pdf"])) if isinstance(page, Page)]
        return tuple(page.id for page in pages), read(pages[0]).words, read_image(image).words

    monkeypatch.setenv("PATH", "")  # all of the drawing in pdfium, which is not thread-safe by itself
    found = in_threads(work)
    assert len(found) == 3
    assert found[0] == found[1] == found[2] == work()
