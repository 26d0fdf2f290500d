"""Loading of all file types, folders and archives, with generated files."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from metaembed_demo.core.config import LIMITS, RENDER
from metaembed_demo.core.types import Notice
from metaembed_demo.documents import poppler
from metaembed_demo.documents.file_types import uploads
from metaembed_demo.documents.loader import count_pages, read_files
from tests.support.sample_files import make_pdf, one_page, only_problem, page_object, png_bytes, split

# What is accepted


def test_pdf_pages_come_with_words_and_boxes(tmp_path: Path) -> None:
    pages, problems = split(uploads([make_pdf(tmp_path / "manual.pdf", 6)]))
    assert not problems
    assert [page.number for page in pages] == [1, 2, 3, 4, 5, 6]
    assert {page.source for page in pages} == {"manual.pdf"}
    assert len({page.id for page in pages}) == 6
    first = pages[0]
    assert first.image is not None
    assert first.image.mode == "RGB"
    assert max(first.image.size) == int(A4[1] / 72 * RENDER.dpi)
    assert first.text == "Chapter 1 of the manual"
    x0, y0, x1, y1 = first.words[0].box
    assert x0 == pytest.approx(72 / A4[0], abs=0.005)
    assert y0 < 1 - 720 / A4[1] < y1  # the baseline lies in the box
    assert x1 < 0.25
    assert {word.kind for word in first.words} == {"text"}


def test_words_stand_where_the_ink_is(tmp_path: Path) -> None:
    [page], _ = split(uploads([make_pdf(tmp_path / "manual.pdf", 1)]))
    assert page.image is not None
    grey = np.asarray(page.image.convert("L"))
    rows, columns = np.nonzero(grey < 128)
    height, width = grey.shape
    boxes = np.array([word.box for word in page.words])
    assert boxes[:, 0].min() == pytest.approx(columns.min() / width, abs=0.004)
    assert boxes[:, 2].max() == pytest.approx(columns.max() / width, abs=0.004)
    assert boxes[:, 1].min() <= rows.min() / height
    assert boxes[:, 3].max() >= rows.max() / height


@pytest.mark.parametrize(
    ("turn", "centre"),
    [(0, (0.255, 0.35)), (90, (0.65, 0.255)), (180, (0.745, 0.65)), (270, (0.35, 0.745))],
)
def test_page_rotation_is_honoured(tmp_path: Path, turn: int, centre: tuple[float, float]) -> None:
    path = one_page(tmp_path / "turned.pdf", page_object(extra=f"/Rotate {turn}"))
    [page], _ = split(uploads([path]))
    assert page.image is not None
    assert (page.image.width > page.image.height) == (turn in (0, 180))
    boxes = np.array([word.box for word in page.words])
    middle = (boxes[:, :2].min(0) + boxes[:, 2:].max(0)) / 2
    assert middle == pytest.approx(centre, abs=0.05)
    rows, columns = np.nonzero(np.asarray(page.image.convert("L")) < 128)
    assert middle[0] == pytest.approx((columns.min() + columns.max()) / 2 / page.image.width, abs=0.03)
    assert middle[1] == pytest.approx((rows.min() + rows.max()) / 2 / page.image.height, abs=0.03)


def test_crop_box_is_honoured(tmp_path: Path) -> None:
    text = b"BT /F 12 Tf 110 60 Td (kept) Tj ET BT /F 12 Tf 10 60 Td (trimmed) Tj ET"
    path = one_page(tmp_path / "cropped.pdf", page_object(extra="/CropBox [100 20 200 100]"), text)
    [page], _ = split(uploads([path]))
    assert page.image is not None
    assert page.image.width / page.image.height == pytest.approx(100 / 80, abs=0.02)
    assert page.text == "kept"
    assert page.words[0].box[0] == pytest.approx(0.1, abs=0.02)


def test_pictures_on_a_page_are_boxed(tmp_path: Path) -> None:
    canvas = Canvas(str(tmp_path / "pictures.pdf"), pagesize=(400, 400))
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8))
    canvas.drawImage(ImageReader(noise), 40, 200, 120, 80)  # from the bottom
    canvas.drawImage(ImageReader(noise), 360, 360, 10, 10)  # a logo: left out
    canvas.saveState()
    canvas.beginForm("inner")
    canvas.drawImage(ImageReader(noise), 0, 0, 100, 100)
    canvas.endForm()
    canvas.translate(240, 40)
    canvas.doForm("inner")
    canvas.restoreState()
    canvas.showPage()
    canvas.save()
    [page], _ = split(uploads([tmp_path / "pictures.pdf"]))
    assert len(page.pictures) == 2
    assert page.pictures[0] == pytest.approx((0.1, 0.3, 0.4, 0.5), abs=0.005)
    assert page.pictures[1] == pytest.approx((0.6, 0.65, 0.85, 0.9), abs=0.005)


@pytest.mark.parametrize("cause", ["missing", "broken"])
def test_pdfium_draws_without_poppler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: str) -> None:
    path = make_pdf(tmp_path / "manual.pdf", 2)
    [with_poppler, _], _ = split(uploads([path]))
    if cause == "missing":
        monkeypatch.setenv("PATH", str(tmp_path))
        assert poppler.draw(path, {1: (100, 100)}) == {}
    else:
        tool = tmp_path / "bin" / "pdftoppm"
        tool.parent.mkdir()
        for name in ("pdftoppm", "pdfinfo"):
            tool.with_name(name).write_text("#!/bin/sh\nexit 1\n")
            tool.with_name(name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")
    pages, problems = split(uploads([path]))
    assert not problems
    assert [page.text for page in pages] == ["Chapter 1 of the manual", "Chapter 2 of the manual"]
    assert pages[0].image is not None
    assert with_poppler.image is not None
    assert pages[0].image.size == with_poppler.image.size
    assert np.asarray(pages[0].image).min() < 100  # there is ink


def test_pages_of_different_sizes_keep_theirs(tmp_path: Path) -> None:
    canvas = Canvas(str(tmp_path / "mixed.pdf"))
    for number, size in enumerate([(300, 400), (300, 400), (400, 300), (14000, 200), (300, 400)], start=1):
        canvas.setPageSize(size)
        canvas.drawString(50, 100, f"page{number}")
        canvas.showPage()
    canvas.save()
    pages, problems = split(uploads([tmp_path / "mixed.pdf"]))
    assert not problems
    assert [page.text for page in pages] == [f"page{n}" for n in range(1, 6)]
    sizes = [page.image.size for page in pages if page.image is not None]
    assert sizes == [(500, 666), (500, 666), (666, 500), (RENDER.max_side, 28), (500, 666)]


@pytest.mark.parametrize(
    ("suffix", "form"),
    [
        ("png", "PNG"),
        ("jpg", "JPEG"),
        ("JPEG", "JPEG"),
        ("webp", "WEBP"),
        ("tif", "TIFF"),
        ("bmp", "BMP"),
        ("gif", "GIF"),
    ],
)
def test_every_image_type(tmp_path: Path, suffix: str, form: str) -> None:
    path = tmp_path / f"picture.{suffix}"
    Image.new("RGB", (60, 40), (200, 30, 30)).save(path, form)
    [page], problems = split(uploads([path]))
    assert not problems
    assert page.image is not None
    assert (page.image.mode, page.image.size, page.number) == ("RGB", (60, 40), 1)
    assert page.pictures == ((0.0, 0.0, 1.0, 1.0),)
    assert np.abs(np.asarray(page.image, dtype=int) - (200, 30, 30)).max() < 12


def test_every_tiff_frame_but_only_the_first_gif_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (30, 20), colour) for colour in ("red", "green", "blue")]
    frames[0].save(tmp_path / "frames.tiff", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "frames.gif", save_all=True, append_images=frames[1:])
    files = uploads([tmp_path / "frames.tiff", tmp_path / "frames.gif"])
    assert count_pages(files) == 4
    pages, [notice] = split(files)
    assert notice == Notice("frames.gif", "frames.gif holds 3 frames; the first was read.", 1)
    assert [(page.source, page.number) for page in pages] == [
        ("frames.tiff", 1),
        ("frames.tiff", 2),
        ("frames.tiff", 3),
        ("frames.gif", 1),
    ]
    colours = [page.image.getpixel((5, 5)) for page in pages if page.image is not None]
    assert colours == [(255, 0, 0), (0, 128, 0), (0, 0, 255), (255, 0, 0)]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_exif_rotation_is_honoured(tmp_path: Path, suffix: str, orientation: int) -> None:
    """A red top half must be on top again, however the camera was held."""
    upright = Image.new("RGB", (80, 40), "white")
    upright.paste((255, 0, 0), (0, 0, 80, 20))
    turns = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    stored = upright.transpose(turns[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"held.{suffix}"
    stored.save(path, exif=exif)
    [page], _ = split(uploads([path]))
    assert page.image is not None
    assert page.image.size == (80, 40)
    assert page.image.getpixel((40, 5))[1] < 60  # type: ignore[index]
    assert page.image.getpixel((40, 35))[1] > 200  # type: ignore[index]


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (10, 10), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    palette = Image.new("P", (10, 10), 0)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    palette.save(tmp_path / "palette.gif", transparency=0)
    Image.new("LA", (10, 10), (0, 0)).save(tmp_path / "grey.png")
    pages, problems = split(uploads([tmp_path]))
    assert not problems
    assert [page.image.getpixel((5, 5)) for page in pages if page.image] == [(255, 255, 255)] * 3


def test_unusual_pixel_formats_keep_their_tones(tmp_path: Path) -> None:
    ramp = np.linspace(0, 1, 64)[None].repeat(16, 0)
    Image.fromarray((ramp * 65535).astype(np.uint16)).save(tmp_path / "a16.png")
    Image.fromarray((ramp * 4095).astype(np.uint16)).save(tmp_path / "b12.tif")
    Image.fromarray(ramp.astype(np.float32)).save(tmp_path / "c_float.tif")
    Image.fromarray((ramp * 255).astype(np.uint8)).convert("CMYK").save(tmp_path / "d_cmyk.jpg", quality=95)
    Image.fromarray((ramp * 255).astype(np.uint8)).convert("P").save(tmp_path / "e_palette.png")
    Image.fromarray(ramp > 0.5).save(tmp_path / "f_bits.png")
    pages, problems = split(uploads([tmp_path]))
    assert not problems
    assert len(pages) == 6
    for page in pages[:5]:
        row = np.asarray(page.image)[8].mean(-1)
        assert np.abs(row - ramp[0] * 255).max() < 14, page.source
    assert set(np.asarray(pages[5].image).ravel()) == {0, 255}


def test_large_pictures_are_scaled_down(tmp_path: Path) -> None:
    Image.new("RGB", (5000, 1000), "navy").save(tmp_path / "wide.jpg")
    [page], _ = split(uploads([tmp_path / "wide.jpg"]))
    assert page.image is not None
    assert page.image.size == (RENDER.max_side, RENDER.max_side // 5)


# Folders and archives


def test_a_folder_is_walked_in_order(tmp_path: Path) -> None:
    for name in ("b/two.png", "a/one.PNG", "notes.txt", ".hidden.png", ".git/x.png", "z.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(path, "PNG")
    assert [file.name for file in uploads([tmp_path])] == ["a/one.PNG", "b/two.png", "notes.txt", "z.png"]
    named = [file.name for file in uploads([tmp_path], only_accepted=True)]
    assert named == ["a/one.PNG", "b/two.png", "z.png"]
    assert [file.name for file in uploads([tmp_path / "notes.txt"])] == ["notes.txt"]


def test_same_names_from_two_folders_stay_apart(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / folder / "p.png")
    names = [file.name for file in uploads([tmp_path / "x", tmp_path / "y"])]
    assert names == ["p.png", "y/p.png"]


def test_a_member_s_name_is_cut_as_answers_repeat_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "box.zip", "w") as archive:
        archive.writestr("0001" + "\u202e" * 20_000 + ".png", png_bytes())
    [page], [] = split(uploads([tmp_path / "box.zip"]))
    assert (page.source[:12], page.source[-4:], len(page.source)) == ("box.zip/0001", ".png", 255 + 8)


def test_an_archive_is_read_through(tmp_path: Path) -> None:
    make_pdf(tmp_path / "manual.pdf", 2)
    with zipfile.ZipFile(tmp_path / "box.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "manual.pdf", "inner/deep/manual.pdf")
        archive.writestr("a.png", png_bytes())
        archive.writestr("../../escape.png", png_bytes("blue"))
        archive.writestr("__MACOSX/a.png", b"junk")
        archive.writestr("setup.py", b"print('skipped by its kind')")
        archive.writestr("broken.png", b"\x89PNG\r\n\x1a\n but no more")
    files = uploads([tmp_path / "box.zip"])
    assert count_pages(files) == 4
    pages, [broken, skipped] = split(files)
    assert [(page.source, page.number) for page in pages] == [
        ("box.zip/inner/deep/manual.pdf", 1),
        ("box.zip/inner/deep/manual.pdf", 2),
        ("box.zip/a.png", 1),
        ("box.zip/escape.png", 1),
    ]
    assert broken.source == "box.zip/broken.png"
    assert "box.zip/setup.py was skipped: it is text (.py)" in skipped.message
    assert not (tmp_path.parent / "escape.png").exists()


def test_an_archive_in_an_archive_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
        archive.writestr("inner.zip", b"PK\x05\x06" + bytes(18))
        archive.writestr("a.png", png_bytes())
    pages, [problem] = split(uploads([tmp_path / "outer.zip"]))
    assert len(pages) == 1
    assert problem.source == "outer.zip/inner.zip"
    assert "Unpack it" in problem.message


def test_an_encrypted_member_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "locked.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("secret.png", png_bytes())
        archive.writestr("open.png", png_bytes())
    data = bytearray(path.read_bytes())
    data[6] |= 1  # the encryption bit, in the local header and in the directory
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    pages, [problem] = split(uploads([path]))
    assert [page.source for page in pages] == ["locked.zip/open.png"]
    assert problem.source == "locked.zip/secret.png"
    assert "password" in problem.message


def test_archive_limits(tmp_path: Path) -> None:
    path = tmp_path / "big.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.bmp", b"BM" + bytes(4 << 20))
        for n in range(4):
            archive.writestr(f"{n}.png", png_bytes())
    pages, [problem] = split(uploads([path]))
    assert len(pages) == 4
    assert problem.source == "big.zip/bomb.bmp"
    assert "decompression bomb" in problem.message
    pages, problems = split(uploads([path]), LIMITS.model_copy(update={"max_archive_files": 3}))
    assert len(pages) == 2
    assert "5 files" in problems[-1].message
    pages, problems = split(uploads([path]), LIMITS.model_copy(update={"max_archive_bytes": 4 << 20}))
    assert not pages
    assert "unpacks to more than 4.2 MB" in problems[-1].message
    pages, problems = split(uploads([path]), LIMITS.model_copy(update={"max_file_bytes": 1 << 20}))
    assert len(pages) == 4
    assert "over the limit of 1.0 MB" in problems[0].message


def test_unreadable_archives(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "whole.zip", "w") as archive:
        archive.writestr("a.png", png_bytes())
    whole = (tmp_path / "whole.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[:-30])
    assert "archive is damaged or cut off" in only_problem(tmp_path / "cut.zip")
    at = whole.index(png_bytes()) + 20
    (tmp_path / "flipped.zip").write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
    _, [problem] = split(uploads([tmp_path / "flipped.zip"]))
    assert problem.source == "flipped.zip/a.png"
    assert "cannot be unpacked" in problem.message
    with zipfile.ZipFile(tmp_path / "nothing.zip", "w") as archive:
        archive.writestr("__MACOSX/readme.txt", b"hello")
    assert "holds nothing that can be read" in only_problem(tmp_path / "nothing.zip")


def test_bad_files_count_no_pages(tmp_path: Path) -> None:
    (tmp_path / "void.pdf").touch()
    (tmp_path / "bad.pdf").write_bytes(b"%PDF-1.4 %%EOF")
    (tmp_path / "bad.png").write_bytes(png_bytes()[:30])
    make_pdf(tmp_path / "good.pdf", 3)
    assert count_pages(uploads([tmp_path])) == 3


def test_reading_can_stop_half_way(tmp_path: Path) -> None:
    """A cancelled upload closes the generator; the same file must be readable again at once."""
    with zipfile.ZipFile(tmp_path / "box.zip", "w") as archive:
        archive.write(make_pdf(tmp_path / "manual.pdf", 6), "manual.pdf")
    pages = read_files(uploads([tmp_path / "box.zip"]))
    next(iter(pages))
    pages.close()  # type: ignore[attr-defined]
    assert len(split(uploads([tmp_path / "box.zip"]))[0]) == 6


def test_same_page_has_the_same_id(tmp_path: Path) -> None:
    make_pdf(tmp_path / "a.pdf", 2)
    (tmp_path / "b.pdf").write_bytes((tmp_path / "a.pdf").read_bytes())
    pages, _ = split(uploads([tmp_path]))
    assert [page.id for page in pages[:2]] == [page.id for page in pages[2:]]


def test_a_dense_page_gives_all_its_words(tmp_path: Path) -> None:
    canvas = Canvas(str(tmp_path / "dense.pdf"), pagesize=A4)
    canvas.setFont("Times-Roman", 6)
    words = [[f"w{row}x{column}" for column in range(14)] for row in range(110)]
    for row, line in enumerate(words):
        canvas.drawString(30, 820 - 7 * row, " ".join(line))
    canvas.save()
    [page], _ = split(uploads([tmp_path / "dense.pdf"]))
    assert [word.text for word in page.words] == [word for line in words for word in line]


def test_pages_made_of_strips_hold_one_picture(tmp_path: Path) -> None:
    canvas = Canvas(str(tmp_path / "strips.pdf"), pagesize=(200, 200))
    for strip in range(4):
        tone = Image.new("RGB", (100, 25), (60 * strip, 90, 90))
        ImageDraw.Draw(tone).line((0, 0, 99, 24), fill="white")
        canvas.drawImage(ImageReader(tone), 50, 50 + 25 * strip, 100, 25)
    canvas.save()
    [page], _ = split(uploads([tmp_path / "strips.pdf"]))
    assert page.pictures == (pytest.approx((0.25, 0.25, 0.75, 0.75), abs=0.002),)
