"""The command line's storage kinds, and an index pushed to Qdrant and searched there."""

from pathlib import Path

import pytest

from metaembed_demo.cli import commands
from metaembed_demo.collection.collection import Collection
from tests.cli.test_cli import index, ok, pictures, quick, run  # noqa: F401  # fixtures
from tests.support.dummy_encoder import DummyEncoder

FINGERPRINT = DummyEncoder().fingerprint


def kind(path: Path) -> tuple[str, bool]:
    found = Collection.load(path, FINGERPRINT).index
    return found.storage, found.has_full


def test_an_index_is_kept_as_asked_and_stays_so(index: Path, pictures: Path, capfd) -> None:  # noqa: F811
    assert kind(index) == ("float16", True)
    ok(capfd, "index", pictures, "--out", index, "--storage", "int8")
    assert kind(index) == ("int8", True)
    small = ok(capfd, "search", index, "sleeping cat", "--budget", "16x64")
    assert small["hits"][0]["file"] == "sleeping-cat.png"
    assert small["bytes_per_page"] < 0.6 * 64 * DummyEncoder().dim * 2
    ok(capfd, "index", pictures, "--out", index)  # added to: it stays int8
    assert kind(index) == ("int8", True)
    ok(capfd, "index", pictures, "--out", index, "--storage", "int8", "--no-full")
    assert kind(index) == ("int8", False)
    status, _, err = run(capfd, "index", pictures, "--out", index, "--storage", "float16")
    assert status == 2
    assert "keeps int8 codes only" in err


def test_codes_scored_again_by_the_full_vectors_give_exact_scores(index: Path, pictures: Path, capfd) -> None:  # noqa: F811
    exact = ok(capfd, "search", index, "sleeping cat")["hits"]
    ok(capfd, "index", pictures, "--out", index, "--storage", "binary")
    coded = ok(capfd, "search", index, "sleeping cat")["hits"]
    assert [hit["score"] for hit in coded] != [hit["score"] for hit in exact]
    assert ok(capfd, "search", index, "sleeping cat", "--refine", 3)["hits"] == exact
    assert ok(capfd, "search", index, "sleeping cat", "--exact")["hits"] == exact


def test_too_few_pages_for_a_codebook(index: Path, pictures: Path, capfd) -> None:  # noqa: F811
    status, _, err = run(capfd, "index", pictures, "--out", index, "--storage", "pq")
    assert status == 2
    assert "pages" in err
    assert kind(index) == ("float16", True)


@pytest.mark.parametrize("share", ["0", "1.5", "much"])
def test_a_recall_target_is_a_share(index: Path, capfd, share: str) -> None:  # noqa: F811
    status, _, err = run(capfd, "search", index, "cat", "--recall", share)
    assert status == 2
    assert "is not a share" in err


def test_an_index_is_pushed_and_searched_there(
    index: Path,  # noqa: F811
    pictures: Path,  # noqa: F811
    tmp_path: Path,
    capfd,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    remote = str(tmp_path / "qdrant")
    status, _, err = run(capfd, "search", index, "sleeping cat", "--qdrant", remote)
    assert status == 2
    assert "Push it first" in err
    assert ok(capfd, "push", index, remote)["pages"] == 3
    here = ok(capfd, "search", index, "sleeping cat")["hits"]
    there = ok(capfd, "search", index, "sleeping cat", "--qdrant", remote)["hits"]
    assert [hit["id"] for hit in there] == [hit["id"] for hit in here]
    assert there[0]["score"] == pytest.approx(here[0]["score"], abs=1e-3)
    words = [
        ok(capfd, "search", index, "invoice", "--mode", "words", *more) for more in ([], ["--qdrant", remote])
    ]
    assert [h["id"] for h in words[0]["hits"]] == [h["id"] for h in words[1]["hits"]] != []
    second = ("search", index, "cat", "--qdrant", remote, "--complement", "other")
    assert "give --gqr STEPS" in run(capfd, *second)[2]
    assert "another encoder refines a query" in run(capfd, *second, "--gqr", 5)[2]
    other = DummyEncoder(dim=32)
    other.fingerprint = "other-1"
    by_name = {"other": other}
    with monkeypatch.context() as patched:
        patched.setattr(commands, "load_encoder", lambda name: by_name.get(name, DummyEncoder()))
        assert ok(capfd, *second, "--gqr", 5)["timings_ms"]["complement"] > 0
    (pictures / "old-invoice.png").unlink()
    ok(capfd, "index", pictures, "--out", tmp_path / "other")
    assert ok(capfd, "push", tmp_path / "other", remote)["pages"] == 2  # what is gone is removed there
    assert len(ok(capfd, "search", tmp_path / "other", "cat", "--qdrant", remote)["hits"]) == 2
