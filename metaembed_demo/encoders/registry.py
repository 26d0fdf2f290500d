"""The Encoder protocol, and the one place that turns a name into an encoder."""

from __future__ import annotations

import os
import re

from metaembed_demo.core.config import SPACE, Space

from .base import Encoder


def load_encoder(name: str = "mini") -> Encoder:
    """The encoder called `name`: "mini", a checkpoint's folder, or a hub id, "owner/name[@revision]".

    Raises:
        ValueError: when there is no such encoder, or it cannot be loaded safely.
        FileNotFoundError: when its weights are missing; the message says what to do.
    """
    if name == "mini":
        from metaembed_demo.encoders.mini.encoder import (
            Mini,  # torch is loaded only when a real encoder is asked for
        )

        return Mini.load()
    if os.path.isdir(name):
        from metaembed_demo.encoders.vlm.checkpoints import load_vlm

        return load_vlm(name)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise FileNotFoundError(f"There is no folder {name}. Give the folder of a MetaEmbed checkpoint.")
    if hub := re.fullmatch(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", name):
        from metaembed_demo.encoders.vlm.checkpoints import load_vlm

        return load_vlm(hub[1], hub[2])
    raise ValueError(
        f"There is no encoder called {name!r}. Use 'mini', the folder of a MetaEmbed checkpoint, "
        "or a hub id: owner/name or owner/name@revision."
    )


def affordable(name: str, space: Space = SPACE) -> tuple[str, str]:
    """The encoder to load for `name`, and a notice where that is another: Mini on a Space without a GPU.

    Elsewhere a large model on a CPU is slow, but it is the user's own machine and choice.
    """
    if name == "mini" or not space.here or space.zero_gpu:
        return name, ""
    import torch

    if torch.cuda.is_available():
        return name, ""
    return "mini", f"{name} needs a GPU, which this Space does not have"
