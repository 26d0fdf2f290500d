"""Image files: frames as upright RGB without transparency, at most `RENDER.max_side` pixels long."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFilter

from metaembed_demo.core.config import LIMITS, RENDER, Limits

# HEIF is HEIC. A JPEG with more images appended is opened as JPEG: often they are maps of a phone's photo.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF", "JPEG2000")
ANIMATED = ("PNG", "WEBP", "GIF", "AVIF", "HEIF")  # may hold frames besides the first
LARGE = 1.3  # times as many pixels a side, from which small type is lost when scaled down
NATIVE = "native side"  # in the info of a picture: pixels of its longer side in the file
FULL_PIXELS = 18_000_000  # of a picture at full size: as many as are read (ocr.MOST_TILES)
ORIENTATION = 0x0112  # EXIF tag
WHITE, GREY, BLACK = (255, 255, 255, 255), (128, 128, 128, 255), (0, 0, 0, 255)
LIGHT, EDGE = 0.05, 3  # share of light among pixels so near a clear ground; may be words, lost on white
ONE_BAND = 3  # times as many pixels are allowed of one band: decoded, one takes a byte, in colour four
BANDS_OF_ONE = ("1", "L", "P")  # modes: black and white, grey, a palette
SHAPES = (1.02, 4.0)  # ratios of unequal resolutions that are believed: a fax has 204 x 98
pillow_heif.register_heif_opener()
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


def frames_left_out(path: Path, limits: Limits = LIMITS) -> int:
    """Number of frames of an animation, or of pictures in a HEIC file, besides the first."""
    with _opened(path, limits) as image:
        return getattr(image, "n_frames", 1) - 1 if image.format in ANIMATED else 0


def full_size(path: Path, number: int, limits: Limits = LIMITS) -> Image.Image:
    """Frame `number` (1-based) as `frames` gives it, but of up to FULL_PIXELS. Raises as `frames`."""
    with _opened(path, limits) as image:
        image.seek(number - 1)
        scale = min(1.0, (FULL_PIXELS / (image.width * image.height)) ** 0.5)
        return upright(image, max(1, int(max(image.size) * scale)))


def upright(image: Image.Image, side: int = RENDER.max_side) -> Image.Image:
    """Apply EXIF rotation and unequal resolutions, convert to RGB, and scale down to `side`."""
    shape = _shape(image)
    if image.format == "JPEG2000":
        image.reduce = max(0, (max(image.size) // side).bit_length() - 1)  # type: ignore[assignment]
    image.draft("RGB", (side, side))  # decodes a JPEG at reduced size
    image.load()  # rotates a TIFF and updates its orientation tag, so read the tag afterwards
    orientation = image.getexif().get(ORIENTATION, 1)
    flat = _rgb(_reduced(image, side))
    if shape == 1:
        flat.thumbnail((side, side), Image.Resampling.LANCZOS)
    else:
        flat = flat.resize(_fitted(image.size, shape, side), Image.Resampling.LANCZOS)
    if image.mode != "1":  # a scan of many small pixels
        flat.info[NATIVE] = max(image.size)
    return _turned(flat, orientation)


def _shape(image: Image.Image) -> float:
    """Height of a pixel by its width, from the resolutions in the file; 1 where they are not believed."""
    info = image.info
    x, y = info.get("dpi") or info.get("resolution") or info.get("jfif_density") or (1, 1)
    ratio = float(x) / float(y) if x > 0 and y > 0 else 1.0
    if image.format == "TIFF" and image.getexif().get(ORIENTATION, 1) > 4:  # `load` will turn it
        ratio = 1 / ratio
    return ratio if SHAPES[0] < max(ratio, 1 / ratio) <= SHAPES[1] else 1.0


def _fitted(size: tuple[int, int], shape: float, side: int) -> tuple[int, int]:
    """Pixels for a picture whose pixels are to be `shape` times as high as wide, within `side`."""
    width, height = size[0] / min(1.0, shape), size[1] * max(1.0, shape)
    scale = min(1.0, side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _reduced(image: Image.Image, side: int) -> Image.Image:
    """A large picture of one band at an integer fraction of its size, without a whole copy in colour."""
    factor = max(image.size) // (2 * side)
    if image.width * image.height > 4 * FULL_PIXELS:
        factor = max(factor, min(2, max(image.size) // side))
    if image.mode not in BANDS_OF_ONE or factor < 2:
        return image
    mode = "RGBA" if image.has_transparency_data else "RGB" if image.mode == "P" else "L"
    width, height = image.size
    found, step = Image.new(mode, (-(-width // factor), -(-height // factor))), 64 * factor
    for top in range(0, height, step):
        band = image.crop((0, top, width, min(top + step, height))).convert(mode)
        found.paste(band.reduce(factor), (0, top // factor))
    return found


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
        return Image.alpha_composite(Image.new("RGBA", clear.size, _ground(clear)), clear).convert("RGB")
    return image.convert("RGB")


def _ground(image: Image.Image) -> tuple[int, int, int, int]:
    """A ground on which what is visible of an RGBA picture can be seen: white, except under light pixels."""
    small = image.resize((min(512, image.width), min(512, image.height)), Image.Resampling.NEAREST)
    visible = np.asarray(small.getchannel("A"), dtype=np.float32) / 255
    if not visible.any() or (visible < 0.5).mean() < 0.05:  # nothing, or no ground to speak of
        return WHITE
    tone = np.asarray(small.convert("RGB").convert("L"))
    edge = visible * _beside(visible < 0.25)  # what is inside shows on any ground
    if edge[tone >= 192].sum() < LIGHT * max(1.0, edge.sum()):
        return WHITE
    return BLACK if visible[tone <= 64].sum() < 0.01 * visible.sum() else GREY


def _beside(clear: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels at most EDGE away from one that is clear."""
    return np.asarray(Image.fromarray(clear).convert("L").filter(ImageFilter.MaxFilter(2 * EDGE + 1))) > 0


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
    most = limits.max_pixels * (ONE_BAND if image.mode in BANDS_OF_ONE else 1)
    if width * height <= most:
        return
    size = f"{width} x {height} pixels"
    if width * height * len(image.getbands()) > BOMB_RATIO * path.stat().st_size:
        raise ImageError(f"is a small file that unpacks to {size}: {_BOMB}")
    raise ImageError(f"has {size}, over the limit of {most:,} in all. Save it smaller.")


def _seek_to_end(image: Image.Image, most: int) -> int:
    """Number of readable frames, at most `most`."""
    for number in range(most):
        try:
            image.seek(number)
        except Exception:
            return number
    return most
