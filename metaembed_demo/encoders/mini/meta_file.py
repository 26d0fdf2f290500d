"""The weight file of MetaEmbed-Mini: all that this project trained, in float16, and what that is.

The tables of the image projection have a byte a component and a scale a row; the cosine of a view with what
it was is above 0.9999.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from .adapters import PREFIX
from .meta_tokens import MetaConfig, MetaPath

IN_BYTES = ("sight.keys", "sight.captions", "sight.classes")
SCALE = ".scale"  # of each row of these, beside them


def save_meta(meta: MetaPath, path: Path, adapters: Mapping[str, torch.Tensor] | None = None) -> None:
    """Write the trained weights as safetensors (about 13 MB), with what they are.

    adapters: the changes of the text path that belong to them, as from `adapters.tensors`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    stored: dict[str, torch.Tensor] = {}
    for name, tensor in {**meta.tensors(), **(adapters or {})}.items():
        if name in IN_BYTES:
            scale = tensor.abs().amax(1, keepdim=True).clamp(min=1e-8) / 127
            stored |= {name: (tensor / scale).round().to(torch.int8), name + SCALE: scale}
        else:
            stored[name] = tensor.half().contiguous()
    save_file(stored, path, {"config": json.dumps(asdict(meta.config))})


def load_meta(path: Path) -> tuple[MetaPath, dict[str, torch.Tensor]]:
    """Read what `save_meta` wrote: the weights, and the changes of the text path, mostly none.

    Raises:
        ValueError: when the file does not fit this model.
    """
    try:
        with safe_open(path, "pt") as file:
            told = file.metadata() or {}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        for name in IN_BYTES:
            tensors[name] = tensors[name] * tensors.pop(name + SCALE, torch.ones(1))
        changes = {name: tensors.pop(name) for name in list(tensors) if name.startswith(PREFIX)}
        meta = MetaPath(MetaConfig(**json.loads(told.get("config", "{}"))))
        meta.load_tensors(tensors)
    except Exception as error:
        raise ValueError(f"{path.name} does not hold MetaEmbed-Mini weights: {error}") from error
    return meta, changes
