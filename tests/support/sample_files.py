"""Files for tests of ingest, and how to read them: PDFs written by hand, pages and problems apart."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from benchmarks.robustness.hostile_files.pdfs import pdf
from metaembed_demo.core.config import LIMITS, Limits
from metaembed_demo.core.types import Page, Problem, Upload
from metaembed_demo.documents.loader import read_files


def split(files: Sequence[Upload], limits: Limits = LIMITS) -> tuple[list[Page], list[Problem]]:
    found = list(read_files(files, limits))
    return [p for p in found if isinstance(p, Page)], [p for p in found if isinstance(p, Problem)]


def only_problem(path: Path, limits: Limits = LIMITS) -> str:
    """The message for a file that gives one Problem and no page, between two good files that are read."""
    good = path.parent / "good.png"
    Image.new("RGB", (20, 10), "green").save(good)
    pages, problems = split(
        [Upload(good, "first.png"), Upload(path, path.name), Upload(good, "last.png")], limits
    )
    assert [page.source for page in pages] == ["first.png", "last.png"]
    assert len(problems) == 1
    assert problems[0].source == path.name
    assert path.name in problems[0].message
    return problems[0].message


def make_pdf(path: Path, pages: int = 2, **options: object) -> Path:
    canvas = Canvas(str(path), pagesize=A4, **options)
    for number in range(1, pages + 1):
        canvas.setFont("Helvetica", 12)
        canvas.drawString(72, 720, f"Chapter {number} of the manual")
        canvas.showPage()
    canvas.save()
    return path


def write_pdf(path: Path, objects: dict[int, bytes]) -> Path:
    """A PDF of the given objects, whose root is object 1, with a correct cross-reference table."""
    path.write_bytes(pdf(objects))
    return path


def stream(content: bytes, extra: bytes = b"") -> bytes:
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(content), extra, content)


FONT = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"


def page_object(box: str = "0 0 200 100", contents: int = 5, extra: str = "") -> bytes:
    return (
        f"<< /Type /Page /Parent 2 0 R /MediaBox [{box}] /Contents {contents} 0 R {extra} "
        "/Resources << /Font << /F 4 0 R >> >> >>"
    ).encode()


def one_page(path: Path, page: bytes, text: bytes = b"BT /F 12 Tf 20 60 Td (corner words) Tj ET") -> Path:
    objects = {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        3: page,
        4: FONT,
        5: stream(text),
    }
    return write_pdf(path, objects)


def png_bytes(colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    return buffer.getvalue()
