"""Calibrations of a collection: kept, carried, stale when pages change, and borrowed from the samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metaembed_demo.collection import index_file
from metaembed_demo.collection.calibration import OWN, SAMPLES, Auto, Calibrations, Kept
from metaembed_demo.collection.collection import Collection
from metaembed_demo.core.budgets import STOPS, Budget
from metaembed_demo.core.types import Upload
from metaembed_demo.evaluation.auto_study import calibrated
from metaembed_demo.index.auto import Calibration
from metaembed_demo.index.cascade import Stage
from tests.support.index_files import ENCODER, collection_of, edit_head, refused, repack

WORDS = [f"w{at}{end}" for at in range(400) for end in ("ing", "ed")]


def texts(pages: int, seed: int = 1) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, 40, replace=False)) for _ in range(pages)]


def entry(pages: int) -> Calibrations:
    found = Calibration((Stage(Budget(1, 4), 0.2),), STOPS[-1], 0.98, 0.95, 0.06, 40, pages)
    return Calibrations(pages, found)


def of(collection: Collection, samples: Kept | None = None) -> Auto:
    return Auto.of_pages(collection.index, collection.calibrations, samples)


@pytest.fixture(scope="module")
def large() -> Collection:
    """Sixty pages, calibrated."""
    found = collection_of(*texts(60))
    calibrated(found, ENCODER)
    return found


def test_pages_are_calibrated_and_that_is_kept_and_carried(large: Collection, tmp_path: Path) -> None:
    auto = of(large)
    assert auto.of == OWN
    assert not auto.wanted
    assert auto.calibration is not None
    assert auto.calibration.queries >= 30
    assert auto.calibration.pages == 60
    assert "the same first page as 16x64" in auto.promise()
    assert of(large.copy()) == auto
    large.save(tmp_path / "kept")
    assert of(Collection.load(tmp_path / "kept", ENCODER.fingerprint)).as_json() == auto.as_json()
    file = Upload(index_file.pack(large, tmp_path), "mine.zip")
    home = Collection.for_encoder(ENCODER)
    index_file.add(home, file)
    assert of(home).as_json() == auto.as_json()
    many = collection_of(*texts(30, seed=2), source="other.pdf")
    index_file.add(many, file)
    assert of(many).wanted, "a third of the pages are others"


def test_a_calibration_is_stale_when_a_fifth_of_the_pages_changed(large: Collection) -> None:
    changed = large.copy()
    changed.merge(collection_of(*texts(12, seed=3), source="more.pdf"))
    assert not of(changed).wanted
    changed.merge(collection_of("one page more", source="last.pdf"))
    assert of(changed).wanted
    assert of(changed).of == OWN, "it serves until there is another"
    assert not of(large).wanted, "copies change alone"
    changed.remove("guide.pdf")
    assert of(changed).of == "", "of thirteen pages it says nothing"


def test_a_small_collection_uses_the_samples_and_says_so(large: Collection) -> None:
    small = collection_of(*texts(3))
    assert of(small, large.calibrations).of == SAMPLES
    assert of(small, large.calibrations).note == (
        "A calibration of these pages' own needs 50 pages; there are 3."
    )
    alone = of(small)
    assert alone.calibration is None
    assert alone.promise() == ""
    assert alone.note.endswith("needs 50 pages; there are 3. Until then everything is scored in full.")
    small.index = small.index.stored_as("int8")
    assert of(small, large.calibrations).calibration is None, "each storage kind has its own"


def test_pages_without_words_are_tried_once() -> None:
    pictures = collection_of(*[f"p{at}" for at in range(55)])
    assert of(pictures).wanted
    calibrated(pictures, ENCODER)
    assert not of(pictures).wanted
    assert "fewer than 30 known-item queries" in of(pictures).note


def test_a_large_index_is_calibrated_by_what_it_scans(large: Collection) -> None:
    scanned = large.copy()
    scanned.index.exact_up_to = 20
    found = calibrated(scanned, ENCODER).auto
    assert found is not None
    assert all(stage.budget.r_c <= 16 for stage in found.stages)


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {"tape": {"pages": 1, "changed": 0}},
        {"float16": {"pages": 60}},
        {"float16": {"pages": True, "changed": 0}},
        {"float16": {"pages": 60, "changed": -1}},
        {"float16": {"pages": 60, "changed": 0, "auto": {}}},
        {"float16": {"pages": 60, "changed": 0, "auto": None}},
        {"float16": 7},
    ],
)
def test_what_is_no_calibration_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"calibration|storage"):
        Kept.from_json(wrong)


def test_a_file_with_a_wrong_calibration_is_refused(tmp_path: Path) -> None:
    home = collection_of("tank of the coffee machine")
    file = Upload(index_file.pack(home, tmp_path), "mine.zip")

    def change(head: dict[str, Any]) -> None:
        head["calibrations"] = {"float16": {"pages": 1e300, "changed": 0}}

    message = refused(home, repack(file, edit_head(change), tmp_path))
    assert "is damaged: its calibration is none" in message
    home.save(tmp_path / "saved")
    manifest = tmp_path / "saved" / "manifest.json"
    head = json.loads(manifest.read_text())
    change(head)
    manifest.write_text(json.dumps(head))
    with pytest.raises(ValueError, match="is damaged: its calibration is none"):
        Collection.load(tmp_path / "saved", ENCODER.fingerprint)


def test_json_goes_round() -> None:
    kept = Kept({"int8": entry(60)})
    kept.note(3)
    again = Kept.from_json(json.loads(json.dumps(kept.as_json())))
    assert again.as_json() == kept.as_json()
    assert again.as_json()["int8"]["changed"] == 3
