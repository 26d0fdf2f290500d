"""Export to sentence-transformers' MultiVectorEncoder, and loading and pooling of its models."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.base.modules import Normalize, Transformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

from metaembed_demo.core.budgets import OURS
from metaembed_demo.core.types import Embedding, Query
from metaembed_demo.encoders.vlm import backbone
from metaembed_demo.encoders.vlm.checkpoints import load_vlm
from metaembed_demo.encoders.vlm.encoder import VLM
from metaembed_demo.encoders.vlm.evidence import LostEvidence
from metaembed_demo.encoders.vlm.export import export_multi_vector
from metaembed_demo.encoders.vlm.exported_vectors import ExportedVectors
from metaembed_demo.encoders.vlm.multi_vector_checkpoints import SPELLINGS
from metaembed_demo.encoders.vlm.multi_vector_encoder import MultiVector
from metaembed_demo.encoders.vlm.patch_vectors import PatchVectors
from metaembed_demo.encoders.vlm.pooling import pooled
from metaembed_demo.index.maxsim import maxsim
from tests.encoders.test_checkpoints import CHANGES, changed, reference
from tests.support.evidence import evidence_of
from tests.support.tiny_vlm import (
    BACKBONES,
    TEXT,
    apart,
    encoder,
    pages,
    queries,
    saved_backbone,
    shared,
    tokenizer,
)

pytestmark = pytest.mark.slow

CLOSE = 1e-4
# All that sentence-transformers and transformers can express; PaliGemma is tested to be refused.
EXPORTED = [name for name in BACKBONES if name != "paligemma"]


def as_inputs(asked: list[Query]) -> list[Any]:
    return [q.text if q.image is None else {"image": q.image, "text": q.text} for q in asked]


def arrays(found: list[torch.Tensor]) -> list[Embedding]:
    return [Embedding(vectors.float().numpy()) for vectors in found]


@pytest.mark.parametrize("name", EXPORTED)
def test_sentence_transformers_gives_the_same_vectors(name: str, tmp_path: Path) -> None:
    made = encoder(name, bias=True)
    expected = made.encode_pages(pages()), made.encode_queries(queries())
    export_multi_vector(made, tmp_path)
    model = MultiVectorEncoder(str(tmp_path), trust_remote_code=False)
    kinds = {type(module).__module__.split(".")[0] for module in model}
    assert kinds == {"sentence_transformers"}
    documents: list[Any] = [page.image or page.text for page in pages()]
    for batch in (1, 4):  # one by one, and together
        # Each kind by itself, and mixed: the prompt is the same.
        assert apart(arrays(model.encode_document(documents[:3], batch_size=batch)), expected[0][:3]) < CLOSE
        assert apart(arrays(model.encode_document(documents, batch_size=1)), expected[0]) < CLOSE
        assert (
            apart(arrays(model.encode_query(as_inputs(queries()[:2]), batch_size=batch)), expected[1][:2])
            < CLOSE
        )
    assert apart(arrays(model.encode_query(as_inputs(queries()), batch_size=1)), expected[1]) < CLOSE


@pytest.mark.parametrize("change", CHANGES)
def test_one_with_other_tensors_than_its_model_is_refused(tmp_path: Path, change: str) -> None:
    export_multi_vector(encoder("qwen2_vl"), tmp_path)
    name = changed(tmp_path / "model.safetensors", change, "mlp.up_proj.weight").split("layers.")[-1]
    with pytest.raises(ValueError, match=rf"{CHANGES[change]} \(.*{name}"):
        load_vlm(tmp_path)
    assert "checking" not in hf.PreTrainedModel.from_pretrained.__qualname__, "patched for this load alone"


def test_its_fingerprint_tells_attention_and_dtype(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export_multi_vector(encoder("qwen2_vl"), tmp_path)
    before = load_vlm(tmp_path).fingerprint
    assert load_vlm(tmp_path).fingerprint == before
    monkeypatch.setattr(backbone, "needs_eager", lambda config: True)
    eager = load_vlm(tmp_path)
    assert isinstance(eager, MultiVector)
    assert eager.model[0].auto_model.config._attn_implementation == "eager"
    assert eager.fingerprint != before


def test_it_needs_no_code_of_ours(tmp_path: Path) -> None:
    """Another process, which has sentence-transformers and cannot find this project."""
    made = encoder("idefics3", projection=None)
    expected = made.encode_queries([Query("hello")])[0].vectors, made.encode_pages(pages()[:1])[0].vectors
    export_multi_vector(made, tmp_path)
    image = pages()[0].image
    assert image is not None
    image.save(tmp_path / "page.png")
    script = (
        "import sys, numpy; from PIL import Image; from sentence_transformers import MultiVectorEncoder\n"
        "model = MultiVectorEncoder('.', device='cpu')\n"
        "numpy.save('q.npy', model.encode_query('hello').numpy())\n"
        "numpy.save('p.npy', model.encode_document(Image.open('page.png')).numpy())\n"
        "assert not any(name.startswith('metaembed') for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True)
    for file, vectors in zip(("q.npy", "p.npy"), expected, strict=True):
        np.testing.assert_allclose(np.load(tmp_path / file), vectors, atol=CLOSE)


def test_a_reference_checkpoint_that_appends_both_tables_can_be_exported(tmp_path: Path) -> None:
    reference(tmp_path, "idefics3", "bias")
    made = load_vlm(tmp_path)
    assert isinstance(made, VLM)
    expected = made.encode_pages(pages()[:3]), made.encode_queries(queries()[:2])
    export_multi_vector(made, tmp_path / "exported")
    model = MultiVectorEncoder(str(tmp_path / "exported"))
    documents: list[Any] = [page.image for page in pages()[:3]]
    assert apart(arrays(model.encode_document(documents)), expected[0]) < CLOSE
    assert apart(arrays(model.encode_query(as_inputs(queries()[:2]))), expected[1]) < CLOSE


@pytest.mark.parametrize("name", EXPORTED)
def test_an_exported_folder_is_read_and_explained_as_it_is(name: str, tmp_path: Path) -> None:
    made = encoder(name)
    expected = made.encode_pages(pages()), made.encode_queries(queries())
    export_multi_vector(made, tmp_path)
    again = load_vlm(tmp_path)
    assert isinstance(again, ExportedVectors)
    assert (again.constant, again.r_q, again.r_c, again.dim) == (True, 16, 64, 8)
    assert apart(again.encode_pages(pages()), expected[0]) < CLOSE
    assert apart(again.encode_queries(queries()), expected[1]) < CLOSE
    page, query = pages()[0], queries()[0]
    ours, theirs = evidence_of(made, page), evidence_of(again, page)
    assert isinstance(ours, LostEvidence)
    assert isinstance(theirs, LostEvidence)
    assert theirs.words == ours.words
    np.testing.assert_allclose(theirs.change, ours.change, atol=2e-3)
    asked = made.query_evidence(query), again.query_evidence(query)
    assert asked[0].words == asked[1].words
    lost = [each.map(asked[0].vectors(), range(16)) for each in asked]
    np.testing.assert_allclose(lost[0], lost[1], atol=2e-3)
    assert lost[0].shape == (16, 1)
    before = again.fingerprint
    said = json.loads((tmp_path / "sentence_bert_config.json").read_text())
    (tmp_path / "sentence_bert_config.json").write_text(json.dumps({**said, "query_length": 9}))
    assert load_vlm(tmp_path).fingerprint != before


def test_paligemma_cannot_be_exported_and_says_why(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no chat template.*Meta Tokens cannot come last"):
        export_multi_vector(shared("paligemma"), tmp_path)


@pytest.fixture(scope="module")
def colbert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny text model with one vector for each token, as sentence-transformers stores them."""
    folder = tmp_path_factory.mktemp("colbert")
    tokens = tokenizer([], bos="[CLS]", eos="[SEP]", cls_token="[CLS]", sep_token="[SEP]")
    sizes = {
        key: TEXT[key]
        for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    }
    torch.manual_seed(1)
    hf.BertModel(hf.BertConfig(vocab_size=len(tokens), **sizes)).save_pretrained(folder / "bert")
    tokens.save_pretrained(folder / "bert")
    modules = [Transformer(str(folder / "bert")), MultiVectorMask(), Normalize("token_embeddings")]
    MultiVectorEncoder(modules=modules).save_pretrained(str(folder / "model"))
    return folder / "model"


