"""Hugging Face's ZeroGPU, by its package `spaces`: a GPU is lent to single calls, in processes of their own.

Before the app is served, `spaces` (imported before torch, see app.py) has torch believe in a GPU: what is
moved there is recorded, and packed onto disk at the launch. From then on the main process has no weights; a
call that is lent a GPU runs in a forked process, which gets them all. So weights are moved before the launch,
and no GPU is asked for before it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from metaembed_demo.core.config import SPACE

SECONDS = (10.0, 1.5)  # requested: constant, and per item
MOST_S = 120  # longer requests are refused to visitors who are not logged in
Run = TypeVar("Run", bound=Callable[..., Any])
Result = TypeVar("Result")


def active() -> bool:
    """Whether GPUs are lent here."""
    return SPACE.zero_gpu


def lent(run: Run, count: Callable[..., int]) -> Run:
    """`run` on a GPU that is lent for the time its items need, `count(*its arguments)`; elsewhere `run`."""
    if not active():
        return run
    import spaces

    def seconds(*args: Any, **kwargs: Any) -> int:
        return min(MOST_S, round(SECONDS[0] + SECONDS[1] * count(*args, **kwargs)))

    wrapped: Run = spaces.GPU(duration=seconds)(run)
    return wrapped


def apart(run: Callable[[], Result]) -> Result:
    """`run()` in a thread of its own, where `spaces` leaves torch alone, so that a model works on the CPU."""
    if not active():
        return run()
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()


def free_bytes(total: int, model: Any) -> int:
    """Of a lent GPU's `total` bytes, those beside the weights of `model`."""
    return total - apart(lambda: sum(w.numel() * w.element_size() for w in model.parameters()))
