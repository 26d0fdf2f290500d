"""The calibrations of the sample pages, which collections too small for their own use: shipped, or made now.

assets/calibrations.json   name of an encoder -> encoder: its fingerprint; files: SHA-256 of the sample files'
                           digests; kinds: for each storage kind what collection/calibration.py keeps
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from metaembed_demo.collection import persistence
from metaembed_demo.collection.calibration import Auto, Kept
from metaembed_demo.collection.collection import Collection
from metaembed_demo.core import disk
from metaembed_demo.core.config import PATHS
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.index.quantization import KINDS

from .auto_study import calibrated

NAME = "calibrations.json"  # beside the shipped samples
QUERIES = 100  # enough where visitors wait
log = logging.getLogger(__name__)


def write(path: Path, collection: Collection, encoder: Encoder, digests: Mapping[str, str]) -> Kept:
    """Calibrate `collection`, the sample pages, for every storage kind, and write that to `path`, in place of
    what is there of that encoder.
    """
    twin, full = collection.copy(), collection.index
    for kind in KINDS:
        twin.index = full.stored_as(kind)
        calibrated(twin, encoder)
    rows = disk.read_json(path) if path.is_file() else {}
    row = {"encoder": encoder.fingerprint, "files": _hash(digests), "kinds": twin.calibrations.as_json()}
    disk.write_json(path, rows | {encoder.name: row})
    return twin.calibrations


def read(path: Path, fingerprint: str, digests: Mapping[str, str] | None = None) -> Kept:
    """What is shipped at `path`; empty where that is not of this encoder, or of these files, if given."""

    def take(value: dict[str, Any]) -> Kept:
        files = None if digests is None else _hash(digests)
        fits = (r for r in value.values() if r["encoder"] == fingerprint and files in (None, r["files"]))
        return Kept.from_json(row["kinds"]) if (row := next(fits, None)) else Kept()

    return disk.read_kept(path, take, "nothing is calibrated by it") or Kept()


def shipped(fingerprint: str) -> Kept:
    """Those of the sample pages for an encoder; empty where none are shipped."""
    return read(PATHS.shipped_samples.with_name(NAME), fingerprint)


def prepare(
    collection: Collection, encoder: Encoder, folder: Path | None, tell: Callable[[str], object]
) -> None:
    """Calibrate `collection` if it is large enough and stale, and keep that where it is saved."""
    if not Auto.of_pages(collection.index, collection.calibrations).wanted:
        return
    tell(f"Calibrating Auto on {len(collection)} pages")
    calibrated(collection, encoder, QUERIES)
    if folder is None or not persistence.is_saved(folder):
        return
    try:
        persistence.keep_calibrations(folder, collection.calibrations)
    except OSError as error:
        log.warning("The calibration could not be kept: %s", error)


def _hash(digests: Mapping[str, str]) -> str:
    return disk.sha256(json.dumps(sorted(digests.items())).encode("utf-8", "surrogatepass"))
