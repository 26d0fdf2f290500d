"""Where the raster images of a PDF page are. Callers hold the lock of `pdf`."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from itertools import islice

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium
from numpy.typing import NDArray

from metaembed_demo.core.config import Limits
from metaembed_demo.core.types import Box

from .images import ONE_BAND
from .pdf_frame import Frame, PdfError, clipped

SMALLEST_PICTURE = 0.03  # of the page area; excludes logos and rules
NESTING = 4  # levels of form objects searched for images
MOST_OBJECTS = 50_000  # per page, searched for images; a limit against bombs
MOST_PICTURES = 2_000  # per page; a scan has at most hundreds of strips


def pictures(page: pypdfium2.PdfPage, frame: Frame, limits: Limits) -> tuple[Box, ...]:
    """Boxes of the page's raster images, with strips merged.

    Raises:
        PdfError: when an image exceeds the pixel limit; checked before decoding.
    """
    found = list(islice(_picture_points(page, limits), MOST_PICTURES))
    corners = np.asarray(found, dtype=np.float64).reshape(-1, 4)
    return tuple(_joined([clipped(*row) for row in frame.boxes(corners)]))


def is_large(box: Box) -> bool:
    """Whether a picture is more than a logo or a rule."""
    return (box[2] - box[0]) * (box[3] - box[1]) >= SMALLEST_PICTURE


def _picture_points(page: pypdfium2.PdfPage, limits: Limits) -> Iterator[tuple[float, float, float, float]]:
    most = min(pdfium.FPDFPage_CountObjects(page), MOST_OBJECTS)
    waiting = [(pdfium.FPDFPage_GetObject(page, i), np.eye(3), 0) for i in range(most)]
    for _ in range(MOST_OBJECTS):  # nested forms can multiply
        if not waiting:
            return
        item, matrix, level = waiting.pop()
        object_type = pdfium.FPDFPageObj_GetType(item)
        if object_type == pdfium.FPDF_PAGEOBJ_IMAGE:
            _check_picture(page, item, limits)
            corners = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]]) @ _matrix(item) @ matrix
            (x0, y0), (x1, y1) = corners[:, :2].min(0), corners[:, :2].max(0)
            yield float(x0), float(y0), float(x1), float(y1)
        elif object_type == pdfium.FPDF_PAGEOBJ_FORM and level < NESTING:
            inner = _matrix(item) @ matrix
            for i in range(min(pdfium.FPDFFormObj_CountObjects(item), MOST_OBJECTS)):
                waiting.append((pdfium.FPDFFormObj_GetObject(item, i), inner, level + 1))


def _matrix(item: object) -> NDArray[np.float64]:
    m = pdfium.FS_MATRIX()
    pdfium.FPDFPageObj_GetMatrix(item, ctypes.byref(m))
    return np.array([[m.a, m.b, 0], [m.c, m.d, 0], [m.e, m.f, 1]])


def _check_picture(page: pypdfium2.PdfPage, item: object, limits: Limits) -> None:
    width, height, most = ctypes.c_uint(), ctypes.c_uint(), limits.max_pixels
    pdfium.FPDFImageObj_GetImagePixelSize(item, ctypes.byref(width), ctypes.byref(height))
    if width.value * height.value > most and _is_of_one_band(page, item):
        most *= ONE_BAND
    if width.value * height.value > most:
        raise PdfError(
            f"holds a picture of {width.value} x {height.value} pixels, over the limit of "
            f"{most:,}. Export the document at a lower resolution."
        )


def _is_of_one_band(page: pypdfium2.PdfPage, item: object) -> bool:
    """Whether a raster image is black and white, grey, or has a palette.

    Of a JPEG 2000, pdfium could tell only by decoding it.
    """
    name = ctypes.create_string_buffer(32)
    pdfium.FPDFImageObj_GetImageFilter(item, pdfium.FPDFImageObj_GetImageFilterCount(item) - 1, name, 32)
    data = pdfium.FPDF_IMAGEOBJ_METADATA()
    return (
        name.value != b"JPXDecode"
        and bool(pdfium.FPDFImageObj_GetImageMetadata(item, page, ctypes.byref(data)))
        and 0 < data.bits_per_pixel <= 8
    )


def _joined(boxes: list[Box]) -> list[Box]:
    """Merge boxes that are strips or tiles of one image: adjacent and aligned.

    >>> _joined([(0.1, 0.1, 0.9, 0.3), (0.1, 0.3, 0.9, 0.5), (0.1, 0.7, 0.9, 0.8)])
    [(0.1, 0.1, 0.9, 0.5), (0.1, 0.7, 0.9, 0.8)]
    """
    found: list[Box] = []
    for box in sorted(set(boxes), key=lambda b: (b[1], b[0])):
        while (other := next((b for b in found if _one_picture(b, box)), None)) is not None:
            found.remove(other)
            box = (*map(min, other[:2], box[:2]), *map(max, other[2:], box[2:]))  # type: ignore[assignment]
        found.append(box)
    return sorted(found, key=lambda b: (b[1], b[0]))


def _one_picture(a: Box, b: Box, near: float = 0.004) -> bool:
    x_apart = max(a[0], b[0]) - min(a[2], b[2])
    y_apart = max(a[1], b[1]) - min(a[3], b[3])
    same_x = abs(a[0] - b[0]) < near and abs(a[2] - b[2]) < near
    same_y = abs(a[1] - b[1]) < near and abs(a[3] - b[3]) < near
    nested = x_apart <= -0.9 * min(a[2] - a[0], b[2] - b[0]) and y_apart <= -0.9 * min(
        a[3] - a[1], b[3] - b[1]
    )
    return nested or (same_x and abs(y_apart) < near) or (same_y and abs(x_apart) < near)
