"""Sizing: the arithmetic, and that the tables of docs/scale.md are up to date."""

from __future__ import annotations

import json
import re

import pytest

from metaembed_demo.cli import sizing as command
from metaembed_demo.core.budgets import BUDGETS
from metaembed_demo.evaluation.sizing import (
    GIB,
    PAPER,
    PAPER_DIM,
    PAPER_PAGES,
    bytes_a_page,
    disk,
    hours,
    memory,
    nodes,
    pages_in,
    span,
)
from metaembed_demo.index.quantization import codec
from scripts import sizing
from scripts.sizing import filled, qdrant_bytes, size


def test_the_document_holds_what_the_script_prints(tmp_path, monkeypatch, capsys) -> None:
    text = sizing.DOCUMENT.read_text(encoding="utf-8")
    marks = re.findall(r"<!-- table: ([\w-]+) -->", text)
    assert sorted(marks) == sorted(sizing.TABLES), "every table once"
    assert text.count("<!-- end -->") == len(marks)
    assert filled(text) == text, "run: python scripts/sizing.py --write"
    sizing.main([])
    printed = capsys.readouterr().out
    assert all(made() in printed for made in sizing.TABLES.values())
    copy = tmp_path / "scale.md"
    copy.write_text(text.replace("| 100,000 |", "| 100,001 |"))
    monkeypatch.setattr(sizing, "DOCUMENT", copy)
    sizing.main(["--write"])
    assert copy.read_text() == text


def test_a_mark_that_names_no_table_is_an_error() -> None:
    with pytest.raises(KeyError, match="nonsense"):
        filled("<!-- table: nonsense -->\n<!-- end -->")


@pytest.mark.parametrize("dim", [128, 384])
@pytest.mark.parametrize("kind", ["float16", "int8", "binary"])
def test_bytes_are_those_of_the_codecs(kind: str, dim: int) -> None:
    assert bytes_a_page(kind, dim) == codec(kind, 64, dim).bytes_per_page(64)


def test_the_prefix_and_pq_are_those_of_the_layout() -> None:
    assert bytes_a_page("int8 prefix of 16", 128) == codec("int8", 64, 128).bytes_per_page(16) == 2052
    assert [bytes_a_page("pq", dim) for dim in (128, 384)] == [64 * 32, 64 * 96]


def test_the_papers_sizes_follow_from_its_setting() -> None:
    for stop, (gib, _) in PAPER.items():
        made = PAPER_PAGES * bytes_a_page("float16", PAPER_DIM, BUDGETS[stop][1]) / GIB
        assert made == pytest.approx(gib, abs=0.015)


def test_nodes_hold_all_pages_and_one_fewer_does_not() -> None:
    for pages in sizing.SIZES:
        needed = nodes(pages, 2052, 64)
        assert needed * pages_in(64, 2052) >= pages > (needed - 1) * pages_in(64, 2052)


def test_a_small_case_by_hand() -> None:
    assert size(1024 * bytes_a_page("binary", 128)) == "0.00 GiB"
    assert size(2**20 * bytes_a_page("float16", 128)) == "16.0 GiB"
    assert hours(3_600_000, 10) == 100
    assert span(hours(3_600_000, 10)) == "4.2 days"
    assert qdrant_bytes(128, coarse_only=False) == 1.5 * (23_808 + 128)


def test_rates_are_the_measured_ones_a_core() -> None:
    found = sizing.json.loads(sizing.LAPTOP.read_text())
    scan = found["indexing"]["scan"]["pages_a_second"] / found["machine"]["cores"]
    assert sizing.measured_rates()["scan"] == scan
    assert f"scan: {scan:.2f} a second and core" in sizing.encoding()


def test_memory_and_disk_by_hand() -> None:
    """Ten pages of 4 x 128: float16 takes 1,024 B each, int8 512 and its scale; full vectors stay on disk."""
    assert (memory(10, "float16", 128, 4), memory(10, "int8", 128, 4)) == (10_240, 5_160)
    assert disk(10, "int8", 128, 4) - disk(10, "float16", 128, 4) == 5_160
    assert memory(10_000, "float16", 128, 64) == 10_000 * (16_384 + 2_052), "with the prefix that is scanned"


def test_the_command_sizes_a_case_at_every_stop(capsys) -> None:
    case = ["--pages", "2e6", "--dim", "128", "--ram", "16", "--no-latency"]
    assert command.main([*case, "--rate", "2", "--workers", "10", "--price", "0.5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["pages"], len(told["rows"])) == (2_000_000, 20)
    rows = {(row["storage"], row["stop"]): row for row in told["rows"]}
    assert rows["float16", "16x64"] == {
        "storage": "float16",
        "stop": "16x64",
        "bytes_per_page": 16_384,
        "memory_bytes": 2_000_000 * (16_384 + 2_052),
        "disk_bytes": 2_000_000 * (16_384 + 2_052 + 80_800 + 2_100),
        "machines": 4,
    }
    assert (told["encode_hours"], told["encode_cost"]) == (27.778, 138.89)
    command.main(case)
    assert "37 GB" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        command.main(["--pages", "-1"])
    assert "whole number" in capsys.readouterr().err
