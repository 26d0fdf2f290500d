"""Five invoices of five invented firms, each laid out in its own way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reportlab.lib.colors import HexColor, white
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas

from .base import CORPUS, GREY, HAIR, INK

WIDTH, HEIGHT = A4
LEFT, RIGHT = 20 * mm, WIDTH - 20 * mm


@dataclass(frozen=True)
class Invoice:
    firm: str
    trade: str
    address: str
    number: str
    date: str
    due: str
    customer: tuple[str, ...]
    lines: tuple[tuple[str, float, str, float], ...]  # what, quantity, unit, price
    vat: int  # per cent
    note: tuple[str, ...]
    colour: str
    layout: str  # band | side | plain


INVOICES = (
    Invoice(
        "Halm & Sohn Roofing",
        "Slate, tiles, gutters since 1958",
        "Kirchweg 14, 4102 Oberau",
        "2024-0117",
        "12 March 2024",
        "11 April 2024",
        ("Ilse Brandt", "Lindenallee 3", "4102 Oberau"),
        (
            ("Scaffold, north gable, set up and taken down", 1, "lot", 640.00),
            ("Slate, Welsh blue, 30 x 20 cm", 185, "pcs", 3.40),
            ("Copper gutter, half round, with brackets", 11.5, "m", 48.00),
            ("Roofer's labour, two people", 26, "h", 62.00),
        ),
        19,
        (
            "The storm damage report for your insurer is attached in copy.",
            "Please pay within thirty days without deduction.",
        ),
        "#7a3b1d",
        "band",
    ),
    Invoice(
        "Pixel & Plough",
        "Web design for farms",
        "Unit 6, The Old Dairy, Wexcombe",
        "PP-3391",
        "2 May 2024",
        "16 May 2024",
        ("Marrow Hill Farm Shop", "Attn. Dora Pike", "Marrow Hill, Wexcombe"),
        (
            ("Redesign of the online shop, fixed price", 1, "project", 2150.00),
            ("Product photographs, vegetables and cheese", 34, "photos", 9.50),
            ("Hosting, May 2024 to April 2025", 12, "months", 14.00),
        ),
        20,
        (
            "Half of the project price was paid on account in February and is not shown here.",
            "Questions? Ring Theo on extension 12.",
        ),
        "#2f6b3a",
        "side",
    ),
    Invoice(
        "Dr. Anouk Verhaegen",
        "Small animal practice",
        "Havenstraat 88, Zandhoek",
        "V24/508",
        "21 June 2024",
        "on receipt",
        ("Mr P. Okafor", "for: Biscuit, tomcat, neutered, 6 years", "Duinpad 5, Zandhoek"),
        (
            ("Consultation and examination", 1, "visit", 38.00),
            ("Dental scaling under anaesthetic", 1, "treatment", 145.00),
            ("Extraction, upper left premolar", 1, "tooth", 55.00),
            ("Pain relief drops, 15 ml", 1, "bottle", 18.60),
        ),
        21,
        (
            "Soft food only until Thursday. Check-up of the gums in ten days.",
            "Paid by card on the day of treatment. Thank you.",
        ),
        "#22577a",
        "plain",
    ),
    Invoice(
        "Nordlys Catering",
        "Weddings, wakes and everything between",
        "Bryggen 2, Fjelleby",
        "N-0076",
        "30 August 2024",
        "13 September 2024",
        ("Fjelleby Sailing Club", "Summer party committee", "Harbour Road 40"),
        (
            ("Smoked salmon buffet, 85 guests", 85, "persons", 27.50),
            ("Vegetarian buffet, 15 guests", 15, "persons", 24.00),
            ("Lemonade and coffee, open bar", 100, "persons", 6.20),
            ("Hire of marquee, 9 x 12 m", 2, "days", 310.00),
            ("Broken glasses", 17, "pcs", 2.10),
        ),
        12,
        ("The marquee was collected on Sunday; one pole was bent and has been straightened free of charge.",),
        "#5a3d8a",
        "band",
    ),
    Invoice(
        "Quill Language Services",
        "Sworn translators",
        "14 Abbey Yard, Dunmore",
        "QLS 1204",
        "9 October 2024",
        "8 November 2024",
        ("Helix Humidity AG", "Technical documentation", "Sensorweg 1, Bad Linden"),
        (
            ("Data sheet, German to English", 4120, "words", 0.14),
            ("Safety leaflet, German to French", 980, "words", 0.16),
            ("Urgency surcharge, delivery within two working days", 1, "flat", 120.00),
        ),
        0,
        (
            "Reverse charge: VAT is owed by the recipient of the service.",
            "Late payment bears interest of eight per cent a year.",
        ),
        "#8a1c3b",
        "side",
    ),
)


def main() -> None:
    canvas = Canvas(str(CORPUS / "invoices.pdf"), pagesize=A4, invariant=1)
    canvas.setTitle("Invoices 2024")
    canvas.setAuthor("MetaEmbed demo")
    for invoice in INVOICES:
        draw(canvas, invoice)
        canvas.showPage()
    canvas.save()


def draw(canvas: Any, invoice: Invoice) -> None:
    top = {"band": _band, "side": _side, "plain": _plain}[invoice.layout](canvas, invoice)
    y = _customer(canvas, invoice, top)
    y = _table(canvas, invoice, y)
    canvas.setFillColor(INK)
    canvas.setFont("Helvetica", 10)
    for line in invoice.note:
        canvas.drawString(LEFT, y, line)
        y -= 15
    canvas.setFillColor(GREY)
    canvas.setFont("Helvetica", 8)
    canvas.drawString(LEFT, 14 * mm, f"{invoice.firm}  ·  {invoice.address}  ·  an invented firm")


def _text(canvas: Any, x: float, y: float, text: str, font: str, size: float, colour: Any) -> None:
    canvas.setFillColor(colour)
    canvas.setFont(font, size)
    canvas.drawString(x, y, text)


def _band(canvas: Any, invoice: Invoice) -> float:
    canvas.setFillColor(HexColor(invoice.colour))
    canvas.rect(0, HEIGHT - 42 * mm, WIDTH, 42 * mm, stroke=0, fill=1)
    _text(canvas, LEFT, HEIGHT - 22 * mm, invoice.firm, "Helvetica-Bold", 24, white)
    _text(canvas, LEFT, HEIGHT - 31 * mm, invoice.trade, "Helvetica", 11, white)
    canvas.setFont("Helvetica-Bold", 20)
    canvas.drawRightString(RIGHT, HEIGHT - 22 * mm, "INVOICE")
    return HEIGHT - 60 * mm


def _side(canvas: Any, invoice: Invoice) -> float:
    canvas.setFillColor(HexColor(invoice.colour))
    canvas.rect(0, 0, 9 * mm, HEIGHT, stroke=0, fill=1)
    _text(canvas, LEFT, HEIGHT - 28 * mm, "Invoice", "Times-Roman", 34, HexColor(invoice.colour))
    canvas.setFont("Times-Bold", 14)
    canvas.drawRightString(RIGHT, HEIGHT - 24 * mm, invoice.firm)
    canvas.setFillColor(GREY)
    canvas.setFont("Times-Italic", 11)
    canvas.drawRightString(RIGHT, HEIGHT - 30 * mm, invoice.trade)
    return HEIGHT - 52 * mm


def _plain(canvas: Any, invoice: Invoice) -> float:
    _text(canvas, LEFT, HEIGHT - 28 * mm, invoice.firm, "Courier-Bold", 20, HexColor(invoice.colour))
    _text(canvas, LEFT, HEIGHT - 35 * mm, f"{invoice.trade} - INVOICE", "Courier", 11, INK)
    canvas.setDash(2, 2)
    canvas.setStrokeColor(HexColor(invoice.colour))
    canvas.line(LEFT, HEIGHT - 40 * mm, RIGHT, HEIGHT - 40 * mm)
    canvas.setDash()
    return HEIGHT - 55 * mm


def _customer(canvas: Any, invoice: Invoice, y: float) -> float:
    for i, line in enumerate(invoice.customer):
        _text(canvas, LEFT, y - i * 14, line, "Helvetica-Bold" if i == 0 else "Helvetica", 10.5, INK)
    facts = (("Invoice number", invoice.number), ("Date", invoice.date), ("Payment due", invoice.due))
    for i, (name, value) in enumerate(facts):
        _text(canvas, 118 * mm, y - i * 14, name, "Helvetica", 10, GREY)
        canvas.setFillColor(INK)
        canvas.drawRightString(RIGHT, y - i * 14, value)
    return y - 26 * mm


def _table(canvas: Any, invoice: Invoice, y: float) -> float:
    columns = (RIGHT - 78 * mm, RIGHT - 50 * mm, RIGHT - 30 * mm, RIGHT)
    canvas.setFillColor(HexColor(invoice.colour))
    canvas.rect(LEFT, y - 6, RIGHT - LEFT, 20, stroke=0, fill=1)
    _text(canvas, LEFT + 4, y, "Description", "Helvetica-Bold", 9.5, white)
    for x, name in zip(columns[:1] + columns[2:], ("Quantity", "Price", "Amount"), strict=True):
        canvas.drawRightString(x - 4, y, name)
    y -= 24
    net = 0.0
    for what, quantity, unit, price in invoice.lines:
        amount = round(quantity * price, 2)
        net += amount
        _text(canvas, LEFT + 4, y, what, "Helvetica", 9.5, INK)
        canvas.drawRightString(columns[0] - 4, y, f"{quantity:g}")
        canvas.setFillColor(GREY)
        canvas.drawString(columns[0], y, unit)
        canvas.setFillColor(INK)
        canvas.drawRightString(columns[2] - 4, y, f"{price:,.2f}")
        canvas.drawRightString(columns[3] - 4, y, f"{amount:,.2f}")
        canvas.setStrokeColor(HAIR)
        canvas.line(LEFT, y - 7, RIGHT, y - 7)
        y -= 22
    tax = round(net * invoice.vat / 100, 2)
    for name, value, bold in (
        ("Net", net, False),
        (f"VAT {invoice.vat} %", tax, False),
        ("Total EUR", net + tax, True),
    ):
        canvas.setFillColor(INK)
        canvas.setFont("Helvetica-Bold" if bold else "Helvetica", 12 if bold else 10)
        canvas.drawRightString(columns[2] - 4, y, name)
        canvas.drawRightString(columns[3] - 4, y, f"{value:,.2f}")
        y -= 18
    return y - 20
