"""Emoji as captioned drawings."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from metaembed_demo.training.mini import emoji
from metaembed_demo.training.mini.clipart import render

CODES = {"1F431": "cat face", "1F436": "dog face", "1F697": "automobile", "1F34E": "red apple"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "emoji"
    for language in ("en", *emoji.LANGUAGES):
        rows = [
            {
                "hexcode": f"{code}-FE0F",
                "label": label if language == "en" else f"{label} {language}",
                "group": 3,
            }
            for code, label in CODES.items()
        ]
        rows.append({"hexcode": "1F1E9", "label": "flag", "group": 9})
        (found / "names" / language).mkdir(parents=True)
        (found / "names" / language / "data.json").write_text(json.dumps(rows))
    for style in emoji.PACKAGES:
        (found / style).mkdir()
        icons = {f"icon-{code}": {"body": '<rect width="9" height="9" fill="red"/>'} for code in CODES}
        icons["icon-1F34E"]["hidden"] = True  # type: ignore[assignment]
        (found / style / "icons.json").write_text(json.dumps({"icons": icons, "width": 12, "height": 12}))
        codes = {code.lower(): f"icon-{code}" for code in CODES}
        (found / style / "chars.json").write_text(json.dumps(codes))
    return found


def test_drawings_are_named_in_several_languages(folder: Path) -> None:
    named = emoji.names(folder)
    assert "1f1e9" not in named
    found = list(emoji.drawings(folder, "noto", named))
    assert [drawing.caption for drawing in found] == ["cat face", "dog face", "automobile"]
    assert dict(found[0].names)["ja"] == "cat face ja"


def test_the_dev_set_is_drawings_of_one_style_whose_names_are_trained_in_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emoji, "DEV_SHARE", 1)  # all names of that style
    trained, kept = emoji.training_drawings(folder), emoji.dev_drawings(folder)
    assert {drawing.title for drawing in kept} == {drawing.title for drawing in trained}
    assert all(drawing.name.startswith("openmoji/") for drawing in kept)
    assert {drawing.name.split("/")[0] for drawing in trained} == {"noto", "twemoji", "fluent"}


def test_a_drawing_renders(folder: Path, tmp_path: Path) -> None:
    (drawing, *_) = emoji.drawings(folder, "noto", emoji.names(folder))
    render(drawing, tmp_path / "cat.png")
    assert (tmp_path / "cat.png").stat().st_size > 100


def test_a_package_that_cannot_be_fetched_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise subprocess.CalledProcessError(1, "npm")

    monkeypatch.setattr(subprocess, "run", fails)
    with pytest.raises(RuntimeError, match=r"npm package @iconify-json/noto@\S+ could not be fetched"):
        emoji.fetch(tmp_path)
