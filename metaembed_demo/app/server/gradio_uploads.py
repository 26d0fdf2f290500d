"""Files uploaded through Gradio, and checks that a request only names such files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import gradio as gr

from metaembed_demo.core.types import Upload

from .gradio_compat import upload_folder


def said(event: gr.EventData, name: str, default: Any = "") -> Any:
    """The value `name` that the page's script sent with an event."""
    try:
        return getattr(event, name, default)
    except TypeError:  # the event has no data
        return default


def uploads(event: gr.EventData) -> list[Upload]:
    """The files of an upload event. Paths outside the upload folder, as a browser may send, are ignored."""
    return uploaded(said(event, "files", []))


def uploaded(files: Sequence[Any]) -> list[Upload]:
    """Those of `files`, as a browser or Gradio's client names them, that were uploaded here."""
    folder, found = upload_folder(), []
    for file in files:
        if not isinstance(file, dict) or "\0" in str(file.get("path", "")):
            continue
        path = Path(str(file.get("path", ""))).resolve()
        name = str(file.get("name") or file.get("orig_name") or path.name)
        if path.is_relative_to(folder) and path.is_file():
            found.append(Upload(path, PurePath(name).name or path.name))
    return found
