"""OCR with RapidOCR (PP-OCRv6 small): words with boxes. Models load on first use."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from metaembed_demo.core.types import Box, Word

from .image_colours import paper_share

if TYPE_CHECKING:
    from rapidocr import RapidOCR

DETECT_SIDE = 1152  # pixels; longer side for line detection (recognition uses full resolution)
COARSE_SIDE = 640  # pixels; a first detection pass that rules out most photographs
COARSE_PAPER = 0.5  # share of paper from which the first pass is skipped
WORKERS = max(1, min(4, os.cpu_count() or 1))
LEAST_SCORE = 0.7  # minimum mean confidence of a line; below, it is mostly texture
SHORT = {1: 0.95, 2: 0.85, 3: 0.85}  # minimum by number of characters: round shapes are read as an O
UPRIGHT = 1.5  # height : width from which RapidOCR rotates a line before recognition
NEEDED = 'rapidocr and onnxruntime: pip install "rapidocr>=3.10,<4" onnxruntime'
_load_lock = threading.Lock()


def recognise(image: Image.Image) -> tuple[Word, ...]:
    """Words of kind "ocr" with boxes as fractions of `image`, by line, each line from left to right.

    Raises ImportError when a package is missing.
    """
    pixels = _bgr(image)
    # The first pass misses small type on paper; in photographs, larger type gives the text away.
    if paper_share(image) < COARSE_PAPER and not _may_have_text(image):
        return ()
    quads = _lines(pixels)
    if not len(quads):
        return ()
    reader = _reader()
    crops = _detector().crop_text_regions(pixels, quads)
    # One thread per line is faster than all threads on one line.
    read = _pool().map(reader, crops)
    scale = np.array([image.width, image.height], dtype=np.float64)
    return tuple(
        word for quad, line in zip(quads / scale, read, strict=True) for word in _words(quad, line, scale)
    )


def slope(words: Sequence[Word]) -> float:
    """Downward slope of text lines, in image heights per image width; 0 with too few word pairs."""
    rises = [
        (b.box[1] + b.box[3] - a.box[1] - a.box[3]) / (b.box[0] + b.box[2] - a.box[0] - a.box[2])
        for a, b in pairwise(words)
        if a.box[2] <= b.box[0] + 0.002 and b.box[0] - a.box[2] < 0.03
        if abs(b.box[1] - a.box[1]) < 0.5 * (a.box[3] - a.box[1])
    ]
    return median(rises) if len(rises) >= 8 else 0.0


def _lines(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Corners (n, 4, 2) of text lines, clockwise from the top left, in pixels."""
    boxes = getattr(_detector()(pixels), "boxes", None)
    return np.zeros((0, 4, 2), np.float32) if boxes is None else np.asarray(boxes, np.float32)


def _may_have_text(image: Image.Image) -> bool:
    small = image.copy()
    small.thumbnail((COARSE_SIDE, COARSE_SIDE), reducing_gap=2.0)
    return small.size == image.size or len(_lines(_bgr(small))) > 0


def _bgr(image: Image.Image) -> NDArray[np.uint8]:
    """(height, width, 3) uint8 BGR, RapidOCR's input."""
    return np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1])


def _words(quad: NDArray[np.float64], line: Any, scale: NDArray[np.float64]) -> Iterator[Word]:
    """Words of one line; `quad` (4, 2) in fractions, `scale` (2,) the image's width and height."""
    if not line.txts or not line.word_results:
        return
    if line.scores[0] < SHORT.get(len(line.txts[0].strip()), LEAST_SCORE):
        return
    info = line.word_results[0]
    across, down = np.linalg.norm((quad[1] - quad[0]) * scale), np.linalg.norm((quad[3] - quad[0]) * scale)
    if down >= UPRIGHT * across:  # RapidOCR rotated the crop: its left edge is the line's top
        quad = quad[[1, 2, 3, 0]]
    columns = max(1.0, float(info.line_txt_len))
    for characters, places in zip(info.words, info.word_cols, strict=True):
        text = "".join(characters).strip()
        if not text:
            continue
        half = 0.5 * (places[-1] - places[0]) / (len(places) - 1) if len(places) > 1 else 1.0
        first = min(1.0, max(0.0, (places[0] + 0.5 - half) / columns))
        last = min(1.0, max(first, (places[-1] + 0.5 + half) / columns))
        yield Word(text, _between(quad, first, last), "ocr")


def _between(quad: NDArray[np.float64], first: float, last: float) -> Box:
    """The axis-aligned box of a line from `first` to `last` (fractions of its length)."""
    top, bottom = quad[1] - quad[0], quad[2] - quad[3]
    corners = [quad[0] + first * top, quad[0] + last * top, quad[3] + first * bottom, quad[3] + last * bottom]
    low, high = np.clip(np.min(corners, 0), 0, 1), np.clip(np.max(corners, 0), 0, 1)
    return (
        round(float(low[0]), 5),
        round(float(low[1]), 5),
        round(float(high[0]), 5),
        round(float(high[1]), 5),
    )


@lru_cache(1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(WORKERS, thread_name_prefix="ocr")


def _detector() -> RapidOCR:
    with _load_lock:
        return _engine("det")


def _reader() -> RapidOCR:
    with _load_lock:
        return _engine("rec")


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
            "Global.use_cls": False,  # detection of upside-down lines costs a pass over each
            "Global.use_rec": stage == "rec",
            "Global.return_word_box": stage == "rec",
            "Det.limit_type": "max",
            "Det.limit_side_len": DETECT_SIDE,
            "EngineConfig.onnxruntime.intra_op_num_threads": WORKERS if stage == "det" else 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )
