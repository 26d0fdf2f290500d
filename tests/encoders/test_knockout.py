"""Maps of vision-language models: cells of every processor, cached passes, and whether maps are right."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image

from metaembed_demo.core.budgets import Budget
from metaembed_demo.core.types import Box, FloatArray, Page, Query, Word
from metaembed_demo.encoders.base import Explainable
from metaembed_demo.encoders.hiding import painted
from metaembed_demo.encoders.vlm.cells import Cells, picture_cells, text_cells
from metaembed_demo.encoders.vlm.encoder import VLM
from metaembed_demo.encoders.vlm.evidence import LostEvidence
from metaembed_demo.encoders.vlm.knockout import DEEP, Knockout
from metaembed_demo.encoders.vlm.prompts import Item
from metaembed_demo.explain.explainer import PageAttribution
from metaembed_demo.explain.occlusion import Occlusion
from tests.support.colour_cells import COLOURS, COLUMNS, ROWS, coloured, drawn_cell, trained
from tests.support.evidence import evidence_of
from tests.support.tiny_vlm import BACKBONES, encoder, picture, shared

pytestmark = pytest.mark.slow
EVERY = pytest.mark.parametrize("name", [*BACKBONES, "paligemma_2"])
BOTH_WAYS = ("modernvbert", "paligemma", "paligemma_2")  # pictures attend to what follows
TEXT = "a longer query, this is"


def of_picture(made: VLM, image: Image.Image) -> tuple[Knockout, Cells]:
    inputs, keep = made.inputs([Item("", image)], False)
    found = picture_cells(made.processor, made.network.model.config, inputs, image.size)
    return Knockout(made.network, made.placed(inputs), keep), found


def of_text(made: VLM, item: Item) -> tuple[Knockout, Cells]:
    inputs, keep = made.inputs([item], True)
    found = text_cells(made.reader, made.reader.frame(item, True), item.text, inputs)
    return Knockout(made.network, made.placed(inputs), keep), found


@EVERY
def test_cached_passes_equal_whole_ones(name: str) -> None:
    """In float64, so that only rounding to float32 is between them."""
    made = encoder(name)
    made.network.double()
    for knockout, cells in (
        of_picture(made, picture(2, 120, 90)),
        of_text(made, Item(TEXT, None)),
        of_text(made, Item(TEXT, picture(3))),
    ):
        cached, whole = (
            torch.cat(list(knockout.vectors(cells, batch, cached=kept))).numpy()
            for batch, kept in ((3, True), (8, False))
        )
        np.testing.assert_allclose(cached, whole, atol=4e-7)
        np.testing.assert_allclose(cached[0], knockout.whole.numpy(), atol=4e-7)
        assert cached.shape[0] == len(cells.words) + 1
        assert np.abs(cached[1:] - cached[0]).max((1, 2)).min() > 1e-5, "every cell counts"


@EVERY
def test_cells_lie_where_the_processor_has_put_them(name: str) -> None:
    """What is painted in a cell changes most what enters the language model at the cell's places."""
    made, image = shared(name), picture(2, 120, 90)
    knockout, cells = of_picture(made, image)
    key = "cross_attention_states" if cells.beside else "inputs_embeds"
    area = sum((w.box[2] - w.box[0]) * (w.box[3] - w.box[1]) for w in cells.words)
    assert area == pytest.approx(1, abs=1e-6), "they cover the page once"
    before = knockout.given[key].flatten(0, 1)
    hits = []
    for word, places in zip(cells.words, cells.places, strict=True):
        pixels = np.asarray(image).copy()
        x0, y0, x1, y1 = (round(edge * side) for edge, side in zip(word.box, image.size * 2, strict=True))
        pixels[y0:y1, x0:x1] = 255 - pixels[y0:y1, x0:x1]
        changed = of_picture(made, Image.fromarray(pixels))[0].given[key].flatten(0, 1)
        moved = (changed - before).norm(dim=-1)
        hits.append(int(moved.argmax()) in places)
    assert np.mean(hits) >= 0.9, hits


@EVERY
def test_words_are_found_among_the_tokens(name: str) -> None:
    made = shared(name)
    for item in (Item(TEXT, None), Item(TEXT, picture(3))):
        inputs, _ = made.inputs([item], True)
        cells = text_cells(made.reader, made.reader.frame(item, True), item.text, inputs)
        assert [word.text for word in cells.words] == TEXT.split()
        for word, places in zip(cells.words, cells.places, strict=True):
            ids = inputs["input_ids"][0][list(places)]
            assert made.processor.tokenizer.decode(ids).replace(" ", "") == word.text
    assert text_cells(made.reader, made.reader.frame(item, True), "", inputs) == Cells((), ())


