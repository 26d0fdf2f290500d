"""An encoder on public benchmarks: `python -m metaembed_demo leaderboard --benchmark "ViDoRe(v2)" --out DIR`.

Tasks, data and metrics come from mteb, except MMEB's tasks (evaluation/leaderboard/mmeb.py). An encoder at
one budget is a late-interaction model for mteb. mteb is imported lazily, as the app does not need it.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from metaembed_demo.core.arguments import budget_of
from metaembed_demo.core.budgets import Budget
from metaembed_demo.core.config import PATHS, SERVER
from metaembed_demo.core.extras import install
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.encoders.registry import load_encoder

from . import mmeb
from .embedding_cache import Vectors
from .report import Row, markdown, summarise

BAD_INPUT = 2
INTERRUPTED = 130
BATCH = 32  # items per encoding batch and cache file
BLOCK = 1024  # pages cast to float32 and scored at once
MODALITIES = frozenset({"text", "image"})
METRICS = ("ndcg", "map", "recall", "precision", "mrr", "hit_rate")  # of mteb, each at some k


class Unavailable(Exception):
    """A package or data that a benchmark needs is missing."""


class Wrapped:
    """An encoder at one budget, implementing `mteb.EncoderProtocol`."""

    def __init__(self, vectors: Vectors, budget: Budget) -> None:
        self._vectors = vectors
        self.budget = budget.clip(vectors.encoder.r_q, vectors.encoder.r_c)

    @property
    def mteb_model_meta(self) -> Any:
        """An `mteb.ModelMeta`: the budget is in the name, the fingerprint is the revision."""
        encoder = self._vectors.encoder
        meta = _module("mteb.models.model_meta").ModelMeta
        # mteb requires fields that are unknown here, such as the licence; None is allowed.
        unknown = {name: None for name, field in meta.model_fields.items() if field.is_required()}
        known = {
            "name": f"metaembed-demo/{encoder.name}-{self.budget}",
            "revision": self._vectors.revision,
            "embed_dim": encoder.dim,
            "similarity_fn_name": "MaxSim",
            "model_type": ["late-interaction"],
            "modalities": sorted(MODALITIES),
            "framework": ["PyTorch"],
        }
        return meta(**unknown | known)

    def encode(
        self, inputs: Iterable[Mapping[str, Any]], *, prompt_type: Any = None, **_: Any
    ) -> NDArray[Any]:
        """Vectors at the budget: (n, r_q, D) for queries, (n, r_c, D) for documents.

        Raises:
            ValueError: when `prompt_type` is neither "query" nor "document".
        """
        if prompt_type == "query":
            return self._vectors.get(inputs, "query", self.budget.r_q)
        if prompt_type == "document":
            return self._vectors.get(inputs, "document", self.budget.r_c)
        raise ValueError(
            "Queries and pages have different Meta Tokens; this task does not tell which is which."
        )

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """MaxSim by mteb's function, on a GPU if there is one: a tensor (queries, documents)."""
        torch, max_sim = _module("torch"), _module("mteb.similarity_functions").max_sim
        queries = torch.as_tensor(embeddings1).float()
        documents = torch.as_tensor(embeddings2)
        documents = documents[None] if documents.ndim == 2 else documents
        # In blocks: mteb would cast the whole corpus to float32 at once.
        return torch.cat([max_sim(queries, block.float()) for block in documents.split(BLOCK)], dim=1)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Elementwise MaxSim: a tensor (n,)."""
        torch, max_sim = _module("torch"), _module("mteb.similarity_functions").pairwise_max_sim
        return max_sim(torch.as_tensor(embeddings1).float(), torch.as_tensor(embeddings2).float())


# Tasks


@dataclass(frozen=True)
class Group:
    """A benchmark or a list of tasks. skipped: task -> reason; parts: part -> tasks with a separate mean."""

    name: str
    tasks: tuple[Any, ...]
    skipped: dict[str, str]
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def group_of(benchmark: str) -> Group:
    """The tasks of a benchmark that are retrieval of text and images.

    Raises:
        ValueError: when mteb has no such benchmark, or no task is supported.
        Unavailable: when mteb is missing.
    """
    tasks = _named(_module("mteb").get_benchmark, "benchmark", benchmark).tasks
    skipped = {task.metadata.name: why for task in tasks if (why := _unfit(task))}
    able = tuple(task for task in tasks if task.metadata.name not in skipped)
    if not able:
        raise ValueError(f"{benchmark} has no task of retrieval with text and pictures.")
    return Group(benchmark, able, skipped)


def group_named(tasks: Sequence[Any]) -> Group:
    """A group of tasks, given by name or as mteb objects.

    Raises:
        ValueError: when mteb has no such task, or a task is not supported.
        Unavailable: when mteb is missing.
    """
    get_task = _module("mteb").get_task
    found = tuple(_named(get_task, "task", task) if isinstance(task, str) else task for task in tasks)
    for task in found:
        if why := _unfit(task):
            raise ValueError(f"{task.metadata.name} cannot be run: {why}.")
    return Group("Tasks", found, {})


def group_of_mmeb(folder: Path, names: Sequence[str] = (), images: Path | None = None) -> Group:
    """MMEB's tasks in a local folder, all or those in `names`. Raises as `mmeb.tasks` does."""
    _module("mteb")
    tasks, skipped = mmeb.tasks(folder, names, images)
    parts = {part: tuple(f"MMEB-{name}" for name in members) for part, members in mmeb.PARTS.items()}
    return Group("MMEB", tuple(tasks), {f"MMEB-{name}": why for name, why in skipped.items()}, parts)


