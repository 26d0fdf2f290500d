"""How many bytes a search, its explanation and a move of the dial send: the same on every machine."""

from __future__ import annotations

import json
from collections.abc import Iterator

import gradio as gr
import pytest
from PIL import Image

from metaembed_demo.app.ui import page as page_module
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.types import Page, Word
from metaembed_demo.encoders.mini.encoder import Mini
from tests.support.app_server import Tab

TITLES = (
    "Descaling the machine and cleaning its brew group",
    "Energy used in each quarter, by building and by kind",
    "Regional trains between Bern, Olten and the lake",
    "Minutes of the board meeting of the fourteenth of March",
    "How leave is requested, approved and carried over",
    "Invoice for forty garden chairs and their delivery",
    "Tide tables of the north quay for the summer months",
    "A restored violin from Cremona and its provenance",
    "Rye bread without wheat: sourdough in three days",
    "Safety instructions for the use of the steam wand",
    "Opening hours and tickets of the harbour museum",
    "Accident report: the fork-lift at the loading bay",
)
BODY = (
    "Before you begin, switch the appliance off and let it cool for at least thirty minutes. Fill the tank "
    "up to the mark, add the contents of one sachet and close the lid. Costs fell by 12.5% against the year "
    "before, which the “west wing” explains: its windows were replaced in May & June. "
)
# Bytes with ten hits. At 1x1 one vector reads the whole of these repetitive pages: most words are marked.
SEARCH, EXPLANATION, DIAL, AGAIN = 60_000, 40_000, 28_000, 2_500


def made_page(number: int, title: str) -> Page:
    """A page of some 250 words in lines, under its title."""
    words = [
        Word(word, (0.1 + 0.08 * i, 0.05, 0.17 + 0.08 * i, 0.09)) for i, word in enumerate(title.split())
    ]
    text = (f"{title}. " + BODY) * 4
    for i, word in enumerate(text.split()):
        left, top = 0.08 + 0.07 * (i % 12), 0.12 + 0.03 * (i // 12)
        words.append(Word(word, (left, top, left + 0.06, top + 0.02)))
    image = Image.effect_noise((850, 1100), 60).convert("RGB")
    return Page(f"{number:020x}", f"report-of-the-year-{number}.pdf", number, image, tuple(words))


@pytest.fixture(scope="module")
def tab(mini: Mini, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    base = Collection.for_encoder(mini)
    for number, title in enumerate(TITLES, 1):
        page = made_page(number, title)
        base.put(StoredPage.of(page), mini.encode_pages([page])[0])
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        app, options = page_module.build_ui(mini, base)
        app.launch(server_name="127.0.0.1", quiet=True, prevent_thread_lock=True, **options)
        yield _arrived(app)
        app.close()


def _arrived(app: gr.Blocks) -> Tab:
    tab = Tab(app.local_url.rstrip("/"))
    tab.send(None, "load")
    return tab


def size(told: str) -> int:
    assert '"success":false' not in told
    assert "base64" not in told
    assert "data:image" not in told
    return len(told.encode())


def test_a_search_and_what_follows_send_little(tab: Tab) -> None:
    told = tab.send("query", "submit", data=["how do I descale the machine?"])
    assert told.count('class=\\"hit\\"') == 10
    assert "data-pending" in told
    assert size(told) < SEARCH
    told = tab.send("marks", "submit", {})
    assert "data-map" in told
    assert size(told) < EXPLANATION
    assert size(tab.send("marks", "submit", {})) < AGAIN, "nothing is sent twice"
    again = tab.send("query", "submit", data=["which machine needs to be descaled, and how?"])
    assert "data-map" in again, "the page was read lately"
    assert size(again) < SEARCH


def test_a_move_of_the_dial_sends_less(tab: Tab) -> None:
    tab.send("query", "submit", data=["how do I descale the machine?"])
    tab.send("marks", "submit", {})
    for stop in (0, 3, 1, 4):
        told = tab.send("dial", "input", {"stop": stop})
        assert told.count('class=\\"hit\\"') == 10
        assert size(told) < DIAL
        assert "page.jpg" not in told, "the open page stays"


@pytest.mark.parametrize("name", ["Page map", "Ranks", "Timing", "Alignment"])
def test_every_evidence_tab_is_small_and_comes_alone(tab: Tab, name: str) -> None:
    tab.send("query", "submit", data=["how do I descale the machine?"])
    tab.send("marks", "submit", {})
    told = tab.send("evidence-tabs", "select", {"value": name, "index": 0, "selected": True})
    assert size(told) < SEARCH
    assert 'class=\\"hit\\"' not in told
    tab.send("evidence-tabs", "select", {"value": "Alignment", "index": 0, "selected": True})


def test_pictures_and_readings_are_fetched_once_and_kept(tab: Tab) -> None:
    told = tab.send("query", "submit", data=["opening hours of the museum"])
    told += tab.send("marks", "submit", {})
    at = told.split('data-reading=\\"')[1].split('\\"')[0]
    got = tab.http.get(f"/{at}")
    assert "immutable" in got.headers["cache-control"]
    assert len(got.content) < 120_000
    assert len(json.loads(got.content)["read"]) == 64
