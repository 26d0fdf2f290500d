"""Parts of a page by content, for the finest Meta Tokens: Ward clusters of its word pieces' states.

As `runs` a part is of neighbours, so that its ends are where the page changes its subject; as `clusters` it
may be anywhere, so that a page of two subjects keeps both apart wherever their words stand. There the tags of
pictures stay together: a token of one wrong tag would be found by what the picture does not show.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import diags_array

from metaembed_demo.core.types import FloatArray

Parts = Literal["slices", "runs", "clusters"]  # slices: equal, not by content

# States that are clustered; of a longer page, means of runs of neighbours, as time grows with the square.
MOST = 1_536


def content_parts(
    states: torch.Tensor,
    words: torch.Tensor,
    count: int,
    kind: Parts = "clusters",
    tags: Sequence[int] = (),
) -> torch.Tensor:
    """(B, T) int64 part of each word piece, in the order of their mean places; -1 for what is no word.

    Args:
        states: (B, T, D) float32.
        words: (B, T) bool.
        count: the most parts of a page. A page of fewer pieces has one each.
        kind: "runs" or "clusters".
        tags: (B,) how many of a page's last pieces are tags of pictures, the last part of clusters; or ().
    """
    found = torch.full(words.shape, -1, dtype=torch.int64)
    for row, keep in enumerate(words):
        at = keep.nonzero().flatten()
        tagged = tags[row] if tags and kind == "clusters" else 0
        text, named = at[: len(at) - tagged], at[len(at) - tagged :]
        found[row, named] = count - 1
        if len(text):
            room = count - (tagged > 0)
            found[row, text] = torch.from_numpy(_parts(states[row, text].detach().numpy(), room, kind))
    return found


def _parts(states: FloatArray, count: int, kind: Parts) -> NDArray[np.int64]:
    """(n, D) -> (n,) part 0..count-1."""
    step = -(-len(states) // MOST)
    starts = np.arange(0, len(states), step)
    means = np.add.reduceat(states, starts, 0)
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)
    if len(means) <= count:
        labels = np.arange(len(means))
    elif kind == "runs":
        labels = _runs(means, count)
    else:
        labels = fcluster(linkage(means, "ward"), count, "maxclust") - 1
    sizes = np.bincount(labels)
    place = np.bincount(labels, np.arange(len(labels))) / np.maximum(sizes, 1)
    rank = np.argsort(np.argsort(place, kind="stable"), kind="stable")
    return np.asarray(rank[labels][np.arange(len(states)) // step], np.int64)


def _runs(states: FloatArray, count: int) -> NDArray[np.int64]:
    """(n, D) -> (n,) Ward clusters in which only neighbours were merged."""
    from sklearn.cluster import AgglomerativeClustering  # half a second

    n = len(states)
    beside = diags_array([np.ones(n - 1), np.ones(n - 1)], offsets=[-1, 1])
    found = AgglomerativeClustering(count, connectivity=beside, linkage="ward").fit_predict(states)
    return np.asarray(found, np.int64)
