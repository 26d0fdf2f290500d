"""Checkpoint layouts: round trips, the published reference, and rejection of unsafe files."""

from __future__ import annotations

import json
import shutil
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

from metaembed_demo.core.budgets import OURS
from metaembed_demo.core.config import Vlm
from metaembed_demo.core.types import Query
from metaembed_demo.encoders.registry import load_encoder
from metaembed_demo.encoders.vlm.backbone import input_embedding, lora_targets, merge_token_rows
from metaembed_demo.encoders.vlm.checkpoints import load_vlm, save_vlm
from metaembed_demo.encoders.vlm.encoder import VLM
from metaembed_demo.encoders.vlm.manifest import read_manifest
from metaembed_demo.encoders.vlm.prompts import Item, Prompts, Reader
from metaembed_demo.encoders.vlm.published_layout import HEAD, TABLE, same_module
from tests.support.tiny_vlm import BACKBONES, apart, encoder, pages, picture, queries, saved_backbone

pytestmark = pytest.mark.slow

EVERY = pytest.mark.parametrize("name", BACKBONES)
CLOSE = 2e-5
R_Q, R_C, WIDTH = 3, 5, 32  # of the reference checkpoints made here, apart from the hidden width


def loaded(folder: Path) -> VLM:
    found = load_vlm(folder)
    assert isinstance(found, VLM)
    return found


@EVERY
@pytest.mark.parametrize("tied", [False, True])
def test_an_adapter_comes_back(name: str, tied: bool, tmp_path: Path) -> None:
    made = encoder(name, tied, saved_backbone(name, tmp_path / "base", tied), rank=2, bias=True)
    save_vlm(made, tmp_path / "ours")
    again = loaded(tmp_path / "ours")
    assert apart(again.encode_pages(pages()), made.encode_pages(pages())) < CLOSE
    assert apart(again.encode_queries(queries()), made.encode_queries(queries())) < CLOSE
    stored = sum(
        len(w) for key, w in load_file(tmp_path / "ours/adapter_model.safetensors").items() if "token" in key
    )
    assert stored == 80, "the Meta Tokens' rows are stored, not the whole embedding"
    assert again.fingerprint == loaded(tmp_path / "ours").fingerprint


@EVERY
@pytest.mark.parametrize("tied", [False, True])
def test_a_merged_model_comes_back(name: str, tied: bool, tmp_path: Path) -> None:
    made = encoder(name, tied, rank=2, projection=None)
    expected = made.encode_pages(pages()), made.encode_queries(queries())
    save_vlm(made, tmp_path, merged=True)
    assert not (tmp_path / "adapter_config.json").exists()
    again = loaded(tmp_path)
    assert again.dim == WIDTH
    assert apart(again.encode_pages(pages()), expected[0]) < CLOSE
    assert apart(again.encode_queries(queries()), expected[1]) < CLOSE


class Table:
    """Counts copies of the whole embedding table, which PEFT makes for unmerged rows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
        self.copies = 0
        original = torch.Tensor.index_copy

        def counting(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            self.copies += len(tensor) == rows
            return original(tensor, *args, **kwargs)

        monkeypatch.setattr(torch.Tensor, "index_copy", counting)


def rows_of(made: VLM) -> torch.Tensor:
    """(80, hidden) the Meta Tokens' rows in the table."""
    return input_embedding(made.network.model).weight.detach()[[*made.query_ids, *made.page_ids]]


