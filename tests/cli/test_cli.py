"""The command line: what it prints where, and its exit status. Pages are read from their file names."""

import json
import os
import re
import subprocess
import sys
import types
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest
from PIL import Image

from metaembed_demo import __main__ as cli
from metaembed_demo.cli import commands
from metaembed_demo.cli.programs import PROGRAMS
from metaembed_demo.core.config import ROOT
from metaembed_demo.core.types import Page, Word
from metaembed_demo.evaluation import baselines
from metaembed_demo.evaluation import speed as bench_module
from tests.support.dummy_encoder import DummyEncoder
from tests.support.ladder_encoder import THREE, Ladder
from tests.support.sample_pages import read_by


class Chatty(DummyEncoder):
    """Prints to standard output as some libraries do, from Python and from below it."""

    def encode_pages(self, pages):
        print("loading shards...")
        os.write(1, b"a C library says hello\n")
        return super().encode_pages(pages)

    def encode_queries(self, queries):
        print("warming up")
        return super().encode_queries(queries)


def named(page: Page) -> Page:
    words = page.source.replace("/", " ").replace("-", " ").removesuffix(".png").split()
    return page.with_words([Word(word, (0, 0, 1, 1)) for word in words])


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    monkeypatch.setattr(commands, "load_encoder", lambda name: Chatty())
    read_by(monkeypatch, named)
    monkeypatch.setattr(bench_module, "read", named)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for at, name in enumerate(["energy-chart", "sleeping-cat", "old-invoice"]):
        Image.new("RGB", (40 + at, 40), "white").save(folder / f"{name}.png")
    Image.open(folder / "sleeping-cat.png").save(folder / "twin-cat.png")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 and then nothing")
    return folder


def run(capfd, *argv: object) -> tuple[int, str, str]:
    try:
        status = cli.main([str(arg) for arg in argv])
    except SystemExit as exit_:
        status = int(exit_.code or 0)
    out, err = capfd.readouterr()
    return status, out, err


def ok(capfd, *argv: object) -> dict:
    status, out, _ = run(capfd, *argv, "--json")
    assert status == 0
    return json.loads(out)  # one object, nothing before or after it


@pytest.fixture
def index(pictures: Path, tmp_path: Path, capfd) -> Path:
    ok(capfd, "index", pictures, "--out", tmp_path / "ix")
    return tmp_path / "ix"


def test_index_tells_what_it_did(pictures: Path, tmp_path: Path, capfd) -> None:
    status, out, err = run(capfd, "index", pictures, "--out", tmp_path / "ix", "--json")
    assert status == 0
    found = json.loads(out)
    assert (found["pages"], found["added"]) == (3, 3)
    assert found["duplicates"] == ["twin-cat.png page 1 is the same as sleeping-cat.png page 1."]
    assert [problem["source"] for problem in found["problems"]] == ["broken.pdf"]
    assert (found["encoder"], found["out"]) == ("Dummy", str(tmp_path / "ix"))
    assert found["seconds"] > 0
    assert found["pages_per_second"] > 0
    assert found["bytes"] == sum(f.stat().st_size for f in (tmp_path / "ix").rglob("*") if f.is_file())
    assert "broken.pdf" in err
    assert "loading shards" in err
    assert "a C library says hello" in err


def test_index_adds_to_what_is_there(index: Path, tmp_path: Path, capfd) -> None:
    Image.new("RGB", (9, 9), "red").save(tmp_path / "late.png")
    found = ok(capfd, "index", tmp_path / "late.png", "--out", index)
    assert (found["pages"], found["added"], found["problems"]) == (4, 1, [])
    again = ok(capfd, "index", tmp_path / "late.png", "--out", index)
    assert (again["pages"], again["added"], len(again["duplicates"])) == (4, 0, 1)


def test_search_gives_ranked_hits(index: Path, capfd) -> None:
    found = ok(capfd, "search", index, "sleeping cat", "--budget", "8x16", "-k", 2)
    assert (found["query"], found["budget"], found["pages"], found["encoder"]) == (
        "sleeping cat",
        "8x16",
        3,
        "Dummy",
    )
    first, second = found["hits"]
    assert (first["rank"], first["file"], first["page"], first["also"]) == (
        1,
        "sleeping-cat.png",
        1,
        ["twin-cat.png#1"],
    )
    assert first["title"].startswith("sleeping cat")
    assert first["score"] > second["score"]
    assert set(found["timings_ms"]) == {"encode", "coarse", "rerank", "words", "align", "total"}


