"""Training tiny vision-language models: exact gradients with chunks, resuming, a toy task."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from metaembed_demo.core.config import VLM as SETTINGS
from metaembed_demo.core.config import Vlm
from metaembed_demo.encoders.vlm import backbone
from metaembed_demo.encoders.vlm import encoder as encoder_module
from metaembed_demo.encoders.vlm.checkpoints import load_vlm
from metaembed_demo.encoders.vlm.encoder import VLM
from metaembed_demo.training.matryoshka_loss import mmr_loss, nested_scores
from metaembed_demo.training.mini.trainer import single_answer_ndcg
from metaembed_demo.training.vlm.dataset import Example, StoredItem
from metaembed_demo.training.vlm.grad_cache import LossConfig, chunks, losses
from metaembed_demo.training.vlm.recipe import Recipe
from metaembed_demo.training.vlm.trainer import Trainer, main
from tests.support import tiny_vlm
from tests.support.run_two_ranks import finished, two_ranks

pytestmark = pytest.mark.slow

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 180, 40),
    "blue": (30, 60, 220),
    "yellow": (240, 220, 20),
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "pink": (255, 130, 190),
}
SMALL: dict[str, Any] = {
    "budgets": ((1, 1), (2, 4), (4, 8)),
    "weights": (1.0, 1.0, 1.0),
    "bf16": False,
    "checkpointing": False,
    "rank": 4,
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny models are slower with several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def encoder(
    name: str = "qwen2_vl",
    rank: int = 4,
    projection: int | None = 4,
    dropout: float = 0.0,
    both: bool = True,
    settings: Vlm = SETTINGS,
) -> VLM:
    model, processor = tiny_vlm.BACKBONES[name].build()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight *= 4  # as they are made, so small weights make every layer do next to nothing
    for part in model.modules():
        if hasattr(part, "attention_dropout"):
            part.attention_dropout = dropout
    torch.manual_seed(1)
    return encoder_module.create(
        model, processor, "tiny", r_q=4, r_c=8, rank=rank, projection=projection, both=both, settings=settings
    )


def squares(folder: Path) -> list[Example]:
    """Two colours as text query and side-by-side image; the reverse order is a hard negative."""
    made = {}
    for a, left in COLOURS.items():
        for b, right in COLOURS.items():
            image = Image.new("RGB", (56, 56), left)
            image.paste(right, (28, 0, 56, 56))
            image.save(folder / f"{a}-{b}.png")
            made[a, b] = StoredItem("", folder / f"{a}-{b}.png")
    return [
        Example(StoredItem(f"{a} left, {b} right"), page, (made[b, a],))
        for (a, b), page in made.items()
        if a != b
    ]


def mixed(folder: Path) -> list[Example]:
    """Queries and pages with and without pictures, some with hard negatives."""
    shown = squares(folder)[:4]
    texts = [
        Example(StoredItem(f"what is {n}"), StoredItem(f"{n} is a number"), (StoredItem("no"),))
        for n in "3456"
    ]
    pictures = [Example(StoredItem("this", shown[0].positive.picture), StoredItem("a pair of colours"))]
    return [*shown[:2], *texts[:2], *pictures, shown[2], *texts[2:]]


def gradients(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: w.grad.clone() for name, w in trainer.weights.items() if w.grad is not None}


def plain(trainer: Trainer, rows: list[int]) -> torch.Tensor:
    """The loss with the whole batch in memory; sets the weights' gradients."""
    trainer.optimizer.zero_grad()
    queries, pages = trainer.local_batch(rows)
    made = []
    for sides, of_queries in ((queries, True), (pages, False)):
        found: dict[int, torch.Tensor] = {}
        for part in chunks(sides, 1000):
            vectors = trainer.encoder.vectors([sides[i].item() for i in part], of_queries)
            found |= dict(zip(part, vectors, strict=True))
        made.append(torch.stack([found[i] for i in range(len(sides))]))
    recipe = trainer.recipe
    scores = nested_scores(made[0], made[1], recipe.budgets, recipe.normalize)
    if recipe.own_negatives:
        scores = [matrix.masked_fill(trainer.left_out(rows), -math.inf) for matrix in scores]
    loss = mmr_loss(scores, torch.arange(len(queries)), temperature=recipe.temperature)
    loss = loss / len(scores) if recipe.mean else loss
    loss.backward()
    return loss.detach()


