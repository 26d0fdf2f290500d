"""The `samples` command: the sample corpus, and with `--ship` also what its Meta Tokens read."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from metaembed_demo.core.config import PATHS
from metaembed_demo.encoders.registry import load_encoder
from metaembed_demo.evaluation import sample_corpus
from metaembed_demo.explain import sample_statistics
from metaembed_demo.explain.explainer import explainer


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    status = sample_corpus.main(argv)
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--ship", action="store_true")
    parser.add_argument("--out", type=Path, default=PATHS.shipped_samples)
    options = parser.parse_known_args(argv)[0]
    if options.ship and not status:
        ship(options.out)
    return status


def ship(shipped: Path) -> int:
    """Write the token statistics of the samples in `shipped` beside it. Returns their bytes."""
    encoder = load_encoder()
    explains = explainer(encoder)
    assert explains is not None, "Mini tells what its tokens read"
    samples = sample_corpus.open_samples(encoder, shipped=shipped)
    return sample_statistics.write(shipped.with_name(sample_statistics.NAME), samples.collection, explains)
