"""The manual of an espresso machine that nobody builds: line drawings, call-outs, tables (its words are in coffee_manual.json)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reportlab.graphics import shapes
from reportlab.graphics.shapes import Circle, Drawing, Ellipse, Line, Polygon, PolyLine, Rect, String
from reportlab.lib.colors import HexColor, white
from reportlab.lib.pagesizes import A5
from reportlab.lib.units import mm
from reportlab.platypus import PageBreak, Paragraph, Spacer, Table, TableStyle

from .base import CORPUS, GREY, HAIR, INK, build, footer, styles

TEXT: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
RED, PALE = HexColor("#c0362c"), HexColor("#f6e7e4")
WIDE = A5[0] - 36 * mm
STYLE = styles(size=9.6, accent="#c0362c")
BODY, CELL, SMALL = STYLE["body"], STYLE["cell"], STYLE["small"]


def line(*points: float, width: float = 1.2) -> Any:
    return PolyLine(list(points), strokeColor=INK, strokeWidth=width)


def box(x: float, y: float, width: float, height: float, radius: float = 3, fill: Any = white) -> Any:
    return Rect(x, y, width, height, rx=radius, ry=radius, fillColor=fill, strokeColor=INK, strokeWidth=1.2)


def ring(x: float, y: float, radius: float, fill: Any = white) -> Any:
    return Circle(x, y, radius, fillColor=fill, strokeColor=INK, strokeWidth=1.2)


def word(x: float, y: float, text: str, size: float = 8, anchor: str = "start", colour: Any = INK) -> Any:
    return String(x, y, text, fontName="Helvetica", fontSize=size, textAnchor=anchor, fillColor=colour)


def callout(drawing: Any, number: int, x: float, y: float, to_x: float, to_y: float) -> None:
    """A red number at (x, y) with a leader to the part."""
    drawing.add(Line(x, y, to_x, to_y, strokeColor=RED, strokeWidth=0.7))
    drawing.add(Circle(to_x, to_y, 1.5, fillColor=RED, strokeColor=None))
    drawing.add(Circle(x, y, 8, fillColor=RED, strokeColor=None))
    drawing.add(
        String(
            x,
            y - 3,
            str(number),
            fontName="Helvetica-Bold",
            fontSize=8.5,
            textAnchor="middle",
            fillColor=white,
        )
    )


def cup(drawing: Any, x: float, y: float, size: float = 1) -> None:
    """An espresso cup whose foot's middle stands at (x, y)."""
    body = shapes.Path(fillColor=white, strokeColor=INK, strokeWidth=1.2)
    body.moveTo(x - 13 * size, y + 20 * size)
    body.curveTo(x - 12 * size, y + 4 * size, x - 8 * size, y, x, y)
    body.curveTo(x + 8 * size, y, x + 12 * size, y + 4 * size, x + 13 * size, y + 20 * size)
    body.closePath()
    drawing.add(Ellipse(x + 14 * size, y + 12 * size, 5 * size, 5 * size, fillColor=None, strokeColor=INK))
    drawing.add(body)
    drawing.add(Line(x - 16 * size, y, x + 16 * size, y, strokeColor=INK, strokeWidth=1.4))