OURS: dict[str, Any] = {"normalize": True, "mean": False, "own_negatives": False, "both": False}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("qwen2_vl", {}),
        ("qwen2_vl", {"checkpointing": True}),
        ("qwen2_vl", OURS),
        ("idefics3", {"checkpointing": True}),
        ("mllama", {"checkpointing": True}),
    ],
)
def test_gradients_of_chunks_are_those_of_the_whole_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, options: dict[str, Any]
) -> None:
    examples = mixed(tmp_path)
    recipe = Recipe(batch=8, chunk=3, temperature=1.0, **SMALL | options)
    trainer = Trainer(recipe, encoder(name, both=recipe.both), examples, tmp_path)
    trainer.encoder.network.train()
    rows = list(range(8))
    expected = plain(trainer, rows)
    whole = gradients(trainer)
    trainer.optimizer.zero_grad()
    monkeypatch.setattr(
        "metaembed_demo.training.vlm.grad_cache.BLOCK", 1000
    )  # and the loss in blocks of a few queries
    loss = trainer.gradients(rows).sum()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    assert whole.keys() == trainer.weights.keys()
    for key, found in gradients(trainer).items():
        scale = whole[key].abs().max().clamp(min=1)  # relative to the largest, where that is above 1
        torch.testing.assert_close(found / scale, whole[key] / scale, rtol=0, atol=1e-5, msg=key)


def test_activations_are_checkpointed_without_a_warning() -> None:
    network = encoder().network
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        backbone.checkpoint_activations(network.model)
    assert any(getattr(part, "gradient_checkpointing", False) for part in network.modules())


def test_activations_are_checkpointed_in_an_older_transformers() -> None:
    asked: list[dict[str, bool]] = []
    backbone.checkpoint_activations(SimpleNamespace(gradient_checkpointing_enable=asked.append))
    assert asked == [{"use_reentrant": False}]


def test_chunks_are_encoded_again_with_the_same_dropout(tmp_path: Path) -> None:
    trainer = Trainer(Recipe(batch=8, chunk=3, **SMALL), encoder(dropout=0.3), mixed(tmp_path), tmp_path)
    trainer.encoder.network.train()
    queries, _ = trainer.local_batch(list(range(8)))
    torch.manual_seed(5)
    vectors, states = trainer.cache.vectors(queries, True)
    assert not torch.equal(vectors, trainer.cache.vectors(queries, True)[0])  # dropout is at work
    again = {}
    for (rows, inputs, keep), state in zip(trainer.cache._chunks(queries, True), states, strict=True):
        trainer.cache._restore(state)
        again |= dict(zip(rows, trainer.cache._run(inputs, keep).detach(), strict=True))
    torch.testing.assert_close(torch.stack([again[i] for i in range(len(queries))]), vectors)


def test_hard_negatives_are_in_the_loss() -> None:
    """One query, its page at cosine 1 and a hard negative at 0: log(1 + exp(-1 / temperature))."""
    query, page, hard = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]], [[0.0, 1.0]]]).split(1)
    config = LossConfig(((1, 1),), (2.0,), 0.5, mean=False)
    alone = losses(query, page, torch.tensor([0]), config, 1)
    both = losses(query, torch.cat([page, hard]), torch.tensor([0]), config, 1)
    assert alone.tolist() == [0.0]
    assert both.tolist() == [pytest.approx(2 * math.log(1 + math.exp(-2)))]


