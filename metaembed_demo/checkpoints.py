"""Checkpoints of MetaEmbed on a vision-language model: the layouts on disk, and which one a folder has.

(a) ours: a PEFT adapter, tokenizer and processor, `metaembed.json`, and perhaps `projection.safetensors`;
(b) merged: the whole model instead of the adapter;
(c) the published reference: the Meta Tokens' tables as weights, beside LoRA or in the whole model. Keys,
    whatever stands before them: `prompt_embed_tokens.weight` ((r_q + r_c), hidden), queries first; and
    `custom_text_proj.weight`, `.bias` where there is a projection. PEFT may put `modules_to_save.` or
    `modules_to_save.default.` before `weight` and `bias`. What the prompts say is not part of that layout: a
    `metaembed.json` with "prompts", "r_q", "r_c" beside the weights tells, else ours are taken and r_q is 16;
(d) sentence-transformers: `modules.json`; see multivector.py.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from metaembed_demo.core import disk
from metaembed_demo.core.config import VLM as SETTINGS
from metaembed_demo.core.config import Vlm

from . import backbone
from .prompts import Prompts
from .vlm import VLM, Manifest

if TYPE_CHECKING:
    from .multivector import MultiVector

MANIFEST, PROJECTION = "metaembed.json", "projection.safetensors"
ADAPTER, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
TABLE = re.compile(r"(?:^|\.)prompt_embed_tokens\.(?:modules_to_save\.(?:\w+\.)?)?weight$")
HEAD = re.compile(r"(?:^|\.)custom_text_proj\.(?:modules_to_save\.(?:\w+\.)?)?(weight|bias)$")
LORA = re.compile(r"\.lora_([AB])\.(?:\w+\.)?weight$")
FETCHED = ("*.json", "*.safetensors", "*.txt", "*.jinja", "tokenizer.model", "*/*.json", "*/*.safetensors")
KNOWN = re.compile(r"sentence_transformers\.|pylate\.models\.Dense\.Dense$")  # the latter is read as Dense
SETTLED = (
    "config.json",
    ADAPTER,
    "tokenizer_config.json",
    "processor_config.json",
    "preprocessor_config.json",
)


def load_vlm(source: str | Path, revision: str | None = None, settings: Vlm = SETTINGS) -> VLM | MultiVector:
    """The encoder in a folder, or of a hub id at a revision, in any of the layouts.

    Raises:
        FileNotFoundError: when it, or a backbone it refers to, cannot be found or is incomplete.
        ValueError: when it is in none of the layouts, or cannot be loaded safely.
    """
    folder = fetched(str(source), revision)
    refuse_unsafe(folder)
    if (folder / "modules.json").is_file():
        from .multivector import MultiVector

        return MultiVector.load(folder, name=str(source))
    keys = weight_keys(folder)
    if any(TABLE.search(key) for key in keys):
        return _reference(folder, keys, str(source), settings)
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
        model = merge(vlm)
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


def merge(vlm: VLM) -> Any:
    """LoRA and Meta Tokens written into the backbone, which is returned; in place.

    Raises:
        ValueError: when the weights are quantised.
    """
    if vlm.settings.quantization:
        raise ValueError(
            "Quantised weights cannot be merged. Unset METAEMBED_VLM_QUANTIZATION and load again."
        )
    if hasattr(vlm.network.model, "merge_and_unload"):
        backbone.settle_rows(vlm.network.model, False)  # PEFT merges them itself, and warns of those it did
        vlm.network.model = vlm.network.model.merge_and_unload()
    return vlm.network.model


def fetched(source: str, revision: str | None) -> Path:
    """The folder of a checkpoint. From the hub come only texts and safetensors: no code, no pickles."""
    if (folder := Path(source)).is_dir():
        return folder
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", source):
        raise FileNotFoundError(f"There is no folder {source}, and it is not a hub id like owner/name.")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(source, revision=revision, allow_patterns=list(FETCHED)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise FileNotFoundError(
            f"{source}{'@' + revision if revision else ''} cannot be fetched: {error}. Check the name, the "
            "revision and the network, or download it elsewhere and give its folder."
        ) from error


def refuse_unsafe(folder: Path) -> None:
    """Raises ValueError when a checkpoint wants to run its own code, or has its weights only in pickles."""
    for name in SETTLED:
        if (folder / name).is_file() and "auto_map" in _read(folder / name):
            raise ValueError(
                f"{folder} wants to run code of its own (auto_map in {name}), which is not allowed here. "
                "Use a checkpoint of a model that transformers knows by itself."
            )
    modules = folder / "modules.json"
    if modules.is_file():
        foreign = [kind for kind in (str(m["type"]) for m in _read(modules)) if not KNOWN.match(kind)]
        if foreign:
            raise ValueError(
                f"{folder} wants to run code of its own ({foreign[0]}), which is not allowed here. "
                "Use a checkpoint made of sentence-transformers' own modules."
            )
    if any(folder.rglob("*.safetensors")):
        return
    pickles = sorted(path.name for kind in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in folder.glob(kind))
    if pickles:
        raise ValueError(
            f"{folder} has its weights only as {pickles[0]}, a pickle, which can run any code when read. Ask "
            "its author for safetensors, or convert it on a machine that you can lose."
        )
    raise FileNotFoundError(
        f"{folder} has no weights in safetensors, the only kind that is loaded here (a pickle can run code)."
    )


def weight_keys(folder: Path) -> dict[str, Path]:
    """Every tensor in the folder's own safetensors files and the file that has it."""
    keys: dict[str, Path] = {}
    for path in sorted(folder.glob("*.safetensors")):
        if path.name == PROJECTION:
            continue
        try:
            with safe_open(path, "pt") as opened:
                keys |= dict.fromkeys(opened.keys(), path)
        except SafetensorError as error:
            raise ValueError(f"{path} is damaged ({error}). Download it again.") from error
    return keys


