"""FSDP: two processes with a sharded backbone train the same weights as one process."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.distributed.tensor import DTensor

from metaembed_demo.core.config import Vlm
from metaembed_demo.encoders.vlm.checkpoints import load_vlm
from metaembed_demo.encoders.vlm.encoder import VLM
from metaembed_demo.training.vlm import dataset, fsdp
from metaembed_demo.training.vlm import trainer as trainer_module
from metaembed_demo.training.vlm.recipe import Recipe
from metaembed_demo.training.vlm.trainer import Trainer
from tests.support import tiny_vlm
from tests.support.run_two_ranks import finished, two_ranks

pytestmark = pytest.mark.slow

KINDS = {"qwen2_vl": False, "mllama": True}  # whether the embeddings are tied
RECIPE = Recipe(
    steps=4,
    batch=8,
    chunk=2,
    rate=1e-3,
    warmup=1,
    temperature=0.3,
    budgets=((1, 1), (2, 4), (4, 8)),
    weights=(1.0, 1.0, 1.0),
    rank=4,
    projection=4,
    bf16=False,
    save_every=2,
)


def prepared(folder: Path) -> None:
    """Backbones and data; one process gets more chunks, and the query with an image."""
    for name, tied in KINDS.items():
        model, processor = tiny_vlm.BACKBONES[name].build(tied)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.dim() > 1:
                    weight *= 4  # as they are made, so small weights make every layer do next to nothing
        model.save_pretrained(folder / name)
        processor.save_pretrained(folder / name)
    for i in range(6):
        tiny_vlm.picture(i, 56, 56).save(folder / f"{i}.png")
    shown = [{"query": f"drawing {i}", "positive": {"image": f"{i}.png"}} for i in range(3)]
    shown[0]["negatives"] = [{"image": "5.png"}]
    asked = {"query": {"text": "this", "image": "3.png"}, "positive": "another drawing"}
    said = [{"query": f"what is {n}", "positive": f"{n} is a number", "negatives": ["no"]} for n in "3456"]
    lines = [*shown, asked, *said]
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))


def trainer(folder: Path, name: str, out: Path) -> Trainer:
    accelerator = trainer_module.new_accelerator(RECIPE)
    sharded = bool(fsdp.fsdp_settings(accelerator, Vlm()))
    with fsdp.one_at_a_time(accelerator, sharded):
        encoder = trainer_module._fresh(RECIPE, str(folder / name), None, "cpu")
        return Trainer(RECIPE, encoder, dataset.load(folder / "data.jsonl", None), out, accelerator)


def as_rank(folder: Path) -> None:
    """The program of each process."""
    torch.set_num_threads(1)
    for name in KINDS:
        whole = trainer(folder, name, folder / f"{name}-whole")
        assert_split(whole)
        whole.run()
        broken = trainer(folder, name, folder / f"{name}-broken")
        pull_the_plug(broken)
        with pytest.raises(InterruptedError):
            broken.run()
        again = trainer(folder, name, folder / f"{name}-broken")
        again.run()
        assert again.step == 4
        for kind, run in (("whole", whole), ("broken", again)):
            weights = {key: weight.detach() for key, weight in run.weights.items()}
            torch.save(weights, folder / f"{name}-{kind}-{run.accelerator.process_index}.pt")
    options = ["--backbone", str(folder / "qwen2_vl"), "--data", str(folder / "data.jsonl"), "--no-bf16"]
    options += ["--out", str(folder / "command"), "--steps", "1", "--batch", "8", "--budgets", "1x1", "2x4"]
    assert trainer_module.main([*options, "--weights", "1", "1"]) == 0


def assert_split(made: Trainer) -> None:
    """Each process has about half of the frozen weights, and all trainable ones."""
    frozen = [weight for weight in made.encoder.network.parameters() if not weight.requires_grad]
    assert frozen
    assert all(isinstance(weight, DTensor) for weight in frozen)
    kept = sum(weight.to_local().numel() for weight in frozen if isinstance(weight, DTensor))
    assert kept < 0.55 * sum(weight.numel() for weight in frozen)
    assert not any(isinstance(weight, DTensor) for weight in made.weights.values())


def pull_the_plug(made: Trainer) -> None:
    """Fail in the fourth step, after the checkpoint of the second."""
    learn = made.train_step

    def pulled(rows: list[int]) -> dict[str, Any]:
        if made.step == 3:
            raise InterruptedError
        return learn(rows)

    made.train_step = pulled  # type: ignore[method-assign]


def run_ranks(folder: Path) -> None:
    """Two processes, with the variables that `accelerate launch --use_fsdp --fsdp_version 2` sets."""
    program = (
        "import sys, pathlib; from tests.training.test_fsdp import as_rank; "
        "as_rank(pathlib.Path(sys.argv[1]))"
    )
    launched = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
    launched |= {"FSDP_CPU_RAM_EFFICIENT_LOADING": "true"}
    with two_ranks(program, folder, **launched) as ranks:
        finished(ranks, 150)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the results of two processes."""
    folder = tmp_path_factory.mktemp("sharding")
    prepared(folder)
    run_ranks(folder)
    return folder


