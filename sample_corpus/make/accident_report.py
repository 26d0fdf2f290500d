"""A railway's accident report of 1974: printed forms filled in by typewriter, stamped, then scanned. No text layer."""

from __future__ import annotations

import io
import math
import tempfile
from pathlib import Path

import numpy as np
import pypdfium2 as pdfium
from PIL import Image, ImageFilter
from reportlab.lib.colors import HexColor, black
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from .base import CORPUS
from .layout import Sheet

DPI = 150
TILTS = (0.6, -0.8, 0.4)  # degrees, one a page
LEFT, WIDE = 64.0, A4[0] - 128
TYPED = ParagraphStyle("typed", fontName="Courier-Bold", fontSize=10.6, leading=15.5, spaceAfter=9)
PRINT = ParagraphStyle("print", fontName="Times-Roman", fontSize=9, leading=11.5, spaceAfter=4)
STAMP = HexColor("#4a4a4a")
FIELDS = (
    (("Report No.", "74/311"), ("Date of event", "6 September 1974"), ("Hour", "5.52 a.m.")),
    (("Place", "Level crossing at Thornby brickworks"), ("Kilometre", "31.4")),
    (("Train", "Goods, 22 wagons, bricks and one of oranges"), ("Locomotive", "No. 2208")),
    (("Driver", "Alwin Tasker, 58"), ("Fireman", "none"), ("Guard", "Iris Mott, 24")),
    (("Weather", "Ground fog, sight under 40 metres"), ("Rails", "wet")),
    (("Persons hurt", "none"), ("Animals hurt", "none; see over"), ("Line closed for", "7 hours")),
)
ACCOUNT = (
    "The 4.30 from Upper Mere approached the crossing at walking pace, whistling, as the fog was thick. The barriers "
    "were down. On the rails stood an elephant.",
    "Driver Tasker applied the brake and came to a stand two metres short. The animal did not withdraw. It reached "
    "over the buffer, lifted the tarpaulin of the first wagon and began to eat the oranges.",
    "Guard Mott walked back and laid detonators, as the rule demands. She then went forward and offered the contents of "
    "her lunch tin to draw the animal aside. This was not successful.",
    "The circus of the brothers Pallenberg, in winter quarters at the brickworks, was woken by telephone. The keeper, "
    "Mr Anand, arrived on a bicycle at 7.10, without shoes.",
)
STATEMENT = (
    "STATEMENT OF GUARD I. MOTT, taken at Thornby station on the same day",
    "I am twenty-four and have been with the railway since March. I have learned what to do about cattle, snow, "
    "landslips and drunken persons. There is no page about elephants.",
    "When I came near with my lamp she put her trunk on my cap, quite gently, and took it off. She held it until Mr Anand "
    "came. I was not afraid. Driver Tasker stayed in the cab and I do not blame him, he has a bad knee.",
    "Mr Anand said her name is Duchess, that she is forty-one years old, and that she had opened the bolt of the stable "
    "with a spoon. He talked to her about the oranges. She went with him after she had finished the crate.",
    "We left at 12.50. The second wagon had to be uncoupled because she had leaned on it and the axle box was hot. I ask for a new "
    "cap. The old one is no longer round.",
    "I would like it to be recorded that the barrier keeper, old Mr Finch, rang the bell the whole time, so that "
    "nobody else should drive into the fog.",
)
COSTS = (
    ("Oranges, 14 crates at 3.20", "44.80"),
    ("Tarpaulin, torn", "27.00"),
    ("Axle box, second wagon, refit", "61.50"),
    ("Overtime, three men, 7 hours", "52.40"),
    ("Delay to the milk train", "18.00"),
    ("One guard's cap", "4.75"),
    ("Total, in pounds", "208.45"),
)
FINDING = (
    "1. The crew acted correctly. No blame attaches to anybody in the service of the railway.",
    "2. The circus is liable. It has offered twelve free performances in place of money. The district manager is to decide "
    "before the end of the month.",
    "3. A spring lock, such as cannot be opened with cutlery, is to be fitted to the stable by 1 October.",
    "4. The rule book, section 9, Obstructions, shall be amended: after 'cattle' insert 'and larger'.",
)


def form(sheet: Sheet) -> None:
    head(sheet, "Form 17 b", "REPORT OF AN UNUSUAL OCCURRENCE")
    y = 150.0
    for row in FIELDS:
        wide = WIDE / len(row)
        shares = [0.66, 0.34] if len(row) == 2 else [1 / 3] * 3
        x = LEFT
        for (name, value), share in zip(row, shares, strict=True):
            wide = WIDE * share
            sheet.box(x, y, wide, 36, stroke=black, line=0.8)
            sheet.label(name, x + 4, y + 10, "Times-Italic", 8)
            sheet.label(value, x + 6, y + 28, "Courier-Bold", 10)
            x += wide
        y += 36
    sheet.label("Account of the event (use the typewriter; be brief)", LEFT, y + 22, "Times-Italic", 9)
    sheet.texts(ACCOUNT, TYPED, LEFT, y + 32, WIDE)
    stamp(sheet, 430, 700, "RECEIVED", "9 SEP 1974")
    sheet.turn()


