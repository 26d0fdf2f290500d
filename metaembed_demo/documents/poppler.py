"""PDF rendering with poppler, in a subprocess with a timeout."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import shutil
import subprocess
from functools import cache
from itertools import groupby
from pathlib import Path
from time import monotonic

from PIL import Image

log = logging.getLogger(__name__)
# A page with text in a font that is not embedded.
SPECIMEN = b"""%PDF-1.4
1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj
2 0 obj <</Type/Pages/Kids[3 0 R]/Count 1>> endobj
3 0 obj <</Type/Page/Parent 2 0 R/MediaBox[0 0 99 40]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>> endobj
4 0 obj <</Length 35>> stream
BT /F 24 Tf 9 9 Td (Specimen) Tj ET
endstream endobj
5 0 obj <</Type/Font/Subtype/Type1/BaseFont/Helvetica>> endobj
trailer <</Root 1 0 R>>
"""
TIMEOUT_S = 20  # for all pages of one call; after it, pdfium renders them


def draw(path: Path, sizes: dict[int, tuple[int, int]]) -> dict[int, Image.Image]:
    """Images of the pages in `sizes` (number -> pixels), except those that poppler cannot render.

    Empty without poppler, pdf2image or fonts; pdfium then renders all pages.
    """
    if not is_fit():
        return {}
    import pdf2image

    drawn: dict[int, Image.Image] = {}
    deadline = monotonic() + TIMEOUT_S
    for size, numbers in _runs(sizes):
        if (left := deadline - monotonic()) <= 0:
            break
        try:
            images = pdf2image.convert_from_path(
                path,
                first_page=numbers[0],
                last_page=numbers[-1],
                size=size,
                use_cropbox=True,
                timeout=left,  # type: ignore[arg-type]  # Popen accepts a float
            )
        except Exception:
            continue  # pdfium renders these
        if len(images) == len(numbers):
            drawn |= {n: i for n, i in zip(numbers, images, strict=True) if i.size == size}
    return drawn


def is_fit() -> bool:
    """Whether poppler is installed with fonts for text without embedded ones; pdfium brings its own."""
    if shutil.which("pdftoppm") is None or importlib.util.find_spec("pdf2image") is None:
        return False
    return _has_fonts()


@cache
def signature() -> str:
    """Names what page pictures depend on: poppler's version and how its fonts draw; "" without poppler.

    Pages' ids are hashes of their pixels, so they agree only between machines of one signature.
    """
    if not is_fit():
        return ""
    import pdf2image

    told = subprocess.run(["pdftoppm", "-v"], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    (page,) = pdf2image.convert_from_bytes(SPECIMEN, size=(297, 120), timeout=TIMEOUT_S)
    version = (told.stderr or told.stdout).partition("\n")[0].removeprefix("pdftoppm version ").strip()
    return f"poppler {version}, specimen {hashlib.sha256(page.tobytes()).hexdigest()[:12]}"


@cache
def _has_fonts() -> bool:
    import pdf2image

    try:
        pages = pdf2image.convert_from_bytes(SPECIMEN, size=(99, 40), timeout=TIMEOUT_S)
    except Exception:
        return True  # unknown: busy or too old; failures are handled per page
    drawn = any(page.convert("L").getextrema()[0] < 128 for page in pages)  # type: ignore[operator]
    if not drawn:
        log.warning("Poppler finds no fonts; rendering PDFs with pdfium.")
    return drawn


def _runs(sizes: dict[int, tuple[int, int]]) -> list[tuple[tuple[int, int], list[int]]]:
    """Runs of consecutive pages of equal size, each rendered by one poppler process.

    >>> _runs({1: (9, 9), 2: (9, 9), 4: (9, 9), 5: (8, 8)})
    [((9, 9), [1, 2]), ((9, 9), [4]), ((8, 8), [5])]
    """
    keyed = [(sizes[n], n - i, n) for i, n in enumerate(sorted(sizes))]
    return [(key[0], [n for *_, n in run]) for key, run in groupby(keyed, key=lambda k: k[:2])]


def complains(path: Path, number: int) -> bool:
    """Whether poppler reports errors on a page; False without poppler. Used for pages that render blank."""
    if not is_fit():
        return False
    import pdf2image
    from pdf2image.exceptions import PDFSyntaxError

    try:
        pdf2image.convert_from_path(
            path, first_page=number, last_page=number, size=64, strict=True, timeout=TIMEOUT_S
        )
    except PDFSyntaxError:
        return True
    except Exception:
        return False
    return False