@EVERY
@pytest.mark.parametrize("tied", [False, True])
def test_a_loaded_adapter_copies_no_table(
    name: str, tied: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = encoder(name, tied, saved_backbone(name, tmp_path / "base", tied), rank=2)
    save_vlm(made, tmp_path / "ours")
    again = load_vlm(tmp_path / "ours", trainable=True)
    assert isinstance(again, VLM)
    weight = input_embedding(again.network.model).weight
    merge_token_rows(again.network.model, False)  # as PEFT has it
    counted = Table(monkeypatch, len(weight))
    before = again.encode_pages(pages()), again.encode_queries(queries())
    assert counted.copies > 0
    assert input_embedding(again.network.model).weight is weight
    again.network.eval()
    at, counted.copies = weight.data_ptr(), 0
    assert apart(again.encode_pages(pages()), before[0]) < 1e-5
    assert apart(again.encode_queries(queries()), before[1]) < 1e-5
    assert counted.copies == 0
    assert weight.data_ptr() == at
    lora = [part for part in again.network.model.modules() if hasattr(part, "lora_A")]
    assert lora
    assert not any(part.merged for part in lora), "as it has to be over quantised weights"


@pytest.mark.parametrize("tied", [False, True])
def test_merged_rows_are_saved_and_trained(tied: bool, tmp_path: Path) -> None:
    base = saved_backbone("qwen2_vl", tmp_path / "base", tied)
    save_vlm(encoder("qwen2_vl", tied, base, rank=2), tmp_path / "ours")
    made = load_vlm(tmp_path / "ours", trainable=True)
    assert isinstance(made, VLM)
    weights = [w for key, w in made.network.named_parameters() if "trainable_tokens_delta" in key]
    (delta,) = weights
    settled = rows_of(made)
    torch.testing.assert_close(settled, delta.detach())
    made.network.train()
    assert not torch.equal(rows_of(made), settled), "taken out: the base has other rows there"
    made.vectors([Item("words", None)], True).sum().backward()
    assert delta.grad is not None
    assert delta.grad.abs().sum() > 0
    with torch.no_grad():
        delta += 0.1
    made.network.eval()
    torch.testing.assert_close(rows_of(made), settled + 0.1)
    expected = made.encode_pages(pages()), made.encode_queries(queries())
    save_vlm(made, tmp_path / "trained")
    again = load_vlm(tmp_path / "trained", trainable=True)
    assert isinstance(again, VLM)
    assert apart(again.encode_pages(pages()), expected[0]) < 1e-5
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # PEFT warns of what is merged already
        save_vlm(again, tmp_path / "merged", merged=True)
    for found in (again, loaded(tmp_path / "merged")):
        assert apart(found.encode_pages(pages()), expected[0]) < CLOSE
        assert apart(found.encode_queries(queries()), expected[1]) < CLOSE


@pytest.mark.parametrize("layout", ["ours", "reference"])
def test_lora_is_merged_for_serving(layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if layout == "ours":
        base = saved_backbone("qwen2_vl", tmp_path / "base")
        save_vlm(encoder("qwen2_vl", source=base, rank=2), tmp_path)
    else:
        reference(tmp_path, "qwen2_vl", "bias")
    kept = load_vlm(tmp_path, trainable=True)
    served = loaded(tmp_path)
    assert isinstance(kept, VLM)
    assert hasattr(kept.network.model, "peft_config")
    assert not any(hasattr(part, "lora_A") for part in served.network.model.modules())
    assert not served.network.training
    assert apart(served.encode_pages(pages()), kept.encode_pages(pages())) < CLOSE
    assert apart(served.encode_queries(queries()), kept.encode_queries(queries())) < CLOSE
    assert served.fingerprint != kept.fingerprint, "in bfloat16 a merged weight is rounded"
    monkeypatch.setattr("metaembed_demo.encoders.vlm.backbone.quantization_options", lambda *_: {})
    monkeypatch.setattr(torch.cuda, "current_device", lambda: "cpu")
    quantised = load_vlm(tmp_path, settings=Vlm(quantization="4bit"))
    assert isinstance(quantised, VLM)
    assert hasattr(quantised.network.model, "peft_config")


def test_a_backbone_with_its_language_head_is_loaded_without(tmp_path: Path) -> None:
    config, processor = BACKBONES["qwen2_vl"].make(False)
    hf.Qwen2VLForConditionalGeneration(config).save_pretrained(tmp_path / "base")
    processor.save_pretrained(tmp_path / "base")
    made = encoder("qwen2_vl", source=str(tmp_path / "base"))
    save_vlm(made, tmp_path / "ours")
    assert loaded(tmp_path / "ours").encode_queries(queries())[0].vectors.shape == (16, 8)


def test_the_manifest_says_what_the_encoder_is(tmp_path: Path) -> None:
    made = encoder("idefics3", rank=2, r_q=2, r_c=4, prompts=Prompts("Read.", "find: "), revision="v1")
    save_vlm(made, tmp_path)
    manifest = read_manifest(tmp_path)
    assert (manifest.r_q, manifest.r_c, manifest.projection, manifest.both) == (2, 4, 8, False)
    assert (manifest.prompts, manifest.revision) == (Prompts("Read.", "find: "), "v1")
    assert manifest.versions["transformers"] == hf.__version__


SEEN = "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>"
REFERENCE = {  # of the reference's code
    "query": {
        "text": "<|im_start|>user\nQuery: {text}<|im_end|><|endoftext|>",
        "image": f"{SEEN}Query: Describe the image.<|im_end|><|endoftext|>",
        "both": SEEN + "Query: {text}<|im_end|><|endoftext|>",
    },
    "candidate": {
        "text": "<|im_start|>user\n{text}<|im_end|><|endoftext|>",
        "image": f"{SEEN}Describe the image.<|im_end|><|endoftext|>",
        "both": SEEN + "{text}<|im_end|><|endoftext|>",
    },
}


def test_prompts_come_back_verbatim(tmp_path: Path) -> None:
    made = encoder("qwen2_vl", source=saved_backbone("qwen2_vl", tmp_path / "base"), rank=2)
    save_vlm(made, tmp_path / "ours")
    said = json.loads((tmp_path / "ours/metaembed.json").read_text())
    assert said["frames"] == made.reader.frames
    (tmp_path / "ours/chat_template.jinja").write_text("{{ messages[0].content[-1].text }} changed since")
    assert loaded(tmp_path / "ours").reader.frames == made.reader.frames
    said["frames"]["candidate"]["text"] = "{text}<|im_end|>"
    (tmp_path / "ours/metaembed.json").write_text(json.dumps(said))
    again = loaded(tmp_path / "ours")
    (row,) = again.inputs([Item("page", None)], False)[0]["input_ids"].tolist()
    tokens = again.processor.tokenizer.convert_ids_to_tokens(row[:-64])
    assert "".join(tokens) == "page<|im_end|>"


def test_a_manifest_has_the_budgets_that_were_trained(tmp_path: Path) -> None:
    six = ((1, 1), (2, 4), (4, 8), (8, 16), (8, 32), (16, 64))
    made = encoder("qwen2_vl", budgets=six)
    save_vlm(made, tmp_path, merged=True)
    again = loaded(tmp_path)
    assert again.budgets.pairs == six
    (tmp_path / "metaembed.json").write_text(json.dumps({**asdict(again.manifest), "budgets": []}))
    plain = loaded(tmp_path)
    assert plain.budgets == OURS
    assert plain.fingerprint == again.fingerprint, "vectors do not depend on the stops"
    (tmp_path / "metaembed.json").write_text(json.dumps({**asdict(again.manifest), "budgets": [[1, 1]]}))
    with pytest.raises(ValueError, match=r"is not a manifest: The largest budget is 1x1, not 16x64"):
        load_vlm(tmp_path)


def test_without_budgets_an_encoder_has_ours_within_its_tokens() -> None:
    assert str(encoder("qwen2_vl", r_q=4, r_c=8).budgets) == "1x1 2x4 4x8"
    assert str(encoder("qwen2_vl", r_q=32, r_c=128).budgets) == "1x1 2x4 4x8 8x16 16x64 32x128"


def test_a_manifest_of_the_time_before_frames_keeps_its_generation_prompt(saved: Path) -> None:
    said = json.loads((saved / "metaembed.json").read_text())
    del said["frames"], said["prompts"]["generation"]
    (saved / "metaembed.json").write_text(json.dumps(said))
    assert all(f.endswith("Assistant:") for f in loaded(saved).reader.frames["query"].values())


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ({"query": {"text": "{text}"}}, "has no query.image"),
        ({"query": {"text": "none"}}, "needs {text} once"),
    ],
)
def test_frames_without_a_place_for_the_text_are_refused(saved: Path, frames: Any, said: str) -> None:
    manifest = json.loads((saved / "metaembed.json").read_text())
    (saved / "metaembed.json").write_text(json.dumps({**manifest, "frames": frames}))
    with pytest.raises(ValueError, match=said):
        load_vlm(saved)