def published(
    queries: torch.Tensor, pages: torch.Tensor, hard: list[list[torch.Tensor]], groups: list[tuple[int, int]]
) -> float:
    """The loss as the published configuration describes it, one score at a time.

    InfoNCE of each query over the batch's positives and its own hard negatives, of MaxSim as a sum over 0.03,
    the mean over queries, then over groups.
    """
    total = 0.0
    for r_q, r_c in groups:
        for i, query in enumerate(queries):
            compared = [*pages, *hard[i]]
            sums = [
                sum(max(float(a @ b) for b in page[:r_c]) for a in query[:r_q]) / 0.03 for page in compared
            ]
            top = max(sums)
            total += top + math.log(sum(math.exp(x - top) for x in sums)) - sums[i]
    return total / len(queries) / len(groups)


def test_the_default_loss_is_the_published_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = mixed(tmp_path)
    groups = [(1, 1), (2, 4), (4, 8)]
    trainer = Trainer(Recipe(batch=8, chunk=8, **SMALL), encoder(), examples, tmp_path)
    _, shown = trainer.local_batch(list(range(8)))
    torch.manual_seed(4)
    q, p = (
        torch.nn.functional.normalize(torch.randn(n, r, 64), dim=-1) for n, r in ((8, 4), (len(shown), 8))
    )
    rest, answers = iter(range(8, len(shown))), {example.positive for example in examples}
    of = [[next(rest) for side in example.negatives if side not in answers] for example in examples]
    assert sum(map(len, of)) == len(shown) - 8 > 3
    expected = published(q, p[:8], [[p[i] for i in rows] for rows in of], groups)
    monkeypatch.setattr(trainer.cache, "vectors", lambda sides, of_queries: (q if of_queries else p, []))
    monkeypatch.setattr(trainer.cache, "backward", lambda *_: None)
    found = trainer.gradients(list(range(8)))
    assert float(found.sum()) == pytest.approx(expected, rel=1e-5)
    config = LossConfig(SMALL["budgets"], SMALL["weights"], 0.03)
    with_all = losses(q, p, torch.arange(8), config, 8)
    assert float(with_all.sum()) > expected + 0.01, "more negatives, a greater loss"


def test_the_defaults_are_those_of_the_published_configuration() -> None:
    recipe = Recipe()
    assert (recipe.temperature, recipe.normalize, recipe.mean) == (0.03, False, True)
    assert (recipe.own_negatives, recipe.both, recipe.rank, recipe.projection) == (True, True, 32, 0)
    assert (recipe.budgets, recipe.weights) == (((1, 1), (2, 4), (4, 8), (8, 16), (16, 64)), (1.0,) * 5)


def test_meta_tokens_may_learn_at_a_rate_of_their_own(tmp_path: Path) -> None:
    """Adam's first step moves a weight by its rate, whatever its gradient."""
    for meta_rate, ratio in ((0.0, 1.0), (1e-2, 10.0)):
        recipe = Recipe(batch=8, chunk=4, warmup=1, rate=1e-3, meta_rate=meta_rate, **SMALL)
        trainer = Trainer(recipe, encoder(), mixed(tmp_path), tmp_path)
        before = {name: weight.detach().clone() for name, weight in trainer.weights.items()}
        trainer.encoder.network.train()
        trainer.train_step(list(range(8)))
        moved = {n: float((w.detach() - before[n]).abs().max()) for n, w in trainer.weights.items()}
        (rows,) = (step for name, step in moved.items() if "trainable_tokens_delta" in name)
        (head,) = (step for name, step in moved.items() if "projection" in name)
        assert rows / head == pytest.approx(ratio, rel=0.05)
    with pytest.raises(ValueError, match="meta_rate is -1"):
        Recipe(meta_rate=-1)


def test_tables_have_to_be_appended_as_the_encoder_was_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="both is True, but the encoder was made with False"):
        Trainer(Recipe(batch=8, **SMALL), encoder(both=False), mixed(tmp_path), tmp_path)


