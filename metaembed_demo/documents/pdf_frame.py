"""The coordinates of a PDF page, and the error that reading one raises."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium
from numpy.typing import NDArray

from metaembed_demo.core.types import Box


class PdfError(Exception):
    """An unreadable PDF or page. The message completes a sentence that begins with the file name."""


@dataclass(frozen=True)
class Frame:
    """Maps page coordinates (points, origin bottom left, unrotated) to fractions of the rotated page."""

    left: float
    bottom: float
    width: float
    height: float
    quarter_turns: int  # clockwise

    @classmethod
    def of(cls, page: pypdfium2.PdfPage) -> Frame:
        rect = pdfium.FS_RECTF()
        pdfium.FPDF_GetPageBoundingBox(page, ctypes.byref(rect))
        width, height = rect.right - rect.left, rect.top - rect.bottom
        return cls(rect.left, rect.bottom, width, height, pdfium.FPDFPage_GetRotation(page) % 4)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the rotated page in points."""
        return (self.height, self.width) if self.quarter_turns % 2 else (self.width, self.height)

    def boxes(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 4) left, bottom, right, top in points -> (n, 4) x0, y0, x1, y1 in fractions, unclipped."""
        x = (points[:, [0, 2]] - self.left) / self.width
        y = 1 - (points[:, [3, 1]] - self.bottom) / self.height
        for _ in range(self.quarter_turns):
            x, y = 1 - y[:, ::-1], x
        return np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], 1)


def clipped(x0: float, y0: float, x1: float, y1: float) -> Box:
    x0, y0, x1, y1 = (round(min(1.0, max(0.0, float(v))), 5) for v in (x0, y0, x1, y1))
    return x0, y0, x1, y1
