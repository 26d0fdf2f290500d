"""Loading of checkpoints in the layout of the published reference."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from metaembed_demo.core.config import Vlm

from . import backbone
from .checkpoint_files import ADAPTER, MANIFEST, identity, read_json
from .encoder import VLM
from .manifest import Manifest
from .prompts import Frames, Prompts, checked_frames, has_reference_tokens, reference_frames
from .whole import refuse_incomplete, refuse_other_tensors

TABLE = re.compile(r"(?:^|\.)prompt_embed_tokens\.(?:modules_to_save\.(?:\w+\.)?)?weight$")
HEAD = re.compile(r"(?:^|\.)custom_text_proj\.(?:modules_to_save\.(?:\w+\.)?)?(weight|bias)$")
ORIGINAL = re.compile(r"\.original_module\.")  # PEFT's copy of what it replaces
LORA = re.compile(r"\.lora_([AB])\.(?:\w+\.)?weight$")


def linear(weights: Mapping[str, torch.Tensor]) -> nn.Linear:
    """A float32 projection from weight (dim, hidden) and optional bias (dim,)."""
    out, hidden = weights["weight"].shape
    linear = nn.Linear(hidden, out, bias="bias" in weights)
    linear.load_state_dict({key: value.float() for key, value in weights.items()})
    return linear


def published_encoder(
    folder: Path, keys: Mapping[str, Path], source: str, settings: Vlm, trainable: bool = False
) -> VLM:
    """Load layout (c). Both sets of Meta Tokens become special tokens appended to every input.

    trainable: keep LoRA beside the backbone; else it is merged into unquantised weights.

    Raises:
        ValueError: when the number of Meta Tokens does not fit, or a tensor is missing, belongs to no part of
            the model, or has another shape.
        FileNotFoundError: when the backbone cannot be found.
    """
    table, head = reference_weights(keys)
    adapter = read_json(folder / ADAPTER) if (folder / ADAPTER).is_file() else {}
    where = str(adapter.get("base_model_name_or_path", folder))
    stored = read_json(folder / MANIFEST) if (folder / MANIFEST).is_file() else {}
    r_q = int(stored.get("r_q", backbone.R_Q))
    r_c = int(stored.get("r_c", len(table) - r_q))
    if r_c < 1 or r_q + r_c != len(table):
        raise ValueError(
            f"{folder} has {len(table)} Meta Tokens, not {r_q} of queries and {max(r_c, 1)} of pages. "
            f'Put a {MANIFEST} beside the weights with {{"r_q": ..., "r_c": ...}}. '
            "A table shared by queries and pages is not supported."
        )
    model = backbone.load_model(where, adapter.get("revision"), settings, beside=(TABLE, HEAD))
    _refuse_misfits(folder, keys, table, head, model.config.get_text_config().hidden_size, bool(adapter))
    own = any((folder / name).is_file() for name in ("processor_config.json", "preprocessor_config.json"))
    processor = backbone.load_processor(
        str(folder) if own else where, None if own else adapter.get("revision")
    )
    backbone.add_meta_tokens(model, processor, r_q, r_c, table)
    whole = identity(folder) + (base_identity(model, where) if adapter else "")
    model = _reference_lora(model, processor, adapter, keys, (r_q, r_c), where)
    if not (trainable or settings.quantization):
        model = backbone.merged(model)
    projection = linear(head) if head else None
    prompts = Prompts(**stored.get("prompts", {}))
    manifest = Manifest(
        where if adapter else source,
        adapter.get("revision"),
        r_q,
        r_c,
        projection.out_features if projection else None,
        "bias" in head,
        True,
        prompts,
        _frames(stored, prompts, processor, folder),
        stored.get("budgets", ()),
    )
    return VLM(model, processor, projection, manifest, whole, settings)


def _frames(stored: Mapping[str, Any], prompts: Prompts, processor: Any, folder: Path) -> Frames:
    """The manifest's frames, else the reference's on Qwen, else none, for those of the chat template."""
    if frames := stored.get("frames"):
        return checked_frames(frames, str(folder / MANIFEST))
    return reference_frames(prompts) if has_reference_tokens(processor) else {}


def reference_weights(keys: Mapping[str, Path]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Meta Token embeddings (r_q + r_c, hidden), queries first, and the optional projection's weights."""
    table = next(_tensor(keys, key) for key in keys if TABLE.search(key))
    head = {found[1]: _tensor(keys, key) for key in keys if (found := HEAD.search(key))}
    return table, head