def test_a_fine_grid_is_blocked_in_squares() -> None:
    made, image = shared("qwen2_vl"), Image.new("RGB", (112, 168))
    inputs, _ = made.inputs([Item("", image)], False)
    cells = picture_cells(made.processor, made.network.model.config, inputs, image.size, 6)
    assert [len(places) for places in cells.places] == [4] * 6
    assert cells.words[1].box == (0.5, 0.0, 1.0, pytest.approx(1 / 3))
    every = sorted(place for places in cells.places for place in places)
    assert every == list(range(every[0], every[0] + 24))


def test_an_unknown_attention_is_refused() -> None:
    """Taken for a causal one, PaliGemma's would give other vectors."""
    knockout, cells = of_text(shared("paligemma"), Item(TEXT, picture(3)))
    knockout.mask = torch.ones(1, 1, knockout.length, knockout.length).tril().bool()
    assert knockout.causal
    with pytest.raises(ValueError, match="attention of paligemma is not known"):
        next(knockout.vectors(cells, 4))


@EVERY
def test_evidence_of_pages_and_queries(name: str) -> None:
    made = shared(name)
    assert isinstance(made, Explainable)
    page = Page("p", "p.png", 1, picture(2, 120, 90))
    *progress, found = made.page_evidence(page)
    assert isinstance(found, LostEvidence)
    assert progress[-1] == (len(found.words) + 1,) * 2
    np.testing.assert_allclose(found.vectors(), made.encode_pages([page])[0].vectors, atol=1e-5)
    np.testing.assert_allclose(found.read().sum(1), 1, atol=1e-4)
    asked = made.query_evidence(Query(TEXT))
    np.testing.assert_allclose(asked.vectors(), made.encode_queries([Query(TEXT)])[0].vectors, atol=1e-5)
    assert [word.text for word in asked.words] == TEXT.split()
    assert asked.read().shape == (16, 5)
    winners = (asked.vectors() @ found.vectors().T).argmax(1)
    assert found.map(asked.vectors(), winners).shape == (16, len(found.words))
    hidden = np.arange(len(found.words)) == 0
    assert made.without(page, found, ~hidden & hidden).image is page.image
    assert made.without(page, found, hidden).image != page.image


def test_a_page_of_text_is_explained_by_its_words() -> None:
    words = tuple(Word(text, (i / 4, 0, i / 4 + 0.2, 0.1)) for i, text in enumerate(("one", "two", "three")))
    made = shared("qwen2_5_vl")
    page = Page("p", "p.txt", 1, None, words)
    found = evidence_of(made, page)
    assert [(word.text, word.box) for word in found.words] == [(word.text, word.box) for word in words]
    assert made.without(page, found, np.array([False, True, False])).text == "one three"


@pytest.mark.parametrize("name", BOTH_WAYS)
def test_others_encode_between_two_passes_as_they_would_alone(name: str) -> None:
    made = encoder(name)
    other = [Page("b", "b.png", 1, picture(2))]
    before = made.encode_pages(other)[0].vectors
    knockout, cells = of_picture(made, picture(1))
    steps = knockout.vectors(cells, 1)
    next(steps)
    next(steps)
    assert not torch.is_inference_mode_enabled()
    assert made.encode_pages(other)[0].vectors.tolist() == before.tolist()


def test_falls_by_hand() -> None:
    """One token along x; without the first word it turns to y, without the second nothing changes."""
    whole, words = np.array([[1, 0]], np.float32), (Word("a", (0, 0, 1, 1)), Word("b", (0, 0, 1, 1)))
    found = LostEvidence(words, whole, np.array([[[-1, 1]], [[0, 0]]], np.float16))
    np.testing.assert_allclose(found.map(np.array([[0.6, 0.8]], np.float32), [0]), [[-0.2, 0]], atol=1e-3)
    np.testing.assert_allclose(found.read(), [[1, 0]])
    assert found.kind == "lost"


@EVERY
def test_the_attention_is_known_by_what_the_model_does(name: str) -> None:
    knockout, _ = of_picture(shared(name), picture(2))
    assert knockout.causal == (name not in BOTH_WAYS)


@pytest.mark.parametrize("name", BOTH_WAYS)
def test_a_cell_that_is_not_read_is_the_mean_of_the_picture_to_the_tower(name: str) -> None:
    """All cells at once are a picture whose every patch is the mean patch."""
    made = encoder(name)
    knockout, cells = of_picture(made, picture(2, 64, 64))
    every = Cells(cells.words[:1], (tuple(place for places in cells.places for place in places),))
    unread = torch.cat(list(knockout.vectors(every, 8))).numpy()
    np.testing.assert_allclose(unread[0], knockout.whole.numpy(), atol=1e-5)
    pixels = knockout.inputs["pixel_values"]
    patches = pixels.unflatten(-1, (4, 8)).unflatten(-3, (4, 8))  # of 8 x 8 pixels
    dims = tuple(k for k in range(patches.ndim) if k - patches.ndim not in (-5, -3, -1))
    flat = patches.mean(dims, keepdim=True).expand_as(patches).flatten(-4, -3).flatten(-2, -1)
    plain = Knockout(made.network, {**knockout.inputs, "pixel_values": flat}, knockout.keep)
    np.testing.assert_allclose(unread[1], plain.whole.numpy(), atol=1e-4)
    assert np.abs(unread[1] - unread[0]).max() > 0.01


