"""A holiday brochure of an invented island: square pages with photographs, a map, a climate chart and prices."""

from __future__ import annotations

from reportlab.lib.colors import HexColor, white
from reportlab.lib.styles import ParagraphStyle

from .base import CORPUS
from .layout import Sheet

SIDE = 520.0
SEA, DEEP, CORAL, CREAM = HexColor("#1b7f8c"), HexColor("#0d4650"), HexColor("#e8644c"), HexColor("#fdf6ec")
LAND, MIST, INK, SUN = HexColor("#cfe0b4"), HexColor("#d9eef0"), HexColor("#22333a"), HexColor("#f2b134")
LEFT, WIDE = 34.0, 452.0
BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=9.4, leading=13.4, textColor=INK, spaceAfter=6)
HEAD = ParagraphStyle(
    "head", fontName="Times-BoldItalic", fontSize=26, leading=29, textColor=DEEP, spaceAfter=5
)
SUB = ParagraphStyle("sub", fontName="Helvetica-Bold", fontSize=11, leading=14, textColor=CORAL, spaceAfter=3)
PALE = ParagraphStyle("pale", parent=BODY, textColor=white)
CREDIT = ParagraphStyle("credit", fontName="Helvetica", fontSize=6.4, leading=8, textColor=SEA)
CELLS = [
    ("FONT", (0, 0), (-1, -1), "Helvetica", 8.6),
    ("FONT", (0, 0), (-1, 0), "Helvetica-Bold", 8.4),
    ("BACKGROUND", (0, 0), (-1, 0), CORAL),
    ("TEXTCOLOR", (0, 0), (-1, 0), white),
    ("TEXTCOLOR", (0, 1), (-1, -1), INK),
    ("ROWBACKGROUNDS", (0, 1), (-1, -1), [white, MIST]),
    ("ALIGN", (1, 0), (-1, -1), "RIGHT"),
    ("TOPPADDING", (0, 0), (-1, -1), 4),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 4),
]
COAST = (
    (70, 190), (96, 140), (150, 112), (205, 120), (238, 96), (296, 104), (330, 142), (392, 150), (428, 190),
    (418, 236), (372, 256), (340, 300), (282, 306), (250, 282), (196, 300), (140, 286), (100, 246),
)  # fmt: skip
PLACES = (  # name, x, y, label's anchor and shift
    ("Saltby harbour", 196, 286, "centre", 0, 38),
    ("Cape Orrin", 418, 190, "left", 17, 4),
    ("Lantern House", 268, 160, "left", 10, 4),
    ("Shingle Bay", 88, 214, "left", 10, 4),
    ("Dahlia fields", 330, 256, "right", -6, 0),
)
LEGS: tuple[tuple[tuple[int, int], tuple[int, int], str], ...] = (
    ((196, 286), (268, 160), "4.5 km"),
    ((268, 160), (418, 190), "6 km"),
    ((418, 190), (330, 256), "3.5 km"),
)
LEGS += (((330, 256), (196, 286), "5 km"), ((196, 286), (88, 214), "2.5 km"))
SUNSHINE = (("Mar", 4), ("Apr", 6), ("May", 8), ("Jun", 9), ("Jul", 8), ("Aug", 7), ("Sep", 10), ("Oct", 5))
ROOMS = [
    ["Night for two", "April – June", "July, August", "September"],
    ["Harbour Hotel, sea view, breakfast", "€ 118", "€ 154", "€ 126"],
    ["Widow Tamsin's guest house, breakfast", "€ 74", "€ 92", "€ 78"],
    ["Converted boat shed, self-catering", "€ 66", "€ 88", "€ 70"],
    ["Pitch for a tent", "€ 14", "€ 19", "€ 14"],
]
HIRE = [
    ["To hire in Saltby", "half day", "day", "week"],
    ["Bicycle, seven gears", "€ 8", "€ 13", "€ 60"],
    ["Electric bicycle", "€ 17", "€ 28", "€ 135"],
    ["Dinghy with skipper, up to four", "€ 95", "€ 160", "–"],
    ["Binoculars", "€ 3", "€ 5", "€ 20"],
]


