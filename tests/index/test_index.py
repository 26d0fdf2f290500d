"""LocalIndex: exact scores, slots used again, the coarse stage, and its files."""

import json
from pathlib import Path

import numpy as np
import pytest

from metaembed_demo.core.budgets import OURS, STOPS, Budget, Budgets
from metaembed_demo.core.types import FloatArray
from metaembed_demo.index.blocks import Blocks
from metaembed_demo.index.cascade import top_rows
from metaembed_demo.index.local import LocalIndex
from metaembed_demo.index.maxsim import maxsim
from tests.support.sample_pages import random_vectors, unit

FULL = STOPS[-1]


def filled(n: int, seed: int = 0, r_c: int = 8, dim: int = 16) -> tuple[LocalIndex, FloatArray]:
    index = LocalIndex(r_c, dim)
    vectors = random_vectors(seed, n, r_c, dim).astype(np.float16).astype(np.float32)
    index.add([f"p{i}" for i in range(n)], vectors)
    return index, vectors


def clustered(n: int, queries: int, noise: float) -> tuple[FloatArray, FloatArray]:
    """Pages (n, 64, 128) in topics, and queries (queries, 16, 128) that each ask about parts of one page."""
    rng = np.random.default_rng(7)
    topics = rng.standard_normal((200, 128))
    pages = unit(topics[rng.integers(200, size=n)] + 0.8 * rng.standard_normal((n, 128)))
    vectors = np.empty((n, 64, 128), np.float32)
    for start in range(0, n, 500):
        some = pages[start : start + 500, None]
        own = rng.standard_normal((len(some), 64, 128), dtype=np.float32)
        vectors[start : start + 500] = unit(some + noise * own / np.sqrt(128))
    about, parts = rng.choice(n, queries, replace=False), rng.integers(64, size=(queries, 16))
    asked = vectors[about[:, None], parts] + 0.6 * rng.standard_normal((queries, 16, 128)) / np.sqrt(128)
    return vectors, unit(asked)


@pytest.mark.parametrize(
    ("stops", "scan"), [("1x1 4x8 32x128", 8), ("1x1 2x4 4x8 8x16 8x32 16x64", 16), ("4x8", 8), ("16x24", 16)]
)
def test_a_scan_reads_the_largest_stop_that_is_small_enough(stops: str, scan: int, tmp_path: Path) -> None:
    budgets = Budgets.parse(stops)
    r_q, r_c = budgets.full.r_q, budgets.full.r_c
    index, vectors = LocalIndex(r_c, 16, exact_up_to=50, budgets=budgets), random_vectors(0, 300, r_c, 16)
    index.add([f"p{i}" for i in range(300)], vectors)
    query = vectors[123, np.arange(r_q) % r_c]
    for kept in (index, LocalIndex.load(saved(index, tmp_path))):
        kept.exact_up_to, kept.recall = 50, 0.9
        assert kept.budgets == budgets
        assert kept.search(query, budgets.full, 3)[0].page_id == "p123"
        assert len(kept.coarse(query, budgets.full, 3)) < 300
        (block,) = kept._blocks
        assert block.part("prefix.0").shape[1] == scan


def saved(index: LocalIndex, folder: Path) -> Path:
    index.save(folder)
    return folder


def test_only_budgets_that_are_not_usual_are_written(tmp_path: Path) -> None:
    for name, r_c, budgets in (("mini", 64, OURS), ("four", 8, None), ("own", 8, Budgets.parse("1x1 4x8"))):
        index = LocalIndex(r_c, 4, budgets=budgets)
        index.add(["a"], random_vectors(0, 1, r_c, 4))
        head = json.loads((saved(index, tmp_path / name) / "index.json").read_text())
        assert head.get("budgets") == ("1x1 4x8" if name == "own" else None)
    for damage in ("1x1 4x9", "", "8x8 4x8", 7, None):
        (tmp_path / "own" / "index.json").write_text(json.dumps({**head, "budgets": damage}))
        with pytest.raises(ValueError, match="its head holds values that no index has"):
            LocalIndex.load(tmp_path / "own")


@pytest.mark.parametrize("budget", [*STOPS, Budget(3, 5)], ids=str)
def test_search_is_exact_maxsim_at_every_budget(budget: Budget) -> None:
    index, vectors = filled(300, r_c=64, dim=32)
    query = random_vectors(1, 16, 32)
    scores = maxsim(query[: budget.r_q], vectors[:, : budget.r_c])
    best = np.argsort(-scores)[:10]
    hits = index.search(query, budget, 10)
    assert [hit.page_id for hit in hits] == [f"p{i}" for i in best]
    assert [hit.rank for hit in hits] == list(range(1, 11))
    np.testing.assert_allclose([hit.score for hit in hits], scores[best], atol=1e-5)