def test_a_trainer_uses_as_many_hard_negatives_as_the_recipe_says(tmp_path: Path) -> None:
    examples = squares(tmp_path)
    for count, pages in ((0, 4), (1, 8)):
        recipe = Recipe(batch=4, negatives=count, **SMALL)
        _, found = Trainer(recipe, encoder(), examples, tmp_path).local_batch([0, 8, 16, 24])
        assert len(found) == pages
        assert found[1] == examples[8].positive


def test_gradients_reach_lora_meta_tokens_and_projection_alone(tmp_path: Path) -> None:
    trainer = Trainer(Recipe(batch=8, chunk=4, **SMALL), encoder(), mixed(tmp_path), tmp_path)
    frozen = {n: w.detach().clone() for n, w in trainer.encoder.network.named_parameters()}
    trainer.train_step(list(range(8)))
    trainer.train_step(list(range(8)))  # LoRA's B starts as 0, and A has no gradient before B moves
    moved = {n for n, w in trainer.encoder.network.named_parameters() if not torch.equal(w, frozen[n])}
    kinds = ("lora_A", "lora_B", "trainable_tokens_delta", "projection")
    assert moved == set(trainer.weights)
    assert {kind for kind in kinds for name in moved if kind in name} == set(kinds)
    assert all(any(kind in name for kind in kinds) for name in moved)
    (rows,) = (w for n, w in trainer.weights.items() if "trainable_tokens_delta" in n)
    assert len(rows) == 4 + 8  # the Meta Tokens' and no others


def test_small_steps_are_not_rounded_away_in_bf16(tmp_path: Path) -> None:
    model, processor = tiny_vlm.BACKBONES["qwen2_vl"].build()
    made = encoder_module.create(
        model.bfloat16(), processor, "tiny", r_q=4, r_c=8, rank=4, projection=4, both=True
    )
    recipe = Recipe(batch=8, chunk=4, warmup=1, rate=1e-6, **SMALL)
    trainer = Trainer(recipe, made, mixed(tmp_path), tmp_path)
    assert {weight.dtype for weight in trainer.weights.values()} == {torch.float32}
    (name,) = (name for name in trainer.weights if "trainable_tokens_delta" in name)
    before = trainer.weights[name].detach().clone()
    trainer.encoder.network.train()
    trainer.train_step(list(range(8)))
    assert (trainer.weights[name] != before).float().mean() > 0.9


class Stop(Exception):
    """Simulates a crash."""


def test_a_resumed_run_gives_the_weights_of_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = squares(tmp_path)
    recipe = Recipe(steps=4, batch=6, chunk=4, warmup=1, rate=1e-2, save_every=2, **SMALL)
    whole = Trainer(recipe, encoder(dropout=0.1), examples, tmp_path / "whole")
    whole.run()

    broken = Trainer(recipe, encoder(dropout=0.1), examples, tmp_path / "broken")
    learn = broken.train_step

    def pulled(rows: list[int]) -> dict[str, Any]:
        if broken.step == 3:
            raise Stop
        return learn(rows)

    monkeypatch.setattr(broken, "train_step", pulled)
    with pytest.raises(Stop):
        broken.run()
    (tmp_path / "broken" / "checkpoint.part").mkdir()  # of a save that was cut off
    again = Trainer(recipe, encoder(dropout=0.1), examples, tmp_path / "broken")
    again.run()
    assert [path.name for path in again._checkpoints()] == ["checkpoint-00000004"]
    assert not (tmp_path / "broken" / "checkpoint.part").exists()
    steps = [json.loads(line)["step"] for line in (tmp_path / "broken" / "log.jsonl").open()]
    assert steps == [1, 2, 3, 3, 4]
    for name, weight in whole.weights.items():
        torch.testing.assert_close(again.weights[name], weight, rtol=0, atol=0, msg=name)


