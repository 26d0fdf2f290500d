"""What needs no foreign package of benchmarks/interop: a saved index, read with numpy alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.interop.environments import run_foreign
from benchmarks.interop.foreign import saved_index
from benchmarks.interop.index import _agreement, check
from metaembed_demo.collection.collection import Collection
from metaembed_demo.core.config import PATHS
from metaembed_demo.evaluation.beir import load_beir
from metaembed_demo.index.local import LocalIndex
from tests.support.dummy_encoder import DummyEncoder
from tests.support.sample_pages import fill, make_page, random_vectors


def test_an_index_is_read_without_its_removed_pages(tmp_path: Path) -> None:
    index = LocalIndex(64, 24)
    index.add([f"p{i}" for i in range(20)], random_vectors(0, 20, 64, 24))
    index.save(tmp_path)
    index.add(["ä", "new"], random_vectors(1, 2, 64, 24))
    index.remove(["p3", "p19"])
    index.save(tmp_path)
    ids, vectors = saved_index.read(tmp_path)
    assert ids == index.ids
    assert len(ids) == 20
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, index.full(ids))


def test_a_collection_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = Collection.for_encoder(DummyEncoder())
    fill(monkeypatch, collection, *(make_page("a.pdf", n, f"page {n}") for n in (1, 2, 3)))
    collection.save(tmp_path / "kept")
    ids, vectors = saved_index.read(tmp_path / "kept")
    assert ids == list(collection.pages)
    np.testing.assert_array_equal(vectors, collection.index.full(ids))


def test_it_imports_numpy_alone(tmp_path: Path) -> None:
    LocalIndex(4, 8).save(tmp_path)
    script = (
        "import sys, saved_index\n"
        f"assert saved_index.read({str(tmp_path)!r})[1].shape == (0, 4, 8)\n"
        "assert not {'metaembed_demo', 'torch', 'PIL'} & set(sys.modules)\n"
    )
    folder = Path(saved_index.__file__).parent
    ran = subprocess.run([sys.executable, "-E", "-c", script], cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_agreement_counts_pages_order_and_first_ones() -> None:
    exact = [list("abcdefghij"), list("abcdefghij")]
    theirs = [list("abcdefghij") + ["x"] * 40, list("bacdefghix")]
    assert _agreement(exact, theirs) == {
        "overlap@10": 0.95,
        "kendall_tau": pytest.approx((1 + 34 / 36) / 2, abs=1e-4),
        "same_first": 0.5,
        "same_ten_in_order": 0.5,
    }


@pytest.mark.slow
def test_qdrant_in_a_process_without_us_finds_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = DummyEncoder()
    collection = Collection.for_encoder(encoder)
    asked = [query.text for query in load_beir(PATHS.sample_corpus).queries.values()]
    fill(monkeypatch, collection, *(make_page("a.pdf", n, " ".join(asked[n::12])) for n in range(12)))
    found = check("qdrant", Path(sys.executable), collection, encoder, tmp_path)
    assert (found["pages"], found["queries"]) == (12, 180)
    assert [row["budget"] for row in found["rows"]] == ["1x1", "2x4", "4x8", "8x16", "16x64"]
    for row in found["rows"]:
        assert row["scores_differ_by"] < 1e-4
        assert row["overlap@10"] > 0.99  # equal scores may come in another order
        assert row["kendall_tau"] > 0.99


def test_a_failure_says_what_the_foreign_program_said(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)searched_by_qdrant\.py ended with 1:.*No such file"):
        run_foreign(Path(sys.executable), "searched_by_qdrant.py", tmp_path, tmp_path / "none", tmp_path)
