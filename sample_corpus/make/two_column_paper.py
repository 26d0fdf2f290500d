"""A two-column paper on bats and street lights. Authors, institute and data are invented."""

from __future__ import annotations

import random
from typing import Any

from reportlab.graphics.charts.barcharts import VerticalBarChart
from reportlab.graphics.shapes import Circle, Drawing, Line, String
from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_CENTER
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import (
    BaseDocTemplate,
    Frame,
    FrameBreak,
    NextPageTemplate,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
    TableStyle,
)

from .base import CORPUS, GREY, HAIR, INK, footer, styles

STYLE = styles("Times-Roman", "Times-Bold", 9.6, accent="#111111")
HEAD = ParagraphStyle("head", parent=STYLE["h2"], fontSize=11, spaceBefore=9)
AMBER, BLUE, GREEN = HexColor("#d97706"), HexColor("#2563eb"), HexColor("#15803d")
COLUMN = 84 * mm

ABSTRACT = (
    "Street lighting is being converted from sodium lamps to light-emitting diodes at great speed. We asked whether the colour of the "
    "new lamps and the hour at which they are dimmed change how bats use a town at night. Over two summers we recorded calls at 48 lamp "
    "posts in a town of 31,000 inhabitants, exchanging the lamps in a crossover design. Amber diodes cost slow-flying woodland species "
    "less than half of the activity that neutral white ones did. Dimming after 23:00 brought back most of the loss, but only where a "
    "hedge or a row of trees led from one dark patch to the next. Fast aerial hunters were unaffected or gained. We conclude that where "
    "lamps must stay, colour, hour and greenery have to be planned together."
)
SECTIONS = (
    (
        "1. Introduction",
        (
            "Bats leave their roosts when most people go home, and they meet the same infrastructure. For species that hunt insects in the open, a lamp is a table laid by the municipality: moths circle under it, and a pipistrelle can fill its stomach within an hour. For species that glean their prey from leaves, or that commute along hedges, the same lamp is a wall. They turn round, fly a detour, or leave the colony later and hunt for a shorter time [1, 2].",
            "Towns replace lamps to save current, and the replacement offers three choices that the old technology did not: the colour of the light, its direction, and its strength at every hour. The literature compares colours in forests and on farmland [3, 4]. Whether the result carries over to gardens, car parks and playing fields, where light comes from many sides at once, is unknown.",
            "We put three questions. Does amber light disturb less than neutral white light of equal illuminance on the ground? Does switching down late in the evening help, given that most bats are out early? And does either measure work in places without connecting greenery?",
        ),
    ),
    (
        "2. Study area and methods",
        (
            "The study took place in a river town with an old centre, a belt of detached houses and an industrial fringe. From the lamp register we drew 48 posts at random, sixteen in each of three settings: beside a continuous hedge, beside single trees, and without woody plants within forty metres.",
            "Each post carried, for two weeks at a time, a neutral white lamp (4,000 K), an amber lamp (1,800 K), or a hood that left it dark. The order was rotated so that every post saw every treatment in both summers. All lamps gave eleven lux at the foot of the post. From 23:00 they were dimmed to three lux in every second period.",
            "Recorders hung at three metres, facing away from the lamp, and ran from sunset to sunrise. They triggered on sounds above 15 kHz. Calls were sorted into four groups by an automatic classifier, and a tenth of the files was checked by ear and by eye by two of us independently; agreement was 94 per cent.",
            "We counted minutes with at least one call, because a count of calls would let a single circling animal pass for a swarm. Nights with rain, with wind above 6 m/s or below nine degrees were left out. That left 2,611 recorder nights.",
            "Activity was analysed with a generalised linear mixed model with a negative binomial error, post and date as random effects, and treatment, dimming, setting and their interactions as fixed effects. Intervals are 95 per cent profile intervals.",
        ),
    ),
    (
        "3. Results",
        (
            "We recorded 71,930 minutes with bats. Common pipistrelles made up two thirds of them, followed by noctules and serotines. The slow group, mouse-eared and long-eared bats together, contributed only 5.1 per cent, yet they were heard at 44 of the 48 posts.",
            "Figure 1 shows activity by lamp colour. Under white lamps the slow group fell to a fifth of what it was at dark posts; under amber lamps it fell to little more than half. Pipistrelles did the opposite and rose under white light. Noctules, which hunt far above the roofs, showed no difference.",
            "Dimming at 23:00 raised the activity of slow species in the second half of the night by a factor of 2.3 beside hedges (interval 1.7 to 3.1). Beside single trees the factor was 1.4, and where there was no greenery it could not be told from one. Before 23:00 there was no effect, as there should not be.",
            "Table 1 gives the cost. An amber lamp uses some eighteen per cent more current than a white one for the same illuminance; late dimming saves more than twice that. The combination is thus cheaper than what most towns now install.",
            "Moths caught in a light trap at six of the posts were fewest under amber lamps: 31 a night, against 112 under white and 9 at the hooded posts (Figure 2).",
        ),
    ),
    (
        "4. Discussion",
        (
            "The three measures are not interchangeable. Colour decides how hard a lamp pushes; the hour decides for how long; and the hedge decides whether an animal has anywhere to be pushed to. A town that buys amber lamps but fells the hedge has gained little.",
            "Why does late dimming help animals that emerge at dusk? Radio-tracking of six brown long-eared bats by the local group suggests that they wait. Lactating females returned to the roost before eleven and used the darker hours for a second, longer flight.",
            "Our study has limits. Lamps were exchanged one at a time, so that a treated post always stood among untreated ones; a whole street in amber may act differently. The town lies on a plain, and valleys with fog may scatter light further. Finally, two summers are short for animals that live for twenty years.",
            "For practice we suggest an order: first remove lamps that nobody needs, then dim the others from 23:00, then choose amber along water and hedges, and plant the gaps. The last step is the slowest and should therefore be begun first.",
        ),
    ),
    (
        "Acknowledgements",
        (
            "We thank the municipal works for climbing 576 lamp posts without complaint, and forty residents for tolerating a dark doorstep. Two anonymous reviewers disagreed with each other in a helpful way.",
        ),
    ),
)
REFERENCES = (
    "[1] Arvidsen, T. and Bloom, K. (2016). Commuting costs of lamp avoidance in gleaning bats. Nocturnal Ecology 4, 11–29.",
    "[2] Quist, M. (2018). A wall of light. Landscape Letters 22, 140–151.",
    "[3] de Haan, P., Oliveira, S. and Ruhl, E. (2019). Spectrum and moth catch: a field trial with five lamps. Insects and Towns 7, 3–18.",
    "[4] Ito, H. (2021). Red light and forest bats. Forest Night 13, 77–90.",
    "[5] Varga, L. (2022). Classifying ultrasound with small networks. Bioacoustic Methods 9, 201–219.",
)


