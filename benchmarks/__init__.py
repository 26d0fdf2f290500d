"""Measurements: run one as `python -m benchmarks.speed.index`; each writes JSON into results/."""

from pathlib import Path

import metaembed_demo  # noqa: F401  # sets the thread pools up before numpy and torch load
from metaembed_demo.core.config import PATHS, ROOT

RESULTS = ROOT / "benchmarks" / "results"


def results_of(name: str, weights: Path) -> Path:
    """results/NAME.json; of other weights than the default's, with what sets their file apart.

    >>> results_of("fusion", PATHS.assets / "mini-multilingual.safetensors").name
    'fusion-multilingual.json'
    """
    part = (
        "" if weights.resolve() == PATHS.mini_weights.resolve() else "-" + weights.stem.removeprefix("mini-")
    )
    return RESULTS / f"{name}{part}.json"
