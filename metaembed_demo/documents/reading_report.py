"""What is said of a page that was read: how, and why; and what a user should know."""

from __future__ import annotations

from collections.abc import Sequence

from metaembed_demo.core.boxes import area
from metaembed_demo.core.text import plural
from metaembed_demo.core.types import Box, Page, Word

from .ocr import Reading, confidence

UNREAD_LINES = 5  # lines with hardly a letter read: writing, not a picture
LOW_CONFIDENCE = 0.8  # of a page read by OCR; below, it is reported
FEW = 20  # letters, from which a low confidence is worth reporting
NO_SCRIPT = (
    "has writing in {script}, which the OCR here cannot read. Install tesseract-ocr with the pack of that "
    "script's language, or add a file with a text layer."
)
TURNED = {1: "on its right side", 2: "upside down", 3: "on its left side"}
Readings = Sequence[tuple[Box, Reading]]


def how(
    page: Page, layer: Sequence[Word], why: Sequence[str], seen: Sequence[Word], readings: Readings
) -> tuple[str, ...]:
    """Sentences on what was read how, and why."""
    found = []
    if page.words:
        used = f"Text layer: {plural(len(layer), 'word')}" if layer else "The text layer was not used"
        found.append(f"{used}{': ' if why and not layer else ', ' if why else ''}{' and '.join(why)}.")
    read_by_ocr = [(box, reading) for box, reading in readings if reading.words]
    if seen and read_by_ocr:
        engines = " and ".join(dict.fromkeys(reading.engine or "PP-OCR" for _, reading in read_by_ocr))
        share = min(1.0, sum(area(box) for box, _ in read_by_ocr))
        where = "all of the page" if share == 1 else f"{max(1, round(100 * share))}% of the page"
        because = "there is writing that the text layer does not cover" if layer else "it has no text layer"
        if page.words and not layer:
            because = "the text layer is of no use"
        found.append(
            f"OCR ({engines}): {plural(len(seen), 'word')} on {where}, mean confidence "
            f"{confidence(seen):.2f}, because {because}."
        )
    for _, reading in readings:
        if reading.turn:
            found.append(f"It lies {TURNED[reading.turn]} and was turned to be read.")
        if reading.tiles > 1:
            found.append(f"It was read at full size, in {reading.tiles} parts.")
    return tuple(found)


def notices(page: Page, ordered: Sequence[Word], seen: Sequence[Word], readings: Readings) -> tuple[str, ...]:
    """What a user should know: writing that was not read, or is in doubt."""
    found = []
    scripts = {reading.script for _, reading in readings if reading.script and not reading.engine}
    found += [NO_SCRIPT.format(script=script) for script in sorted(scripts)]
    if not ordered and sum(reading.lines for _, reading in readings) >= UNREAD_LINES:
        found += [] if scripts else ["has writing that could not be read. Scan or export it again, larger."]
    elif not ordered and not page.pictures:
        found.append("has no words: it is found by what it shows alone.")
    elif letter_count(seen) >= FEW and (sure := confidence(seen)) < LOW_CONFIDENCE:
        found.append(f"was read by OCR with a confidence of {sure:.2f}: some of its words may be wrong.")
    return tuple(found)


def letter_count(words: Sequence[Word]) -> int:
    return sum(c.isalnum() for word in words for c in word.text)