def test_search_is_at_the_encoders_largest_budget_and_shows_what_it_was_trained_with(
    pictures: Path, tmp_path: Path, monkeypatch, capfd
) -> None:
    monkeypatch.setattr(commands, "load_encoder", lambda name: Ladder(THREE, "MeanMaxSim"))
    ok(capfd, "index", pictures, "--out", tmp_path / "ladder")
    found = ok(capfd, "search", tmp_path / "ladder", "energy")
    assert (found["budget"], found["similarity"]) == ("32x128", "MeanMaxSim")
    assert found["hits"][0]["score"] == pytest.approx(16, abs=0.01), "half of r_q"
    _, out, _ = run(capfd, "search", tmp_path / "ladder", "energy")
    assert "0.500" in out


def test_search_keeps_to_a_language(pictures: Path, tmp_path: Path, monkeypatch, capfd) -> None:
    read_by(monkeypatch, lambda page: replace(named(page), language="de" if "cat" in page.source else "en"))
    ok(capfd, "index", pictures, "--out", tmp_path / "ix")
    hits = ok(capfd, "search", tmp_path / "ix", "old invoice", "--language", "DE")["hits"]
    assert [(hit["file"], hit["language"]) for hit in hits] == [("sleeping-cat.png", "de")]
    status, _, err = run(capfd, "search", tmp_path / "ix", "old invoice", "--language", "fr")
    assert (status, "what is indexed is in en, de" in err) == (2, True)
    today = f"{datetime.now(timezone.utc):added:%Y-%m-%d..}"
    found = ok(capfd, "search", tmp_path / "ix", "cat", "--filter", f"lang:en type:png {today}")
    assert {hit["language"] for hit in found["hits"]} == {"en"}
    assert found["filter"] == f"type:png lang:en {today}"
    status, _, err = run(capfd, "search", tmp_path / "ix", "cat", "--filter", "pages:x")
    assert (status, "Write pages:3, pages:3-10" in err) == (2, True)


def test_notices_are_told_in_few_lines(pictures: Path, tmp_path: Path, monkeypatch, capfd) -> None:
    blank = ("is blank and was left out.",)
    read_by(monkeypatch, lambda page: replace(page if "cat" in page.source else named(page), notices=blank))
    status, out, err = run(capfd, "index", pictures, "--out", tmp_path / "ix")
    assert status == 0
    assert "2 pages added" in out
    assert "2 blank pages left out" in out
    assert "Notices: 4." in out
    assert err.count("is blank and was left out.") == 4
    found = ok(
        capfd, "index", pictures / "twin-cat.png", pictures / "old-invoice.png", "--out", tmp_path / "ix"
    )
    assert (found["added"], found["blank"]) == (0, 1)
    assert found["notices"][0]["page"] == 1
    status, _, err = run(capfd, "index", pictures / "twin-cat.png", "--out", tmp_path / "other")
    assert (status, "Every page is blank" in err) == (2, True)


def test_search_takes_a_picture(index: Path, pictures: Path, capfd) -> None:
    found = ok(capfd, "search", index, "--image", pictures / "old-invoice.png")
    assert found["image"] == str(pictures / "old-invoice.png")
    assert len(found["hits"]) == 3


def test_without_json_people_read_it(index: Path, pictures: Path, tmp_path: Path, capfd) -> None:
    status, out, _ = run(capfd, "search", index, "energy chart", "--auto")
    assert "Auto: 100.0% of the cells, 3 pages in full" in out
    assert "needs 50 pages; there are 3. Until then everything is scored in full." in out
    status, out, _ = run(capfd, "search", index, "energy chart")
    assert status == 0
    assert "energy-chart.png" in out
    assert "budget 16x64, 3 pages" in out
    status, out, _ = run(capfd, "index", pictures, "--out", tmp_path / "other")
    assert status == 0
    assert "3 pages added" in out


