"""What a step needs of the frozen text path: its states of a batch, and the teacher's scores.

They are most of a step's cost and never change, so that with `distinct` batches they are computed once and
kept on disk in float16: an epoch later a step costs the Meta Tokens' path alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from metaembed_demo.encoders.mini.meta_tokens import MetaConfig
from metaembed_demo.encoders.mini.text_path import TextPath, TextStates

from .dataset import TrainingExample, queries

MICRO_BATCH = 12  # pages per forward pass, sorted by length to reduce padding


@dataclass(frozen=True)
class BatchStates:
    """A batch of P pages and Q queries.

    pages: states of MICRO_BATCH pages at a time. positives: (Q,) int64 page of each query, -1 for none.
    teacher: (Q, P) scores, None without a teacher.
    """

    pages: list[TextStates]
    queries: TextStates
    positives: torch.Tensor
    teacher: torch.Tensor | None


def read(
    text: TextPath, examples: Sequence[TrainingExample], config: MetaConfig | None = None
) -> BatchStates:
    """The states of a batch without a teacher, with the parts of pages that the last tokens of `config` pool.

    Examples sorted by length need less padding.
    """
    pages = []
    for start in range(0, len(examples), MICRO_BATCH):
        states = text.states([text.tokens(e.words) for e in examples[start : start + MICRO_BATCH]])
        pages.append(replace(states, parts=config.parts_of(states)) if config else states)
    asked = text.states([text.tokens(query.split()) for query in queries(examples)], of_queries=True)
    answered = [i for i, example in enumerate(examples) for _ in example.queries]
    foreign = sum(len(example.foreign) for example in examples)
    return BatchStates(pages, asked, torch.tensor(answered + [-1] * foreign), None)


def keep(batch: BatchStates, path: Path) -> None:
    """Write what `kept` reads; `path` exists only once it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    whole = {
        "pages": [_packed(states) for states in batch.pages],
        "queries": _packed(batch.queries),
        "positives": batch.positives,
        "teacher": batch.teacher,
    }
    torch.save(whole, partial)
    partial.rename(path)


def kept(path: Path) -> BatchStates | None:
    """The batch that `keep` wrote, None if there is none."""
    if not path.exists():
        return None
    whole = torch.load(path, weights_only=True)
    pages = [_unpacked(states) for states in whole["pages"]]
    return BatchStates(pages, _unpacked(whole["queries"]), whole["positives"], whole["teacher"])


def _packed(states: TextStates) -> dict[str, Any]:
    found = {field.name: getattr(states, field.name) for field in fields(states)}
    return found | {"layers": [layer.half() for layer in states.layers], "final": states.final.half()}


def _unpacked(found: dict[str, Any]) -> TextStates:
    whole = {"layers": [layer.float() for layer in found["layers"]], "final": found["final"].float()}
    return TextStates(**(found | whole))