SIX = ((1, 1), (2, 4), (4, 8), (8, 16), (8, 32), (16, 64))


def configured(model: Path, folder: Path, **more: Any) -> Path:
    """A copy of `model` with `more` in its configuration."""
    shutil.copytree(model, folder)
    file = folder / "config_sentence_transformers.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **more}))
    return folder


def test_an_export_keeps_its_budgets(tmp_path: Path) -> None:
    made = encoder("qwen2_vl", budgets=SIX)
    assert made.budgets.pairs == SIX
    export_multi_vector(made, tmp_path)
    again = load_vlm(tmp_path)
    assert isinstance(again, ExportedVectors)
    assert again.budgets == made.budgets


def test_tokens_are_pooled_and_explained_where_a_stop_adds_none_of_a_side(
    colbert: Path, tmp_path: Path
) -> None:
    made = load_vlm(configured(colbert, tmp_path / "named", budgets=SIX))
    assert isinstance(made, PatchVectors)
    (query,) = made.encode_queries([Query("hello")])
    assert query.vectors.shape == (16, 32)
    np.testing.assert_allclose(made.query_evidence(Query("hello")).vectors(), query.vectors, atol=1e-5)


@pytest.mark.parametrize("key", SPELLINGS)
def test_nested_sizes_that_a_model_names_are_its_stops(colbert: Path, tmp_path: Path, key: str) -> None:
    made = load_vlm(configured(colbert, tmp_path / "named", **{key: [[1, 1], [4, 8], [32, 128]]}))
    assert str(made.budgets) == "1x1 4x8 32x128"
    assert (made.r_q, made.r_c) == (32, 128)
    (page,) = made.encode_pages(pages()[3:4])
    (query,) = made.encode_queries([Query("hello")])
    assert page.vectors.shape == (128, 32)
    assert query.vectors.shape == (32, 32)
    assert isinstance(made, PatchVectors)
    for found, made_of in (
        (evidence_of(made, pages()[3]), page),
        (made.query_evidence(Query("hello")), query),
    ):
        np.testing.assert_allclose(found.vectors(), made_of.vectors, atol=1e-5)


