"""What all parts of the page are built from: a region of HTML with its script, and the way to a visitor."""

from __future__ import annotations

import gradio as gr
from gradio.context import LocalContext

from metaembed_demo.app import theme
from metaembed_demo.app.visitors.registry import Visits
from metaembed_demo.app.visitors.session import Full
from metaembed_demo.app.visitors.visitor import Visit


class Door:
    """The visits as the page's handlers reach them: where there is no room, the visitor is told."""

    def __init__(self, visits: Visits) -> None:
        self.visits, self.tools = visits, visits.tools

    def get(self, session_id: str | None) -> Visit:
        """As `Visits.get`. Raises gr.Error, which the page shows, where there are too many sessions."""
        request = LocalContext.request.get(None)
        try:
            return self.visits.get(session_id, request.session_hash if request else None)
        except Full as full:
            raise gr.Error(str(full), title="Busy", print_exception=False) from full


def html(name: str, value: str = "", script: str = "") -> gr.HTML:
    """A region of the page, with a script of web/."""
    return gr.HTML(
        value,
        elem_id=name,
        js_on_load=theme.script(script) if script else None,
        apply_default_css=False,
    )
