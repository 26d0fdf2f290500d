"""Kinds of content, and what tokens tell of them."""

from __future__ import annotations

import numpy as np
import pytest

from metaembed_demo.core.types import Word
from metaembed_demo.explain.contents import CONTENTS, contents, information, slices


def line(text: str, top: float, height: float = 0.02) -> list[Word]:
    return [Word(each, (0.1 * n, top, 0.1 * n + 0.08, top + height)) for n, each in enumerate(text.split())]


def test_kinds_of_a_page() -> None:
    words = [
        *line("Annual report 12", 0.01),
        *line("Cold rooms", 0.1, 0.04),
        *line("The buyer Anna Weber paid 40", 0.2),
        *line("euros. Later she left for Rome", 0.23),
        *line("Figure 3. A plan of Rome", 0.5),
        *line("the sea was calm", 0.55),
        *line("Page 7", 0.96),
    ]
    found = {}
    for word, at in zip(words, contents(words).tolist(), strict=True):
        found.setdefault(CONTENTS[at], []).append(word.text)
    assert found == {
        "margin": ["Annual", "report", "12", "Page", "7"],
        "heading": ["Cold", "rooms"],
        "name": ["The", "Anna", "Weber", "Rome"],  # a heading without a full stop came before "The"
        "number": ["40"],
        "other": ["buyer", "paid", "euros.", "Later", "she", "left", "for", "the", "sea", "was", "calm"],
        "caption": ["Figure", "3.", "A", "plan", "of", "Rome"],
    }
    assert contents([]).tolist() == []


def test_information_is_all_where_each_token_reads_one_kind_and_none_where_all_read_all() -> None:
    kinds = np.array([0, 0, 1, 1])
    apart = np.array([[0.5, 0.5, 0, 0], [0, 0, 0.9, 0.1]], np.float32)
    assert information(apart, kinds).sum() == pytest.approx(1.0)
    assert information(np.ones((2, 4), np.float32), kinds).sum() == pytest.approx(0.0)
    assert information(np.zeros((2, 4), np.float32), kinds).tolist() == [0, 0]  # a page of pictures alone
    assert information(apart[:1], kinds).sum() == 0  # one token tells nothing apart


def test_equal_slices() -> None:
    assert slices(2, 5).tolist() == [[1, 1, 1, 0, 0], [0, 0, 0, 1, 1]]
    assert slices(3, 2).sum(0).tolist() == [1, 1]
    assert slices(0, 2).shape == (0, 2)
