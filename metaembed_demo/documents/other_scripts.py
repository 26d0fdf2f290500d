"""Scripts that PP-OCR does not know, read with tesseract where it and the script's language are installed.

PP-OCRv6 small reads Latin with its diacritics, Chinese, Japanese and, without accents, Greek.
"""

from __future__ import annotations

import logging
import re
import shutil
import unicodedata
from functools import cache
from typing import NamedTuple

from PIL import Image

from metaembed_demo.core.types import Word

TIMEOUT_S = 30
LEAST_CONFIDENCE = 30  # of 100; tesseract gives texture less
# Script, as tesseract names it -> its languages, the more common first: each that is installed is used.
LANGUAGES = {
    "Cyrillic": ("rus", "ukr", "bul", "srp"),
    "Greek": ("ell",),
    "Arabic": ("ara", "fas", "urd"),
    "Hebrew": ("heb",),
    "Hangul": ("kor",),
    "Korean": ("kor",),
    "Devanagari": ("hin", "mar"),
    "Bengali": ("ben",),
    "Tamil": ("tam",),
    "Thai": ("tha",),
    "Georgian": ("kat",),
    "Armenian": ("hye",),
}
log = logging.getLogger(__name__)


class Found(NamedTuple):
    """Words, and the script as tesseract names it, "" where it cannot tell."""

    words: tuple[Word, ...] = ()
    script: str = ""


def is_weak(text: str) -> bool:
    """Whether PP-OCR's reading is of a script that it knows in part only: Greek, without accents.

    >>> is_weak("κανονισμος"), is_weak("the angle α is 3")
    (True, False)
    """
    letters = [c for c in text if c.isalpha()]
    greek = sum("GREEK" in unicodedata.name(c, "") for c in letters)
    return greek > 0.3 * len(letters) > 0


def is_installed() -> bool:
    return shutil.which("tesseract") is not None


def read(image: Image.Image) -> Found:
    """Words of an upright picture in reading order by line; none where tesseract cannot read its script."""
    if not is_installed():
        return Found()
    import pytesseract

    try:
        script = _script(image)
        packs = [name for name in LANGUAGES.get(script, ()) if name in _installed()]
        if not packs:
            return Found((), "" if script == "Latin" else script)
        rows = pytesseract.image_to_data(
            image, lang="+".join(packs[:2]), output_type=pytesseract.Output.DICT, timeout=TIMEOUT_S
        )
    except (pytesseract.TesseractError, RuntimeError, OSError, KeyError, ValueError) as error:
        log.info("tesseract: %s", error)  # too few letters to tell the script, for one
        return Found()
    found = []
    for text, sure, left, top, width, height in zip(
        *(rows[name] for name in ("text", "conf", "left", "top", "width", "height")), strict=True
    ):
        if re.search(r"\w", text) and float(sure) >= LEAST_CONFIDENCE:
            x0, y0 = left / image.width, top / image.height
            x1, y1 = (left + width) / image.width, (top + height) / image.height
            box = (round(x0, 5), round(y0, 5), round(min(1.0, x1), 5), round(min(1.0, y1), 5))
            found.append(Word(text, box, "ocr", round(float(sure) / 100, 3)))
    return Found(tuple(found), script)


def _script(image: Image.Image) -> str:
    import pytesseract

    few = "--psm 0 -c min_characters_to_try=10"
    found = pytesseract.image_to_osd(
        image, config=few, output_type=pytesseract.Output.DICT, timeout=TIMEOUT_S
    )
    return str(found["script"])


@cache
def _installed() -> frozenset[str]:
    import pytesseract

    return frozenset(pytesseract.get_languages())
