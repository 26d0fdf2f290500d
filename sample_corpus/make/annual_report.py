"""The annual report of an umbrella maker: charts, tables and a letter."""

from __future__ import annotations

from collections.abc import Sequence

from reportlab.lib.colors import HexColor, white
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.platypus import Paragraph

from . import annual_report_text as words
from .base import CORPUS
from .charts import bars, lines, lying_bars, ring
from .layout import Sheet

NAVY, TEAL, SUN, CORAL = HexColor("#15304f"), HexColor("#2a8c8c"), HexColor("#e0a526"), HexColor("#d0583f")
MIST, STONE, INK, MUTED = HexColor("#eef3f6"), HexColor("#9fb2c3"), HexColor("#1f2a36"), HexColor("#66727f")
LEFT, WIDE = 62.0, A4[0] - 124
BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=11.4, leading=17.4, textColor=INK, spaceAfter=10)
LETTER = ParagraphStyle(
    "letter", parent=BODY, fontName="Times-Roman", fontSize=13.6, leading=20.5, spaceAfter=12
)
HEAD = ParagraphStyle("head", fontName="Times-Bold", fontSize=27, leading=31, textColor=NAVY, spaceAfter=10)
SUB = ParagraphStyle(
    "sub", fontName="Helvetica-Bold", fontSize=11.5, leading=15, textColor=TEAL, spaceAfter=5
)
NOTE = ParagraphStyle("note", parent=BODY, fontSize=9.6, leading=14, textColor=MUTED, spaceAfter=5)
CELL = ParagraphStyle("cell", parent=BODY, fontSize=10, leading=13.5, spaceAfter=0)
GRID = [
    ("FONT", (0, 0), (-1, -1), "Helvetica", 10),
    ("FONT", (0, 0), (-1, 0), "Helvetica-Bold", 9),
    ("TEXTCOLOR", (0, 0), (-1, -1), INK),
    ("TEXTCOLOR", (0, 0), (-1, 0), white),
    ("BACKGROUND", (0, 0), (-1, 0), NAVY),
    ("ALIGN", (1, 0), (-1, -1), "RIGHT"),
    ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
    ("LINEBELOW", (0, 1), (-1, -1), 0.4, STONE),
    ("TOPPADDING", (0, 0), (-1, -1), 5),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 5),
]
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def start(sheet: Sheet, section: str, head: str) -> float:
    """The running head, the page number and the page's title; returns the y below them."""
    sheet.box(0, 0, 14, A4[1], fill=TEAL)
    sheet.label(section.upper(), LEFT, 46, "Helvetica-Bold", 7.6, TEAL)
    sheet.label("Hallam & Reed · Annual Report 2024 · an invented company", LEFT, 814, size=7.4, colour=MUTED)
    sheet.label(str(sheet.number), LEFT + WIDE, 814, "Helvetica-Bold", 9, NAVY, "right")
    return sheet.text(head, HEAD, LEFT, 62, WIDE)


def panel(sheet: Sheet, y: float, high: float, title: str, unit: str) -> None:
    sheet.box(LEFT - 14, y, WIDE + 28, high, fill=MIST, radius=6)
    sheet.label(title, LEFT, y + 22, "Helvetica-Bold", 10.5, NAVY)
    sheet.label(unit, LEFT + WIDE, y + 22, "Helvetica", 8, MUTED, "right")


def cover(sheet: Sheet) -> None:
    sheet.box(0, 0, A4[0], A4[1], fill=NAVY)
    sheet.box(0, 250, A4[0], 330, fill=white)
    sheet.picture("umbrella.png", 132, 262, 330, 306, crop=False)
    sheet.label("Hallam & Reed", LEFT, 120, "Times-Bold", 44, white)
    sheet.label("Umbrellas and rainwear since 1871", LEFT, 150, "Times-Italic", 16, STONE)
    sheet.label("Annual Report 2024", LEFT, 660, "Helvetica-Bold", 26, white)
    sheet.label("Mended, not ended: the year of the spare rib", LEFT, 688, "Helvetica", 13, SUN)
    sheet.label(
        "Company and figures are invented for this demo. Drawing: Nicu Buculei.",
        LEFT,
        800,
        size=8,
        colour=STONE,
    )
    sheet.turn()