def paper(sheet: Sheet, head: str) -> float:
    """A page's ground, heading and foot; returns the y below the heading."""
    sheet.box(0, 0, SIDE, SIDE, fill=CREAM)
    sheet.box(0, 0, 12, SIDE, fill=SEA)
    sheet.label("Sorrel Island Visitor Bureau · an invented island", LEFT, 506, size=6.6, colour=SEA)
    sheet.label(str(sheet.number), LEFT + WIDE, 506, "Helvetica-Bold", 9, CORAL, "right")
    return sheet.text(head, HEAD, LEFT, 26, WIDE)


def cover(sheet: Sheet) -> None:
    sheet.box(0, 0, SIDE, SIDE, fill=DEEP)
    sheet.picture("pagoda.jpg", 0, 0, SIDE, 336)
    sheet.box(0, 336, SIDE, 6, fill=CORAL)
    sheet.label("Sorrel Island", LEFT, 396, "Times-BoldItalic", 46, white)
    sheet.text(
        "Nineteen square kilometres of heather, shingle and eccentric buildings, fifty minutes off the "
        "mainland. No traffic lights, one policeman, and a tea importer's folly that has been looking down "
        "on the lagoon since 1894.",
        PALE, LEFT, 416, 330,
    )  # fmt: skip
    sheet.label("SEASON 2025", LEFT + WIDE, 440, "Helvetica-Bold", 15, SUN, "right")
    sheet.label("Photograph: danielbuechele, CC BY 2.0", LEFT, 506, size=6.4, colour=MIST)
    sheet.turn()


def island(sheet: Sheet) -> None:
    paper(sheet, "One day, one loop")
    sheet.box(LEFT, 66, WIDE, 262, fill=MIST, radius=8)
    sheet.shape(COAST, LAND, SEA)
    for (x0, y0), (x1, y1), length in LEGS:
        sheet.rule(x0, y0, x1, y1, CORAL, 2)
        sheet.box((x0 + x1) / 2 - 17, (y0 + y1) / 2 - 7, 34, 14, fill=white, stroke=CORAL, radius=6)
        sheet.label(length, (x0 + x1) / 2, (y0 + y1) / 2 + 3, "Helvetica-Bold", 7.5, CORAL, "centre")
    for name, x, y, anchor, right, down in PLACES:
        sheet.dot(x, y, 5, DEEP, white)
        sheet.label(name, x + right, y + down - 8, "Helvetica-Bold", 8.5, DEEP, anchor)
    sheet.shape(((458, 118), (464, 96), (470, 118)), CORAL)
    sheet.label("N", 464, 132, "Helvetica-Bold", 10, DEEP, "centre")
    sheet.texts(
        (
            "Get off the boat, turn your back on the chip stall and take the lane between the two blue doors. It "
            "climbs past the school to <b>Lantern House</b>, rolls down to the cape along a disused tramway, and "
            "comes home through the <b>dahlia fields</b>. Signposts are painted coral. There is one steep bit; "
            "everyone pushes.",
            "Walkers need a day for it and a second pair of socks. Riders who set out after the early crossing are "
            "back for a late lunch. Whoever is tired at the cape rings the bell in the telephone box, and Maud "
            "comes with the milk van. She takes six passengers and no money.",
            "The spur to <b>Shingle Bay</b> is flat, paved and fit for prams and wheelchairs all the way.",
        ),
        BODY, LEFT, 342, WIDE,
    )  # fmt: skip
    sheet.turn()


