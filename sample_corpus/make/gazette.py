"""A weekly newspaper of four crowded pages: several stories a page, in three columns, with pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence

from reportlab.lib.colors import HexColor, black, white
from reportlab.lib.enums import TA_JUSTIFY, TA_LEFT
from reportlab.lib.styles import ParagraphStyle
from reportlab.platypus import Paragraph

from . import gazette_text as words
from .base import CORPUS
from .layout import Sheet

SIZE = (595.0, 790.0)
LEFT, WIDE = 36.0, SIZE[0] - 72
COLUMN = (WIDE - 24) / 3
RED, GREY, TINT = HexColor("#8c1d18"), HexColor("#55524c"), HexColor("#f1ece2")
BODY = ParagraphStyle(
    "body", fontName="Times-Roman", fontSize=10.4, leading=12.9, alignment=TA_JUSTIFY, firstLineIndent=8
)
ADVERT = ParagraphStyle("ad", parent=BODY, firstLineIndent=0, alignment=TA_LEFT, spaceAfter=7)
BANNER = ParagraphStyle("banner", fontName="Times-Bold", fontSize=25, leading=27, spaceAfter=3)
HEAD = ParagraphStyle("head", fontName="Times-Bold", fontSize=16, leading=18, spaceAfter=2)
SMALL_HEAD = ParagraphStyle("small-head", parent=HEAD, fontSize=12.5, leading=14)
DECK = ParagraphStyle(
    "deck", fontName="Times-Italic", fontSize=10, leading=12.5, textColor=GREY, spaceAfter=5
)
CAPTION = ParagraphStyle(
    "caption", fontName="Helvetica", fontSize=6.8, leading=8.6, textColor=GREY, spaceAfter=4
)
BOXED = ParagraphStyle("boxed", fontName="Helvetica", fontSize=7.9, leading=10.6, spaceAfter=3)
GRID = [
    ("FONT", (0, 0), (-1, -1), "Helvetica", 7.6),
    ("FONT", (0, 0), (-1, 0), "Helvetica-Bold", 7.6),
    ("ALIGN", (-1, 0), (-1, -1), "RIGHT"),
    ("ALIGN", (-2, 1), (-2, -1), "LEFT"),
    ("LINEBELOW", (0, 0), (-1, 0), 0.8, black),
    ("LINEBELOW", (0, 1), (-1, -1), 0.25, GREY),
    ("TOPPADDING", (0, 0), (-1, -1), 2),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
    ("LEFTPADDING", (0, 0), (-1, -1), 2),
    ("RIGHTPADDING", (0, 0), (-1, -1), 2),
]


def masthead(sheet: Sheet) -> float:
    sheet.rule(LEFT, 34, LEFT + WIDE, 34, black, 2.2)
    sheet.label("The Pell Gazette", SIZE[0] / 2, 76, "Times-BoldItalic", 46, black, "centre")
    sheet.rule(LEFT, 90, LEFT + WIDE, 90, black)
    sheet.label("No. 4,812 · Friday 18 October 2024", LEFT, 100, "Times-Roman", 8.5)
    sheet.label("An invented newspaper", SIZE[0] / 2, 100, "Times-Italic", 8.5, RED, "centre")
    sheet.label("One euro twenty", LEFT + WIDE, 100, "Times-Roman", 8.5, black, "right")
    sheet.rule(LEFT, 105, LEFT + WIDE, 105, black)
    return 116


def running_head(sheet: Sheet, section: str) -> float:
    sheet.label(section, LEFT, 42, "Times-BoldItalic", 15, RED)
    sheet.label(
        f"The Pell Gazette · 18 October 2024 · {sheet.number}",
        LEFT + WIDE,
        42,
        "Times-Roman",
        8.5,
        GREY,
        "right",
    )
    sheet.rule(LEFT, 48, LEFT + WIDE, 48, black, 1.4)
    return 58


def curly(texts: Sequence[str]) -> list[str]:
    return [re.sub(r'"([^"]*)"', "\u201c\\1\u201d", text) for text in texts]


def story(
    sheet: Sheet,
    article: words.Article,
    x: float,
    y: float,
    width: float,
    n: int,
    head: ParagraphStyle = HEAD,
) -> float:
    y = sheet.text(article.head, head, x, y, width)
    if article.deck:
        y = sheet.text(article.deck, DECK, x, y, width)
    return sheet.columns(curly(article.texts), BODY, x, y + 2, width, n) + 8


def boxed(sheet: Sheet, title: str, lines: Sequence[str], x: float, y: float, width: float) -> float:
    parts = [Paragraph(line, BOXED) for line in lines]
    high = 22 + sum(part.wrapOn(sheet.canvas, width - 12, 500)[1] + BOXED.spaceAfter for part in parts)
    sheet.box(x, y, width, high, fill=TINT)
    sheet.box(x, y, width, 15, fill=RED)
    sheet.label(title, x + 6, y + 10.6, "Helvetica-Bold", 8, white)
    sheet.texts(lines, BOXED, x + 6, y + 19, width - 12)
    return y + high


def front(sheet: Sheet) -> None:
    y = masthead(sheet)
    y = sheet.text(words.BALLOON.head, BANNER, LEFT, y, WIDE)
    y = sheet.text(words.BALLOON.deck, DECK, LEFT, y, WIDE)
    right = LEFT + 2 * (COLUMN + 12)
    sheet.picture("balloon.png", right, y, COLUMN, 210, crop=False)
    below = sheet.text(
        "The runaway balloon. Drawing: Francesco Rollandin.",
        CAPTION,
        right,
        y + 213,
        COLUMN,
    )
    below = boxed(sheet, "INSIDE", words.INSIDE, right, below + 4, COLUMN)
    y = sheet.columns(curly(words.BALLOON.texts), BODY, LEFT, y, 2 * COLUMN + 12, 2) + 10
    y = max(y, below + 12)
    sheet.rule(LEFT, y - 4, LEFT + WIDE, y - 4, GREY)
    y = story(sheet, words.BRIDGE, LEFT, y, WIDE, 3)
    sheet.rule(LEFT, y - 4, LEFT + WIDE, y - 4, GREY)
    story(sheet, words.LIBRARY, LEFT, y, WIDE, 3)
    sheet.turn()


def town(sheet: Sheet) -> None:
    y = running_head(sheet, "Town and market")
    y = story(sheet, words.TRAM, LEFT, y, WIDE, 3)
    sheet.rule(LEFT, y - 4, LEFT + WIDE, y - 4, GREY)
    sheet.picture("tram.png", LEFT, y + 2, COLUMN, 140, crop=False)
    sheet.text(
        "The old number 2, back on the rails in May. Drawing: Lumen Design Studio.",
        CAPTION,
        LEFT,
        y + 136,
        COLUMN,
    )
    below = story(sheet, words.BAKERY, LEFT + COLUMN + 12, y, 2 * COLUMN + 12, 2)
    y = max(below, y + 172)
    sheet.rule(LEFT, y - 4, LEFT + WIDE, y - 4, GREY)
    sheet.text("Saturday's market", SMALL_HEAD, LEFT, y, COLUMN)
    sheet.table(
        words.PRICES, [*GRID, ("ALIGN", (1, 0), (-1, -1), "RIGHT")], LEFT, y + 18, (COLUMN - 92, 46, 46)
    )
    y = max(y + 160, story(sheet, words.POND, LEFT + COLUMN + 12, y, 2 * COLUMN + 12, 2))
    sheet.rule(LEFT, y - 4, LEFT + WIDE, y - 4, GREY)
    story(sheet, words.LETTERS, LEFT, y, WIDE, 3)
    sheet.turn()


def science(sheet: Sheet) -> None:
    y = running_head(sheet, "Nature and science")
    y = sheet.text(words.OWLS.head, BANNER, LEFT, y, WIDE)
    y = sheet.text(words.OWLS.deck, DECK, LEFT, y, WIDE)
    sheet.picture("owl.png", LEFT, y, COLUMN, 175, crop=False)
    low = sheet.text("Little owl. Drawing: Francesco Rollandin.", CAPTION, LEFT, y + 178, COLUMN)
    y = max(low, sheet.columns(curly(words.OWLS.texts), BODY, LEFT + COLUMN + 12, y, 2 * COLUMN + 12, 2)) + 10
    sheet.rule(LEFT, y - 4, LEFT + WIDE, y - 4, GREY)
    top = y
    y = story(sheet, words.ROCKET, LEFT, top, 2 * COLUMN + 12, 2)
    right = LEFT + 2 * (COLUMN + 12)
    sheet.picture("rocket.jpg", right, top + 4, COLUMN, 118, centre=(0.5, 0.6))
    low = sheet.text("On the launch pad at dusk. Photograph: SpaceX.", CAPTION, right, top + 125, COLUMN)
    y = max(y, low + 4)
    sheet.rule(LEFT, y - 4, LEFT + WIDE, y - 4, GREY)
    y = story(sheet, words.DOCTOR, LEFT, y, WIDE, 3)
    sheet.box(LEFT, y - 2, WIDE, 92, fill=TINT)
    sheet.picture("jupiter.jpg", LEFT + 8, y + 6, 76, 76, centre=(0.5, 0.5))
    story(sheet, words.SKY, LEFT + 96, y + 4, WIDE - 106, 2, SMALL_HEAD)
    sheet.turn()


def back(sheet: Sheet) -> None:
    y = running_head(sheet, "Sport, weather and small advertisements")
    y = story(sheet, words.REGATTA, LEFT, y, WIDE, 3)
    sheet.picture("sailboat.png", LEFT, y, COLUMN, 150, crop=False)
    middle = LEFT + COLUMN + 12
    sheet.text("Results, 6th heat", SMALL_HEAD, middle, y, COLUMN)
    sheet.table(words.RESULTS, GRID, middle, y + 18, (22, COLUMN - 66, 44))
    weather(sheet, LEFT + 2 * (COLUMN + 12), y)
    y += 172
    sheet.rule(LEFT, y - 4, LEFT + WIDE, y - 4, GREY)
    sheet.text("Small advertisements", HEAD, LEFT, y, WIDE)
    y = sheet.columns(
        words.ADVERTS,
        ADVERT,
        LEFT,
        y + 22,
        WIDE,
        3,
    )
    sheet.rule(LEFT, y + 4, LEFT + WIDE, y + 4, GREY)
    sheet.text(words.IMPRINT, CAPTION, LEFT, y + 10, WIDE)
    sheet.turn()


def weather(sheet: Sheet, x: float, y: float) -> None:
    """Bars of the coming days' highest temperatures, the only place where they stand."""
    sheet.text("Weather", SMALL_HEAD, x, y, COLUMN)
    for i, (day, degrees, rain) in enumerate(words.WEATHER):
        left, high = x + 6 + i * 33, degrees * 4.6
        sheet.box(left, y + 118 - high, 20, high, fill=RED if degrees >= 18 else HexColor("#c9a227"))
        sheet.label(f"{degrees}°", left + 10, y + 113 - high, "Helvetica-Bold", 8, black, "centre")
        sheet.label(day, left + 10, y + 129, "Helvetica", 7.5, black, "centre")
        sheet.label(f"{rain} mm", left + 10, y + 139, "Helvetica", 6.2, GREY, "centre")
    sheet.rule(x, y + 118, x + COLUMN, y + 118, black)
    sheet.label("Highest temperature and expected rain", x, y + 152, "Helvetica", 6.5, GREY)


def main() -> None:
    sheet = Sheet(CORPUS / "gazette.pdf", "The Pell Gazette, 18 October 2024", SIZE)
    front(sheet)
    town(sheet)
    science(sheet)
    back(sheet)
    sheet.save()
