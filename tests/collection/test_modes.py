"""Ranking by meaning, by words and by both, on pages whose answer is visible by eye."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from metaembed_demo.collection import index_file
from metaembed_demo.collection.calibration import OWN, Auto
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.modes import MODES
from metaembed_demo.collection.ranker import How
from metaembed_demo.collection.search import research, search
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.budgets import STOPS, Budget
from metaembed_demo.core.types import Page, Query, Upload, Word
from metaembed_demo.index.auto import Calibration
from metaembed_demo.index.cascade import Stage
from tests.support.dummy_encoder import DummyEncoder

ENCODER = DummyEncoder()
TEXTS = {
    "spanner": "adjustable spanner part AX-4711-B for the garden gate",
    "hammer": "claw hammer part AX-4712-C for the garden shed",
    "receipt": "receipt of the garden centre, reference ZR-5500/12",
    "poem": "a poem about the sea and the wind",
    "minutes": "minutes of the annual meeting on fees",
    "gate": "how to paint the garden gate and the fence",
}


def page_of(at: int, text: str) -> StoredPage:
    words = tuple(Word(word, (0.1, 0.1, 0.2, 0.2)) for word in text.split())
    page = Page(f"{at:020x}", f"{list(TEXTS)[at]}.png", 1, Image.new("RGB", (40, 40), (at * 9, 9, 9)), words)
    return StoredPage.of(page)


@pytest.fixture
def shed() -> Collection:
    made = Collection.for_encoder(ENCODER)
    for at, text in enumerate(TEXTS.values()):
        page = page_of(at, text)
        [vectors] = ENCODER.encode_pages([Page(page.id, page.source, 1, None, page.words)])
        made.put(page, vectors)
    return made


def names(collection: Collection, text: str, mode: str, k: int = 6, **more: int) -> list[str]:
    found = search(collection, ENCODER, Query(text), STOPS[-1], k, How(mode=mode, **more))
    return [collection.pages[hit.page_id].source.removesuffix(".png") for hit in found.hits]


@pytest.mark.parametrize("asked", ["AX-4711-B", "ax 4711 b", "part ax4711b?"])
@pytest.mark.parametrize("mode", ["words", "both"])
def test_a_code_is_first_however_it_is_written(shed: Collection, asked: str, mode: str) -> None:
    assert names(shed, asked, mode)[0] == "spanner"


def test_a_quoted_phrase_is_first(shed: Collection) -> None:
    assert names(shed, '"garden gate and" AX-4712', "both")[:2] in (["gate", "hammer"], ["hammer", "gate"])
    assert names(shed, '"the garden shed"', "both")[0] == "hammer"


def test_words_leave_out_pages_without_any_and_both_does_not(shed: Collection) -> None:
    assert set(names(shed, "garden", "words")) == {"spanner", "hammer", "receipt", "gate"}
    assert set(names(shed, "garden", "both")) == set(TEXTS)
    assert names(shed, "garden", "both", k=1) == names(shed, "garden", "both")[:1]


def test_what_words_are_worth_is_told(shed: Collection) -> None:
    found = search(shed, ENCODER, Query("spaner ZR-5500/12"), STOPS[-1], 6, How(mode="both"))
    best = found.words[found.hits[0].page_id]
    assert shed.pages[found.hits[0].page_id].source == "receipt.png"
    assert (best.literals, best.bm25 > 0, 0 < best.share <= 1) == (1, True, True)
    assert found.also == {"spaner": ("spanner",)}
    assert found.as_json()["also_searched"] == {"spaner": ["spanner"]}
    assert found.as_json()["hits"][0]["words"]["literals"] == 1
    assert [hit.rank for hit in found.hits] == [1, 2, 3, 4, 5, 6]


def test_a_word_that_is_spelled_right_is_not_taken_for_another(shed: Collection) -> None:
    found = search(shed, ENCODER, Query("wine"), STOPS[-1], 6, How(mode="both"))
    assert not found.also, "no page has wine; wind is another word"


def test_scores_are_maxsim_in_every_mode(shed: Collection) -> None:
    by_mode = {
        mode: search(shed, ENCODER, Query("garden gate"), Budget(4, 8), 6, How(mode=mode)) for mode in MODES
    }
    meaning = {hit.page_id: hit.score for hit in by_mode["meaning"].hits}
    for found in by_mode.values():
        assert {hit.page_id: hit.score for hit in found.hits}.items() <= meaning.items()
    assert "words" not in by_mode["meaning"].as_json()["hits"][0]


def test_a_move_of_the_dial_keeps_the_mode_and_another_way_changes_it(shed: Collection) -> None:
    found = search(shed, ENCODER, Query("AX-4711-B"), STOPS[0], 3, How(mode="both"))
    assert research(shed, found, STOPS[2], 3).mode == "both"
    by_words = research(shed, found, STOPS[2], 3, How(mode="words"))
    assert [shed.pages[page_id].source for page_id in by_words.words] == ["spanner.png", "hammer.png"]


def test_a_picture_alone_is_searched_by_meaning(shed: Collection) -> None:
    query = Query(image=Image.new("RGB", (8, 8), "red"))
    assert search(shed, ENCODER, query, STOPS[0], 3, How(mode="words")).mode == "meaning"


def test_words_are_in_step_through_removal_copies_and_disk(shed: Collection, tmp_path: Path) -> None:
    twin = shed.copy()
    twin.remove("spanner.png")
    assert names(twin, "4711", "words") == []
    assert names(shed, "4711", "words") == ["spanner"]
    shed.save(tmp_path / "saved")
    again = Collection.load(tmp_path / "saved", ENCODER.fingerprint)
    assert names(again, "4711", "words") == ["spanner"]
    again.remove("spanner.png")
    again.save(tmp_path / "saved")
    assert names(Collection.load(tmp_path / "saved", ENCODER.fingerprint), "4711", "words") == []
    again.clear()
    assert len(again.lexical()) == 0


def test_a_folder_without_words_or_with_those_of_an_older_state_is_mended(
    shed: Collection, tmp_path: Path
) -> None:
    saved = tmp_path / "saved"
    shed.save(saved, words=False)
    loaded = Collection.load(saved, ENCODER.fingerprint)
    loaded.remove("hammer.png")  # before its words were read
    assert names(loaded, "AX-4711-B AX-4712-C", "words") == ["spanner"]
    fewer = shed.copy()
    fewer.remove("poem.png")
    fewer.words.save(saved)  # as after a crash between two states
    assert names(Collection.load(saved, ENCODER.fingerprint), "poem", "words") == ["poem"]


def test_an_index_file_carries_no_lexical_index(shed: Collection, tmp_path: Path) -> None:
    packed = index_file.pack(shed, tmp_path)
    other = Collection.for_encoder(ENCODER)
    index_file.add(other, Upload(packed, packed.name))
    assert names(other, "AX-4711-B", "words")[0] == "spanner"


def test_a_refined_query_ranks_the_pool_and_tells_the_way(shed: Collection) -> None:
    found = search(shed, ENCODER, Query("garden gate fence"), STOPS[-1], 6, How(mode="both", steps=20))
    way = found.refinement
    assert way.refined.scores.shape == (21, len(way.page_ids))
    assert way.refined.losses[-1] < way.refined.losses[0]
    assert found.hits[0].page_id == way.page_ids[int(way.refined.scores[-1].argmax())]
    with pytest.raises(ValueError, match="0 to 50 steps"):
        How(mode="both", steps=51)
    with pytest.raises(ValueError, match="in mode both"):
        How(mode="meaning", steps=5)


@pytest.mark.parametrize("mode", ["meaning", "both"])
def test_auto_scores_in_full_what_its_calibration_leaves(shed: Collection, mode: str) -> None:
    stages = (Stage(Budget(1, 4), 0.0), Stage(Budget(1, 64), 0.0))
    narrow = Auto(STOPS[-1], Calibration(stages, STOPS[-1], 1, 1, 1, 30, 50), OWN)
    whole = search(shed, ENCODER, Query("garden gate"), STOPS[-1], 3, How(mode=mode))
    found = search(shed, ENCODER, Query("garden gate"), STOPS[0], 3, How(mode=mode, auto=narrow))
    assert [hit.page_id for hit in found.hits] == [hit.page_id for hit in whole.hits]
    assert found.budget == whole.budget
    told = found.as_json()["auto"]
    first = [search(shed, ENCODER, Query("garden gate"), stop, 1).hits[0].page_id for stop in STOPS]
    needed = next(at for at in range(len(STOPS)) if len(set(first[at:])) == 1)
    assert told["needed"] == str(STOPS[needed])
    assert 0 < told["cells"] == pytest.approx(found.auto.full_pages / len(shed), abs=0.01)
    alone = search(shed, ENCODER, Query("garden gate"), STOPS[0], 3, How(mode=mode, auto=Auto(STOPS[-1])))
    assert alone.as_json()["hits"] == whole.as_json()["hits"], "without a calibration all is scored in full"
    assert alone.auto.cells == 1


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="A mode is one of meaning, words, both, not 'magic'"):
        How(mode="magic")
