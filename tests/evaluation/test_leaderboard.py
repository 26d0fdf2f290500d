"""Leaderboard runs and embedding cache: mteb runs generated tasks with obvious answers."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from metaembed_demo.core.budgets import STOPS, Budget
from metaembed_demo.core.config import ROOT
from metaembed_demo.core.types import Embedding, Page, Query, Word
from metaembed_demo.evaluation.leaderboard import embedding_cache, mmeb
from metaembed_demo.evaluation.leaderboard import run as run_module
from metaembed_demo.evaluation.leaderboard.embedding_cache import Item, Store, Vectors
from metaembed_demo.evaluation.leaderboard.run import (
    Unavailable,
    Wrapped,
    evaluate,
    group_named,
    group_of,
    main,
)
from metaembed_demo.evaluation.metrics import ndcg, rank
from metaembed_demo.index.maxsim import maxsim
from tests.support.mteb_tasks import (
    ASKED,
    HITS,
    QRELS,
    ColourPages,
    ColourSamples,
    ColourTexts,
    ColourTongues,
    Film,
    Letters,
    NoHub,
    NoKey,
    Painter,
    paint,
    squares,
)
from tests.support.sample_pages import random_vectors

pytestmark = pytest.mark.slow

mteb = importlib.import_module("mteb")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*_: Any) -> None:
        raise AssertionError("A test asked the network.")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """`evaluate` into tmp_path; the painter sees pages, so nothing is read."""

    def run(encoder: Any, *tasks: Any, budgets: Sequence[Budget] = STOPS, **options: Any) -> dict[str, Any]:
        options = {"read_words": False, **options}
        return evaluate(encoder, tasks, budgets, tmp_path / "out", tmp_path / "cache", **options)

    return run


# Scores


def test_more_tokens_find_more_pages(run: Any, tmp_path: Path) -> None:
    summary = run(Painter(), ColourPages(), metric="precision_at_1")
    assert summary["tasks"][0]["scores"] == HITS
    assert summary["mean"] == HITS
    assert summary == json.loads((tmp_path / "out/summary.json").read_text())
    table = (tmp_path / "out/summary.md").read_text()
    assert "| ColourPages | precision_at_1 | 20.0 | 40.0 | 60.0 | 80.0 | 100.0 |" in table
    assert "| **Mean of 1 of 1** |" in table


def test_scores_are_those_of_our_own_ranking(run: Any) -> None:
    scores = run(Painter(), ColourPages())["tasks"][0]["scores"]
    painter = Painter()
    ids = list(squares())
    pages = [Page(key, "", 1, paint(colours)) for key, colours in squares().items()]
    c = np.stack([found.vectors for found in painter.encode_pages(pages)]).astype(np.float16)
    for budget in STOPS:
        found = []
        for key, text in ASKED.items():
            q = painter.encode_queries([Query(text)])[0].vectors[: budget.r_q]
            ranking = rank(maxsim(q, c[:, : budget.r_c]), ids)
            found.append(ndcg([QRELS[key].get(page, 0) for page in ranking], [1], 5))
        assert scores[str(budget)] == pytest.approx(np.mean(found), abs=1e-5)
    assert len(set(scores.values())) == len(STOPS)


def test_mteb_reads_its_own_results_back(run: Any, tmp_path: Path) -> None:
    summary = run(Painter(), ColourPages(), ColourTexts())
    for budget in map(str, STOPS):
        root = tmp_path / "out" / budget
        found = mteb.ResultCache(root).load_results(include_remote=False).model_results
        assert [(model.model_name, model.model_revision) for model in found] == [
            (f"metaembed-demo/Painter-{budget}", "painter-1-unread")
        ]
        loaded = {result.task_name: result.get_score() for result in found[0].task_results}
        assert loaded == pytest.approx(
            {row["task"]: row["scores"][budget] for row in summary["tasks"]}, abs=1e-5
        )
        (file,) = root.glob("results/*/*/ColourPages.json")
        result = mteb.TaskResult.from_disk(file)
        assert result.scores["test"][0]["main_score"] == result.scores["test"][0]["ndcg_at_5"]
        meta = json.loads((file.parent / "model_meta.json").read_text())
        assert meta["similarity_fn_name"] == "MaxSim"
        assert meta["model_type"] == ["late-interaction"]
        assert meta["embed_dim"] == 3


def test_text_to_text_with_titles(run: Any) -> None:
    painter = Painter()
    row = run(painter, ColourTexts(), read_words=True)["tasks"][0]
    assert row["metric"] == "precision_at_1"
    assert row["scores"] == HITS
    assert painter.pages[0].text.split() == squares()["right-0"]  # the title first, then the text in order


def test_pictures_asking_among_candidates_of_their_own(run: Any) -> None:
    painter = Painter()
    row = run(painter, ColourSamples())["tasks"][0]
    assert row["metric"] == "hit_rate_at_1"
    assert row["scores"] == HITS
    assert all(query.image is not None and not query.text for query in painter.queries)
    assert painter.pages[0].text == "page right-0"
    assert painter.pages[0].image is not None


def test_a_wrapped_encoder_is_one_to_mteb(tmp_path: Path) -> None:
    model = Wrapped(Vectors(Painter(), tmp_path), Budget(99, 8))
    assert isinstance(model, mteb.EncoderProtocol)
    assert not isinstance(model, mteb.SearchProtocol)
    assert model.budget == Budget(16, 8)  # no more than the encoder has
    assert model.mteb_model_meta.name == "metaembed-demo/Painter-16x8"
    with pytest.raises(ValueError, match="which is which"):
        model.encode([{"text": ["#ffffff"]}])


def test_similarity_is_our_maxsim_and_mtebs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "BLOCK", 3)  # several blocks, the last one not full
    q, c = random_vectors(1, 5, 4, 8), random_vectors(2, 7, 16, 8).astype(np.float16)
    model = Wrapped(Vectors(Painter(), tmp_path), STOPS[-1])
    found = model.similarity(q, c).numpy()
    assert found == pytest.approx(np.stack([maxsim(one, c) for one in q]), abs=1e-5)
    max_sim = importlib.import_module("mteb.similarity_functions").max_sim
    assert found == pytest.approx(max_sim(q, c.astype(np.float32)).numpy(), abs=1e-5)
    assert model.similarity(q[:1], c[0]).numpy() == pytest.approx(found[:1, :1], abs=1e-5)
    assert model.similarity_pairwise(q, c[:5]).numpy() == pytest.approx(np.diag(found), abs=1e-5)


# Encoding once


def test_five_budgets_encode_once(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    painter, opened = Painter(), []
    monkeypatch.setattr(embedding_cache, "upright", lambda image: opened.append(image) or image)
    run(painter, ColourPages(), ColourTongues())
    assert len(opened) <= 20  # no picture is opened twice for one task
    assert len(painter.pages) == 10  # both tasks and both languages have one corpus
    assert [query.text for query in painter.queries] == [
        *ASKED.values(),
        *(f"{c} bitte" for c in ASKED.values()),
    ]


def test_another_run_encodes_and_loads_nothing(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(Painter(), ColourPages(), budgets=STOPS[:2])
    monkeypatch.setattr(ColourPages, "loads", 0)
    again, painter = Painter(), Painter()
    assert run(again, ColourPages(), budgets=STOPS[:2]) == first
    assert ColourPages.loads == 0
    assert run(painter, ColourPages())["mean"].items() > first["mean"].items()  # further budgets, later
    assert ColourPages.loads == 1
    assert again.pages == painter.pages == painter.queries == []


def test_a_run_that_broke_goes_on(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "BATCH", 4)
    broken = Painter()
    seen = broken.encode_pages

    def breaks(pages: Sequence[Page]) -> list[Embedding]:
        if len(broken.pages) == 8:
            raise MemoryError
        return seen(pages)

    monkeypatch.setattr(broken, "encode_pages", breaks)
    with pytest.raises(MemoryError):
        run(broken, ColourPages())
    resumed = Painter()
    assert run(resumed, ColourPages(), metric="precision_at_1")["mean"] == HITS
    assert len(resumed.pages) == 2
    assert resumed.queries == []


def test_vectors_of_another_encoder_are_not_used(run: Any) -> None:
    run(Painter(), ColourPages())
    other = Painter()
    other.fingerprint = "painter-2"
    run(other, ColourPages())
    assert len(other.pages) == 10


def test_pages_are_read_unless_the_encoder_sees_them(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(page: Page) -> Page:
        assert page.pictures == ((0.0, 0.0, 1.0, 1.0),)
        return page.with_words([Word("read", page.pictures[0])])

    monkeypatch.setattr(embedding_cache, "read", read)
    painter, seeing = Painter(), Painter()
    run(painter, ColourSamples(), read_words=True)
    assert painter.pages[0].text == "page right-0 read"
    run(seeing, ColourSamples())  # is another encoder as far as the store goes
    assert seeing.pages[0].text == "page right-0"


def test_the_store_gives_prefixes_in_any_order(tmp_path: Path) -> None:
    made = random_vectors(3, 5, 6, 4)
    store = Store(tmp_path, np.float16)
    store.add(["a", "b"], [Embedding(made[0]), Embedding(made[1])])
    store.add(["c", "d", "e"], [Embedding(one) for one in made[2:]])
    for found in (store, Store(tmp_path, np.float16)):
        assert "d" in found
        assert "f" not in found
        got = found.get(["e", "a", "d", "a"], 2)
        assert got.dtype == np.float16
        assert got == pytest.approx(made[[4, 0, 3, 0], :2], abs=1e-3)
    assert store.get([], 2).shape[:2] == (0, 2)


def test_a_damaged_file_of_the_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"bad\.safetensors is damaged .* Delete it"):
        Store(tmp_path, np.float16)


def test_content_decides_what_is_the_same() -> None:
    white, black = Image.new("RGB", (4, 4), "white"), Image.new("RGB", (4, 4), "black")
    items = [Item("a", None), Item("b", None), Item("a", white), Item("a", black), Item("", white)]
    assert len({item.key for item in items}) == len(items)
    assert Item("a", white.copy()).key == Item("a", white).key


# Benchmarks, and what cannot be run


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Registers a benchmark of made tasks, and them, with mteb."""

    def register(*tasks: type[Any]) -> str:
        registry = sys.modules["mteb.get_tasks"]._TASKS_REGISTRY
        for task in tasks:
            monkeypatch.setitem(registry, task.metadata.name, task)
        made = mteb.Benchmark(name="Made", tasks=[task() for task in tasks])
        known = importlib.import_module("mteb.benchmarks.get_benchmark")._build_registry()
        monkeypatch.setitem(known, "Made", made)
        return made.name

    return register


