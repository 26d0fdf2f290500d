"""Arriving, reloading and going back: layout, wiring and handlers of what the browser keeps of a visit."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol
from urllib.parse import parse_qsl

import gradio as gr
from PIL.Image import Image

from metaembed_demo.app.server.access import MOST_QUERY
from metaembed_demo.app.server.gradio_uploads import said
from metaembed_demo.app.views import search_tab
from metaembed_demo.app.visitors.links import Link
from metaembed_demo.app.visitors.page_state import Screen
from metaembed_demo.app.visitors.resuming import Kept, resume
from metaembed_demo.app.visitors.visitor import Visit

from .components import PageVisits, Updates, html

SIDE = 160  # pixels
TELL = "() => window.metaembed.kept()"  # of web/address.js


class Shown(Protocol):
    """What the page shows of a view; see `page.Page`."""

    text: gr.Textbox
    results: gr.HTML
    picture: gr.HTML

    def show(self, visit: Visit, screen: Screen, link: Link) -> Updates: ...
    def drop_area(self, shown: str = "") -> str: ...


class History:
    """Answers a page that loads, and one that goes back or forward."""

    def __init__(self, visits: PageVisits) -> None:
        self.visits = visits

    def lay_out(self) -> gr.HTML:
        self.region = html("visit", script="history.js")
        self.kept = gr.Textbox(visible=False)  # what web/address.js tells when the page loads
        return self.region

    def wire(self, on: Callable[..., Any], demo: gr.Blocks, page: Shown, outputs: list[Any]) -> Any:
        """Returns the event of a page that loads.

        Args: the page's function to wire an event, the page, and the outputs of both events.
        """
        self.page = page
        outputs = [*outputs, page.picture]
        on(self.region.submit, self.go, [], outputs=outputs)
        return on(demo.load, self.arrive, [self.kept], outputs=outputs, js=TELL)

    def arrive(self, request: gr.Request, told: str | None) -> Updates:
        """The view that the address names, and what the tab held before it was loaded again."""
        link, kept = Link.parse(dict(request.query_params)), Kept.parse(told)
        try:
            visit = self.visits.find(request)
            visit.map.arrive()
        except gr.Error as full:
            return {self.page.results: search_tab.failure(full.message, link.query)}
        before = self.visits.visits.before(visit, kept.tab)
        if before is not None:
            resume(visit, before, kept.picture)
        updates = self.page.show(visit, visit.arrive(link, kept.picture), link)
        asked = (
            {self.page.text: link.query} if link.query else {}
        )  # {} keeps text typed while the page loaded
        return {**updates, **asked, **self._picture(visit, only_if_any=True)}

    def go(self, request: gr.Request, event: gr.EventData) -> Updates:
        """The view of an earlier or later address of this tab."""
        visit = self.visits.find(request)
        query = str(said(event, "query"))[:MOST_QUERY].removeprefix("?")
        link = Link.parse(dict(parse_qsl(query)))
        link = replace(link, storage=link.storage or "float16")  # which links leave out
        screen = visit.arrive(link, str(said(event, "picture", "")))
        return {
            **self.page.show(visit, screen, link),
            self.page.text: link.query,
            **self._picture(visit),
        }

    def _picture(self, visit: Visit, only_if_any: bool = False) -> Updates:
        """The drop area with the query picture, which the browser has only where it was dropped."""
        if visit.picture is None and only_if_any:
            return {}
        image = next((query.image for query in reversed(visit.explanation_tabs.queries) if query.image), None)
        shown = small_picture(image) if visit.picture is not None and image is not None else ""
        return {self.page.picture: self.page.drop_area(shown)}


def small_picture(image: Image) -> str:
    """A picture as it is shown in the drop area: a data URL of some kB."""
    small, data = image.convert("RGB"), io.BytesIO()
    small.thumbnail((SIDE, SIDE))
    small.save(data, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode("ascii")
