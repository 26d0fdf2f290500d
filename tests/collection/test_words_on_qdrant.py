"""A collection whose index is on Qdrant: its words are there as well, and stay in step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.push_qdrant import open_remote, push, search_there
from metaembed_demo.collection.ranker import How
from metaembed_demo.collection.search import search
from metaembed_demo.core.budgets import STOPS
from metaembed_demo.core.types import Embedding, Query
from metaembed_demo.index.qdrant.client import WORDS, Link
from tests.support.sample_pages import random_vectors

from .test_modes import ENCODER, names, page_of, shed  # noqa: F401

ASKED = ["garden gate", "AX-4711-B", '"the garden shed" spaner', "annual fees"]


def pushed(collection: Collection, place: str) -> None:
    remote = open_remote(collection, place, "pages")
    assert list(push(collection, remote))[-1] == len(collection)
    remote.close()
    search_there(collection, place, "pages")


@pytest.mark.parametrize("mode", ["words", "both"])
def test_what_is_pushed_is_ranked_as_here(shed: Collection, tmp_path: Path, mode: str) -> None:  # noqa: F811
    there = shed.copy()
    pushed(there, str(tmp_path))
    for query in ASKED:
        assert names(there, query, mode) == names(shed, query, mode)
    there.index.close()


def test_words_stay_in_step_when_pages_are_added_and_removed(
    shed: Collection,  # noqa: F811
    tmp_path: Path,
) -> None:
    pushed(shed, str(tmp_path))
    shed.remove("spanner.png")
    page = page_of(0, "a spirit level, part SL-900-Q")
    shed.put(page, Embedding(random_vectors(1, shed.index.r_c, shed.index.dim)))
    assert names(shed, "AX-4711-B", "words") == ["hammer"], "of AX and B alone, and of part"
    assert names(shed, "SL-900-Q", "both")[0] == "spanner"
    again = search(shed, ENCODER, Query("level"), STOPS[0], 3, How(mode="words"))
    assert len(again.hits) == 1
    shed.index.close()


def test_without_local_words_it_is_said_what_is_not_searched(
    shed: Collection,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shed.save(tmp_path / "saved", words=False)
    pushed(shed, str(tmp_path / "there"))
    shed.index.close()
    monkeypatch.setattr("metaembed_demo.collection.words_on_qdrant.READ_UP_TO", 5)
    there = Collection.load(tmp_path / "saved", ENCODER.fingerprint)
    search_there(there, str(tmp_path / "there"), "pages")
    found = search(there, ENCODER, Query('"the garden shed" ax 4711 b'), STOPS[-1], 6, How(mode="both"))
    assert there.pages[found.hits[0].page_id].source == "spanner.png"
    assert found.as_json()["not_searched"] == ["phrases", "other spellings"]
    there.index.close()


@pytest.mark.parametrize("engine", ["", "edge:"])
def test_a_collection_from_before_has_no_words_until_it_is_pushed_again(
    shed: Collection,  # noqa: F811
    tmp_path: Path,
    engine: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    call, place = Link.__call__, f"{engine}{tmp_path}"

    def before(link: Link, method: str, **how: Any) -> Any:
        if method == "create_collection":
            how["sparse_vectors_config"] = {}
            del how["metadata"][WORDS]
        return call(link, method, **how)

    with monkeypatch.context() as patched:
        patched.setattr(Link, "__call__", before)
        old = open_remote(shed, place, "pages")
    old.add(shed.index.ids, shed.index.full(shed.index.ids))
    old.close()
    there = shed.copy()
    search_there(there, place, "pages")
    assert names(there, "garden gate", "meaning") == names(shed, "garden gate", "meaning")
    for mode in ("words", "both"):
        with pytest.raises(ValueError, match=r"no words of its pages.* Push the index again"):
            names(there, "garden gate", mode)
    there.index.close()
    pushed(again := shed.copy(), place)
    assert names(again, "garden gate", "both") == names(shed, "garden gate", "both")
    again.index.close()
