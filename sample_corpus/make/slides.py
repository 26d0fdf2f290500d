"""Ten slides about a town's cycling plan: few words, big type, one idea each."""

from __future__ import annotations

from typing import Any

from reportlab.lib.colors import HexColor, white
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Frame, Paragraph

from .base import CORPUS, styles

WIDTH, HEIGHT = 960, 540
INK, LIME, MIST, CORAL = HexColor("#102a43"), HexColor("#84cc16"), HexColor("#f0f4f8"), HexColor("#f97066")
STYLE = styles(size=20, accent="#102a43")


def main() -> None:
    canvas = Canvas(str(CORPUS / "slides.pdf"), pagesize=(WIDTH, HEIGHT), invariant=1)
    canvas.setTitle("Halbrook rides")
    canvas.setAuthor("MetaEmbed demo")
    for number, slide in enumerate(
        (cover, why, counts, crashes, quote, network, timeline, money, junction, close), 1
    ):
        slide(canvas)
        canvas.setFont("Helvetica", 11)
        canvas.setFillColor(HexColor("#829ab1"))
        canvas.drawString(48, 22, "Halbrook rides · plan for 2025 to 2031 · an invented town")
        canvas.drawRightString(WIDTH - 48, 22, str(number))
        canvas.showPage()
    canvas.save()


def head(canvas: Any, text: str) -> None:
    canvas.setFillColor(white)
    canvas.rect(0, 0, WIDTH, HEIGHT, stroke=0, fill=1)
    canvas.setFillColor(LIME)
    canvas.rect(48, HEIGHT - 62, 56, 6, stroke=0, fill=1)
    canvas.setFillColor(INK)
    canvas.setFont("Helvetica-Bold", 34)
    canvas.drawString(48, HEIGHT - 108, text)


def bullets(canvas: Any, lines: tuple[str, ...], x: float = 48, width: float = 860, top: float = 400) -> None:
    story = [Paragraph(f'<font color="#84cc16">■</font>&nbsp; {line}', STYLE["body"]) for line in lines]
    Frame(x, 50, width, top - 50, leftPadding=0).addFromList(story, canvas)


def cover(canvas: Any) -> None:
    canvas.setFillColor(INK)
    canvas.rect(0, 0, WIDTH, HEIGHT, stroke=0, fill=1)
    canvas.setStrokeColor(LIME)
    canvas.setLineWidth(12)
    for x in (640, 840):
        canvas.circle(x, 170, 82, stroke=1, fill=0)
    canvas.setLineWidth(9)
    for x0, y0, x1, y1 in (
        (640, 170, 700, 290),
        (700, 290, 805, 290),
        (700, 290, 745, 170),
        (745, 170, 805, 290),
        (640, 170, 745, 170),
        (840, 170, 800, 320),
        (800, 320, 835, 328),
        (685, 310, 720, 310),
    ):
        canvas.line(x0, y0, x1, y1)
    canvas.setFillColor(white)
    canvas.setFont("Helvetica-Bold", 56)
    canvas.drawString(48, 350, "Halbrook rides")
    canvas.setFont("Helvetica", 24)
    canvas.drawString(48, 305, "Forty kilometres of safe lanes by 2031")
    canvas.drawString(48, 120, "Town council, 14 January 2025")


def why(canvas: Any) -> None:
    head(canvas, "Why now")
    bullets(
        canvas,
        (
            "Half of all car journeys in Halbrook are shorter than four kilometres",
            "The ring road is full from 7:20 to 8:50, every school day",
            "One household in five owns no car at all",
            "Rents near the station have pushed people to where no bus goes",
        ),
    )


def counts(canvas: Any) -> None:
    head(canvas, "Riders over the Mill Bridge, each weekday")
    values = (("2016", 410), ("2018", 560), ("2020", 1180), ("2022", 1490), ("2024", 2070))
    for i, (year, value) in enumerate(values):
        x, high = 120 + i * 150, value / 2070 * 270
        canvas.setFillColor(LIME if year == "2024" else HexColor("#bcccdc"))
        canvas.rect(x, 90, 90, high, stroke=0, fill=1)
        canvas.setFillColor(INK)
        canvas.setFont("Helvetica-Bold", 20)
        canvas.drawCentredString(x + 45, 98 + high, f"{value:,}")
        canvas.setFont("Helvetica", 18)
        canvas.drawCentredString(x + 45, 62, year)


def crashes(canvas: Any) -> None:
    head(canvas, "Where people get hurt")
    rows = (
        ("Station Square", 19),
        ("Brewer's Corner", 14),
        ("Ring road, exit 3", 11),
        ("School Lane", 6),
        ("Everywhere else", 9),
    )
    for i, (place, value) in enumerate(rows):
        y = 350 - i * 58
        canvas.setFillColor(INK)
        canvas.setFont("Helvetica", 20)
        canvas.drawRightString(300, y + 8, place)
        canvas.setFillColor(CORAL if i == 0 else HexColor("#fbc4bf"))
        canvas.rect(320, y, value * 26, 32, stroke=0, fill=1)
        canvas.setFillColor(INK)
        canvas.drawString(330 + value * 26, y + 8, str(value))
    canvas.setFont("Helvetica", 14)
    canvas.drawString(320, 70, "Injured cyclists, police reports 2019 to 2024")