def machine(drawing: Any) -> None:
    """The machine from the front, in a field of 260 x 230 points whose corner is at (0, 0)."""
    tank = Rect(18, 40, 26, 140, rx=4, ry=4, fillColor=HexColor("#e3eef6"), strokeColor=INK)
    shapes = [tank, line(18, 128, 44, 128, width=0.6), box(24, 180, 14, 6)]
    shapes += [
        box(40, 20, 170, 180, 8),
        box(40, 132, 170, 68, 8),
        box(56, 24, 138, 108, 2, HexColor("#f1f2f4")),
    ]
    shapes += [box(34, 6, 182, 22, 4), *[line(48 + 11 * i, 22, 54 + 11 * i, 22, width=2) for i in range(14)]]
    shapes += [line(46, 200, 46, 214, 204, 214, 204, 200), line(46, 207, 204, 207, width=0.6)]  # cup rail
    shapes += [ring(78, 166, 20), *[line(78, 166, 78 + dx, 166 + dy) for dx, dy in ((9, 11),)]]  # gauge
    shapes += [line(62, 166, 66, 166), line(78, 182, 78, 178), line(94, 166, 90, 166)]
    shapes += [ring(118 + 20 * i, 178, 6.5) for i in range(3)]
    colours = ("#3f9b57", "#e0a021", "#3b7dc4", "#c0362c")
    shapes += [ring(115 + 15 * i, 153, 3, HexColor(colour)) for i, colour in enumerate(colours)]
    shapes += [ring(216, 160, 13), line(216, 160, 216, 172, width=2)]  # steam dial
    shapes += [box(98, 116, 44, 18, 2), box(92, 104, 56, 13, 3), box(112, 94, 16, 10, 1)]
    shapes += [line(115, 94, 112, 86), line(125, 94, 128, 86), box(112, 106, 16, 9, 4, INK)]
    shapes += [line(218, 146, 222, 120, 229, 62, width=3), line(227, 66, 231, 54, width=4)]  # wand
    for shape in shapes:
        drawing.add(shape)


def portrait(scale: float, callouts: bool = False) -> Any:
    """The machine with a cup; with `callouts`, the nine parts are numbered."""
    drawing = Drawing(260 * scale, 232 * scale)
    machine(drawing)
    cup(drawing, 120, 30)
    if callouts:
        places = [
            (1, -6, 150, 28, 150), (2, 24, 222, 60, 210), (3, 78, 232, 78, 180), (4, 138, 232, 138, 180),
            (5, 178, 232, 160, 153), (6, 258, 180, 222, 164), (7, 258, 90, 227, 84), (8, 172, 88, 142, 108),
            (9, 258, 14, 205, 14),
        ]  # fmt: skip
        for place in places:
            callout(drawing, *place)
    drawing.scale(scale, scale)
    drawing.hAlign = "CENTER"
    return drawing


def strip() -> Any:
    """The tank filled to its mark, and a test strip that shows three pink squares."""
    drawing = Drawing(WIDE, 84)
    drawing.add(box(30, 6, 54, 74, 5))
    drawing.add(Rect(31, 7, 52, 58, fillColor=HexColor("#e3eef6"), strokeColor=None))
    for shape in (line(74, 65, 92, 65), word(95, 62, "MAX", 8), box(44, 80, 26, 4, 1), line(57, 78, 57, 72)):
        drawing.add(shape)
    drawing.add(box(150, 38, 150, 20, 2))
    for i in range(4):
        drawing.add(box(222 + 18 * i, 42, 12, 12, 0, HexColor("#e58fa8" if i < 3 else "#8fbf9a")))
    drawing.add(word(150, 22, "here: hardness 3", 8))
    return drawing


def portafilter() -> Any:
    """How much to fill in, where to tamp, which way to lock."""
    drawing = Drawing(WIDE, 92)
    for x, label in ((0, "Fill"), (110, "Tamp level"), (220, "Lock to the right")):
        drawing.add(box(x, 0, 96, 90, 4, PALE))
        drawing.add(word(x + 48, 6, label, 7.5, "middle"))
    for x in (14, 124):
        drawing.add(Polygon([x, 56, x + 50, 56, x + 45, 34, x + 5, 34], fillColor=white, strokeColor=INK))
        drawing.add(box(x + 47, 43, 30, 9, 4, INK))
    drawing.add(Polygon([22, 56, 39, 72, 56, 56], fillColor=HexColor("#6b4a35"), strokeColor=INK))
    drawing.add(word(62, 68, "18 g", 8))
    drawing.add(Rect(127, 42, 44, 10, fillColor=HexColor("#6b4a35"), strokeColor=None))
    for shape in (
        box(131, 53, 36, 5, 1),
        box(144, 58, 10, 20, 4),
        line(180, 80, 180, 60),
        line(176, 65, 180, 59, 184, 65),
    ):
        drawing.add(shape)
    drawing.add(ring(268, 52, 24))
    drawing.add(ring(268, 52, 17, PALE))
    drawing.add(line(251, 40, 236, 26, width=5))
    drawing.add(line(246, 22, 268, 18, 288, 26, width=1.4))
    drawing.add(line(281, 28, 289, 26, 285, 19, width=1.4))
    return drawing


