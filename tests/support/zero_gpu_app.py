"""app.py with the real package `spaces` as on ZeroGPU, where CUDA alone is a stub: tensors stay on the CPU.

Arguments: the folder of the sample corpus.
"""

from __future__ import annotations

import mmap
import os
import runpy
import sys
from pathlib import Path
from typing import Any

import torch

from metaembed_demo.core import config


def stub_cuda() -> None:
    """What the forked process of `spaces` does to a GPU works on the CPU instead."""
    made: Any = torch
    made.version.cuda = "12.8"
    made._C._cuda_init = lambda: None
    made.cuda._is_in_bad_fork = bool  # says no, and can be pickled
    made.Tensor.cuda = lambda tensor, *_, **__: tensor.clone()
    made.Tensor.pin_memory = pinned
    made.cuda.synchronize = lambda *_: None
    os.register_at_fork(after_in_child=stub_constructors)


def stub_constructors() -> None:
    """In the forked process alone, as torch knows its own functions by identity."""
    for name in ("tensor", "empty"):
        setattr(torch, name, on_the_cpu(getattr(torch, name)))


def pinned(tensor: torch.Tensor) -> torch.Tensor:
    """Page-aligned, as pinned memory is; only bytes need to be, which are read past the system's cache."""
    if tensor.dtype != torch.uint8:
        return tensor
    return torch.frombuffer(mmap.mmap(-1, tensor.numel()), dtype=torch.uint8)


def on_the_cpu(function: Any) -> Any:
    def called(*args: Any, **kwargs: Any) -> Any:
        if torch.cuda.is_available() or kwargs.get("device") != "cuda":  # before the fork spaces sees to it
            return function(*args, **kwargs)
        return function(*args, **kwargs | {"device": "cpu"})

    return called


if __name__ == "__main__":
    stub_cuda()
    config.Paths.sample_corpus = Path(sys.argv[1])
    config.Paths.shipped_samples = Path(sys.argv[1]) / "none.npz"
    runpy.run_path(str(config.ROOT / "app.py"), run_name="__main__")
