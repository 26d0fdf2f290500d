"""The rotation before few-bit codes keeps scores and spreads what few components hold."""

from __future__ import annotations

import numpy as np
import pytest

from metaembed_demo.index.quantization import codec
from metaembed_demo.index.rotation import Rotation, rotation


@pytest.mark.parametrize("dim", [32, 96, 384])
def test_it_keeps_products_and_comes_back(dim: int) -> None:
    a, b = np.random.default_rng(0).standard_normal((2, 5, dim)).astype(np.float32)
    turned = Rotation(dim)
    assert turned.there(a) @ turned.there(b).T == pytest.approx(a @ b.T, abs=1e-3)
    assert turned.back(turned.there(a)) == pytest.approx(a, abs=1e-5)


def test_one_component_becomes_many() -> None:
    one = np.zeros(384, np.float32)
    one[0] = 1
    assert (np.abs(Rotation(384).there(one)) > 0.05).sum() == 128


@pytest.mark.parametrize("dim", [4, 10, 100, 77])
def test_too_few_components_stay(dim: int) -> None:
    assert rotation(dim) is None
    assert codec("binary", 2, dim).state() == {}
