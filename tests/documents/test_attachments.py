"""Files attached to a PDF, and forms that its pages only announce."""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping
from pathlib import Path

import pypdfium2
import pytest
from reportlab.pdfgen.canvas import Canvas

from metaembed_demo.core.config import LIMITS
from metaembed_demo.core.types import Notice
from metaembed_demo.documents.file_types import uploads
from metaembed_demo.documents.sandbox.client import Rendered, read_files
from tests.support.sample_files import FONT, page_object, png_bytes, split, stream, write_pdf


def text_pdf(text: str) -> bytes:
    out = io.BytesIO()
    canvas = Canvas(out)
    canvas.drawString(72, 720, text)
    canvas.save()
    return out.getvalue()


def portfolio(path: Path, attached: Mapping[str, bytes], cover: str = "Cover sheet") -> Path:
    document = pypdfium2.PdfDocument(text_pdf(cover))
    for name, content in attached.items():
        document.new_attachment(name).set_data(content)
    document.save(path)
    return path


def test_attachments_are_documents_of_their_own(tmp_path: Path) -> None:
    files = {"b.pdf": text_pdf("Noise at the quarry"), "Ü.png": png_bytes(), "../c": text_pdf("Dust")}
    pages, problems = split(uploads([portfolio(tmp_path / "all.pdf", files)]))
    assert not problems
    assert pages[0].source == "all.pdf"
    assert sorted(page.source for page in pages[1:]) == ["all.pdf/b.pdf", "all.pdf/c", "all.pdf/Ü.png"]
    assert {page.number for page in pages} == {1}
    assert {page.text for page in pages} == {"Cover sheet", "Noise at the quarry", "Dust", ""}


def test_the_reading_process_sends_them_too(tmp_path: Path) -> None:
    path = portfolio(tmp_path / "all.pdf", {"b.pdf": text_pdf("Noise at the quarry")})
    pages = [item.page for item in read_files(uploads([path])) if isinstance(item, Rendered)]
    assert [page.source for page in pages] == ["all.pdf", "all.pdf/b.pdf"]


def test_what_is_attached_and_not_read_is_told(tmp_path: Path) -> None:
    files = {
        "invoice.xml": b"<?xml version='1.0'?><Invoice/>",
        "letter.doc": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
        "broken.png": png_bytes()[:30],
        "void.pdf": b"",
        "box.zip": b"PK\x05\x06" + bytes(18),
    }
    pages, problems = split(uploads([portfolio(tmp_path / "a.pdf", files)]))
    assert len(pages) == 1
    told = {problem.source: problem for problem in problems}
    assert isinstance(told["a.pdf/invoice.xml"], Notice)  # its pages say the same
    assert "XML" in told["a.pdf/invoice.xml"].message
    assert "export it as PDF" in told["a.pdf/letter.doc"].message
    assert "damaged" in told["a.pdf/broken.png"].message
    assert "a.pdf/void.pdf" in told
    assert "archive attached" in told["a.pdf/box.zip"].message


def test_attachments_of_attachments_end(tmp_path: Path) -> None:
    inner = text_pdf("innermost")
    for level in range(4):
        inner = portfolio(tmp_path / "x.pdf", {"in.pdf": inner}, f"level {level}").read_bytes()
    pages, [notice] = split(uploads([tmp_path / "x.pdf"]))
    assert [page.text for page in pages] == ["level 3", "level 2", "level 1"]
    assert notice.source == "x.pdf/in.pdf/in.pdf/in.pdf"
    assert "attached to an attachment" in notice.message


def test_limits_of_attachments(tmp_path: Path) -> None:
    path = portfolio(tmp_path / "a.pdf", {f"{n}.pdf": text_pdf(f"sheet {n}") for n in range(4)})
    pages, [problem] = split(uploads([path]), LIMITS.model_copy(update={"max_archive_files": 2}))
    assert len(pages) == 3
    assert "has 4 attachments, over the limit of 2" in problem.message
    size = len(text_pdf("sheet 0"))
    pages, problems = split(uploads([path]), LIMITS.model_copy(update={"max_archive_bytes": size + 100}))
    assert len(pages) == 2
    assert ["unpacks to" in problem.message for problem in problems] == [True] * 3


def with_file(path: Path, content: bytes, extra: bytes, noted: str = "") -> Path:
    """A PDF with one file, written by hand: attached to the document, or to a place on its page."""
    tree = "" if noted else "/Names << /EmbeddedFiles << /Names [(bomb.pdf) 6 0 R] >> >>"
    objects = {
        1: f"<< /Type /Catalog /Pages 2 0 R {tree} >>".encode(),
        2: b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        3: page_object(extra=noted),
        4: FONT,
        5: stream(b"BT /F 12 Tf 20 60 Td (corner words) Tj ET"),
        6: b"<< /Type /Filespec /F (bomb.pdf) /UF (bomb.pdf) /EF << /F 7 0 R >> >>",
        7: stream(content, b"/Type /EmbeddedFile " + extra),
        8: b"<< /Type /Annot /Subtype /FileAttachment /Rect [1 1 20 20] /FS 6 0 R >>",
    }
    return write_pdf(path, objects)


def test_a_file_pinned_to_a_place_on_a_page(tmp_path: Path) -> None:
    path = with_file(tmp_path / "a.pdf", text_pdf("pinned note"), b"", "/Annots [8 0 R]")
    pages, problems = split(uploads([path]))
    assert not problems
    assert [(page.source, page.text) for page in pages] == [
        ("a.pdf", "corner words"),
        ("a.pdf/bomb.pdf", "pinned note"),
    ]


@pytest.mark.slow
def test_a_bomb_is_not_unpacked_to_disk(tmp_path: Path) -> None:
    packer = zlib.compressobj(9)
    content = b"".join(packer.compress(bytes(1 << 20)) for _ in range(200)) + packer.flush()
    path = with_file(tmp_path / "a.pdf", content, b"/Filter /FlateDecode")
    pages, [problem] = split(uploads([path]))
    assert len(pages) == 1
    assert "a.pdf/bomb.pdf unpacks to 210 MB, of which 100 MB are allowed" in problem.message


# Forms


@pytest.mark.parametrize(
    ("catalog", "text", "told"),
    [
        ("/AcroForm << /Fields [] /XFA 6 0 R >> /NeedsRendering true", "Any text", True),
        ("/AcroForm << /Fields [] /XFA 6 0 R >>", "Please wait... If this message", True),
        ("/AcroForm << /Fields [] /XFA 6 0 R >>", "Application for a stall", False),
        ("/AcroForm << /Fields [] >>", "Please wait behind the line", False),
    ],
)
def test_a_form_that_no_page_shows_is_told(tmp_path: Path, catalog: str, text: str, told: bool) -> None:
    objects = {
        1: f"<< /Type /Catalog /Pages 2 0 R {catalog} >>".encode(),
        2: b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        3: page_object(),
        4: FONT,
        5: stream(f"BT /F 12 Tf 20 60 Td ({text}) Tj ET".encode()),
        6: stream(b"<xdp:xdp xmlns:xdp='http://ns.adobe.com/xdp/'></xdp:xdp>"),
    }
    pages, problems = split(uploads([write_pdf(tmp_path / "form.pdf", objects)]))
    assert [page.text for page in pages] == [text]
    assert [type(problem) for problem in problems] == [Notice] * told
    assert [problem.message.partition(":")[0] for problem in problems] == ["form.pdf is an XFA form"] * told
