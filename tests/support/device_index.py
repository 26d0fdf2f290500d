"""The index on a GPU, with the CPU as its device: the same code, one device the less."""

from __future__ import annotations

import inspect
from typing import Any

import torch

from metaembed_demo.index.gpu.index import GpuIndex


class DeviceIndex(GpuIndex):
    """A GpuIndex whose tensors are on the CPU, made and loaded like a LocalIndex."""

    dtype_here: torch.dtype | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        given = inspect.signature(GpuIndex).bind(*args, **kwargs).arguments
        super().__init__(**{"device": "cpu", "dtype": self.dtype_here, **given})


class Float16Index(DeviceIndex):
    dtype_here = torch.float16
