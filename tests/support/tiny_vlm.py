"""Every backbone in its real class, tiny and random, with its real processor; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf
from PIL import Image, ImageDraw
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.mllama.image_processing_pil_mllama import MllamaImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

from metaembed_demo.core.types import Embedding, Page, Query, Word
from metaembed_demo.encoders.vlm.backbone import drop_video_processors, needs_eager
from metaembed_demo.encoders.vlm.encoder import VLM, create

drop_video_processors()

WIDTH, LAYERS, HEADS = 32, 2, 2
TEXT: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": 1,
    "max_position_embeddings": 4096,
}
SIGLIP: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
SPARE = 3  # embedding rows that no token uses, as many checkpoints have

QWEN_TEMPLATE = (
    "{% for m in messages %}{% if loop.first and m.role != 'system' %}<|im_start|>system\nYou are a helpful "
    "assistant.<|im_end|>\n{% endif %}<|im_start|>{{ m.role }}\n{% if m.content is string %}{{ m.content }}"
    "{% else %}{% for c in m.content %}{% if c.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in c %}{{ c.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
IDEFICS_TEMPLATE = (
    "<|im_start|>{% for m in messages %}{{ m.role | capitalize }}{% if m.content[0].type == 'image' %}:"
    "{% else %}: {% endif %}{% for c in m.content %}{% if c.type == 'text' %}{{ c.text }}"
    "{% elif c.type == 'image' %}<image>{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
MLLAMA_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\nToday Date: "
    "{{ date_string if date_string is defined else strftime_now('%d %b %Y') }}\n\n{% for c in m.content %}"
    "{% if c.type == 'image' %}<|image|>{% else %}{{ c.text }}{% endif %}{% endfor %}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)


@dataclass(frozen=True)
class Backbone:
    """One kind of model. `make(tied)` gives a config and a processor that belong together."""

    make: Callable[[bool], tuple[Any, Any]]
    causal: bool = True

    def build(self, tied: bool = False, seed: int = 0) -> tuple[Any, Any]:
        """A base model and its processor."""
        config, processor = self.make(tied)
        torch.manual_seed(seed)
        attention = "eager" if needs_eager(config) else "sdpa"
        model = hf.AutoModel.from_config(config, attn_implementation=attention).eval()
        for path, weight in model.named_parameters():
            if path.endswith("_gate"):  # Mllama's, closed until trained: its text would not see pictures
                torch.nn.init.ones_(weight)
        return model, processor


def tokenizer(special: list[str], bos: str = "", eos: str = "", **names: str) -> Any:
    """Bytes as tokens, and special ones; `bos` and `eos` are put around a text as real tokenizers do."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={byte: i for i, byte in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    names = {"pad_token": "<pad>", **names}
    made = hf.PreTrainedTokenizerFast(tokenizer_object=core, padding_side="right", **names)
    made.add_special_tokens({"additional_special_tokens": special})
    if bos or eos:
        around = [(token, made.convert_tokens_to_ids(token)) for token in (bos, eos) if token]
        made.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=" ".join(part for part in (bos, "$A", eos) if part), special_tokens=around
        )
    return made


def _qwen(family: str, tied: bool) -> tuple[Any, Any]:
    tokens = tokenizer(
        [
            "<|im_start|>",
            "<|im_end|>",
            "<|vision_start|>",
            "<|vision_end|>",
            "<|image_pad|>",
            "<|video_pad|>",
            "<|endoftext|>",
        ],
        eos_token="<|im_end|>",
    )
    third = family == "Qwen3VL"
    patch = 16 if third else 14
    image = Qwen2VLImageProcessorPil(
        size={"shortest_edge": 4 * patch**2, "longest_edge": 4 * patch**2 * 24}, patch_size=patch
    )
    name = {"Qwen2VL": "Qwen2VL", "Qwen25VL": "Qwen2_5_VL", "Qwen3VL": "Qwen3VL"}[family]
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2]}
    text = TEXT | {"vocab_size": len(tokens) + SPARE, "rope_parameters": rope}
    sight: dict[str, Any] = {"depth": 2, "num_heads": 2, "patch_size": patch, "spatial_merge_size": 2}
    if family == "Qwen2VL":
        sight |= {"embed_dim": 16, "hidden_size": WIDTH, "mlp_ratio": 2}
    else:
        sight |= {"hidden_size": 16, "out_hidden_size": WIDTH, "intermediate_size": 24}
    if family == "Qwen25VL":
        sight |= {"window_size": 56, "fullatt_block_indexes": [1]}
    if third:
        text |= {"head_dim": 16}
        sight |= {"deepstack_visual_indexes": [0], "num_position_embeddings": 64}
    to_id = tokens.convert_tokens_to_ids
    config = getattr(hf, f"{name}Config")(
        text_config=text,
        vision_config=sight,
        image_token_id=to_id("<|image_pad|>"),
        video_token_id=to_id("<|video_pad|>"),
        vision_start_token_id=to_id("<|vision_start|>"),
        vision_end_token_id=to_id("<|vision_end|>"),
        tie_word_embeddings=tied,
    )
    made = getattr(hf, f"{name}Processor")(image, tokens, None, chat_template=QWEN_TEMPLATE)
    return config, made


