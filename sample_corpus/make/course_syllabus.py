"""Syllabus of an evening course in practical astronomy."""

from __future__ import annotations

from reportlab.lib.colors import HexColor, white
from reportlab.platypus import PageBreak, Paragraph, Spacer, Table, TableStyle

from .base import CORPUS, build, footer, styles

STYLE = styles(size=12.6, accent="#312e81")
NIGHT, PALE = HexColor("#312e81"), HexColor("#eef0fb")

WEEKS = (
    ("Week", "Topic", "Outdoors, if clear", "Read before"),
    ("1", "Finding your way: pole star, compass, planisphere", "The Plough and Cassiopeia", "ch. 1"),
    ("2", "Eyes, binoculars and dark adaptation", "Counting the Pleiades", "ch. 2"),
    ("3", "Moon: seas, rays and the terminator", "Sketch one crater", "ch. 4"),
    ("4", "Telescopes: refractor, reflector, mounts", "Aligning the club's 20 cm Dobsonian", "ch. 5"),
    ("5", "Planets tonight", "Jupiter's four moons", "ch. 7"),
    ("6", "Why stars have colours", "Betelgeuse against Rigel", "ch. 9"),
    ("7", "Double and variable stars", "Splitting Albireo", "ch. 10"),
    ("8", "Nebulae and clusters", "The Orion nebula", "ch. 12"),
    ("9", "Galaxies and very large numbers", "Andromeda with the naked eye", "ch. 14"),
    ("10", "Photographing the sky with a telephone", "Star trails over the barn", "handout"),
)


def grid(rows: tuple[tuple[str, ...], ...], widths: list[int]) -> Table:
    cells = [rows[0], *([Paragraph(text, STYLE["cell"]) for text in row] for row in rows[1:])]
    table = Table(cells, colWidths=widths)
    table.setStyle(
        TableStyle(
            [
                ("BACKGROUND", (0, 0), (-1, 0), NIGHT),
                ("TEXTCOLOR", (0, 0), (-1, 0), white),
                ("FONT", (0, 0), (-1, 0), "Helvetica-Bold", 10),
                ("ROWBACKGROUNDS", (0, 1), (-1, -1), [white, PALE]),
                ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
                ("TOPPADDING", (0, 0), (-1, -1), 12),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 12),
            ]
        )
    )
    return table


def main() -> None:
    body, h1, h2 = STYLE["body"], STYLE["h1"], STYLE["h2"]
    grades = (
        ("Part", "Share", "What counts"),
        (
            "Observation diary",
            "40 %",
            "At least eight nights, drawn or photographed, with time, place and weather",
        ),
        ("Short talk", "25 %", "Seven minutes on one object of your choice, without slides"),
        ("Identification walk", "35 %", "Name fifteen of twenty objects pointed at with the green laser"),
    )
    books = (
        "I. Castellan, <i>A Patient Sky</i>, second edition, Ferry Lane Press. The course book; chapters refer to it.",
        "M. Oduya, <i>Binocular Evenings</i>. Short, cheap and enough for the first month.",
        "R. Halloran and S. Whitcombe, <i>The Moon in Forty Drawings</i>. For week three; the library holds four copies.",
        "A. Vasquez, <i>How Far, How Old, How Do We Know</i>. For those who want the arguments behind the distances.",
    )
    story = [
        Paragraph("Practical Astronomy for Beginners", STYLE["title"]),
        Paragraph(
            "Evening course E-114 · Northfield College of Further Education · autumn term", STYLE["small"]
        ),
        Paragraph("What this course is about", h1),
        Paragraph(
            "You will learn to find your way around the night sky without a computer, to choose and handle a small telescope, and to write down what you see so that somebody else can check it. No mathematics beyond multiplication is assumed. Clouds are; for every outdoor task there is one for the classroom.",
            body,
        ),
        Paragraph("When and where", h2),
        Paragraph(
            "Wednesdays from 19:15 to 21:30, ten evenings from 2 October, in room B 204. On clear nights we walk to the meadow behind the agricultural barn, which is seven minutes away and has no lamps. Wear more than you think you need.",
            body,
        ),
        Paragraph("Teacher", h2),
        Paragraph(
            "Dr. Imogen Falk, who spent eleven years measuring asteroids before she took to teaching. Office hour on Mondays, 16:00 to 17:00, or by letter in the box outside B 204.",
            body,
        ),
        Paragraph("Fee", h2),
        Paragraph(
            "136 euro; 68 euro for pupils, students and pensioners. Fees are refunded in full until the second evening. Star charts and red torches are lent by the college against a deposit of ten euro.",
            body,
        ),
        PageBreak(),
        Paragraph("Ten evenings", h1),
        grid(WEEKS, [42, 205, 180, 66]),
        PageBreak(),
        Paragraph("How you are marked", h1),
        grid(grades, [120, 55, 318]),
        Spacer(1, 10),
        Paragraph(
            "A certificate is given from 60 per cent. Diaries handed in late lose five points a day, except when the delay is due to a supernova.",
            body,
        ),
        Paragraph("Books", h1),
        *(Paragraph(f"{i}. {book}", body) for i, book in enumerate(books, 1)),
        Paragraph("Conduct on the meadow", h1),
        Paragraph(
            "White light ruins everybody's eyes for twenty minutes: red torches only, telephones in pockets, cars parked facing away. Never point the laser at aircraft. Whoever knocks over the tripod makes the tea.",
            body,
        ),
    ]
    build(
        CORPUS / "course-syllabus.pdf",
        "Course syllabus",
        story,
        footer("Northfield College · course E-114 · an invented college"),
    )
