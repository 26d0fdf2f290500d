"""Attribution: contributions by hand, and exactness with the real encoder."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from metaembed_demo.core.config import PATHS
from metaembed_demo.core.types import Page, Query, Word
from metaembed_demo.documents.extraction import read, recompute_views
from metaembed_demo.encoders.attribution import AttentionEvidence
from metaembed_demo.encoders.mini.encoder import Mini
from tests.support.evidence import evidence_of

BOX = (0.1, 0.1, 0.2, 0.12)
TEXT = "Turn the steam knob until it stops. The unflappable reservoir holds two litres of water. " * 12
FOREIGN = (
    "Den Kessel entkalken. Чтобы удалить накипь, налейте уксус. 水壶除垢：加入醋。 やかんの水垢 123 😀 </s>"
)


@pytest.fixture(scope="module", params=["mini", "mini-multilingual"])
def encoder(request: pytest.FixtureRequest, mini: Mini) -> Mini:
    return mini if request.param == "mini" else Mini.load(PATHS.multilingual_weights)


def page(text: str) -> Page:
    words = tuple(Word(word, BOX) for word in text.split())
    return Page("page", "page.pdf", 1, None, words)


def picture() -> Page:
    """A red disc at the right of a wide white image."""
    image = Image.new("RGB", (600, 400), "white")
    ImageDraw.Draw(image).ellipse([420, 120, 580, 280], fill=(220, 30, 30))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG")
    return read(Page("picture", "ball.png", 1, Image.open(buffer).convert("RGB")))


def by_hand() -> AttentionEvidence:
    """One head of width 2, two Meta Tokens; a special token, 'cat' in two pieces along x, 'dog' along y."""
    attention = np.array([[[0.5, 0.25, 0.25, 0.0], [0.0, 0.0, 0.0, 1.0]]], np.float32)
    states = np.array([[[0, 0]], [[4, 0]], [[4, 0]], [[0, 3]]], np.float32)
    words = (Word("cat", BOX), Word("dog", BOX))
    return AttentionEvidence(
        words,
        attention,
        states,
        np.array([-1, 0, 0, 1]),
        np.eye(2, dtype=np.float32),
        np.array([2, 3], np.float32),
    )


def test_contributions_by_hand() -> None:
    found = by_hand()
    np.testing.assert_allclose(found.vectors(), np.eye(2))
    diagonal = np.array([[0.6, 0.8]], np.float32)
    np.testing.assert_allclose(found.map(diagonal, [0]), [[0.6, 0.0]])
    np.testing.assert_allclose(found.map(diagonal, [1]), [[0.0, 0.8]], atol=1e-6)
    np.testing.assert_allclose(found.read(), np.eye(2))
    np.testing.assert_allclose(found.attended(), np.eye(2))


def test_read_weights_attention_by_value_norms() -> None:
    found = by_hand()
    found.attention[0, 0] = [0.0, 0.25, 0.25, 0.5]  # equal attention, but the values of 'cat' are longer
    np.testing.assert_allclose(found.attended()[0], [0.5, 0.5])
    assert found.read()[0, 0] > 0.5


def test_arrays_that_do_not_fit_are_refused() -> None:
    found = by_hand()
    with pytest.raises(ValueError, match="do not fit"):
        AttentionEvidence(
            found.words, found.attention, found.states[:2], found.owner, found.out, found.lengths
        )


@pytest.mark.parametrize("text", ["", "Steam.", TEXT, TEXT * 20, FOREIGN])
def test_evidence_reproduces_minis_vectors(encoder: Mini, text: str) -> None:
    (embedding,) = encoder.encode_pages([page(text)])
    found = evidence_of(encoder, page(text))
    expected = found.vectors() if text else 0.0  # without a word a page is like no other
    np.testing.assert_allclose(embedding.vectors, expected, atol=1e-4)
    assert len(found.words) == len(text.split())
    total = found.read().sum(1)
    np.testing.assert_allclose(total, 1.0 if text else 0.0, atol=1e-4)


def test_contributions_sum_to_the_cosine(encoder: Mini) -> None:
    query = encoder.encode_queries([Query("how much water fits?")])[0].vectors
    found = evidence_of(encoder, page(TEXT))
    assert isinstance(found, AttentionEvidence)
    everything = AttentionEvidence(
        (*found.words, Word("[mark]", BOX)),
        found.attention,
        found.states,
        np.where(found.owner < 0, len(found.words), found.owner),
        found.out,
        found.lengths,
    )
    tokens = np.arange(16)
    cosines = (query * found.vectors()[:16]).sum(1)
    np.testing.assert_allclose(everything.map(query, tokens).sum(1), cosines, atol=1e-4)


def test_a_word_counts_for_what_it_means(mini: Mini) -> None:
    query = mini.encode_queries([Query("how much water fits?")])[0].vectors
    found = evidence_of(mini, page(TEXT))
    winners = (query @ found.vectors().T).argmax(1)
    parts = found.map(query, winners).sum(0)
    by_word: dict[str, float] = {}
    for word, part in zip(found.words, parts, strict=True):
        by_word[word.text] = by_word.get(word.text, 0.0) + float(part)
    best = sorted(by_word, key=lambda word: -by_word[word])[:3]
    assert {"water.", "reservoir"} & set(best), best


def test_query_evidence(mini: Mini) -> None:
    found = mini.query_evidence(Query("how do I descale the machine?"))
    assert [word.text for word in found.words] == ["how", "do", "I", "descale", "the", "machine?"]
    assert found.read()[0].argmax() == 3, "rare words weigh more"


def test_image_cells_sum_to_the_view(encoder: Mini) -> None:
    found_page = picture()
    pictures = recompute_views(found_page)
    assert len(pictures) == 1
    found = evidence_of(encoder, found_page)
    (embedding,) = encoder.encode_pages([found_page.with_words(found_page.words, [pictures[0].view])])
    np.testing.assert_allclose(found.vectors(), embedding.vectors, atol=1e-3)
    cells = [word for word in found.words if not word.text]
    assert len(cells) == np.prod(pictures[0].cells.shape[:2])
    assert min(word.box[0] for word in cells) == 0
    assert max(word.box[2] for word in cells) == pytest.approx(1)


def test_no_views_are_recomputed_without_images(mini: Mini) -> None:
    image = Image.new("RGB", (60, 80), "white")
    assert recompute_views(Page("p", "p.pdf", 1, image, page("drawing of a photograph").words)) == ()
    assert recompute_views(page(TEXT)) == ()
