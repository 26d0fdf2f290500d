"""PDFs of one page, written by hand: content, annotations, and fonts whose codes mean any letter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from metaembed_demo.core.config import LIMITS
from metaembed_demo.documents.pdf import PdfFile, PdfPage
from metaembed_demo.documents.reading_order import reading_order

from .sample_files import FONT, stream, write_pdf

FIRST_CODE = 33  # of `lettered`: "!" and on


def page_pdf(
    path: Path,
    content: str,
    page: str = "",
    resources: str = "",
    catalog: str = "",
    annotations: Sequence[str] = (),
    more: dict[int, bytes] | None = None,
) -> Path:
    """A page of 400 x 400 points with the font /F (Helvetica); `annotations` are objects 20 and on."""
    notes = {20 + i: f"<< /Type /Annot {body} >>".encode() for i, body in enumerate(annotations)}
    listed = " ".join(f"{number} 0 R" for number in notes)
    box = "" if "/MediaBox" in page else "/MediaBox [0 0 400 400]"
    objects = {
        1: f"<< /Type /Catalog /Pages 2 0 R {catalog} >>".encode(),
        2: b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        3: f"<< /Type /Page /Parent 2 0 R {box} /Contents 5 0 R /Annots [{listed}] {page} "
        f"/Resources << /Font << /F 4 0 R /U 6 0 R >> {resources} >> >>".encode(),
        4: FONT,
        5: stream(content.encode("latin-1")),
        6: FONT,
        **notes,
        **(more or {}),
    }
    return write_pdf(path, objects)


def lettered(letters: str) -> dict[int, bytes]:
    """Objects of the font /U, whose codes from FIRST_CODE on mean `letters` and look like something else."""
    rows = "\n".join(
        f"<{FIRST_CODE + i:02x}> <{letter.encode('utf-16-be').hex()}>" for i, letter in enumerate(letters)
    )
    table = (
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapType 2 def\n"
        f"1 begincodespacerange <00> <ff> endcodespacerange\n{len(letters)} beginbfchar\n{rows}\n"
        "endbfchar endcmap end end"
    )
    font = b"<< /Type /Font /Subtype /Type1 /BaseFont /Courier /ToUnicode 7 0 R >>"
    return {6: font, 7: stream(table.encode())}


def coded(letters: str, text: str) -> str:
    """`text` as a hexadecimal string of the font that `lettered(letters)` makes; spaces stay."""
    codes = (32 if letter == " " else FIRST_CODE + letters.index(letter) for letter in text)
    return "<" + "".join(f"{code:02x}" for code in codes) + ">"


def only_page(path: Path) -> PdfPage:
    with PdfFile(path, LIMITS) as document:
        [page] = document.pages(len(document))
    assert isinstance(page, PdfPage)
    return page


def text_of(path: Path) -> str:
    """The page's words in reading order."""
    page = only_page(path)
    return " ".join(word.text for word in reading_order(page.words, page.image.width / page.image.height))
