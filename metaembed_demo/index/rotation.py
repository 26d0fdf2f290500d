"""A fixed rotation before vectors are coded in few bits.

Codes of so many bits a component, or a group of them, fit components that vary alike. Those of an encoder do
not: Mini's are principal directions, the largest first. The order and signs of the components are changed by
chance, then a Hadamard transform mixes them in blocks; scores are the same, and the same on every machine.
What it gains is in benchmarks/results/storage.json.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.core.types import FloatArray

LARGEST = 512  # components that are mixed
LEAST = 32  # smaller blocks, where D has no larger power of two, would change nothing


class Rotation:
    """Of vectors of `dim` components, along the last axis."""

    def __init__(self, dim: int) -> None:
        from scipy.linalg import hadamard  # for pq and binary alone, not at every start

        self.block = min(dim & -dim, LARGEST)  # the largest power of two that divides it
        chance = np.random.RandomState(0)  # whose numbers never change
        self.order: NDArray[np.int64] = chance.permutation(dim)
        self.signs: FloatArray = chance.choice([-1, 1], dim).astype(np.float32)
        self.mix: FloatArray = (hadamard(self.block) / np.sqrt(self.block)).astype(np.float32)

    def there(self, vectors: FloatArray) -> FloatArray:
        """(..., D) float32 -> (..., D)."""
        return self._mixed(vectors[..., self.order] * self.signs)

    def back(self, vectors: FloatArray) -> FloatArray:
        """The inverse of `there`."""
        found = np.empty_like(vectors)
        found[..., self.order] = self._mixed(vectors) * self.signs  # the transform is its own inverse
        return found

    def _mixed(self, vectors: FloatArray) -> FloatArray:
        blocks = vectors.reshape(*vectors.shape[:-1], -1, self.block)
        return np.asarray((blocks @ self.mix).reshape(vectors.shape), np.float32)


@cache
def rotation(dim: int) -> Rotation | None:
    """The rotation of `dim` components; None where no power of two from LEAST on divides them."""
    return Rotation(dim) if (dim & -dim) >= LEAST else None