@pytest.mark.parametrize("pairs", [[[4, 8], [2, 16]], [[1]], "8x16", [[1, 1], [1, 1]], [[0, 1]]])
def test_nested_sizes_that_are_none_are_refused(colbert: Path, tmp_path: Path, pairs: Any) -> None:
    with pytest.raises(ValueError, match="names budgets that are none"):
        load_vlm(configured(colbert, tmp_path / "named", budgets=pairs))


def test_nested_sizes_end_with_the_vectors_that_are_made(tmp_path: Path) -> None:
    export_multi_vector(encoder("qwen2_vl"), tmp_path / "made")
    folder = configured(tmp_path / "made", tmp_path / "named", budgets=[[1, 1], [16, 32], [32, 128]])
    assert str(load_vlm(folder).budgets) == "1x1 16x32 16x64"


@pytest.mark.parametrize(("name", "shown"), [("maxsim", "MaxSim"), ("meanmaxsim", "MeanMaxSim")])
def test_a_model_says_how_it_is_scored(colbert: Path, tmp_path: Path, name: str, shown: str) -> None:
    assert load_vlm(configured(colbert, tmp_path / "named", similarity_fn_name=name)).similarity == shown


def test_a_vector_for_each_token_is_pooled_to_the_budgets(colbert: Path) -> None:
    made = load_vlm(colbert)
    assert isinstance(made, MultiVector)
    assert (made.constant, made.r_q, made.r_c, made.dim) == (False, 16, 64, 32)
    text = pages()[3]
    for page in made.encode_pages([text, text]):
        assert page.vectors.shape == (64, 32)
        np.testing.assert_allclose(np.linalg.norm(page.vectors, axis=1), 1, atol=1e-5)
    (query,) = made.encode_queries([Query("hello")])
    assert query.vectors.shape == (16, 32)
    with pytest.raises(ValueError, match="reads only text"):
        made.encode_queries([Query("", Image.new("RGB", (9, 9)))])


