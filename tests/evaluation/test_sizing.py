"""Sizing: the arithmetic, and that the tables of docs/scale.md are up to date."""

from __future__ import annotations

import re

import pytest

from metaembed_demo.app.views.index_size_chart import PAPER
from metaembed_demo.core.budgets import BUDGETS
from metaembed_demo.index.quantization import codec
from scripts import sizing
from scripts.sizing import GIB, bytes_a_page, filled, hours, nodes, pages_in, qdrant_bytes, size, span


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
        made = sizing.PAPER_PAGES * bytes_a_page("float16", sizing.PAPER_DIM, BUDGETS[stop][1]) / GIB
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


def test_one_case_shows_its_arithmetic(capsys) -> None:
    sizing.main(["--pages", "2e6", "--ram", "16", "--rate", "2", "--workers", "10", "--price", "0.5"])
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "float16: 2,000,000 x 16,384 B = 30.5 GiB, 3 machine(s) of 16 GiB"
    assert told[-2:] == [
        "encode: 2,000,000 / (2 x 10) a second = 27.8 h",
        "encode: 277.8 h x 0.5 = 138.89",
    ]
    with pytest.raises(SystemExit):
        sizing.main(["--pages", "-1"])
    assert "above 0" in capsys.readouterr().err