def test_a_references_manifest_may_have_frames(tmp_path: Path) -> None:
    reference(tmp_path, "qwen2_vl", "")
    said = json.loads((tmp_path / "metaembed.json").read_text())
    frames = {side: {kind: f"{text}\n" for kind, text in REFERENCE[side].items()} for side in REFERENCE}
    (tmp_path / "metaembed.json").write_text(json.dumps({**said, "frames": frames}))
    assert loaded(tmp_path).reader.frames == frames


def reference(
    folder: Path, name: str, head: str, prefix: str = "base_model.model."
) -> tuple[str, dict[str, Any]]:
    """An adapter in the layout of the published reference, with its backbone and weights.

    head: "bias", "plain" or "": projection with bias, without bias, or none.
    """
    base = saved_backbone(name, folder / "base")
    model = hf.AutoModel.from_pretrained(base)
    torch.manual_seed(3)
    state = {f"{prefix}prompt_embed_tokens.modules_to_save.weight": torch.randn(R_Q + R_C, WIDTH) * 0.05}
    if head:
        state[f"{prefix}custom_text_proj.modules_to_save.weight"] = torch.randn(7, WIDTH)
    if head == "bias":
        state[f"{prefix}custom_text_proj.modules_to_save.bias"] = torch.randn(7)
    for path, part in model.named_modules():
        if path.endswith(("q_proj", "down_proj")) and "vision" not in path and "visual" not in path:
            # The reference's class calls the language model `model`, transformers' base class otherwise.
            stored = f"{prefix}model.{path.split('.', 1)[1]}"
            state[f"{stored}.lora_A.weight"] = torch.randn(2, part.in_features) * 0.3
            state[f"{stored}.lora_B.weight"] = torch.randn(part.out_features, 2) * 0.3
    save_file(state, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 6, "base_model_name_or_path": base, "revision": None}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "metaembed.json").write_text(json.dumps({"r_q": R_Q, "r_c": R_C}))
    return base, state


