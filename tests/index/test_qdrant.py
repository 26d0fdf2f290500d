"""QdrantIndex beyond the protocol: what is kept with a collection, the nested query, and failures."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import numpy as np
import pytest

from metaembed_demo.core.budgets import STOPS, Budget
from metaembed_demo.core.types import FloatArray
from metaembed_demo.index.qdrant.index import SPARE, QdrantIndex
from tests.support.rest_qdrant import Handler, serving
from tests.support.sample_pages import random_vectors, unit

FULL = STOPS[-1]


def names(n: int) -> list[str]:
    return [f"p{i}" for i in range(n)]


def kept(*shape: int) -> FloatArray:
    """Random unit rows that float16 holds without loss."""
    return random_vectors(0, *shape).astype(np.float16).astype(np.float32)


@pytest.fixture(params=["", "edge:"], ids=["local", "engine"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{request.param}{tmp_path / 'store'}"


def test_a_folder_keeps_the_collection_and_refuses_another_kind(place: str) -> None:
    vectors = kept(10, 8, 16)
    index = QdrantIndex.open(place, "pages", 8, 16, fingerprint="mini-1")
    index.add(names(10), vectors)
    index.close()
    for r_c, dim, fingerprint, named in [
        (4, 16, "mini-1", "r_c 8"),
        (8, 32, "mini-1", "dim 16"),
        (8, 16, "b", "mini-1"),
    ]:
        with pytest.raises(ValueError, match=named):
            QdrantIndex.open(place, "pages", r_c, dim, fingerprint=fingerprint)
    again = QdrantIndex.open(place, "pages", 8, 16, fingerprint="mini-1")
    assert again.ids == names(10)
    again.add(["later"], vectors[:1])
    assert again.ids == [*names(10), "later"]
    np.testing.assert_array_equal(again.vectors(names(10)), vectors)
    again.close()


def test_the_nested_query_of_a_large_collection_finds_the_best(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With HNSW on the first token, sixteen tokens, all tokens, in one request."""
    monkeypatch.setattr("metaembed_demo.index.qdrant.index.SCAN_UP_TO", 10)
    monkeypatch.setattr("metaembed_demo.index.qdrant.index.candidates", lambda pages, budget, k, prefix: 5)
    index = QdrantIndex.open(place, "pages", 64, 16)
    rng = np.random.default_rng(1)
    pages = unit(rng.standard_normal((60, 1, 16)))
    vectors = unit(pages + 0.1 * rng.standard_normal((60, 64, 16)))
    index.add(names(60), vectors)
    asked = []
    link = index._link
    monkeypatch.setattr(
        index, "_link", lambda method, **how: asked.append((method, how)) or link(method, **how)
    )
    query = vectors[23, :16]
    assert index.search(query, FULL, 2)[0].page_id == "p23"
    (how,) = [how for method, how in asked if method == "query_points"]
    stages = [how["using"], how["prefetch"].using, how["prefetch"].prefetch.using]
    assert stages == ["full", "prefix16", "first"]
    assert [how["limit"], how["prefetch"].limit, how["prefetch"].prefetch.limit] == [2 + SPARE, 5, 50]
    assert [len(how["query"]), len(how["prefetch"].query)] == [16, 8]
    assert index.search(query, Budget(4, 8), 2)[0].page_id == "p23"
    link.close()


def test_a_request_that_fails_half_way_leaves_nothing_behind(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = QdrantIndex.open(place, "pages", 2, 4)
    index.add(["old"], kept(1, 2, 4))
    monkeypatch.setattr("metaembed_demo.index.qdrant.index.BATCH", 8)
    link, writes = index._link, []

    def failing(method: str, **how: object) -> object:
        writes.append(method)
        if writes.count("upsert") == 2:
            writes.clear()
            raise ConnectionError("cut off")
        return link(method, **how)

    monkeypatch.setattr(index, "_link", failing)
    with pytest.raises(ConnectionError, match="cut off"):
        index.add(names(20), kept(20, 2, 4))
    assert index.ids == ["old"]
    link.close()


def test_a_collection_of_another_program_is_refused(tmp_path: Path) -> None:
    from qdrant_client import QdrantClient, models

    client = QdrantClient(path=str(tmp_path))
    client.create_collection("pages", models.VectorParams(size=4, distance=models.Distance.DOT))
    client.close()
    with pytest.raises(ValueError, match="not made by"):
        QdrantIndex.open(str(tmp_path), "pages", 2, 4)


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
def test_a_server_is_told_the_key_and_may_be_asked_by_many(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = kept(12, 8, 16)
    with serving(key="secret") as address:
        with pytest.raises(PermissionError, match=address):
            QdrantIndex.open(address, "pages", 8, 16, api_key="wrong")
        one = QdrantIndex.open(address, "pages", 8, 16, "mini-1", api_key="secret")
        other = QdrantIndex.open(address, "pages", 8, 16, "mini-1", api_key="secret")
        one.add(names(6), vectors[:6])
        other.add(["later"], vectors[6:7])
        one.remove(["p0"])
        assert other.ids == one.ids == ["p1", "p2", "p3", "p4", "p5", "later"]
        with pytest.raises(ValueError, match="fingerprint 'mini-1', not 'mini-2'"):
            QdrantIndex.open(address, "pages", 8, 16, "mini-2", api_key="secret")
        monkeypatch.setattr("tests.support.rest_qdrant.BODY_LIMIT", 2_000)
        with pytest.raises(RuntimeError, match="max_request_size_mb"):
            one.add(["big"], vectors[7:8])
        monkeypatch.undo()
        assert "big" not in other
        one.close()
        other.close()


def test_requests_stay_below_the_size_they_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """20 pages of 93 vectors of 128 components, at most 1 MiB of JSON a request: six pages."""
    monkeypatch.setattr("metaembed_demo.index.qdrant.index.REQUEST_BYTES", 1 << 20)
    sizes = []
    receive = Handler._with_body

    def noting(handler: Handler) -> None:
        sizes.append(int(handler.headers["Content-Length"]))
        receive(handler)

    monkeypatch.setattr(Handler, "_with_body", noting)
    with serving() as address:
        index = QdrantIndex.open(address, "pages", 64, 128)
        index.add(names(20), kept(20, 64, 128))
        index.close()
    assert 0.7 * 2**20 < max(sizes) <= 2**20
    assert sum(size > 2**18 for size in sizes) == 4


@pytest.mark.parametrize("grpc", [False, True], ids=["rest", "grpc"])
def test_a_server_that_is_not_there_is_named(grpc: bool) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConnectionError, match=address):
            QdrantIndex.open(address, "pages", 2, 4, grpc=grpc, timeout_s=2)
    with pytest.raises(ValueError, match="write http://localhost:6333"):
        QdrantIndex.open("localhost:6333", "pages", 2, 4)


@pytest.mark.parametrize(
    ("module", "location", "fix"),
    [
        ("qdrant_client", ":memory:", r"pip install .*\[qdrant\]"),
        ("qdrant_edge", "edge:nowhere", r"pip install .*\[qdrant\]"),
    ],
)
def test_a_missing_library_is_named_with_its_fix(
    module: str, location: str, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=fix):
        QdrantIndex.open(location, "pages", 2, 4)
