"""The recipe of training on a vision-language model, and the command's options.

The defaults follow the paper (arXiv 2509.18095) and its published configuration: MMR over all budgets, MaxSim
as a sum at temperature 0.03, the mean of the budgets' losses, in-batch negatives and a query's own hard ones,
LoRA of rank 32, no projection, both tables of Meta Tokens appended to every input. docs/training-vlm.md says
which default is published, which is ours, and what is not known.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

from metaembed_demo.core.budgets import BUDGETS
from metaembed_demo.encoders.vlm import backbone

FREE = {"chunk", "checkpointing", "save_every", "log_every"}  # may change on resume: no effect on the weights


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters. Field names are the command's options."""

    steps: int = 1000
    batch: int = 1024  # examples, over all processes
    chunk: int = 8  # pages or queries encoded at once; bounds GPU memory
    rate: float = 1e-4
    warmup: int = 50  # steps
    meta_rate: float = 0.0  # of the Meta Tokens' embeddings; 0: the same
    temperature: float = 0.03  # of the scores
    normalize: bool = False  # divide MaxSim by r_q; with the same temperature 16 times softer at (16, 64)
    mean: bool = True  # of the budgets' losses; else their sum
    own_negatives: bool = True  # compare a hard negative with its own query alone; else with all queries
    both: bool = True  # append the Meta Tokens of queries and of pages to every input
    budgets: tuple[tuple[int, int], ...] = BUDGETS
    weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0)  # of each budget's loss
    negatives: int = 1  # maximum hard negatives per query
    rank: int = backbone.RANK  # of LoRA
    projection: int = 0  # vector dimensions; 0: no projection
    checkpointing: bool = True  # gradient checkpointing: less memory, a third more time
    bf16: bool = True
    clip: float = 1.0  # gradient norm
    seed: int = 1
    save_every: int = 50
    log_every: int = 1

    def __post_init__(self) -> None:
        """Raises ValueError for invalid values."""
        for name in ("steps", "batch", "chunk", "rate", "temperature", "rank", "save_every", "log_every"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0.")
        if self.meta_rate < 0:
            raise ValueError(
                f"meta_rate is {self.meta_rate}; it must be above 0, or 0 for that of all weights."
            )
        if len(self.weights) != len(self.budgets):
            raise ValueError(f"There are {len(self.budgets)} budgets, but {len(self.weights)} weights.")


def parser() -> argparse.ArgumentParser:
    """Command-line parser: the recipe's fields, and paths."""
    made = argparse.ArgumentParser(
        prog="python -m metaembed_demo train-vlm", description="Train MetaEmbed on a vision-language model."
    )
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


def _budget(text: str) -> tuple[int, int]:
    r_q, r_c = map(int, text.split("x"))
    return r_q, r_c
