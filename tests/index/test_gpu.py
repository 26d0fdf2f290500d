"""The index on a GPU, on tensors of the CPU: what exact search finds, from few candidates and few bytes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from metaembed_demo.collection.collection import Collection
from metaembed_demo.core.budgets import OURS, STOPS, Budget
from metaembed_demo.core.types import FloatArray
from metaembed_demo.index import gpu
from metaembed_demo.index.gpu import index_for
from metaembed_demo.index.gpu import vectors as on_device
from metaembed_demo.index.gpu.index import LEAST, GpuIndex
from metaembed_demo.index.gpu.vectors import DeviceVectors
from metaembed_demo.index.local import LocalIndex
from metaembed_demo.index.maxsim import maxsim_numpy
from tests.support.device_index import DeviceIndex, Float16Index
from tests.support.dummy_encoder import DummyEncoder
from tests.support.sample_pages import random_vectors, unit

PAGES, R_C, DIM = 600, 64, 32
BUDGETS = [*STOPS, Budget(3, 5), Budget(16, 20), Budget(99, 99)]
KINDS = (torch.bfloat16, torch.float16, torch.int8)


@pytest.fixture(scope="module")
def pages() -> FloatArray:
    """Pages about twenty topics, each tenth of them like the one before."""
    rng = np.random.default_rng(3)
    topics = rng.standard_normal((20, DIM))[rng.integers(20, size=PAGES)]
    found = unit(topics[:, None] + rng.standard_normal((PAGES, R_C, DIM)))
    found[10::10] = found[9:-1:10]
    return found


@pytest.fixture(scope="module")
def queries(pages: FloatArray) -> FloatArray:
    """(12, 16, D): near parts of a page each."""
    noise = np.random.default_rng(4).standard_normal((12, 16, DIM)) / DIM**0.5
    return unit(pages[::50, :16] + noise)


def filled(kind: Callable[..., LocalIndex], pages: FloatArray, storage: str = "float16") -> LocalIndex:
    """Two blocks, of which the first has removed pages."""
    index = kind(R_C, DIM)
    index.add([f"p{i}" for i in range(400)], pages[:400])
    index = index.copy()
    index.add([f"p{i}" for i in range(400, len(pages))], pages[400:])
    index.remove([f"p{i}" for i in range(5, 95, 3)])
    return index.stored_as(storage)


@pytest.mark.parametrize("kind", [DeviceIndex, Float16Index])
@pytest.mark.parametrize("storage", ["float16", "int8"])
def test_hits_are_those_of_the_index_on_the_cpu_ties_included(
    kind: type[GpuIndex], storage: str, pages: FloatArray, queries: FloatArray
) -> None:
    ours, theirs = filled(kind, pages, storage), filled(LocalIndex, pages, storage)
    assert isinstance(ours, GpuIndex)
    assert ours._has_room()
    chosen = [page_id for page_id in ours.ids if int(page_id[1:]) % 4]
    for budget in BUDGETS:
        for query in queries:
            for among in (None, chosen, chosen[:30]):
                expected = theirs.search(query, budget, 12, among=among)
                found = ours.search(query, budget, 12, among=among)
                assert [hit.page_id for hit in found] == [hit.page_id for hit in expected], budget
                np.testing.assert_allclose(
                    [hit.score for hit in found], [hit.score for hit in expected], atol=2e-5
                )
        assert ours.search_many(queries, budget, 12) == [ours.search(q, budget, 12) for q in queries]
    exact = theirs.search(queries[0], STOPS[-1], 12, exact=True)
    assert [hit.page_id for hit in ours.search(queries[0], STOPS[-1], 12, exact=True)] == [
        hit.page_id for hit in exact
    ]


def test_few_pages_are_scored_again(pages: FloatArray, queries: FloatArray) -> None:
    counts = {}
    for kind in (DeviceIndex, Float16Index):
        index = filled(kind, pages)
        counts[kind] = [len(index.coarse(query, STOPS[-1], 10)) for query in queries]
        assert min(counts[kind]) >= LEAST
    assert np.median(counts[DeviceIndex]) < PAGES / 10
    assert sum(counts[Float16Index]) <= sum(counts[DeviceIndex])
    index = filled(DeviceIndex, pages, "int8")
    assert all(LEAST <= len(index.coarse(query, STOPS[-1], 10)) < 20 for query in queries)


def test_a_search_of_many_pages_is_exact_though_that_of_the_cpu_is_not_asked_to_be(
    pages: FloatArray, queries: FloatArray
) -> None:
    index = DeviceIndex(R_C, DIM, exact_up_to=0)
    index.add([f"p{i}" for i in range(PAGES)], pages)
    for query in queries:
        scores = maxsim_numpy(query, pages.astype(np.float16))
        best = np.argsort(-np.round(scores.astype(np.float64), 5), kind="stable")[:10]
        assert [hit.page_id for hit in index.search(query, STOPS[-1], 10)] == [f"p{i}" for i in best]
    assert index.listing is None


def test_where_all_pages_are_alike_all_are_candidates() -> None:
    index, same = DeviceIndex(R_C, DIM), random_vectors(1, 1, R_C, DIM)
    index.add([f"p{i}" for i in range(50)], np.repeat(same, 50, axis=0))
    assert [hit.page_id for hit in index.search(same[0, :16], STOPS[-1], 3)] == ["p0", "p1", "p2"]
    assert len(index.coarse(same[0, :16], STOPS[-1], 3)) == 50


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("spans", [OURS.page_spans, ((0, 1), (1, 8), (8, 32)), ((0, 2), (2, 128))])
def test_scores_are_within_the_slack_at_every_budget(
    dtype: torch.dtype, spans: on_device.Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_device, "SIMILARITIES", 4_000)  # several products
    monkeypatch.setattr(on_device, "GATHERED", 10_000)
    r_c = 40
    vectors = 3 * random_vectors(0, 100, r_c, DIM).astype(np.float16)  # need not be of length 1
    q = torch.from_numpy(random_vectors(1, 3, 6, DIM))
    held = DeviceVectors(r_c, DIM, dtype, "cpu", spans)
    scales = torch.full((100,), float(np.abs(vectors).max()) / 127)
    codes = (torch.from_numpy(vectors).float() / scales[:, None, None]).round().to(torch.int8)
    for part in (slice(0, 30), slice(30, 100)):
        given = (codes[part], scales[part]) if dtype == torch.int8 else (torch.from_numpy(vectors[part]),)
        held.add(*given)
    asked, slack = held.asked(q), held.slack(q)
    stored: FloatArray = vectors
    if dtype == torch.int8:
        stored, q = (
            (codes * scales[:, None, None]).numpy(),
            (asked.rows * asked.scales[:, None]).view(q.shape),
        )
    rows = torch.tensor([2, 3, 50, 99])
    for r in (1, 2, 5, 8, 33, r_c):
        exact = torch.from_numpy(np.stack([maxsim_numpy(each.numpy(), stored[:, :r]) for each in q]))
        assert ((held.scores(asked, r) - exact).abs() <= slack[:, None]).all()
        assert ((held.scores(asked, r, rows=rows) - exact[:, rows]).abs() <= slack[:, None]).all()
        many = torch.arange(0, 100, 2)
        assert ((held.scores(asked, r, rows=many) - exact[:, many]).abs() <= slack[:, None]).all()
        assert held.scores(asked, r, size=7).shape == (3, 7)
    assert float(slack.max()) < {torch.bfloat16: 0.3, torch.float16: 0.04, torch.int8: 0.001}[dtype]


def test_int8_of_a_width_that_no_product_of_integers_takes() -> None:
    c, q = (torch.randint(-127, 128, shape, dtype=torch.int8) for shape in ((40, 12), (5, 12)))
    assert (on_device._product(c, q) == c.float() @ q.float().T).all()
    c, q = (torch.randint(-127, 128, shape, dtype=torch.int8) for shape in ((40, 16), (5, 16)))
    found = on_device._product(c, q)
    assert found.dtype == torch.int32
    assert (found == c.int() @ q.int().T).all()


def test_a_budget_reads_the_groups_that_it_needs_and_each_is_contiguous() -> None:
    held = DeviceVectors(64, 8, device="cpu")
    held.add(torch.ones(5, 64, 8))
    assert held.spans == OURS.page_spans
    assert [tuple(group.shape[1:]) for group in held._groups] == [(1, 8), (3, 8), (4, 8), (8, 8), (48, 8)]
    assert all(group.is_contiguous() and group.dtype == torch.bfloat16 for group in held._groups)
    held._groups[-1].fill_(9.0)  # is not read below 17 vectors
    assert held.scores(held.asked(torch.ones(1, 1, 8)), 16).tolist() == [[8.0] * 5]
    assert DeviceVectors(20, 8, device="cpu").spans == ((0, 1), (1, 4), (4, 8), (8, 16), (16, 20))


def test_copies_share_what_is_on_the_device_and_grow_apart(pages: FloatArray, queries: FloatArray) -> None:
    index = DeviceIndex(R_C, DIM)
    index.add([f"p{i}" for i in range(300)], pages[:300])
    index.search(queries[0], STOPS[-1], 5)
    twin = index.copy()
    assert isinstance(twin, GpuIndex)
    (held,), (same,) = ([each._held(block) for block in each._blocks] for each in (index, twin))
    assert held is same
    index.add(["new"], queries[:1].repeat(4, axis=1))
    twin.add([f"t{i}" for i in range(100)], pages[300:400])
    query = queries[0]
    assert index.search(query, STOPS[-1], 1)[0].page_id == "new"
    plain = LocalIndex(R_C, DIM)
    plain.add(twin.ids, twin.full(twin.ids))
    assert twin.search(query, STOPS[-1], 9) == plain.search(query, STOPS[-1], 9)
    assert len(held) == 301  # the twin's own pages are in a block of its own
    assert [held.allocated(pages) for pages in (301, 600, 601, 1_000)] == [0, 0, 602, 1_000]
    assert [len(group) for group in twin._held(twin._blocks[1])._groups] == [100] * 5  # no more than it needs


def test_without_room_it_searches_on_the_cpu_and_says_so_once(
    pages: FloatArray,
    queries: FloatArray,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    index, plain = filled(DeviceIndex, pages), filled(LocalIndex, pages)
    monkeypatch.setattr("metaembed_demo.index.gpu.index.free_bytes", lambda device: 1_000)
    with caplog.at_level(logging.WARNING):
        for exact in (True, False):
            assert index.search(queries[0], STOPS[-1], 5, exact) == plain.search(
                queries[0], STOPS[-1], 5, exact
            )
        assert index.search_many(queries[:2], STOPS[-1], 5) == [
            plain.search(query, STOPS[-1], 5) for query in queries[:2]
        ]
    assert [record.message for record in caplog.records] == [
        "No room for the vectors of 2.5 MB on cpu: searching on the CPU"
    ]
    assert not any(len(index._held(block)) for block in index._blocks)


def test_memory_that_runs_out_midway_leaves_the_cpu(
    pages: FloatArray, queries: FloatArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    index, plain = filled(DeviceIndex, pages), filled(LocalIndex, pages)
    monkeypatch.setattr(DeviceVectors, "add", full)
    assert index.search(queries[0], STOPS[-1], 5) == plain.search(queries[0], STOPS[-1], 5)


def test_an_encoder_on_a_gpu_that_stays_has_its_index_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert index_for("CPU") is index_for("MPS") is LocalIndex
    assert index_for("CUDA") is GpuIndex
    monkeypatch.setattr(gpu, "SPACE", gpu.SPACE.model_copy(update={"zero_gpu": True}))
    assert index_for("CUDA") is LocalIndex


def test_a_collection_asks_for_the_index_of_its_encoders_device(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("metaembed_demo.index.gpu.index.GpuIndex", DeviceIndex)
    encoder = DummyEncoder()
    encoder.device = "CUDA"
    made = Collection.for_encoder(encoder)
    assert isinstance(made.index, DeviceIndex)
    made.save(tmp_path / "kept")
    again = Collection.load(tmp_path / "kept", encoder.fingerprint, encoder.device)
    assert isinstance(again.index, DeviceIndex)
    assert isinstance(again.copy().index, GpuIndex)
    assert type(Collection.load(tmp_path / "kept", encoder.fingerprint).index) is LocalIndex
