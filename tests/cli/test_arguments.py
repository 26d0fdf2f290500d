"""How the command line is read: order, dashes, and bytes that are no text."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from metaembed_demo.cli.parser import parse
from metaembed_demo.core.config import ROOT
from tests.cli.test_cli import named, ok, quick, run  # noqa: F401  (a fixture)

FORMS = [
    (["D", "a query"], {}),
    (["D", "--json", "a query"], {"json": True}),
    (["-k", "3", "D", "a query"], {"k": 3}),
    (["D", "-k", "3", "a query"], {"k": 3}),
    (["D", "-k3", "a query", "--json"], {"k": 3, "json": True}),
    (["--json", "--", "D", "a query"], {"json": True}),
    (["D", "--image", "-my picture.png", "a query"], {"image": Path("-my picture.png")}),
    (["--budget=2x4", "D", "a query", "--exact"], {"exact": True}),
]


@pytest.mark.parametrize(("given", "told"), FORMS)
def test_options_in_any_order(given: list[str], told: dict[str, object]) -> None:
    options = vars(parse(["search", *given]))
    assert (options["index"], options["query"]) == (Path("D"), "a query")
    assert {name: options[name] for name in told} == told


@pytest.mark.parametrize(
    "query",
    ["-20 degrees", "-20", "-kettle", "-k nearest", "-help", "-- a dash", "-", "--boathouse", "--no-such"],
)
def test_a_query_that_begins_with_a_dash(query: str) -> None:
    for given in (["D", query, "--json"], ["--json", "D", query], ["-k", "3", "D", "--json", query]):
        options = parse(["search", *given])
        assert (options.query, options.json) == (query, True)


@pytest.mark.parametrize("query", ["-k", "--json", "--", "-h", "--no-such"])
def test_two_dashes_end_the_options(query: str) -> None:
    options = parse(["search", "D", "--json", "--", query])
    assert (options.query, options.json, options.k) == (query, True, 10)


def test_files_after_two_dashes() -> None:
    options = parse(["index", "a.pdf", "--out", "D", "b.pdf", "--", "-c.pdf", "--out"])
    assert options.paths == [Path(name) for name in ("a.pdf", "b.pdf", "-c.pdf", "--out")]
    assert options.out == Path("D")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["search", "D", "--jsn"], "unrecognized arguments: --jsn"),
        (["search", "D", "one", "two"], "unrecognized arguments: two"),
        (["search", "D", "--imag=a.png", "--exat"], "unrecognized arguments: --exat"),
        (["search", "D", "one", "--two"], "unrecognized arguments: --two"),
        (["search", "D", "--", "one", "--json"], "unrecognized arguments: --json"),
        (["search", "D", "-k", "-3", "one"], "argument -k"),
        (["search"], "required: DIR"),
        (["index", "-x.pdf", "--out", "D"], "required: PATH"),
        (["sarch", "D"], "invalid choice: 'sarch'"),
    ],
)
def test_what_is_refused(given: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(given)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert said in told
    assert "\0" not in told


def test_names_and_queries_of_any_bytes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder, index = tmp_path / "in", os.fsdecode(os.fsencode(tmp_path) + b"/ix\xff")
    folder.mkdir()
    for at, name in enumerate(
        [b"two\nlines-cat.png", b"stra\xdfe-dog.png", b"tab\there.py", b"bad\n\xff.pdf"]
    ):
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            if name.endswith(b".png"):
                Image.new("RGB", (40 + at, 40)).save(file, "PNG")
            else:
                file.write(b"print()")
    status, out, err = run(capfd, "index", folder, "--out", index)
    assert status == 0
    assert "2 pages added" in out.splitlines()[-1]
    assert "bad \ufffd.pdf is not a PDF" in err
    assert "tab here.py was skipped" in err
    told = ok(capfd, "index", folder, "--out", index)
    assert len(told["duplicates"]) == 2
    assert told["out"].endswith("ix\ufffd")
    status, out, _ = run(capfd, "search", index, "cat \udce9")
    assert status == 0
    rows = [line for line in out.splitlines() if "-cat.png" in line or "-dog.png" in line]
    assert len(rows) == 2
    assert any("two lines-cat.png" in row for row in rows)
    hits = ok(capfd, "search", index, "cat \udce9")["hits"]
    assert {hit["file"] for hit in hits} == {"two\nlines-cat.png", "stra\ufffde-dog.png"}


def test_a_real_process_takes_such_bytes(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "metaembed_demo",
        "search",
        str(tmp_path / "none"),
        b"-stra\xdfe \n",
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert json.loads(done.stdout or b"{}") == {}