@pytest.mark.parametrize(
    ("argv", "match"),
    [
        (["index", "nowhere.pdf", "--out", "OUT"], "no such file or folder: nowhere.pdf"),
        (["index", "BROKEN", "--out", "OUT"], "No page could be read"),
        (["index", "EMPTY", "--out", "OUT"], "no files"),
        (["index", "PICTURES", "--out", "PICTURES"], "holds other files"),
        (["index", "PICTURES", "--out", "BROKEN"], "is a file"),
        (["index", "PICTURES"], "--out"),
        (["search", "nowhere", "cat"], "no index at nowhere"),
        (["search", "PICTURES", "cat"], "no manifest.json"),
        (["search", "INDEX", "   "], "query is empty"),
        (["search", "INDEX"], "query is empty"),
        (["search", "INDEX", "\u200b\u2060"], "query is empty"),
        (["search", "INDEX", "cat", "--budget", "lots"], "'lots' is not a budget"),
        (["search", "INDEX", "cat", "--budget", "0x4"], "at least one token"),
        (["search", "INDEX", "cat", "-k", "0"], "above 0"),
        (["search", "INDEX", "cat", "--image", "nowhere.png"], "nowhere.png does not exist"),
        (["search", "INDEX", "cat", "--image", "BROKEN"], "broken.pdf"),
        (["eval", "nowhere"], "no folder nowhere"),
        (["eval", "PICTURES"], "queries.jsonl is missing"),
        (["bench", "--sizes", "ten"], "'ten' is not"),
        (["fly"], "invalid choice"),
        ([], "required"),
    ],
)
def test_bad_input_is_status_2_and_a_word_on_standard_error(
    argv: list[str], match: str, index: Path, pictures: Path, tmp_path: Path, capfd
) -> None:
    (tmp_path / "empty").mkdir()
    places = {
        "INDEX": index,
        "PICTURES": pictures,
        "BROKEN": pictures / "broken.pdf",
        "OUT": tmp_path / "out",
        "EMPTY": tmp_path / "empty",
    }
    status, out, err = run(capfd, *[places.get(arg, arg) for arg in argv], *(["--json"] if argv else []))
    assert status == 2
    assert out == ""
    assert match in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_an_index_of_another_encoder_is_refused(index: Path, pictures: Path, monkeypatch, capfd) -> None:
    other = Chatty()
    other.fingerprint = "dummy-2"
    monkeypatch.setattr(commands, "load_encoder", lambda name: other)
    for argv in (["search", index, "cat"], ["index", pictures, "--out", index]):
        status, out, err = run(capfd, *argv, "--json")
        assert (status, out) == (2, "")
        assert "another encoder" in err


def test_an_unknown_or_missing_encoder_is_bad_input(index: Path, monkeypatch, capfd) -> None:
    def load(name: str):
        raise FileNotFoundError("The weights are missing: train them.")

    monkeypatch.setattr(commands, "load_encoder", load)
    status, out, err = run(capfd, "search", index, "cat", "--encoder", "x")
    assert (status, out) == (2, "")
    assert "weights are missing" in err


def test_an_interrupted_index_keeps_what_was_done(pictures: Path, tmp_path: Path, monkeypatch, capfd) -> None:
    told = []

    def interrupt(progress) -> None:
        told.append(progress)
        if len(told) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(commands, "tell", interrupt)
    status, out, _ = run(capfd, "index", pictures, "--out", tmp_path / "ix", "--json")
    assert status == 130
    found = json.loads(out)
    assert found["interrupted"]
    assert found["pages"] == found["added"] == 2  # the first of the three was the broken file
    assert ok(capfd, "search", tmp_path / "ix", "cat")["pages"] == 2


