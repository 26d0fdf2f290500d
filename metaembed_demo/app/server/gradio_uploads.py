"""Files uploaded through Gradio's page and client, and checks that a request only names such files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import gradio as gr
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from metaembed_demo.app.visitors.uploads import make_private
from metaembed_demo.core.text import short_name
from metaembed_demo.core.types import Upload

from .access import RECEIVING, UPLOAD
from .gradio_compat import is_let_in, receive_upload, uploaded_file


class UploadRoute:
    """Gradio's upload endpoint with a folder for each request.

    Gradio's own names a file's folder by a hash of its content: whoever uploads the same file gets the same
    path, and may replace or release what is another's.
    """

    def __init__(self, blocks: gr.Blocks) -> None:
        self._blocks = blocks

    def route(self) -> Route:
        return Route(UPLOAD, self.answer, methods=["POST"])

    async def answer(self, request: Request) -> Response:
        """200 with the paths of the files, otherwise a message that the page shows."""
        if not is_let_in(request):
            return JSONResponse({"detail": "Not authenticated"}, 401)
        folder = request.scope[RECEIVING].folder
        make_private(folder.parent)
        folder.mkdir(mode=0o700)
        try:
            paths = await receive_upload(self._blocks, request, folder)
        except ValueError as error:
            return JSONResponse({"detail": str(error)}, 413 if "maximum allowed size" in str(error) else 400)
        return JSONResponse(paths)


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
    found = []
    for file in files:
        path = uploaded_file(file.get("path")) if isinstance(file, dict) else None
        if path is not None:
            name = str(file.get("name") or file.get("orig_name") or path.name)
            found.append(Upload(path, short_name(PurePath(name).name or path.name)))
    return found
