"""The room Map in Gradio: layout, wiring and handlers."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import gradio as gr

from metaembed_demo.app.server.gradio_uploads import said
from metaembed_demo.app.views import corpus_map
from metaembed_demo.app.visitors.corpus_map import MapScreen
from metaembed_demo.app.visitors.page_state import Screen
from metaembed_demo.app.visitors.visitor import Visit
from metaembed_demo.collection.filters import PageFilter

from .components import PageVisits, Updates, html, stop_of

LAYOUTS = 2  # concurrent events, for all visitors together, one of an address


class MapTab:
    """The room Map. Call `lay_out` inside the page's tabs."""

    def __init__(self, visits: PageVisits) -> None:
        self.visits = visits

    def lay_out(self) -> None:
        with gr.Tab("Map", id="map") as self.tab, gr.Column(elem_id="map-room"):
            self.map_head = html("map-head", script="map_head.js")
            self.canvas = html("map-canvas", corpus_map.frame(), script="corpus_map.js")
            self.map_side = html("map-side", script="map_side.js")
            self.map_list = html("map-list", script="map_side.js")

    def wire(
        self,
        on: Callable[..., Any],
        rooms: Any,
        screen: Callable[[Visit, Screen], Updates],
        searched: list[Any],
        direct: dict[str, Any],
    ) -> None:
        """Args: the page's functions to wire an event and show a screen, its tabs, and a search's outputs."""
        self.rooms, self._screen = rooms, screen
        here = [self.map_head, self.map_side, self.map_list]
        leaving = {"outputs": [*here, rooms, *searched], **direct}
        working = {"concurrency_id": "layout", "concurrency_limit": LAYOUTS}
        on(self.tab.select, self.open, [], outputs=here, **direct)
        on(self.map_head.clear, self.lay_pages_out, [], outputs=here, **working)
        on(self.map_head.input, self.turn, [], **leaving)
        on(self.canvas.select, self.choose, [], outputs=here, **direct)
        for region in (self.canvas, self.map_side, self.map_list):
            on(region.submit, self.act, [], **leaving)
        for region in (self.map_side, self.map_list):
            on(region.select, self.choose, [], outputs=here, **direct)

    def open(self, request: gr.Request) -> Updates:
        visit = self.visits.of(request)
        return self._room(visit.map.screen())

    def lay_pages_out(self, request: gr.Request) -> Updates:
        """Asked for by the room while it says that its pages are being laid out."""
        visit = self.visits.of(request)
        problem = "" if visit.map.plane() else visit.map.lay_out()
        return self._room(visit.map.failed(problem) if problem else visit.map.screen())

    def turn(self, request: gr.Request, event: gr.EventData) -> Updates:
        """The dial's stop, chosen beside the map."""
        visit = self.visits.of(request)
        found = self._screen(visit, visit.move(stop_of(event, visit.budgets)))
        return {**found, **self._room(visit.map.screen())}

    def choose(self, request: gr.Request, event: gr.EventData) -> Updates:
        visit = self.visits.of(request)
        return self._room(visit.map.open(str(said(event, "page"))))

    def act(self, request: gr.Request, event: gr.EventData) -> Updates:
        """Open a page under Search, or search some pages alone."""
        visit = self.visits.of(request)
        action, value = str(said(event, "action")), said(event, "value")
        if action == "open":
            if visit.trace is None:
                return self._room(visit.map.open(str(value)))
            return self._to_search(visit, visit.open_at(str(value), visit.budget))
        try:
            only = self._filter(visit, action, value)
        except ValueError as error:
            gr.Warning(escape(str(error)))
            return gr.skip()
        return self._to_search(visit, visit.limit(str(only)))

    def _filter(self, visit: Visit, action: str, value: Any) -> PageFilter:
        if action == "document":
            return visit.map.document(str(value))
        pages = visit.map.group(int(value)) if action == "group" else [str(each) for each in value]
        return visit.map.chosen(pages)

    def _to_search(self, visit: Visit, screen: Screen) -> Updates:
        return {**self._screen(visit, screen), self.rooms: gr.Tabs(selected="search")}

    def _room(self, screen: MapScreen) -> Updates:
        return {getattr(self, name): region for name, region in vars(screen).items() if region is not None}
