"""MMEB tasks from a generated folder, run by mteb."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from metaembed_demo.core.budgets import STOPS, Budget
from metaembed_demo.documents.images import upright
from metaembed_demo.evaluation.leaderboard import mmeb
from metaembed_demo.evaluation.leaderboard import run as run_module
from metaembed_demo.evaluation.leaderboard.embedding_cache import Item
from metaembed_demo.evaluation.leaderboard.mmeb import BEYOND, META_TASKS, PARTS, TASKS, WITHIN, Malformed
from metaembed_demo.evaluation.leaderboard.run import evaluate, group_of_mmeb, main
from metaembed_demo.index.maxsim import maxsim
from tests.support.mteb_tasks import (  # before pyarrow: leaves this file out without mteb
    HITS,
    PAINTS,
    Painter,
    paint,
    squares,
)

pytestmark = pytest.mark.slow

pa, pq = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
mteb = importlib.import_module("mteb")

MISSES = {budget: round(1 - hit, 5) for budget, hit in HITS.items()}
Row = dict[str, Any]


def row(query: str, picture: str, *candidates: tuple[str, str]) -> Row:
    """One query; of its candidates, (text, picture), the first is right."""
    texts, pictures = zip(*candidates, strict=True)
    return {
        "qry_text": query,
        "qry_img_path": picture,
        "tgt_text": list(texts),
        "tgt_img_path": list(pictures),
    }


def put(folder: Path, name: str, rows: list[Row], parts: int = 1) -> None:
    (folder / name).mkdir(parents=True, exist_ok=True)
    for part in range(parts):
        file = folder / name / f"test-{part:05}-of-{parts:05}.parquet"
        pq.write_table(pa.Table.from_pylist(rows[part::parts]), file)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three tasks: pictures ask for texts, words for pictures, and the first with answers turned round."""
    made, pages = tmp_path / "mmeb", squares()
    (made / "images/colours").mkdir(parents=True)
    for key, colours in pages.items():
        paint(colours).save(made / f"images/colours/{key}.png")
    vqa, turned, web = [], [], []
    for at, (answer, _, _) in enumerate(PAINTS):
        paint([answer] * 64).save(made / f"images/colours/asks-{at}.png")
        asked = ("<|image_1|>\nWhich text has this colour?", f"colours/asks-{at}.png")
        right, wrong = ((" ".join(pages[f"{side}-{at}"]), "") for side in ("right", "wrong"))
        # The answer of another query in full: it wins that one, wherever all candidates are one corpus.
        foreign = (" ".join([PAINTS[at - 1][0]] * 64), "")
        vqa.append(row(*asked, right, wrong, right, foreign))
        turned.append(row(*asked, wrong, right))
        seen = [("<|image_1|>\nRepresent it.", f"colours/{side}-{at}.png") for side in ("right", "wrong")]
        web.append(row(f"Find {answer}", "", *seen))
    put(made, "DocVQA", vqa, parts=2)
    put(made, "GQA", turned)
    put(made, "WebQA", web)
    return made


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Any:
    def run(encoder: Any, *names: str, budgets: Any = STOPS) -> dict[str, Any]:
        group = group_of_mmeb(folder, names)
        return evaluate(encoder, group, budgets, tmp_path / "out", tmp_path / "cache", read_words=False)

    return run


def test_the_36_tasks_are_those_of_the_paper() -> None:
    assert len(set(TASKS)) == 36
    assert {kind: len(names) for kind, names in META_TASKS.items()} == {
        **{"classification": 10, "VQA": 10, "retrieval": 12, "grounding": 4},
    }
    assert len(PARTS["in-distribution"]) == sum(map(len, WITHIN.values())) == 20
    assert len(PARTS["out-of-distribution"]) == sum(map(len, BEYOND.values())) == 16


def test_precision_at_1_among_own_candidates_by_part(run: Any, tmp_path: Path) -> None:
    painter = Painter()
    summary = run(painter)
    scores = {each["task"]: each["scores"] for each in summary["tasks"]}
    assert scores == {"MMEB-DocVQA": HITS, "MMEB-GQA": MISSES, "MMEB-WebQA": HITS}  # in MMEB's order
    assert {each["metric"] for each in summary["tasks"]} == {"precision_at_1"}
    parts = summary["parts"]
    assert {name: (part["tasks"], part["of"]) for name, part in parts.items()} == {
        "VQA": (2, 10),
        "retrieval": (1, 12),
        "in-distribution": (2, 20),
        "out-of-distribution": (1, 16),
    }
    assert parts["VQA"]["scores"] == dict.fromkeys(HITS, 0.5)
    assert parts["retrieval"]["scores"] == parts["in-distribution"]["scores"] == HITS
    assert parts["out-of-distribution"]["scores"] == MISSES
    assert summary["mean"] == pytest.approx({b: (2 * HITS[b] + MISSES[b]) / 3 for b in HITS}, abs=1e-5)
    assert len(summary["skipped"]) == 33
    table = (tmp_path / "out/summary.md").read_text()
    assert "| MMEB-DocVQA | precision_at_1 | 20.0 | 40.0 | 60.0 | 80.0 | 100.0 |" in table
    assert "| *VQA, 2 of 10* |  | 50.0 | 50.0 | 50.0 | 50.0 | 50.0 |" in table
    assert "| **Mean of 3 of 36** |" in table


def test_each_distinct_candidate_is_encoded_once(run: Any) -> None:
    painter = Painter()
    run(painter)
    texts = [page.text for page in painter.pages if page.image is None]
    seen = [page for page in painter.pages if page.image is not None]
    assert len(texts) == len(set(texts)) == 15, "10 answers and 5 foreign ones, which two tasks share"
    assert [page.text for page in seen] == ["Represent it."] * 10
    assert [(query.text, query.image is None) for query in painter.queries[:1]] == [
        ("Which text has this colour?", False)
    ]
    assert len(painter.queries) == 10
    again = Painter()
    run(again)
    assert not again.pages
    assert not again.queries


def test_results_are_in_mtebs_format(run: Any, tmp_path: Path) -> None:
    run(Painter(), "DocVQA", budgets=[Budget(4, 8)])
    (file,) = (tmp_path / "out/4x8/results").glob("*/*/MMEB-DocVQA.json")
    result = mteb.TaskResult.from_disk(file)
    (found,) = result.scores["test"]
    assert found["main_score"] == found["precision_at_1"] == found["hit_rate_at_1"] == pytest.approx(0.6)


def test_changed_data_is_run_again(run: Any, folder: Path) -> None:
    assert run(Painter(), "GQA")["mean"] == MISSES
    rows = [row("#ff0000", "", ("#ff0000", ""), ("#00ff00", ""))]
    put(folder, "GQA", rows)
    assert run(Painter(), "GQA")["mean"] == dict.fromkeys(HITS, 1.0)


def test_a_vlm_sees_picture_and_text_of_a_candidate(run: Any, folder: Path) -> None:
    from tests.support import tiny_vlm

    made = tiny_vlm.encoder("qwen2_vl", rank=2)
    texts = [f"<|image_1|>\n{word}" for word in ("a cat", "a longer caption of a dog", "a red train")]
    rows = [row("<|image_1|>\nWhat?", "colours/asks-0.png", *((t, "colours/right-1.png") for t in texts))]
    rows += [row("a cat", "", ("a cat", ""), ("", "colours/right-2.png"))]  # some have no picture
    put(folder, "OVEN", rows)
    summary = run(made, "OVEN", budgets=[STOPS[-1]])
    place = folder / "images"
    hits = []
    for query, candidates in mmeb.read([folder / "OVEN/test-00000-of-00001.parquet"]):
        q = made.embed([_item(query, place)], True)[0].vectors
        c = np.stack(
            [each.vectors for each in made.embed([_item(side, place) for side in candidates], False)]
        )
        scores = maxsim(q, c)
        assert np.ptp(scores) > 1e-3, "the texts tell candidates with one picture apart"
        hits.append(scores.argmax() == 0)
    assert summary["mean"] == {"16x64": np.mean(hits)}


def _item(side: mmeb.MmebItem, place: Path) -> Item:
    return Item(side.text, upright(Image.open(place / side.picture)) if side.picture else None)


# What is wrong is named


