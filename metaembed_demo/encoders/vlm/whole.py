"""Refusing checkpoints whose tensors are not exactly those of their model.

transformers fills a tensor that is missing at random and says so in the log alone: vectors would be noise.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import Any

import torch
from transformers import PreTrainedModel

NAMED = 3  # tensors of a kind named in a message
# Parts of a checkpoint that a base model lacks, as it needs none of them for its last states.
HEADS = re.compile(
    r"(?:^|\.)(?:lm_head|embed_out|cls|classifier|score|qa_outputs|decoder|prediction_head|projection_head)\."
)
POOLER = re.compile(r"(?:^|\.)pooler\.")  # of text models; made anew where it is missing, and never used here
_patching = Lock()


def refuse_incomplete(
    source: str,
    missing: Collection[str] = (),
    unexpected: Collection[str] = (),
    mismatched: Collection[str] = (),
) -> None:
    """Does nothing when all three are empty.

    Raises:
        ValueError: naming tensors of each kind.
    """
    kinds = (
        (missing, "missing"),
        (unexpected, "of no part of the model"),
        (mismatched, "of another shape"),
    )
    said = [f"{len(names)} tensors are {what} ({_named(names)})" for names, what in kinds if names]
    if said:
        raise ValueError(
            f"{source} does not fit its model: {', '.join(said)}. Fetch it again, or ask its author for one "
            "that is whole."
        )


def _named(names: Collection[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(sorted(names)[:NAMED]) + (f" and {more} more" if more > 0 else "")


def refuse_other_tensors(
    source: str, found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]
) -> None:
    """Raises ValueError unless `found` has the names and shapes of `expected`."""
    refuse_incomplete(
        source,
        expected.keys() - found.keys(),
        found.keys() - expected.keys(),
        [
            f"{name}: {tuple(found[name].shape)}, not {tuple(expected[name].shape)}"
            for name in found.keys() & expected.keys()
            if found[name].shape != expected[name].shape
        ],
    )


def refuse_report(
    source: str, report: Mapping[str, Any], beside: Collection[re.Pattern[str]] = (), pooler: bool = False
) -> None:
    """Raises ValueError unless transformers' loading info says that the model is whole.

    beside: patterns of tensors that belong to the checkpoint, but not to its model.
    pooler: whether one may be missing.
    """
    known = (HEADS, *beside)
    refuse_incomplete(
        source,
        [name for name in report["missing_keys"] if not (pooler and POOLER.search(name))],
        [name for name in report["unexpected_keys"] if not any(part.search(name) for part in known)],
        [f"{name}: {tuple(stored)}, not {tuple(ours)}" for name, stored, ours in report["mismatched_keys"]],
    )
    if report["error_msgs"]:
        raise ValueError(f"{source} cannot be loaded: {report['error_msgs'][0]}")


@contextmanager
def checking(source: str) -> Iterator[None]:
    """Within the block every model that transformers loads is checked; sentence-transformers loads by it."""

    def from_pretrained(cls: Any, *args: Any, **kwargs: Any) -> Any:
        told = kwargs.pop("output_loading_info", False)
        model, report = plain.__func__(
            cls, *args, output_loading_info=True, **kwargs | {"ignore_mismatched_sizes": True}
        )
        refuse_report(source, report, pooler=True)
        return (model, report) if told else model

    with _patching:
        patched: Any = PreTrainedModel
        plain: Any = patched.__dict__["from_pretrained"]
        patched.from_pretrained = classmethod(from_pretrained)
        try:
            yield
        finally:
            patched.from_pretrained = plain
