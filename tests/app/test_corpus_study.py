"""The rooms Budget and Tokens of one visitor: what is measured, what is said of it, and how it stops."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from metaembed_demo.app.views import budget_tab
from metaembed_demo.app.visitors.corpus_study import MOST_QUERIES
from metaembed_demo.app.visitors.page_state import StudyRooms
from metaembed_demo.app.visitors.session import Sessions
from metaembed_demo.app.visitors.tools import Tools
from metaembed_demo.app.visitors.visitor import Visit
from metaembed_demo.collection import fitting
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core import disk
from metaembed_demo.core.budgets import STOPS
from metaembed_demo.core.config import PATHS
from metaembed_demo.core.types import Page, Upload, Word
from metaembed_demo.encoders.attribution import AttentionEvidence
from metaembed_demo.encoders.mini.encoder import Mini
from metaembed_demo.explain.explainer import explainer
from metaembed_demo.explain.token_statistics import PageStatistics, page_statistics, summary
from tests.support.dummy_encoder import DummyEncoder
from tests.support.sample_pages import keep_as

NOUNS = "tank pump valve steam water sugar bread train platform ticket museum harbour boat quay lens".split()  # noqa: SIM905


def stored(name: str, text: str) -> StoredPage:
    words = tuple(Word(w, (0.1, 0.01 * i, 0.3, 0.01 * i + 0.01)) for i, w in enumerate(text.split()))
    return StoredPage.of(Page(name, f"{name}.pdf", 1, Image.new("RGB", (60, 80), "white"), words))


def visiting(encoder: DummyEncoder | Mini, texts: dict[str, str]) -> Visit:
    collection = Collection.for_encoder(encoder)
    for name, text in texts.items():
        page = stored(name, text)
        bare = Page(name, page.source, 1, None, page.words)
        collection.put(page, encoder.encode_pages([bare])[0])
    sessions = Sessions(collection)
    return Visit(Tools(encoder, explainer=explainer(encoder)), sessions.get(sessions.open()))


@pytest.fixture
def visit() -> Visit:
    """Twelve pages of forty words."""
    random = np.random.default_rng(5)
    texts = {f"page{i:02}": " ".join([f"word{i}", *random.choice(NOUNS, 39)]) for i in range(12)}
    return visiting(DummyEncoder(), texts)


def write_labels(folder: Path, rows: str, queries: int = 2) -> list[Upload]:
    lines = [json.dumps({"_id": f"q{i}", "text": f"word{i} tank"}) for i in range(queries)]
    (folder / "queries.jsonl").write_text("\n".join(lines))
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + rows)
    return [Upload(folder / name, name) for name in ("qrels.tsv", "queries.jsonl")]


def carried(html: str, name: str) -> Any:
    """The JSON in attribute data-`name`."""
    found = re.search(rf"data-{name}='([^']*)'", html)
    assert found, html
    return json.loads(unescape(found[1]))


def shown(rooms: StudyRooms) -> str:
    """What is shown anew of the room Budget or Tokens."""
    return "".join(filter(None, (rooms.ways, rooms.worth, rooms.tokens)))


def room_of(visit: Visit) -> str:
    return shown(visit.budget_tab())


# Budget


def test_the_room_says_that_nothing_was_measured(visit: Visit) -> None:
    room = room_of(visit)
    assert "Not measured on these pages yet" in room
    assert 'data-action="known"' in room
    assert 'data-action="session"' not in room
    assert "Table 3" in visit.study.cost(visit.collection)


def test_measuring_with_queries_from_the_pages(visit: Visit) -> None:
    begun, *running, done = visit.measure("known")
    assert "progressbar" in str(begun.ways)
    assert "disabled" in str(begun.ways), "one measurement at a time"
    assert begun.worth is None, "charts stay"
    assert [step.done for step in running] == re.findall(r"<i data-region=.*?</i>", str(running))
    assert {step.ways or step.worth for step in running} == {None}, "and so does the button that stops it"
    assert "Timing" in str(running[-1].done)
    done = shown(done)
    assert "progressbar" not in done
    for told in ("Find my budget", "drawn from the pages themselves", "Kendall tau", "chart-tradeoff"):
        assert told in done
    assert visit.study.worth
    assert visit.study.worth.kind == "known items"
    assert 'data-action="use"' in done


def test_measuring_with_the_sessions_queries_says_it_is_agreement(visit: Visit) -> None:
    visit.search("tank pump")
    assert "Measure with my last search" in room_of(visit)
    visit.search("bread")
    assert "Measure with my 2 searches" in room_of(visit)
    done = shown(list(visit.measure("session"))[-1])
    assert "overlap@5" in done
    assert "agreement with the finest budget" in done
    assert not re.search("(the|full) quality", done)


def test_all_exports_of_the_room_say_the_same_of_where_they_come_from(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(visit.measure("known"))
    begun, *steps, _ = visit.measure_ways()
    assert 'data-action="stop"' in str(begun.sheet)
    assert sum(step.sheet is not None for step in steps) < 6 < sum(step.done is not None for step in steps)
    shipped = disk.read_json(PATHS.shipped_fit)["MetaEmbed-Mini"]["fingerprint"]
    found = fitting.calibration_of(shipped)
    assert found
    monkeypatch.setitem(fitting._measured, visit.tools.encoder.fingerprint, found)
    charts = [room_of(visit), visit.sheet(), visit.index_size(), visit.reliability()]
    told = [carried(chart, "from") for chart in charts]
    wanted = {
        "queries",
        "labels",
        "pages",
        "encoder",
        "fingerprint",
        "storage",
        "machine",
        "versions",
        "measured",
    }
    for each in told:
        assert wanted <= set(each)
        assert each["fingerprint"] == visit.tools.encoder.fingerprint
    queries, worth = [each["queries"] for each in told], visit.study.worth
    assert worth
    assert queries == [worth.queries, worth.queries, 0, found.own + found.foreign]
    monkeypatch.setattr(fitting, "is_shipped", lambda fingerprint: True)
    assert "shipped" in carried(visit.reliability(), "from")["measured"], "when is not known here"
    head, *rows = carried(charts[1], "queries")
    assert len(rows) == worth.queries
    assert [f"quality {stop}" for stop in STOPS] == head[1:6]
    assert "quality 16x64 int8 meaning" in head
    assert all(len(row) == len(head) for row in rows)
    assert 'data-save="queries"' in charts[1]


def test_the_share_changes_the_advice(visit: Visit) -> None:
    list(visit.measure("known"))
    visit.study.share = 0.99
    assert 'data-value="0.99" aria-pressed="true"' in room_of(visit)


def test_measuring_stops_when_asked(visit: Visit) -> None:
    measuring = visit.measure("known")
    next(measuring)
    visit.study.stop.set()
    assert "progressbar" in room_of(visit), "where the room is opened again"
    *_, last = measuring
    assert visit.study.worth is None
    assert "Not measured" in shown(last)
    assert "progressbar" not in room_of(visit)


def test_a_change_of_the_pages_drops_what_was_measured(visit: Visit) -> None:
    list(visit.measure("known"))
    visit.remove("page00.pdf")
    assert visit.study.worth is None
    assert "11 pages" in room_of(visit)


def test_another_storage_drops_what_was_measured_and_keeps_the_labels(visit: Visit, tmp_path: Path) -> None:
    visit.study.take_labels(write_labels(tmp_path, "q0\tpage00.pdf\t1\n"), visit.collection)
    list(visit.measure("labels"))
    keep_as(visit.collection, "int8")
    visit.refresh()
    assert visit.study.worth is None
    assert 'data-action="labels"' in room_of(visit)
    visit.remove("page01.pdf")
    assert 'data-action="labels"' not in room_of(visit)


def test_what_an_index_costs_names_how_it_is_kept(visit: Visit) -> None:
    dim = visit.collection.index.dim
    assert f"D = {dim}, fp16" in visit.index_size()
    keep_as(visit.collection, "binary")
    assert f"D = {dim}, binary" in visit.index_size()


def test_pages_without_text_ask_for_labels() -> None:
    visit = visiting(DummyEncoder(), {"a": "", "b": "sun"})
    *_, last = visit.measure("known")
    assert "too little text" in shown(last)


def test_an_empty_collection_offers_nothing() -> None:
    room = room_of(visiting(DummyEncoder(), {}))
    assert "data-action" not in room
    assert "No pages to measure yet" in room


def test_an_empty_collection_has_nothing_for_tokens_to_read(mini: Mini) -> None:
    study = visiting(mini, {}).study
    read = study.read_all(Collection.for_encoder(mini))
    for room in (study.tokens(empty=True), *map(shown, read)):
        assert "No pages to read yet" in room
        assert "data-action" not in room


def test_a_room_opened_again_shows_what_is_being_read(mini: Mini) -> None:
    visit = visiting(mini, {"a": "the moon rose over the hill", "b": "bread is baked in the morning"})
    steps = visit.read_all()
    next(steps)
    again = visit.tokens_tab()
    assert "progressbar" in again
    assert 'data-action="stop"' in again
    assert 'data-action="read"' not in again
    list(steps)
    assert "progressbar" not in visit.tokens_tab()


# Labels


def test_labels_are_taken_and_measured(visit: Visit, tmp_path: Path) -> None:
    visit.study.take_labels(write_labels(tmp_path, "q0\tpage00.pdf\t1\nq1\tgone.pdf\t1\n"), visit.collection)
    room = room_of(visit)
    assert "Measure with 2 queries of yours" in room
    assert "gone.pdf" in room
    *_, done = visit.measure("labels")
    assert "your labelled queries" in shown(done)


@pytest.mark.parametrize(
    ("rows", "names", "told"),
    [
        ("q0\tpage00.pdf\n", ["qrels.tsv", "queries.jsonl"], "line 2"),
        ("q0\tpage00.pdf\t1\n", ["queries.jsonl"], "two files together"),
        ("q9\tpage00.pdf\t1\n", ["qrels.tsv", "queries.jsonl"], "judgement"),
    ],
)
def test_bad_labels_are_told(visit: Visit, tmp_path: Path, rows: str, names: list[str], told: str) -> None:
    files = [file for file in write_labels(tmp_path, rows) if file.name in names]
    visit.study.take_labels(files, visit.collection)
    assert visit.study.labels is None
    room = room_of(visit)
    assert told in room
    assert str(tmp_path) not in room, "no path of this machine"
    *_, last = visit.measure("labels")
    assert "There are no labels yet" in shown(last)


def test_too_many_labels_are_refused(visit: Visit, tmp_path: Path) -> None:
    rows = "".join(f"q{i}\tpage00.pdf\t1\n" for i in range(MOST_QUERIES + 1))
    visit.study.take_labels(write_labels(tmp_path, rows, MOST_QUERIES + 1), visit.collection)
    assert visit.study.labels is None
    assert "too many" in visit.study.problem


# Tokens


def test_page_statistics_by_hand() -> None:
    """Four words and a cell; token 0 reads all alike, token 1 the last word alone."""
    words = (
        *(Word(text, (0, 0, 1, 1)) for text in "abc"),
        Word("d", (0, 0, 1, 1), "ocr"),
        Word("", (0, 0, 1, 1), "visual"),
    )
    attention = np.array([[[0.2] * 5, [0, 0, 0, 1, 0]]], np.float32)
    one = np.ones((5, 1, 1), np.float32)
    found = page_statistics(
        AttentionEvidence(
            words, attention, one, np.arange(5), np.ones((1, 1), np.float32), np.ones(2, np.float32)
        )
    )
    np.testing.assert_allclose(found.words, [5, 1], rtol=1e-5)
    np.testing.assert_allclose(found.place, [0.5, 0.875])
    np.testing.assert_allclose(found.low, [0.125, 0.875])
    np.testing.assert_allclose(found.high, [0.875, 0.875])
    np.testing.assert_allclose(found.kinds, [[0.6, 0.2, 0, 0.2], [0, 1, 0, 0]], atol=1e-6)
    assert not found.long


def test_places_come_from_long_pages_and_kinds_from_all() -> None:
    def made(long: bool, place: float, text: float) -> PageStatistics:
        each = np.full(2, place, np.float32)
        return PageStatistics(
            long,
            each,
            each,
            each,
            each,
            np.array([[text, 0, 1 - text, 0]] * 2, np.float32),
            np.array([[1.0, 0, 0, 0, 0, 0]] * 2, np.float32),
            each,
            each,
        )

    (first, _) = summary([made(True, 0.2, 1.0), made(True, 0.4, 1.0), made(False, 0.9, 0.0)])
    assert first.place == pytest.approx(0.3)
    assert first.kinds["text"] == pytest.approx(2 / 3)
    assert summary([made(False, 0.5, 1.0)]) == []


def test_coarse_tokens_read_more_than_fine_ones(mini: Mini) -> None:
    text = " ".join(f"The {NOUNS[i % 15]} number {i} is checked on day {i}." for i in range(40))
    visit = visiting(mini, {"a": text, "b": text + " And so on."})
    *_, last = visit.study.read_all(visit.collection)
    found = visit.study.read
    assert found[0].words > found[1].words > found[20].words
    assert found[16].place < 0.1 < 0.9 < found[63].place
    assert [token.token for token in found] == list(range(64))
    assert "chart-specialisation" in str(last.tokens)
    kept = [visit.tools.token_statistics.get(page) for page in visit.collection.pages.values()]
    assert len(kept) == 2
    assert all(kept), "kept, so that the next visitor does not wait"


def test_reading_stops_when_asked(mini: Mini) -> None:
    visit = visiting(mini, {f"p{i}": f"{NOUNS[i]} and more " * 40 for i in range(9)})
    reading = visit.study.read_all(visit.collection)
    assert "progressbar" in str(next(reading).tokens)
    assert "Read 4 of 9 pages" in str(next(reading).done)
    visit.study.stop.set()
    assert "progressbar" not in str(list(reading)[-1].tokens)
    assert visit.study.pages < 9


def test_an_encoder_that_cannot_tell_has_no_tokens_to_show(visit: Visit) -> None:
    assert list(visit.study.read_all(visit.collection)) == []
    assert "does not tell" in visit.study.tokens()


def test_progress_names_what_it_counts() -> None:
    assert budget_tab.counted("Read", 1, 0, "page") == "Read 1 of 0 pages"
    assert "Asked 3 of 7 queries" in budget_tab.progress("Asked 3 of 7 queries", 3, 7)


def test_the_room_marks_the_budget_in_use(visit: Visit) -> None:
    list(visit.measure("known"))
    rooms = set()
    for stop in STOPS:
        visit.budget = stop
        rooms.add(room_of(visit))
    assert len(rooms) == len(STOPS)
