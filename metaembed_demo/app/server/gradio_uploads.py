"""Files that browsers and programs uploaded through Gradio: where they lie, and which of a request's are
ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import gradio as gr

from metaembed_demo.core.types import Upload

from .gradio_compat import upload_folder


def said(event: gr.EventData, name: str, default: Any = "") -> Any:
    """What the page's script sent with an event under `name`."""
    try:
        return getattr(event, name, default)
    except TypeError:  # it sent nothing at all
        return default


def uploads(event: gr.EventData) -> list[Upload]:
    """The files of an upload event. The browser names the paths, so only those in the upload folder count."""
    return uploaded(said(event, "files", []))


def uploaded(files: Sequence[Any]) -> list[Upload]:
    """The files among `files`, each as a browser or Gradio's client names it, that were uploaded here."""
    folder, found = upload_folder(), []
    for file in files:
        if not isinstance(file, dict) or "\0" in str(file.get("path", "")):
            continue
        path = Path(str(file.get("path", ""))).resolve()
        name = str(file.get("name") or file.get("orig_name") or path.name)
        if path.is_relative_to(folder) and path.is_file():
            found.append(Upload(path, PurePath(name).name or path.name))
    return found