def jug() -> Any:
    """The milk jug with the wand in two depths and a thermometer."""
    drawing = Drawing(WIDE, 120)
    for x, tip, label in ((20, 60, "A  first: draw air"), (130, 36, "B  then: roll")):
        drawing.add(Polygon([x, 90, x + 62, 90, x + 68, 20, x - 6, 20], fillColor=white, strokeColor=INK))
        drawing.add(Polygon([x - 2, 64, x + 64, 64, x + 68, 20, x - 6, 20], fillColor=PALE, strokeColor=INK))
        drawing.add(line(x + 68, 80, x + 82, 74, x + 82, 42, x + 70, 36, width=3))
        drawing.add(line(x + 56, 118, x + 40, tip, width=3.4))
        drawing.add(word(x + 31, 5, label, 8, "middle"))
    drawing.add(line(150, 46, 160, 54, 176, 50, 182, 38, 172, 27, 156, 30, width=0.9))
    drawing.add(line(161, 33, 155, 30, 159, 25, width=0.9))
    drawing.add(box(254, 26, 10, 88, 5))
    drawing.add(ring(259, 24, 10, RED))
    drawing.add(Rect(257, 26, 4, 62, fillColor=RED, strokeColor=None))
    for y, label in ((46, "20 \u00b0C"), (88, "62 \u00b0C  stop"), (104, "70 \u00b0C  scalded")):
        drawing.add(line(264, y, 270, y))
        drawing.add(word(273, y - 2.5, label, 6.5))
    drawing.add(word(259, 5, "milk", 8, "middle"))
    return drawing


def hardness_chart() -> Any:
    """Bars: cups between two descalings, by the hardness of the water. Nowhere else in the manual."""
    drawing = Drawing(WIDE, 112)
    drawing.add(word(0, 102, "Cups until the blue lamp asks for descaling", 8))
    for i, (label, cups, colour) in enumerate(TEXT["cups"]):
        y = 78 - 22 * i
        drawing.add(word(0, y + 4, label, 7.5, colour=GREY))
        drawing.add(Rect(92, y, cups * 0.17, 14, fillColor=HexColor(colour), strokeColor=None))
        drawing.add(word(97 + cups * 0.17, y + 4, str(cups), 8))
    drawing.add(Line(92, 6, 92, 94, strokeColor=INK))
    return drawing


def lamp(colours: list[str], blinking: bool) -> Any:
    """One lamp or two, with rays when they blink."""
    drawing = Drawing(20 * len(colours), 18)
    for i, colour in enumerate(colours):
        x = 10 + 20 * i
        drawing.add(Circle(x, 8, 4.6, fillColor=HexColor(colour), strokeColor=INK))
        for dx, dy in (
            ((9, 0), (-9, 0), (6.5, 6.5), (-6.5, 6.5), (6.5, -6.5), (-6.5, -6.5)) if blinking else ()
        ):
            drawing.add(line(x + dx * 0.7, 8 + dy * 0.7, x + dx, 8 + dy, width=1))
    return drawing


def grid(rows: list[list[Any]], widths: list[float], head: bool = True) -> Any:
    """A table with hairlines; plain strings become paragraphs, the first row is the head."""
    bold = "<b>%s</b>"
    cells = [
        [Paragraph(bold % c if head and not i else c, CELL) if isinstance(c, str) else c for c in row]
        for i, row in enumerate(rows)
    ]
    look: list[Any] = [
        ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
        ("LINEBELOW", (0, 0), (-1, -1), 0.5, HAIR),
        ("LEFTPADDING", (0, 0), (-1, -1), 4),
        ("RIGHTPADDING", (0, 0), (-1, -1), 4),
    ]
    if head:
        look += [("BACKGROUND", (0, 0), (-1, 0), PALE), ("LINEABOVE", (0, 0), (-1, 0), 1.2, RED)]
    return Table(cells, colWidths=widths, style=TableStyle(look), hAlign="LEFT")


