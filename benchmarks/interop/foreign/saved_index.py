"""A saved index or collection of this project, read with numpy and the standard library alone.

DIR/manifest.json (a collection) or DIR/index.json (an index) lists segments in the order of their pages; each
is a folder DIR/segments/NAME with ids.json and full.npy, (pages, r_c, dim) float16, unit rows from coarse to
fine. A budget (r_q, r_c) reads the first r_c rows of a page. "dead" has a bit a page, 1 for a removed one.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np


def read(folder: str | Path) -> tuple[list[str], np.ndarray]:
    """Page ids, and (pages, r_c, dim) float32. Raises ValueError where full vectors were not kept."""
    folder = Path(folder)
    whole = folder / "manifest.json"
    head = json.loads((whole if whole.is_file() else folder / "index.json").read_text())
    head = head.get("index", head)
    ids: list[str] = []
    parts = [np.zeros((0, head["r_c"], head["dim"]), np.float32)]
    for segment in head["segments"]:
        place = folder / "segments" / segment["name"]
        if not (place / "full.npy").is_file():
            raise ValueError(f"{place} has no full.npy: this index keeps codes alone.")
        live = np.ones(segment["pages"], bool)
        if segment["dead"]:
            bits = np.frombuffer(base64.b64decode(segment["dead"]), np.uint8)
            live = ~np.unpackbits(bits, count=segment["pages"]).astype(bool)
        named = json.loads((place / "ids.json").read_text())
        ids += [page for page, alive in zip(named, live, strict=True) if alive]
        parts.append(np.load(place / "full.npy", allow_pickle=False)[live].astype(np.float32))
    return ids, np.concatenate(parts)
