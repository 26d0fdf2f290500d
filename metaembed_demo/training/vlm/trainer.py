"""Train MetaEmbed on a vision-language model: `accelerate launch -m metaembed_demo train-vlm`.

The recipe is the paper's (arXiv 2509.18095): MMR over all budgets, temperature 0.03, in-batch and hard
negatives, LoRA of rank 32, batches of thousands, on one GPU by GradCache (training/vlm/grad_cache.py).

Why not sentence-transformers' trainer and its cached loss (6.2): its collator turns a whole column of the
batch into one dict of tensors, which the trainer moves to the GPU. A page of 1,280 visual tokens in Qwen2-VL
has 24 MB of patches, so 1,000 pages take 24 GB before a model has run; here pictures are read a chunk at
a time. A column there also has one kind of input and every example as many negatives; MMEB mixes both. And
its loss and hook would be replaced almost whole for nested budgets. What is left, the optimiser's step, is
short. Mini's loop and this one share `training/matryoshka_loss.py`.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils import clip_grad_norm_

from metaembed_demo.core.budgets import BUDGETS
from metaembed_demo.core.config import VLM as SETTINGS
from metaembed_demo.encoders.vlm import backbone, checkpoints
from metaembed_demo.encoders.vlm import encoder as encoder_module
from metaembed_demo.encoders.vlm.encoder import VLM

from . import dataset, fsdp
from .dataset import Batches, Example, Side
from .grad_cache import GradCache, Nest, gathered, losses

FREE = {"chunk", "checkpointing", "save_every", "log_every"}  # may change when a run goes on: same weights
SEED = 1_000_003


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, beside the data and the backbone."""

    steps: int = 1000
    batch: int = 1024  # examples, over all processes
    chunk: int = 8  # pages or queries encoded at once; what GPU memory has to hold
    rate: float = 1e-4
    warmup: int = 50  # steps
    temperature: float = 0.03  # of the scores
    budgets: tuple[tuple[int, int], ...] = BUDGETS
    weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0)  # of each budget's loss
    negatives: int = 1  # hard ones for each query, at most
    rank: int = backbone.RANK  # of LoRA
    projection: int = 0  # dimensions of a vector; 0: the backbone's own
    checkpointing: bool = True  # of gradients: less memory, a third more time
    bf16: bool = True
    clip: float = 1.0  # gradient norm
    seed: int = 1
    save_every: int = 50
    log_every: int = 1

    def __post_init__(self) -> None:
        """Raises ValueError when a figure makes no sense."""
        for name in ("steps", "batch", "chunk", "rate", "temperature", "rank", "save_every", "log_every"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0.")
        if len(self.weights) != len(self.budgets):
            raise ValueError(f"There are {len(self.budgets)} budgets, but {len(self.weights)} weights.")


class Trainer:
    """One run: batches, step, log, checkpoints."""

    def __init__(
        self,
        recipe: Recipe,
        encoder: VLM,
        examples: Sequence[Example],
        folder: Path,
        accelerator: Any = None,
        report: bool = False,
    ) -> None:
        """`folder` gets log, checkpoints and model; `report`: also tell the accelerator's trackers.

        Raises:
            ValueError: when recipe, encoder and number of processes do not fit one another.
        """
        self.accelerator = accelerator or new_accelerator(recipe)
        self.recipe, self.encoder, self.examples, self.folder = recipe, encoder, examples, folder
        self.report = report
        self._check()
        self.batches = Batches(examples, recipe.batch, recipe.seed)
        network = encoder.network
        network.train()  # for inference the Meta Tokens stand in the table, where they get no gradients
        if recipe.checkpointing:
            backbone.checkpoint_activations(network.model)
        sharded = fsdp.asked_for(self.accelerator, encoder.settings)
        if sharded:
            fsdp.shard(network, network.model.get_input_embeddings(), self.accelerator, sharded)
        elif not (encoder.settings.quantization or encoder.settings.device_map):  # these are where they stay
            network.to(self.accelerator.device)
        self.weights = {name: w for name, w in network.named_parameters() if w.requires_grad}
        for weight in self.weights.values():
            weight.data = weight.data.float()  # in bf16, steps as small as ours would be rounded away
        self.optimizer = torch.optim.AdamW(self.weights.values(), lr=recipe.rate, weight_decay=0.01)
        self.cache = GradCache(encoder, self.accelerator, recipe.chunk, bool(sharded))
        self.step = 0

    def _check(self) -> None:
        recipe, encoder = self.recipe, self.encoder
        r_q, r_c = (max(sizes) for sizes in zip(*recipe.budgets, strict=True))
        if r_q > encoder.r_q or r_c > encoder.r_c:
            raise ValueError(f"A budget of ({r_q}, {r_c}), but {encoder.r_q} and {encoder.r_c} Meta Tokens.")
        if recipe.batch % self.accelerator.num_processes:
            raise ValueError(
                f"batch is {recipe.batch}; it must be a multiple of the processes, here "
                f"{self.accelerator.num_processes}."
            )

    def run(self) -> None:
        """Train until the recipe's last step and write the model to `folder`/model."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.resume()
        self.encoder.network.train()
        start = time.perf_counter()
        while self.step < self.recipe.steps:
            row = self._learn(self.batches.take())
            self.step += 1
            last = self.step == self.recipe.steps
            if self.step % self.recipe.log_every == 0 or last:
                self._log({"step": self.step, **row, "seconds": time.perf_counter() - start})
            if self.step % self.recipe.save_every == 0 or last:
                self._save()
            start = time.perf_counter()
        self.encoder.network.eval()
        if self.accelerator.is_main_process:
            checkpoints.save_vlm(self.encoder, self.folder / "model")
        self.accelerator.wait_for_everyone()

    def _learn(self, rows: Sequence[int]) -> dict[str, Any]:
        # A step's randomness depends on its number alone, so that a resumed run repeats it.
        torch.manual_seed((self.recipe.seed * SEED + self.step) * SEED + self.accelerator.process_index)
        rate = self._rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        each = self.gradients(rows)
        norm = clip_grad_norm_(self.weights.values(), self.recipe.clip)
        self.optimizer.step()
        names = [f"{r_q}x{r_c}" for r_q, r_c in self.recipe.budgets]
        split = dict(zip(names, each.tolist(), strict=True))
        return {"loss": each.sum().item(), "losses": split, "rate": rate, "gradient": norm.item()}

    def _rate(self) -> float:
        """Linear warm-up, then a cosine to 2%."""
        warm = min(1.0, (self.step + 1) / max(self.recipe.warmup, 1))
        cosine = 0.5 * (1 + math.cos(math.pi * self.step / self.recipe.steps))
        return self.recipe.rate * warm * max(cosine, 0.02)

    def gradients(self, rows: Sequence[int]) -> torch.Tensor:
        """The gradients of a batch's loss in the weights' `.grad`; returns (budgets,) the losses.

        Equal on all processes, and equal to those of one process with the whole batch in memory.
        """
        queries, pages = self._sides(rows)
        asked, query_states = self.cache.vectors(queries, True)
        answers, page_states = self.cache.vectors(pages, False)
        everything, first = gathered(answers, self.accelerator)
        asked.requires_grad_()
        everything = everything.detach().requires_grad_()
        positives = torch.arange(first, first + len(queries), device=asked.device)
        nest = Nest(self.recipe.budgets, self.recipe.weights, self.recipe.temperature)
        each = losses(asked, everything, positives, nest, len(rows))
        assert asked.grad is not None
        assert everything.grad is not None
        # What other processes' queries make of this one's pages counts too.
        of_pages = self._summed(everything.grad)[first : first + len(pages)]
        self.cache.push(queries, True, asked.grad, query_states)
        self.cache.push(pages, False, of_pages, page_states)
        for weight in self.weights.values():
            grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
            weight.grad = self._summed(grad)
        return self._summed(each)

    def _summed(self, tensor: torch.Tensor) -> torch.Tensor:
        """Over processes. By hand, not by DDP: processes may have unlike many chunks, and not every chunk
        uses every weight (Mllama's cross-attention sees only pictures)."""
        total: torch.Tensor = self.accelerator.reduce(tensor, "sum")
        return total

    def _sides(self, rows: Sequence[int]) -> tuple[list[Side], list[Side]]:
        """This process's queries, and its pages: first those that answer, in order, then hard negatives."""
        hard = dataset.hard_negatives([self.examples[i] for i in rows], self.recipe.negatives)
        part = self.accelerator.process_index, self.accelerator.num_processes
        own = [self.examples[i] for i in dataset.share(rows, *part)]
        mine = dataset.share(range(len(rows)), *part)
        pages = [example.positive for example in own] + [side for i in mine for side in hard[i]]
        return [example.query for example in own], pages

    def _log(self, row: dict[str, Any]) -> None:
        if not self.accelerator.is_main_process:
            return
        line = json.dumps(row)
        print(line, file=sys.stderr, flush=True)
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(line + "\n")
        if self.report:
            flat = {k: v for k, v in row.items() if k != "losses"}
            flat |= {f"loss/{name}": loss for name, loss in row["losses"].items()}
            self.accelerator.log(flat, step=self.step)

    def _save(self) -> None:
        """A whole checkpoint or none: written beside, then renamed; only then is the one before deleted."""
        if self.accelerator.is_main_process:
            partial = self.folder / "checkpoint.part"
            shutil.rmtree(partial, ignore_errors=True)
            checkpoints.save_vlm(self.encoder, partial)
            state = {
                "step": self.step,
                "recipe": json.dumps(asdict(self.recipe)),
                "examples": len(self.examples),
                "data": self.batches.state(),
                "weights": {name: w.detach().cpu() for name, w in self.weights.items()},
                "optimizer": self.optimizer.state_dict(),
            }
            torch.save(state, partial / "state.pt")
            earlier = self._checkpoints()
            partial.rename(self.folder / f"checkpoint-{self.step:08d}")
            for path in earlier:
                shutil.rmtree(path)
        self.accelerator.wait_for_everyone()

    def _checkpoints(self) -> list[Path]:
        return sorted(self.folder.glob("checkpoint-????????"))

    def resume(self) -> bool:
        """Go on from the last checkpoint in the run's folder; whether there is one.

        Raises:
            ValueError: when it is another run's: its recipe, its data or its weights differ.
        """
        if not (found := self._checkpoints()):
            return False
        state = torch.load(found[-1] / "state.pt", map_location="cpu", weights_only=True)
        self._same_run(state, found[-1])
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(state["weights"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.batches.restore(state["data"])
        self.step = state["step"]
        return True

    def _same_run(self, state: dict[str, Any], path: Path) -> None:
        before, now = json.loads(state["recipe"]), json.loads(json.dumps(asdict(self.recipe)))
        other = [name for name in now if name not in FREE and before.get(name) != now[name]]
        if other:
            raise ValueError(
                f"{path} was trained with {other[0]} {before.get(other[0])}, not {now[other[0]]}. "
                "Give the same recipe, or another --out."
            )
        if state["examples"] != len(self.examples):
            raise ValueError(f"{path} has seen {state['examples']} examples, not {len(self.examples)}.")
        shapes = {name: weight.shape for name, weight in state["weights"].items()}
        if shapes != {name: weight.shape for name, weight in self.weights.items()}:
            raise ValueError(f"{path} belongs to another backbone. Give the same one, or another --out.")


def new_accelerator(recipe: Recipe, report: Sequence[str] = (), folder: Path | None = None) -> Any:
    """Device, precision and processes, as `accelerate launch` or a plain start set them."""
    backbone.need("accelerate", "Training")
    from accelerate import Accelerator

    for name in report:
        package = {"wandb": "wandb", "tensorboard": "tensorboard"}[name]
        if not backbone.installed(package):
            raise ValueError(f"--report {name} needs the package {package}: pip install {package}")
    return Accelerator(
        mixed_precision="bf16" if recipe.bf16 else "no", log_with=list(report) or None, project_dir=folder
    )


def parser() -> argparse.ArgumentParser:
    """The command's options: the recipe's fields, and where things are."""
    made = argparse.ArgumentParser(prog="python -m metaembed_demo train-vlm", description=__doc__)
    made.add_argument("--backbone", required=True, help="a hub id or a folder: Qwen/Qwen2.5-VL-3B-Instruct")
    made.add_argument("--revision", help="of the backbone on the hub")
    made.add_argument("--data", nargs="+", required=True, type=Path, help="files or folders; see docs")
    made.add_argument("--images", type=Path, help="what pictures' paths are relative to; default: their file")
    made.add_argument("--out", required=True, type=Path, help="folder of log, checkpoints and model")
    made.add_argument("--report", nargs="*", default=[], choices=["tensorboard", "wandb"])
    for name, value in asdict(Recipe()).items():
        option = f"--{name.replace('_', '-')}"
        if name == "budgets":
            made.add_argument(option, nargs="+", type=_budget, default=value, metavar="RQxRC")
        elif name == "weights":
            made.add_argument(option, nargs="+", type=float, help="one for each budget; default: 1")
        elif isinstance(value, bool):
            made.add_argument(option, action=argparse.BooleanOptionalAction, default=value)
        else:
            made.add_argument(option, type=type(value), default=value)
    return made


def _budget(said: str) -> tuple[int, int]:
    r_q, r_c = map(int, said.split("x"))
    return r_q, r_c


def train(options: dict[str, Any]) -> None:
    """One run, as the command's options tell.

    Raises:
        ValueError, FileNotFoundError: when recipe, data or backbone are not as they must be.
    """
    chosen = {name: options[name] for name in asdict(Recipe())}
    chosen["budgets"] = tuple(chosen["budgets"])
    chosen["weights"] = tuple(chosen["weights"] or [1.0] * len(chosen["budgets"]))
    recipe = Recipe(**chosen)
    examples = [e for path in options["data"] for e in dataset.load(path, options["images"])]
    # Before the backbone is loaded: it says which GPU is this process's.
    accelerator = new_accelerator(recipe, options["report"], options["out"])
    sharded = bool(fsdp.asked_for(accelerator, SETTINGS))
    with fsdp.turns(accelerator, sharded):
        encoder = _fresh(recipe, options["backbone"], options["revision"], "cpu" if sharded else "")
        trainer = Trainer(recipe, encoder, examples, options["out"], accelerator, bool(options["report"]))
    if options["report"]:
        accelerator.init_trackers("metaembed")
    trainer.run()
    accelerator.end_training()


def _fresh(recipe: Recipe, source: str, revision: str | None, device: str) -> VLM:
    """The backbone `source` with untrained Meta Tokens, LoRA and projection: the same in all processes."""
    model = backbone.load_model(source, revision, SETTINGS, device)
    processor = backbone.load_processor(source, revision)
    torch.manual_seed(recipe.seed)
    return encoder_module.create(
        model,
        processor,
        source,
        revision=revision,
        r_q=max(r_q for r_q, _ in recipe.budgets),
        r_c=max(r_c for _, r_c in recipe.budgets),
        projection=recipe.projection or None,
        rank=recipe.rank,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """0 when the model is written, 2 when it cannot be trained, with a message that says why."""
    options = vars(parser().parse_args(argv))
    try:
        train(options)
    except (ValueError, FileNotFoundError) as error:
        print(f"metaembed_demo train-vlm: {error}", file=sys.stderr)
        return 2
    return 0
