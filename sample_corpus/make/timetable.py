"""A ferry and bus timetable in landscape, with notes."""

from __future__ import annotations

from typing import Any

from reportlab.lib.colors import HexColor, white
from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.units import mm
from reportlab.platypus import PageBreak, Paragraph, Spacer, Table, TableStyle

from .base import CORPUS, HAIR, build, footer, styles

BLUE, PALE = HexColor("#0b4f6c"), HexColor("#e8f1f5")
STYLE = styles(size=9.5, accent="#0b4f6c")


def clock(minutes: int) -> str:
    return f"{minutes // 60 % 24:02d}:{minutes % 60:02d}"


def runs(first: str, offsets: list[int | None], every: list[int]) -> list[list[str]]:
    """Rows of departure times: one row a stop, one column a run; None means the stop is passed."""
    hours, minutes = map(int, first.split(":"))
    starts = [hours * 60 + minutes + step for step in every]
    return [["–" if offset is None else clock(start + offset) for start in starts] for offset in offsets]


def grid(stops: list[str], times: list[list[str]], marks: list[str]) -> Table:
    header = ["", *marks]
    table = Table([header, *([stop, *row] for stop, row in zip(stops, times, strict=True))], repeatRows=1)
    table.setStyle(
        TableStyle(
            [
                ("FONT", (0, 0), (-1, -1), "Helvetica", 9),
                ("FONT", (0, 1), (0, -1), "Helvetica-Bold", 9),
                ("FONT", (0, 0), (-1, 0), "Helvetica-Bold", 8),
                ("BACKGROUND", (0, 0), (-1, 0), BLUE),
                ("TEXTCOLOR", (0, 0), (-1, 0), white),
                ("ALIGN", (1, 0), (-1, -1), "CENTER"),
                ("ROWBACKGROUNDS", (0, 1), (-1, -1), [white, PALE]),
                ("LINEBELOW", (0, 0), (-1, -1), 0.4, HAIR),
                ("TOPPADDING", (0, 0), (-1, -1), 5),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 5),
            ]
        )
    )
    return table


def page(
    title: str, lead: str, stops: list[str], times: list[list[str]], marks: list[str], notes: list[str]
) -> list[Any]:
    return [
        Paragraph(title, STYLE["h1"]),
        Paragraph(lead, STYLE["body"]),
        grid(stops, times, marks),
        Spacer(1, 5 * mm),
        *(Paragraph(note, STYLE["body"]) for note in notes),
    ]


def main() -> None:
    bus = page(
        "Line 12 · Central Station – University – Airport",
        "Monday to Friday, valid from 15 December 2024 to 13 June 2025",
        [
            "Central Station, bay C",
            "Market Square",
            "Opera",
            "University, main gate",
            "Hospital",
            "Science Park",
            "Airport, Terminal 1",
            "Airport, Terminal 2",
        ],
        runs(
            "05:12",
            [0, 4, 7, 13, 17, 24, 36, 39],
            [0, 30, 60, 80, 100, 120, 140, 180, 240, 300, 420, 540, 660, 780],
        ),
        ["", "", "S", "S", "", "S", "", "", "", "", "", "", "", "N"],
        [
            "<b>S</b> runs on school days only. <b>N</b> is the last bus; after it take night line N4 from the Opera.",
            "Between 09:00 and 18:00 there is a further bus every twenty minutes as far as the Science Park. "
            "Bicycles travel free after 19:00, space permitting; folded ones at any time.",
            "Tickets are sold by machines at every stop and not by the driver. A single ride to the airport costs 4.60 euro, the zone supplement included.",
        ],
    )
    ferry = page(
        "Ferry F2 · Port Amsel – Gull Island – Lighthouse Rock",
        "Daily from 1 April to 31 October; from November to March only the runs marked W",
        ["Port Amsel, pier 3", "Gull Island, village", "Gull Island, north beach", "Lighthouse Rock"],
        runs("06:30", [0, 35, 50, 75], [0, 105, 210, 300, 390, 480, 570, 690, 780]),
        ["W", "W", "", "W", "", "W", "", "W", "F"],
        [
            "<b>F</b> Fridays and Saturdays only. <b>W</b> also in winter. The crossing to Lighthouse Rock is cancelled when the wind "
            "exceeds 7 Beaufort; passengers are then put ashore at the village.",
            "Vehicles must be booked by noon of the day before and be at the pier twenty-five minutes before sailing. Dogs travel on deck on a lead.",
            "Return fare: adults 18.40 euro, children of 6 to 14 years 9.20 euro, cars up to 5 m 44.00 euro.",
        ],
    )
    night = page(
        "Night line N4 · Opera – Harbour – Allotments – Opera",
        "Nights before Saturdays, Sundays and public holidays",
        ["Opera", "Harbour, warehouse 9", "Fish Market", "Stadium", "Allotments", "Opera"],
        runs("23:40", [0, 9, 14, None, 27, 41], [0, 60, 120, 180, 240, 300]),
        ["", "", "K", "K", "", "L"],
        [
            "<b>K</b> calls at the Stadium on match days only, three minutes after the Fish Market. <b>L</b> connects at 05:21 with the first train to the capital.",
            "You may ask the driver to be let out between two stops anywhere beyond the Fish Market: ring once and come to the front door.",
            "Lost something? The office at Harbour Road 7 is open on Tuesdays and Thursdays from 14:00 to 18:30. Umbrellas are kept for six weeks.",
        ],
    )
    story = [*bus, PageBreak(), *ferry, PageBreak(), *night]
    build(
        CORPUS / "timetable.pdf",
        "Timetable winter 2024/25",
        story,
        footer("Amsel Transport · timetable 2024/25 · an invented company"),
        landscape(A4),
    )
