"""Encoded questions of a dev set, kept between measurements."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from metaembed_demo.core.types import FloatArray
from metaembed_demo.encoders.mini.encoder import Mini
from metaembed_demo.evaluation.baselines import query_text
from metaembed_demo.evaluation.beir import Beir
from metaembed_demo.evaluation.evaluate import encode


def encoded(beir: Beir, keys: Sequence[str], encoder: Mini, cache: Path) -> tuple[FloatArray, list[str]]:
    """Query vectors (questions, R_q, D) and texts, also those read from pictures; kept in `cache`."""
    made = {"encoder": np.array(encoder.fingerprint), "keys": np.array(keys)}
    if cache.exists():
        kept = np.load(cache)
        if all(np.array_equal(kept[name], value) for name, value in made.items()):
            return kept["vectors"], kept["asked"].tolist()
    vectors, _ = encode(encoder, beir, keys)
    stacked = np.stack([vectors[key] for key in keys])
    asked = [query_text(beir.queries[key]) for key in keys]
    np.savez(cache, vectors=stacked, asked=np.array(asked), **made)
    return stacked, asked
