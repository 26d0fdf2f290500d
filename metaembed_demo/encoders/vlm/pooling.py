"""Token and patch vectors pooled to the budgets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metaembed_demo.core.types import FloatArray


def pooled(vectors: FloatArray, levels: Sequence[int]) -> FloatArray:
    """(n, D) token vectors to (sum of levels, D) unit rows, coarse to fine, see `cluster_weights`.

    >>> (pooled(np.eye(2, dtype=np.float32), (1, 2)) * 100).astype(int).tolist()
    [[70, 70], [100, 0], [0, 100]]
    """
    unit = unit_rows(vectors)
    return unit_rows(cluster_weights(unit, levels) @ unit)


def cluster_weights(unit: FloatArray, levels: Sequence[int]) -> FloatArray:
    """(sum of levels, n) float32: the share of each of n unit vectors (n, D) in each pooled one.

    A level's k vectors are the means of k clusters (average linkage on cosines), largest first, so each level
    and each budget covers all tokens. With fewer than k distinct tokens the means repeat, largest clusters
    first: repeated page vectors do not change MaxSim, repeated query vectors scale its sum.
    """
    from scipy.cluster.hierarchy import fcluster, linkage  # comes with sentence-transformers

    tree = linkage(unit, "average", metric="cosine") if len(unit) > 1 else None
    rows = []
    for k in filter(None, levels):
        labels = np.ones(len(unit), int) if tree is None or k == 1 else fcluster(tree, k, "maxclust")
        names, sizes = np.unique(labels, return_counts=True)
        means = [
            (labels == name) / (labels == name).sum() for name in names[np.argsort(-sizes, kind="stable")]
        ]
        rows += [means[i % len(means)] for i in range(k)]
    return np.stack(rows).astype(np.float32)


def unit_rows(vectors: FloatArray) -> FloatArray:
    """(n, D) float32, rows of length 1."""
    unit: FloatArray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit.astype(np.float32)
