"""A pocket guide to a small museum: a tall leaflet with pictures, a floor plan, hours and prices."""

from __future__ import annotations

from reportlab.lib.colors import HexColor, white
from reportlab.lib.enums import TA_CENTER
from reportlab.lib.styles import ParagraphStyle
from reportlab.platypus import Paragraph

from .base import CORPUS
from .layout import Sheet

SIZE = (340.0, 560.0)
NIGHT, GOLD, SAND, INK = HexColor("#1f2440"), HexColor("#c58b2a"), HexColor("#f7f1e3"), HexColor("#26283a")
MUTED, ROOM = HexColor("#6d6a62"), HexColor("#e6dcc3")
LEFT, WIDE = 30.0, 280.0
BODY = ParagraphStyle("body", fontName="Times-Roman", fontSize=10.2, leading=14, textColor=INK, spaceAfter=6)
HEAD = ParagraphStyle("head", fontName="Times-Bold", fontSize=22, leading=25, textColor=NIGHT, spaceAfter=3)
KICK = ParagraphStyle(
    "kick", fontName="Helvetica-Bold", fontSize=7.5, leading=10, textColor=GOLD, spaceAfter=3
)
NOTE = ParagraphStyle("note", fontName="Helvetica", fontSize=7.6, leading=10, textColor=MUTED, spaceAfter=5)
TIP = ParagraphStyle("tip", fontName="Helvetica", fontSize=8.2, leading=11.2, textColor=INK)
LIGHT = ParagraphStyle("light", parent=BODY, textColor=white, alignment=TA_CENTER)
CELLS = [
    ("FONT", (0, 0), (-1, -1), "Helvetica", 8.4),
    ("FONT", (0, 0), (-1, 0), "Helvetica-Bold", 7.8),
    ("TEXTCOLOR", (0, 0), (-1, 0), white),
    ("BACKGROUND", (0, 0), (-1, 0), NIGHT),
    ("TEXTCOLOR", (0, 1), (-1, -1), INK),
    ("LINEBELOW", (0, 1), (-1, -1), 0.4, ROOM),
    ("ALIGN", (1, 0), (-1, -1), "RIGHT"),
    ("TOPPADDING", (0, 0), (-1, -1), 3.5),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 3.5),
]


def paper(sheet: Sheet) -> None:
    sheet.box(0, 0, *SIZE, fill=SAND)
    sheet.box(0, 0, SIZE[0], 9, fill=GOLD)
    sheet.label(
        "Dorrance House Museum · pocket guide · invented for this demo", LEFT, 544, size=6.6, colour=MUTED
    )
    sheet.label(str(sheet.number), LEFT + WIDE, 544, "Helvetica-Bold", 8, GOLD, "right")


def cover(sheet: Sheet) -> None:
    sheet.box(0, 0, *SIZE, fill=NIGHT)
    sheet.picture("galaxies.jpg", 0, 0, SIZE[0], 330)
    sheet.box(0, 330, SIZE[0], 3, fill=GOLD)
    sheet.label("DORRANCE HOUSE", 170, 372, "Times-Bold", 29, white, "centre")
    sheet.label("MUSEUM", 170, 404, "Times-Roman", 26, GOLD, "centre")
    sheet.text("A pocket guide to four rooms, one garden and a very slow clock", LIGHT, LEFT, 424, WIDE)
    sheet.text(
        "Collected by the telescope maker Octavia Dorrance between 1861 and 1919, given to the town of Pell "
        "in her will on the condition that nobody ever be charged to look through the great refractor.",
        ParagraphStyle("small", parent=LIGHT, fontSize=9, leading=12.5),
        LEFT + 12,
        462,
        WIDE - 24,
    )
    sheet.turn()


