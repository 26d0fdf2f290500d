"""House rules of an apartment building, three pages with coloured panels."""

from __future__ import annotations

from reportlab.lib.colors import HexColor, white
from reportlab.platypus import PageBreak, Paragraph, Spacer, Table, TableStyle

from .base import CORPUS, HAIR, build, footer, styles

STYLE = styles(size=13.6, accent="#9a3412")
SAND, RUST = HexColor("#fdf3e7"), HexColor("#9a3412")


def panel(heading: str, *paragraphs: str) -> Table:
    inner = [[Paragraph(heading, STYLE["h2"])], *([Paragraph(text, STYLE["body"])] for text in paragraphs)]
    table = Table(inner, colWidths=[493])
    table.setStyle(
        TableStyle(
            [
                ("BACKGROUND", (0, 0), (-1, -1), SAND),
                ("LINEBEFORE", (0, 0), (0, -1), 3, RUST),
                ("LEFTPADDING", (0, 0), (-1, -1), 12),
                ("TOPPADDING", (0, 0), (-1, -1), 2),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
            ]
        )
    )
    return table


WASTE = (
    ("What", "Where", "Collected"),
    ("Paper, flattened boxes", "Blue bin, courtyard left", "every second Monday"),
    ("Glass, without lids", "Igloos at the corner of Elm Street", "not after 20:00"),
    ("Peelings, coffee grounds, flowers", "Brown bin, courtyard right", "Thursdays, weekly in summer"),
    ("Yoghurt pots, cans, foil", "Yellow sacks, shed", "first Wednesday of the month"),
    ("Batteries, light bulbs", "Box beside the caretaker's door", "when full"),
    ("Sofas, mattresses, fridges", "Order a pick-up: extension 80", "28 euro an item"),
)


def main() -> None:
    table = Table(WASTE, colWidths=[170, 190, 133])
    table.setStyle(
        TableStyle(
            [
                ("BACKGROUND", (0, 0), (-1, 0), RUST),
                ("TEXTCOLOR", (0, 0), (-1, 0), white),
                ("FONT", (0, 0), (-1, 0), "Helvetica-Bold", 9.4),
                ("FONT", (0, 1), (-1, -1), "Helvetica", 9.4),
                ("ROWBACKGROUNDS", (0, 1), (-1, -1), [white, SAND]),
                ("LINEBELOW", (0, 0), (-1, -1), 0.5, HAIR),
                ("TOPPADDING", (0, 0), (-1, -1), 10),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 10),
            ]
        )
    )
    gap = Spacer(1, 10)
    story = [
        Paragraph("Living together at Elm Court 5", STYLE["title"]),
        Paragraph(
            "Forty-two flats share one staircase, one boiler and one courtyard. These rules were agreed by the owners on 3 June 2024 and are part of every tenancy.",
            STYLE["body"],
        ),
        gap,
        panel(
            "Quiet hours",
            "Nobody drills, hammers or practises the trumpet between 22:00 and 07:00, on Sundays, or from 13:00 to 15:00 on weekdays. Pianos may be played for two hours a day outside these times.",
            "If you plan a party, hang a note in the entrance three days ahead with your telephone number. At midnight the windows are closed and the music goes down to room volume.",
        ),
        gap,
        panel(
            "Staircase and front door",
            "Prams and walking frames may stand under the stairs, nothing else: it is the only way out in a fire. The front door shuts by itself and is never wedged open, not even on moving day.",
            "A lost key costs 95 euro, because the whole cylinder has to be changed. Report it on the same day.",
        ),
        PageBreak(),
        Paragraph("Laundry, bicycles, animals", STYLE["h1"]),
        panel(
            "Laundry room",
            "Each household books one half-day a week on the list beside the dryer. A wash takes a token of 1.50 euro, the dryer one of 2 euro; tokens are sold by the caretaker on Fridays from 17:00 to 18:00.",
            "Wipe the rubber seal, leave the drum open and clean the lint filter when you finish. Dyeing fabrics in the machines is forbidden since the pink week of 2021.",
        ),
        gap,
        panel(
            "Bicycle cellar",
            "There are sixty hooks for eighty bicycles. Put your flat's number on the frame; whatever is unmarked on 1 March goes to the repair workshop of the youth centre. Batteries of electric bicycles are charged in the flat and not in the cellar.",
        ),
        gap,
        panel(
            "Animals",
            "Cats, and dogs up to knee height, are welcome without asking. Larger dogs, parrots and snakes need the written consent of the owners' association. Feeding pigeons from balconies is not allowed.",
        ),
        PageBreak(),
        Paragraph("Waste and warmth", STYLE["h1"]),
        table,
        gap,
        panel(
            "Heating and airing",
            "The boiler runs from 1 October to 30 April, and at other times when three days in a row stay below 12 degrees. Keep every room above 16 degrees so that no pipe freezes and no wall grows mould.",
            "Open the windows wide for five minutes three times a day instead of leaving them tilted. Radiators are bled by the caretaker only.",
        ),
        gap,
        panel(
            "In an emergency",
            "Gas smell: no light switch, no doorbell, out at once, then 0800 445 220. Burst pipe: the main tap is behind the grey flap in the laundry room. Lift stuck: press the bell for five seconds, help comes within forty minutes.",
        ),
    ]
    build(
        CORPUS / "house-rules.pdf",
        "House rules",
        story,
        footer("Elm Court 5 · house rules · an invented address"),
    )
