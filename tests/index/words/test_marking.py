"""Which words of a page a query meets."""

import pytest

from metaembed_demo.index.words.marking import matches
from metaembed_demo.index.words.word_index import WordIndex

TEXT = "The houses have red doors. Red: AX-4711-B, not AX-4711-D; 12.03.2024 receive a B"
PAGE = TEXT.split()


@pytest.mark.parametrize(
    ("query", "marked"),
    [
        ("the house", "houses"),
        ("red", "red Red:"),
        ('"red door"', ""),  # no such phrase: its words
        ('"red doors"', "red doors."),
        ("AX-4711-B", "AX-4711-B,"),
        ("ax4711d", "AX-4711-D;"),
        ("2024-03-12", "12.03.2024"),
        ("recceive", "receive"),
        ("", ""),
        ("nothing of it", ""),
    ],
)
def test_marked(query: str, marked: str) -> None:
    index = WordIndex()
    index.add("page", PAGE, "en")
    index.commit()
    wanted = marked.split() or (["red", "doors.", "Red:"] if query == '"red door"' else [])
    assert [PAGE[at] for at in matches(index.ask(query), PAGE, "en")] == wanted


def test_scripts_without_spaces_are_marked_across_words() -> None:
    index, words = WordIndex(), ["東京", "図書", "館の", "時間"]
    index.add("page", words, "ja")
    index.commit()
    assert matches(index.ask("図書館"), words, "ja") == [1, 2]