def quote(canvas: Any) -> None:
    canvas.setFillColor(MIST)
    canvas.rect(0, 0, WIDTH, HEIGHT, stroke=0, fill=1)
    canvas.setFillColor(INK)
    canvas.setFont("Times-Italic", 38)
    for i, line in enumerate(
        (
            "“I would let my daughter ride to school",
            "if there were one continuous kerb",
            "between her and the lorries.”",
        )
    ):
        canvas.drawString(90, 350 - i * 54, line)
    canvas.setFont("Helvetica", 18)
    canvas.drawString(90, 170, "Answer 1,204 of 3,377 in the residents' survey, autumn 2024")


def network(canvas: Any) -> None:
    head(canvas, "Five lines, one colour each")
    lines = (
        ("Red", "#ef4444", "Station – Hospital – University", 9.4),
        ("Blue", "#3b82f6", "Harbour – Market – Stadium", 7.8),
        ("Green", "#22c55e", "Ring through the parks", 12.1),
        ("Yellow", "#eab308", "School Lane – Library", 3.2),
        ("Violet", "#8b5cf6", "Old railway to Upper Halbrook", 7.5),
    )
    for i, (name, colour, way, km) in enumerate(lines):
        y = 355 - i * 62
        canvas.setFillColor(HexColor(colour))
        canvas.roundRect(48, y - 6, 110, 38, 19, stroke=0, fill=1)
        canvas.setFillColor(white)
        canvas.setFont("Helvetica-Bold", 18)
        canvas.drawCentredString(103, y + 7, name)
        canvas.setFillColor(INK)
        canvas.setFont("Helvetica", 22)
        canvas.drawString(185, y + 6, way)
        canvas.drawRightString(WIDTH - 60, y + 6, f"{km} km")


def timeline(canvas: Any) -> None:
    head(canvas, "What happens when")
    steps = (
        ("2025", "Paint and posts", "School Lane"),
        ("2026", "New junction", "Station Square"),
        ("2027", "Park ring", "first half"),
        ("2029", "Old railway", "tunnel lit"),
        ("2031", "All five lines", "open"),
    )
    canvas.setStrokeColor(INK)
    canvas.setLineWidth(4)
    canvas.line(90, 260, 870, 260)
    for i, (year, what, where) in enumerate(steps):
        x = 110 + i * 185
        canvas.setFillColor(LIME)
        canvas.circle(x, 260, 16, stroke=1, fill=1)
        canvas.setFillColor(INK)
        canvas.setFont("Helvetica-Bold", 24)
        canvas.drawCentredString(x, 300, year)
        canvas.setFont("Helvetica", 18)
        canvas.drawCentredString(x, 212, what)
        canvas.drawCentredString(x, 188, where)


def money(canvas: Any) -> None:
    head(canvas, "Who pays the 31 million")
    start = 90.0
    for _, share, colour in (
        ("State fund", 58, "#102a43"),
        ("Town", 27, "#84cc16"),
        ("Railway", 9, "#bcccdc"),
        ("Employers", 6, "#f97066"),
    ):
        canvas.setFillColor(HexColor(colour))
        canvas.wedge(90, 80, 390, 380, start, share * 3.6, stroke=0, fill=1)
        start += share * 3.6
    for i, (text, colour) in enumerate(
        (
            ("State climate fund 58 %", "#102a43"),
            ("Town budget 27 %", "#84cc16"),
            ("Railway company 9 %", "#bcccdc"),
            ("Employers on the ring 6 %", "#f97066"),
        )
    ):
        y = 330 - i * 56
        canvas.setFillColor(HexColor(colour))
        canvas.rect(470, y, 26, 26, stroke=0, fill=1)
        canvas.setFillColor(INK)
        canvas.setFont("Helvetica", 24)
        canvas.drawString(512, y + 4, text)


def junction(canvas: Any) -> None:
    head(canvas, "Station Square, before and after")
    bullets(
        canvas,
        ("Before: four lanes, one island", "Green for walkers: nine seconds", "Bicycles mixed with taxis"),
        48,
        400,
    )
    bullets(
        canvas,
        (
            "After: two lanes and a raised track",
            "Green for walkers: twenty-four seconds",
            "Taxis move to the north exit",
            "112 sheltered stands, 20 with a socket",
        ),
        500,
        410,
    )


def close(canvas: Any) -> None:
    head(canvas, "What we ask of you tonight")
    bullets(
        canvas,
        (
            "Approve the plan as a whole, not street by street",
            "Release 1.9 million for the first year",
            "Lower the limit on School Lane to 30 km/h from Easter",
            "Come for a ride: Saturday, 10 o'clock, outside the town hall, helmets are lent",
        ),
    )
