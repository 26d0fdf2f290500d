"""What is said of languages that the encoder does not read, and which encoder is offered instead."""

from __future__ import annotations

import pytest

from metaembed_demo.app.views import fit_note, language_note
from metaembed_demo.encoders import registry


def test_pages_in_unread_languages_are_told_with_a_button() -> None:
    told = language_note.of_pages("Mini", {"de": 3, "ja": 1}, "mini-multilingual")
    assert "4 pages are in languages that Mini does not read: German (3), Japanese (1)." in told
    assert 'data-action="reader" data-value="mini-multilingual"' in told
    assert "1 page is in a language that Mini" in language_note.of_pages("Mini", {"de": 1}, "")
    assert language_note.of_pages("Mini", {}, "mini-multilingual") == ""


def test_many_languages_are_counted() -> None:
    told = language_note.of_pages("Mini", dict.fromkeys(["de", "fr", "it", "ja", "zh"], 1), "")
    assert "Italian (1) and 2 other languages." in told
    assert "button" not in told


def test_there_is_a_button_only_where_there_is_an_encoder() -> None:
    assert fit_note.language_note.switch("") == ""


@pytest.mark.parametrize("there", [True, False])
def test_the_multilingual_encoder_is_offered_where_its_package_is(
    monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda name: object() if there else None)
    assert registry.offered("mini", ["some/model"]) == (
        "mini",
        "some/model",
        *(["mini-multilingual"] if there else []),
    )
    assert registry.multilingual_beside("mini") == ("mini-multilingual" if there else "")
    assert registry.multilingual_beside("mini-multilingual") == ""
    assert registry.offered("some/model") == ("some/model",)
