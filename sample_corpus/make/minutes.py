"""Minutes of an allotment society's meeting: plain, typed, with decisions and votes."""

from __future__ import annotations

from reportlab.lib.colors import HexColor
from reportlab.platypus import PageBreak, Paragraph, Spacer, Table, TableStyle

from .base import CORPUS, HAIR, build, footer, styles

STYLE = styles("Times-Roman", "Times-Bold", 13, accent="#3b5d34")

FIRST = (
    (
        "1. Apologies and last minutes",
        "Apologies came from Mrs Adeyemi and the Lindqvist family. The minutes of 9 January were read and approved without changes.",
    ),
    (
        "2. Water",
        "The standpipe at the north gate has leaked since the frost. Mr Castellano offered to fit a new valve if the society buys it; the price is about 64 euro. <b>Decided</b> with 21 votes against 2. Until then the north tap is shut and plots 30 to 44 use the one behind the tool shed. Members are reminded that hoses may run for at most forty minutes and never between eleven and four.",
    ),
    (
        "3. Hedgehogs and netting",
        "Three hedgehogs were found caught in bean netting last summer, one of them dead. Ms Rowntree showed a rigid mesh with openings of five centimetres. <b>Decided</b> unanimously: loose netting is no longer allowed below knee height from 1 April. The shed holds two rolls of mesh that anyone may cut from.",
    ),
    (
        "4. Waiting list",
        "There are 38 households on the list, eleven more than last year. Two plots have become free. It was proposed to halve plot 17, which nobody has managed to dig alone since 2019. After a long discussion the proposal was put off to the summer walk, when everyone can look at it.",
    ),
)
SECOND = (
    (
        "5. Bonfires",
        "A resident of Tannery Lane complained in writing about smoke on washing day. <b>Decided</b> with 17 votes against 6: fires only on the first Saturday of the month, after dusk, and only of dry wood. Anyone who lights one tells the secretary beforehand.",
    ),
    (
        "6. Seed swap and summer walk",
        "The swap is on 23 March from two o'clock in the scout hut; tables are free, cake is expected. The walk over the plots is on 16 June. The prize for the heaviest pumpkin goes this year to the straightest carrot, after last year's trouble with the scales.",
    ),
    (
        "7. Money",
        "The treasurer, Mr Yilmaz, reported as follows. The auditors found no fault and the committee was discharged. The rent of a full plot rises from 48 to 52 euro a year, the first increase in six years.",
    ),
)
ACCOUNT = (
    ("", "2022", "2023"),
    ("Rents", "3,120", "3,168"),
    ("Compost and seed sales", "412", "575"),
    ("Water bill", "-1,240", "-1,695"),
    ("Insurance", "-388", "-402"),
    ("Repairs and tools", "-910", "-356"),
    ("Carried forward", "994", "1,290"),
)


def main() -> None:
    table = Table(ACCOUNT, colWidths=[190, 80, 80], hAlign="LEFT")
    table.setStyle(
        TableStyle(
            [
                ("FONT", (0, 0), (-1, -1), "Times-Roman", 11),
                ("FONT", (0, 0), (-1, 0), "Times-Bold", 11),
                ("FONT", (0, -1), (-1, -1), "Times-Bold", 11),
                ("ALIGN", (1, 0), (-1, -1), "RIGHT"),
                ("LINEBELOW", (0, 0), (-1, -2), 0.5, HAIR),
                ("LINEABOVE", (0, -1), (-1, -1), 1, HexColor("#3b5d34")),
            ]
        )
    )
    story = [
        Paragraph("Minutes of the annual meeting", STYLE["h1"]),
        Paragraph(
            "Millbrook Allotment Society, held on Tuesday 13 February 2024 in the scout hut, 19:30 to 21:50. Present: 24 members and one dog. In the chair: Wilhelmina Oyelaran. Minutes: Jonas Feld.",
            STYLE["small"],
        ),
        Spacer(1, 12),
        *(
            Paragraph(text, STYLE[style])
            for heading, body in FIRST
            for text, style in ((heading, "h2"), (body, "justified"))
        ),
        PageBreak(),
        *(
            Paragraph(text, STYLE[style])
            for heading, body in SECOND
            for text, style in ((heading, "h2"), (body, "justified"))
        ),
        table,
        Spacer(1, 12),
        Paragraph("8. Elections", STYLE["h2"]),
        Paragraph(
            "Ms Oyelaran was re-elected to the chair without a vote against. Jonas Feld gives up as secretary after nine years; Priya Raman takes over and was handed the key to the notice board, the rubber stamp and the cat flap.",
            STYLE["justified"],
        ),
        Paragraph("Next meeting: Tuesday 11 February 2025.", STYLE["body"]),
    ]
    build(
        CORPUS / "minutes.pdf",
        "Minutes 2024",
        story,
        footer("Millbrook Allotment Society · an invented society"),
    )
