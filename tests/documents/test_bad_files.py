"""Bad files: each type of fault has its own message, and the rest of the batch is read."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from reportlab.lib import pdfencrypt
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from metaembed_demo.core.config import LIMITS
from metaembed_demo.documents.file_types import uploads
from metaembed_demo.documents.loader import count_pages
from tests.support.sample_files import (
    FONT,
    make_pdf,
    only_problem,
    page_object,
    split,
    stream,
    write_pdf,
)


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "void.pdf").touch()
    assert "is empty (0 bytes)" in only_problem(tmp_path / "void.pdf")


def test_missing_file(tmp_path: Path) -> None:
    assert "does not exist" in only_problem(tmp_path / "gone.pdf")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("page.pdf", b"<!DOCTYPE html><html><body>Not found", "not a PDF, as its name says, but a web page"),
        ("notes.pdf", "Zürich, 3 May".encode(), "but text (.pdf)"),
        ("noise.pdf", bytes(range(128, 256)) * 9, "but data of an unknown type. It may be damaged"),
        ("pictures.zip", b"Rar!\x1a\x07\x00 and so on", "but a RAR archive"),
        ("drawing.png", b'<?xml version="1.0"?><svg xmlns="x"></svg>', "but an SVG drawing"),
        ("phone.jpg", b"\0\0\0\x18ftypmp42\0\0\0\0isom", "is a video or sound, but not named as one"),
    ],
)
def test_not_what_its_name_says(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert said in only_problem(tmp_path / name)


def test_unsupported_file_types(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "letter.docx", "w") as archive:
        archive.writestr("[Content_Types].xml", b"<Types/>")
    message = only_problem(tmp_path / "letter.docx")
    assert "is an Office document, which is not read here: export it as PDF" in message
    (tmp_path / "tune.7z").write_bytes(b"7z\xbc\xaf and so on")
    message = only_problem(tmp_path / "tune.7z")
    assert "tune.7z was skipped: it is a 7z archive" in message
    assert "PDF, PNG" in message


def test_truncated_pdf(tmp_path: Path) -> None:
    whole = make_pdf(tmp_path / "whole.pdf", 5).read_bytes()
    for share in (0.3, 0.6, 0.95):
        (tmp_path / "cut.pdf").write_bytes(whole[: int(len(whole) * share)])
        assert "is cut off" in only_problem(tmp_path / "cut.pdf")


def test_corrupt_pdf(tmp_path: Path) -> None:
    (tmp_path / "corrupt.pdf").write_bytes(b"%PDF-1.4\n" + bytes(range(256)) * 20 + b"\nstartxref\n12\n%%EOF")
    assert "is damaged and cannot be opened as a PDF" in only_problem(tmp_path / "corrupt.pdf")


def test_password_protected_pdf(tmp_path: Path) -> None:
    lock = pdfencrypt.StandardEncryption("open sesame", "owner", strength=128)
    make_pdf(tmp_path / "locked.pdf", encrypt=lock)
    assert "is protected by a password" in only_problem(tmp_path / "locked.pdf")


def test_pdf_that_only_forbids_printing_is_read(tmp_path: Path) -> None:
    lock = pdfencrypt.StandardEncryption("", "owner", canPrint=0, strength=128)
    pages, problems = split(uploads([make_pdf(tmp_path / "restricted.pdf", 1, encrypt=lock)]))
    assert not problems
    assert pages[0].text == "Chapter 1 of the manual"


def test_zero_page_pdf(tmp_path: Path) -> None:
    """Also right after a protected one: pdfium remembers its last error."""
    lock = pdfencrypt.StandardEncryption("open sesame", "owner", strength=128)
    assert "password" in only_problem(make_pdf(tmp_path / "locked.pdf", encrypt=lock))
    objects = {1: b"<< /Type /Catalog /Pages 2 0 R >>", 2: b"<< /Type /Pages /Kids [] /Count 0 >>"}
    write_pdf(tmp_path / "none.pdf", objects)
    assert "has no pages" in only_problem(tmp_path / "none.pdf")


def three_pages(path: Path, middle: bytes, contents: bytes) -> Path:
    objects = {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: b"<< /Type /Pages /Kids [3 0 R 6 0 R 7 0 R] /Count 3 >>",
        3: page_object(),
        4: FONT,
        5: stream(b"BT /F 12 Tf 20 60 Td (good page) Tj ET"),
        6: middle,
        7: page_object(),
        8: contents,
    }
    return write_pdf(path, objects)


@pytest.mark.parametrize("middle", [b"(no page at all)", page_object("0 0 0 0", 8), page_object(contents=8)])
def test_one_broken_page_leaves_the_others(tmp_path: Path, middle: bytes) -> None:
    garbage = stream(
        zlib.compress(b"BT /F 12 Tf 20 60 Td (lost page) Tj ET")[:9] + b"\xff" * 40, b"/Filter /FlateDecode"
    )
    path = three_pages(tmp_path / "three.pdf", middle, garbage)
    pages, problems = split(uploads([path]))
    assert [page.number for page in pages if page.text == "good page"] == [1, 3]
    broken = [page.number for page in pages if page.text != "good page"]
    assert broken == []
    [problem] = problems
    assert problem.source == "three.pdf"
    assert problem.message.startswith("Page 2 of three.pdf ")


def test_a_page_left_blank_on_purpose_is_a_page(tmp_path: Path) -> None:
    path = three_pages(tmp_path / "blank.pdf", page_object(contents=8), stream(b""))
    pages, problems = split(uploads([path]))
    assert not problems
    assert len(pages) == 3


def bomb_png(width: int, height: int) -> bytes:
    """A valid PNG of one colour, compressed row by row without decoding it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(1 + width // 8)) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [13_400, 20_000])  # under and over what Pillow itself refuses
def test_decompression_bomb(tmp_path: Path, side: int) -> None:
    (tmp_path / "bomb.png").write_bytes(bomb_png(side, side))
    message = only_problem(tmp_path / "bomb.png")
    assert "decompression bomb" in message


def test_pixel_limit(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (90, 120, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    message = only_problem(tmp_path / "noise.png", LIMITS.model_copy(update={"max_pixels": 10_000}))
    assert "120 x 90 pixels, over the limit of 10,000" in message


def test_picture_over_the_pixel_limit_inside_a_pdf(tmp_path: Path) -> None:
    canvas = Canvas(str(tmp_path / "scan.pdf"), pagesize=(200, 200))
    canvas.drawImage(ImageReader(Image.new("1", (4000, 4000))), 0, 0, 200, 200)
    canvas.showPage()
    canvas.drawString(20, 100, "second")
    canvas.showPage()
    canvas.save()
    pages, [problem] = split(
        uploads([tmp_path / "scan.pdf"]), LIMITS.model_copy(update={"max_pixels": 1_000_000})
    )
    assert [page.text for page in pages] == ["second"]
    assert "4000 x 4000 pixels" in problem.message


def test_byte_limit(tmp_path: Path) -> None:
    path = make_pdf(tmp_path / "heavy.pdf")
    assert "over the limit of 500 B" in only_problem(path, LIMITS.model_copy(update={"max_file_bytes": 500}))


def test_page_limit_keeps_the_first_pages(tmp_path: Path) -> None:
    limits = LIMITS.model_copy(update={"max_pages": 3})
    frames = [Image.new("L", (9, 9), tone) for tone in range(5)]
    frames[0].save(tmp_path / "long.tif", save_all=True, append_images=frames[1:])
    files = uploads([make_pdf(tmp_path / "long.pdf", 5), tmp_path / "long.tif"])
    assert count_pages(files, limits) == 6
    pages, problems = split(files, limits)
    assert [page.number for page in pages] == [1, 2, 3, 1, 2, 3]
    assert [problem.source for problem in problems] == ["long.pdf", "long.tif"]
    assert "has 5 pages, over the limit of 3. The first 3 were read" in problems[0].message
    assert split(uploads([make_pdf(tmp_path / "just.pdf", 3)]), limits)[1] == []


def test_truncated_images(tmp_path: Path) -> None:
    noise = np.random.default_rng(2).integers(0, 255, (60, 60, 3)).astype(np.uint8)
    for name in ("cut.png", "cut.jpg", "cut.webp", "cut.bmp", "cut.tif"):
        path = tmp_path / name
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert "Download or export it again" in only_problem(path), name
