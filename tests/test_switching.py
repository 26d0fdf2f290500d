"""Switching the encoder: the pages come along, a failure costs nothing, nobody's names leak."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from metaembed_demo import documents
from metaembed_demo.collection import Collection
from metaembed_demo.config import Space
from metaembed_demo.encoder import DummyEncoder, Encoder, affordable
from metaembed_demo.records import Page, Word
from metaembed_demo.session import Sessions
from metaembed_demo.stored import StoredPage
from metaembed_demo.switching import Encoders, switch
from metaembed_demo.visit import Tools, Visit


class Other(DummyEncoder):
    name, fingerprint = "Other", "other-1"


def load(name: str) -> Encoder:
    if name == "broken":
        raise FileNotFoundError("There are no weights in broken. Fetch them first.")
    if name == "worse":
        raise RuntimeError("CUDA error: device lost")
    return Other(dim=32)


def page(text: str, number: int, source: str = "guide.pdf") -> StoredPage:
    image = Image.new("RGB", (60, 80), (9 * number, 90, 90))
    return StoredPage.of(Page(f"p{number}", source, number, image, (Word(text, (0.1, 0.1, 0.3, 0.2)),)))


@pytest.fixture
def base() -> Collection:
    encoder = DummyEncoder()
    found = Collection.for_encoder(encoder)
    for number, text in enumerate(["tank", "train", "boat", "lens", "bread"], 1):
        stored = page(text, number)
        found.put(stored, encoder.encode_pages([Page(stored.id, "", 1, None, stored.words)])[0])
    return found


@pytest.fixture
def encoders(base: Collection) -> Encoders:
    return Encoders(["mini", "other", "broken", "worse"], Tools(DummyEncoder()), base, load)


@pytest.fixture
def visit(encoders: Encoders, base: Collection) -> Visit:
    sessions = Sessions(base)
    return Visit(encoders.tools("mini"), sessions.get(sessions.open()))


def test_pages_and_query_come_along(visit: Visit, encoders: Encoders) -> None:
    visit.search("boat")
    *running, done = switch(visit, encoders, "other")
    assert all(shelf.busy for shelf in running)
    assert "Loading other" in str(running[0].news)
    assert "5 pages encoded again" in str(done.news)
    assert not done.busy
    assert visit.collection.fingerprint == "other-1"
    assert visit.tools.encoder.name == "Other"
    assert visit.tools.curve is None, "it was measured with the other encoder"
    assert visit.session.chosen == "p3", "the open search was asked again"
    screen = visit.screen()
    assert "Other" in str(screen.header)
    assert screen.page, "its picture is sent anew"
    *_, back = switch(visit, encoders, "mini")
    assert visit.collection.fingerprint == "dummy-1"
    assert "encoded again" in str(back.news)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("broken", "Fetch them first"),
        ("worse", "device lost"),
        ("<b>", "There is no encoder called &lt;b&gt; here"),
    ],
)
def test_an_encoder_that_does_not_load_changes_nothing(
    visit: Visit, encoders: Encoders, name: str, told: str
) -> None:
    *_, last = switch(visit, encoders, name)
    assert told in str(last.news)
    assert visit.collection.fingerprint == "dummy-1"
    assert visit.search("boat").results
    assert visit.session.chosen == "p3"


def test_a_stop_changes_nothing(visit: Visit, encoders: Encoders) -> None:
    steps = switch(visit, encoders, "other")
    next(steps)
    next(steps)
    visit.stop.set()
    *_, last = steps
    assert "Stopped" in str(last.news)
    assert visit.collection.fingerprint == "dummy-1"


def test_samples_come_back_under_the_other_encoder(visit: Visit, encoders: Encoders) -> None:
    list(switch(visit, encoders, "other"))
    visit.clear()
    assert len(visit.collection) == 0
    visit.restore()
    assert len(visit.collection) == 5
    assert visit.collection.fingerprint == "other-1"


def test_no_visitors_file_names_reach_the_next(visit: Visit, encoders: Encoders, base: Collection) -> None:
    visit.collection.note_place("p1", ("my diary.pdf", 1))
    mine = page("secret", 9, "my diary.pdf")
    vectors = DummyEncoder().encode_pages([Page("p9", "", 1, None, mine.words)])[0]
    visit.collection.put(mine, vectors)
    list(switch(visit, encoders, "other"))
    shared = encoders.base(Other(dim=32), visit.collection, base)
    assert "p9" not in shared.pages
    assert all(source == "guide.pdf" for p in shared.pages.values() for source, _ in p.places)


def test_each_encoder_is_loaded_once(base: Collection) -> None:
    loaded: list[str] = []

    def counting(name: str) -> Encoder:
        loaded.append(name)
        return Other(dim=32)

    encoders = Encoders(["mini", "other"], Tools(DummyEncoder()), base, counting)
    assert encoders.tools("other") is encoders.tools("other")
    assert loaded == ["other"]
    assert encoders.name_of(encoders.tools("other")) == "other"
    assert np.isfinite(encoders.tools("other").encoder.dim)


def test_the_choice_is_shown_only_where_there_is_one() -> None:
    assert documents.encoders(["mini"], "mini") == ""
    shown = documents.encoders(["mini", "models/<qwen>"], "mini", busy=True)
    assert 'data-value="mini" disabled aria-pressed="true"' in shown
    assert "&lt;qwen&gt;" in shown


def test_a_space_without_a_gpu_falls_back_to_mini_and_says_so(visit: Visit) -> None:
    assert affordable("mini", Space(here=True, zero_gpu=False)) == ("mini", "")
    assert affordable("owner/name", Space(here=False, zero_gpu=False)) == ("owner/name", "")
    assert affordable("owner/name", Space(here=True, zero_gpu=True)) == ("owner/name", "")
    name, notice = affordable("owner/name", Space(here=True, zero_gpu=False))
    assert name == "mini"
    assert "owner/name needs a GPU" in notice
    visit.tools = replace(visit.tools, notice=notice)
    assert "owner/name needs a GPU" in str(visit.screen().header)
