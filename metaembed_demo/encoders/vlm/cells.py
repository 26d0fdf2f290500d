"""Where the parts of a picture and the words of a text stand in what a language model reads.

Qwen's processors give a picture one token for each square of 2 x 2 patches of the resized page, row by row.
Those of Idefics3, SmolVLM and ModernVBERT cut it into tiles, and add the whole picture as one more.
PaliGemma's makes it a square. Mllama's text attends to the patches of tiles beside the sequence.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from metaembed_demo.core.types import Box, Word
from metaembed_demo.documents.image_tags import WHOLE

from .prompts import TEXT, Inputs, Reader

MOST_CELLS = 256  # of a picture
TILE = re.compile(r"<row_(\d+)_col_(\d+)>")
Places = tuple[int, ...]


@dataclass(frozen=True)
class Cells:
    """n words or parts of a picture, and the positions of each in the sequence.

    beside: the places are columns of the cross-attention instead.
    """

    words: tuple[Word, ...]
    places: tuple[Places, ...]
    beside: bool = False

    @property
    def of_picture(self) -> bool:
        return any(word.is_cell for word in self.words)


def picture_cells(
    processor: Any, config: Any, inputs: Inputs, size: tuple[int, int], most: int = MOST_CELLS
) -> Cells:
    """The cells of the one picture of `inputs`, row by row.

    Args:
        config: of the model.
        size: width and height of the picture, in pixels.
        most: cells; of a finer grid, squares of neighbours.
    """
    if "aspect_ratio_ids" in inputs:
        return _cross_attended(processor.image_processor, config.vision_config, inputs, size, most)
    at = (inputs["input_ids"][0] == config.image_token_id).nonzero()[:, 0].tolist()
    if "image_grid_thw" in inputs:
        _, high, wide = (inputs["image_grid_thw"][0]).tolist()
        merge = processor.image_processor.merge_size
        return _grid(high // merge, wide // merge, lambda i, j: (at[i * (wide // merge) + j],), most)
    if hasattr(processor.image_processor, "max_image_size"):
        return _tiled(processor, inputs, at, most)
    side = math.isqrt(len(at))
    return _grid(side, side, lambda i, j: (at[i * side + j],), most)


def _tiled(processor: Any, inputs: Inputs, at: Sequence[int], most: int) -> Cells:
    """A cell is a token of a tile together with that of the whole picture over it."""
    side = math.isqrt(processor.image_seq_len)
    names = processor.tokenizer.convert_ids_to_tokens(inputs["input_ids"][0].tolist())
    tiles = [(int(found[1]), int(found[2])) for name in names if (found := TILE.fullmatch(name))]
    if not tiles:
        return _grid(side, side, lambda i, j: (at[i * side + j],), most)
    rows, columns = max(tiles)
    whole = at[len(tiles) * side * side :]

    def places(i: int, j: int) -> Places:
        tile = i // side * columns + j // side
        return at[(tile * side + i % side) * side + j % side], whole[i // rows * side + j // columns]

    return _grid(rows * side, columns * side, places, most)


def _cross_attended(image: Any, vision: Any, inputs: Inputs, size: tuple[int, int], most: int) -> Cells:
    """Mllama's tiles cover a canvas, which the picture fills from the top left.

    The first of a tile's patches is none: it stands for the whole tile, and belongs to no cell.
    """
    from transformers.models.mllama.image_processing_pil_mllama import (
        get_all_supported_aspect_ratios,
        get_image_size_fit_to_canvas,
    )

    ratio = int(inputs["aspect_ratio_ids"][0, 0]) - 1
    rows, columns = get_all_supported_aspect_ratios(image.max_image_tiles)[ratio]
    tile = image.size["height"]
    high, wide = get_image_size_fit_to_canvas(size[1], size[0], rows * tile, columns * tile, tile)
    side = tile // vision.patch_size

    def places(i: int, j: int) -> Places:
        start = (i // side * columns + j // side) * (side * side + 1) + 1
        return (start + i % side * side + j % side,)

    patch = vision.patch_size
    shape = math.ceil(high / patch), math.ceil(wide / patch)
    found = _grid(*shape, places, most, (wide / (shape[1] * patch), high / (shape[0] * patch)))
    return Cells(found.words, found.places, beside=True)


def _grid(
    rows: int,
    columns: int,
    places: Callable[[int, int], Places],
    most: int,
    shown: tuple[float, float] = (1.0, 1.0),
) -> Cells:
    """At most `most` cells of a grid; shown: the part of its width and height that the picture fills."""
    step = 1
    while math.ceil(rows / step) * math.ceil(columns / step) > most:
        step += 1
    words, found = [], []
    for i in range(0, rows, step):
        for j in range(0, columns, step):
            block = [
                place
                for a in range(i, min(i + step, rows))
                for b in range(j, min(j + step, columns))
                for place in places(a, b)
            ]
            edges = (j / columns, i / rows, (j + step) / columns, (i + step) / rows)
            x0, y0, x1, y1 = (min(float(edge / shown[k % 2]), 1.0) for k, edge in enumerate(edges))
            words.append(Word("", (x0, y0, x1, y1), "visual"))
            found.append(tuple(dict.fromkeys(block)))
    return Cells(tuple(words), tuple(found))


def text_cells(reader: Reader, frame: str, text: str, inputs: Inputs, boxes: Sequence[Box] = ()) -> Cells:
    """The words of the text in a prompt, and the tokens of each.

    Args:
        frame: the prompt of `inputs`, with TEXT for the text.
        boxes: of the words, where they are as many.
    """
    text = reader.clean(text)
    before, mark, after = frame.partition(TEXT)
    if not mark or not text:
        return Cells((), ())
    read = reader.processor.tokenizer(
        before + text + after, add_special_tokens=False, return_offsets_mapping=True
    )
    spans = [(a - len(before), b - len(before)) for a, b in read["offset_mapping"]]
    own = [k for k, (a, b) in enumerate(spans) if b > 0 and a < len(text) and b > a]
    start = _last(inputs["input_ids"][0], read["input_ids"][own[0] : own[-1] + 1]) - own[0]
    found = list(re.finditer(r"\S+", text))
    where = boxes if len(boxes) == len(found) else [WHOLE] * len(found)
    places = [
        tuple(start + k for k in own if spans[k][0] < m.end() and spans[k][1] > m.start()) for m in found
    ]
    return Cells(tuple(Word(m[0], box) for m, box in zip(found, where, strict=True)), tuple(places))


def _last(ids: torch.Tensor, wanted: Sequence[int]) -> int:
    """Where `wanted` stands in `ids` (T,) for the last time."""
    windows = ids.unfold(0, len(wanted), 1)
    return int((windows == torch.tensor(wanted, device=ids.device)).all(1).nonzero()[-1])
