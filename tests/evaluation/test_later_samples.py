"""The sample corpus of an encoder that has no GPU before the app is served."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from metaembed_demo.core.types import Embedding, Page
from metaembed_demo.evaluation.later_samples import LaterSamples
from tests.support.dummy_encoder import DummyEncoder
from tests.support.tiny_vlm import picture


def corpus(folder: Path) -> Path:
    folder.mkdir()
    for i in range(2):
        picture(i, 120, 90).save(folder / f"drawing {i}.png")
    return folder


def test_pages_come_later_and_what_is_missing_is_told(tmp_path: Path) -> None:
    said: list[str] = []
    later = LaterSamples(DummyEncoder(), corpus(tmp_path / "corpus"), tmp_path / "cache", said.append)
    assert len(later.samples.collection) == 0
    assert "being encoded" in later.progress()
    later._progress("  1 of 2 sample pages, drawing 0.png")
    assert "1 of 2 sample pages" in later.progress()
    later.fill_behind().join()
    assert len(later.samples.collection) == 2
    assert later.progress() == ""
    assert said[-1] == "The 2 sample pages are encoded."


class Refused(DummyEncoder):
    """Asks for a GPU and does not get it."""

    def encode_pages(self, pages: Sequence[Page]) -> list[Embedding]:
        raise RuntimeError("Space app has reached its GPU limit.")


def test_a_gpu_that_is_refused_is_told(tmp_path: Path) -> None:
    later = LaterSamples(Refused(), corpus(tmp_path / "corpus"), tmp_path / "cache", lambda line: None)
    later.fill()
    assert later.progress().endswith("missing here: Space app has reached its GPU limit.")
    assert len(later.samples.collection) == 0
