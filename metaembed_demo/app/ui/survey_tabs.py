"""The tabs Budget and Tokens in Gradio: layout, wiring and handlers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from metaembed_demo.app.server.gradio_uploads import said, uploads
from metaembed_demo.app.views import search_tab
from metaembed_demo.app.visitors.page_state import Screen, StudyRooms
from metaembed_demo.app.visitors.visitor import Visit
from metaembed_demo.core.budgets import Budget

from .components import PageVisits, Updates, html

SURVEYS = 2  # concurrent events, for all visitors together, one of an address
DROP_LABELS = "Drop queries.jsonl and qrels.tsv, to measure with your own labels"


class SurveyTabs:
    """The tabs Budget and Tokens. Call `lay_out` inside the page's tabs."""

    def __init__(self, visits: PageVisits) -> None:
        self.visits = visits

    def lay_out(self) -> None:
        with gr.Tab("Budget", id="budget") as self.budget_tab, gr.Column(elem_id="budget-tab"):
            self.ways = html("ways", script="survey_tabs.js")
            self.worth = html("worth", script="survey_tabs.js")
            self.labels = html("labels", search_tab.drop(DROP_LABELS, many=True), script="file_drop.js")
            self.sheet = html("sheet", script="survey_tabs.js")
            self.cost = html("scale")
            self.reliability = html("reliability")
        with gr.Tab("Tokens", id="tokens") as self.tokens_tab, gr.Column(elem_id="tokens-tab"):
            self.tokens = html("token-statistics", script="survey_tabs.js")

    def lay_out_progress(self) -> None:
        """Outside the page's tabs, where it is always."""
        self.done = html("job-progress", script="progress.js")

    def wire(
        self,
        on: Callable[..., Any],
        tabs: Any,
        screen: Callable[[Visit, Screen], Updates],
        searched: list[Any],
    ) -> None:
        """Args: the page's functions to wire an event and show a screen, its tabs, and a search's outputs."""
        self.tabs, self._screen = tabs, screen
        working = {"concurrency_id": "survey", "concurrency_limit": SURVEYS}
        room = [self.ways, self.worth, self.sheet, self.cost]
        on(self.budget_tab.select, self.open_budget, [], outputs=[*room, self.reliability])
        on(self.tokens_tab.select, self.open_tokens, [], outputs=[self.tokens])
        measured = [*searched, self.ways, self.worth, self.sheet, self.done]
        on(self.ways.submit, self.measure, [], outputs=measured, **working)
        on(self.worth.input, self.choose, [], outputs=[*searched, self.worth, self.sheet, tabs])
        on(self.sheet.submit, self.measure_ways, [], outputs=[self.sheet, self.done], **working)
        on(self.sheet.input, self.set_sheet, [], outputs=[self.sheet, self.cost])
        on(self.labels.upload, self.take_labels, [], outputs=[self.ways, self.worth])
        on(self.tokens.submit, self.read_all, [], outputs=[self.tokens, self.done], **working)
        for region in (self.ways, self.sheet, self.tokens):
            on(region.clear, self.stop, [], outputs=[], concurrency_id="stop")

    def _shown(self, step: StudyRooms) -> Updates:
        found = {
            self.ways: step.ways,
            self.worth: step.worth,
            self.sheet: step.sheet,
            self.tokens: step.tokens,
            self.done: step.done,
        }
        return {region: html for region, html in found.items() if html is not None}

    def open_budget(self, request: gr.Request) -> Updates:
        visit = self.visits.of(request)
        found = {self.sheet: visit.sheet(), self.cost: visit.index_size()}
        return {**self._shown(visit.budget_tab()), **found, self.reliability: visit.reliability()}

    def open_tokens(self, request: gr.Request) -> Updates:
        visit = self.visits.of(request)
        return {self.tokens: visit.tokens_tab()}

    def measure(self, request: gr.Request, event: gr.EventData) -> Iterator[Updates]:
        visit = self.visits.of(request)
        kind = str(said(event, "action"))
        if kind in ("known", "labels", "session"):
            for step in visit.measure(kind):  # type: ignore[arg-type]
                yield self._shown(step)
            yield {**self._screen(visit, visit.dial()), self.sheet: visit.sheet()}

    def measure_ways(self, request: gr.Request) -> Iterator[Updates]:
        visit = self.visits.of(request)
        for step in visit.measure_ways():
            yield self._shown(step)

    def set_sheet(self, request: gr.Request, event: gr.EventData) -> Updates:
        """Set the number of pages of the sheet, or what of it is shown."""
        visit = self.visits.of(request)
        visit.study.sheet.choose(str(said(event, "action")), str(said(event, "value")))
        return {self.sheet: visit.sheet(), self.cost: visit.index_size()}

    def choose(self, request: gr.Request, event: gr.EventData) -> Updates:
        """Set the share of quality to keep, or use the recommended budget."""
        visit = self.visits.of(request)
        action, value = str(said(event, "action")), str(said(event, "value"))
        if action == "use":
            found = visit.move(Budget.parse(value))
            return {**self._screen(visit, found), self.tabs: gr.Tabs(selected="search")}
        if action == "share":
            visit.study.share = min(max(float(value), 0.01), 1.0)
        return {self.worth: visit.budget_tab().worth, self.sheet: visit.sheet()}

    def take_labels(self, request: gr.Request, event: gr.EventData) -> Iterator[Updates]:
        visit = self.visits.of(request)
        files = visit.session.files.take(uploads(event))
        yield self._shown(visit.reading_labels(files))
        visit.study.take_labels(files, visit.collection)
        visit.session.files.release(files)
        yield self._shown(visit.budget_tab())

    def read_all(self, request: gr.Request) -> Iterator[Updates]:
        visit = self.visits.of(request)
        for step in visit.read_all():
            yield self._shown(step)

    def stop(self, request: gr.Request) -> None:
        visit = self.visits.of(request)
        visit.study.stop.set()