def plan(sheet: Sheet) -> None:
    paper(sheet)
    y = sheet.text("FINDING YOUR WAY", KICK, LEFT, 30, WIDE)
    y = sheet.text("Floor plan", HEAD, LEFT, y, WIDE)
    rooms = (
        (30, 100, 120, 110, "1", "Coin cabinet"),
        (150, 100, 160, 70, "2", "Light and lenses"),
        (150, 170, 160, 90, "3", "Music room"),
        (30, 210, 120, 120, "4", "Observatory"),
        (150, 260, 100, 70, "5", "Tea room"),
        (250, 260, 60, 70, "6", "Cloaks"),
    )
    for x, top, wide, high, number, name in rooms:
        sheet.box(x, top, wide, high, fill=ROOM, stroke=NIGHT, line=2)
        sheet.dot(x + wide / 2, top + high / 2 - 8, 11, NIGHT)
        sheet.label(number, x + wide / 2, top + high / 2 - 4, "Helvetica-Bold", 11, white, "centre")
        sheet.label(name, x + wide / 2, top + high / 2 + 18, size=8, colour=INK, anchor="centre")
    for x, top, wide, high in (
        (142, 140, 16, 18),
        (215, 163, 24, 14),
        (190, 253, 22, 14),
        (142, 285, 16, 18),
    ):
        sheet.box(x, top, wide, high, fill=ROOM)
    sheet.box(268, 324, 26, 12, fill=SAND)
    sheet.label("ENTRANCE", 281, 347, "Helvetica-Bold", 7, GOLD, "centre")
    sheet.label("GARDEN AND SUNDIAL", 90, 347, "Helvetica-Bold", 7, GOLD, "centre")
    sheet.texts(
        (
            "Come in by the cloakroom, turn left through the tea room and begin with the observatory while the "
            "morning is still quiet. Every doorway is level; the only steps, eleven of them, lead up to the eyepiece, "
            "and a mirror brings the view down to a bench for anyone who prefers to stay on the ground.",
            "Rucksacks go into the lockers; they take a one-euro coin and give it back. Pencils may be used for "
            "sketching everywhere, pens in none of the rooms. A full visit takes about seventy minutes.",
            "Children find a brass beetle hidden in each numbered room. Whoever has counted six legs on all of "
            "them gets a stamp at the till.",
        ),
        BODY,
        LEFT,
        368,
        WIDE,
    )
    sheet.turn()


def room(
    sheet: Sheet, kick: str, head: str, picture: str, caption: str, texts: tuple[str, ...], tip: str
) -> None:
    paper(sheet)
    y = sheet.text(kick, KICK, LEFT, 30, WIDE)
    y = sheet.text(head, HEAD, LEFT, y, WIDE) + 6
    sheet.box(LEFT, y, WIDE, 205, fill=white)
    sheet.picture(picture, LEFT, y, WIDE, 205, crop=picture != "jupiter.jpg")
    y = sheet.text(caption, NOTE, LEFT, y + 210, WIDE)
    y = sheet.texts(texts, BODY, LEFT, y + 4, WIDE)
    callout(sheet, tip, y + 4)
    sheet.turn()


def callout(sheet: Sheet, tip: str, y: float) -> None:
    box = Paragraph(f"<b>Before you leave the room.</b> {tip}", TIP)
    _, high = box.wrapOn(sheet.canvas, WIDE - 28, 200)
    sheet.box(LEFT, y, WIDE, high + 14, fill=ROOM)
    sheet.box(LEFT, y, 4, high + 14, fill=GOLD)
    sheet.flow(box, LEFT + 16, y + 6, WIDE - 28)


def music(sheet: Sheet) -> None:
    paper(sheet)
    y = sheet.text("ROOM 3", KICK, LEFT, 30, WIDE)
    sheet.text("The music room", HEAD, LEFT, y, WIDE)
    sheet.box(LEFT, 78, WIDE, 190, fill=white)
    sheet.picture("violin.png", LEFT + 6, 84, 150, 90, crop=False)
    sheet.picture("trumpet.webp", LEFT + 6, 178, 150, 80, crop=False)
    sheet.picture("jukebox.png", LEFT + 165, 84, 105, 178, crop=False)
    y = sheet.text("Violin, trumpet and jukebox. Drawings: Gerald G., Open Clip Art.", NOTE, LEFT, 273, WIDE)
    y = sheet.texts(
        (
            "Dorrance could not play a note, and bought instruments for the way they were joined. The violin, "
            "by an unknown hand in the Jura, has a back made of nine strips of pear wood; hold your ear to the "
            "listening horn and it sounds twice, once bowed and once plucked.",
            "The trumpet belonged to the town's night watchman. He blew the hours from the gasworks chimney until "
            "1908, when the residents of Chimney Row collected signatures for a clock instead.",
            "The youngest piece is a jukebox of 1954, rescued from the Café Adler. It holds twenty-four records. "
            "Press G7: it is always a waltz, and the attendants are allowed to dance.",
        ),
        BODY,
        LEFT,
        y + 4,
        WIDE,
    )
    callout(
        sheet, "Try the thumb piano made of hairpins. Four tunes are pinned to the wall, easiest first.", y
    )
    sheet.turn()