def identity(folder: Path) -> str:
    """A hash of all weights in a folder; the hub's own SHA-256 where the file lies in its cache."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")):
        blob = path.resolve().name  # the hub's cache calls a large file by its SHA-256
        known = blob if re.fullmatch(r"[0-9a-f]{64}", blob) else disk.sha256_of(path)
        digest.update(f"{path.relative_to(folder)} {known}\n".encode())
    return digest.hexdigest()


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
        whole = identity(folder) + _base_identity(base, manifest.backbone)
    else:
        model = backbone.load_model(str(folder), None, settings)
        whole = identity(folder)
    return VLM(model, processor, _projection(folder, manifest), manifest, whole, settings)


def _projection(folder: Path, manifest: Manifest) -> nn.Linear | None:
    if manifest.projection is None:
        return None
    _require(folder, PROJECTION)
    return _linear(load_file(folder / PROJECTION))


def _require(folder: Path, name: str) -> None:
    if not (folder / name).is_file():
        raise FileNotFoundError(f"{folder} is incomplete: {name} is missing. Fetch or save it again.")


def _linear(weights: Mapping[str, torch.Tensor]) -> nn.Linear:
    """A projection from its weight (dim, hidden) and, if any, bias (dim,); float32."""
    out, hidden = weights["weight"].shape
    linear = nn.Linear(hidden, out, bias="bias" in weights)
    linear.load_state_dict({key: value.float() for key, value in weights.items()})
    return linear


def read_manifest(folder: Path) -> Manifest:
    """Raises ValueError when metaembed.json says what this version does not understand."""
    said = _read(folder / MANIFEST)
    if unknown := set(said) - {f.name for f in fields(Manifest)}:
        raise ValueError(
            f"{folder / MANIFEST} says {sorted(unknown)[0]!r}, which a newer version may understand."
        )
    try:
        return Manifest(**{**said, "prompts": Prompts(**said.get("prompts", {}))})
    except TypeError as error:
        raise ValueError(f"{folder / MANIFEST} is not a manifest: {error}") from error


def _reference(folder: Path, keys: Mapping[str, Path], source: str, settings: Vlm) -> VLM:
    """Layout (c), its two tables made into special tokens that are both appended to every input."""
    table, head = reference_weights(keys)
    adapter = _read(folder / ADAPTER) if (folder / ADAPTER).is_file() else {}
    where = str(adapter.get("base_model_name_or_path", folder))
    said = _read(folder / MANIFEST) if (folder / MANIFEST).is_file() else {}
    r_q = int(said.get("r_q", backbone.R_Q))
    r_c = int(said.get("r_c", len(table) - r_q))
    if r_c < 1 or r_q + r_c != len(table):
        raise ValueError(
            f"{folder} has {len(table)} Meta Tokens, not {r_q} of queries and {max(r_c, 1)} of pages. "
            f'Put a {MANIFEST} beside the weights that tells: {{"r_q": ..., "r_c": ...}}. '
            "A table that queries and pages share is not supported."
        )
    model = backbone.load_model(where, adapter.get("revision"), settings)
    own = any((folder / name).is_file() for name in ("processor_config.json", "preprocessor_config.json"))
    processor = backbone.load_processor(
        str(folder) if own else where, None if own else adapter.get("revision")
    )
    backbone.add_meta_tokens(model, processor, r_q, r_c, table)
    whole = identity(folder) + (_base_identity(model, where) if adapter else "")
    model = _reference_lora(model, processor, adapter, keys, (r_q, r_c), where)
    projection = _linear(head) if head else None
    manifest = Manifest(
        where if adapter else source,
        adapter.get("revision"),
        r_q,
        r_c,
        projection.out_features if projection else None,
        "bias" in head,
        True,
        Prompts(**said.get("prompts", {})),
    )
    return VLM(model, processor, projection, manifest, whole, settings)


def reference_weights(keys: Mapping[str, Path]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The table (r_q + r_c, hidden), queries first, and the projection's weight and bias, if any."""
    table = next(_tensor(keys, key) for key in keys if TABLE.search(key))
    head = {found[1]: _tensor(keys, key) for key in keys if (found := HEAD.search(key))}
    return table, head