@pytest.mark.parametrize("name", ["qwen2_vl", "idefics3", "modernvbert"])
def test_a_pooled_cosine_is_divided_among_patches(name: str, tmp_path: Path) -> None:
    source = saved_backbone(name, tmp_path / "base")
    read = Transformer(source)
    kept = [read.auto_model.config.image_token_id]
    modules = [read, MultiVectorMask(keep_only_token_ids=kept), Normalize("token_embeddings")]
    MultiVectorEncoder(modules=modules).save_pretrained(str(tmp_path / "model"))
    made = load_vlm(tmp_path / "model")
    assert isinstance(made, PatchVectors)
    page, query = pages()[1], Query("a longer query, this is")
    found, asked = evidence_of(made, page), made.query_evidence(query)
    vectors, rows = made.encode_queries([query])[0].vectors, made.encode_pages([page])[0].vectors
    np.testing.assert_allclose(found.vectors(), rows, atol=1e-5)
    np.testing.assert_allclose(asked.vectors(), vectors, atol=1e-5)
    winners = (vectors @ rows.T).argmax(1)
    parts = found.map(vectors, winners)
    assert found.kind == "share"
    np.testing.assert_allclose(parts.sum(1), (vectors @ rows.T).max(1), atol=1e-5)
    assert len({word.box for word in found.words}) == parts.shape[1] > 3
    assert [word.text for word in asked.words] == query.text.split()
    assert np.abs(asked.read().sum(1) - 1).min() < 1e-5
    hidden = np.arange(parts.shape[1]) == 0
    assert made.without(page, found, hidden).image != page.image
    (alike,) = made.second_map(page, found, asked, vectors, winners)
    assert isinstance(alike, np.ndarray)
    assert alike.shape == parts.shape
    every, patches = made.model.encode_query(query.text), made.model.encode_document(page.image)
    expected = float((every @ patches.T).mean(0).max())
    assert float(alike.sum(0).max()) == pytest.approx(expected, abs=1e-5), "of the best patch, unpooled"


def test_a_text_model_is_explained_by_its_words(colbert: Path) -> None:
    made, page = load_vlm(colbert), pages()[3]
    assert isinstance(made, PatchVectors)
    page = replace(page, image=Image.new("RGB", (9, 9)))  # which it does not see
    found = evidence_of(made, page)
    assert [word.text for word in found.words] == page.text.split()
    rows = made.encode_pages([page])[0].vectors
    np.testing.assert_allclose(found.vectors(), rows, atol=1e-5)
    assert found.map(rows[:1], [0]).sum() < 1, "the rest is [CLS] and [SEP]"
    last = found.map(rows[:1], [0])[0, -1]
    assert last == pytest.approx(7 / 25 * 0.9, abs=0.15), "seven letters of the text's tokens"
    assert made.without(page, found, np.array([True, False, False, False])).text == "page without picture"


def tokens_of(n: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, 12))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("n", [1, 2, 5, 64, 300])
def test_pooled_levels_cover_the_whole_coarse_to_fine(n: int) -> None:
    rows = tokens_of(n)
    for levels, r in ((OURS.page_sizes, 64), (OURS.query_sizes, 16)):
        found = pooled(rows, levels)
        assert found.shape == (r, 12)
        assert np.isfinite(found).all()
        mean = rows.mean(0)
        np.testing.assert_allclose(found[0], mean / np.linalg.norm(mean), atol=1e-5)
    fine = [float((pooled(rows, OURS.page_sizes)[:r] @ rows.T).max(0).mean()) for r in (1, 4, 8, 16, 64)]
    assert fine == sorted(fine), "a token finds a nearer vector, the larger the budget"


def test_few_tokens_of_a_page_are_all_there() -> None:
    rows = tokens_of(20)
    np.testing.assert_allclose(maxsim(rows, pooled(rows, OURS.page_sizes)[None]), 20, atol=1e-4)


def test_a_query_of_like_tokens_scores_in_proportion() -> None:
    rows = np.repeat(tokens_of(1), 7, axis=0)
    assert maxsim(pooled(rows, OURS.query_sizes), rows[None])[0] == pytest.approx(16, abs=1e-4)