def pages_of(colour: str, rng: np.random.Generator) -> Iterator[tuple[Box, Page]]:
    for _ in range(3):
        i, j = drawn_cell(rng)
        box = (j / COLUMNS, i / ROWS, (j + 1) / COLUMNS, (i + 1) / ROWS)
        yield box, Page("p", "p.png", 1, coloured({(i, j): colour}, rng))


def overlap(a: Box, b: Box) -> bool:
    return all(max(a[k], b[k]) < min(a[k + 2], b[k + 2]) - 1e-6 for k in (0, 1))


@EVERY
def test_hiding_what_the_map_shows_costs_as_much_as_occlusion_finds(name: str) -> None:
    colours, rng, found_first = trained(name), np.random.default_rng(7), []
    falls: dict[str, list[float]] = {"map": [], "occlusion": [], "gradients": [], "random": []}
    for colour in COLOURS:
        query = colours.encode_queries([Query(colour)])[0].vectors
        for planted, page in pages_of(colour, rng):
            evidence = evidence_of(colours, page)
            winners = (query @ evidence.vectors().T).argmax(1)
            occlusion = Occlusion(colours, PageAttribution(page, evidence), query, Budget(2, 4))
            n = len(evidence.words)
            assert (occlusion.what, len(occlusion.parts), occlusion.count(0.05)) == ("cells", n, 1)
            full, *scores = occlusion.scores([np.zeros(n, bool), *np.eye(n, dtype=bool)])
            lost = np.asarray(full - np.array(scores), np.float32)
            weights: FloatArray = evidence.map(query, winners).sum(0)
            *_, parts = colours.second_map(page, evidence, evidence, query, winners)
            found_first.append(overlap(evidence.words[int(weights.argmax())].box, planted))
            falls["map"].append(lost[weights.argmax()])
            falls["occlusion"].append(lost.max())
            falls["gradients"].append(lost[np.sum(parts, 0).argmax()])
            falls["random"].append(lost.mean())
    told = {way: float(np.mean(each)) for way, each in falls.items()}
    assert told["map"] >= 0.85 * told["occlusion"], told
    assert told["map"] >= 3 * told["random"], told
    assert told["map"] > 0.1, told
    assert name in BOTH_WAYS or told["gradients"] >= 3 * told["random"], told
    # The colour that a model takes a page for without any other need not be seen.
    assert np.mean(found_first) >= 0.5, "a cell on the planted one comes first"


@EVERY
def test_gradients_add_up_to_what_the_picture_gives(name: str) -> None:
    """To the cosines beyond those of a picture whose states are all alike, as far as eight steps tell."""
    made, image = shared(name), picture(2, 120, 90)
    page = Page("p", "p.png", 1, image)
    query, vectors = made.encode_queries([Query(TEXT)])[0].vectors[:3], evidence_of(made, page).vectors()
    winners = (query @ vectors.T).argmax(1)
    asked = made.query_evidence(Query(TEXT))
    *steps, parts = made.second_map(page, evidence_of(made, page), asked, query, winners)
    assert steps[-1] == (8, 8)
    assert isinstance(parts, np.ndarray)
    knockout, cells = of_picture(made, image)
    given = knockout.whole_pass()
    name = "cross_attention_states" if cells.beside else "inputs_embeds"
    at = sorted({place for places in cells.places for place in places})
    states = given[name].flatten(0, -2)
    states[at] = states[at].mean(0)
    if DEEP in given:
        given[DEEP] = [each.mean(0).expand_as(each) for each in given[DEEP]]
    with torch.no_grad():
        blank = made.network.rows(knockout.language(**given).last_hidden_state[:, knockout.keep])[0].numpy()
    gained = (query * (vectors - blank)[winners]).sum(1)
    np.testing.assert_allclose(parts.sum(1), gained, atol=0.02 * np.abs(gained).max() + 1e-4)


def test_painting_fills_with_the_mean_colour() -> None:
    image = Image.fromarray(np.array([[[0, 0, 0], [200, 200, 200]]], np.uint8))
    assert np.asarray(painted(image, [Word("", (0, 0, 0.5, 1), "visual")]))[0, :, 0].tolist() == [100, 200]