def log(folder: Path) -> list[dict[str, Any]]:
    rows = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [{"step": row["step"], "loss": row["loss"], "gradient": row["gradient"]} for row in rows]


@pytest.mark.parametrize("name", KINDS)
def test_two_processes_train_the_weights_of_one(
    trained: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = trainer(trained, name, tmp_path)
    before = {key: weight.detach().clone() for key, weight in alone.weights.items()}
    alone.run()
    assert log(trained / f"{name}-whole") == [pytest.approx(row, rel=1e-4) for row in log(tmp_path)]
    for rank in (0, 1):
        found = torch.load(trained / f"{name}-whole-{rank}.pt", weights_only=True)
        assert found.keys() == alone.weights.keys()
        for key, weight in alone.weights.items():
            torch.testing.assert_close(found[key], weight, rtol=0, atol=1e-5, msg=key)
            assert (weight - before[key]).abs().max() > 1e-3, key  # a hundred times the tolerance
    saved = load_vlm(trained / f"{name}-whole" / "model")
    assert isinstance(saved, VLM)
    pages, queries = tiny_vlm.pages(), tiny_vlm.queries()
    assert tiny_vlm.apart(saved.encode_pages(pages), alone.encoder.encode_pages(pages)) < 1e-4
    assert tiny_vlm.apart(saved.encode_queries(queries), alone.encoder.encode_queries(queries)) < 1e-4


@pytest.mark.parametrize("name", KINDS)
def test_a_resumed_run_gives_the_weights_of_an_uninterrupted_one(trained: Path, name: str) -> None:
    for rank in (0, 1):
        whole, resumed = (
            torch.load(trained / f"{name}-{kind}-{rank}.pt", weights_only=True)
            for kind in ("whole", "broken")
        )
        for key, weight in whole.items():
            torch.testing.assert_close(resumed[key], weight, rtol=0, atol=0, msg=key)
    assert [row["step"] for row in log(trained / f"{name}-broken")] == [1, 2, 3, 3, 4]


def test_the_command_trains_a_model_that_loads(trained: Path) -> None:
    loaded = load_vlm(trained / "command" / "model")
    assert (loaded.r_q, loaded.r_c) == (2, 4)


def test_chunks_are_padded_to_the_maximum_of_all_processes() -> None:
    others = torch.tensor([[1, 3]])
    all_of = SimpleNamespace(device="cpu", gather=lambda own: torch.cat([own, others]))
    parts = [([0, 1], False), ([2], False), ([3], True)]
    assert fsdp.equal_chunks(parts, all_of) == [*parts, ([], True), ([], True)]


@pytest.mark.parametrize(
    ("variables", "vlm", "said"),
    [
        ({"FSDP_VERSION": "1"}, Vlm(), "--fsdp_version 2"),
        ({"FSDP_OFFLOAD_PARAMS": "true"}, Vlm(), "--fsdp_offload_params false"),
        ({}, Vlm(quantization="4bit"), "Unset METAEMBED_VLM_QUANTIZATION"),
        ({}, Vlm(device_map="auto"), "METAEMBED_VLM_DEVICE_MAP"),
    ],
)
def test_unsupported_fsdp_settings_are_reported(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], vlm: Vlm, said: str
) -> None:
    two = SimpleNamespace(num_processes=2, state=SimpleNamespace())
    assert fsdp.fsdp_settings(two, vlm) is None
    for name, value in ({"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"} | variables).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=said):
        fsdp.fsdp_settings(two, vlm)
    assert fsdp.fsdp_settings(SimpleNamespace(num_processes=1), vlm) is None
