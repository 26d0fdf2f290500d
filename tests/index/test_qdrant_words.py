"""Words as a sparse vector on Qdrant, beside the local engine on the same pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from metaembed_demo.index.qdrant.index import QdrantIndex
from metaembed_demo.index.qdrant.words import QdrantLexical, QdrantWords
from metaembed_demo.index.words.weights import average_length
from metaembed_demo.index.words.word_index import WordIndex
from tests.support.rest_qdrant import serving
from tests.support.sample_pages import random_vectors

PAGES = {
    "spanner": "adjustable spanner part AX-4711-B for the garden gate",
    "hammer": "claw hammer part AX-4712-C for the garden shed and the red door of the shed",
    "receipt": "receipt of the garden centre, reference ZR-5500/12",
    "poem": "a poem about the sea, the sea and the winds",
    "houses": "the houses by the sea",
    "picture": "",
}
QUERIES = ["garden gate", "the sea", "house wind", "AX-4711-B", "ax 4711 b", "ZR-5500/12 garden", "nowhere"]


@pytest.fixture(params=["", "edge:", "http"], ids=["local", "engine", "rest"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[QdrantIndex]:
    with ExitStack() as stack:
        http = request.param == "http"
        at = stack.enter_context(serving()) if http else f"{request.param}{tmp_path / 'store'}"
        index = QdrantIndex.open(at, "pages", 2, 4)
        index.add(list(PAGES), random_vectors(0, len(PAGES), 2, 4))
        yield index
        index.close()


@pytest.fixture(scope="module")
def here() -> WordIndex:
    index = WordIndex()
    for name, text in PAGES.items():
        index.add(name, text.split(), "en")
    index.commit()
    return index


def test_scores_and_order_are_those_of_the_local_engine(
    remote: QdrantIndex, here: WordIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metaembed_demo.index.qdrant.words.PAGES", 4)
    words, entries = QdrantWords(remote.link), dict(here.entries(PAGES))
    assert "no words" in words.lacking()
    assert words.begin(average_length(entries.values()), len(PAGES))
    words.put(list(entries.items())[:3])
    words.end()
    assert "lacks the words of 3 of 6 pages" in words.lacking()
    words.put(list(entries.items())[3:])
    assert words.lacking() == ""
    assert not words.begin(words.average * 1.05, 0)
    bare, full = QdrantLexical(remote.link, None, ["en"]), QdrantLexical(remote.link, here)
    for query in QUERIES:
        hits = here.search(query, 6).hits
        for lexical in (bare, full):
            there = lexical.search(query, 6).hits
            assert [hit.page_id for hit in there] == [hit.page_id for hit in hits], query
            assert [hit.literals for hit in there] == [hit.literals for hit in hits], query
            assert [hit.score for hit in there] == pytest.approx([hit.score for hit in hits], rel=1e-3), query
    assert [hit.page_id for hit in bare.search("garden", 6, ["poem", "receipt"]).hits] == ["receipt"]
    assert bare.scores("garden", ["poem", "receipt"])["poem"] == 0
    remote.remove(["receipt"])
    assert {hit.page_id for hit in bare.search("garden", 6).hits} == {"spanner", "hammer"}
    assert words.lacking() == ""
    assert words.begin(words.average * 2, 0), "the lengths of pages are other ones, all are weighed anew"


def test_phrases_and_spellings_need_the_local_engine_and_are_told_otherwise(here: WordIndex) -> None:
    index = QdrantIndex.open(":memory:", "pages", 2, 4)
    index.add(list(PAGES), random_vectors(0, len(PAGES), 2, 4))
    words = QdrantWords(index.link)
    words.begin(8.0, len(PAGES))
    words.put(here.entries(PAGES))
    query = '"red door" spaner'
    full = QdrantLexical(index.link, here).search(query, 6)
    assert [(hit.page_id, hit.literals) for hit in full.hits] == [("hammer", 1), ("spanner", 0)]
    assert (full.asked.also, full.asked.unsearched) == ({"spaner": ("spanner",)}, ())
    bare = QdrantLexical(index.link, None, ["en"]).search(query, 6)
    assert [(hit.page_id, hit.literals) for hit in bare.hits] == [("hammer", 0)]
    assert bare.asked.unsearched == ("phrases", "other spellings")
    assert QdrantLexical(index.link, None).search("", 6).hits == ()