def _named(get: Callable[[str], Any], noun: str, name: str) -> Any:
    try:
        return get(name)
    except KeyError as error:  # the message has mteb's suggestion, prefixed with "KeyError: "
        hint = str(error.args[0]).removeprefix("KeyError: ")
        raise ValueError(f"mteb has no such {noun}: {hint}") from error


def _unfit(task: Any) -> str:
    """Why a task is not supported; empty if it is."""
    if not isinstance(task, _module("mteb.abstasks.retrieval").AbsTaskRetrieval):
        return f"{task.metadata.type} needs one vector per item"
    foreign = sorted(set(task.metadata.modalities) - MODALITIES)
    return f"there is no encoder of {' and '.join(foreign)}" if foreign else ""


# Running


def evaluate(
    encoder: Encoder,
    tasks: str | Sequence[Any] | Group,
    budgets: Sequence[Budget],
    out: Path,
    cache: Path,
    *,
    metric: str | None = None,
    read_words: bool = True,
    tell: Callable[[str], None] = lambda _: None,
) -> Row:
    """Run mteb tasks at each of `budgets`, reusing earlier results in `out`.

    Args:
        tasks: the name of a benchmark, a sequence of tasks (names or mteb objects), or a group.
        out: folder for mteb's results in `<budget>/results/`, `summary.json` and `summary.md`.
        cache: folder for embeddings.
        metric: one of mteb's scores, for example "precision_at_1"; None: each task's main score.
        read_words: run `extraction.read` on pages, which are images.
        tell: called with the name of each task before it runs.

    Returns:
        The contents of `summary.json`; scores are in 0..1.

    Raises:
        ValueError: for an unknown benchmark, task or metric, or an unsupported task.
        Unavailable: when mteb or the data of a public task is missing.
    """
    group = _group(tasks)
    if not group.tasks or not budgets:
        raise ValueError("There is nothing to run: name a task and a budget at least.")
    for task in group.tasks:
        _check_metric(task, metric)
    vectors = Vectors(encoder, cache, read_words)
    models = {model.budget: model for model in (Wrapped(vectors, budget) for budget in budgets)}
    rows, skipped = [], dict(group.skipped)
    for task in group.tasks:
        tell(task.metadata.name)
        try:
            rows.append(_run(task, list(models.values()), out, metric))
        except Unavailable as error:
            if task.metadata.is_public:
                raise
            skipped[task.metadata.name] = f"its data is private; {error}"
    if not rows:
        raise Unavailable(f"No task of {group.name} can be run. {next(iter(skipped.values()))}")
    return summarise(group.name, vectors, rows, skipped, group.parts, out)


def _group(tasks: str | Sequence[Any] | Group) -> Group:
    if isinstance(tasks, Group):
        return tasks
    return group_of(tasks) if isinstance(tasks, str) else group_named(tasks)


def _run(task: Any, models: Sequence[Wrapped], out: Path, metric: str | None) -> Row:
    """One task at every budget. Its data is loaded once, or not at all if all results exist."""
    mteb = _module("mteb")
    caches = {model.budget: mteb.ResultCache(out / str(model.budget)) for model in models}
    name = task.metadata.name
    kept = {m.budget: caches[m.budget].load_task_result(name, m.mteb_model_meta) for m in models}
    if not all(_is_done(result, task) for result in kept.values()):
        _load(task)
    scores = {}
    try:
        for model in models:
            result = mteb.evaluate(
                model,
                task,
                cache=caches[model.budget],
                # mteb would accept a complete result of another data revision.
                overwrite_strategy="always" if _is_stale(kept[model.budget], task) else "only-missing",
                encode_kwargs={"batch_size": BATCH, "show_progress_bar": False},
                co2_tracker=False,
                show_progress_bar=False,
            )
            score = result.task_results[0].get_score(getter=lambda row: row[metric or "main_score"])
            scores[str(model.budget)] = round(float(score), 5)
    finally:
        if task.data_loaded:
            task.unload_data()
    return {
        "task": name,
        "metric": metric or task.metadata.main_score,
        "revision": task.metadata.revision,
        "subsets": len(task.hf_subsets),
        "scores": scores,
    }


def _is_done(result: Any, task: Any) -> bool:
    return result is not None and result.is_mergeable(task) and not result.get_missing_evaluations(task)


def _is_stale(result: Any, task: Any) -> bool:
    """Whether the result belongs to another revision of the task's data."""
    return result is not None and not result.is_mergeable(task)


def _load(task: Any) -> None:
    try:
        task.load_data()
    except mmeb.Malformed:  # a local file; the message is complete
        raise
    except Exception as error:  # the hub, its cache and file readers raise various types
        first_line = str(error).strip().split("\n")[0]
        raise Unavailable(
            f"The data of {task.metadata.name} ({task.metadata.dataset['path']}) cannot be loaded; "
            f"it comes from the Hugging Face hub. {type(error).__name__}: {first_line}"
        ) from error


def _check_metric(task: Any, metric: str | None) -> None:
    names = {f"{name}_at_{k}" for name in METRICS for k in task.k_values}
    if metric is not None and metric not in names:
        at = ", ".join(map(str, task.k_values))
        raise ValueError(
            f"{task.metadata.name} has no score {metric!r}. There are {', '.join(METRICS)}, "
            f"each at one of {at}; for example precision_at_1."
        )


# The command


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns 0, 2 for bad input or missing packages and data, 130 when interrupted."""
    options = _parser().parse_args(argv)
    try:
        encoder = load_encoder(options.encoder)
        summary = evaluate(
            encoder,
            _asked(options),
            options.budget or encoder.budgets,
            options.out,
            options.cache,
            metric=options.metric,
            read_words=options.words,
            tell=lambda task: print(task, file=sys.stderr, flush=True),
        )
    except (Unavailable, ValueError, OSError) as error:
        print(f"metaembed_demo leaderboard: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("Stopped. Run the same command to resume.", file=sys.stderr)
        return INTERRUPTED
    print(markdown(summary), end="")
    return 0


def _asked(options: argparse.Namespace) -> str | Sequence[str] | Group:
    if options.mmeb is not None:
        return group_of_mmeb(options.mmeb, options.tasks, options.images)
    if options.tasks or options.images:
        raise ValueError("--tasks and --images belong to --mmeb; mteb's tasks are named by --task.")
    return options.benchmark or options.task


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m metaembed_demo leaderboard",
        description="Public benchmarks through mteb.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--benchmark", metavar="NAME", help='of mteb, for example "ViDoRe(v2)"')
    what.add_argument("--task", nargs="+", metavar="NAME", help="of mteb, for example VidoreDocVQARetrieval")
    what.add_argument("--mmeb", type=Path, metavar="DIR", help="a local copy of TIGER-Lab/MMEB-eval")
    parser.add_argument("--tasks", nargs="+", default=[], metavar="NAME", help="of MMEB; default: all there")
    parser.add_argument("--images", type=Path, metavar="DIR", help="MMEB's pictures; default: DIR/images")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="results; run again to go on")
    parser.add_argument("--encoder", default=SERVER.encoder, metavar="NAME", help="default: %(default)s")
    parser.add_argument("--budget", type=budget_of, nargs="+", metavar="RQxRC", help="default: all five")
    parser.add_argument(
        "--metric", metavar="NAME", help="for example precision_at_1; default: the task's own"
    )
    parser.add_argument(
        "--cache", type=Path, default=PATHS.cache / "leaderboard", metavar="DIR", help="embeddings"
    )
    parser.add_argument(
        "--no-words",
        dest="words",
        action="store_false",
        help="do not read pages; the encoder sees them itself",
    )
    return parser


def _module(name: str) -> Any:
    """Import a package that only benchmarks need. Raises Unavailable naming what to install."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Unavailable(
            f"Benchmarks need mteb and datasets, on Python 3.11 or later: {install('dev')} ({error})"
        ) from error
