"""RapidOCR's two networks (PP-OCRv6 small): detection of lines, and recognition of a line. Load on first use.

Lines are recognised one by one, a thread each: in batches, short lines are padded to the longest, which took
1.2 to 2.3 times as long on two cores.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from rapidocr import RapidOCR

DETECT_SIDE = 1152  # pixels; longer side for line detection (recognition uses full resolution)
WORKERS = max(1, min(4, os.cpu_count() or 1))
NEEDED = 'rapidocr and onnxruntime: pip install "rapidocr>=3.10,<4" onnxruntime'
Pixels = NDArray[np.uint8]  # (height, width, 3) BGR, RapidOCR's input
_load_lock = threading.Lock()


class Line(NamedTuple):
    """A recognised line.

    score: mean confidence, 0 to 1. words: text, first and last position along the line (0 to 1), confidence.
    """

    text: str
    score: float
    words: tuple[tuple[str, float, float, float], ...]


def pixels_of(image: Image.Image) -> Pixels:
    return np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1])


def find_lines(pixels: Pixels) -> NDArray[np.float32]:
    """Corners (n, 4, 2) of text lines, clockwise from the top left, in pixels."""
    boxes = getattr(_engine_of("det")(pixels), "boxes", None)
    return np.zeros((0, 4, 2), np.float32) if boxes is None else np.asarray(boxes, np.float32)


def crop_lines(pixels: Pixels, quads: NDArray[np.float32]) -> list[Pixels]:
    """Each line cut out upright; those taller than wide are turned by a quarter to the left."""
    found: list[Pixels] = _engine_of("det").crop_text_regions(pixels, quads)
    return found


def read_lines(crops: Sequence[Pixels]) -> list[Line]:
    """Raises ImportError when a package is missing."""
    reader = _engine_of("rec")
    return [_line(found) for found in _pool().map(reader, crops)]


def _line(found: Any) -> Line:
    if not found.txts or not found.word_results:
        return Line("", 0.0, ())
    info, words, at = found.word_results[0], [], 0
    columns = max(1.0, float(info.line_txt_len))
    for characters, places in zip(info.words, info.word_cols, strict=True):
        sure = info.confs[at : at + len(characters)]
        at += len(characters)
        text = "".join(characters).strip()
        if not text:
            continue
        half = 0.5 * (places[-1] - places[0]) / (len(places) - 1) if len(places) > 1 else 1.0
        first = min(1.0, max(0.0, (places[0] + 0.5 - half) / columns))
        last = min(1.0, max(first, (places[-1] + 0.5 + half) / columns))
        words.append((text, first, last, float(np.mean(sure)) if sure else float(found.scores[0])))
    return Line(found.txts[0].strip(), float(found.scores[0]), tuple(words))


@lru_cache(1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(WORKERS, thread_name_prefix="ocr")


def _engine_of(stage: str) -> RapidOCR:
    with _load_lock:
        return _engine(stage)


@lru_cache(2)
def _engine(stage: str) -> RapidOCR:
    """The engine for line detection ("det") or recognition of a cropped line ("rec"). Thread-safe.

    Raises:
        ImportError: when a package is missing; names what to install.
    """
    logging.getLogger("RapidOCR").setLevel(logging.CRITICAL)
    try:
        return _made(stage)
    except ImportError as error:
        raise ImportError(f"OCR needs {NEEDED}") from error


def _made(stage: str) -> RapidOCR:
    import onnxruntime  # noqa: F401  # fail early: rapidocr imports it at the first image
    from rapidocr import RapidOCR

    return RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.use_det": stage == "det",
            "Global.use_cls": False,  # tells 0 from 180 degrees of a line only; ocr.py compares readings
            "Global.use_rec": stage == "rec",
            "Global.return_word_box": stage == "rec",
            "Det.limit_type": "max",
            "Det.limit_side_len": DETECT_SIDE,
            "EngineConfig.onnxruntime.intra_op_num_threads": WORKERS if stage == "det" else 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )
