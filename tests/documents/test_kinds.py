"""A file is what its bytes say; kinds of pictures; and how each is shown."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageDraw

from metaembed_demo.core.config import LIMITS, RENDER
from metaembed_demo.core.types import Notice, Page, Problem, Skipped, Upload
from metaembed_demo.documents.file_types import uploads
from metaembed_demo.documents.sandbox.client import Rendered, read_files, read_picture
from metaembed_demo.documents.skipped import NAMED, folded
from tests.support.sample_files import make_pdf, only_problem, png_bytes, split, stream, write_pdf

pillow_heif.register_heif_opener()


def only_page(path: Path) -> Page:
    [page], problems = split(uploads([path]))
    assert not problems
    assert page.image is not None
    return page


# By its bytes


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("saved.jfif", "JPEG"),
        ("shot.png", "WEBP"),
        ("scan.pdf", "TIFF"),
        ("no-suffix", "PNG"),
        ("photo.jpg", "HEIF"),
        ("export.final-2", "GIF"),
    ],
)
def test_a_picture_under_another_name(tmp_path: Path, name: str, form: str) -> None:
    Image.new("RGB", (60, 40), (200, 30, 30)).save(tmp_path / name, form)
    page = only_page(tmp_path / name)
    assert page.source == name
    assert np.abs(np.asarray(page.image, dtype=int) - (200, 30, 30)).max() < 12


@pytest.mark.parametrize(
    "before", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"MZ BM <html> \x1b%-12345X" + b"@" * 900]
)
@pytest.mark.parametrize("after", [b"", bytes(40_000), b"\n--boundary--\n" + b"<p>mail</p>" * 900])
def test_bytes_before_and_after_a_pdf(tmp_path: Path, before: bytes, after: bytes) -> None:
    whole = make_pdf(tmp_path / "whole.pdf", 1).read_bytes()
    (tmp_path / "page").write_bytes(before + whole + after)
    assert only_page(tmp_path / "page").text == "Chapter 1 of the manual"


def test_a_pdf_with_a_change_that_is_cut_off(tmp_path: Path) -> None:
    whole = make_pdf(tmp_path / "whole.pdf", 1).read_bytes()
    (tmp_path / "cut.pdf").write_bytes(whole + b"\n9 0 obj\n<< /Length 900 >>\nstream\n" + bytes(20_000))
    assert "is cut off" in only_problem(tmp_path / "cut.pdf")


def test_an_archive_under_another_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "box", "w") as archive:
        archive.writestr("a", png_bytes())
        archive.writestr("inner.dat", b"PK\x05\x06" + bytes(18))
    pages, [problem] = split(uploads([tmp_path / "box"]))
    assert [page.source for page in pages] == ["box/a"]
    assert "is an archive inside an archive" in problem.message


# Every file is accounted for


def test_what_a_folder_and_an_archive_hold_besides(tmp_path: Path) -> None:
    for at in range(9):
        (tmp_path / f"m{at}.py").write_text(f"print({at})")
    (tmp_path / "song.mid").write_bytes(b"MThd" + bytes(range(256)))
    (tmp_path / "drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (tmp_path / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (tmp_path / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    Image.new("RGB", (4, 4)).save(tmp_path / "z.png")
    with zipfile.ZipFile(tmp_path / "box.zip", "w") as archive:
        for path in tmp_path.iterdir():
            if path.suffix != ".zip":
                archive.write(path, path.name)
    for where in (uploads([tmp_path / "box.zip"]), [f for f in uploads([tmp_path]) if f.name != "box.zip"]):
        for found in (list(read_files(where)), split(where)[1]):
            told = [item for item in found if isinstance(item, Problem)]
            kinds = [item.kind for item in told if isinstance(item, Skipped)]
            assert kinds.count("text (.py)") == NAMED + 1
            assert [
                item.message for item in told if " and 5 more files like it were skipped: " in item.message
            ]
            assert kinds.count("data of an unknown type") == 1
            [drawing] = [item for item in told if item.source.endswith("drawing.svg")]
            assert "export it as PDF" in drawing.message
            assert len(told) == NAMED + 1 + 2


def test_a_few_of_a_kind_are_all_named() -> None:
    few = [Skipped(f"{at}.py", "skipped", "a program") for at in range(NAMED + 1)]
    assert list(folded([few[0], "page", *few[1:]])) == [few[0], "page", *few[1:]]


def test_names_in_utf8_without_the_flag(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "box.zip", "w") as archive:
        archive.writestr("UUbersicht.png", png_bytes())
        archive.writestr("M\u00e4rz.png", png_bytes("blue"))  # with the flag
        archive.writestr("X\u00b0.png", png_bytes("green"))
    data = (tmp_path / "box.zip").read_bytes().replace(b"UUbersicht", "Übersicht".encode())
    (tmp_path / "box.zip").write_bytes(data)
    pages, problems = split(uploads([tmp_path / "box.zip"]))
    assert not problems
    assert [page.source for page in pages] == ["box.zip/Übersicht.png", "box.zip/März.png", "box.zip/X°.png"]


# Kinds of pictures


@pytest.mark.parametrize("form", ["heic", "avif", "jp2", "j2k"])
def test_further_kinds_of_pictures(tmp_path: Path, form: str) -> None:
    picture = Image.new("RGB", (90, 60), "white")
    picture.paste((220, 20, 20), (0, 0, 90, 30))
    path = tmp_path / f"photo.{form}"
    picture.save(path, quality=90)
    page = only_page(path)
    assert np.abs(np.asarray(page.image, dtype=int)[10, 45] - (220, 20, 20)).max() < 16
    asked = read_picture(Upload(path, path.name))
    assert isinstance(asked, Page)
    assert asked.id == page.id
    assert "90 x 60 pixels" in only_problem(path, LIMITS.model_copy(update={"max_pixels": 5000}))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "Download or export it again" in only_problem(path)


def test_a_large_jpeg_2000_is_decoded_at_reduced_size(tmp_path: Path) -> None:
    Image.linear_gradient("L").resize((4400, 2200)).save(tmp_path / "map.jp2", quality_layers=[40])
    page = only_page(tmp_path / "map.jp2")
    assert page.image is not None
    assert page.image.size == (RENDER.max_side, RENDER.max_side // 2)


@pytest.mark.parametrize("form", ["webp", "gif", "png", "avif", "heic"])
def test_frames_left_out_are_told(tmp_path: Path, form: str) -> None:
    first, *others = (Image.new("RGB", (64, 64), colour) for colour in ("red", "green", "blue"))
    name = f"moving.{form}"
    first.save(tmp_path / name, save_all=True, append_images=others, duration=90)
    [page], [notice] = split(uploads([tmp_path / name]))
    assert page.image is not None
    assert page.image.getpixel((9, 9))[0] > 200  # type: ignore[index]
    assert notice == Notice(name, f"{name} holds 3 frames; the first was read.", 1)


def test_the_maps_of_a_phone_photo_are_not_frames(tmp_path: Path) -> None:
    first = Image.new("RGB", (64, 64), "red")
    first.save(tmp_path / "phone.jpg", "MPO", save_all=True, append_images=[Image.new("RGB", (16, 16))])
    only_page(tmp_path / "phone.jpg")


# Shown in shape and on a ground


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(
    ("form", "dpi", "height"), [("tif", (204, 98), 416), ("png", (98, 204), 96), ("jpg", (204, 98), 416)]
)
def test_unequal_resolutions(
    tmp_path: Path, form: str, dpi: tuple[int, int], height: int, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"fax.{form}"
    Image.new("L", (200, 200), 255).save(path, dpi=dpi, exif=exif)
    page = only_page(path)
    assert page.image is not None
    size = page.image.size if orientation == 1 else page.image.size[::-1]
    assert size[1] / size[0] == pytest.approx(height / 200, rel=0.01)


@pytest.mark.parametrize("dpi", [(1, 600), (300, 299), (72, 72)])
def test_resolutions_that_are_not_believed(tmp_path: Path, dpi: tuple[int, int]) -> None:
    Image.new("L", (200, 200), 255).save(tmp_path / "scan.tif", dpi=dpi)
    page = only_page(tmp_path / "scan.tif")
    assert page.image is not None
    assert page.image.size == (200, 200)


@pytest.mark.parametrize(
    ("ink", "ground"), [("white", 0), ((230, 230, 180), 0), ("black", 255), ((200, 30, 30), 255)]
)
def test_letters_on_a_clear_ground(tmp_path: Path, ink: object, ground: int) -> None:
    picture = Image.new("RGBA", (300, 80), (0, 0, 0, 0))
    ImageDraw.Draw(picture).text((10, 10), "Opening hours", ink, font_size=30)  # type: ignore[arg-type]
    picture.save(tmp_path / "sign.png")
    page = only_page(tmp_path / "sign.png")
    assert page.image is not None
    assert page.image.getpixel((295, 75)) == (ground,) * 3
    assert np.ptp(np.asarray(page.image.convert("L"), dtype=int)) > 100


def test_light_and_dark_on_a_clear_ground(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (300, 80), (0, 0, 0, 0))
    ImageDraw.Draw(picture).rectangle((10, 10, 200, 70), "white")
    ImageDraw.Draw(picture).rectangle((220, 10, 260, 70), "black")
    picture.save(tmp_path / "sign.png")
    page = only_page(tmp_path / "sign.png")
    assert page.image is not None
    assert {page.image.getpixel((x, 40)) for x in (5, 100, 240)} == {(v,) * 3 for v in (0, 128, 255)}


def test_light_words_beside_a_button_are_seen_and_those_on_it_do_not_count(tmp_path: Path) -> None:
    for name, ink, seen in (("light", "white", True), ("dark", "black", False)):
        picture = Image.new("RGBA", (300, 120), (0, 0, 0, 0))
        draw = ImageDraw.Draw(picture)
        draw.text((10, 5), "Opening hours", ink, font_size=24)
        draw.rectangle((10, 50, 250, 110), (200, 60, 30))
        draw.text((40, 60), "Book now", "white", font_size=30)
        picture.save(tmp_path / f"{name}.png")
        page = only_page(tmp_path / f"{name}.png")
        assert page.image is not None
        assert (page.image.getpixel((295, 5)) != (255,) * 3) is seen


# One bit a pixel


def one_bit(size: tuple[int, int] = (7016, 9921)) -> Image.Image:
    picture = Image.new("1", size, 1)
    ImageDraw.Draw(picture).rectangle((0, 0, size[0], size[1] // 2), 0)
    return picture


@pytest.mark.slow
@pytest.mark.parametrize("form", ["tif", "png", "pdf"])
def test_a_page_of_70_megapixels_of_one_bit(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"plan.{form}"
    options = {"compression": "group4"} if form == "tif" else {"resolution": 600} if form == "pdf" else {}
    one_bit().save(path, **options)
    [item] = read_files(uploads([path]), LIMITS.model_copy(update={"worker_megabytes": 1000}))
    assert isinstance(item, Rendered)
    assert item.page.image is not None
    grey = np.asarray(item.page.image.convert("L"))
    assert max(grey.shape) > 1900
    assert grey[: len(grey) // 2 - 5].max() < 10
    assert grey[len(grey) // 2 + 5 :].min() > 245


@pytest.mark.parametrize("mode", ["L", "P"])
def test_a_large_picture_of_one_band_is_read(tmp_path: Path, mode: str) -> None:
    picture = Image.new("L", (9600, 300), 255)
    ImageDraw.Draw(picture).rectangle((0, 0, 4800, 300), 0)
    picture.convert(mode).save(tmp_path / "plan.png")
    few = LIMITS.model_copy(update={"max_pixels": 1_000_000})
    [item] = read_files(uploads([tmp_path / "plan.png"]), few)
    assert isinstance(item, Rendered)
    assert item.page.image is not None
    grey = np.asarray(item.page.image.convert("L"))
    middle = grey.shape[1] // 2
    assert (grey[:, : middle - 5].max(), grey[:, middle + 5 :].min()) == (0, 255)
    picture.convert("RGB").save(tmp_path / "plan.png")
    [item] = read_files(uploads([tmp_path / "plan.png"]), few)
    assert not isinstance(item, Rendered)


@pytest.mark.parametrize(("bits", "told"), [(1, False), (8, False), (24, True)])
def test_the_pixels_of_a_picture_in_a_pdf_count_by_their_bits(tmp_path: Path, bits: int, told: bool) -> None:
    row = bytes(400 * bits // 8)
    space = "RGB" if bits == 24 else "Gray"
    image = (
        f"/Subtype /Image /Width 400 /Height 300 /BitsPerComponent {min(bits, 8)} /ColorSpace /Device{space}"
    )
    objects = {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        3: b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Contents 4 0 R "
        b"/Resources << /XObject << /I 5 0 R >> >> >>",
        4: stream(b"q 200 0 0 200 0 0 cm /I Do Q"),
        5: stream(row * 300, image.encode()),
    }
    path = write_pdf(tmp_path / "scan.pdf", objects)
    pages, problems = split(uploads([path]), LIMITS.model_copy(update={"max_pixels": 50_000}))
    assert (len(pages), len(problems)) == ((0, 1) if told else (1, 0))
