"""Checkpoints of MetaEmbed on a vision-language model: layouts on disk, loading and saving.

(a) adapter: a PEFT adapter, tokenizer, processor, `metaembed.json`, and optionally `projection.safetensors`;
(b) merged: the whole model instead of the adapter;
(c) published reference: Meta Token embeddings as weights, beside LoRA or in the whole model. Keys, after any
    prefix: `prompt_embed_tokens.weight` ((r_q + r_c), hidden), query tokens first; and
    `custom_text_proj.weight`, `.bias` if there is a projection. PEFT may insert `modules_to_save.` or
    `modules_to_save.default.` before `weight` and `bias`. Prompts are not part of that layout: they come from
    an optional `metaembed.json` with "frames" or "prompts", "r_q", "r_c", "budgets"; by default
    those of the reference's code where the tokenizer is Qwen's, else by the chat template, with r_q 16;
(d) sentence-transformers: `modules.json`; see encoders/vlm/multi_vector_checkpoints.py.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import nn

from metaembed_demo.core.config import VLM as SETTINGS
from metaembed_demo.core.config import Vlm

from . import backbone
from .checkpoint_files import (
    ADAPTER,
    ADAPTER_WEIGHTS,
    MANIFEST,
    PROJECTION,
    checkpoint_folder,
    identity,
    refuse_unsafe,
    weight_keys,
)
from .encoder import VLM
from .manifest import Manifest, read_manifest
from .multi_vector_checkpoints import load_multi_vector
from .multi_vector_encoder import MultiVector
from .published_layout import TABLE, base_identity, linear, published_encoder
from .whole import refuse_other_tensors


def load_vlm(
    source: str | Path, revision: str | None = None, settings: Vlm = SETTINGS, trainable: bool = False
) -> VLM | MultiVector:
    """Load a checkpoint of any layout from a folder, or from a hub id at a revision.

    trainable: keep LoRA beside the backbone, to go on training; else it is merged into unquantised weights.

    Raises:
        FileNotFoundError: when it, or its backbone, cannot be found or is incomplete.
        ValueError: when its layout is unknown, it cannot be loaded safely, or a tensor is missing, belongs to
            no part of the model, or has another shape.
    """
    folder = checkpoint_folder(str(source), revision)
    refuse_unsafe(folder)
    if (folder / "modules.json").is_file():
        return load_multi_vector(folder, name=str(source))
    keys = weight_keys(folder)
    if any(TABLE.search(key) for key in keys):
        return published_encoder(folder, keys, str(source), settings, trainable)
    if not (folder / MANIFEST).is_file():
        raise ValueError(
            f"{source} is not a MetaEmbed checkpoint: it has no {MANIFEST}, no prompt_embed_tokens among its "
            "weights, and no modules.json. A plain vision-language model has to be trained first."
        )
    return _load_own(folder, settings, trainable)


def save_vlm(vlm: VLM, folder: str | Path, merged: bool = False) -> None:
    """Write layout (a), or (b) when `merged`, which also merges LoRA into `vlm` itself."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model = vlm.network.model
    if merged or not hasattr(model, "peft_config"):
        model = vlm.merge()
        model.save_pretrained(folder)
    else:
        # Meta Token rows are stored separately; the rest of the embedding never changes.
        model.save_pretrained(folder, save_embedding_layers=False)
    backbone.save_processor(vlm.processor, folder)
    if vlm.network.projection is not None:
        weights = {key: value.contiguous() for key, value in vlm.network.projection.state_dict().items()}
        save_file(weights, folder / PROJECTION)
    manifest = replace(vlm.manifest, frames=vlm.reader.frames, versions=_versions())
    (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=2) + "\n", encoding="utf-8")


def _load_own(folder: Path, settings: Vlm, trainable: bool) -> VLM:
    manifest = read_manifest(folder)
    processor = backbone.load_processor(str(folder))
    names = backbone.query_tokens(manifest.r_q) + backbone.page_tokens(manifest.r_c)
    known = processor.tokenizer.get_vocab()
    if missing := [name for name in names if name not in known]:
        raise ValueError(f"{folder} is incomplete: its tokenizer has no {missing[0]}. Save it with save_vlm.")
    if (folder / ADAPTER).is_file():
        backbone.require_package("peft", "An adapter checkpoint")
        _require(folder, ADAPTER_WEIGHTS)
        base = backbone.load_model(manifest.backbone, manifest.revision, settings)
        backbone.ensure_embedding_rows(base, max(known[name] for name in names) + 1)
        model = _adapted(base, folder)
        if not (trainable or settings.quantization):
            model = backbone.merged(model)
        whole = identity(folder) + base_identity(base, manifest.backbone)
    else:
        model = backbone.load_model(str(folder), None, settings)
        whole = identity(folder)
    projection = _projection(folder, manifest, model.config.get_text_config().hidden_size)
    return VLM(model, processor, projection, manifest, whole, settings)


def _adapted(base: Any, folder: Path) -> Any:
    """`base` wrapped by PEFT with the adapter in `folder`, in place. Raises ValueError unless it is whole."""
    from peft import PeftConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

    config = PeftConfig.from_pretrained(str(folder))
    config.inference_mode = False
    model = get_peft_model(base, config)
    stored = load_file(folder / ADAPTER_WEIGHTS)
    expected = get_peft_model_state_dict(model, save_embedding_layers=False)
    refuse_other_tensors(str(folder / ADAPTER_WEIGHTS), stored, expected)
    set_peft_model_state_dict(model, stored)
    return model.eval()


def _projection(folder: Path, manifest: Manifest, hidden: int) -> nn.Linear | None:
    if manifest.projection is None:
        return None
    _require(folder, PROJECTION)
    stored = load_file(folder / PROJECTION)
    expected = nn.Linear(hidden, manifest.projection, manifest.bias).state_dict()
    refuse_other_tensors(str(folder / PROJECTION), stored, expected)
    return linear(stored)


def _require(folder: Path, name: str) -> None:
    if not (folder / name).is_file():
        raise FileNotFoundError(f"{folder} is incomplete: {name} is missing. Fetch or save it again.")


def _versions() -> dict[str, str]:
    found = {}
    for package in ("torch", "transformers", "peft"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
