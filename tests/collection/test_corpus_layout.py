"""Pages on a plane: any number of them, alike ones together, named groups, new pages beside the old."""

from __future__ import annotations

import json

import numpy as np
import pytest

from metaembed_demo.collection import layout_worker
from metaembed_demo.collection.corpus_layout import LEAST, NONE, Layout, lay_out, with_new
from metaembed_demo.collection.layout_worker import NotLaidOut, lay_out_in_process
from metaembed_demo.core.config import PATHS
from metaembed_demo.core.types import FloatArray
from metaembed_demo.evaluation import sample_layout

TOPICS = {"de": "kessel entkalken", "en": "harbour lighthouse", "": ""}


def vectors(of: list[int], seed: int = 0) -> FloatArray:
    """Unit vectors around a centre each."""
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(max(of) + 1, 32))
    found = centres[of] + 0.2 * draw.normal(size=(len(of), 32))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def closest(places: FloatArray) -> float:
    away = np.linalg.norm(places[:, None] - places[None], axis=2)
    return float(away[~np.eye(len(places), dtype=bool)].min())


@pytest.mark.parametrize("n", [0, 1, 2, 5, 19])
def test_few_pages_have_a_place_each(n: int) -> None:
    ids = [f"p{i}" for i in range(n)]
    found = lay_out(ids, vectors([i % 3 for i in range(n)] or [0])[:n], ["tea"] * n, ["en"] * n)
    assert found.ids == tuple(ids)
    assert n < 2 or closest(found.places) > 0.9 * found.room
    assert Layout.from_json(found.as_json()).as_json() == found.as_json()


def test_equal_pages_stand_side_by_side() -> None:
    found = lay_out([f"p{i}" for i in range(12)], np.ones((12, 8), np.float32), [""] * 12, [""] * 12)
    assert closest(found.places) > 0.9 * found.room
    assert all(name == () for name in found.names), "pages without words give no name"


def test_groups_are_named_in_their_language_and_the_same_pages_give_the_same_plane() -> None:
    of = [i % 3 for i in range(18)]
    spoken = [list(TOPICS)[group] for group in of]
    texts = [f"{TOPICS[each]} these pages" if each else "" for each in spoken]
    given = [f"p{i}" for i in range(18)], vectors(of), texts, spoken
    found = lay_out(*given)
    assert found.as_json() == lay_out(*given).as_json()
    for group, (language, words) in enumerate(TOPICS.items()):
        (own,) = set(found.groups[[i for i in range(18) if of[i] == group]].tolist())
        assert own != NONE, "pages around one centre are one group"
        assert set(words.split()) <= set(found.names[own]) or not words
        assert language or found.names[own] == ()


def test_new_pages_stand_by_their_nearest_and_known_ones_stay() -> None:
    of = [i % 3 for i in range(18)]
    all_vectors = vectors([*of, 1])
    ids = [f"p{i}" for i in range(18)]
    old = lay_out(ids, all_vectors[:18], [""] * 18, [""] * 18)
    new = with_new(old, all_vectors[:18], [*ids[1:], "new"], all_vectors[1:])
    moved = np.linalg.norm(new.places[:-1] - old.places[1:], axis=1)
    assert np.median(moved) < 0.2 * old.room
    assert new.groups[-1] == old.groups[1]
    assert closest(new.places) > 0.9 * old.room


def test_a_layout_of_other_pages_is_refused() -> None:
    with pytest.raises(ValueError, match="3 pages has 3 places"):
        Layout(("a", "b", "c"), np.zeros((2, 2), np.float32), np.zeros(2, np.int32), (), 0.1)
    with pytest.raises(ValueError, match="a name for each group"):
        Layout(("a",), np.zeros((1, 2), np.float32), np.zeros(1, np.int32), (), 0.1)


def test_what_is_shipped_is_of_the_shipped_samples() -> None:
    with np.load(PATHS.shipped_samples, allow_pickle=False) as parts:
        head = json.loads(parts["head"].tobytes())
    found = sample_layout.read(PATHS.assets / sample_layout.NAME, head["encoder"])
    assert found
    assert sorted(found.ids) == sorted(row[0] for row in head["pages"])
    assert closest(found.places) > 0.9 * found.room
    assert sample_layout.read(PATHS.assets / sample_layout.NAME, "another") is None


def test_loading_behind_lays_out_enough_pages_for_pacmap(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[int] = []

    def fail(ids: list[str], *of: object) -> None:
        asked.append(len(ids))
        assert [len(each) for each in of] == [len(ids)] * 3  # type: ignore[arg-type]
        raise NotLaidOut("No process starts.")

    monkeypatch.setattr(layout_worker, "lay_out_in_process", fail)
    layout_worker.load_behind().join()
    assert asked == [LEAST]
    assert "No process starts" in caplog.text, "which only delays the first map"
    monkeypatch.setattr(layout_worker.LAYOUTS, "available", False)
    layout_worker.load_behind().join()
    assert asked == [LEAST], "not in the app itself"


@pytest.mark.slow
def test_a_process_lays_out_more_pages_as_the_app_would() -> None:
    of = [i % 4 for i in range(60)]
    given = [f"p{i}" for i in range(60)], vectors(of), ["tea pot"] * 60, ["en"] * 60
    found = lay_out_in_process(*given)
    assert closest(found.places) > 0.9 * found.room
    assert found.as_json() == lay_out_in_process(*given).as_json()
    near = np.linalg.norm(found.places[:, None] - found.places[None], axis=2).argsort(1)[:, 1]
    assert np.mean([of[i] == of[j] for i, j in enumerate(near)]) > 0.9, "alike pages are neighbours"