def activity() -> Drawing:
    drawing = Drawing(COLUMN, 160)
    chart = VerticalBarChart()
    chart.x, chart.y, chart.width, chart.height = 28, 30, COLUMN - 36, 105
    chart.data = [(9.8, 31.0, 7.9), (5.3, 36.5, 8.1), (2.0, 49.2, 7.7)]
    chart.categoryAxis.categoryNames = ["slow species", "pipistrelles", "noctules"]
    chart.categoryAxis.labels.fontSize = 8
    chart.valueAxis.valueMin, chart.valueAxis.valueMax, chart.valueAxis.valueStep = 0, 50, 10
    chart.valueAxis.labels.fontSize = 7
    for i, colour in enumerate((INK, AMBER, BLUE)):
        chart.bars[i].fillColor, chart.bars[i].strokeColor = colour, None
        drawing.add(Circle(50 + i * 60, 150, 4, fillColor=colour, strokeColor=None))
        drawing.add(String(58 + i * 60, 147, ("dark", "amber", "white")[i], fontSize=8))
    drawing.add(chart)
    return drawing


def moths() -> Drawing:
    rng = random.Random(3)
    drawing = Drawing(COLUMN, 150)
    for tick in range(0, 161, 40):
        y = 25 + tick * 0.7
        drawing.add(Line(30, y, COLUMN - 6, y, strokeColor=HAIR))
        drawing.add(String(8, y - 3, str(tick), fontSize=7, fillColor=GREY))
    for i, (name, mean, colour) in enumerate(
        (("hooded", 9, INK), ("amber", 31, AMBER), ("white", 112, BLUE))
    ):
        x = 65 + i * 65
        for _ in range(18):
            value = max(0.0, rng.gauss(mean, mean * 0.28))
            drawing.add(
                Circle(
                    x + rng.uniform(-14, 14),
                    25 + min(value, 158) * 0.7,
                    2,
                    fillColor=colour,
                    strokeColor=None,
                )
            )
        drawing.add(
            Line(x - 20, 25 + mean * 0.7, x + 20, 25 + mean * 0.7, strokeColor=GREEN, strokeWidth=1.5)
        )
        drawing.add(String(x - 12, 10, name, fontSize=8))
    return drawing


