"""The `samples` command: the sample corpus, and with `--ship` also what its Meta Tokens read."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Sequence
from pathlib import Path

from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.reencode import reencode
from metaembed_demo.core.config import PATHS
from metaembed_demo.encoders.registry import MULTILINGUAL, load_encoder, offered
from metaembed_demo.evaluation import sample_corpus, shipped_samples
from metaembed_demo.evaluation.beir import load_beir
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
    """Write the token statistics of the samples in `shipped` beside it, the vectors that the multilingual
    encoder has of them, and its calibrations. Returns the bytes of the first two.
    """
    encoder = load_encoder()
    explains = explainer(encoder)
    assert explains is not None, "Mini tells what its tokens read"
    samples = sample_corpus.open_samples(encoder, shipped=shipped)
    size = sample_statistics.write(shipped.with_name(sample_statistics.NAME), samples.collection, explains)
    if MULTILINGUAL in offered("mini"):
        multilingual = load_encoder(MULTILINGUAL)
        *_, made = reencode(samples.collection, multilingual, threading.Event())
        assert isinstance(made, Collection)
        size += shipped_samples.write_vectors(shipped.with_name(PATHS.shipped_vectors.name), made)
        sample_corpus.ship_fits(made, load_beir(PATHS.sample_corpus), multilingual, shipped)
    return size