def _paligemma(tied: bool, text_kind: str = "gemma") -> tuple[Any, Any]:
    tokens = tokenizer(["<image>"], bos="<bos>", bos_token="<bos>", eos_token="<eos>")
    image = SiglipImageProcessorPil(size={"height": 32, "width": 32})
    image.image_seq_length = 16
    made = hf.PaliGemmaProcessor(image, tokens)
    text = TEXT | {"model_type": text_kind, "vocab_size": len(tokens) + SPARE, "head_dim": 16}
    sight = SIGLIP | {"model_type": "siglip_vision_model", "projection_dim": WIDTH}
    config = hf.PaliGemmaConfig(
        text_config=text,
        vision_config=sight,
        image_token_id=tokens.convert_tokens_to_ids("<image>"),
        hidden_size=WIDTH,
        projection_dim=WIDTH,
        tie_word_embeddings=tied,
    )
    return config, made


def _mllama(tied: bool) -> tuple[Any, Any]:
    special = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|python_tag|>", "<|image|>"]
    bos = "<|begin_of_text|>"
    tokens = tokenizer(special, bos=bos, bos_token=bos, eos_token="<|eot_id|>")
    image = MllamaImageProcessorPil(size={"height": 28, "width": 28}, max_image_tiles=4)
    made = hf.MllamaProcessor(image, tokens, chat_template=MLLAMA_TEMPLATE)
    text = TEXT | {
        # The real one's <|image|> stands just beyond the vocabulary, in one of 8 extra rows.
        "vocab_size": tokens.convert_tokens_to_ids("<|image|>"),
        "num_hidden_layers": 3,
        "cross_attention_layers": [1],
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        "tie_word_embeddings": tied,
        "bos_token_id": tokens.bos_token_id,
        "eos_token_id": tokens.eos_token_id,
        "pad_token_id": tokens.pad_token_id,
    }
    sight = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_global_layers": 1,
        "attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
        "vision_output_dim": 32,
        "intermediate_layers_indices": [0],
        "max_num_tiles": 4,
    }
    to_id = tokens.convert_tokens_to_ids
    config = hf.MllamaConfig(text_config=text, vision_config=sight, image_token_index=to_id("<|image|>"))
    return config, made


def _idefics(name: str, tied: bool) -> tuple[Any, Any]:
    special = ["<|im_start|>", "<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>"]
    special += [f"<row_{i}_col_{j}>" for i in range(1, 7) for j in range(1, 7)]
    encoder = name == "ModernVBert"
    around = {"bos": "[CLS]", "eos": "[SEP]", "cls_token": "[CLS]", "sep_token": "[SEP]"} if encoder else {}
    tokens = tokenizer(special, **around, **({} if encoder else {"eos_token": "<end_of_utterance>"}))
    sizes: dict[str, Any] = {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 32}}
    if name == "SmolVLM":
        image = SmolVLMImageProcessorPil(**sizes)
        made = hf.SmolVLMProcessor(image, tokens, None, image_seq_len=4, chat_template=IDEFICS_TEMPLATE)
    else:
        made = hf.Idefics3Processor(
            Idefics3ImageProcessorPil(**sizes), tokens, image_seq_len=4, chat_template=IDEFICS_TEMPLATE
        )
    vocabulary = {"vocab_size": len(tokens) + SPARE, "pad_token_id": tokens.pad_token_id}
    ids: dict[str, Any] = {
        "image_token_id": tokens.convert_tokens_to_ids("<image>"),
        "tie_word_embeddings": tied,
    }
    if encoder:
        text = (
            TEXT
            | vocabulary
            | {"model_type": "modernbert", "local_attention": 64, "reference_compile": False}
        )
        text |= {"cls_token_id": tokens.cls_token_id, "sep_token_id": tokens.sep_token_id}
        text |= {"bos_token_id": tokens.cls_token_id, "eos_token_id": tokens.sep_token_id}
        text.pop("num_key_value_heads")
        sight = SIGLIP | {"model_type": "siglip_vision_model"}
        return hf.ModernVBertConfig(
            text_config=text, vision_config=sight, pixel_shuffle_factor=2, **ids
        ), made
    text = TEXT | vocabulary | {"model_type": "llama"}
    return getattr(hf, f"{name}Config")(text_config=text, vision_config=SIGLIP, scale_factor=2, **ids), made


