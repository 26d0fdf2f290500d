"""Training pages in other languages."""

from __future__ import annotations

import random

from metaembed_demo.training.mini.dataset import originals, queries
from metaembed_demo.training.mini.translated_pages import TranslatedPages
from metaembed_demo.training.mini.translations import Translations

GERMAN = "Das Fenster zeigt alle Ebenen des Bildes an. Davon kann eine gewählt und verschoben werden. "


def document(name: str, sections: int) -> Translations:
    rows = [
        {"en": (f"Layer number {n}", "Some text."), "de": (f"Ebene Nummer {n}", GERMAN * 3)}
        for n in range(sections)
    ]
    rows.append({"en": ("Only in English", "Nobody translated this.")})
    return Translations("toy", name, rows)


def test_clusters_are_of_one_document_and_ask_in_two_languages() -> None:
    drawn = TranslatedPages([document("a", 30), document("b", 30), Translations("toy", "c", [])])
    examples = [example for seed in range(40) for example in drawn.draw(3, random.Random(seed))]
    assert {example.language for example in examples} == {"de"}
    asked = [query for example in examples for query in example.queries]
    assert any(query.startswith("Ebene Nummer") for query in asked)
    translated = [example for example in examples if example.original]
    assert translated
    for example in translated:
        ((english, german),) = example.original.items()
        assert english.replace("Layer number", "Ebene Nummer") == german
        assert originals([example]) == [(german, "de")] * 2
        assert queries([example]) == [german, english]
    assert not any("Only in English" in query for query in asked)
    assert any(query in GERMAN for query in asked)


def test_a_document_that_is_short_gives_fewer_pages() -> None:
    drawn = TranslatedPages([document("a", 2)])
    assert all(len(drawn.draw(4, random.Random(seed))) <= 2 for seed in range(9))