def judged(pictures: Path) -> None:
    queries = [{"_id": "1", "text": "energy chart"}, {"_id": "2", "text": "sleeping cat"}]
    (pictures / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    (pictures / "qrels").mkdir()
    (pictures / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\n1\tenergy-chart.png\t1\n2\ttwin-cat.png#1\t1\n2\tgone.pdf#4\t1\n"
    )


def test_baselines_are_of_the_encoders_own_text_path(pictures: Path, monkeypatch, capfd) -> None:
    asked: list[str] = []
    monkeypatch.setattr(baselines, "baselines", lambda *args: asked.append(args[-1]) or [])
    multilingual = Chatty()
    multilingual.text = types.SimpleNamespace(name="e5")
    judged(pictures)
    for encoder in (Chatty(), multilingual):
        monkeypatch.setattr(commands, "load_encoder", lambda name, found=encoder: found)
        ok(capfd, "eval", pictures, "--baselines")
    assert asked == ["minilm", "e5"]


def test_eval_prints_five_budgets(pictures: Path, tmp_path: Path, capfd) -> None:
    judged(pictures)
    status, out, err = run(capfd, "eval", pictures, "--json", "--index", tmp_path / "kept")
    assert status == 0
    found = json.loads(out)
    assert [row["budget"] for row in found["budgets"]] == ["1x1", "2x4", "4x8", "8x16", "16x64"]
    assert found["budgets"][-1]["recall@10"] == 0.75
    assert (found["missing"], found["missing_ids"]) == (1, ["gone.pdf#4"])
    assert "gone.pdf#4" in err
    assert [problem["source"] for problem in found["problems"]] == ["broken.pdf"]
    again = ok(capfd, "eval", pictures, "--index", tmp_path / "kept")
    for one, two in zip(found["budgets"], again["budgets"], strict=True):
        assert {k: v for k, v in one.items() if "ms" not in k} == {
            k: v for k, v in two.items() if "ms" not in k
        }
    kept = ["--trec", tmp_path / "trec", "--per-query", tmp_path / "a.csv"]
    status, out, _ = run(capfd, "eval", pictures, "--mode", "both", "--gqr", 5, *kept)
    assert status == 0
    assert "16x64" in out
    assert "16x64 over 8x16:" in out
    assert "16x64, both refined in 5 steps over both:" in out
    assert "1x1, both refined in 5 steps over meaning:" in out
    first = (tmp_path / "trec" / "1x1.run").read_text().splitlines()[0].split()
    assert (first[:2], first[3:]) == (["1", "Q0"], ["1", "1.000000", "metaembed-1x1"])
    assert (tmp_path / "trec" / "qrels.txt").read_text().splitlines()[-1] == "2 0 gone.pdf#4 1"
    beside = ok(capfd, "eval", pictures, "--runs", tmp_path / "trec" / "1x1.run")["baselines"]
    assert [row["name"] for row in beside] == ["metaembed-1x1"]
    status, _, err = run(capfd, "eval", pictures, "--runs", tmp_path / "a.csv")
    assert (status, "a.csv, line 1: expected" in err) == (2, True)
    assert run(capfd, "eval", pictures, "--runs", tmp_path / "none.run")[0] == 2
    assert (tmp_path / "a.csv").read_text().splitlines()[0] == "query,1x1,2x4,4x8,8x16,16x64"
    status, _, err = run(capfd, "eval", pictures, "--auto")
    assert (status, "A calibration needs 30 queries and 50 pages" in err) == (2, True)
    (pictures / "qrels" / "test.tsv").write_text("1\tgone.pdf\t1\n")
    status, out, err = run(capfd, "eval", pictures, "--json")
    assert (status, out) == (2, "")
    assert "None of the judged ids" in err


@pytest.mark.slow
def test_bench_measures_every_stage(pictures: Path, monkeypatch, capfd) -> None:
    monkeypatch.setattr(bench_module, "REPEATS", 3)
    monkeypatch.setattr(bench_module, "PATHS", type("Paths", (), {"sample_corpus": pictures}))
    found = ok(capfd, "bench", "--sizes", "5,30")
    assert "random" in found["note"]
    assert [size["pages"] for size in found["search"]] == [5, 30]
    for size in found["search"]:
        assert [row["budget"] for row in size["budgets"]] == ["1x1", "2x4", "4x8", "8x16", "16x64"]
        for row in size["budgets"]:
            assert 0 < row["rerank_ms"]["p50"] <= row["rerank_ms"]["p95"]
            assert row["total_ms"]["p50"] > 0
    assert found["indexing"]["pages"] == 4
    assert found["indexing"]["pages_per_second"] > 0
    assert found["memory_mb"]["resident"] > 10


def test_train_is_handed_its_own_arguments(monkeypatch) -> None:
    train = pytest.importorskip("metaembed_demo.training.mini.trainer")
    seen = []
    monkeypatch.setattr(train, "main", lambda argv: seen.append(argv) or 7)
    assert cli.main(["train", "--steps", "3"]) == 7
    assert seen == [["--steps", "3"]]


def test_help_lists_every_command_in_a_line(capfd) -> None:
    status, out, _ = run(capfd, "--help")
    assert status == 0
    for name, program in PROGRAMS.items():
        assert re.search(rf"^ +{name} +{re.escape(program.text)}$", out, re.MULTILINE), name


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_gets_its_own_arguments_and_says_what_is_missing(name: str, monkeypatch, capfd) -> None:
    seen = []
    program = types.ModuleType("program")
    program.main = lambda argv: seen.append(argv) or 7
    monkeypatch.setitem(sys.modules, PROGRAMS[name].module, program)
    assert cli.main([name, "--steps", "3"]) == 7
    assert seen == [["--steps", "3"]]
    monkeypatch.setitem(sys.modules, PROGRAMS[name].module, None)
    status, out, err = run(capfd, name)
    assert (status, out) == (2, "")
    assert err.startswith(f"metaembed_demo {name}: The Python package")


def test_samples_takes_no_options(capfd) -> None:
    assert run(capfd, "samples", "--help")[0] == 0
    assert run(capfd, "samples", "more")[0] == 2


@pytest.mark.slow
def test_standard_output_of_a_real_process_holds_the_object_alone(pictures: Path, tmp_path: Path) -> None:
    """In a process of its own, where a C library's prints bypass Python's."""
    code = (
        "import sys; import tests.cli.test_cli as t; "
        "t.commands.load_encoder = lambda name: t.Chatty(); "
        "from metaembed_demo.documents.sandbox.client import Rendered; "
        "Rendered.read = lambda rendered: t.named(rendered.page); "
        "sys.exit(t.cli.main())"
    )
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}

    def process(*argv: object) -> subprocess.CompletedProcess:
        return subprocess.run(
            [*command, *map(str, argv)],
            capture_output=True,
            text=True,
            env=environment,
            cwd=tmp_path,
            timeout=120,
        )

    made = process("index", pictures, "--out", "ix", "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["pages"] == 3
    assert "a C library says hello" in made.stderr
    assert process("search", "nowhere", "cat", "--json").returncode == 2