def statement(sheet: Sheet) -> None:
    head(sheet, "Form 17 c", "EVIDENCE OF WITNESSES")
    y = sheet.texts(STATEMENT, TYPED, LEFT, 150, WIDE)
    sheet.label("signed", LEFT + 250, y + 30, "Times-Italic", 9)
    scribble(sheet, LEFT + 290, y + 28)
    sheet.turn()


def finding(sheet: Sheet) -> None:
    head(sheet, "Form 17 d", "COSTS AND FINDING")
    y = 150.0
    for name, amount in COSTS:
        sheet.box(LEFT, y, WIDE - 90, 22, stroke=black, line=0.8)
        sheet.box(LEFT + WIDE - 90, y, 90, 22, stroke=black, line=0.8)
        sheet.label(name, LEFT + 6, y + 15, "Courier-Bold", 10.4)
        sheet.label(amount, LEFT + WIDE - 8, y + 15, "Courier-Bold", 10.4, anchor="right")
        y += 22
    y = sheet.texts(FINDING, TYPED, LEFT, y + 26, WIDE)
    sheet.label("Inspector E. Galbraith, Amsel, 20 September 1974", LEFT, y + 40, "Courier-Bold", 10.4)
    scribble(sheet, LEFT + 40, y + 76)
    stamp(sheet, 420, y + 110, "CLOSED", "30 SEP 1974")
    sheet.turn()


def head(sheet: Sheet, number: str, title: str) -> None:
    sheet.label("MERE VALLEY RAILWAY", LEFT, 74, "Times-Bold", 15)
    sheet.label(number, LEFT + WIDE, 74, "Times-Roman", 10, anchor="right")
    sheet.rule(LEFT, 82, LEFT + WIDE, 82, black, 1.6)
    sheet.label(title, A4[0] / 2, 116, "Times-Bold", 16, anchor="centre")
    sheet.text(
        "To be sent to the district office within three days. Strike out what does not apply.",
        PRINT,
        LEFT,
        124,
        WIDE,
    )


def stamp(sheet: Sheet, x: float, y: float, word: str, date: str) -> None:
    canvas = sheet.canvas
    canvas.saveState()
    canvas.translate(x, sheet.height - y)
    canvas.rotate(9)
    canvas.setStrokeColor(STAMP)
    canvas.setFillColor(STAMP)
    canvas.setLineWidth(2)
    canvas.roundRect(-62, -20, 124, 46, 5)
    canvas.setFont("Helvetica-Bold", 15)
    canvas.drawCentredString(0, 8, word)
    canvas.setFont("Helvetica", 10)
    canvas.drawCentredString(0, -10, date)
    canvas.restoreState()


def scribble(sheet: Sheet, x: float, y: float) -> None:
    """A signature nobody can read."""
    steps = [i / 60 for i in range(61)]
    points = [
        (x + 110 * t, y - 13 * math.sin(17 * t) * math.exp(-1.3 * t) - 4 * math.sin(41 * t)) for t in steps
    ]
    sheet.shape(points, None, HexColor("#22252b"))


def scan(page: Image.Image, seed: int, tilt: float) -> io.BytesIO:
    """The page a little askew, its ink a little soft, the paper grey and grainy, as a JPEG."""
    rng = np.random.default_rng(seed)
    grey = page.convert("L").rotate(tilt, Image.Resampling.BICUBIC, fillcolor=225)
    soft = np.asarray(grey.filter(ImageFilter.GaussianBlur(0.7)), dtype=np.float64)
    high, wide = soft.shape
    light = 0.93 - 0.05 * np.linspace(0, 1, high)[:, None] - 0.04 * np.linspace(1, 0, wide)[None] ** 3
    noisy = soft * light + 12 + rng.normal(0, 6, soft.shape)
    stream = io.BytesIO()
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(stream, "JPEG", quality=55)
    stream.seek(0)
    return stream


def main() -> None:
    canvas = Canvas(str(CORPUS / "accident-report-scan.pdf"), pagesize=A4, invariant=1)
    canvas.setTitle("Scan 0311")
    canvas.setAuthor("MetaEmbed demo")
    with tempfile.TemporaryDirectory() as folder:
        clean = Path(folder) / "clean.pdf"
        sheet = Sheet(clean, "clean", A4)
        for draw in (form, statement, finding):
            draw(sheet)
        sheet.save()
        with pdfium.PdfDocument(clean) as document:
            images = [page.render(scale=DPI / 72).to_pil() for page in document]
    for number, (image, tilt) in enumerate(zip(images, TILTS, strict=True)):
        canvas.drawImage(ImageReader(scan(image, number, tilt)), 0, 0, *A4)
        canvas.showPage()
    canvas.save()
