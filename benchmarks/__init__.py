"""Measurements: run one as `python -m benchmarks.speed.index`; each writes JSON into results/."""

import metaembed_demo  # noqa: F401  # sets the thread pools up before numpy and torch load
from metaembed_demo.core.config import ROOT

RESULTS = ROOT / "benchmarks" / "results"