def visit(sheet: Sheet) -> None:
    paper(sheet)
    y = sheet.text("BEFORE YOU COME", KICK, LEFT, 30, WIDE)
    y = sheet.text("Hours and prices", HEAD, LEFT, y, WIDE) + 4
    hours = [
        ["", "March – October", "November – February"],
        ["Monday", "closed", "closed"],
        ["Tuesday – Thursday", "10:00 – 17:00", "11:00 – 16:00"],
        ["Friday", "10:00 – 21:30", "11:00 – 20:00"],
        ["Saturday, Sunday", "9:30 – 18:00", "11:00 – 16:00"],
    ]
    y = sheet.table(hours, CELLS, LEFT, y, (104, 88, 88)) + 14
    prices = [
        ["Ticket", "Museum", "with planetarium"],
        ["Adults", "€ 7.50", "€ 11.00"],
        ["Pupils, students, over 65", "€ 4.00", "€ 6.50"],
        ["Under 8 years", "free", "€ 2.00"],
        ["Family (2 + all children)", "€ 16.00", "€ 23.00"],
        ["Year card", "€ 28.00", "€ 40.00"],
    ]
    y = sheet.table(prices, CELLS, LEFT, y, (120, 70, 90)) + 12
    sheet.texts(
        (
            "<b>Star nights.</b> On clear Fridays the dome opens at dusk. Places at the eyepiece cannot be reserved: "
            "take a wooden number from the hook by the door and wait for it to be called.",
            "<b>Getting here.</b> Tram 2 to Gasworks Lane, then four minutes on foot along the canal. There is one "
            "parking space for visitors with a disability, to the right of the gate; ring twice.",
            "<b>Groups</b> of more than nine people are asked to telephone a week ahead: 0555 01 44 20. A tour "
            "lasts an hour and costs 55 euro, in English, Polish or sign language.",
        ),
        BODY,
        LEFT,
        y,
        WIDE,
    )
    sheet.turn()


def main() -> None:
    sheet = Sheet(CORPUS / "museum-guide.pdf", "Dorrance House Museum: a pocket guide", SIZE)
    cover(sheet)
    plan(sheet)
    room(
        sheet,
        "ROOM 1",
        "The coin cabinet",
        "coins.webp",
        "Tray VII of the cabinet. Photograph: Brooklyn Museum collection.",
        (
            "The twenty-four silver and bronze pieces in Tray VII were dug out of a garden at Pompeii. Dorrance "
            "paid for them with a pair of opera glasses, a bargain that her brother Lucian never forgave.",
            "Look at the third row: two portraits face left while all the others face right. They were struck "
            "from the same worn die, which had cracked behind the ear. Run a finger over the enlarged plaster cast "
            "on the wall and the crack can be felt.",
            "The cabinet itself is of yew and has one drawer more than can be counted from the front. It held "
            "the key to the observatory until a burglar, in 1932, found it before the curators did.",
        ),
        "Turn the brass wheel beside the window: a lamp runs along the tray and shows which coins were gilded.",
    )
    room(
        sheet,
        "ROOM 2",
        "Light and lenses",
        "photographer.jpg",
        "A surveyor of light at work. Photograph: Lav Varshney.",
        (
            "Before she ground mirrors for telescopes, Dorrance ground lenses for portrait studios. Eleven of "
            "her brass-bound objectives lie in the long case; the largest weighs as much as a goose.",
            "The camera obscura works whenever the sun is out. Close the curtain, wait until your eyes have "
            "settled and the street appears upside down on the table. Pigeons walk on their heads across it.",
            "Opposite hangs the first picture ever taken of Pell: an exposure of forty minutes, in which the "
            "market square looks deserted because nobody stood still for long enough.",
        ),
        "Sit for your silhouette. The attendant cuts it from black card in three minutes, and keeps a copy.",
    )
    music(sheet)
    room(
        sheet,
        "ROOM 4",
        "The observatory",
        "jupiter.jpg",
        "Jupiter as it appears on a steady night. Drawing: Dan Gerhards.",
        (
            "The great refractor was finished in 1889. Its front lens measures 31 centimetres across and took "
            "two winters to polish, because the workshop could not be heated without bending the glass.",
            "On Friday evenings four moons can be made out beside the striped planet. The red storm is harder: ask "
            "for the blue filter, and be patient, since it faces us for only a few hours at a time.",
            "The slow clock below the dome makes one turn in 23 hours and 56 minutes. It keeps the time of the "
            "stars, not ours, and is therefore right once a year, about the autumn equinox.",
        ),
        "The visitors' book has been signed by two comets: their discoverers, that is, in 1902 and 1931.",
    )
    visit(sheet)
    sheet.save()


if __name__ == "__main__":
    main()
