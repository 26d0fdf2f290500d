"""The budget that sets itself, on the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from metaembed_demo.collection.calibration import Auto
from metaembed_demo.collection.collection import Collection
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.evaluation.sample_calibrations import prepare, shipped


def auto_of(collection: Collection, encoder: Encoder, folder: Path) -> Auto:
    """How it does for an index, which is calibrated and kept so in its `folder` if need be.

    Raises:
        ValueError: when the vectors are elsewhere.
    """
    if not collection.index.in_process:
        raise ValueError("Auto runs over vectors in this process. Leave out --auto, or --qdrant.")
    prepare(collection, encoder, folder, lambda line: print(line, file=sys.stderr))
    return Auto.of_pages(collection.index, collection.calibrations, shipped(encoder.fingerprint))


def show_auto(told: dict[str, Any]) -> None:
    """`Automatic.as_json` as text."""
    if told["needed"]:
        print(f"Auto: this query needed {told['needed']}, by the first of {told['among']:,} pages")
    print(f"Auto: {told['cells']:.1%} of the cells, {told['pages_in_full']:,} pages in full")
    for line in (told["promise"], told["note"]):
        if line:
            print(f"Auto: {line}")
