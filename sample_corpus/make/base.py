"""What the documents share: reproducible PDFs, colours, a footer, text styles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from reportlab import rl_config
from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_JUSTIFY
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import BaseDocTemplate, Frame, PageTemplate

rl_config.invariant = 1  # no dates and no random ids: the same script gives the same bytes

INK, GREY, HAIR = HexColor("#1d2433"), HexColor("#5b6473"), HexColor("#d5d9e0")
CORPUS = Path(__file__).resolve().parent.parent
PICTURES = CORPUS / "pictures"

Decorate = Callable[[Any, Any], None]  # (canvas, document): draws what every page has


def styles(
    font: str = "Helvetica", bold: str = "Helvetica-Bold", size: float = 10, accent: str = "#234b8c"
) -> dict[str, ParagraphStyle]:
    """Paragraph styles: title, h1, h2, body, small, cell."""
    colour = HexColor(accent)
    body = ParagraphStyle(
        "body", fontName=font, fontSize=size, leading=size * 1.45, textColor=INK, spaceAfter=size * 0.7
    )
    return {
        "body": body,
        "justified": ParagraphStyle("justified", parent=body, alignment=TA_JUSTIFY),
        "title": ParagraphStyle(
            "title",
            parent=body,
            fontName=bold,
            fontSize=size * 2.8,
            leading=size * 3.2,
            textColor=colour,
            spaceAfter=size,
        ),
        "h1": ParagraphStyle(
            "h1",
            parent=body,
            fontName=bold,
            fontSize=size * 1.8,
            leading=size * 2.2,
            textColor=colour,
            spaceBefore=size,
            spaceAfter=size * 0.6,
        ),
        "h2": ParagraphStyle(
            "h2",
            parent=body,
            fontName=bold,
            fontSize=size * 1.2,
            leading=size * 1.6,
            spaceBefore=size * 0.6,
            spaceAfter=size * 0.3,
        ),
        "small": ParagraphStyle(
            "small", parent=body, fontSize=size * 0.8, leading=size * 1.1, textColor=GREY
        ),
        "cell": ParagraphStyle("cell", parent=body, fontSize=size * 0.9, leading=size * 1.2, spaceAfter=0),
    }


def footer(text: str) -> Decorate:
    """A hairline, `text` on the left and the page number on the right."""

    def draw(canvas: Any, document: Any) -> None:
        width = document.pagesize[0]
        canvas.saveState()
        canvas.setStrokeColor(HAIR)
        canvas.line(18 * mm, 14 * mm, width - 18 * mm, 14 * mm)
        canvas.setFillColor(GREY)
        canvas.setFont("Helvetica", 8)
        canvas.drawString(18 * mm, 9 * mm, text)
        canvas.drawRightString(width - 18 * mm, 9 * mm, str(document.page))
        canvas.restoreState()

    return draw


def build(
    path: Path,
    title: str,
    story: list[Any],
    decorate: Decorate,
    pagesize: tuple[float, float] = A4,
    columns: int = 1,
) -> None:
    """Write `story` (platypus flowables) to `path`, in one or more columns."""
    width, height = pagesize
    margin, gap = 18 * mm, 7 * mm
    wide = (width - 2 * margin - (columns - 1) * gap) / columns
    frames = [
        Frame(
            margin + i * (wide + gap),
            18 * mm,
            wide,
            height - 36 * mm,
            leftPadding=0,
            rightPadding=0,
            topPadding=0,
            bottomPadding=0,
        )
        for i in range(columns)
    ]
    document = BaseDocTemplate(
        str(path), pagesize=pagesize, title=title, author="MetaEmbed demo", invariant=1
    )
    document.addPageTemplates(PageTemplate(frames=frames, onPage=decorate))
    document.build(story)