def _reference_lora(
    model: Any,
    processor: Any,
    adapter: Mapping[str, Any],
    keys: Mapping[str, Path],
    r: tuple[int, int],
    name: str,
) -> Any:
    """The model under PEFT with the reference's LoRA, whose module paths are those of another class.

    A path is matched from its end: `model.layers.0.self_attn.q_proj` is our
    `language_model.layers.0.self_attn.q_proj`.
    """
    linear = [path for path, part in model.named_modules() if isinstance(part, nn.Linear)]
    language = backbone.language_model(model)[0]
    found: dict[tuple[str, str], torch.Tensor] = {}
    for key in keys:
        if side := LORA.search(key):
            found[same_module(key[: side.start()], linear, language), side[1]] = _tensor(keys, key)
        elif ".lora_" in key:
            raise ValueError(
                f"{key} is a kind of LoRA that cannot be read here; merge it into the model first."
            )
    if not found:
        return model
    targets = sorted({path for path, _ in found})
    ids = processor.tokenizer.convert_tokens_to_ids(backbone.query_tokens(r[0]) + backbone.page_tokens(r[1]))
    rank, alpha = int(adapter["r"]), int(adapter["lora_alpha"])
    wrapped = backbone.with_lora(model, ids, rank, alpha, targets, name, bool(adapter.get("use_rslora")))
    for (path, half), weight in found.items():
        part = wrapped.get_submodule(f"base_model.model.{path}")
        place = (part.lora_A if half == "A" else part.lora_B)["default"].weight
        if place.shape != weight.shape:
            raise ValueError(f"LoRA of {path} is {tuple(weight.shape)}; {name} takes {tuple(place.shape)}.")
        with torch.no_grad():
            place.copy_(weight)
    return wrapped


def same_module(path: str, ours: list[str], language: str) -> str:
    """Which of `ours` a path of another class means: the one that it shares the most of its end with.

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


def _base_identity(model: Any, source: str) -> str:
    """Which weights a backbone has: the hub's commit, or a hash of the folder's."""
    return identity(Path(source)) if Path(source).is_dir() else str(model.config._commit_hash)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} is not readable JSON: {error}") from error


def _versions() -> dict[str, str]:
    found = {}
    for package in ("torch", "transformers", "peft"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