def costs() -> Table:
    rows = [
        ("Lamp", "W", "dimmed", "kWh a year", "EUR a year"),
        ("white", "22", "no", "90", "27.0"),
        ("white", "22", "23:00", "55", "16.5"),
        ("amber", "26", "no", "106", "31.8"),
        ("amber", "26", "23:00", "65", "19.5"),
        ("sodium, old", "70", "no", "287", "86.1"),
    ]
    table = Table(rows, colWidths=[58, 28, 44, 54, 54])
    table.setStyle(
        TableStyle(
            [
                ("FONT", (0, 0), (-1, 0), "Times-Bold", 8.5),
                ("FONT", (0, 1), (-1, -1), "Times-Roman", 8.5),
                ("LINEABOVE", (0, 0), (-1, 0), 1, INK),
                ("LINEBELOW", (0, 0), (-1, 0), 0.5, INK),
                ("LINEBELOW", (0, -1), (-1, -1), 1, INK),
                ("ALIGN", (1, 0), (-1, -1), "RIGHT"),
                ("TOPPADDING", (0, 0), (-1, -1), 2),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
            ]
        )
    )
    return table


def main() -> None:
    caption, text = STYLE["small"], STYLE["justified"]
    centred = ParagraphStyle("centred", parent=STYLE["body"], alignment=TA_CENTER)
    story: list[Any] = [
        Paragraph(
            "Amber lamps, late dimming and hedges: street lighting and bats in a small town",
            ParagraphStyle("t", parent=STYLE["h1"], alignment=TA_CENTER, fontSize=17, leading=21),
        ),
        Paragraph("Oriel Fenwick, Sanna Kivimäki and Rafael Monteverde", centred),
        Paragraph(
            "<i>Institute for Urban Wildlife, Karlsfurt · authors, institute and data are invented for this demo</i>",
            centred,
        ),
        Paragraph(
            f"<b>Abstract.</b> {ABSTRACT}",
            ParagraphStyle("abstract", parent=text, leftIndent=24, rightIndent=24),
        ),
        NextPageTemplate("later"),
    ]
    story.append(FrameBreak())
    for heading, paragraphs in SECTIONS:
        story.append(Paragraph(heading, HEAD))
        for i, paragraph in enumerate(paragraphs):
            story.append(Paragraph(paragraph, text))
            if heading.startswith("3") and i == 1:
                story += [
                    activity(),
                    Paragraph("Figure 1. Minutes with bats a night, by group and lamp.", caption),
                ]
            if heading.startswith("3") and i == 3:
                story += [
                    Spacer(1, 4),
                    costs(),
                    Paragraph("Table 1. Power, consumption and cost of one lamp.", caption),
                ]
            if heading.startswith("3") and i == 4:
                story += [
                    moths(),
                    Paragraph(
                        "Figure 2. Moths caught in a night; each dot is one night, green lines are means.",
                        caption,
                    ),
                ]
    story.append(Paragraph("References", HEAD))
    story += [Paragraph(reference, STYLE["small"]) for reference in REFERENCES]
    write(story)


def write(story: list[Any]) -> None:
    width, height = A4
    left, gap, foot = 18 * mm, 6 * mm, 20 * mm
    plain = {"leftPadding": 0, "rightPadding": 0, "topPadding": 0, "bottomPadding": 0}
    top = 82 * mm
    heads = Frame(left, height - 15 * mm - top, width - 2 * left, top, **plain)
    short = [
        Frame(left + i * (COLUMN + gap), foot, COLUMN, height - 20 * mm - top - foot, **plain) for i in (0, 1)
    ]
    full = [Frame(left + i * (COLUMN + gap), foot, COLUMN, height - 18 * mm - foot, **plain) for i in (0, 1)]
    note = footer("Nocturnal Ecology 12 (2024) · invented for this demo")
    document = BaseDocTemplate(
        str(CORPUS / "two-column-paper.pdf"),
        pagesize=A4,
        title="Street lighting and bats",
        author="MetaEmbed demo",
        invariant=1,
    )
    document.addPageTemplates(
        [PageTemplate("first", [heads, *short], onPage=note), PageTemplate("later", full, onPage=note)]
    )
    document.build(story)
