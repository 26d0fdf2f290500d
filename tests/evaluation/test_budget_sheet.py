"""The sheet of a decision: what is measured, what is computed and from what, and what a decision says."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from metaembed_demo.cli import decide
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.budgets import OURS, STOPS, Budget
from metaembed_demo.evaluation.advice import cheapest
from metaembed_demo.evaluation.budget_sheet import Corpus, Measured, sheet
from metaembed_demo.evaluation.decision import Command, Origin, markdown
from metaembed_demo.evaluation.known_items import Asked, known_items
from metaembed_demo.evaluation.search_times import FIRST_LOOK, ScoringTimes, scoring_times
from metaembed_demo.evaluation.way_study import BY_WORDS, Way, measure_ways
from metaembed_demo.index.quantization import KINDS
from tests.evaluation.test_budget_study import worth_of
from tests.support.dummy_encoder import DummyEncoder
from tests.support.sample_pages import make_page

NOUNS = "tank pump valve steam water sugar bread train platform ticket museum harbour boat quay lens".split()  # noqa: SIM905
ENCODER = DummyEncoder(16)
SHORT = ScoringTimes(  # a thousandth of a ms a cell, whatever the kind
    OURS,
    16,
    {(kind, stop): stop.r_q * stop.r_c / 1e3 for kind in KINDS for stop in (*STOPS, FIRST_LOOK)},
)


@pytest.fixture(scope="module")
def pages() -> Collection:
    random, found = np.random.default_rng(5), Collection.for_encoder(ENCODER)
    for i in range(12):
        page = make_page(f"{i}.pdf", 1, " ".join([f"word{i}", *random.choice(NOUNS, 39)]))
        found.put(StoredPage.of(page), ENCODER.encode_pages([page])[0])
    return found


def test_every_way_is_measured_and_the_pages_stay_as_they_are(pages: Collection) -> None:
    index, asked = pages.index, known_items(pages)[:3]
    steps = list(measure_ways(pages, ENCODER, asked, threading.Event()))
    found = {way: worth for step in steps for way, worth in step.found.items()}
    assert set(found) == {
        Way(stop, kind, mode) for kind in KINDS for mode in ("meaning", "both") for stop in (*STOPS, None)
    } | {BY_WORDS}
    assert steps[-1].done == steps[-1].total == 3 * len(KINDS)
    assert all(len(worth.each) == 3 for worth in found.values())
    assert found[BY_WORDS].quality > 0.5, "a sentence of a page finds it among the first"
    assert found[Way(None, "int8")].cells == 1, "too few pages to calibrate: everything is scored"
    assert (pages.index, index.storage) == (index, "float16")


def test_a_stop_keeps_the_kinds_that_were_done(pages: Collection) -> None:
    stop, found = threading.Event(), set()
    for step in measure_ways(pages, ENCODER, [Asked(known_items(pages)[0].query)], stop):
        found |= {way.storage for way in step.found if way != BY_WORDS}
        if found:
            stop.set()
    assert found == {"float16"}


def test_scoring_grows_as_the_cascade_does() -> None:
    """Up to 5,000 pages all are scored, above them a scan of (8, 16) and a thousand candidates or more."""
    assert SHORT.search(5_000, STOPS[-1], "float16") == pytest.approx(5_000 * 1.024)
    assert SHORT.search(20_000, STOPS[-1], "float16") == pytest.approx(20_000 * 0.128 + 1_000 * 1.024)
    assert SHORT.auto(5_000, 0.25, "pq") == pytest.approx(1_280)
    measured = scoring_times(OURS, 16)
    assert min(measured.ms.values()) > 0


def test_the_sheet_marks_what_was_measured_and_says_from_what_the_rest_is() -> None:
    worth = worth_of(*[[0.5, 1.0]] * 5, pages=100)
    corpus = Corpus(100, OURS, 16, "float16", held=204_800)
    here, there = (
        {row.way: row for row in sheet(corpus, n, Measured(worth, times=SHORT))} for n in (100, 10**6)
    )
    full = Way(Budget(16, 64), "float16")
    assert (here[full].memory.value, here[full].memory.measured) == (204_800, True)
    assert (here[full].latency.value, here[full].latency.measured) == (16.0, True), "the p50 of `worth_of`"
    assert here[full].quality.value == there[full].quality.value == 0.75
    assert "on 100 pages" in there[full].quality.told
    row = there[full]
    assert (row.memory.value, row.memory.measured) == (10**6 * (64 * 16 * 2 + 16 * 16 + 4), False)
    scored = SHORT.search(10**6, STOPS[-1], "float16")
    assert row.latency.value == pytest.approx(scored), "a search of 100 was quicker than its scoring says"
    assert not row.latency.measured
    assert "Inverted lists" in row.latency.told
    assert there[Way(Budget(1, 1), "binary")].memory.value == 10**6 * 2
    assert there[Way(Budget(1, 1), "binary")].quality.value is None
    assert there[Way(None, "float16")].latency.value is None, "nothing tells Auto's share of cells"


def test_a_decision_names_what_it_rests_on() -> None:
    worth = worth_of(*[[1.0] * 12] * 5)
    rows = sheet(Corpus(100, OURS, 16, "float16"), 10**5, Measured(worth, times=SHORT))[:3]
    made = Origin("Dummy", "dummy-1", "float16", worth, "2026-11-30T00:00:00+00:00")
    text = markdown(made, cheapest(worth), rows, 10**5, Command("mini", 0.95, 10**5))
    assert text.startswith(
        "# Budget for 100,000 pages\n\n**1x1.** 1x1 keeps 100% of 16x64's nDCG@5 on 12 known-item"
    )
    for told in ("- queries: 12", "- pages: 100", "- machine: ", "- versions: metaembed-demo", "2026-11-30"):
        assert told in text
    assert "python -m metaembed_demo decide DIR --share 0.95 --pages 100000\n" in text
    few = worth_of(*[[1.0] * 9] * 5)
    held = markdown(
        Origin("Dummy", "d", "float16", few), cheapest(few), rows, 100, Command("mini", 0.95, 100)
    )
    assert "**No recommendation.** 9 known-item queries over 100 pages cannot tell" in held
    assert "Sure is 16x64." in held


def test_the_command_decides_on_a_saved_index(pages: Collection, tmp_path: Path, monkeypatch, capsys) -> None:
    pages.save(tmp_path / "index")
    monkeypatch.setattr(decide, "load_encoder", lambda name: ENCODER)
    assert decide.main([str(tmp_path / "index"), "--pages", "1e5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["pages"], found["origin"]["pages"], len(found["rows"])) == (10**5, 12, 49)
    assert decide.main([str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err