def test_a_benchmark_says_what_it_leaves_out(benchmark: Any, tmp_path: Path) -> None:
    name = benchmark(ColourPages, Film, NoKey, ColourTexts)
    summary = evaluate(Painter(), name, STOPS, tmp_path, tmp_path, metric="precision_at_1", read_words=False)
    assert [row["task"] for row in summary["tasks"]] == ["ColourPages", "ColourTexts"]
    assert summary["skipped"]["Film"] == "there is no encoder of video"
    assert summary["skipped"]["NoKey"].startswith("its data is private; The data of NoKey (made/here) cannot")
    table = (tmp_path / "summary.md").read_text()
    assert "| **Mean of 2 of 4** |  | 20.0 | 40.0 | 60.0 | 80.0 | 100.0 |" in table
    assert "- Film was skipped: there is no encoder of video." in table


def test_without_a_network_the_message_names_the_data(run: Any) -> None:
    with pytest.raises(Unavailable, match=r"NoHub \(made/here\).*Hugging Face hub.*Couldn't reach") as told:
        run(Painter(), NoHub())
    assert "much more" not in str(told.value)
    with pytest.raises(Unavailable, match=r"No task of Tasks can be run.*private"):
        run(Painter(), NoKey())


def test_unknown_names_and_unfit_tasks(run: Any) -> None:
    with pytest.raises(ValueError, match=r"no such benchmark.*Did you mean: ViDoRe\(v2\)"):
        group_of("ViDoRe(v22)")
    with pytest.raises(ValueError, match="no such task: 'VidoreDocVQA' not found"):
        group_named(["VidoreDocVQA"])
    with pytest.raises(ValueError, match="Banking77Classification cannot be run: Classification needs one"):
        group_named(["Banking77Classification"])
    with pytest.raises(ValueError, match="Film cannot be run: there is no encoder of video"):
        run(Painter(), Film())
    with pytest.raises(ValueError, match="no score 'precision'"):
        run(Painter(), ColourPages(), metric="precision")
    with pytest.raises(ValueError, match="nothing to run"):
        run(Painter())


