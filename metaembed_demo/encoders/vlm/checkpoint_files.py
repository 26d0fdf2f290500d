"""Checkpoint files: download, safety checks, content hashes."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from metaembed_demo.core import disk

MANIFEST, PROJECTION = "metaembed.json", "projection.safetensors"
ADAPTER, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
FETCHED = ("*.json", "*.safetensors", "*.txt", "*.jinja", "tokenizer.model", "*/*.json", "*/*.safetensors")
KNOWN = re.compile(r"sentence_transformers\.|pylate\.models\.Dense\.Dense$")  # the latter is read as Dense
CONFIG_FILES = (
    "config.json",
    ADAPTER,
    "tokenizer_config.json",
    "processor_config.json",
    "preprocessor_config.json",
)


def checkpoint_folder(source: str, revision: str | None) -> Path:
    """The local folder of a checkpoint, downloaded if needed: text files and safetensors, no code or pickles.

    Raises:
        FileNotFoundError: when there is no such folder, or the download fails.
    """
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
    """Check that a checkpoint is safe to load.

    Raises:
        ValueError: when it needs its own code, or has its weights only in pickles.
        FileNotFoundError: when it has no weights.
    """
    for name in CONFIG_FILES:
        if (folder / name).is_file() and "auto_map" in read_json(folder / name):
            raise ValueError(
                f"{folder} wants to run code of its own (auto_map in {name}), which is not allowed here. "
                "Use a checkpoint of a model that transformers knows by itself."
            )
    modules = folder / "modules.json"
    if modules.is_file():
        foreign = [kind for kind in (str(m["type"]) for m in read_json(modules)) if not KNOWN.match(kind)]
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
    """Tensor name -> the safetensors file in `folder` that holds it. Raises ValueError on a damaged file."""
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
    """A hash of all weights in a folder; uses the hub cache's SHA-256 where it is available."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")):
        blob = path.resolve().name  # the hub's cache names large files by their SHA-256
        known = blob if re.fullmatch(r"[0-9a-f]{64}", blob) else disk.sha256_of(path)
        digest.update(f"{path.relative_to(folder)} {known}\n".encode())
    return digest.hexdigest()


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} is not readable JSON: {error}") from error
