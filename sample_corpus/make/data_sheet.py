"""Data sheet of an invented humidity and temperature sensor: tables, a pin-out, a response chart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reportlab.graphics.charts.lineplots import LinePlot
from reportlab.graphics.shapes import Circle, Drawing, Line, Rect, String
from reportlab.lib.colors import HexColor, white
from reportlab.platypus import PageBreak, Paragraph, Spacer, Table, TableStyle

from .base import CORPUS, GREY, HAIR, INK, build, footer, styles

STYLE = styles(size=11, accent="#111827")
TEAL, PALE = HexColor("#0f766e"), HexColor("#f0fdfa")


def grid(rows: Sequence[tuple[str, ...]], widths: list[int]) -> Table:
    table = Table(rows, colWidths=widths, hAlign="LEFT", repeatRows=1)
    table.setStyle(
        TableStyle(
            [
                ("FONT", (0, 0), (-1, 0), "Helvetica-Bold", 9.5),
                ("FONT", (0, 1), (-1, -1), "Helvetica", 9.5),
                ("BACKGROUND", (0, 0), (-1, 0), TEAL),
                ("TEXTCOLOR", (0, 0), (-1, 0), white),
                ("ROWBACKGROUNDS", (0, 1), (-1, -1), [white, PALE]),
                ("GRID", (0, 0), (-1, -1), 0.4, HAIR),
                ("TOPPADDING", (0, 0), (-1, -1), 6),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 6),
            ]
        )
    )
    return table


def pins() -> Drawing:
    drawing = Drawing(493, 150)
    drawing.add(Rect(150, 20, 120, 110, fillColor=HexColor("#1f2937"), strokeColor=INK, rx=4))
    drawing.add(Circle(165, 115, 4, fillColor=white))
    drawing.add(Circle(210, 75, 22, fillColor=HexColor("#4b5563"), strokeColor=white))
    drawing.add(String(194, 72, "sensor", fontSize=9, fillColor=white))
    names = (
        ("1  VDD", "2.2 to 5.5 V"),
        ("2  SDA", "serial data"),
        ("3  SCL", "serial clock"),
        ("4  ALERT", "open drain"),
    )
    ground = (
        ("8  GND", "ground"),
        ("7  ADDR", "address select"),
        ("6  RST", "reset, active low"),
        ("5  NC", "leave open"),
    )
    for side, rows in ((0, names), (1, ground)):
        for i, (name, use) in enumerate(rows):
            y = 114 - i * 26
            x = 150 if side == 0 else 270
            drawing.add(Line(x, y, x - 18 if side == 0 else x + 18, y, strokeColor=INK, strokeWidth=3))
            drawing.add(String(20 if side == 0 else 296, y + 2, name, fontName="Helvetica-Bold", fontSize=9))
            drawing.add(String(20 if side == 0 else 296, y - 8, use, fontSize=8, fillColor=GREY))
    return drawing


def response() -> Drawing:
    drawing = Drawing(493, 190)
    plot = LinePlot()
    plot.x, plot.y, plot.width, plot.height = 40, 35, 400, 135
    with_cap = [(t, 90 - 60 * 2.718 ** (-t / 22)) for t in range(0, 101, 5)]
    without = [(t, 90 - 60 * 2.718 ** (-t / 8)) for t in range(0, 101, 5)]
    plot.data = [without, with_cap]
    plot.lines[0].strokeColor, plot.lines[1].strokeColor = TEAL, HexColor("#b45309")
    plot.lines[0].strokeWidth = plot.lines[1].strokeWidth = 2
    plot.xValueAxis.valueMin, plot.xValueAxis.valueMax, plot.xValueAxis.valueStep = 0, 100, 20
    plot.yValueAxis.valueMin, plot.yValueAxis.valueMax, plot.yValueAxis.valueStep = 20, 100, 20
    drawing.add(plot)
    drawing.add(String(200, 8, "time in seconds", fontSize=9, fillColor=GREY))
    drawing.add(
        String(
            40,
            176,
            "relative humidity shown, per cent, after a step from 30 to 90",
            fontSize=9,
            fillColor=GREY,
        )
    )
    drawing.add(String(120, 158, "bare element", fontSize=9, fillColor=TEAL))
    drawing.add(String(200, 118, "with filter cap", fontSize=9, fillColor=HexColor("#b45309")))
    return drawing


def main() -> None:
    body, h1, h2 = STYLE["body"], STYLE["h1"], STYLE["h2"]
    limits = [
        ("Parameter", "Condition", "Min", "Typ", "Max", "Unit"),
        ("Supply voltage", "", "2.2", "3.3", "5.5", "V"),
        ("Supply current, measuring", "25 °C", "–", "480", "620", "µA"),
        ("Supply current, asleep", "25 °C", "–", "0.3", "1.0", "µA"),
        ("Accuracy, relative humidity", "20 to 80 %RH", "–", "±1.5", "±2.0", "%RH"),
        ("Accuracy, relative humidity", "outside that", "–", "±3.0", "±4.5", "%RH"),
        ("Accuracy, temperature", "0 to 60 °C", "–", "±0.15", "±0.3", "°C"),
        ("Drift", "a year, clean air", "–", "0.25", "–", "%RH"),
        ("Operating temperature", "", "-40", "–", "125", "°C"),
        ("Bus clock", "", "10", "400", "1000", "kHz"),
    ]
    battery = [
        ("One reading every", "Mean current", "Coin cell, 220 mAh", "Two AA cells"),
        ("second", "6.4 µA", "3.4 years", "15 years"),
        ("10 seconds", "0.9 µA", "8 years", "shelf life"),
        ("minute", "0.4 µA", "8.4 years", "shelf life"),
        ("hour", "0.3 µA", "8.7 years", "shelf life"),
    ]
    solder = [
        ("Step", "Temperature", "Time"),
        ("Preheat", "150 to 190 °C", "60 to 110 s"),
        ("Above liquidus, 217 °C", "–", "45 to 75 s"),
        ("Peak", "245 °C, never above 260 °C", "at most 20 s"),
        ("Cooling", "at most 4 °C per second", "–"),
        ("Passes through the oven", "–", "two"),
    ]
    orders = [
        ("Code", "Filter cap", "Output", "Reel of", "Price from 1,000"),
        ("HX-31-B", "none", "I²C, address 0x44", "2,500", "1.92 EUR"),
        ("HX-31-F", "PTFE membrane", "I²C, address 0x44", "1,500", "2.65 EUR"),
        ("HX-31-F5", "PTFE membrane", "I²C, address 0x45", "1,500", "2.65 EUR"),
        ("HX-31-M", "sintered steel", "pulse width", "500", "4.80 EUR"),
    ]
    commands = [
        ("Code", "Command", "Answer", "Time"),
        ("0x2400", "Measure, high repeatability", "6 bytes", "12.5 ms"),
        ("0x2416", "Measure, low repeatability", "6 bytes", "2.5 ms"),
        ("0x3066", "Heater off", "none", "1 ms"),
        ("0x306D", "Heater on, for 30 s at most", "none", "1 ms"),
        ("0x30A2", "Soft reset", "none", "1.5 ms"),
        ("0xF32D", "Read status", "3 bytes", "1 ms"),
    ]
    story: list[Any] = [
        Paragraph("HX-31", STYLE["title"]),
        Paragraph("Digital humidity and temperature sensor", h1),
        Paragraph(
            "The HX-31 measures relative humidity from 0 to 100 per cent and temperature from -40 to 125 degrees on one chip of 2.5 x 2.5 mm. Every part is calibrated at the factory at three points; the record can be read through the bus by serial number.",
            body,
        ),
        Paragraph(
            "Uses: greenhouses, incubators, museum cases, ventilation, drying of timber, weather balloons.",
            body,
        ),
        Paragraph("Features", h2),
        *(
            Paragraph(f"• {text}", body)
            for text in (
                "Sleeps at 0.3 µA: a coin cell lasts for more than eight years at one reading a minute",
                "On-chip heater drives off condensation and tells a wet sensor from a wet day",
                "Alert pin wakes the host when a limit is crossed",
                "Membrane option against dust and splashing water, IP67",
            )
        ),
        Paragraph("Pin assignment, seen from above", h2),
        pins(),
        PageBreak(),
        Paragraph("Electrical characteristics", h1),
        grid(limits, [160, 95, 50, 50, 50, 50]),
        Spacer(1, 10),
        Paragraph(
            "Stresses beyond 6.0 V on any pin destroy the part. Recovery after a week at 95 %RH takes up to twelve hours at room climate; baking at 100 °C for six hours shortens it.",
            body,
        ),
        Paragraph("How long a battery lasts", h1),
        grid(battery, [115, 90, 130, 110]),
        Spacer(1, 10),
        Paragraph(
            "Calculated from typical currents at high repeatability and 25 °C, self-discharge of one per cent a year "
            "included. Below -10 °C a coin cell gives about half of this; use lithium thionyl chloride outdoors.",
            body,
        ),
        PageBreak(),
        Paragraph("Response", h1),
        response(),
        Paragraph(
            "Figure 2. The cap protects and slows: choose the bare element where air moves and speed counts.",
            STYLE["small"],
        ),
        Paragraph("Commands", h1),
        grid(commands, [60, 190, 80, 70]),
        PageBreak(),
        Paragraph("Ordering", h1),
        grid(orders, [75, 110, 120, 70, 90]),
        Spacer(1, 10),
        Paragraph("Handling", h1),
        Paragraph(
            "Store in the sealed bag at 10 to 50 °C. After reflow, leave the parts in 75 %RH for twelve hours, or the first readings are too low. Keep the opening free of flux, glue vapour and fingerprints; isopropanol is the only cleaner allowed. Do not seal the package with conformal coating.",
            body,
        ),
        Paragraph("Reflow profile", h2),
        grid(solder, [170, 170, 110]),
        Spacer(1, 10),
        Paragraph("Marking", h2),
        Paragraph(
            "The lid carries two lines: type and option, then year, week and a letter for the lot. Pin 1 is at the "
            "corner with the dot. A lid without a dot is a mechanical sample that measures nothing.",
            body,
        ),
        Paragraph("Revision history", h2),
        Paragraph(
            "1.3, March 2024: membrane option with second bus address added. 1.2, June 2023: drift figure lowered after two years of field data. 1.1, November 2021: pin 5 no longer connected.",
            body,
        ),
    ]
    build(
        CORPUS / "data-sheet.pdf",
        "HX-31 data sheet",
        story,
        footer("Helix Humidity · HX-31 · revision 1.3 · an invented part"),
    )