def test_equal_scores_come_in_order_of_adding_even_when_slots_are_used_again() -> None:
    index = LocalIndex(2, 4)
    same = np.tile(random_vectors(0, 1, 2, 4), (1, 1, 1))
    for name in "abcdef":
        index.add([name], same)
    index.remove(["a", "c"])
    index.add(["g", "h"], np.repeat(same, 2, axis=0))  # they take the slots of a and c
    assert index.ids == ["b", "d", "e", "f", "g", "h"]
    assert [hit.page_id for hit in index.search(same[0], Budget(2, 2), 4)] == ["b", "d", "e", "f"]


def test_added_and_removed_pages_leave_the_index_of_the_rest() -> None:
    """Random adds and removes against a plain dict."""
    rng = np.random.default_rng(3)
    index, model = LocalIndex(4, 8), {}
    query = random_vectors(4, 3, 8)
    for step in range(120):
        if model and rng.random() < 0.4:
            gone = list(rng.choice(list(model), size=min(len(model), 3), replace=False))
            index.remove(gone)
            for page_id in gone:
                del model[page_id]
        else:
            vectors = random_vectors(100 + step, 2, 4, 8).astype(np.float16).astype(np.float32)
            names = [f"{step}a", f"{step}b"]
            index.add(names, vectors)
            model.update(zip(names, vectors, strict=True))
        assert index.ids == list(model)
        assert len(index) == len(model)
    np.testing.assert_array_equal(index.vectors(list(model)), np.stack(list(model.values())))
    scores = maxsim(query, np.stack(list(model.values())))
    expected = [list(model)[i] for i in np.argsort(-scores)[:5]]
    assert [hit.page_id for hit in index.search(query, Budget(3, 4), 5)] == expected


def test_bad_ids_and_shapes_are_refused_and_change_nothing() -> None:
    index, vectors = filled(3)
    with pytest.raises(ValueError, match="p1 is in the index already"):
        index.add(["new", "p1"], vectors[:2])
    with pytest.raises(ValueError, match="twice"):
        index.add(["x", "x"], vectors[:2])
    with pytest.raises(ValueError, match="need vectors"):
        index.add(["x"], vectors[:2])
    with pytest.raises(ValueError, match="not finite"):
        index.add(["x"], np.full((1, 8, 16), np.nan, np.float32))
    with pytest.raises(KeyError, match="nope"):
        index.remove(["p0", "nope"])
    with pytest.raises(KeyError, match="nope"):
        index.vectors(["nope"])
    with pytest.raises(ValueError, match="shape"):
        index.search(np.zeros((4, 5), np.float32), FULL, 3)
    assert index.ids == ["p0", "p1", "p2"]
    assert "new" not in index


def test_an_empty_index_finds_nothing() -> None:
    index = LocalIndex(8, 16)
    assert index.search(random_vectors(0, 4, 16), FULL, 5) == []
    assert index.vectors([]).shape == (0, 8, 16)


def test_bytes_per_page_are_two_for_each_component_of_the_prefix() -> None:
    index = LocalIndex(64, 128)
    assert [index.bytes_per_page(stop) for stop in STOPS] == [256, 1024, 2048, 4096, 16384]


@pytest.fixture(scope="module")
def large() -> tuple[LocalIndex, FloatArray]:
    vectors, queries = clustered(8_000, queries=15, noise=1.6)
    index = LocalIndex(64, 128)
    index.add([f"p{i}" for i in range(len(vectors))], vectors)
    return index, queries


@pytest.mark.parametrize("budget", STOPS, ids=str)
def test_the_coarse_stage_keeps_the_best_ten(large, budget: Budget) -> None:
    index, queries = large
    found = []
    for query in queries:
        assert len(index.coarse(query, budget, 10)) == (1_000 if budget == FULL else 50)
        quick = {hit.page_id for hit in index.search(query, budget, 10)}
        exact = {hit.page_id for hit in index.search(query, budget, 10, exact=True)}
        found.append(len(quick & exact) / 10)
    assert np.mean(found) >= 0.9


