"""Parts of a page by content: Ward clusters of its word pieces' states.

Where a Meta Token pools one of them, a page of two subjects keeps both apart wherever their words stand.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from metaembed_demo.core.types import FloatArray

# States that are clustered; of a longer page, means of runs of neighbours, as time grows with the square.
MOST = 1_536


def content_clusters(states: torch.Tensor, words: torch.Tensor, count: int) -> torch.Tensor:
    """(B, T) int64 cluster of each word piece, in the order of their mean places; -1 for what is no word.

    Args:
        states: (B, T, D) float32.
        words: (B, T) bool.
        count: the most clusters of a page. A page of fewer pieces has one each.
    """
    found = torch.full(words.shape, -1, dtype=torch.int64)
    for row, keep in enumerate(words):
        if keep.any():
            found[row, keep] = torch.from_numpy(_clusters(states[row, keep].detach().numpy(), count))
    return found


def _clusters(states: FloatArray, count: int) -> NDArray[np.int64]:
    """(n, D) -> (n,) cluster 0..count-1."""
    run = -(-len(states) // MOST)
    starts = np.arange(0, len(states), run)
    means = np.add.reduceat(states, starts, 0)
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)
    if len(means) <= count:
        labels = np.arange(len(means))
    else:
        labels = fcluster(linkage(means, "ward"), count, "maxclust") - 1
    sizes = np.bincount(labels)
    place = np.bincount(labels, np.arange(len(labels))) / np.maximum(sizes, 1)
    rank = np.argsort(np.argsort(place, kind="stable"), kind="stable")
    return np.asarray(rank[labels][np.arange(len(states)) // run], np.int64)
