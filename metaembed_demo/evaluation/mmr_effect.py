"""What training at all nested budgets (MMR) is worth: the encoder's curve beside that of a model without it.

assets/mmr_effect.json   encoder: its fingerprint; sets: those measured, with pages and queries;
                         nested, alone: nDCG@5 per stop, the mean over the sets
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from metaembed_demo.core import disk

NAME = "mmr_effect.json"


@dataclass(frozen=True)
class MmrEffect:
    """Two curves over an encoder's stops.

    nested, alone: nDCG@5 in 0..1 per stop, the mean over the dev sets: trained at all stops, and trained at
        the finest alone, without groups of tokens, and cut to each stop.
    """

    encoder: str
    sets: tuple[str, ...]
    pages: int
    queries: int
    nested: tuple[float, ...]
    alone: tuple[float, ...]


def write(path: Path, found: MmrEffect) -> None:
    disk.write_json(path, asdict(found))


def read(path: Path, encoder: str) -> MmrEffect | None:
    """What is kept at `path`; None where it was measured with another encoder, or the file is damaged.

    encoder: its fingerprint.
    """

    def take(value: dict[str, Any]) -> MmrEffect | None:
        if value["encoder"] != encoder:
            return None
        nested, alone = (tuple(map(float, value[name])) for name in ("nested", "alone"))
        if len(nested) != len(alone):
            raise ValueError("The two curves have different stops.")
        counts = int(value["pages"]), int(value["queries"])
        return MmrEffect(encoder, tuple(map(str, value["sets"])), *counts, nested, alone)

    return disk.read_kept(path, take, "the effect of MMR is not shown")
