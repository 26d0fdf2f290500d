"""Charts drawn on a Sheet: bars, lying bars, lines, a ring. Values are labelled, so they can be read off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reportlab.lib.colors import Color, HexColor, white

from .layout import Sheet

AXIS, GRID, TEXT = HexColor("#6b7480"), HexColor("#dfe3e8"), HexColor("#2b3440")
Place = tuple[float, float, float, float]  # x, y of the top left corner, width, height, in points


def _scale(sheet: Sheet, place: Place, top: float, step: float, unit: str = "") -> None:
    """Grid lines and their labels from 0 to `top`."""
    x, y, width, height = place
    for i in range(round(top / step) + 1):
        level = y + height - height * i * step / top
        sheet.rule(x, level, x + width, level, AXIS if i == 0 else GRID, 0.9 if i == 0 else 0.5)
        sheet.label(f"{i * step:g}{unit}", x - 5, level + 2.6, size=7.5, colour=AXIS, anchor="right")


def bars(
    sheet: Sheet,
    place: Place,
    names: Sequence[str],
    series: Mapping[str, Sequence[float]],
    colours: Sequence[Color],
    top: float,
    step: float,
) -> None:
    """Standing bars, one group a name, with a legend below when there are several series."""
    x, y, width, height = place
    _scale(sheet, place, top, step)
    group = width / len(names)
    wide = group * 0.72 / len(series)
    for g, name in enumerate(names):
        left = x + g * group + group * 0.14
        for s, values in enumerate(series.values()):
            high = height * values[g] / top
            sheet.box(left + s * wide, y + height - high, wide - 2, high, fill=colours[s])
            middle = left + s * wide + (wide - 2) / 2
            sheet.label(
                f"{values[g]:g}", middle, y + height - high - 4, "Helvetica-Bold", 7.4, TEXT, "centre"
            )
        sheet.label(name, x + (g + 0.5) * group, y + height + 12, size=8, colour=TEXT, anchor="centre")
    if len(series) > 1:
        legend(sheet, x, y + height + 28, series, colours)


def legend(sheet: Sheet, x: float, y: float, names: Mapping[str, object], colours: Sequence[Color]) -> None:
    for name, colour in zip(names, colours, strict=False):
        sheet.box(x, y - 7, 8, 8, fill=colour)
        sheet.label(name, x + 12, y, size=8, colour=TEXT)
        x += 30 + 4.4 * len(name)


def lying_bars(
    sheet: Sheet, place: Place, values: Mapping[str, float], colour: Color, unit: str = "", names: float = 110
) -> None:
    x, y, width, height = place
    row, most = height / len(values), max(values.values())
    for i, (name, value) in enumerate(values.items()):
        top = y + i * row
        long = (width - names - 50) * value / most
        sheet.label(name, x + names - 8, top + row / 2 + 3, size=8.4, colour=TEXT, anchor="right")
        sheet.box(x + names, top + row * 0.18, long, row * 0.64, fill=colour, radius=2)
        label = f"{value:g}{unit}"
        sheet.label(label, x + names + long + 5, top + row / 2 + 3, "Helvetica-Bold", 8.4, TEXT)


def lines(
    sheet: Sheet,
    place: Place,
    names: Sequence[str],
    series: Mapping[str, Sequence[float]],
    colours: Sequence[Color],
    top: float,
    step: float,
    unit: str = "",
) -> None:
    """One line a series, dots at the values, the series' name at its end."""
    x, y, width, height = place
    _scale(sheet, place, top, step, unit)
    gap = width / (len(names) - 1)
    for i, name in enumerate(names):
        sheet.label(name, x + i * gap, y + height + 12, size=7.6, colour=TEXT, anchor="centre")
    for (name, values), colour in zip(series.items(), colours, strict=False):
        points = [(x + i * gap, y + height - height * value / top) for i, value in enumerate(values)]
        sheet.shape(points, None, colour)
        for px, py in points:
            sheet.dot(px, py, 2.3, colour)
        sheet.label(name, points[-1][0] + 7, points[-1][1] + 3, "Helvetica-Bold", 8, colour)


def ring(
    sheet: Sheet, x: float, y: float, radius: float, shares: Mapping[str, float], colours: Sequence[Color]
) -> None:
    """Shares of a hundred around (x, y), named to the right."""
    start, row = 90.0, 2 * radius / len(shares)
    canvas = sheet.canvas
    for i, (name, share) in enumerate(shares.items()):
        canvas.saveState()
        canvas.setFillColor(colours[i])
        canvas.setStrokeColor(white)
        canvas.setLineWidth(1.5)
        box = (x - radius, sheet.height - y - radius, x + radius, sheet.height - y + radius)
        canvas.wedge(*box, start, -share * 3.6, fill=1, stroke=1)
        canvas.restoreState()
        start -= share * 3.6
        top = y - radius + i * row + row / 2
        sheet.box(x + radius + 26, top - 8, 11, 11, fill=colours[i], radius=2)
        sheet.label(name, x + radius + 44, top + 1, size=9.2, colour=TEXT)
        sheet.label(f"{share:g} %", x + radius + 205, top + 1, "Helvetica-Bold", 9.2, TEXT, "right")
    sheet.dot(x, y, radius * 0.55, white)