def glance(sheet: Sheet) -> None:
    y = start(sheet, "The year in brief", "2024 at a glance")
    tiles = (
        ("€ 83.6 m", "net sales, 17 per cent up", TEAL),
        ("€ 9.8 m", "operating profit", NAVY),
        ("742", "people at five sites", CORAL),
        ("38,200", "umbrellas mended", SUN),
    )
    for i, (figure, what, colour) in enumerate(tiles):
        x = LEFT + i * (WIDE + 10) / 4
        sheet.box(x, y + 4, WIDE / 4 - 8, 82, fill=colour, radius=5)
        sheet.label(figure, x + 10, y + 46, "Times-Bold", 21, white)
        sheet.label(what, x + 10, y + 68, size=7.8, colour=white)
    y += 108
    panel(sheet, y, 222, "Net sales over ten years", "millions of euro")
    years = [str(year) for year in range(2015, 2025)]
    sales = {"": (48.2, 51.7, 50.9, 55.4, 58.8, 61.2, 68.9, 74.5, 71.3, 83.6)}
    bars(sheet, (LEFT + 22, y + 44, WIDE - 22, 146), years, sales, [TEAL], 100, 25)
    y = sheet.text("Milestones", SUB, LEFT, y + 240, WIDE)
    sheet.texts(
        (
            "<b>February.</b> The river enters the warehouse at Dunmore. For eleven weeks parcels leave from tents.",
            "<b>May.</b> Marsh & Daughter, oilskin makers at Port Selmar since 1904, join the group. Night shifts end.",
            "<b>September.</b> A drawer of spare ribs, tips and springs arrives in each of our fifty-eight shops.",
            "<b>November.</b> A pump that draws warmth from the river takes over the heating at Hallam Bridge.",
            "<b>December.</b> The wettest Christmas market in living memory sells out of pocket models in two days.",
        ),
        BODY,
        LEFT,
        y,
        WIDE,
    )
    sheet.turn()


def letter(sheet: Sheet) -> None:
    y = start(sheet, "To our shareholders", "A drawer of spare parts")
    y = sheet.texts(words.LETTER, LETTER, LEFT, y + 4, WIDE)
    sheet.label("Casper Lindgren", LEFT, y + 26, "Times-BoldItalic", 19, NAVY)
    sheet.label("Chief executive", LEFT, y + 42, "Times-Roman", 10, MUTED)
    sheet.turn()


def regions(sheet: Sheet) -> None:
    y = start(sheet, "Markets", "Further north, further up")
    y = sheet.texts(words.REGIONS, BODY, LEFT, y, WIDE) + 6
    panel(sheet, y, 330, "Net sales by market", "millions of euro")
    sales = {"2023": (30.1, 14.9, 13.8, 8.2, 4.3), "2024": (34.7, 14.2, 21.6, 6.4, 6.7)}
    markets = ("Home", "British Isles", "Scandinavia", "Alpine countries", "Overseas")
    bars(sheet, (LEFT + 22, y + 50, WIDE - 22, 220), markets, sales, [STONE, TEAL], 40, 10)
    sheet.turn()


def products(sheet: Sheet) -> None:
    y = start(sheet, "Products", "What people carried home")
    y = sheet.texts(words.PRODUCTS, BODY, LEFT, y, WIDE) + 6
    panel(sheet, y, 256, "Share of net sales in 2024", "per cent")
    shares = {
        "Long umbrellas": 34,
        "Pocket umbrellas": 29,
        "Raincoats": 21,
        "Parasols": 9,
        "Repairs and parts": 5,
        "Licences": 2,
    }
    ring(sheet, LEFT + 112, y + 142, 88, shares, [NAVY, TEAL, SUN, CORAL, HexColor("#7a5ca8"), STONE])
    y = sheet.text("Why umbrellas come back to the workshop", SUB, LEFT, y + 274, WIDE)
    faults = {"bent rib": 61, "torn canopy": 17, "lost tip": 11, "jammed spring": 8, "broken handle": 3}
    lying_bars(sheet, (LEFT, y, WIDE, 112), faults, CORAL, " %")
    sheet.turn()


def factory(sheet: Sheet) -> None:
    y = start(sheet, "Operations", "Two factories, one flood")
    y = sheet.texts(words.FACTORY, BODY, LEFT, y, WIDE) + 6
    panel(sheet, y, 300, "Pieces finished each month", "thousands")
    made = {
        "Hallam B.": (142, 131, 138, 145, 152, 161, 148, 129, 170, 184, 181, 150),
        "Dunmore": (104, 48, 39, 62, 88, 112, 118, 96, 127, 136, 131, 108),
    }
    lines(sheet, (LEFT + 24, y + 48, WIDE - 88, 214), MONTHS, made, [TEAL, CORAL], 200, 50)
    sheet.turn()


def people(sheet: Sheet) -> None:
    y = start(sheet, "People", "Those who make them")
    y = sheet.texts(words.PEOPLE, BODY, LEFT, y, WIDE) + 6
    panel(sheet, y, 236, "Staff by site on 31 December 2024", "people")
    sites = {"Hallam Bridge": 318, "Dunmore": 176, "Shops": 164, "Port Selmar": 47, "Head office": 37}
    lying_bars(sheet, (LEFT, y + 44, WIDE, 172), sites, TEAL)
    sheet.turn()