BACKBONES = {
    "qwen2_vl": Backbone(lambda tied: _qwen("Qwen2VL", tied)),
    "qwen2_5_vl": Backbone(lambda tied: _qwen("Qwen25VL", tied)),
    "qwen3_vl": Backbone(lambda tied: _qwen("Qwen3VL", tied)),
    "paligemma": Backbone(_paligemma),
    "mllama": Backbone(_mllama),
    "idefics3": Backbone(lambda tied: _idefics("Idefics3", tied)),
    "smolvlm": Backbone(lambda tied: _idefics("SmolVLM", tied)),
    "modernvbert": Backbone(lambda tied: _idefics("ModernVBert", tied), causal=False),
}
PALIGEMMA_2 = Backbone(lambda tied: _paligemma(tied, "gemma2"))  # its classes are PaliGemma's
CAUSAL = [name for name, made in BACKBONES.items() if made.causal]


def picture(seed: int, width: int = 60, height: int = 90) -> Image.Image:
    """A drawing that differs from seed to seed."""
    image = Image.new("RGB", (width, height), (30 * seed % 256, 200 - 13 * seed % 200, 90))
    pen = ImageDraw.Draw(image)
    for i in range(4):
        x, y = (7 * seed + 11 * i) % width, (5 * seed + 17 * i) % height
        pen.rectangle((x, y, x + 14, y + 9), fill=(40 * i, 255 - 20 * seed % 255, 60 * i % 256))
    return image


def encoder(name: str, tied: bool = False, source: str = "", **kwargs: Any) -> VLM:
    """Meta Tokens and LoRA in a tiny backbone, as if trained: LoRA's second matrix is not zero."""
    model, processor = (PALIGEMMA_2 if name == "paligemma_2" else BACKBONES[name]).build(tied)
    vlm = create(model, processor, source or f"tiny/{name}", **{"projection": 8, **kwargs})
    for path, weight in vlm.network.named_parameters():
        if "lora_B" in path:
            torch.nn.init.normal_(weight, std=0.3)
    return vlm


@cache
def shared(name: str) -> VLM:
    """One for all tests that do not change it."""
    return encoder(name)


def saved_backbone(name: str, folder: Path, tied: bool = False) -> str:
    """A tiny backbone and its processor as a folder, like one from the hub."""
    model, processor = (PALIGEMMA_2 if name == "paligemma_2" else BACKBONES[name]).build(tied)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def pages() -> list[Page]:
    """Three pictures of different shapes, and a page of text."""
    drawn = [Page(str(i), "a.pdf", i + 1, picture(i, *size)) for i, size in enumerate(SIZES)]
    words = tuple(Word(word, (0, 0, 1, 1)) for word in ("a", "page", "without", "picture"))
    return [*drawn, Page("text", "b.pdf", 1, None, words)]


def queries() -> list[Query]:
    """Words, more words, a picture, and both."""
    return [
        Query("hello"),
        Query("a longer query, this is"),
        Query("", picture(3)),
        Query("both", picture(4)),
    ]


SIZES = ((60, 90), (120, 40), (33, 160))


def apart(some: Sequence[Embedding], others: Sequence[Embedding]) -> float:
    """The largest difference between two lists of embeddings."""
    assert len(some) == len(others)
    return max(float(np.abs(a.vectors - b.vectors).max()) for a, b in zip(some, others, strict=True))