def steps(texts: list[str]) -> Any:
    """Numbered steps, the numbers white on red discs."""
    rows = []
    for number, text in enumerate(texts, 1):
        disc = Drawing(16, 16)
        disc.add(Circle(8, 8, 7.5, fillColor=RED, strokeColor=None))
        disc.add(word(8, 5, str(number), 8, "middle", white))
        rows.append([disc, Paragraph(text, BODY)])
    look = [("VALIGN", (0, 0), (-1, -1), "TOP"), ("PADDING", (0, 0), (-1, -1), 0)]
    look += [("TOPPADDING", (0, 0), (-1, -1), 1), ("RIGHTPADDING", (0, 0), (-1, -1), 0)]
    return Table(rows, colWidths=[24, WIDE - 24], style=TableStyle(look))


def note(text: str) -> Any:
    """A boxed warning."""
    look = [("BOX", (0, 0), (-1, -1), 1, RED), ("BACKGROUND", (0, 0), (-1, -1), PALE)]
    cell = Paragraph(f"<b>Caution</b>  {text}", CELL)
    return Table([[cell]], colWidths=[WIDE], style=TableStyle([*look, ("PADDING", (0, 0), (-1, -1), 7)]))


def head(text: str) -> Any:
    return Paragraph(text, STYLE["h1"])


def cover() -> list[Any]:
    return [
        Paragraph("Ondara", STYLE["title"]),
        Paragraph("Piccola 21 espresso machine", STYLE["h2"]),
        Spacer(1, 40),
        portrait(1.15),
        Spacer(1, 40),
        Paragraph("Instructions for use", STYLE["h1"]),
        Paragraph("Keep this booklet near the appliance. Edition 4, English.", BODY),
        Paragraph("Maker and model are invented for this demo.", SMALL),
    ]


def story() -> list[Any]:
    gap = Spacer(1, 10)
    first, clean, scale = TEXT["first_use"], TEXT["cleaning"], TEXT["descaling"]
    parts = [["", "Part", "Purpose"]]
    parts += [[f"<b>{i}</b>", name, purpose] for i, (name, purpose) in enumerate(TEXT["parts"], 1)]
    warranty = [Paragraph(text, BODY) for text in TEXT["warranty"]]
    lamps = [["Lamp", "Meaning", "What to do"]]
    lamps += [[lamp(colours, blinks), meaning, cure] for colours, blinks, meaning, cure in TEXT["lamps"]]
    half = WIDE / 2
    pages: list[list[Any]] = [
        cover(),
        [
            head("1  Parts of the machine"),
            gap,
            portrait(1, callouts=True),
            gap,
            grid(parts, [22, 92, WIDE - 114]),
        ],
        [head("2  First use"), Paragraph(first[0], BODY), strip(), gap, steps(first[1]), gap, note(first[2])],
        [
            head("3  Brewing"),
            portafilter(),
            gap,
            steps(TEXT["brewing"]),
            gap,
            grid(TEXT["drinks"], [74, 102, 76, WIDE - 252]),
        ],
        [head("4  Milk foam"), jug(), gap, steps(TEXT["milk"][0]), gap, note(TEXT["milk"][1])],
        [
            head("5  Cleaning"),
            Paragraph(clean[0], BODY),
            grid(TEXT["cleaning_table"], [104, 82, WIDE - 186]),
            gap,
            Paragraph(clean[1], STYLE["h2"]),
            steps(clean[2]),
        ],
        [
            head("6  How to descale"),
            Paragraph(scale[0], BODY),
            steps(scale[1]),
            gap,
            hardness_chart(),
            gap,
            note(scale[2]),
        ],
        [head("7  What the lamps tell you"), grid(lamps, [50, 110, WIDE - 160])],
        [head("8  Troubleshooting"), grid(TEXT["faults"], [92, 104, WIDE - 196])],
        [
            head("9  Technical data"),
            grid(TEXT["data"], [half, half], head=False),
            head("10  Warranty"),
            *warranty,
        ],
    ]
    flat: list[Any] = []
    for page in pages:
        flat += [*page, PageBreak()]
    return flat[:-1]


def main() -> None:
    build(
        CORPUS / "coffee-manual.pdf",
        "Ondara Piccola 21: instructions for use",
        story(),
        footer("Ondara Piccola 21"),
        A5,
    )
