"""Pages drawn by hand on a canvas: text at a place, pictures cropped to a box, rules and tables."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps
from reportlab.lib.colors import Color
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Frame, Paragraph, Table

from .base import PICTURES

DPI = 150  # of a picture on the page


class Sheet:
    """A canvas whose y runs down from the top of the page, in points."""

    def __init__(self, path: Path, title: str, size: tuple[float, float]) -> None:
        self.width, self.height = size
        self.canvas: Any = Canvas(str(path), pagesize=size, invariant=1, pageCompression=1)
        self.canvas.setTitle(title)
        self.canvas.setAuthor("MetaEmbed demo")
        self.number = 1

    def text(self, text: str, style: ParagraphStyle, x: float, y: float, width: float) -> float:
        """Set one paragraph with its top at y; returns the y below it, space after included."""
        return self.flow(Paragraph(text, style), x, y, width) + style.spaceAfter

    def texts(self, texts: Sequence[str], style: ParagraphStyle, x: float, y: float, width: float) -> float:
        for text in texts:
            y = self.text(text, style, x, y, width)
        return y

    def flow(self, flowable: Any, x: float, y: float, width: float) -> float:
        """Draw any flowable with its top at y; returns the y below it."""
        _, height = flowable.wrapOn(self.canvas, width, self.height)
        if y + height > self.height:
            raise ValueError(f"Page {self.number} is too full: {height:.0f} pt do not fit below {y:.0f}.")
        flowable.drawOn(self.canvas, x, self.height - y - height)
        return float(y + height)

    def columns(
        self,
        texts: Sequence[str],
        style: ParagraphStyle,
        x: float,
        y: float,
        width: float,
        n: int,
        gap: float = 12,
    ) -> float:
        """Set paragraphs in n columns as even as can be, tops at y; returns the y below the longest."""
        wide = (width - gap * (n - 1)) / n
        for high in range(int(style.leading), int(self.height - y), 3):
            places = [(x + i * (wide + gap), self.height - y - high, wide, float(high)) for i in range(n)]
            blank = Canvas(io.BytesIO(), pagesize=(self.width, self.height))
            if _fill(texts, style, places, blank):
                _fill(texts, style, places, self.canvas)
                return y + high
        raise ValueError(f"Page {self.number} is too full for the columns at {y:.0f}.")

    def table(self, rows: list[list[Any]], style: Any, x: float, y: float, widths: Sequence[float]) -> float:
        return self.flow(Table(rows, colWidths=list(widths), style=style), x, y, sum(widths))

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        fill: Color | None = None,
        stroke: Color | None = None,
        radius: float = 0,
        line: float = 0.7,
    ) -> None:
        canvas = self.canvas
        canvas.saveState()
        canvas.setLineWidth(line)
        if fill is not None:
            canvas.setFillColor(fill)
        if stroke is not None:
            canvas.setStrokeColor(stroke)
        place = (x, self.height - y - height, width, height)
        canvas.roundRect(*place, radius, fill=int(fill is not None), stroke=int(stroke is not None))
        canvas.restoreState()

    def rule(self, x0: float, y0: float, x1: float, y1: float, colour: Color, line: float = 0.7) -> None:
        self.canvas.saveState()
        self.canvas.setStrokeColor(colour)
        self.canvas.setLineWidth(line)
        self.canvas.line(x0, self.height - y0, x1, self.height - y1)
        self.canvas.restoreState()

    def dot(self, x: float, y: float, radius: float, fill: Color, stroke: Color | None = None) -> None:
        self.canvas.saveState()
        self.canvas.setFillColor(fill)
        if stroke is not None:
            self.canvas.setStrokeColor(stroke)
        self.canvas.circle(x, self.height - y, radius, fill=1, stroke=int(stroke is not None))
        self.canvas.restoreState()

    def shape(
        self, points: Sequence[tuple[float, float]], fill: Color | None, stroke: Color | None = None
    ) -> None:
        """A polygon, or with no fill an open line."""
        self.canvas.saveState()
        path = self.canvas.beginPath()
        path.moveTo(points[0][0], self.height - points[0][1])
        for x, y in points[1:]:
            path.lineTo(x, self.height - y)
        if fill is not None:
            path.close()
            self.canvas.setFillColor(fill)
        if stroke is not None:
            self.canvas.setStrokeColor(stroke)
            self.canvas.setLineWidth(1.4)
        self.canvas.drawPath(path, fill=int(fill is not None), stroke=int(stroke is not None))
        self.canvas.restoreState()

    def label(
        self,
        text: str,
        x: float,
        y: float,
        font: str = "Helvetica",
        size: float = 8,
        colour: Color | None = None,
        anchor: str = "left",
    ) -> None:
        """One line of text, its baseline at y."""
        canvas = self.canvas
        canvas.saveState()
        canvas.setFont(font, size)
        if colour is not None:
            canvas.setFillColor(colour)
        draw = {
            "left": canvas.drawString,
            "centre": canvas.drawCentredString,
            "right": canvas.drawRightString,
        }
        draw[anchor](x, self.height - y, text)
        canvas.restoreState()

    def picture(
        self,
        name: str,
        x: float,
        y: float,
        width: float,
        height: float,
        crop: bool = True,
        centre: tuple[float, float] = (0.5, 0.5),
    ) -> None:
        """A picture of the corpus in a box: cropped to fill it, or whole and centred in it."""
        image = Image.open(PICTURES / name).convert("RGB")
        pixels = (round(width / 72 * DPI), round(height / 72 * DPI))
        if crop:
            image = ImageOps.fit(image, pixels, Image.Resampling.LANCZOS, centering=centre)
        else:
            image.thumbnail(pixels, Image.Resampling.LANCZOS)
            wide, high = (side * 72 / DPI for side in image.size)
            x, y, width, height = x + (width - wide) / 2, y + (height - high) / 2, wide, high
        data = io.BytesIO()
        image.save(data, "JPEG", quality=85, optimize=True)
        self.canvas.drawImage(ImageReader(data), x, self.height - y - height, width, height)

    def turn(self) -> None:
        """End this page and begin the next."""
        self.canvas.showPage()
        self.number += 1

    def save(self) -> None:
        """Write the file; the last page must have been ended by `turn`."""
        self.canvas.save()


def _fill(
    texts: Sequence[str], style: ParagraphStyle, places: Sequence[tuple[float, ...]], canvas: Any
) -> bool:
    """Run paragraphs through the frames at `places` (x, y, width, height); whether all of it fits."""
    story: list[Any] = [Paragraph(text, style) for text in texts]
    for place in places:
        frame = Frame(*place, 0, 0, 0, 0)
        while story and frame.add(story[0], canvas):
            story.pop(0)
        if story and (parts := frame.split(story[0], canvas)):
            frame.add(parts[0], canvas)
            story[:1] = parts[1:]
    return not story