def test_another_run_s_checkpoint_is_refused(tmp_path: Path) -> None:
    examples = squares(tmp_path)
    recipe = Recipe(steps=1, batch=4, chunk=8, **SMALL)
    Trainer(recipe, encoder(), examples, tmp_path / "run").run()
    assert Trainer(recipe, encoder(), examples, tmp_path / "run").resume()
    other = Recipe(steps=1, batch=4, chunk=2, temperature=0.1, **SMALL)
    with pytest.raises(ValueError, match=r"trained with temperature 0\.03, not 0\.1"):
        Trainer(other, encoder(), examples, tmp_path / "run").resume()
    with pytest.raises(ValueError, match=r"another set of data \(42 examples \w+, not 40 examples"):
        Trainer(recipe, encoder(), examples[:40], tmp_path / "run").resume()
    with pytest.raises(ValueError, match=r"another set of data \(42 examples \w+, not 42 examples"):
        Trainer(recipe, encoder(), examples[::-1], tmp_path / "run").resume()
    with pytest.raises(ValueError, match="has other weights than this run"):
        Trainer(recipe, encoder(projection=5), examples, tmp_path / "run").resume()
    with pytest.raises(ValueError, match=r"another backbone \(tiny None, not else None\)"):
        Trainer(recipe, of_backbone("else"), examples, tmp_path / "run").resume()
    with pytest.raises(
        ValueError, match=r"another resolution or prompt \(at most 24 visual .*, not at most 8"
    ):
        Trainer(recipe, encoder(settings=Vlm(max_visual_tokens=8)), examples, tmp_path / "run").resume()


def of_backbone(name: str) -> VLM:
    made = encoder()
    made.manifest = replace(made.manifest, backbone=name)
    return made


