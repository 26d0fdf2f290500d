"""Whether anything fits, and a language that is not read, as a search tells it."""

from __future__ import annotations

import pytest
from PIL import Image

from metaembed_demo.collection import fitting
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.ranker import How
from metaembed_demo.collection.search import research, search
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.budgets import STOPS
from metaembed_demo.core.types import Page, Query, Word
from metaembed_demo.index.fit import FitCalibration, Logistic
from tests.support.dummy_encoder import DummyEncoder


class English(DummyEncoder):
    fingerprint = "dummy-english"
    languages = ("en",)


ENCODER = English()
TEXTS = [f"claw hammer part AX-47{at}-C for the shed" for at in range(10, 16)]
TEXTS.append("a poem about the winding sea")
WORDY = How(mode="both")
FULL, SMALL = STOPS[-1], STOPS[1]


@pytest.fixture(autouse=True)
def calibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hit answers if its mean cosine is above 0.6."""
    found = FitCalibration((Logistic(40.0, 0.6),) * 5, 0.0, len(TEXTS), 30, 30)
    monkeypatch.setitem(fitting._measured, ENCODER.fingerprint, found)


@pytest.fixture(scope="module")
def shed() -> Collection:
    made = Collection.for_encoder(ENCODER)
    for at, text in enumerate(TEXTS):
        words = tuple(Word(word, (0.1, 0.1, 0.2, 0.2)) for word in text.split())
        picture = Image.new("RGB", (40, 40), (at * 9, 9, 9))
        page = StoredPage.of(Page(f"{at:020x}", f"{at}.png", 1, picture, words, language="en"))
        [vectors] = ENCODER.encode_pages([Page(page.id, page.source, 1, None, page.words)])
        made.put(page, vectors)
    return made


def test_a_hit_has_its_chance_and_a_foreign_question_is_told_of(shed: Collection) -> None:
    fits = search(shed, ENCODER, Query("a poem about the winding sea"), FULL)
    assert fits.fit.verdict == "fits"
    assert fits.fit.first > 0.99
    assert fits.as_json()["fit"]["note"] == ""
    assert [hit["chance"] for hit in fits.as_json()["hits"]][1] < 0.1
    foreign = search(shed, ENCODER, Query("tulips quokka"), FULL, how=WORDY)
    assert foreign.as_json()["fit"]["note"] == "Nothing fits well."
    smaller = research(shed, foreign, SMALL, how=WORDY)
    assert smaller.fit.sentence == "Nothing fits well at 2×4. Try a larger budget."


@pytest.mark.parametrize("asked", ["ax4713c", '"about the winding"', "winds of the sea"])
def test_a_code_a_phrase_and_all_the_words_on_a_page_are_not_nothing(
    shed: Collection, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = FitCalibration((Logistic(40.0, 2.0),) * 5, 0.0, len(TEXTS), 30, 30)  # no score is enough
    monkeypatch.setitem(fitting._measured, ENCODER.fingerprint, strict)
    assert search(shed, ENCODER, Query(asked), FULL, how=WORDY).fit.verdict == "words"
    assert search(shed, ENCODER, Query(asked), FULL, how=How(mode="meaning")).fit.verdict == "nothing"


def test_no_chance_is_told_where_the_calibration_does_not_hold(shed: Collection) -> None:
    picture = Image.new("RGB", (40, 40))
    assert search(shed, ENCODER, Query("poem", picture), FULL).fit is None
    stranger = Collection.for_encoder(DummyEncoder())
    for page in shed.pages.values():
        stranger.put(page, DummyEncoder().encode_pages([Page(page.id, "", 1, None, page.words)])[0])
    found = search(stranger, DummyEncoder(), Query("Wie schwer ist der Hammer im Schuppen?"), FULL)
    assert (found.fit, found.unread_language) == (None, None)
    assert not {"fit", "unread_language"} & set(found.as_json())
    codes = shed.copy()
    codes.index = codes.index.stored_as("binary", False)
    assert search(codes, ENCODER, Query("poem"), FULL).fit is None


def test_a_question_in_a_language_that_is_not_read_is_told_of(shed: Collection) -> None:
    found = search(shed, ENCODER, Query("Wie schwer ist der Hammer im Schuppen?"), FULL, how=WORDY)
    told = "Dummy reads English; this question seems to be in German. Words are still searched."
    assert found.as_json()["unread_language"] == {"language": "de", "note": told}
    assert research(shed, found, SMALL).unread_language == found.unread_language
    assert search(shed, ENCODER, Query("Rio de Janeiro"), FULL).unread_language is None
    assert "another language" in search(shed, ENCODER, Query("игла"), FULL).unread_language.sentence("both")
