"""What a foreign program is given to encode, and how it hands the result back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from versions import versions


@dataclass
class Items:
    """Queries in words, queries (text, picture), pages in words, pages as pictures."""

    queries: list[str]
    asked: list[tuple[str, Any]]
    texts: list[str]
    pictures: list[Any]

    @property
    def every_picture(self) -> list[Any]:
        """Those of pages, then those of queries."""
        return [*self.pictures, *(image for _, image in self.asked)]


def read(file: str) -> Items:
    """`file`: JSON with the four lists, pictures as names of files beside it."""
    said = json.loads(Path(file).read_text())

    def picture(name: str) -> Any:
        return Image.open(Path(file).with_name(name)).convert("RGB")

    asked = [(text, picture(name)) for text, name in said["asked"]]
    return Items(said["queries"], asked, said["texts"], [picture(name) for name in said["pictures"]])


def write(out: str, queries: Any, pages: Any, scores: Any, pixels: list[Any], names: list[str]) -> None:
    """OUT: arrays (q, r_q, dim), (p, r_c, dim), (q, p), each picture's pixels; `said` has the versions."""
    arrays = {f"pixels{i}": np.asarray(each) for i, each in enumerate(pixels)}
    arrays |= {
        "queries": _stacked(queries),
        "pages": _stacked(pages),
        "scores": np.asarray(scores.cpu().float()),
    }
    np.savez(out, said=np.array(json.dumps(versions(names))), **arrays)


def _stacked(vectors: Any) -> np.ndarray:
    return np.stack([each.cpu().float().numpy() for each in vectors])
