"""What each part of Mini's training is worth: `python -m benchmarks.quality.ablations` writes ablations.json.

Every row changes one thing, trains from the same start on the same seeds, and is judged on the pages that
`train` keeps out (training/mini/dataset.py): long pages asked for by a heading, dictionary entries by their
headword. A row that is in the file already is not run again, so the program can be stopped and started.
About five to ten minutes a row on two cores.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

from benchmarks import RESULTS
from metaembed_demo.core.config import PATHS
from metaembed_demo.encoders.mini import adapters
from metaembed_demo.encoders.mini.meta_tokens import R_Q
from metaembed_demo.training.mini import batch_states, corpora, dataset
from metaembed_demo.training.mini.dataset import CLUSTER, TrainingExample, TrainingSet
from metaembed_demo.training.mini.trainer import Recipe, Trainer, encode, evaluate, image_concepts

OUT = RESULTS / "ablations.json"
STEPS = 30
RANK = 32  # of LoRA, as in the paper
NOISY = 0.6  # share of noisy pages in the row of that name


@dataclass(frozen=True)
class Change:
    """One row: what differs from the recipe, in its numbers, in the examples' shares, or in the model."""

    name: str
    recipe: dict[str, Any] = field(default_factory=dict)
    patches: dict[str, Any] = field(default_factory=dict)  # of training/mini/dataset.py
    model: Callable[[Trainer], None] | None = None
    course: Callable[[Trainer], None] | None = None


def no_segments(trainer: Trainer) -> None:
    for name, parameter in trainer.meta.named_parameters():
        if name.endswith("segment_scale"):
            parameter.data.zero_()
            parameter.requires_grad_(False)


def whole_query(trainer: Trainer) -> None:
    trainer.meta.query_segments = torch.tensor([(0.0, 1.0)]).repeat(R_Q, 1)


def low_rank(trainer: Trainer) -> None:
    for layer in [each for each in trainer.meta.layers.modules() if isinstance(each, nn.Linear)]:
        layer.requires_grad_(False)
        adapters.adapt(layer, RANK)


def mined(trainer: Trainer) -> None:
    """Clusters of pages that the start finds alike, whatever document they come from."""
    batches, size = trainer.recipe.steps, trainer.recipe.batch
    pool = [example for seed in range(batches) for example in trainer.training_set.batch(size, 10_000 + seed)]
    with torch.no_grad():
        vectors = torch.cat([_whole(trainer, [example]) for example in pool])
    near = vectors @ vectors.T
    left, order = set(range(len(pool))), []
    while left:
        first = min(left)
        alike = sorted(left, key=lambda i: -near[first, i].item())[:CLUSTER]
        order.append([pool[i] for i in alike])
        left -= set(alike)
    mixed = torch.randperm(len(order), generator=torch.Generator().manual_seed(1)).tolist()
    flat = [example for i in mixed for example in order[i]]

    def batch(size: int, seed: int) -> list[TrainingExample]:
        start = seed % 1_000_003 * size
        return flat[start : start + size]

    trainer.training_set = replace_batch(trainer.training_set, batch)


def _whole(trainer: Trainer, page: Sequence[TrainingExample]) -> torch.Tensor:
    return encode(trainer.meta, batch_states.read(trainer.text, page))[1][:, 0]


def replace_batch(course: TrainingSet, batch: Callable[[int, int], list[TrainingExample]]) -> TrainingSet:
    course.batch = batch  # type: ignore[method-assign]
    return course


CHANGES = (
    Change("as shipped"),
    Change("without MMR: the loss at 16x64 alone", {"mmr": False}),
    Change("segments not nested: 64 and 16 equal parts", {"nested": False}),
    Change("neither: loss at 16x64 alone, equal parts", {"mmr": False, "nested": False}),
    Change("no segment bias", model=no_segments),
    Change("no segment bias on the query's tokens", model=whole_query),
    Change("InfoNCE as heavy as the teacher (1 for 0.5)", {"positive_weight": 1.0}),
    Change("the teacher alone, no InfoNCE", {"positive_weight": 0.0}),
    Change("InfoNCE alone: hardly any teacher (30 for 0.5)", {"positive_weight": 30.0}),
    Change("temperature 0.03 for 0.065", {"temperature": 0.03}),
    Change("temperature 0.13 for 0.065", {"temperature": 0.13}),
    Change("pages of a batch from anywhere, no neighbours", patches={"CLUSTER": 1}),
    Change("hard negatives mined with the start model", course=mined),
    Change("LoRA of rank 32 for full copies of the layers", model=low_rank),
    Change("no OCR noise or dropped words (0 for 0.15)", patches={"NOISE_SHARE": 0.0}),
    Change("much noise (0.6 for 0.15)", patches={"NOISE_SHARE": NOISY}),
    Change("no lists of visual words", patches={"MIX": replace(dataset.MIX, pictures=0.0)}),
    Change("no dictionary entries", patches={"MIX": replace(dataset.MIX, entries=0.0)}),
    Change("no natural questions", patches={"MIX": replace(dataset.MIX, asked=0.0)}),
    Change("rate 1e-3 for 3e-4", {"rate": 1e-3}),
    Change("batch of 64 for 32", {"batch": 64}),
    Change("batch of 128 for 32", {"batch": 128}),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=PATHS.cache / "train")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    found: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {}
    torch.manual_seed(Recipe().seed)
    for name, row in rows(options.data, found):
        found |= {name: row}
        options.out.write_text(json.dumps(found, indent=1) + "\n")
        print(json.dumps({name: row}), flush=True)


def rows(data: Path, known: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Train and judge every change that is not `known`."""
    documents = corpora.load(corpora.prepare(data))
    questions = dataset.load_questions(PATHS.assets / "questions.jsonl")

    def course() -> TrainingSet:
        return TrainingSet(documents, image_concepts(), questions)

    start = Trainer(Recipe(steps=STEPS), course(), data)
    start.initialise()
    judged = start.dev_sets
    if "the start" not in known:
        yield "the start", {name: evaluate(start.text, start.meta, pages) for name, pages in judged.items()}
    for change in CHANGES:
        if change.name not in known:
            yield change.name, train(change, start, course())


def train(change: Change, start: Trainer, course: TrainingSet) -> dict[str, Any]:
    """One row: STEPS steps from `start`, and how they end."""
    began = time.perf_counter()
    with ExitStack() as stack:
        for name, value in change.patches.items():
            stack.enter_context(patch.object(dataset, name, value))
        # The teacher's scores of a batch are kept in the folder: other batches, another folder.
        same = not change.patches and change.course is None and "batch" not in change.recipe
        folder = start.folder if same else start.folder / change.name
        trainer = Trainer(replace(start.recipe, **change.recipe), course, folder)
        trainer.meta.load_tensors(start.meta.tensors())
        trainer.teacher = start.teacher
        for alter in (change.course, change.model):
            if alter:
                alter(trainer)
        trainer.optimizer = torch.optim.AdamW(trainer.parameter_groups(), weight_decay=0.01)
        losses = []
        for trainer.step in range(STEPS):
            loss, _ = trainer.train_step(trainer.batch())
            losses.append(loss)
    ends = {name: evaluate(trainer.text, trainer.meta, pages) for name, pages in start.dev_sets.items()}
    return {
        **ends,
        "last_loss": round(losses[-1], 3),
        "minutes": round((time.perf_counter() - began) / 60, 1),
    }


if __name__ == "__main__":
    main()
