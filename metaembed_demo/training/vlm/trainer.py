"""Train MetaEmbed on a vision-language model: `accelerate launch -m metaembed_demo train-vlm`.

By the recipe of training/vlm/recipe.py, in batches of thousands on one GPU with GradCache (grad_cache.py).

Why not the trainer and cached loss of sentence-transformers (6.2): its collator puts a whole column of the
batch on the GPU. A page of 1,280 visual tokens in Qwen2-VL has 24 MB of patches, so 1,000 pages take 24 GB;
here images are read one chunk at a time. Its columns also have one modality and equally many negatives per
example; MMEB mixes both. Its loss would have to be replaced for nested budgets.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils import clip_grad_norm_

from metaembed_demo.core.config import VLM as SETTINGS
from metaembed_demo.encoders.vlm import backbone, checkpoints
from metaembed_demo.encoders.vlm import encoder as encoder_module
from metaembed_demo.encoders.vlm.encoder import VLM
from metaembed_demo.encoders.vlm.published_layout import base_identity

from . import dataset, fsdp
from .dataset import Batches, Example, StoredItem
from .grad_cache import GradCache, LossConfig, gathered, losses
from .recipe import FREE, Recipe, parser

SEED = 1_000_003


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
        """`folder`: for log, checkpoints and model; `report`: also log to the accelerator's trackers.

        Raises:
            ValueError: when recipe, encoder and number of processes do not match.
        """
        self.accelerator = accelerator or new_accelerator(recipe)
        self.recipe, self.encoder, self.examples, self.folder = recipe, encoder, examples, folder
        self.report = report
        self._check()
        self.batches = Batches(examples, recipe.batch, recipe.seed)
        network = encoder.network
        network.train()  # unmerges the Meta Token rows, which otherwise get no gradients
        if recipe.checkpointing:
            backbone.checkpoint_activations(network.model)
        sharded = fsdp.fsdp_settings(self.accelerator, encoder.settings)
        if sharded:
            fsdp.shard(network, network.model.get_input_embeddings(), self.accelerator, sharded)
        elif not (encoder.settings.quantization or encoder.settings.device_map):  # those are already placed
            network.to(self.accelerator.device)
        self.weights = {name: w for name, w in network.named_parameters() if w.requires_grad}
        for weight in self.weights.values():
            weight.data = weight.data.float()  # bf16 would round small updates away
        self.optimizer = torch.optim.AdamW(self._groups(), lr=recipe.rate, weight_decay=0.01)
        self.cache = GradCache(encoder, self.accelerator, recipe.chunk, bool(sharded))
        self._kept: tuple[list[int], list[list[StoredItem]]] = [], []
        self.step = 0

    def _groups(self) -> list[dict[str, Any]]:
        """The optimiser's groups: the Meta Tokens' embeddings, and all other weights."""
        rows = {name for name in self.weights if "trainable_tokens_delta" in name}
        scale = self.recipe.meta_rate / self.recipe.rate or 1.0
        return [
            {"params": [w for name, w in self.weights.items() if name in rows], "scale": scale},
            {"params": [w for name, w in self.weights.items() if name not in rows], "scale": 1.0},
        ]

    def _check(self) -> None:
        recipe, encoder = self.recipe, self.encoder
        if recipe.both != encoder.manifest.both:
            raise ValueError(f"both is {recipe.both}, but the encoder was made with {encoder.manifest.both}.")
        r_q, r_c = (max(sizes) for sizes in zip(*recipe.budgets, strict=True))
        if r_q > encoder.r_q or r_c > encoder.r_c:
            raise ValueError(f"A budget of ({r_q}, {r_c}), but {encoder.r_q} and {encoder.r_c} Meta Tokens.")
        if recipe.batch % self.accelerator.num_processes:
            raise ValueError(
                f"batch is {recipe.batch}; it must be a multiple of the processes, here "
                f"{self.accelerator.num_processes}."
            )

    def run(self) -> None:
        """Train to the last step and write the model to `folder`/model."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.resume()
        self.encoder.network.train()
        start = time.perf_counter()
        while self.step < self.recipe.steps:
            row = self.train_step(self.batches.take())
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

    def train_step(self, rows: Sequence[int]) -> dict[str, Any]:
        # Seeded by step, so that a resumed run is identical.
        torch.manual_seed((self.recipe.seed * SEED + self.step) * SEED + self.accelerator.process_index)
        rate = self._rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        self.optimizer.zero_grad(set_to_none=True)
        each = self.gradients(rows)
        norm = clip_grad_norm_(self.weights.values(), self.recipe.clip)
        self.optimizer.step()
        names = [f"{r_q}x{r_c}" for r_q, r_c in self.recipe.budgets]
        split = dict(zip(names, each.tolist(), strict=True))
        return {"loss": each.sum().item(), "losses": split, "rate": rate, "gradient": norm.item()}

    def _rate(self) -> float:
        """Learning rate: linear warm-up, then cosine decay to 2%."""
        warm = min(1.0, (self.step + 1) / max(self.recipe.warmup, 1))
        cosine = 0.5 * (1 + math.cos(math.pi * self.step / self.recipe.steps))
        return self.recipe.rate * warm * max(cosine, 0.02)

    def gradients(self, rows: Sequence[int]) -> torch.Tensor:
        """Set the weights' `.grad` to the gradient of a batch's loss; returns (budgets,) losses.

        Equal on all processes, and to those of one process with the whole batch in memory.
        """
        queries, pages = self.local_batch(rows)
        asked, query_states = self.cache.vectors(queries, True)
        answers, page_states = self.cache.vectors(pages, False)
        everything, first = gathered(answers, self.accelerator)
        asked.requires_grad_()
        everything = everything.detach().requires_grad_()
        positives = torch.arange(first, first + len(queries), device=asked.device)
        recipe = self.recipe
        config = LossConfig(recipe.budgets, recipe.weights, recipe.temperature, recipe.normalize, recipe.mean)
        left_out = self.left_out(rows).to(asked.device) if recipe.own_negatives else None
        each = losses(asked, everything, positives, config, len(rows), left_out)
        assert asked.grad is not None
        assert everything.grad is not None
        # Includes gradients from other processes' queries.
        of_pages = self._summed(everything.grad)[first : first + len(pages)]
        self.cache.backward(queries, True, asked.grad, query_states)
        self.cache.backward(pages, False, of_pages, page_states)
        for weight in self.weights.values():
            grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
            weight.grad = self._summed(grad)
        return self._summed(each)

    def _summed(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sum over processes. DDP does not fit: processes may have different numbers of chunks, and not every
        chunk uses every weight (Mllama's cross-attention needs an image)."""
        total: torch.Tensor = self.accelerator.reduce(tensor, "sum")
        return total

    def local_batch(self, rows: Sequence[int]) -> tuple[list[StoredItem], list[StoredItem]]:
        """This process's queries, and its pages: positives in order, then hard negatives."""
        hard = self._hard(rows)
        part = self.accelerator.process_index, self.accelerator.num_processes
        own = [self.examples[i] for i in dataset.share(rows, *part)]
        mine = dataset.share(range(len(rows)), *part)
        pages = [example.positive for example in own] + [side for i in mine for side in hard[i]]
        return [example.query for example in own], pages

    def left_out(self, rows: Sequence[int]) -> torch.Tensor:
        """(queries of this process, pages of all) bool: the hard negatives of other queries."""
        processes = self.accelerator.num_processes
        owners = torch.tensor(dataset.owners(self._hard(rows), processes))
        mine = torch.tensor(dataset.share(range(len(rows)), self.accelerator.process_index, processes))
        return (owners >= 0) & (owners != mine[:, None])

    def _hard(self, rows: Sequence[int]) -> list[list[StoredItem]]:
        """Hard negatives of each query of the batch; kept for the step, as keys of images take time."""
        if self._kept[0] != list(rows):
            examples = [self.examples[i] for i in rows]
            recipe = self.recipe
            hard = dataset.hard_negatives(examples, recipe.negatives, recipe.own_negatives)
            self._kept = list(rows), hard
        return self._kept[1]

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
        """Write a checkpoint atomically (write, rename), then delete the previous one."""
        if self.accelerator.is_main_process:
            partial = self.folder / "checkpoint.part"
            shutil.rmtree(partial, ignore_errors=True)
            checkpoints.save_vlm(self.encoder, partial)
            state = {
                "step": self.step,
                "recipe": json.dumps(asdict(self.recipe)),
                "belongs": self._belongs,
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
        """Restore the last checkpoint in the run's folder; False if there is none.

        Raises:
            ValueError: when its recipe, backbone, data, resolution or prompts differ from this run's.
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
        for name, was in state["belongs"].items():
            if was != (new := self._belongs[name]):
                raise ValueError(
                    f"{path} was trained on another {name} ({was}, not {new}). Give the same, "
                    "or another --out."
                )
        shapes = {name: weight.shape for name, weight in state["weights"].items()}
        if shapes != {name: weight.shape for name, weight in self.weights.items()}:
            raise ValueError(
                f"{path} has other weights than this run. Give the same options, or another --out."
            )

    @cached_property
    def _belongs(self) -> dict[str, str]:
        """What a run is resumed with alone: its backbone's weights, its data, and how both sides are read."""
        encoder = self.encoder
        source = encoder.manifest.backbone
        weights = base_identity(encoder.network.model, source)[:16]
        reading = [encoder.reader.frames, encoder.processor.image_processor.to_json_string()]
        reading += [encoder.settings.max_text_tokens]
        read = hashlib.sha256(json.dumps(reading, sort_keys=True).encode()).hexdigest()[:8]
        return {
            "backbone": f"{source} {weights}",
            "set of data": f"{len(self.examples)} examples {dataset.digest(self.examples)[:8]}",
            "resolution or prompt": f"at most {encoder.max_visual_tokens} visual tokens {read}",
        }


def new_accelerator(recipe: Recipe, report: Sequence[str] = (), folder: Path | None = None) -> Any:
    """An Accelerator for the current launch. Raises ValueError when a package is missing."""
    backbone.require_package("accelerate", "Training")
    from accelerate import Accelerator

    for name in report:
        package = {"wandb": "wandb", "tensorboard": "tensorboard"}[name]
        if not backbone.installed(package):
            raise ValueError(f"--report {name} needs the package {package}: pip install {package}")
    return Accelerator(
        mixed_precision="bf16" if recipe.bf16 else "no", log_with=list(report) or None, project_dir=folder
    )


def train(options: dict[str, Any]) -> None:
    """One run with the command's options.

    Raises:
        ValueError, FileNotFoundError: when recipe, data or backbone are invalid or missing.
    """
    chosen = {name: options[name] for name in asdict(Recipe())}
    chosen["budgets"] = tuple(chosen["budgets"])
    chosen["weights"] = tuple(chosen["weights"] or [1.0] * len(chosen["budgets"]))
    recipe = Recipe(**chosen)
    examples = [e for path in options["data"] for e in dataset.load(path, options["images"])]
    # Before loading the backbone: it selects this process's GPU.
    accelerator = new_accelerator(recipe, options["report"], options["out"])
    sharded = bool(fsdp.fsdp_settings(accelerator, SETTINGS))
    with fsdp.one_at_a_time(accelerator, sharded):
        encoder = _fresh(recipe, options["backbone"], options["revision"], "cpu" if sharded else "")
        trainer = Trainer(recipe, encoder, examples, options["out"], accelerator, bool(options["report"]))
    if options["report"]:
        accelerator.init_trackers("metaembed")
    trainer.run()
    accelerator.end_training()


def _fresh(recipe: Recipe, source: str, revision: str | None, device: str) -> VLM:
    """The backbone `source` with untrained Meta Tokens, LoRA and projection, equal in all processes."""
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
        both=recipe.both,
        budgets=sorted(set(recipe.budgets)),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0 when the model is written, 2 with a message when it cannot be trained."""
    options = vars(parser().parse_args(argv))
    try:
        train(options)
    except (ValueError, FileNotFoundError) as error:
        print(f"metaembed_demo train-vlm: {error}", file=sys.stderr)
        return 2
    return 0