def reference_vectors(base: str, state: dict[str, Any], item: Item, of_query: bool) -> np.ndarray:
    """Reimplements the reference with only our reader of prompts: replaces the last embeddings by the table,
    adds LoRA to the weights, keeps a slice."""
    model, processor = hf.AutoModel.from_pretrained(base), hf.AutoProcessor.from_pretrained(base)
    by_end = {key.rsplit("prompt", 1)[-1].rsplit("custom", 1)[-1]: value for key, value in state.items()}
    table = next(value for key, value in by_end.items() if "embed_tokens" in key)
    for path, part in model.named_modules():
        down = next(
            (w for key, w in state.items() if key.endswith(f"{path.split('.', 1)[-1]}.lora_A.weight")), None
        )
        if down is not None and path.startswith(("language_model", "text_model")):
            up = next(
                w for key, w in state.items() if key.endswith(f"{path.split('.', 1)[-1]}.lora_B.weight")
            )
            part.weight.data += up @ down * 3  # lora_alpha / r
    frames = REFERENCE if "Qwen" in type(processor).__name__ else None
    inputs = Reader(processor, Prompts(), 100, frames).read([item], of_query, [1] * len(table))
    embedding = model.get_input_embeddings()
    table = table * getattr(embedding, "embed_scale", 1)  # Gemma's, which the reference applies to all rows
    embedding.register_forward_hook(lambda _, __, out: torch.cat([out[:, : -len(table)], table[None]], 1))
    with torch.inference_mode():
        states = model(**inputs).last_hidden_state
        kept = states[0, -(R_Q + R_C) : -R_C] if of_query else states[0, -R_C:]
        weight = next((w for key, w in by_end.items() if "text_proj" in key and key.endswith("weight")), None)
        bias = next((w for key, w in by_end.items() if "text_proj" in key and key.endswith("bias")), 0)
        kept = kept if weight is None else kept @ weight.T + bias
        return (kept / kept.norm(dim=-1, keepdim=True)).numpy()


@pytest.mark.parametrize(
    ("name", "head", "prefix"),
    [
        ("qwen2_vl", "bias", "base_model.model."),
        ("qwen2_5_vl", "", "base_model.model."),
        ("qwen3_vl", "plain", "model."),
        ("paligemma", "bias", "base_model.model."),
        ("mllama", "bias", "base_model.model."),
        ("idefics3", "bias", ""),
    ],
)
def test_the_published_reference_is_read(name: str, head: str, prefix: str, tmp_path: Path) -> None:
    base, state = reference(tmp_path, name, head, prefix)
    made = loaded(tmp_path)
    assert (made.r_q, made.r_c, made.dim) == (R_Q, R_C, 7 if head else WIDTH)
    page, query = picture(1, 90, 60), "how does it work?"
    expected = reference_vectors(base, state, Item("", page), False)
    np.testing.assert_allclose(made.embed([Item("", page)], False)[0].vectors, expected, atol=CLOSE)
    expected = reference_vectors(base, state, Item(query, None), True)
    np.testing.assert_allclose(made.encode_queries([Query(query)])[0].vectors, expected, atol=CLOSE)
    expected = reference_vectors(base, state, Item(query, None), False)  # a candidate of text alone
    np.testing.assert_allclose(made.embed([Item(query, None)], False)[0].vectors, expected, atol=CLOSE)
    assert (made.reader.frames == REFERENCE) == name.startswith("qwen")
    if name != "idefics3":
        return
    save_vlm(made, tmp_path / "ours")  # round trip through our own layout
    assert apart(loaded(tmp_path / "ours").encode_queries(queries()), made.encode_queries(queries())) < CLOSE