def test_unknown_and_missing_tasks(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"MMEB has no task 'DocVqa'\. It has ImageNet-1K, .*DocVQA"):
        group_of_mmeb(folder, ["DocVqa"])
    with pytest.raises(
        FileNotFoundError, match=r"no .*mmeb/EDIS/test-\*\.parquet\. Fetch TIGER-Lab/MMEB-eval"
    ):
        group_of_mmeb(folder, ["GQA", "EDIS"])
    with pytest.raises(FileNotFoundError, match="Fetch TIGER-Lab/MMEB-eval"):
        group_of_mmeb(tmp_path / "nowhere")
    group = group_of_mmeb(folder)
    assert [task.metadata.name for task in group.tasks] == ["MMEB-DocVQA", "MMEB-GQA", "MMEB-WebQA"]
    assert "EDIS" not in group.skipped
    assert "there is no" in group.skipped["MMEB-EDIS"]


def test_a_missing_column_is_named_before_anything_is_encoded(folder: Path) -> None:
    file = folder / "GQA/test-00000-of-00001.parquet"
    pq.write_table(pq.read_table(file).drop_columns(["tgt_text"]), file)
    with pytest.raises(Malformed, match=r"GQA/test-00000-of-00001\.parquet has no column tgt_text"):
        group_of_mmeb(folder)
    file.write_bytes(b"PAR1 but no more")
    with pytest.raises(Malformed, match=r"GQA/test-.*not readable Parquet.*Fetch it again"):
        group_of_mmeb(folder)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"tgt_img_path": [""]}, "row 1: tgt_text and tgt_img_path must be lists of the same length"),
        ({"tgt_text": [], "tgt_img_path": []}, "row 1: there is no candidate"),
        ({"qry_text": 3}, "row 1: 3 is no text, but must be a string"),
        ({"qry_text": "<|image_1|>\n", "qry_img_path": ""}, "row 1: a query or a candidate has neither"),
    ],
)
def test_a_malformed_row_is_named(run: Any, folder: Path, change: Row, told: str) -> None:
    put(folder, "EDIS", [{**row("a", "", ("b", ""), ("c", "")), **change}])
    with pytest.raises(Malformed, match=rf"EDIS/test-00000-of-00001\.parquet, {told}"):
        run(Painter(), "EDIS")


def test_a_missing_picture_is_named_with_the_fix(run: Any, folder: Path) -> None:
    (folder / "images/colours/wrong-3.png").unlink()
    with pytest.raises(Malformed, match=r"no picture .*/images/colours/wrong-3\.png\. Unpack images\.zip"):
        run(Painter(), "WebQA")
    (folder / "images").rename(folder / "pictures")
    with pytest.raises(Malformed, match=r"colours/right-0\.png in .*/images, .*/eval_images, .*--images"):
        run(Painter(), "WebQA")


@pytest.mark.parametrize("place", ["eval_images", "."])
def test_pictures_are_found_where_the_zip_was_unpacked(run: Any, folder: Path, place: str) -> None:
    if place == ".":
        (folder / "images/colours").rename(folder / "colours")
    else:
        (folder / "images").rename(folder / place)
    assert run(Painter(), "WebQA")["mean"] == HITS


def test_the_command(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run_module, "load_encoder", lambda _: Painter())
    (folder / "images").rename(tmp_path / "pictures")
    command = ["--mmeb", str(folder), "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    command += ["--no-words", "--budget", "4x8"]
    assert main([*command, "--images", str(tmp_path / "pictures"), "--tasks", "WebQA"]) == 0
    told = capsys.readouterr()
    assert "| MMEB-WebQA | precision_at_1 | 60.0 |" in told.out
    assert json.loads((tmp_path / "out/summary.json").read_text())["benchmark"] == "MMEB"
    assert main([*command, "--tasks", "DocVQA"]) == 2
    assert "metaembed_demo leaderboard: There is no picture colours/asks-" in capsys.readouterr().err
    assert main(["--task", "X", "--tasks", "GQA", "--out", str(tmp_path)]) == 2
    assert "--tasks and --images belong to --mmeb" in capsys.readouterr().err
    damaged = tmp_path / "pictures/colours/asks-2.png"
    damaged.write_bytes(b"no picture")
    assert main([*command, "--images", str(tmp_path / "pictures"), "--tasks", "GQA"]) == 2
    assert str(damaged) in capsys.readouterr().err
