"""Poppler draws the pages of PDFs, in a process of its own that is ended when it takes too long."""

from __future__ import annotations

import shutil
from itertools import groupby
from pathlib import Path
from time import monotonic

from PIL import Image

TIMEOUT_S = 20  # for the pages asked for together; then pdfium draws them, within what a page may take


def draw(path: Path, sizes: dict[int, tuple[int, int]]) -> dict[int, Image.Image]:
    """Pictures of the pages in `sizes` (number -> pixels); without those that poppler cannot draw."""
    import pdf2image

    if shutil.which("pdftoppm") is None:
        return {}
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
                timeout=left,  # type: ignore[arg-type]  # of Popen, which takes a fraction
            )
        except Exception:
            continue  # poppler missing or beaten: pdfium draws these
        if len(images) == len(numbers):
            drawn |= {n: i for n, i in zip(numbers, images, strict=True) if i.size == size}
    return drawn


def _runs(sizes: dict[int, tuple[int, int]]) -> list[tuple[tuple[int, int], list[int]]]:
    """Neighbouring pages of the same size, which one poppler process can draw.

    >>> _runs({1: (9, 9), 2: (9, 9), 4: (9, 9), 5: (8, 8)})
    [((9, 9), [1, 2]), ((9, 9), [4]), ((8, 8), [5])]
    """
    keyed = [(sizes[n], n - i, n) for i, n in enumerate(sorted(sizes))]
    return [(key[0], [n for *_, n in run]) for key, run in groupby(keyed, key=lambda k: k[:2])]


def complains(path: Path, number: int) -> bool:
    """Whether poppler finds errors on a page; False without poppler. Asked only of pages that look blank."""
    import pdf2image
    from pdf2image.exceptions import PDFSyntaxError

    if shutil.which("pdftoppm") is None:
        return False
    try:
        pdf2image.convert_from_path(
            path, first_page=number, last_page=number, size=64, strict=True, timeout=TIMEOUT_S
        )
    except PDFSyntaxError:
        return True
    except Exception:
        return False
    return False