def test_a_backbone_whose_files_changed_is_another(tmp_path: Path) -> None:
    base = tiny_vlm.saved_backbone("qwen2_vl", tmp_path / "base")
    recipe, examples = Recipe(steps=1, batch=4, chunk=8, **SMALL), squares(tmp_path)
    Trainer(recipe, of_backbone(base), examples, tmp_path / "run").run()
    assert Trainer(recipe, of_backbone(base), examples, tmp_path / "run").resume()
    state = load_file(tmp_path / "base/model.safetensors")
    save_file({k: w + 0.01 for k, w in state.items()}, tmp_path / "base/model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="another backbone"):
        Trainer(recipe, of_backbone(base), examples, tmp_path / "run").resume()


@torch.no_grad()
def quality(encoder: VLM, examples: list[Example]) -> list[float]:
    """nDCG@5 of every budget."""
    queries = encoder.vectors([example.query.item() for example in examples], True)
    pages = encoder.vectors([example.positive.item() for example in examples], False)
    right = torch.arange(len(examples))
    return [single_answer_ndcg(scores, right) for scores in nested_scores(queries, pages, SMALL["budgets"])]


@pytest.mark.parametrize("name", ["qwen2_vl", "smolvlm"])
def test_a_tiny_model_learns_colours_and_gains_with_the_budget(tmp_path: Path, name: str) -> None:
    """In 4 dimensions one vector cannot hold two colours and their order as well as several can."""
    examples = squares(tmp_path)
    recipe = Recipe(steps=60, batch=14, chunk=14, rate=3e-3, warmup=5, negatives=0, **SMALL | {"rank": 32})
    trainer = Trainer(recipe, encoder(name, rank=32), examples, tmp_path / "run")
    before = quality(trainer.encoder, examples)
    trainer.run()
    after = quality(trainer.encoder, examples)
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").open()]
    lost = [row["loss"] for row in rows]
    assert sum(lost[-10:]) < 0.6 * sum(lost[:10])
    assert all(end > start + 0.1 for start, end in zip(before, after, strict=True)), (before, after)
    assert after[-1] > after[0], after


def test_a_report_gets_each_budget_s_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(steps=1, batch=4, **SMALL)
    trainer = Trainer(recipe, encoder(), squares(tmp_path), tmp_path / "run", report=True)
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(trainer.accelerator, "log", lambda row, step: told.append(row | {"at": step}))
    trainer.run()
    (row,) = told
    assert row["at"] == 1
    assert row["loss"] == pytest.approx(sum(row[f"loss/{name}"] for name in ("1x1", "2x4", "4x8")))


def test_budgets_have_to_fit(tmp_path: Path) -> None:
    examples = squares(tmp_path)
    with pytest.raises(ValueError, match=r"A budget of \(16, 64\), but 4 and 8 Meta Tokens"):
        Trainer(Recipe(batch=4, bf16=False), encoder(), examples, tmp_path)
    with pytest.raises(ValueError, match="5 budgets, but 1 weights"):
        Recipe(weights=(1.0,))
    with pytest.raises(ValueError, match="chunk is 0"):
        Recipe(chunk=0)


RANK = """
import sys
from pathlib import Path
import torch
import tests.training.test_train_vlm as here
from accelerate import Accelerator
torch.set_num_threads(1)
folder = Path(sys.argv[1])
accelerator = Accelerator(cpu=True)
examples = here.mixed(folder) if accelerator.is_main_process else None
accelerator.wait_for_everyone()
examples = examples or here.mixed(folder)
recipe = here.Recipe(batch=8, chunk=3, temperature=1.0, **here.SMALL)
trainer = here.Trainer(recipe, here.encoder(), examples, folder, accelerator)
loss = trainer.gradients(range(8))
torch.save({"loss": loss, "weights": here.gradients(trainer)}, folder / f"{accelerator.process_index}.pt")
"""


def test_two_processes_have_the_gradients_of_one(tmp_path: Path) -> None:
    """With different numbers of hard negatives and chunks."""
    with two_ranks(RANK, tmp_path) as ranks:
        trainer = Trainer(
            Recipe(batch=8, chunk=3, temperature=1.0, **SMALL), encoder(), mixed(tmp_path), tmp_path
        )
        loss = trainer.gradients(list(range(8)))
        finished(ranks, 100)
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(found["loss"], loss, rtol=1e-5, atol=1e-5)
        for name, gradient in gradients(trainer).items():
            torch.testing.assert_close(found["weights"][name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def test_the_command_trains_a_model_that_loads(tmp_path: Path) -> None:
    model, processor = tiny_vlm.BACKBONES["qwen2_vl"].build()
    model.save_pretrained(tmp_path / "base")
    processor.save_pretrained(tmp_path / "base")
    squares(tmp_path)
    names = ("red-blue", "blue-red", "pink-white")
    lines = [{"query": name, "positive": {"image": f"{name}.png"}} for name in names]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))
    options = ["--backbone", str(tmp_path / "base"), "--data", str(tmp_path / "data.jsonl"), "--no-bf16"]
    options += ["--out", str(tmp_path / "out"), "--steps", "2", "--batch", "3", "--rank", "2"]
    options += ["--budgets", "1x1", "2x4", "--projection", "8"]
    assert main(options) == 0
    loaded = load_vlm(tmp_path / "out" / "model")
    assert (loaded.r_q, loaded.r_c, loaded.dim) == (2, 4, 8)
    row = json.loads((tmp_path / "out" / "log.jsonl").read_text().splitlines()[-1])
    assert row["step"] == 2
    assert row["losses"].keys() == {"1x1", "2x4"}


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (["--data", "none.jsonl"], "There is no data file or folder none.jsonl"),
        (["--steps", "0"], "steps is 0"),
        (["--backbone", "none/here"], "The backbone none/here cannot be found"),
        (["--report", "wandb"], "needs the package wandb"),
    ],
)
def test_bad_input_is_reported(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    extra: list[str],
    said: str,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(backbone, "installed", lambda package: package != "wandb")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.jsonl").write_text('{"query": "a", "positive": "b"}')
    options = ["--backbone", str(tmp_path), "--data", "data.jsonl", "--out", "out", "--no-bf16"]
    assert main([*options, *extra]) == 2
    assert said in capsys.readouterr().err