@pytest.mark.parametrize("r", [1, 2])
def test_a_reference_query_at_a_smaller_budget_is_a_prefix(r: int, tmp_path: Path) -> None:
    reference(tmp_path, "qwen2_vl", "bias")
    made = loaded(tmp_path)
    for of_queries in (False, True):
        (few,), (whole,) = (made.embed([Item("words", None)], of_queries, n) for n in (r, None))
        np.testing.assert_allclose(few.vectors, whole.vectors[:r], atol=CLOSE)


def test_a_whole_reference_model_is_read(tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    reference(tmp_path / "adapter", "qwen2_vl", "bias")
    shutil.copytree(tmp_path / "adapter/base", tmp_path / "whole")
    state = load_file(tmp_path / "adapter/adapter_model.safetensors")
    kept = {
        key.split("model.", 2)[-1].replace("modules_to_save.", ""): w
        for key, w in state.items()
        if "lora" not in key
    }
    weights = load_file(tmp_path / "whole/model.safetensors")
    save_file({**weights, **kept}, tmp_path / "whole/model.safetensors", {"format": "pt"})
    (tmp_path / "whole/metaembed.json").write_text(json.dumps({"r_q": R_Q, "r_c": R_C}))
    made = loaded(tmp_path / "whole")
    named = {f"base_model.model.{key}": w for key, w in kept.items()}
    expected = reference_vectors(str(tmp_path / "adapter/base"), named, Item("words", None), True)
    np.testing.assert_allclose(made.encode_queries([Query("words")])[0].vectors, expected, atol=CLOSE)


@pytest.mark.parametrize(
    ("key", "means"),
    [
        ("base_model.model.prompt_embed_tokens.modules_to_save.weight", TABLE),
        ("base_model.model.prompt_embed_tokens.modules_to_save.default.weight", TABLE),
        ("prompt_embed_tokens.weight", TABLE),
        ("model.prompt_embed_tokens.weight", TABLE),
        ("base_model.model.custom_text_proj.modules_to_save.bias", HEAD),
        ("custom_text_proj.weight", HEAD),
        ("base_model.model.prompt_embed_tokens.original_module.weight", None),
        ("base_model.model.custom_text_proj.lora_A.weight", None),
    ],
)
def test_which_keys_are_the_reference_tables(key: str, means: Any) -> None:
    assert [pattern for pattern in (TABLE, HEAD) if pattern.search(key)] == ([means] if means else [])


def test_a_table_of_another_size_asks_for_a_manifest(tmp_path: Path) -> None:
    reference(tmp_path, "idefics3", "")
    (tmp_path / "metaembed.json").unlink()
    with pytest.raises(ValueError, match=r'8 Meta Tokens.*metaembed.json.*"r_q"'):
        load_vlm(tmp_path)


def test_a_module_that_the_backbone_lacks_is_named() -> None:
    with pytest.raises(ValueError, match=r"no module like model\.layers\.9"):
        same_module("model.layers.9.q_proj", ["text.layers.0.q_proj"], "text")


@EVERY
def test_lora_is_on_the_language_model_alone(name: str) -> None:
    model, _ = BACKBONES[name].build()
    made = encoder(name, rank=2)
    changed = [key for key, part in made.network.model.named_modules() if hasattr(part, "lora_A")]
    language = [
        k for k, part in model.named_modules() if isinstance(part, torch.nn.Linear) and "_model.layers" in k
    ]
    language = [key for key in language if not key.startswith("vision")]
    assert len(changed) == len(language) > 5
    assert lora_targets(model).split("\\")[0] in ("language_model", "text_model")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A small checkpoint of our own."""
    made = encoder("idefics3", source=saved_backbone("idefics3", tmp_path / "base"), rank=2)
    save_vlm(made, tmp_path / "ours")
    return tmp_path / "ours"


@pytest.mark.parametrize("changed", ["manifest", "adapter", "projection", "backbone", "resolution"])
def test_a_changed_checkpoint_has_another_fingerprint(saved: Path, changed: str) -> None:
    before, settings = loaded(saved).fingerprint, Vlm()
    if changed == "manifest":
        said = json.loads((saved / "metaembed.json").read_text())
        said["frames"]["query"]["text"] = "? {text}"
        (saved / "metaembed.json").write_text(json.dumps(said))
    elif changed == "resolution":
        settings = Vlm(max_visual_tokens=4)
    else:
        file = {
            "adapter": saved / "adapter_model.safetensors",
            "projection": saved / "projection.safetensors",
            "backbone": saved.parent / "base/model.safetensors",
        }[changed]
        state = load_file(file)
        key = next(key for key, value in state.items() if value.is_floating_point())
        save_file({**state, key: state[key] + 0.01}, file, {"format": "pt"})
    assert load_vlm(saved, settings=settings).fingerprint != before


@pytest.mark.parametrize("file", ["config.json", "adapter_config.json", "processor_config.json"])
def test_a_checkpoint_with_code_of_its_own_is_refused(saved: Path, file: str) -> None:
    said = json.loads((saved / file).read_text()) if (saved / file).exists() else {}
    (saved / file).write_text(json.dumps({**said, "auto_map": {"AutoModel": "modeling.Evil"}}))
    with pytest.raises(ValueError, match=f"code of its own .auto_map in {file}"):
        load_vlm(saved)


def test_a_sentence_transformers_module_of_its_own_is_refused(saved: Path) -> None:
    (saved / "modules.json").write_text(
        json.dumps([{"idx": 0, "name": "0", "path": "", "type": "evil.Module"}])
    )
    with pytest.raises(ValueError, match=r"code of its own \(evil.Module\)"):
        load_vlm(saved)


def test_pickled_weights_are_refused(saved: Path) -> None:
    for path in saved.glob("*.safetensors"):
        path.rename(path.with_suffix(".bin"))
    with pytest.raises(ValueError, match=r"adapter_model.bin, a pickle.*safetensors"):
        load_vlm(saved)


def test_a_backbone_with_only_pickles_is_refused(saved: Path) -> None:
    (saved.parent / "base/model.safetensors").rename(saved.parent / "base/pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match="Pickled weights are refused"):
        load_vlm(saved)


@pytest.mark.parametrize(
    ("file", "error", "message"),
    [
        ("adapter_model.safetensors", FileNotFoundError, "adapter_model.safetensors is missing"),
        ("projection.safetensors", FileNotFoundError, "projection.safetensors is missing"),
        ("metaembed.json", ValueError, "not a MetaEmbed checkpoint"),
        ("tokenizer.json", (FileNotFoundError, ValueError), "processor|tokenizer"),
    ],
)
def test_an_incomplete_checkpoint_says_what_is_missing(
    saved: Path, file: str, error: type[Exception], message: str
) -> None:
    (saved / file).unlink()
    with pytest.raises(error, match=message):
        load_vlm(saved)


def changed(file: Path, change: str, ends: str) -> str:
    """Drop, add or reshape a tensor in a file; its name."""
    state = load_file(file)
    name = next(key for key in sorted(state) if key.endswith(ends))
    if change == "missing":
        del state[name]
    elif change == "unexpected":
        name = f"{name.rsplit('.', 1)[0]}.invented.weight"
        state[name] = torch.zeros(2)
    else:
        state[name] = torch.zeros(*state[name].shape[:-1], state[name].shape[-1] + 1)
    save_file(state, file, {"format": "pt"})
    return name


CHANGES = {"missing": "missing", "unexpected": "of no part of the model", "mismatched": "of another shape"}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    ("file", "ends"),
    [
        ("ours/adapter_model.safetensors", "lora_B.weight"),
        ("ours/adapter_model.safetensors", "trainable_tokens_delta"),
        ("ours/projection.safetensors", "weight"),
        ("base/model.safetensors", "mlp.up_proj.weight"),
    ],
)
def test_a_checkpoint_with_other_tensors_than_its_model_is_refused(
    saved: Path, file: str, ends: str, change: str
) -> None:
    name = changed(saved.parent / file, change, ends).split("layers.")[-1]
    with pytest.raises(
        ValueError, match=rf"does not fit its model: 1 tensors are {CHANGES[change]} \(.*{name}"
    ):
        load_vlm(saved)


@pytest.mark.parametrize("change", CHANGES)
def test_a_merged_checkpoint_with_other_tensors_is_refused(tmp_path: Path, change: str) -> None:
    save_vlm(encoder("qwen2_vl", rank=2), tmp_path, merged=True)
    name = changed(tmp_path / "model.safetensors", change, "mlp.up_proj.weight").split("layers.")[-1]
    with pytest.raises(ValueError, match=rf"{CHANGES[change]} \(.*{name}"):
        load_vlm(tmp_path)


@pytest.mark.parametrize(
    ("change", "ends", "said"),
    [
        ("missing", "1.self_attn.q_proj.lora_B.weight", r"missing \(.*1\.self_attn\.q_proj\.lora_B"),
        ("unexpected", "0.self_attn.q_proj.lora_A.weight", r"of no part of the model .*q_proj\.lora_A"),
        (
            "unexpected",
            "custom_text_proj.modules_to_save.bias",
            r"of no part of the model .*custom_text_proj",
        ),
        ("mismatched", "prompt_embed_tokens.modules_to_save.weight", r"prompt_embed_tokens.*\(8, 33\), not"),
        (
            "mismatched",
            "custom_text_proj.modules_to_save.weight",
            r"custom_text_proj.*\(7, 33\), not \(7, 32\)",
        ),
        ("mismatched", "0.self_attn.q_proj.lora_A.weight", r"q_proj.lora_A: \(2, 33\), not \(2, 32\)"),
    ],
)
def test_a_reference_with_other_tensors_is_refused(tmp_path: Path, change: str, ends: str, said: str) -> None:
    reference(tmp_path, "qwen2_vl", "bias")
    changed(tmp_path / "adapter_model.safetensors", change, ends)
    with pytest.raises(ValueError, match=said):
        load_vlm(tmp_path)


def test_a_reference_that_lacks_a_layer_is_refused(tmp_path: Path) -> None:
    reference(tmp_path, "qwen2_vl", "bias")
    for half in "AB":
        changed(tmp_path / "adapter_model.safetensors", "missing", f"1.mlp.down_proj.lora_{half}.weight")
    with pytest.raises(ValueError, match=r"missing \(language_model\.layers\.1\.mlp\.down_proj\.lora_A"):
        load_vlm(tmp_path)


def test_a_damaged_file_is_named(saved: Path) -> None:
    (saved / "adapter_model.safetensors").write_bytes(b"\0" * 40)
    with pytest.raises(ValueError, match=r"adapter_model.safetensors is damaged"):
        load_vlm(saved)


def test_a_manifest_with_unknown_fields_is_refused(saved: Path) -> None:
    said = json.loads((saved / "metaembed.json").read_text())
    (saved / "metaembed.json").write_text(json.dumps({**said, "telepathy": True}))
    with pytest.raises(ValueError, match="'telepathy'; it may need a newer version"):
        load_vlm(saved)


def test_load_encoder_takes_a_folder(saved: Path) -> None:
    found = load_encoder(str(saved))
    assert found.name == "MetaEmbed on base"
    assert found.encode_queries([Query("a")])[0].vectors.shape == (16, 8)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        (
            "minni",
            ValueError,
            "Use mini, mini-english, mini-multilingual, the folder of a MetaEmbed checkpoint",
        ),
        ("/no/such/folder", FileNotFoundError, "There is no folder /no/such/folder"),
        ("a b/c", ValueError, "There is no encoder called 'a b/c'"),
    ],
)
def test_load_encoder_says_what_it_takes(name: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load_encoder(name)


def test_a_hub_id_is_fetched_at_its_revision_and_without_code(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fetch(source: str, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((source, revision))
        assert not any(pattern.endswith((".py", ".bin", "*")) for pattern in allow_patterns)
        return str(saved)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    assert load_encoder("someone/tiny@v1.0").dim == 8
    assert load_encoder("someone/tiny").dim == 8
    assert asked == [("someone/tiny", "v1.0"), ("someone/tiny", None)]


def test_a_hub_that_cannot_be_reached_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> str:
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(
        FileNotFoundError, match=r"someone/tiny@v2 cannot be fetched: no network.*give its folder"
    ):
        load_encoder("someone/tiny@v2")
