"""The image projection, fitted to synthetic data with known results."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from metaembed_demo.core.budgets import BUDGETS
from metaembed_demo.core.types import Page, Query, View, Word
from metaembed_demo.documents.image_colours import ground
from metaembed_demo.documents.image_tags import image_views, tag_image
from metaembed_demo.encoders.mini import minilm
from metaembed_demo.encoders.mini.encoder import Mini
from metaembed_demo.encoders.mini.image_projection import (
    CLASSES,
    FEATURES,
    CaptionedDrawings,
    ImageProjection,
)
from metaembed_demo.encoders.mini.text_path import WIDTH
from metaembed_demo.index.maxsim import maxsim
from metaembed_demo.training.mini import clipart, emoji, image_captions
from metaembed_demo.training.mini.clipart import Drawing

WHOLE = (0.0, 0.0, 1.0, 1.0)


def axis(n: int, of: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(n), of).float()


def view(features: torch.Tensor, likely: int | None = None) -> View:
    probability = torch.full((CLASSES,), 1 / CLASSES) if likely is None else axis(likely, CLASSES)
    return View(WHOLE, features.numpy(), probability.numpy())


@pytest.fixture
def fitted() -> ImageProjection:
    """Drawings 0-3 lie along features 0-3 and are captioned along dimensions 0-3; class c along 100 + c."""
    features = torch.stack([3 * axis(n % 4, FEATURES) for n in range(40)])
    captions, owners = torch.eye(4, WIDTH), torch.arange(40) % 4
    names = torch.stack([axis(100 + c % 200, WIDTH) for c in range(CLASSES)])
    rows = torch.stack([axis(200 + c, FEATURES) for c in range(CLASSES)])
    projection = ImageProjection()
    projection.fit(CaptionedDrawings(features, captions, owners), rows, names, names)
    return projection


def test_pictures_are_explained_to_several_visitors_at_once(fitted: ImageProjection) -> None:
    seen, changes, rows = view(axis(0, FEATURES)), torch.eye(9, FEATURES), torch.zeros(CLASSES, FEATURES)
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(lambda _: fitted.jvp(seen, changes, rows), range(60)))
    for each in found:
        torch.testing.assert_close(each, found[0])


@pytest.mark.parametrize("kind", range(4))
def test_a_view_like_a_drawing_points_to_its_caption(fitted: ImageProjection, kind: int) -> None:
    (vector,) = fitted([view(3 * axis(kind, FEATURES))])
    assert vector[:4].argmax() == kind
    assert vector[kind] > 0.6
    assert vector.norm() == pytest.approx(1, abs=1e-5)


def test_a_sure_class_points_to_its_name(fitted: ImageProjection) -> None:
    nowhere = fitted.mean
    (vector,) = fitted([view(nowhere, likely=7)])
    assert vector.argmax() == 107


def test_features_along_a_class_row_point_to_its_name(fitted: ImageProjection) -> None:
    projected = fitted.standardised(fitted.mean + 0.01 * axis(207, FEATURES)) @ fitted.projection
    assert projected.argmax() == 107


def test_no_views_and_nothing_fitted_are_no_error(fitted: ImageProjection) -> None:
    assert fitted([]).shape == (0, WIDTH)
    assert torch.isfinite(ImageProjection()([view(axis(0, FEATURES))])).all()


# In the encoder


def drawn(shape: str, size: int = 240, colour: str = "orange") -> Image.Image:
    image = Image.new("RGB", (size, size), "white")
    pen = ImageDraw.Draw(image)
    if shape == "disc":
        pen.ellipse((20, 20, size - 20, size - 20), fill=colour, outline="black", width=4)
    else:
        for x in range(20, size - 20, 24):
            pen.rectangle((x, 40, x + 10, size - 40), fill=colour)
    return image


def page_of(image: Image.Image, name: str) -> Page:
    words, views = tag_image(image)
    return Page(name, f"{name}.png", 1, None).with_words(words, views)


def test_another_drawing_of_the_shape_is_nearest(mini: Mini) -> None:
    """Tags are nearly equal; views distinguish discs from bars at every budget."""
    words = (Word("drawing", WHOLE, "visual"),)
    pages = [page_of(drawn("disc"), "disc"), page_of(drawn("bars"), "bars")]
    alike = [page.with_words(words, page.views) for page in pages]
    vectors = np.stack([e.vectors for e in mini.encode_pages(alike)])
    (query,) = mini.encode_queries([Query(image=drawn("disc", 200, "green"))])
    for r_q, r_c in BUDGETS:
        scores = maxsim(query.vectors[:r_q], vectors[:, :r_c])
        assert scores.argmax() == 0, (r_q, r_c)


def test_views_change_a_page_and_its_batch_does_not(mini: Mini) -> None:
    seen = page_of(drawn("disc"), "disc")
    words = Page("w", "w.pdf", 1, None, tuple(Word(w, WHOLE) for w in ["notes", "on", "a", "round", "table"]))
    both = words.with_words(words.words, seen.views)
    alone = [mini.encode_pages([page])[0].vectors for page in (seen, words, both)]
    together = [e.vectors for e in mini.encode_pages([seen, words, both])]
    for one, many in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, many, atol=1e-4)
        np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1, atol=1e-5)
    assert float((alone[1][0] * alone[2][0]).sum()) < 0.99


# Views


def test_ground_finds_the_object_and_its_background() -> None:
    image = Image.new("RGB", (100, 60), (250, 240, 230))
    image.paste((10, 20, 200), (30, 10, 50, 40))
    assert ground(image) == ((250, 240, 230), (30, 10, 50, 40))
    assert ground(Image.new("RGB", (50, 50), "red")) is None
    noise = np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8)
    assert ground(Image.fromarray(noise)) is None


def test_the_whole_picture_is_the_first_view_and_regions_follow() -> None:
    views = image_views(drawn("disc"))
    assert [each.box == WHOLE for each in views] == [True, *[False] * 5]
    (shown,) = tag_image(drawn("disc")).views
    np.testing.assert_allclose(shown.features, views[0].features, atol=1e-4)
    for each in views:
        assert each.features.shape == (FEATURES,)
        assert each.probability.sum() == pytest.approx(1, abs=1e-4)
    (alone,) = image_views(drawn("disc"), regions=False)
    np.testing.assert_allclose(alone.features, views[0].features, atol=1e-4)


def test_background_size_does_not_change_features() -> None:
    image = drawn("bars")
    wide = Image.new("RGB", (400, 300), "white")
    wide.paste(image, (120, 30))
    first, second = (image_views(each, regions=False)[0].features for each in (image, wide))
    mirrored = image_views(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), regions=False)[0].features
    cosine = float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))
    assert cosine > 0.8
    np.testing.assert_allclose(mirrored, first, atol=0.05)


# What it is fitted to


@pytest.mark.slow
def test_features_of_drawings_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def render(drawing: Drawing, target: Path) -> None:
        rendered.append(drawing.name)
        drawn(drawing.title).save(target)

    rendered: list[str] = []
    drawings = [Drawing(f"{title}.svg", Path(), title, ()) for title in ("disc", "bars")]
    monkeypatch.setattr(clipart, "fetch", lambda data: data)
    monkeypatch.setattr(clipart, "training_drawings", lambda folder: drawings)
    monkeypatch.setattr(clipart, "render", render)
    monkeypatch.setattr(emoji, "fetch", lambda data: data)
    monkeypatch.setattr(emoji, "training_drawings", lambda folder: [])
    text = minilm.load()
    first = ImageProjection()
    image_captions.fit(first, text, tmp_path)
    kept = image_captions._features(drawings, tmp_path / image_captions.KEPT)
    assert rendered == ["disc.svg", "bars.svg"]
    assert list(kept) == rendered
    seen = image_views(drawn("disc"), regions=False)[0]
    np.testing.assert_allclose(kept["disc.svg"], seen.features, atol=1e-3)
    shown = first([seen])[0]
    disc, bars = (torch.from_numpy(text.embed([word])[0]) for word in ("disc", "bars"))
    assert shown @ disc > shown @ bars
