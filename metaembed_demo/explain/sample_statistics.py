"""What each page token attends to on the sample pages, shipped, so that nobody waits for it.

    assets/token_statistics.npz   arrays of numpy, compressed; no pickle is read
      head     (n,) uint8: JSON: format, encoder, the ids of the pages
      long     (pages,) bool
      numbers  (pages, R_c, 6 + kinds + contents) float16: place, low, high, words, bits, slice bits, then the
               kinds of words and of contents

Written by `python -m metaembed_demo samples --ship`. It serves only for the encoder it was made with, and
page by page: a page's id is a digest of what was read.
"""

from __future__ import annotations

import io
import json
import logging
import zipfile
from pathlib import Path

import numpy as np

from metaembed_demo.collection.collection import Collection
from metaembed_demo.core import disk
from metaembed_demo.core.types import Word

from .contents import CONTENTS
from .explainer import Explainer
from .token_statistics import KINDS, PageStatistics, page_statistics

SINGLE = ("place", "low", "high", "words", "bits", "slice_bits")  # numbers of a token
NAME = "token_statistics.npz"  # beside the shipped samples
FORMAT = 2
Known = dict[str, tuple[tuple[Word, ...], PageStatistics]]  # page id -> the page's own words, its statistics
log = logging.getLogger(__name__)


def write(path: Path, collection: Collection, explainer: Explainer) -> int:
    """Write the statistics of `collection`, the sample pages, to `path`. Returns its bytes."""
    found = {
        page.id: page_statistics(explainer.look(page).evidence, explainer.encoder.budgets, page.words)
        for page in collection.pages.values()
    }
    rows = [
        np.concatenate([np.stack([getattr(each, name) for name in SINGLE], 1), each.kinds, each.contents], 1)
        for each in found.values()
    ]
    head = json.dumps({"format": FORMAT, "encoder": collection.fingerprint, "pages": list(found)})
    data = io.BytesIO()
    np.savez_compressed(
        data,
        head=np.frombuffer(head.encode("ascii"), np.uint8),
        long=np.array([each.long for each in found.values()], bool),
        numbers=np.array(rows, np.float16),
    )
    disk.write(path, data.getvalue())
    return len(data.getvalue())


def read(path: Path, collection: Collection) -> Known:
    """The statistics of those pages of `collection` that `path` has; empty where it is of another encoder.

    Their words are kept along: a visitor's page with an id of these is told from the sample by them.
    """
    try:
        with np.load(path, allow_pickle=False) as parts:
            head = json.loads(parts["head"].tobytes())
            if (head["format"], head["encoder"]) != (FORMAT, collection.fingerprint):
                return {}
            long, numbers = parts["long"], parts["numbers"].astype(np.float32)
        if numbers.shape[1:] != (collection.index.r_c, len(SINGLE) + len(KINDS) + len(CONTENTS)):
            raise ValueError(f"its arrays have the shape {numbers.shape}")
        found: Known = {}
        for page_id, is_long, row in zip(head["pages"], long.tolist(), numbers, strict=True):
            if page_id in collection.pages:
                single, kinds, shares = np.split(row, [len(SINGLE), len(SINGLE) + len(KINDS)], 1)
                of_tokens = dict(zip(SINGLE, single.T, strict=True))
                statistics = PageStatistics(is_long, kinds=kinds, contents=shares, **of_tokens)
                found[page_id] = collection.pages[page_id].words, statistics
        return found
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        log.warning("%s is damaged, so the Tokens tab reads the pages itself: %s", path.name, error)
        return {}