def sights(sheet: Sheet) -> None:
    top = paper(sheet, "Four things to see") + 4
    panels = (
        (
            "lighthouse.png", False, "Cape Orrin light", "Drawing: Matthew Gates",
            "Painted in red hoops so that fog-bound skippers could tell it from the chapel. 142 steps; open when the flag is up. The last keeper's daughter guides on Sundays and does the voices.",
        ),
        (
            "dahlia.jpg", True, "The dahlia fields", "Photograph: vultilion, CC BY 2.0",
            "Four hundred varieties, planted in 1921 to hide a gun battery. At their best from the last week of August until the first frost. Cut your own: three stems for two euro in the honesty tin.",
        ),
        (
            "pebbles.jpg", True, "Shingle Bay", "Photograph: CC0Textures",
            "Every stone is grey until you lick it. Swimming is safe on a rising tide only: the ebb pulls towards the skerries. Seals haul out on the northern end, where dogs are not welcome in June.",
        ),
        (
            "pagoda.jpg", True, "Lantern House", "Photograph: danielbuechele, CC BY 2.0",
            "Jasper Quill made a fortune in oolong and spent it on five storeys of painted timber. Each floor has its own collection: kites, kettles, fans, clocks, and on top nothing but the wind.",
        ),
    )  # fmt: skip
    for i, (picture, crop, name, credit, text) in enumerate(panels):
        x, y = LEFT + (i % 2) * 230, top + (i // 2) * 214
        sheet.box(x, y, 222, 206, fill=white, stroke=MIST, radius=6)
        sheet.picture(picture, x + 8, y + 8, 206, 96, crop)
        sheet.text(credit, CREDIT, x + 8, y + 105, 206)
        under = sheet.text(name, SUB, x + 8, y + 115, 206)
        sheet.text(text, ParagraphStyle("panel", parent=BODY, fontSize=8.4, leading=11.2), x + 8, under, 206)
    sheet.turn()


def seasons(sheet: Sheet) -> None:
    y = paper(sheet, "When to come, what to eat") + 4
    sheet.picture("coffee.jpg", 322, y, 164, 130)
    sheet.text("Photograph: Rachel Michetti", CREDIT, 322, y + 132, 164)
    sheet.texts(
        (
            "Breakfast is at Nell's, under the clock that stopped: kippers, seaweed bread and an espresso strong "
            "enough to stand a spoon in. She shuts when the kippers are gone, seldom later than half past ten.",
            "The Anchor serves crab from May to September and mutton pie in all other months. Vegetarians ask for "
            "the samphire omelette, which is on no menu. Supper is at seven; there is no second sitting.",
            "On the third Saturday of July the whole village carries its tables into the street. Bring a plate, "
            "a chair and a dish nobody has cooked before. The dullest wins a marrow.",
        ),
        BODY, LEFT, y, 274,
    )  # fmt: skip
    top = y + 190
    sheet.box(LEFT, top, WIDE, 236, fill=DEEP, radius=8)
    sheet.label("Hours of sunshine a day", LEFT + 18, top + 26, "Helvetica-Bold", 12, white)
    base = top + 206
    for tick in range(0, 11, 2):
        sheet.rule(LEFT + 40, base - tick * 15, LEFT + WIDE - 20, base - tick * 15, SEA, 0.6)
        sheet.label(str(tick), LEFT + 32, base - tick * 15 + 3, size=8, colour=MIST, anchor="right")
    for i, (month, hours) in enumerate(SUNSHINE):
        x = LEFT + 56 + i * 47
        sheet.box(x, base - hours * 15, 28, hours * 15, fill=SUN)
        sheet.label(month, x + 14, base + 14, "Helvetica-Bold", 8.5, white, "centre")
    sheet.turn()


def prices(sheet: Sheet) -> None:
    y = paper(sheet, "Beds, boats and prices") + 4
    y = sheet.table(ROOMS, CELLS, LEFT, y, (200, 84, 84, 84)) + 14
    sheet.picture("sailboat.png", 360, y, 126, 130, crop=False)
    sheet.text("Drawing: Gerald G.", CREDIT, 400, y + 132, 86)
    y = sheet.table(HIRE, CELLS, LEFT, y, (146, 56, 50, 50)) + 16
    y = sheet.text("Getting here", SUB, LEFT, y, 302)
    y = sheet.text(
        "The <i>Marigold</i> sails from Penmorrow quay at 8:10, 11:40 and 16:20, and back an hour later each "
        "time. Cars stay on the mainland; the quayside garage charges six euro a night.",
        BODY, LEFT, y, 302,
    )  # fmt: skip
    sheet.box(LEFT, 396, WIDE, 86, fill=SEA, radius=8)
    sheet.texts(
        (
            "<b>Good to know.</b> There is one cash machine, in the post office, and it sulks on Mondays. The "
            "doctor comes over on Wednesdays; on other days ring the nurse, 0555 018 330.",
            "Holidaymakers pay a levy of 1.80 euro a night from the age of sixteen, which keeps the paths mended "
            "and the cape's lamp lit. Book beds with the bureau at least three weeks before you travel.",
        ),
        PALE, LEFT + 16, 408, WIDE - 32,
    )  # fmt: skip
    sheet.turn()


def main() -> None:
    sheet = Sheet(CORPUS / "travel-brochure.pdf", "Sorrel Island, season 2025", (SIDE, SIDE))
    for draw in (cover, island, sights, seasons, prices):
        draw(sheet)
    sheet.save()


if __name__ == "__main__":
    main()
