"""Image files: frames as upright RGB on white, at most `RENDER.max_side` pixels long."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from metaembed_demo.core.config import LIMITS, RENDER, Limits

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "MPO")  # MPO: a JPEG with more images appended
ORIENTATION = 0x0112  # EXIF tag
WHITE = (255, 255, 255, 255)
BOMB_RATIO = 200  # decoded bytes per file byte; real images stay far below


class ImageError(Exception):
    """An unreadable image. The message completes a sentence that begins with the file name."""


def count_frames(path: Path, limits: Limits = LIMITS) -> int:
    """Number of frames that `frames` yields, at most `limits.max_pages`; 0 for a bad file."""
    try:
        with _opened(path, limits) as image:
            return _seek_to_end(image, limits.max_pages) if image.format == "TIFF" else 1
    except ImageError:
        return 0


def frames(path: Path, limits: Limits = LIMITS) -> Iterator[Image.Image | ImageError]:
    """All frames of a TIFF, up to `limits.max_pages`; the first frame of other formats.

    A broken frame yields an ImageError. One frame is in memory at a time.

    Raises:
        ImageError: when the file cannot be opened, or is over the pixel limit.
        MemoryError: when decoding runs out of memory.
    """
    with _opened(path, limits) as image:
        last = limits.max_pages if image.format == "TIFF" else 1
        for number in range(last):
            try:
                image.seek(number)
            except EOFError:
                return
            except MemoryError:
                raise
            except Exception:
                yield ImageError(
                    "is damaged and was left out, with what follows it. Scan or export it again."
                )
                return
            try:
                _check_pixels(image, path, limits)
                yield upright(image)
            except ImageError as error:
                yield error
            except MemoryError:
                raise
            except Exception:  # Pillow's decoders raise many exception types
                yield ImageError("is cut off or damaged. Download or export it again.")


def has_more_frames(path: Path, count: int, limits: Limits = LIMITS) -> bool:
    """Whether a TIFF has more than `count` frames."""
    with _opened(path, limits) as image:
        return image.format == "TIFF" and _seek_to_end(image, count + 1) > count


def upright(image: Image.Image) -> Image.Image:
    """Apply EXIF rotation, convert to RGB on white, and scale down to `RENDER.max_side`."""
    side = RENDER.max_side
    image.draft("RGB", (side, side))  # decodes a JPEG at reduced size
    image.load()  # rotates a TIFF and updates its orientation tag, so read the tag afterwards
    orientation = image.getexif().get(ORIENTATION, 1)
    flat = _rgb(image)
    flat.thumbnail((side, side), Image.Resampling.LANCZOS)
    return _turned(flat, orientation)


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    method = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(orientation)
    return image if method is None else image.transpose(method)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        assert converted is not None  # None only with inPlace
        return converted
    if image.mode.startswith(("I", "F")):
        return _eight_bit(image).convert("RGB")
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", clear.size, WHITE), clear).convert("RGB")
    return image.convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    """Scale 16-bit, 32-bit or float images; the bit depth is inferred from the maximum value."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    values = values - min(0.0, float(values.min(initial=0.0)))
    top = float(values.max(initial=0.0))
    full = 1.0 if 0 < top <= 1 else 2.0 ** np.ceil(np.log2(max(255.0, top) + 1)) - 1
    return Image.fromarray((values * (255.0 / full)).clip(0, 255).astype(np.uint8))


@contextlib.contextmanager
def _opened(path: Path, limits: Limits) -> Iterator[Image.Image]:
    try:
        image = Image.open(path, formats=FORMATS)
    except Image.DecompressionBombError:
        raise ImageError(f"unpacks to far more than {limits.max_pixels:,} pixels: {_BOMB}") from None
    except MemoryError:
        raise
    except Exception:
        raise ImageError(
            "is damaged and cannot be opened as a picture. Download or export it again."
        ) from None
    with image:
        _check_pixels(image, path, limits)
        yield image


_BOMB = "it looks like a decompression bomb and was not opened. Save it smaller if it is a real picture."


def _check_pixels(image: Image.Image, path: Path, limits: Limits) -> None:
    """Check the size in the header, before decoding. Raises ImageError."""
    width, height = image.size
    if width * height <= limits.max_pixels:
        return
    size = f"{width} x {height} pixels"
    if width * height * len(image.getbands()) > BOMB_RATIO * path.stat().st_size:
        raise ImageError(f"is a small file that unpacks to {size}: {_BOMB}")
    raise ImageError(f"has {size}, over the limit of {limits.max_pixels:,} in all. Save it smaller.")


def _seek_to_end(image: Image.Image, most: int) -> int:
    """Number of readable frames, at most `most`."""
    for number in range(most):
        try:
            image.seek(number)
        except Exception:
            return number
    return most
