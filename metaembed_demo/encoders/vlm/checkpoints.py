"""Checkpoints of MetaEmbed on a vision-language model: the layouts on disk, and which one a folder has.

(a) ours: a PEFT adapter, tokenizer and processor, `metaembed.json`, and perhaps `projection.safetensors`;
(b) merged: the whole model instead of the adapter;
(c) the published reference: the Meta Tokens' tables as weights, beside LoRA or in the whole model. Keys,
    whatever stands before them: `prompt_embed_tokens.weight` ((r_q + r_c), hidden), queries first; and
    `custom_text_proj.weight`, `.bias` where there is a projection. PEFT may put `modules_to_save.` or
    `modules_to_save.default.` before `weight` and `bias`. What the prompts say is not part of that layout: a
    `metaembed.json` with "prompts", "r_q", "r_c" beside the weights tells, else ours are taken and r_q is 16;
(d) sentence-transformers: `modules.json`; see encoders/vlm/multi_vector_encoder.py.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
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
    fetched,
    identity,
    read_json,
    refuse_unsafe,
    weight_keys,
)
from .encoder import VLM, Manifest
from .multi_vector_encoder import MultiVector
from .prompts import Prompts
from .published_layout import TABLE, base_identity, linear, published_encoder


def load_vlm(source: str | Path, revision: str | None = None, settings: Vlm = SETTINGS) -> VLM | MultiVector:
    """The encoder in a folder, or of a hub id at a revision, in any of the layouts.

    Raises:
        FileNotFoundError: when it, or a backbone it refers to, cannot be found or is incomplete.
        ValueError: when it is in none of the layouts, or cannot be loaded safely.
    """
    folder = fetched(str(source), revision)
    refuse_unsafe(folder)
    if (folder / "modules.json").is_file():
        return MultiVector.load(folder, name=str(source))
    keys = weight_keys(folder)
    if any(TABLE.search(key) for key in keys):
        return published_encoder(folder, keys, str(source), settings)
    if not (folder / MANIFEST).is_file():
        raise ValueError(
            f"{source} is not a MetaEmbed checkpoint: it has no {MANIFEST}, no prompt_embed_tokens among its "
            "weights, and no modules.json. A plain vision-language model has to be trained first."
        )
    return _ours(folder, settings)


def save_vlm(vlm: VLM, folder: str | Path, merged: bool = False) -> None:
    """Write layout (a), or (b) when `merged`: then LoRA goes into the weights, those of `vlm` too."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model = vlm.network.model
    if merged or not hasattr(model, "peft_config"):
        model = vlm.merge()
        model.save_pretrained(folder)
    else:
        # Not the embedding: the Meta Tokens' rows are stored by themselves, and the rest never changes.
        model.save_pretrained(folder, save_embedding_layers=False)
    vlm.processor.save_pretrained(folder)
    if vlm.network.projection is not None:
        weights = {key: value.contiguous() for key, value in vlm.network.projection.state_dict().items()}
        save_file(weights, folder / PROJECTION)
    manifest = replace(vlm.manifest, versions=_versions())
    (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=2) + "\n", encoding="utf-8")


def _ours(folder: Path, settings: Vlm) -> VLM:
    manifest = read_manifest(folder)
    processor = backbone.load_processor(str(folder))
    names = backbone.query_tokens(manifest.r_q) + backbone.page_tokens(manifest.r_c)
    known = processor.tokenizer.get_vocab()
    if missing := [name for name in names if name not in known]:
        raise ValueError(f"{folder} is incomplete: its tokenizer has no {missing[0]}. Save it with save_vlm.")
    if (folder / ADAPTER).is_file():
        backbone.need("peft", "An adapter checkpoint")
        _require(folder, ADAPTER_WEIGHTS)
        from peft import PeftModel

        base = backbone.load_model(manifest.backbone, manifest.revision, settings)
        backbone.make_room(base, max(known[name] for name in names) + 1)
        model: Any = PeftModel.from_pretrained(base, str(folder), is_trainable=True)
        whole = identity(folder) + base_identity(base, manifest.backbone)
    else:
        model = backbone.load_model(str(folder), None, settings)
        whole = identity(folder)
    return VLM(model, processor, _projection(folder, manifest), manifest, whole, settings)


def _projection(folder: Path, manifest: Manifest) -> nn.Linear | None:
    if manifest.projection is None:
        return None
    _require(folder, PROJECTION)
    return linear(load_file(folder / PROJECTION))


def _require(folder: Path, name: str) -> None:
    if not (folder / name).is_file():
        raise FileNotFoundError(f"{folder} is incomplete: {name} is missing. Fetch or save it again.")


def read_manifest(folder: Path) -> Manifest:
    """Raises ValueError when metaembed.json says what this version does not understand."""
    said = read_json(folder / MANIFEST)
    if unknown := set(said) - {f.name for f in fields(Manifest)}:
        raise ValueError(
            f"{folder / MANIFEST} says {sorted(unknown)[0]!r}, which a newer version may understand."
        )
    try:
        return Manifest(**{**said, "prompts": Prompts(**said.get("prompts", {}))})
    except TypeError as error:
        raise ValueError(f"{folder / MANIFEST} is not a manifest: {error}") from error


def _versions() -> dict[str, str]:
    found = {}
    for package in ("torch", "transformers", "peft"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
