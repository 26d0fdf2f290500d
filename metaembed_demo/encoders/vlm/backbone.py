"""Vision-language backbones from transformers: loading, Meta Token embeddings, LoRA, image resolution.

All models load through the Auto classes; backbone differences are read from config, processor and modules.
Pickled weights and checkpoint code are never executed.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import nn
from transformers import AddedToken, AutoConfig, AutoModel, AutoProcessor
from transformers.models.auto.modeling_auto import MODEL_MAPPING
from transformers.processing_utils import ProcessorMixin

from metaembed_demo.core.budgets import OURS
from metaembed_demo.core.config import Vlm
from metaembed_demo.core.extras import install

from . import zero_gpu
from .hardware import device_name, dtype_on
from .whole import refuse_report

R_Q, R_C = OURS.full.r_q, OURS.full.r_c
RANK = 32  # of LoRA, as in the published reference
LANGUAGE_MODELS = ("language_model", "text_model")  # attributes
SAFE: dict[str, Any] = {"trust_remote_code": False}
VIDEO_PROCESSORS = {
    "Qwen2VLProcessor": "Qwen2VLVideoProcessor",
    "Qwen2_5_VLProcessor": "Qwen2VLVideoProcessor",
    "Qwen3VLProcessor": "Qwen3VLVideoProcessor",
    "SmolVLMProcessor": "SmolVLMVideoProcessor",
}


def query_tokens(r: int = R_Q) -> list[str]:
    """Names of the Meta Tokens of a query.

    >>> query_tokens(2)
    ['<|meta_query_0|>', '<|meta_query_1|>']
    """
    return [f"<|meta_query_{i}|>" for i in range(r)]


def page_tokens(r: int = R_C) -> list[str]:
    """Names of the Meta Tokens of a page."""
    return [f"<|meta_page_{i}|>" for i in range(r)]


def installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def require_package(package: str, purpose: str) -> None:
    """Raises ValueError naming what to install when `package` is missing."""
    if not installed(package):
        raise ValueError(f"{purpose} needs the package {package}: {install('vlm')}")


def load_model(
    source: str,
    revision: str | None,
    settings: Vlm,
    device: str = "",
    beside: Collection[re.Pattern[str]] = (),
) -> Any:
    """The base model (no language-modelling head) at `source`, a folder or a hub id, in eval mode.

    device: "" is the fastest there is; the dtype is that of hardware.dtype_on, unless a setting says.
    beside: patterns of tensors that `source` may have besides the model's.

    Raises:
        FileNotFoundError: when there is no such model, or it has no safetensors.
        ValueError: when a setting is unknown, or needs hardware or a package that is missing; when a tensor
            is missing, belongs to no part of the model, or has another shape.
    """
    try:
        config = AutoConfig.from_pretrained(source, revision=revision, **SAFE)
    except OSError as error:
        raise FileNotFoundError(
            f"The backbone {source} cannot be found: {error}. Check its name, its revision and the network, "
            "or download it elsewhere and give its folder."
        ) from error
    model_class: Any = MODEL_MAPPING.get(type(config), None)
    if model_class is None:
        raise ValueError(f"transformers has no base model for {config.model_type!r}, the backbone {source}.")
    dtype = dtype_on(device_name(), settings.dtype)
    chosen: dict[str, Any] = {
        "revision": revision,
        "use_safetensors": True,
        "dtype": dtype,
        "attn_implementation": attention_implementation(model_class, config),
        "output_loading_info": True,
        "ignore_mismatched_sizes": True,  # they are refused below, by name
        **quantization_options(settings.quantization, dtype, unquantized(model_class, config)),
        **SAFE,
    }
    if settings.device_map:
        require_package("accelerate", "METAEMBED_VLM_DEVICE_MAP")
        chosen["device_map"] = settings.device_map
    elif settings.quantization:
        chosen["device_map"] = {"": torch.cuda.current_device()}  # one GPU per training process
    try:
        model, report = AutoModel.from_pretrained(source, **chosen)
    except OSError as error:
        raise FileNotFoundError(
            f"The backbone {source} cannot be loaded: {error}. Pickled weights are refused: they run code."
        ) from error
    refuse_report(source, report, beside)
    model.eval()
    if "device_map" in chosen:
        return model
    # On ZeroGPU the encoder is moved when it is whole: what is recorded there can hardly be worked with.
    return model.to(device or ("cpu" if zero_gpu.active() else device_name()))


def attention_implementation(model_class: Any, config: Any) -> str:
    """The fastest attention that computes what the backbone was trained with.

    PaliGemma attends in both directions within its prompt, which flash attention turns causal without a word.
    Only eager attention caps logits, as Gemma 2 in PaliGemma 2 does.
    """
    if needs_eager(config):
        return "eager"
    flash = installed("flash_attn") and device_name() == "cuda" and config.model_type != "paligemma"
    return "flash_attention_2" if flash and model_class._supports_flash_attn else "sdpa"


def needs_eager(config: Any) -> bool:
    """Whether a backbone caps the logits of its attention."""
    return bool(getattr(config.get_text_config(), "attn_logit_softcapping", None))


def numerics(model: Any, processor: Any) -> str:
    """What vectors depend on besides weights and inputs: attention, dtype, and the kinds of processors."""
    config = model.config
    names = sorted(getattr(config, "sub_configs", ()))
    attention = [
        str(getattr(part, "_attn_implementation", ""))
        for part in (config, *(getattr(config, n) for n in names))
    ]
    kinds = [processor, *(getattr(processor, name, None) for name in ("image_processor", "tokenizer"))]
    return f"{attention} {getattr(model, 'dtype', '')} {[type(kind).__name__ for kind in kinds]}"


def unquantized(model_class: Any, config: Any) -> list[str]:
    """Names of all parts but the language model, the vision tower among them, which few bits blur."""
    with torch.device("meta"):
        model = model_class(config)
    language = language_model(model)[0]
    return [name for name, _ in model.named_children() if name != language]


def quantization_options(bits: str, dtype: torch.dtype, kept: list[str]) -> dict[str, Any]:
    """from_pretrained arguments for 4- or 8-bit weights of all modules but `kept`, computing in `dtype`.

    Meta Tokens and LoRA stay unquantised too.
    """
    if not bits:
        return {}
    if bits not in ("4bit", "8bit"):
        raise ValueError(f"METAEMBED_VLM_QUANTIZATION is {bits!r}; it takes 4bit, 8bit or nothing.")
    require_package("bitsandbytes", f"Loading in {bits}")
    if device_name() != "cuda":
        raise ValueError(f"Loading in {bits} needs an NVIDIA GPU. Unset METAEMBED_VLM_QUANTIZATION.")
    from transformers import BitsAndBytesConfig

    if bits == "8bit":
        return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=kept)}
    return {
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=kept,  # of both kinds, in spite of its name
        )
    }


def load_processor(source: str, revision: str | None = None) -> Any:
    """The processor at `source`, with left padding so that every prompt ends at the last position.

    Raises:
        FileNotFoundError: when there is no processor.
        ValueError: when it lacks an image processor or a tokenizer.
    """
    drop_video_processors()
    try:
        processor = AutoProcessor.from_pretrained(source, revision=revision, **SAFE)
    except OSError as error:
        raise FileNotFoundError(f"{source} has no processor that transformers can load: {error}") from error
    if not hasattr(processor, "image_processor") or not hasattr(processor, "tokenizer"):
        raise ValueError(f"{source} is not a vision-language model: it reads only text or only pictures.")
    processor.tokenizer.padding_side = "left"
    return processor


def save_processor(processor: Any, folder: Path) -> None:
    """Write `processor` so that it opens with torchvision too, where its class asks for a video processor."""
    processor.save_pretrained(folder)
    kind = VIDEO_PROCESSORS.get(type(processor).__name__)
    if kind and not installed("torchvision"):
        file = folder / "video_preprocessor_config.json"
        file.write_text(json.dumps({"video_processor_type": kind}) + "\n", encoding="utf-8")


def drop_video_processors() -> None:
    """Patch transformers to build processors without their video processor, which needs torchvision.

    Pages and queries are never videos; image processors have a PIL version.
    """
    if installed("torchvision") or hasattr(ProcessorMixin, "_metaembed_listed"):
        return
    listed, build = ProcessorMixin.get_attributes, ProcessorMixin.from_args_and_dict

    def without_video(cls: Any) -> list[str]:
        return [name for name in cls._metaembed_listed() if "video" not in name]

    def from_args_and_dict(cls: Any, args: list[Any], *rest: Any, **kwargs: Any) -> Any:
        args = list(args)
        for i, name in enumerate(cls._metaembed_listed()):
            if "video" in name:
                args.insert(i, None)
        return build.__func__(cls, args, *rest, **kwargs)  # type: ignore[attr-defined]

    replaced: Any = ProcessorMixin
    replaced._metaembed_listed = classmethod(listed.__func__)  # type: ignore[attr-defined]
    replaced.get_attributes = classmethod(without_video)
    replaced.from_args_and_dict = classmethod(from_args_and_dict)
    # SmolVLM's chat template reads num_frames even without a video.
    replaced.video_processor = SimpleNamespace(num_frames=None, fps=None)


def limit_resolution(processor: Any, tokens: int) -> int:
    """Limit an image to `tokens` visual tokens (0: no change), in place; returns the resulting maximum.

    Qwen-like processors: limits the image area. Idefics3-like ones (SmolVLM, ModernVBERT): limits the longer
    side to k tiles, for k x k tiles and one of the whole. PaliGemma (fixed resolution) and Mllama (tiles
    outside the sequence) are unchanged.
    """
    image = processor.image_processor
    if tokens > 0 and hasattr(image, "merge_size"):
        area = tokens * (image.patch_size * image.merge_size) ** 2
        least = min(image.size["shortest_edge"], area)
        image.size = {"shortest_edge": least, "longest_edge": area}
    elif tokens > 0 and hasattr(image, "max_image_size"):
        tiles = max(k for k in range(1, 33) if k == 1 or (k * k + 1) * processor.image_seq_len <= tokens)
        image.size = {"longest_edge": tiles * image.max_image_size["longest_edge"]}
    return visual_tokens(processor)


def visual_tokens(processor: Any) -> int:
    """Maximum sequence positions of one image."""
    image = processor.image_processor
    if hasattr(image, "merge_size"):
        return int(image.size["longest_edge"] // (image.patch_size * image.merge_size) ** 2)
    if hasattr(image, "max_image_size"):
        tiles = -(-image.size["longest_edge"] // image.max_image_size["longest_edge"])
        return int(processor.image_seq_len * (tiles**2 + 1 if tiles > 1 else 1))
    return int(getattr(processor, "image_seq_length", 1))  # PaliGemma; Mllama: 1


def add_meta_tokens(model: Any, processor: Any, r_q: int, r_c: int, rows: torch.Tensor | None = None) -> None:
    """Add Meta Tokens to the tokenizer and the embedding, in place.

    rows: (r_q + r_c, hidden) their embeddings, query tokens first. None: the mean embedding plus N(0, std);
        identical rows would collapse and every budget would score the same.
    """
    names = query_tokens(r_q) + page_tokens(r_c)
    special = [AddedToken(name, special=True, normalized=False) for name in names]
    processor.tokenizer.add_tokens(special, special_tokens=True)
    ids = processor.tokenizer.convert_tokens_to_ids(names)
    if rows is None:
        rows = _fresh_rows(model.get_input_embeddings().weight, len(ids))
    ensure_embedding_rows(model, max(ids) + 1)
    weight = model.get_input_embeddings().weight
    with torch.no_grad():
        weight[ids] = rows.to(weight)


def _fresh_rows(weight: torch.Tensor, count: int) -> torch.Tensor:
    """(count, hidden) float32 samples with the mean and std of `weight` (vocabulary, hidden)."""
    known = weight.detach().float()
    return known.mean(0) + known.std(0) * torch.randn(count, known.shape[1], device=known.device)


def ensure_embedding_rows(model: Any, rows: int) -> None:
    """Resize the embedding to at least `rows` rows. Some backbones have spare ones already."""
    have = model.get_input_embeddings().weight.shape[0]
    if have >= rows:
        return
    text = model.config.get_text_config()
    spare = have - text.vocab_size  # Mllama keeps 8 rows beyond its vocabulary
    model.resize_token_embeddings(rows, mean_resizing=False)
    # transformers sets vocab_size to the row count; loading would add the spare rows again.
    text.vocab_size = rows - spare


def language_model(model: Any) -> tuple[str, nn.Module]:
    """Attribute name and module of the language model. Raises ValueError when there is none."""
    for name in LANGUAGE_MODELS:
        if isinstance(found := getattr(model, name, None), nn.Module):
            return name, found
    raise ValueError(
        f"{type(model).__name__} has no language model of its own; this backbone is not supported."
    )


def has_language_model(model: Any) -> bool:
    """Whether `language_model` finds one."""
    return any(isinstance(getattr(model, name, None), nn.Module) for name in LANGUAGE_MODELS)


def lora_targets(model: Any) -> str:
    """A regular expression that matches only the linear layers of the language model."""
    prefix, language = language_model(model)
    leaves = {
        name.rsplit(".", 1)[-1] for name, part in language.named_modules() if isinstance(part, nn.Linear)
    }
    return rf"{re.escape(prefix)}\..*\.({'|'.join(sorted(leaves))})"


def with_lora(
    model: Any,
    token_ids: Iterable[int],
    rank: int,
    alpha: int,
    targets: str | list[str],
    name: str,
    rslora: bool = False,
) -> Any:
    """`model` wrapped by PEFT: LoRA on `targets`, and trainable embedding rows `token_ids`."""
    require_package("peft", "MetaEmbed on a vision-language model")
    from peft import LoraConfig, get_peft_model

    embedding = model.get_input_embeddings()
    (path,) = [path for path, part in model.named_modules() if part is embedding]
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        use_rslora=rslora,
        target_modules=targets,
        trainable_token_indices={path.rsplit(".", 1)[-1]: list(token_ids)},
    )
    wrapped = get_peft_model(model, config)
    # Written to adapter_config.json; transformers would put a cache folder there.
    cast(Any, wrapped).peft_config["default"].base_model_name_or_path = name
    return wrapped


def input_embedding(model: Any) -> nn.Embedding:
    """The input embedding beneath PEFT's wrapper, whose `weight` property copies the whole table."""
    embedding = model.get_input_embeddings()
    found: nn.Embedding = getattr(embedding, "original_module", embedding)
    return found


def merge_token_rows(model: Any, merged: bool) -> None:
    """Merge the trained embedding rows into the table, or unmerge them for training (`merged` False).

    Unmerged, PEFT copies the table at each forward: 600 MB for 150,000 tokens of 2,048 in bfloat16. LoRA is
    not touched, so this works on quantised weights too. Merged rows get no gradients. An embedding sharded
    by FSDP (training/vlm/fsdp.py) is left alone.
    """
    for part in model.modules():
        if not hasattr(part, "trainable_tokens_delta") or part.merged == merged:
            continue
        if hasattr(part, "_is_fsdp_managed_module"):
            continue
        if merged:
            part.merge()
        else:
            part.unmerge()


def merged(model: Any) -> Any:
    """LoRA and Meta Tokens written into the backbone, in place; the transformers model that it becomes."""
    if not hasattr(model, "merge_and_unload"):
        return model
    merge_token_rows(model, False)  # PEFT merges them, and warns of merged ones
    return model.merge_and_unload().eval()


def checkpoint_activations(model: Any) -> None:
    """Enable gradient checkpointing.

    Non-reentrant: with a frozen embedding the reentrant variant would lose the gradients.
    """
    # Renamed in transformers 5.23, where the old name warns.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})