def _refuse_misfits(
    folder: Path,
    keys: Mapping[str, Path],
    table: torch.Tensor,
    head: Mapping[str, torch.Tensor],
    hidden: int,
    adapter: bool,
) -> None:
    """Raises ValueError for a table or projection of another width, or for unknown tensors of an adapter."""
    shapes = {"prompt_embed_tokens.weight": table} | {f"custom_text_proj.{k}": w for k, w in head.items()}
    weight = head.get("weight")
    outputs = 0 if weight is None else len(weight)
    expected = {"prompt_embed_tokens.weight": torch.empty(len(table), hidden)}
    if head:
        expected["custom_text_proj.weight"] = torch.empty(outputs, hidden)
    if "bias" in head:
        expected["custom_text_proj.bias"] = torch.empty(outputs)
    refuse_other_tensors(str(folder), shapes, expected)
    roles: dict[str, str] = {}
    strange = []
    for key in keys:
        part = HEAD.search(key)
        role = part[1] if part else "table" if TABLE.search(key) else ""
        second = bool(role) and roles.setdefault(role, key) != key
        other = not role and ".lora_" not in key and not ORIGINAL.search(key)
        if second or (adapter and other):  # a whole model's other tensors have been checked
            strange.append(key)
    refuse_incomplete(str(folder), unexpected=strange)


def _refuse_gaps(source: str, found: Mapping[tuple[str, str], Any], linear: list[str], language: str) -> None:
    """Raises ValueError when LoRA has one half of a pair, or lacks a layer while others have it."""
    pairs = {path for path, _ in found}
    missing = [f"{path}.lora_{half}" for path in pairs for half in "AB" if (path, half) not in found]
    leaves = {path.rsplit(".", 1)[-1] for path in pairs}
    alike = [p for p in linear if p.startswith(f"{language}.") and p.rsplit(".", 1)[-1] in leaves]
    missing += [f"{path}.lora_A" for path in alike if path not in pairs]
    refuse_incomplete(source, missing)


def _reference_lora(
    model: Any,
    processor: Any,
    adapter: Mapping[str, Any],
    keys: Mapping[str, Path],
    r: tuple[int, int],
    name: str,
) -> Any:
    """The model wrapped by PEFT with the reference's LoRA weights.

    Module paths of the reference's class are matched by suffix: `model.layers.0.self_attn.q_proj` is our
    `language_model.layers.0.self_attn.q_proj`.
    """
    source = str(next(iter(keys.values())).parent)
    linear = [path for path, part in model.named_modules() if isinstance(part, nn.Linear)]
    language = backbone.language_model(model)[0]
    found: dict[tuple[str, str], torch.Tensor] = {}
    for key in keys:
        if side := LORA.search(key):
            place = same_module(key[: side.start()], linear, language), side[1]
            if place in found:
                refuse_incomplete(source, unexpected=[key])
            found[place] = _tensor(keys, key)
        elif ".lora_" in key:
            raise ValueError(
                f"{key} belongs to a LoRA variant that is not supported; merge it into the model first."
            )
    if not found:
        refuse_incomplete(source, ["LoRA of every layer"] if adapter else [])
        return model
    if not adapter.get("layers_to_transform"):
        _refuse_gaps(source, found, linear, language)
    targets = sorted({path for path, _ in found})
    ids = processor.tokenizer.convert_tokens_to_ids(backbone.query_tokens(r[0]) + backbone.page_tokens(r[1]))
    rank, alpha = int(adapter["r"]), int(adapter["lora_alpha"])
    wrapped = backbone.with_lora(model, ids, rank, alpha, targets, name, bool(adapter.get("use_rslora")))
    for (path, half), weight in found.items():
        part = wrapped.get_submodule(f"base_model.model.{path}")
        slot = (part.lora_A if half == "A" else part.lora_B)["default"].weight
        if slot.shape != weight.shape:
            shapes = f"{path}.lora_{half}: {tuple(weight.shape)}, not {tuple(slot.shape)}"
            refuse_incomplete(source, mismatched=[shapes])
        with torch.no_grad():
            slot.copy_(weight)
    return wrapped


def same_module(path: str, ours: list[str], language: str) -> str:
    """The one of `ours` with the longest common suffix with `path`; `language` wins ties.

    Raises ValueError when fewer than three parts match.

    >>> same_module("model.layers.0.q_proj", ["vision.layers.0.q_proj", "text.layers.0.q_proj"], "text")
    'text.layers.0.q_proj'
    """
    parts = path.split(".")[::-1]

    def shared(other: str) -> tuple[int, bool]:
        ends = [a == b for a, b in zip(parts, other.split(".")[::-1], strict=False)]
        return [*ends, False].index(False), other.startswith(f"{language}.")

    best = max(ours, key=shared)
    if shared(best)[0] < 3:
        raise ValueError(f"The backbone has no module like {path}, which the checkpoint changes.")
    return best


def _tensor(keys: Mapping[str, Path], key: str) -> torch.Tensor:
    with safe_open(keys[key], "pt") as opened:
        found: torch.Tensor = opened.get_tensor(key)
    return found


def base_identity(model: Any, source: str) -> str:
    """Identifies a backbone's weights: the hub commit, or a hash of the folder."""
    return (
        identity(Path(source)) if Path(source).is_dir() else str(getattr(model.config, "_commit_hash", None))
    )