def test_the_largest_scores_are_found_whatever_a_sample_says() -> None:
    chance = np.random.default_rng(3)
    spread = chance.standard_normal(100_000).astype(np.float32)
    ascending = np.sort(spread)
    misled = np.where(np.arange(100_000) % 10 == 0, spread + 9, spread).astype(
        np.float32
    )  # the sample is high
    gone = np.where(np.arange(100_000) % 3 == 0, -np.inf, spread).astype(np.float32)
    for scores in (
        spread,
        ascending,
        ascending[::-1].copy(),
        misled,
        gone,
        spread[:50],
        np.zeros(9_000, np.float32),
    ):
        for n in (1, 40, 400):
            if n < len(scores):
                found = top_rows(scores, n)
                assert (np.diff(found) > 0).all()
                assert sorted(scores[found]) == sorted(scores)[-n:]


@pytest.mark.parametrize("kind", ["float16", "int8", "binary"])
def test_a_glance_at_few_tokens_keeps_what_the_scan_finds(large, kind: str, monkeypatch) -> None:
    index, queries = large
    index = index.stored_as(kind)
    index.exact_up_to = 0
    index.remove([f"p{i}" for i in range(0, len(index), 9)])  # pages that are gone stay in their slots
    scans: list[tuple[int, bool]] = []
    scan = Blocks.scan

    def noted(blocks: Blocks, *given) -> np.ndarray:
        scans.append((given[3], len(given) > 4 and given[4] is not None))
        return scan(blocks, *given)

    monkeypatch.setattr(Blocks, "scan", noted)
    whole = [index.coarse(query, FULL, 1) for query in queries]
    assert set(scans) == {(16, False)}, "of short vectors the whole scan is as quick"
    scans.clear()
    monkeypatch.setattr("metaembed_demo.index.cascade.GLANCE_FROM", 16 * 128)
    some = [index.coarse(query, FULL, 1) for query in queries]
    twice = [(4, False), (16, True)] if kind != "binary" else [(16, False)]
    assert scans == twice * len(queries)
    assert all(page_id in index for found in some for page_id in found)
    assert [len(found) for found in some] == [len(found) for found in whole]
    for query, few, all_ in zip(queries, some, whole, strict=True):
        assert index.rerank(query, FULL, few, 1) == index.rerank(query, FULL, all_, 1)
    scans.clear()
    index.coarse(queries[0], Budget(8, 8), 1)
    assert scans == [(8, False)], "eight tokens are scanned at once"


def test_the_coarse_stage_follows_adds_and_removes(large) -> None:
    index, queries = large
    budget = Budget(4, 8)
    best = index.search(queries[0], budget, 5)
    index.remove([best[0].page_id])
    assert best[0].page_id not in index.coarse(queries[0], budget, 10)
    assert index.search(queries[0], budget, 4) == [
        type(hit)(hit.page_id, hit.score, hit.rank - 1) for hit in best[1:]
    ]
    twin = np.concatenate([queries[0][:8], np.zeros((56, 128), np.float32)])[None]
    index.add(["twin"], twin)
    assert index.search(queries[0], budget, 1)[0].page_id == "twin"
    assert "twin" in index.coarse(queries[0], budget, 10)
    index.remove(["twin"])
    index.add([best[0].page_id], random_vectors(5, 1, 64, 128))


def test_small_indexes_offer_every_page_as_candidate() -> None:
    index, _ = filled(50)
    assert index.coarse(random_vectors(1, 4, 16), Budget(1, 1), 3) == index.ids


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    index, _ = filled(20)
    index.remove(["p3", "p7"])
    index.add(["late"], random_vectors(9, 1, 8, 16))
    index.save(tmp_path / "ix")
    index.save(tmp_path / "ix")  # over itself
    again = LocalIndex.load(tmp_path / "ix")
    assert again.ids == index.ids
    np.testing.assert_array_equal(again.vectors(again.ids), index.vectors(index.ids))
    query = random_vectors(2, 4, 16)
    assert again.search(query, FULL, 5) == index.search(query, FULL, 5)
    assert sorted(file.name for file in (tmp_path / "ix").iterdir()) == ["index.json", "segments"]


def test_damaged_missing_and_foreign_files_are_refused(tmp_path: Path) -> None:
    index, _ = filled(5)
    index.save(tmp_path)
    vectors = next(tmp_path.glob("segments/*/full.npy"))
    good = vectors.read_bytes()
    vectors.write_bytes(good[:-2] + b"\0\1")
    with pytest.raises(ValueError, match="checksum"):
        LocalIndex.load(tmp_path)
    vectors.write_bytes(good)
    head = json.loads((tmp_path / "index.json").read_text())
    (tmp_path / "index.json").write_text(json.dumps({**head, "format": 99}))
    with pytest.raises(ValueError, match="format 99"):
        LocalIndex.load(tmp_path)
    (tmp_path / "index.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        LocalIndex.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        LocalIndex.load(tmp_path / "nowhere")
