"""Export to PyLate, by what needs no PyLate: the folder, and the module that is copied into it.

benchmarks/interop opens such folders in PyLate itself; here the module stands on our sentence-transformers.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from metaembed_demo.core.types import Embedding
from metaembed_demo.encoders.vlm import backbone
from metaembed_demo.encoders.vlm.checkpoints import save_vlm
from metaembed_demo.encoders.vlm.encoder import VLM
from metaembed_demo.encoders.vlm.export import LONGEST, MODULE, export_pylate
from tests.support.tiny_vlm import apart, encoder, pages, queries

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
CLOSE = 1e-4


def read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def opened(folder: Path) -> Any:
    """The copied module, on the folder's backbone."""
    spec = importlib.util.spec_from_file_location("copied", folder / MODULE.name)
    assert spec is not None
    assert spec.loader is not None
    copied = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copied)
    return copied.MetaTokens(str(folder), **read(folder / "sentence_bert_config.json"))


def encoded(model: Any, folder: Path, items: list[Any], longest: int) -> list[Embedding]:
    """What PyLate makes of items: it allows a length, projects by the Dense module, and normalises."""
    dense = load_file(folder / "1_Dense" / "model.safetensors")
    model.max_seq_length = longest
    with torch.no_grad():
        features = model.forward(model.tokenize(items))
        rows = F.linear(features["token_embeddings"], dense["linear.weight"], dense.get("linear.bias"))
    assert features["attention_mask"].all()
    assert features["attention_mask"].shape == features["input_ids"].shape == rows.shape[:2]
    return [Embedding(F.normalize(each, dim=-1).numpy()) for each in rows]


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [("idefics3", {"bias": True}), ("qwen2_5_vl", {"projection": None}), ("mllama", {"both": True})],
)
def test_the_module_gives_our_vectors(name: str, kwargs: dict[str, Any], tmp_path: Path) -> None:
    made = encoder(name, **kwargs)
    expected = made.encode_pages(pages()), made.encode_queries(queries())
    export_pylate(made, tmp_path)
    backbone.drop_video_processors()  # as this test's own process has none of torchvision
    model = opened(tmp_path)
    lengths = read(tmp_path / "config_sentence_transformers.json")
    longest = lengths["query_length"], lengths["document_length"]
    words = [query.text for query in queries()[:2]]
    assert apart(encoded(model, tmp_path, words, longest[0]), expected[1][:2]) < CLOSE
    text = " ".join(word.text for word in pages()[3].words)
    assert apart(encoded(model, tmp_path, [text], longest[1]), expected[0][3:]) < CLOSE
    for page, ours in zip(pages()[:3], expected[0], strict=False):
        assert apart(encoded(model, tmp_path, [page.image], longest[1]), [ours]) < CLOSE
    both = [{"text": query.text, "image": query.image} for query in queries()[2:]]
    for item, ours in zip(both, expected[1][2:], strict=True):
        assert apart(encoded(model, tmp_path, [item], longest[0]), [ours]) < CLOSE


def test_the_folder_is_one_of_pylate(tmp_path: Path) -> None:
    made = encoder("idefics3")
    export_pylate(made, tmp_path)
    first, second = read(tmp_path / "modules.json")
    assert (first["type"], first["path"]) == ("pylate_module.MetaTokens", "")
    assert (second["type"], second["path"]) == ("sentence_transformers.models.Dense", "1_Dense")
    assert read(tmp_path / "1_Dense" / "config.json") == {
        "in_features": 32,
        "out_features": 8,
        "bias": False,
        "activation_function": "torch.nn.Identity",
    }
    config = read(tmp_path / "config_sentence_transformers.json")
    assert (config["model_type"], config["similarity_fn_name"]) == ("ColBERT", "MaxSim")
    assert (config["query_prefix"], config["document_prefix"], config["skiplist_words"]) == ("", "", [])
    assert (config["query_length"], config["document_length"]) == (16, LONGEST)
    assert config["budgets"][-1] == [16, 64]
    kept = read(tmp_path / "sentence_bert_config.json")
    assert kept == {"query_tokens": made.query_ids, "document_tokens": made.page_ids}
    assert (tmp_path / MODULE.name).read_text() == MODULE.read_text()


def test_one_that_cannot_be_said_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no chat template"):
        export_pylate(encoder("paligemma"), tmp_path)


@pytest.mark.parametrize("save", [export_pylate, save_vlm])
def test_a_processor_saved_without_torchvision_opens_with_it(save: Any, tmp_path: Path) -> None:
    """There its class asks for a video processor too."""
    made: VLM = encoder("qwen2_5_vl")
    save(made, tmp_path)
    kind = {"video_processor_type": "Qwen2VLVideoProcessor"}
    assert read(tmp_path / "video_preprocessor_config.json") == kind
    assert backbone.load_processor(str(tmp_path)).tokenizer.padding_side == "left"