def planet(sheet: Sheet) -> None:
    y = start(sheet, "Environment", "Nets, rivers, paper bands")
    y = sheet.texts(words.PLANET, BODY, LEFT, y, WIDE) + 6
    panel(sheet, y, 270, "Recycled yarn in our canopies, and gas burnt compared with 2020", "per cent")
    years = ("2020", "2021", "2022", "2023", "2024")
    series = {"Yarn": (0, 3, 14, 37, 58), "Gas": (100, 96, 91, 74, 43)}
    lines(sheet, (LEFT + 30, y + 48, WIDE - 80, 184), years, series, [TEAL, CORAL], 100, 25, " %")
    y = sheet.text("Targets for 2027", SUB, LEFT, y + 286, WIDE)
    targets = [
        ["", "Target", "Today"],
        ["Life of an umbrella, years", "10", "7.3"],
        ["Parts that a customer can replace", "all", "14 of 19"],
        ["Waste to landfill, tonnes", "0", "26"],
    ]
    sheet.table(targets, GRID, LEFT, y, (WIDE - 160, 80, 80))
    sheet.turn()


def risks(sheet: Sheet) -> None:
    y = start(sheet, "Risks", "What could go wrong")
    y = sheet.texts(words.RISK_TEXT, BODY, LEFT, y, WIDE) + 8
    rows = [list(words.RISKS[0]), *([Paragraph(text, CELL) for text in row] for row in words.RISKS[1:])]
    left = [*GRID, ("ALIGN", (0, 0), (-1, -1), "LEFT"), ("TOPPADDING", (0, 0), (-1, -1), 10)]
    sheet.table(rows, left, LEFT, y, (140, 66, 62, WIDE - 268))
    sheet.turn()


def statement(sheet: Sheet) -> None:
    y = start(sheet, "Accounts", "Income statement")
    y = accounts(sheet, words.INCOME, y, (9, 11, 13)) + 18
    sheet.texts(words.NOTES[:1], NOTE, LEFT, y, WIDE)
    sheet.turn()
    y = start(sheet, "Accounts", "Balance sheet")
    y = accounts(sheet, words.BALANCE, y, (7, 14)) + 18
    sheet.texts(words.NOTES[1:], NOTE, LEFT, y, WIDE)
    sheet.turn()


def accounts(sheet: Sheet, rows: Sequence[Sequence[str]], y: float, sums: Sequence[int]) -> float:
    """A statement whose rows numbered in `sums` are totals."""
    bold = [("FONT", (0, row), (-1, row), "Helvetica-Bold", 10) for row in sums]
    shade = [("BACKGROUND", (0, row), (-1, row), MIST) for row in sums]
    spacing = [("TOPPADDING", (0, 0), (-1, -1), 10), ("BOTTOMPADDING", (0, 0), (-1, -1), 10)]
    return sheet.table(
        [list(row) for row in rows], [*GRID, *spacing, *bold, *shade], LEFT, y, (WIDE - 230, 50, 90, 90)
    )


def board(sheet: Sheet) -> None:
    y = start(sheet, "Governance", "Board, auditors, dates")
    names = [*GRID, ("ALIGN", (1, 0), (1, -1), "LEFT")]
    y = (
        sheet.table([list(row) for row in words.BOARD], names, LEFT, y + 4, (122, WIDE - 314, 48, 64, 80))
        + 22
    )
    y = sheet.text("Report of the auditors", SUB, LEFT, y, WIDE)
    y = sheet.texts(words.AUDIT, BODY, LEFT, y, WIDE) + 10
    y = sheet.text("Calendar", SUB, LEFT, y, WIDE)
    plain = [*GRID[:1], *GRID[2:3], ("LINEBELOW", (0, 0), (-1, -1), 0.4, STONE), *GRID[-2:]]
    y = sheet.table([list(row) for row in words.CALENDAR], plain, LEFT, y, (120, WIDE - 120)) + 18
    sheet.text(
        "Shareholders who cannot attend may vote by post until 24 April. Hallam & Reed plc, Wharf Lane 2, Hallam Bridge. "
        "Questions: Investor desk, telephone 0555 02 18 71, weekdays from nine to four.",
        NOTE,
        LEFT,
        y,
        WIDE,
    )
    sheet.turn()


def main() -> None:
    sheet = Sheet(CORPUS / "annual-report.pdf", "Hallam & Reed: Annual Report 2024", A4)
    for page in (cover, glance, letter, regions, products, factory, people, planet, risks, statement, board):
        page(sheet)
    sheet.save()