def test_without_mteb_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, run: Any) -> None:
    monkeypatch.setitem(sys.modules, "mteb", None)
    with pytest.raises(Unavailable, match=r"pip install .*\[dev\]"):
        run(Painter(), "VidoreDocVQARetrieval")


# The command


def test_the_command(
    benchmark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run_module, "load_encoder", lambda name: {"painter": Painter}[name]())
    name = benchmark(ColourPages, NoHub)
    command = ["--encoder", "painter", "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    command = [*command, "--no-words", "--metric", "hit_rate_at_1"]
    assert main([*command, "--task", "ColourPages", "--budget", "4x8", "16x64"]) == 0
    told = capsys.readouterr()
    assert "| ColourPages | hit_rate_at_1 | 60.0 | 100.0 |" in told.out
    assert "ColourPages" in told.err
    assert main([*command, "--benchmark", name]) == 2
    assert "metaembed_demo leaderboard: The data of NoHub" in capsys.readouterr().err
    assert main([*command, "--benchmark", "MMEB"]) == 2
    assert "no such benchmark" in capsys.readouterr().err
    monkeypatch.setattr(run_module, "evaluate", _interrupt)
    assert main([*command, "--task", "ColourPages"]) == 130
    assert "Run the same command" in capsys.readouterr().err


def _interrupt(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "argv",
    [[], ["--out", "x"], ["--out", "x", "--benchmark", "B", "--task", "T"],
     ["--out", "x", "--task", "T", "--budget", "0"]],
)  # fmt: skip
def test_bad_options(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(argv)
    assert exit.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_an_encoder_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--task", "T", "--out", str(tmp_path), "--encoder", "maxi"]) == 2
    assert "no encoder called 'maxi'" in capsys.readouterr().err


# MetaEmbed-Mini on pages that it has to read


def test_mini_reads_pages_and_finds_them(run: Any, mini: Any) -> None:
    summary = run(mini, Letters(), read_words=True)
    assert summary["tasks"][0]["metric"] == "ndcg_at_5"
    assert set(summary["mean"].values()) == {1.0}


# What the documentation says


@pytest.fixture
def documentation() -> str:
    return (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")


def test_the_benchmarks_are_as_documented(documentation: str) -> None:
    rows = re.findall(r"^\| `(.+?)` \| (\d+) \| (\d+) \| `(.+?)` \|", documentation, re.MULTILINE)
    assert len(rows) >= 4
    for name, tasks, able, metric in rows:
        found = group_of(name)
        assert (len(found.tasks) + len(found.skipped), len(found.tasks)) == (int(tasks), int(able)), name
        assert {task.metadata.main_score for task in found.tasks} == {metric}


def test_the_commands_are_as_documented(documentation: str) -> None:
    parse = run_module._parser().parse_args
    joined = documentation.replace("\\\n", " ")
    commands = re.findall(
        r"^(?:\.venv/bin/)?python -m metaembed_demo leaderboard (.+)$", joined, re.MULTILINE
    )
    assert len(commands) >= 3
    for command in commands:
        options = parse(shlex.split(command))
        if options.mmeb:
            assert set(options.tasks) <= set(mmeb.TASKS)
            continue
        for task in group_named(options.task).tasks if options.task else group_of(options.benchmark).tasks:
            run_module._check_metric(task, options.metric)


def test_the_tasks_of_mmeb_are_as_documented(documentation: str) -> None:
    for kind, names in mmeb.META_TASKS.items():
        row = f"| {kind}, {len(names)} | {', '.join(mmeb.WITHIN[kind])} | {', '.join(mmeb.BEYOND[kind])} |"
        assert row in documentation


def test_mteb_has_no_mmeb() -> None:
    assert not [found.name for found in mteb.get_benchmarks() if "MMEB" in found.name.upper()]
