"""Bad and odd pictures; see hostile.py."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import pillow_heif
from PIL import Image, ImageCms, ImageDraw, ImageFont

pillow_heif.register_heif_opener()
Made = tuple[str, str, str, bytes]  # suffix, kind, what it is, the file


def sample(seed: int = 0) -> Image.Image:
    """A small picture with a text in it."""
    tone = np.random.default_rng(seed).integers(0, 40, (90, 120, 3)).astype(np.uint8)
    image = Image.fromarray(tone + np.uint8(200))
    ImageDraw.Draw(image).text((8, 30), f"Kettle {seed}", "black", ImageFont.load_default(20))
    return image


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def good() -> dict[str, bytes]:
    """Suffix -> a good picture of that kind."""
    image = sample()
    frames = [sample(seed) for seed in (1, 2)]
    return {
        ".png": saved(image, "PNG"),
        ".jpg": saved(image, "JPEG"),
        ".webp": saved(image, "WEBP"),
        ".tif": saved(image, "TIFF", compression="tiff_lzw", save_all=True, append_images=frames),
        ".bmp": saved(image, "BMP"),
        ".gif": saved(image, "GIF"),
        ".heic": saved(image, "HEIF"),
        ".avif": saved(image, "AVIF"),
        ".jp2": saved(image, "JPEG2000"),
    }


def everything(rng: random.Random) -> Iterator[Made]:
    for part in (dimensions, bombs, colours, tags, frames):
        yield from part(rng)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, rows: bytes, mode: int = 0, more: bytes = b"", depth: int = 8) -> bytes:
    header = struct.pack(">IIBBBBB", width & 0xFFFFFFFF, height & 0xFFFFFFFF, depth, mode, 0, 0, 0)
    body = chunk(b"IHDR", header) + more + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def dimensions(_: random.Random) -> Iterator[Made]:
    for width, height in ((0, 0), (0, 9), (1, 1), (1, 60_000), (60_000, 1), (-1, -1), (2**31 - 1, 1)):
        rows = bytes((min(max(width, 0), 60_000) + 1) * min(max(height, 0), 60_000))
        yield ".png", "dimensions", f"a PNG of {width} x {height}", png(width, height, rows)
    for width, height in ((0, 0), (-5, 9), (2**31 - 1, 2**31 - 1), (9, -(2**31))):
        header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
        whole = b"BM" + struct.pack("<IHHI", 54 + 300, 0, 0, 54) + header + bytes(300)
        yield ".bmp", "dimensions", f"a BMP of {width} x {height}", whole
    for width, height in ((0, 0), (65_535, 65_535), (65_535, 1)):
        screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
        part = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\x00;"
        yield ".gif", "dimensions", f"a GIF of {width} x {height}", screen + part
    jpeg = saved(sample(), "JPEG")
    at = jpeg.index(b"\xff\xc0")
    for width, height in ((0, 0), (65_535, 65_535), (1, 65_535), (65_535, 90)):
        whole = jpeg[: at + 5] + struct.pack(">HH", height, width) + jpeg[at + 9 :]
        yield ".jpg", "dimensions", f"a JPEG of {width} x {height}", whole
    long = saved(Image.new("L", (60_000, 3), 90), "TIFF", compression="tiff_lzw")
    yield ".tif", "dimensions", "a TIFF of 60000 x 3", long


def bombs(_: random.Random) -> Iterator[Made]:
    for side in (9_000, 30_000):
        packer = zlib.compressobj(9)
        rows = b"".join(packer.compress(bytes(1 + side // 8)) for _ in range(side)) + packer.flush()
        header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
        body = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
        yield ".png", "bomb", f"a PNG of {side} x {side}", b"\x89PNG\r\n\x1a\n" + body
    row = bytes(9 * 10)
    text = b"Comment\0\0" + zlib.compress(bytes(300 << 20), 9)
    yield ".png", "bomb", "a comment of 300 MB", png(9, 9, row, more=chunk(b"zTXt", text))
    profile = b"sRGB\0\0" + zlib.compress(bytes(300 << 20), 9)
    yield ".png", "bomb", "a profile of 300 MB", png(9, 9, row, more=chunk(b"iCCP", profile))
    yield ".png", "bomb", "rows of 300 MB for 81 pixels", png(9, 9, bytes(300 << 20))
    wide = saved(Image.new("1", (7_700, 7_700)), "TIFF", compression="group4")
    yield ".tif", "bomb", "a TIFF just under the limit of pixels", wide
    deep = Image.new("I;16", (7_700, 7_700))
    yield ".png", "bomb", "16 bits just under the limit of pixels", saved(deep, "PNG")
    yield (
        ".webp",
        "bomb",
        "a WebP of 16383 x 16383",
        saved(Image.new("L", (16_383, 16_383)), "WEBP", lossless=True, method=0),
    )
    floats = saved(Image.new("F", (5_000, 5_000), 1e38), "TIFF", compression="tiff_deflate")
    yield ".tif", "bomb", "25 million floats", floats


def colours(_: random.Random) -> Iterator[Made]:
    image = sample()
    for mode, kind, suffix in (
        ("CMYK", "JPEG", ".jpg"),
        ("YCbCr", "JPEG", ".jpg"),
        ("L", "JPEG", ".jpg"),
        ("CMYK", "TIFF", ".tif"),
        ("LAB", "TIFF", ".tif"),
        ("1", "TIFF", ".tif"),
        ("LA", "PNG", ".png"),
        ("P", "PNG", ".png"),
        ("I;16", "PNG", ".png"),
        ("RGBA", "WEBP", ".webp"),
        ("P", "BMP", ".bmp"),
        ("1", "BMP", ".bmp"),
    ):
        found = image.convert("L").convert(mode) if mode == "I;16" else _converted(image, mode)
        yield suffix, "colours", f"{kind} in {mode}", saved(found, kind)
    for what, values in {
        "floats that are no numbers": np.full((40, 60), np.nan),
        "floats beyond all": np.full((40, 60), np.inf),
        "floats below zero": np.linspace(-1e30, 1e30, 2400).reshape(40, 60),
    }.items():
        yield ".tif", "colours", what, saved(Image.fromarray(values.astype(np.float32)), "TIFF")
    whole = np.array([[-(2**31), 2**31 - 1] * 20] * 30, np.int32)
    yield ".tif", "colours", "whole numbers of 32 bits", saved(Image.fromarray(whole), "TIFF")
    clear = image.convert("P")
    yield ".gif", "colours", "nothing but transparent", saved(clear, "GIF", transparency=0)
    yield (
        ".png",
        "colours",
        "a palette of one colour and pixels beyond it",
        png(8, 8, bytes([0, *range(8)]) * 8, 3, chunk(b"PLTE", b"\1\2\3")),
    )
    yield ".png", "colours", "a palette that is missing", png(8, 8, bytes([0, *range(8)]) * 8, 3)
    yield ".png", "colours", "an unknown mode", png(8, 8, bytes(9 * 8), 5)
    yield ".png", "colours", "7 bits", png(8, 8, bytes(9 * 8), 0, depth=7)
    for kind, suffix in (("JPEG", ".jpg"), ("PNG", ".png"), ("TIFF", ".tif"), ("WEBP", ".webp")):
        yield suffix, "colours", f"{kind} with a broken profile", saved(image, kind, icc_profile=b"acsp" * 99)
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    lab = lab[:24] + bytes(12) + lab[36:]  # when it was made
    yield ".jpg", "colours", "a profile of other colours", saved(image, "JPEG", icc_profile=lab)


def _converted(image: Image.Image, mode: str) -> Image.Image:
    if mode != "LAB":
        return image.convert(mode)
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    found = ImageCms.profileToProfile(image, srgb, lab, outputMode="LAB")
    assert found is not None
    found.info.clear()  # a profile says when it was made
    return found


def tags(rng: random.Random) -> Iterator[Made]:
    image = sample()
    for turn in (0, 9, 65_535):
        exif = Image.Exif()
        exif[0x0112] = turn
        yield ".jpg", "tags", f"an orientation of {turn}", saved(image, "JPEG", exif=exif)
    for what, exif in {
        "EXIF of garbage": b"Exif\0\0" + rng.randbytes(3_000),
        "EXIF that points into nowhere": b"Exif\0\0II*\0\xff\xff\xff\xff",
        "EXIF that points at itself": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0"
        b"\x08\0\0\0\x08\0\0\0",
        "EXIF of 65,535 entries": b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + rng.randbytes(9_000),
    }.items():
        yield ".jpg", "tags", what, saved(image, "JPEG", exif=exif)
        yield ".png", "tags", what, saved(image, "PNG", exif=exif)
    laughs = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha">' + b"".join(
        b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 20) for i in range(9)
    )
    laughs += b"]><x>&j;</x>"
    xmp = b"http://ns.adobe.com/xap/1.0/\0" + laughs
    jpeg = saved(image, "JPEG")
    marker = b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp
    yield ".jpg", "tags", "metadata of a thousand million laughs", jpeg[:2] + marker + jpeg[2:]
    yield ".webp", "tags", "metadata of a thousand million laughs", saved(image, "WEBP", xmp=laughs)
    yield (
        ".png",
        "tags",
        "10,000 comments",
        png(9, 9, bytes(90), more=chunk(b"tEXt", b"Title\0<script>alert(1)</script>") * 10_000),
    )


def frames(_: random.Random) -> Iterator[Made]:
    small = Image.new("L", (4, 4), 77)
    tiff = saved(small, "TIFF")
    (first,) = struct.unpack_from("<I", tiff, 4)
    (entries,) = struct.unpack_from("<H", tiff, first)
    link = first + 2 + 12 * entries
    yield (
        ".tif",
        "frames",
        "a page that follows itself",
        tiff[:link] + struct.pack("<I", first) + tiff[link + 4 :],
    )
    yield ".tif", "frames", "a page beyond the end", tiff[:link] + struct.pack("<I", 2**31) + tiff[link + 4 :]
    yield ".tif", "frames", "a directory of 65,535 entries", tiff[:first] + b"\xff\xff" + tiff[first + 2 :]
    many = [small] * 2_000
    yield ".tif", "frames", "2,000 pages", saved(small, "TIFF", save_all=True, append_images=many)
    for tag, what in ((278, "strips of no rows"), (279, "strips of no bytes"), (258, "no bits a sample")):
        at = next(
            first + 2 + 12 * i
            for i in range(entries)
            if tiff[first + 2 + 12 * i :][:2] == struct.pack("<H", tag)
        )
        yield ".tif", "frames", what, tiff[: at + 8] + bytes(4) + tiff[at + 12 :]
    gif = [Image.new("P", (8, 8), tone) for tone in range(200)]
    yield ".gif", "frames", "200 pictures", saved(gif[0], "GIF", save_all=True, append_images=gif[1:], loop=0)
    webp = [sample(seed) for seed in range(3)]
    yield ".webp", "frames", "3 pictures", saved(webp[0], "WEBP", save_all=True, append_images=webp[1:])
