"""Meta Tokens in every backbone: positions, dependencies, trainable weights."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.quantizers.quantizers_utils import should_convert_module

from metaembed_demo.core.config import Vlm
from metaembed_demo.core.types import Embedding, Query
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.encoders.vlm import backbone, hardware, zero_gpu
from metaembed_demo.encoders.vlm import encoder as encoder_module
from metaembed_demo.encoders.vlm.backbone import limit_resolution, page_tokens, query_tokens
from metaembed_demo.encoders.vlm.checkpoints import load_vlm, save_vlm
from metaembed_demo.encoders.vlm.encoder import VLM
from metaembed_demo.encoders.vlm.manifest import Manifest
from metaembed_demo.encoders.vlm.prompts import Item, Prompts, Reader, around
from tests.support.tiny_vlm import (
    BACKBONES,
    CAUSAL,
    PALIGEMMA_2,
    apart,
    encoder,
    pages,
    picture,
    queries,
    saved_backbone,
    shared,
    tokenizer,
)

pytestmark = pytest.mark.slow

EVERY = pytest.mark.parametrize("name", BACKBONES)
CLOSE = 2e-5  # float32 sums in another order


def items(of_queries: bool, pictured: bool) -> list[Item]:
    """Two of a kind, of different length."""
    texts = ("", "") if pictured and not of_queries else ("short", "rather longer than the first")
    return [Item(text, picture(i, 60 + 50 * i) if pictured else None) for i, text in enumerate(texts)]


@EVERY
def test_shapes_lengths_and_protocol(name: str) -> None:
    made: Encoder = shared(name)
    assert (made.r_q, made.r_c, made.dim, made.device) == (16, 64, 8, "CPU")
    for embeddings, r in ((made.encode_pages(pages()), 64), (made.encode_queries(queries()), 16)):
        assert [e.vectors.shape for e in embeddings] == [(r, 8)] * 4
        assert all(e.vectors.dtype == np.float32 for e in embeddings)
        lengths = np.linalg.norm(np.concatenate([e.vectors for e in embeddings]), axis=1)
        np.testing.assert_allclose(lengths, 1, atol=1e-5)
        # Vectors of different inputs differ, or the tests below would be vacuous.
        assert min(apart([embeddings[i]], [embeddings[i - 1]]) for i in range(4)) > 1e-2
        assert np.ptp(embeddings[0].vectors, axis=0).max() > 1e-2


@EVERY
@pytest.mark.parametrize("of_queries", [False, True])
@pytest.mark.parametrize("pictured", [False, True])
def test_meta_tokens_are_the_last_positions(name: str, of_queries: bool, pictured: bool) -> None:
    made = shared(name)
    inputs, keep = made.inputs(items(of_queries, pictured), of_queries)
    names = query_tokens() if of_queries else page_tokens()
    for row, mask in zip(inputs["input_ids"], inputs["attention_mask"], strict=True):
        assert made.processor.tokenizer.convert_ids_to_tokens(row[keep].tolist()) == names
        assert mask[keep].all()
        assert len(row[keep]) == len(names)
        assert row[keep].tolist() == row[-len(names) :].tolist()
    if of_queries or not pictured:  # the shorter text is padded on the left
        assert inputs["attention_mask"][:, 0].tolist() == [0, 1]


@EVERY
def test_vectors_do_not_depend_on_the_batch(name: str) -> None:
    made = shared(name)
    alone = [made.encode_pages([page])[0] for page in pages()]
    asked = [made.encode_queries([query])[0] for query in queries()]
    for order in ((0, 1, 2, 3), (3, 1, 0, 2)):
        together = made.encode_pages([pages()[i] for i in order])
        assert apart(together, [alone[i] for i in order]) < CLOSE
        answers = made.encode_queries([queries()[i] for i in order])
        assert apart(answers, [asked[i] for i in order]) < CLOSE


@pytest.mark.parametrize("name", CAUSAL)  # ModernVBERT reads in both directions: see encoders/vlm/encoder.py
@pytest.mark.parametrize("r", [1, 4])
def test_fewer_meta_tokens_give_the_same_first_vectors(name: str, r: int) -> None:
    made = shared(name)
    whole = made.encode_pages(pages()[2:])
    few = made.embed([Item(p.text if p.image is None else "", p.image) for p in pages()[2:]], False, r)
    assert apart(few, [Embedding(e.vectors[:r]) for e in whole]) < CLOSE
    (query,) = made.embed([Item("hello", None)], True, r)
    assert apart([query], [Embedding(made.encode_queries([Query("hello")])[0].vectors[:r])]) < CLOSE


def test_in_a_model_that_reads_both_ways_fewer_meta_tokens_are_not_a_prefix() -> None:
    made = shared("modernvbert")
    (few,) = made.embed([Item("hello", None)], True, 4)
    assert apart([few], [Embedding(made.encode_queries([Query("hello")])[0].vectors[:4])]) > CLOSE


@pytest.mark.parametrize("name", CAUSAL)
@pytest.mark.parametrize("pictured", [False, True])
def test_the_text_does_not_see_the_meta_tokens(name: str, pictured: bool) -> None:
    made = shared(name)
    asked = items(True, pictured)
    with torch.inference_mode():
        some, _ = made.inputs(asked, True)
        others = made.reader.read(asked, True, made.page_ids)
        states = [
            made.network.model(**inputs, use_cache=False).last_hidden_state for inputs in (some, others)
        ]
    texts = [
        state[:, : -len(ids)] for state, ids in zip(states, (made.query_ids, made.page_ids), strict=True)
    ]
    real = some["attention_mask"][:, :-16].bool()
    torch.testing.assert_close(texts[0][real], texts[1][real], atol=CLOSE, rtol=0)


@EVERY
@pytest.mark.parametrize("tied", [False, True])
def test_only_lora_meta_tokens_and_projection_learn(name: str, tied: bool) -> None:
    made = encoder(name, tied, rank=2, bias=True)
    before = {key: value.clone() for key, value in made.network.state_dict().items()}
    learning = {key: value for key, value in made.network.named_parameters() if value.requires_grad}
    assert {_kind(key) for key in learning} == {"lora", "rows", "projection"}
    assert all("vision" not in key and "visual" not in key for key in learning)
    optimizer = torch.optim.SGD(learning.values(), lr=1.0)
    sum(made.vectors(items(q, True), q)[..., 0].sum() for q in (False, True)).backward()  # type: ignore[union-attr]
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in learning.values())
    optimizer.step()
    changed = {key for key, value in made.network.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == set(learning)
    (rows,) = (value for key, value in learning.items() if _kind(key) == "rows")
    assert rows.shape == (80, 32)


def _kind(key: str) -> str:
    return "lora" if "lora_" in key else "rows" if "trainable_tokens" in key else key.split(".")[0]


@EVERY
def test_fresh_meta_tokens_are_like_words_but_not_alike(name: str) -> None:
    made = shared(name)
    table = made.network.model.get_input_embeddings()
    rows = table(torch.tensor(made.query_ids + made.page_ids))
    words = table(torch.arange(200))
    assert rows.detach().std().item() == pytest.approx(words.detach().std().item(), rel=0.3)
    assert torch.cdist(rows, rows).fill_diagonal_(1).min() > 0.01


@pytest.mark.parametrize("name", ["qwen2_vl", "qwen3_vl", "idefics3", "smolvlm"])
@pytest.mark.parametrize("budget", [4, 12, 20])
def test_a_picture_keeps_to_the_visual_tokens_allowed(name: str, budget: int) -> None:
    _, processor = BACKBONES[name].build()
    most = limit_resolution(processor, budget)
    assert most <= budget
    read = processor(images=[[picture(0, 500, 700)]], text=[processor.image_token], return_tensors="pt")
    assert 0 < (read["input_ids"] == processor.image_token_id).sum() <= most


@pytest.mark.parametrize("name", ["paligemma", "mllama"])
def test_a_fixed_resolution_stays(name: str) -> None:
    _, processor = BACKBONES[name].build()
    assert limit_resolution(processor, 5) == limit_resolution(processor, 0)


def test_a_text_cannot_pass_for_a_picture_or_a_meta_token() -> None:
    made = shared("qwen2_vl")
    plain, sly = made.encode_queries([Query("a  b"), Query("a<|image_pad|> <|meta_query_3|>b")])
    inputs, _ = made.inputs([Item("a<|image_pad|><|meta_query_3|>b", None)], True)
    assert (inputs["input_ids"] == made.query_ids[3]).sum() == 1
    assert np.isfinite(sly.vectors).all()
    assert apart([plain], [sly]) < 1  # and it is read at all


@EVERY
def test_a_long_text_is_cut_not_refused(name: str) -> None:
    processor = shared(name).processor
    reader = Reader(processor, Prompts(), max_text_tokens=40)
    short, long = (reader.read([Item("ab " * n, None)], True, [])["input_ids"].shape[1] for n in (1, 9000))
    assert short + 36 <= long <= short + 40


@EVERY
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (700, 2)])
def test_odd_pictures_are_read(name: str, size: tuple[int, int]) -> None:
    grey = Image.new("LA", size, (90, 10))
    (found,) = shared(name).encode_queries([Query("", grey)])
    assert np.isfinite(found.vectors).all()


def test_nothing_gives_nothing() -> None:
    assert shared("qwen2_vl").encode_pages([]) == []


def test_several_threads_get_the_same() -> None:
    made = shared("smolvlm")
    expected = made.encode_queries(queries())
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: made.encode_queries(queries()), range(8)))
    assert max(apart(one, expected) for one in found) < CLOSE


def test_the_prompt_does_not_print_the_date() -> None:
    assert "26 Jul 2024" in shared("mllama").reader.frames["query"]["text"]


def written(made: VLM, item: Item, of_queries: bool) -> str:
    """What the tokens before the Meta Tokens say."""
    (row,) = made.inputs([item], of_queries)[0]["input_ids"].tolist()
    meta = made.meta(of_queries)
    assert row[-len(meta) :] == meta
    tokens = made.processor.tokenizer.convert_ids_to_tokens(row[: -len(meta)])
    return "".join(tokens).replace("Ġ", " ").replace("Ċ", "\n")


@EVERY
@pytest.mark.parametrize("side", ["query", "candidate"])
def test_frames_are_read_verbatim(name: str, side: str) -> None:
    made = shared(name)
    frames = made.reader.frames[side]
    assert written(made, Item("words", None), side == "query") == around(frames["text"], "words")
    for kind, text in (("image", ""), ("both", "words")):
        found = written(made, Item(text, picture(1)), side == "query").rstrip("\n")
        assert found.endswith(
            around(frames[kind], text).rstrip("\n")[-7:]
        )  # the picture's place may be spelt out
        assert text in found


def test_the_generation_prompt_is_there_where_it_is_asked_for() -> None:
    _, processor = BACKBONES["qwen2_vl"].build()
    with_it, without = (Reader(processor, Prompts(generation=on), 100).frames for on in (True, False))
    assert with_it["query"]["text"] == without["query"]["text"] + "<|im_start|>assistant\n"
    assert without["candidate"]["text"].endswith("user\n{text}<|im_end|>\n")


def test_a_template_that_drops_the_text_is_refused() -> None:
    _, processor = BACKBONES["qwen2_vl"].build()
    processor.chat_template = "{% for m in messages %}<|im_start|>{% endfor %}"
    with pytest.raises(ValueError, match="drops the user's text"):
        Reader(processor, Prompts(), 100)


class Scarce(torch.nn.Module):
    """A model that runs out of memory above a batch size, and counts calls."""

    dtype = torch.float32

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room, self.sizes = room, list[int]()
        self.table = torch.nn.Embedding(400, 8)
        sizes = SimpleNamespace(hidden_size=8, intermediate_size=8)
        self.config = SimpleNamespace(get_text_config=lambda: sizes, vision_config=sizes)

    def get_input_embeddings(self) -> torch.nn.Embedding:
        return self.table

    def forward(self, input_ids: torch.Tensor, **_: Any) -> Any:
        self.sizes.append(len(input_ids))
        if len(input_ids) > self.room:
            raise torch.OutOfMemoryError("too much")
        return SimpleNamespace(last_hidden_state=self.table(input_ids))


def scarce(room: int, batch: int = 8) -> tuple[VLM, Scarce]:
    _, processor = BACKBONES["idefics3"].build()
    special = query_tokens() + page_tokens()
    processor.tokenizer.add_special_tokens({"additional_special_tokens": special})
    model = Scarce(room)
    return VLM(model, processor, None, Manifest("tiny/scarce"), settings=Vlm(batch=batch)), model


def test_out_of_memory_halves_the_batch_and_goes_on() -> None:
    made, model = scarce(room=2)
    asked = [Query(f"query {i}") for i in range(7)]
    found = made.encode_queries(asked)
    assert model.sizes == [7, 3] + 7 * [1]
    roomy, _ = scarce(room=99)
    roomy.network.load_state_dict(made.network.state_dict())
    assert apart(found, roomy.encode_queries(asked)) == 0


def test_out_of_memory_for_a_single_page_says_what_to_do() -> None:
    made, _ = scarce(room=0)
    with pytest.raises(RuntimeError, match="METAEMBED_VLM_MAX_VISUAL_TOKENS"):
        made.encode_queries([Query("one")])


def test_the_batch_is_chosen_by_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = scarce(room=9, batch=0)
    page = Item("", picture(0))
    assert made._batch_size(page) == encoder_module.CPU_BATCH
    made.device = "CUDA"
    each = made.bytes_for(page)
    for free, expected in ((0, 1), (10 * each, 5), (10**6 * each, encoder_module.MAX_BATCH)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda free=free: (free, free))
        assert made._batch_size(page) == expected


@pytest.mark.parametrize("name", BACKBONES)
def test_a_large_picture_is_planned_to_take_more_than_a_small_one_and_a_text(name: str) -> None:
    made = shared(name)
    large, small, text = (
        made.bytes_for(Item("", i)) for i in (picture(0, 900, 900), picture(0, 30, 30), None)
    )
    assert large >= small > text > 0
    assert (large > small) == name.startswith("qwen")


def test_a_lent_gpu_has_room_for_more_than_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = scarce(room=9, batch=0)
    made.device = "CUDA"
    weights = sum(weight.numel() * weight.element_size() for weight in made.network.parameters())
    page = Item("", picture(0))
    monkeypatch.setattr(zero_gpu, "active", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (0, weights + 10 * made.bytes_for(page)))
    assert made._batch_size(page) == 5


def test_fingerprints_differ_when_vectors_would() -> None:
    made = shared("idefics3")

    def again(settings: Vlm = made.settings, identity: str = "x", kind: str = "", **said: Any) -> str:
        _, processor = BACKBONES["idefics3"].build()
        if kind:
            processor.image_processor.__class__ = type(kind, (type(processor.image_processor),), {})
        processor.tokenizer.add_special_tokens({"additional_special_tokens": query_tokens() + page_tokens()})
        manifest = replace(made.manifest, **said)
        return VLM(made.network.model, processor, None, manifest, identity, settings).fingerprint

    fingerprints = [
        again(),
        again(identity="y"),
        again(backbone="tiny/other"),
        again(revision="abc"),
        again(prompts=Prompts(page="Read this page.")),
        again(prompts=Prompts(query="search: ")),
        again(both=True),
        again(Vlm(max_visual_tokens=4)),
        again(Vlm(max_text_tokens=10)),
        again(Vlm(quantization="8bit")),
        *other_numerics(again),
    ]
    assert len(set(fingerprints)) == len(fingerprints)
    assert again() == fingerprints[0]
    assert again(versions={"torch": "9"}) == fingerprints[0]


def other_numerics(again: Callable[..., str]) -> list[str]:
    """Fingerprints with another attention, dtype and kind of image processor."""
    model, found = shared("idefics3").network.model, []
    config = model.config.get_text_config()
    before, dtype = config._attn_implementation, model.dtype
    try:
        config._attn_implementation = "eager"
        found.append(again())
    finally:
        config._attn_implementation = before
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model.get_base_model()), "dtype", torch.bfloat16)
        found.append(again())
        assert model.dtype != dtype
    return [*found, again(kind="Idefics3ImageProcessor")]


def test_training_changes_the_fingerprint() -> None:
    made = encoder("idefics3", rank=2)
    before = encoder_module.trained(made.network)
    with torch.no_grad():
        next(w for key, w in made.network.named_parameters() if "trainable_tokens" in key).add_(0.1)
    assert encoder_module.trained(made.network) != before


@pytest.mark.parametrize(("bits", "message"), [("4bit", "bitsandbytes"), ("2bit", "takes 4bit, 8bit")])
def test_quantization_that_cannot_be_is_refused(
    bits: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backbone, "installed", lambda package: False)
    with pytest.raises(ValueError, match=message):
        backbone.quantization_options(bits, torch.bfloat16, [])


@EVERY
def test_only_the_language_model_is_quantised(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbone, "installed", lambda package: True)
    monkeypatch.setattr(backbone, "device_name", lambda: "cuda")
    model, _ = BACKBONES[name].build()
    kept = backbone.unquantized(type(model), model.config)
    chosen = backbone.quantization_options("4bit", torch.float16, kept)["quantization_config"]
    assert chosen.bnb_4bit_compute_dtype == torch.float16
    language = f"{backbone.language_model(model)[0]}."
    for path, part in model.named_modules():
        if isinstance(part, torch.nn.Linear):
            converted = should_convert_module(path, chosen.llm_int8_skip_modules)
            assert converted == path.startswith(language), path


@pytest.mark.parametrize(
    ("device", "able", "dtype"),
    [
        ("cuda", (9, 0), torch.bfloat16),
        ("cuda", (8, 0), torch.bfloat16),
        ("cuda", (7, 5), torch.float16),
        ("mps", True, torch.bfloat16),
        ("mps", False, torch.float32),
        ("cpu", True, torch.bfloat16),
        ("cpu", False, torch.float32),
    ],
)
def test_the_dtype_is_what_the_device_computes_fast(
    device: str, able: Any, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: able)
    monkeypatch.setattr(torch.backends.mps, "is_macos_or_newer", lambda *_: able)
    monkeypatch.setattr(hardware, "cpu_has_bf16", lambda: able)
    assert hardware.dtype_on(device) == dtype
    assert hardware.dtype_on(device, "float32") == torch.float32
    with pytest.raises(
        ValueError, match="METAEMBED_VLM_DTYPE is 'half'; it takes bfloat16, float16, float32"
    ):
        hardware.dtype_on(device, "half")


def test_apples_gpu_is_taken_where_there_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert hardware.device_name() == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert hardware.device_name() == "cuda"
    monkeypatch.undo()
    assert hardware.device_name() in ("cpu", "cuda", "mps")


def test_a_model_is_loaded_in_the_chosen_dtype(tmp_path: Path) -> None:
    base = saved_backbone("qwen2_vl", tmp_path / "base")
    for name, dtype in hardware.DTYPES.items():
        assert backbone.load_model(base, None, Vlm(dtype=name)).dtype == dtype


@EVERY
def test_queries_are_encoded_without_padding(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made, seen = shared(name), []
    monkeypatch.setattr(
        made, "_run", lambda inputs, keep: seen.append(inputs) or made._unless_out_of_memory(inputs, keep)
    )
    asked = [*queries(), Query("hallo"), Query("five more words are here")]
    expected = [made.encode_queries([query])[0] for query in asked]
    seen.clear()
    found = made.encode_queries(asked)
    assert all(inputs["attention_mask"].all() for inputs in seen)
    assert max(len(inputs["input_ids"]) for inputs in seen) == 2, "of equal length, together"
    assert apart(found, expected) < CLOSE


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbone, "installed", lambda package: package != "peft")
    with pytest.raises(ValueError, match=r"needs the package peft: pip install .*\[vlm\]"):
        encoder("idefics3")


def test_the_fastest_attention_that_a_backbone_has_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    able, unable = SimpleNamespace(_supports_flash_attn=True), SimpleNamespace(_supports_flash_attn=False)
    qwen, pali, pali_2 = (
        made.make(False)[0] for made in (BACKBONES["qwen2_vl"], BACKBONES["paligemma"], PALIGEMMA_2)
    )
    chosen = backbone.attention_implementation
    assert [chosen(able, config) for config in (qwen, pali, pali_2)] == ["sdpa", "sdpa", "eager"]
    monkeypatch.setattr(backbone, "installed", lambda package: True)
    monkeypatch.setattr(backbone, "device_name", lambda: "cuda")
    assert (chosen(able, qwen), chosen(unable, qwen)) == ("flash_attention_2", "sdpa")
    assert [chosen(able, config) for config in (pali, pali_2)] == ["sdpa", "eager"]


def test_paligemma_2_caps_the_logits_of_its_attention(tmp_path: Path) -> None:
    made = encoder("paligemma_2", source=saved_backbone("paligemma_2", tmp_path / "base"), rank=2)
    save_vlm(made, tmp_path / "ours")
    again = load_vlm(tmp_path / "ours")
    assert isinstance(again, VLM)
    config = again.network.model.config
    assert {config._attn_implementation, config.text_config._attn_implementation} == {"eager"}
    assert apart(again.encode_pages(pages()), made.encode_pages(pages())) < CLOSE
    uncapped = encoder("paligemma_2", rank=2)
    for part in uncapped.network.model.modules():
        if hasattr(part, "attn_logit_softcapping"):
            part.attn_logit_softcapping = None
    assert apart(uncapped.encode_pages(pages()), made.encode_pages(pages())) > 0
    (few,) = made.embed([Item("hello", None)], True, 4)
    assert apart([few], [Embedding(made.encode_queries([Query("hello")])[0].vectors[:4])]) < CLOSE


def test_a_text_model_is_no_backbone(tmp_path: Any) -> None:
    tokenizer([], eos_token="<eos>").save_pretrained(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=r"processor|vision-language"):
        backbone.load_processor(str(tmp_path))


def test_a_pages_caption_stands_before_the_instruction() -> None:
    model = shared("qwen2_vl")

    def said(text: str) -> str:
        return written(model, Item(text, picture(1)), False)

    assert "A red kite\nDescribe the image." in said("A red kite")
    assert said("A red kite").replace("A red kite\n", "") == said("")
