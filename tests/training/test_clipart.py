"""Captioned drawings: usable titles, dev split, rendering."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from metaembed_demo.training.mini import clipart
from metaembed_demo.training.mini.clipart import (
    FOLDER,
    Drawing,
    drawings,
    is_dev,
    plain_title,
    render,
    training_drawings,
)

SVG = """<svg xmlns="http://www.w3.org/2000/svg" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:cc="http://web.resource.org/cc/" xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 width="40" height="20"><metadata><rdf:RDF><cc:Work><dc:title>{title}</dc:title><dc:subject><rdf:Bag>
 <rdf:li>kite</rdf:li><rdf:li>qwxz</rdf:li></rdf:Bag></dc:subject></cc:Work></rdf:RDF></metadata>
 <rect width="40" height="20" fill="red"/></svg>"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    words = tmp_path / "wordnet-base/usr/share/wordnet"
    words.mkdir(parents=True)
    line = "00001740 03 n 02 kite 0 toy_boat 0 000 | something that flies  \n"
    for name in ("data.noun", "data.verb", "data.adj"):
        (words / name).write_text("  licence\n" + line)
    root = tmp_path / clipart.PACKAGE / FOLDER
    for name, title in {
        "recreation/kite_01.svg": "Kites (BW)",
        "recreation/cerf_volant.svg": "cerf-volant",
        "recreation/games/cards/card.svg": "kite",
        "shapes/kite.svg": "kite",
        "tools/broken.svg": "",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(SVG.format(title=title))
    (root / "tools/broken.svg").write_text("<svg")
    return root


def test_only_things_with_known_words_for_a_title_count(folder: Path) -> None:
    (found,) = drawings(folder)
    assert (found.name, found.title, found.keywords) == ("recreation/kite_01.svg", "kite", ("kite",))


def test_an_untitled_drawing_is_for_training_by_its_keywords(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {drawing.name: drawing for drawing in drawings(folder, untitled=True)}
    assert set(found) == {"recreation/kite_01.svg", "recreation/cerf_volant.svg"}
    untitled = found["recreation/cerf_volant.svg"]
    assert (untitled.title, untitled.caption) == ("", "kite")
    monkeypatch.setattr(clipart, "is_dev", lambda drawing: False)
    assert len(training_drawings(folder)) == 2
    monkeypatch.setattr(clipart, "is_dev", lambda drawing: drawing.title == "kite")
    assert training_drawings(folder) == []  # its keyword is a title of the dev set


def test_titles_become_plain_words() -> None:
    known = frozenset({"toy", "boat", "christmas", "bus"})
    assert plain_title("ToyBoats_02 with colour", known) == "toy boat"
    assert plain_title("Christmas bus", known) == "christmas bus"
    assert plain_title("toy " * 6, known) == ""
    assert plain_title("the", known) == ""


def test_drawings_of_one_title_stay_together() -> None:
    titles = [f"title {n}" for n in range(200)]
    dev = {title for title in titles if is_dev(Drawing("a.svg", Path(), title, ()))}
    assert dev == {title for title in titles if is_dev(Drawing("b.svg", Path("x"), title, ("k",)))}
    assert 50 < len(dev) < 110


def test_a_drawing_is_rendered_on_white(folder: Path, tmp_path: Path) -> None:
    (found,) = drawings(folder)
    render(found, tmp_path / "kite.png")
    with Image.open(tmp_path / "kite.png") as picture:
        assert picture.size == (380, 190)
        assert picture.convert("RGB").getpixel((9, 9)) == (255, 0, 0)


def test_a_missing_renderer_is_named(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = drawings(folder)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RuntimeError, match="librsvg2-bin"):
        render(found, tmp_path / "kite.png")
