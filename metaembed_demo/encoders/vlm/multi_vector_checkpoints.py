"""Encoders from checkpoints of sentence-transformers' `MultiVectorEncoder`."""

from __future__ import annotations

import hashlib
from pathlib import Path

from transformers import AutoConfig

from metaembed_demo.core.budgets import OURS, Budgets
from metaembed_demo.core.config import VLM as SETTINGS

from . import backbone, checkpoint_files, whole, zero_gpu
from .exported_vectors import ExportedVectors
from .multi_vector_encoder import MultiVector
from .patch_vectors import PatchVectors

NESTED = "budgets"  # the key of a configuration with pairs (r_q, r_c), as the export writes it
SPELLINGS = (NESTED, "nested_budgets", "nested_sizes")


def load_multi_vector(folder: Path, name: str) -> MultiVector:
    """Load a folder with modules.json, already checked by `checkpoint_files.refuse_unsafe`."""
    backbone.require_package("sentence_transformers", "A MultiVectorEncoder checkpoint")
    from sentence_transformers import MultiVectorEncoder

    backbone.drop_video_processors()
    dtype = backbone.dtype_on(backbone.device_name(), SETTINGS.dtype)
    try:
        with whole.checking(str(folder)):
            model = MultiVectorEncoder(
                str(folder),
                trust_remote_code=False,
                local_files_only=True,
                device="cpu" if zero_gpu.active() else None,
                model_kwargs={"use_safetensors": True, "dtype": dtype, **_attention(folder)},
            )
    except RuntimeError as error:  # torch's, of a module beside the backbone
        raise ValueError(f"{folder} does not fit its model: {error}") from error
    named = named_budgets(folder)
    sizes = f"{(named or OURS).page_sizes} {(named or OURS).query_sizes}"
    digest = hashlib.sha256(f"{checkpoint_files.identity(folder)} {sizes}".encode())
    if (inner := getattr(model[0], "auto_model", None)) is not None:
        digest.update(backbone.numerics(inner, model[0].processor).encode())
    for path in sorted([*folder.rglob("*.json"), *folder.rglob("*.jinja")]):
        digest.update(path.read_bytes())
    made = MultiVector(model, name.rstrip("/").rsplit("/", 1)[-1], f"mve-{digest.hexdigest()[:16]}", named)
    kind = ExportedVectors if made.constant else PatchVectors
    if made.constant and not backbone.has_language_model(getattr(model[0], "auto_model", None)):
        return made
    return kind(model, made.name, made.fingerprint, named, made.probes)


def named_budgets(folder: Path) -> Budgets | None:
    """The nested sizes that a configuration of the model or of a module names, if one does.

    Under one of SPELLINGS: pairs [r_q, r_c], smallest first.

    Raises:
        ValueError: when they are none.
    """
    modules = checkpoint_files.read_json(folder / "modules.json")
    parts = [folder / str(module.get("path", "")) for module in modules]
    files = [folder / "config_sentence_transformers.json", *(part / "config.json" for part in parts)]
    for file in files:
        config = checkpoint_files.read_json(file) if file.is_file() else {}
        for key in SPELLINGS:
            if pairs := config.get(key):
                try:
                    return Budgets.of(pairs)
                except (TypeError, ValueError) as error:
                    raise ValueError(f"{file} names {key} that are none: {error}") from error
    return None


def _attention(folder: Path) -> dict[str, str]:
    """from_pretrained arguments for a backbone that is right with eager attention alone."""
    inner = folder / str(checkpoint_files.read_json(folder / "modules.json")[0].get("path", ""))
    try:
        config = AutoConfig.from_pretrained(inner, trust_remote_code=False)
    except (OSError, ValueError):  # no transformers model; sentence-transformers says what it lacks
        return {}
    return {"attn_implementation": "eager"} if backbone.needs_eager(config) else {}
