"""Layout and event wiring of the page in Gradio. Its HTML comes from app/visitors/visitor.py."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from functools import partial
from html import escape
from typing import Any

import gradio as gr

from metaembed_demo.app.server import gradio_compat
from metaembed_demo.app.server.access import CALL
from metaembed_demo.app.server.api import Api
from metaembed_demo.app.server.direct_events import DirectEvents
from metaembed_demo.app.server.gradio_api import Endpoints
from metaembed_demo.app.server.gradio_uploads import UploadRoute, said, uploads
from metaembed_demo.app.server.launch import options, secrets
from metaembed_demo.app.server.rate_limit import client_of
from metaembed_demo.app.views import examples as example_chips
from metaembed_demo.app.views import search_tab
from metaembed_demo.app.visitors.links import Link
from metaembed_demo.app.visitors.page_state import Screen
from metaembed_demo.app.visitors.pool_reading import refine_open_search
from metaembed_demo.app.visitors.registry import Visits
from metaembed_demo.app.visitors.shares import SEARCHES
from metaembed_demo.app.visitors.tools import Tools
from metaembed_demo.app.visitors.uploads import private_folder
from metaembed_demo.app.visitors.visitor import Visit
from metaembed_demo.collection.calibration import AUTO
from metaembed_demo.collection.collection import Collection
from metaembed_demo.core.budgets import Budget
from metaembed_demo.core.config import LIMITS, PATHS, SERVER, SPACE
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.encoders.registry import affordable, multilingual_beside
from metaembed_demo.evaluation.climbs import AnswersOf, Climb
from metaembed_demo.evaluation.quality_curve import Curve
from metaembed_demo.explain import sample_statistics
from metaembed_demo.explain.explainer import explainer

from .components import PageVisits, Updates, html, stop_of
from .documents_room import INDEXING, DocumentsRoom
from .history import History
from .map_tab import MapTab
from .storage_tab import StorageTab
from .survey_tabs import SurveyTabs

TESTS = 2  # concurrent events, for all visitors together, one of an address
SEARCHING = {"concurrency_id": "search", "concurrency_limit": SEARCHES}
# Short events skip the queue, which takes longer than a move of the dial. On ZeroGPU the encoder needs it.
DIRECT = {"queue": SPACE.zero_gpu}
DROP_PICTURE = "Drop a picture"


class Page:
    """The components of the page and the handlers between them."""

    def __init__(self, visits: Visits, base: Collection) -> None:
        self.visits, self.tools = PageVisits(visits), visits.tools
        self.all = visits
        self.storage_tab = StorageTab(self.visits)
        self.documents = DocumentsRoom(self.visits, base)
        self.api = Api(visits, base)
        self._turn = 0  # see `views.drop`

    # Layout

    def lay_out(self) -> None:
        self.header = html("header", script="theme_switch.js")
        self.history = History(self.visits)
        self.visit = self.history.lay_out()
        with gr.Tabs(elem_id="rooms") as self.rooms:
            with gr.Tab("Search", id="search"):
                self._lay_out_search()
            self.map_tab = MapTab(self.visits)
            self.map_tab.lay_out()
            self.survey_tabs = SurveyTabs(self.visits)
            self.survey_tabs.lay_out()
            with gr.Tab("Documents", id="documents", render_children=True):
                self.documents.lay_out(self.storage_tab)
        self.footer = html("footer")
        self.survey_tabs.lay_out_progress()
        self.marks = html("marks", script="page_highlights.js")
        self.regions = {name: getattr(self, name) for name in (f.name for f in fields(Screen))}

    def _lay_out_search(self) -> None:
        with gr.Column(elem_id="strip"):  # stays on top
            with gr.Row(elem_id="ask"):
                self.text = gr.Textbox(
                    placeholder="Ask for a page, a figure, a picture…",
                    label="Query",
                    show_label=False,
                    container=False,
                    elem_id="query",
                    lines=1,
                    max_lines=1,
                    autofocus=True,
                    submit_btn="Search",
                )
                self.ranking = html("ranking", script="ranking_control.js")
                self.only = html("only", script="page_filter.js")
                area = search_tab.drop(DROP_PICTURE, many=False)
                self.picture = html("picture", area, script="file_drop.js")
                self.link = html("link", script="links.js")
            full = self.tools.encoder.budgets.full
            with gr.Row(elem_id="turn"):
                self.dial = html("dial", script="budget_dial.js")
                html("more", search_tab.more(), script="popover.js")
                with gr.Column(elem_id="settings"):
                    self.storage = self.storage_tab.lay_out_control()
                    with gr.Row(elem_id="free"):
                        self.r_q = _slider("Query tokens r_q", full.r_q)
                        self.r_c = _slider("Candidate tokens r_c", full.r_c)
                    self.free_hint = html("free-hint", search_tab.free_hint(), script="free_sliders.js")
        chips = example_chips.examples(self.tools.examples, self.tools.encoder.budgets)
        self.examples = html("examples", chips, script="examples.js")
        html("tour", search_tab.tour(), script="tour.js")
        html("query-words", example_chips.query_words(), script="query_words.js")
        with gr.Row(elem_id="stage"):
            self.results = html("results", script="results.js")
            self.page = html("page", script="page_viewer.js")
            with gr.Column(elem_id="evidence"), gr.Tabs(elem_id="evidence-tabs") as self.tabs:
                # Evidence tabs: each is a region of Screen and a component.
                with gr.Tab("Alignment", id="alignment"):
                    self.alignment = html("alignment", script="alignment_chart.js")
                with gr.Tab("Page map", id="page-map", render_children=True):
                    self.pagemap = html("pagemap", script="page_map.js")
                with gr.Tab("Ranks", id="ranks", render_children=True):
                    self.ranks = html("ranks", script="rank_chart.js")
                with gr.Tab("Timing", id="timing", render_children=True):
                    self.timing = html("timing")

    # Wiring

    def wire(self, demo: gr.Blocks) -> None:
        # First, so that the endpoints get the API names and not the page's handlers.
        Endpoints(self.api, secrets(SERVER)[CALL]).wire(SEARCHING, INDEXING)
        search_outputs = [*self.regions.values(), self.r_q, self.r_c, self.text]
        room = self.documents
        documents_outputs = [
            *self.regions.values(),
            self.r_q,
            self.r_c,
            *room.regions,
            room.cancel,
            room.encoder,
            self.rooms,
        ]

        # Gradio's "always_last" may answer an older move, so the scripts send one move at a time.
        def on(event: Callable[..., Any], fn: Callable[..., Any], inputs: list[Any], **more: Any) -> Any:
            quiet = {"show_progress": "hidden", "api_visibility": "private", "trigger_mode": "multiple"}
            return event(fn, inputs, more.pop("outputs"), **{**quiet, **SEARCHING, **more})

        looking = {"outputs": search_outputs, **DIRECT}
        # While a search waits for the encoder, web/search.css shows a progress line.
        asking = {"show_progress": "minimal", "show_progress_on": self.results}
        searching = {**looking, **asking}
        self.survey_tabs.wire(on, self.rooms, self._screen, search_outputs)
        self.map_tab.wire(on, self.rooms, self._screen, search_outputs, DIRECT)
        self.storage_tab.wire(on, room.updates, documents_outputs, room.news)
        arriving = [*search_outputs, *room.regions, self.rooms, self.tabs, room.encoder]
        arrived = self.history.wire(on, demo, self, arriving)
        room.wire(on, self._screen, documents_outputs, DIRECT, self.results)
        room.follow(arrived)
        on(self.text.submit, self.search, [self.text], **searching)
        # Queued, because it shows warnings.
        on(self.picture.upload, self.show_picture, [self.text], **{**searching, "queue": True})
        on(self.picture.clear, self.drop_picture, [self.text], **searching)
        on(
            self.examples.select,
            self.example,
            [],
            outputs=[*search_outputs, self.picture],
            **asking,
            **DIRECT,
        )
        on(self.dial.input, self.turn, [], **looking)
        on(self.ranking.input, self.rank_by, [], **looking)
        on(self.only.input, self.limit, [], **looking)
        on(self.free_hint.input, self.free, [], outputs=[*search_outputs, self.free_hint], **DIRECT)
        on(self.results.select, self.choose, [], **looking)
        on(self.ranks.select, self.open_at, [], **looking)
        on(self.marks.submit, self.explain, [], **looking)
        on(self.tabs.select, self.open_tab, [], **looking)
        on(self.link.submit, self.copy_trace, [], outputs=[self.link], **DIRECT)
        on(self.ranks.submit, self.side, [], outputs=[self.ranks, self.link], **DIRECT)
        testing = {"concurrency_id": "test", "concurrency_limit": TESTS}
        on(self.pagemap.submit, self.test, [], outputs=[self.pagemap, self.marks], **testing)
        on(self.ranking.submit, self.read_pool, [], outputs=search_outputs, **testing)
        on(self.pagemap.clear, self.stop_test, [], outputs=[], concurrency_id="stop")
        on(self.results.submit, self.act, [], outputs=[*documents_outputs, self.text])
        on(room.news.submit, self.act, [], outputs=[*documents_outputs, self.text])
        on(room.listing.submit, self.act, [], outputs=[*documents_outputs, self.text])
        demo.unload(self.leave)
        gradio_compat.hide_last_event(demo)

    # Handlers: each calls its visit for HTML and maps it to components.

    def show(self, visit: Visit, screen: Screen, link: Link) -> Updates:
        """All of the page at the view that `link` names."""
        updates = {
            **self._screen(visit, screen),
            **self.documents.updates(visit, visit.documents_tab(), whole=False),
        }
        places = {self.rooms: gr.Tabs(selected=link.room), self.tabs: gr.Tabs(selected=link.tab)}
        return {**updates, **places, self.documents.encoder: self.documents.choice(visit)}

    def leave(self, request: gr.Request) -> None:
        """The tab was closed or reloaded, or the connection was lost."""
        self.all.left(request.session_hash)

    def search(self, request: gr.Request, text: str) -> Updates:
        visit = self.visits.of(request)
        return self._screen(visit, visit.ask(text or "")) or gr.skip()

    def show_picture(self, request: gr.Request, text: str, event: gr.EventData) -> Updates:
        visit = self.visits.of(request)
        visit.picture = visit.session.files.swap(visit.picture, uploads(event))
        for refused in visit.session.files.refusals():
            gr.Warning(escape(refused.message))  # it names the file, and is shown as HTML
        return self._screen(visit, visit.ask(text or "")) or gr.skip()

    def drop_picture(self, request: gr.Request, text: str) -> Updates:
        visit = self.visits.of(request)
        visit.picture = visit.session.files.swap(visit.picture, [])
        return self._screen(visit, visit.ask(text or "")) or gr.skip()

    def example(self, request: gr.Request, event: gr.EventData) -> Updates:
        """Search for an example, without the query picture. The landing has put its question there itself."""
        visit, text, mode = self.visits.of(request), str(said(event, "query")), str(said(event, "mode", ""))
        visit.picture = visit.session.files.swap(visit.picture, [])
        told = {} if said(event, "played", False) else {self.text: text}
        return {
            **self._screen(visit, visit.ask_example(text, mode)),
            **told,
            self.picture: self.drop_area(),
        }

    def drop_area(self, shown: str = "") -> str:
        """The drop area of the query picture, reset. shown: the URL of a picture in it."""
        self._turn += 1
        return search_tab.drop(DROP_PICTURE, many=False, turn=self._turn, shown=shown)

    def turn(self, request: gr.Request, event: gr.EventData) -> Updates:
        visit = self.visits.of(request)
        if said(event, "stop", 0) == AUTO:
            return self._screen(visit, visit.set_itself()) or gr.skip()
        played = bool(said(event, "played", False))
        return self._screen(visit, visit.move(stop_of(event, visit.budgets), played)) or gr.skip()

    def rank_by(self, request: gr.Request, event: gr.EventData) -> Updates:
        visit = self.visits.of(request)
        chosen = (str(said(event, name, "")) for name in ("mode", "steps", "complement"))
        return self._screen(visit, visit.rank_by(*chosen)) or gr.skip()

    def read_pool(self, request: gr.Request) -> Iterator[Updates]:
        """Let the chosen complement read the pages that refinement needs."""
        visit = self.visits.of(request)
        for screen in refine_open_search(visit):
            yield self._screen(visit, screen) or gr.skip()

    def limit(self, request: gr.Request, event: gr.EventData) -> Updates:
        """Search some pages alone."""
        visit = self.visits.of(request)
        return self._screen(visit, visit.limit(said(event, "filter"))) or gr.skip()

    def free(self, request: gr.Request, event: gr.EventData) -> Updates:
        visit = self.visits.of(request)
        budget, turn = Budget.parse(str(said(event, "budget"))), int(said(event, "turn", 0))
        updates = self._screen(visit, visit.move(budget))
        for slider in (self.r_q, self.r_c):  # they may have moved on
            updates.pop(slider, None)
        return {**updates, self.free_hint: search_tab.free_hint(turn)}

    def choose(self, request: gr.Request, event: gr.EventData) -> Updates:
        visit = self.visits.of(request)
        return self._screen(visit, visit.choose(str(said(event, "page")))) or gr.skip()

    def explain(self, request: gr.Request) -> Updates:
        """The marks of the open hit; requested by the page after it shows the hits."""
        visit = self.visits.of(request)
        return self._screen(visit, visit.explain()) or gr.skip()

    def open_tab(self, request: gr.Request, event: gr.SelectData) -> Updates:
        """Draw an evidence tab when it is opened."""
        visit = self.visits.of(request)
        return self._screen(visit, visit.open_tab(str(event.value).lower().replace(" ", "-"))) or gr.skip()

    def copy_trace(self, request: gr.Request) -> Updates:
        visit = self.visits.of(request)
        return self._screen(visit, Screen(link=visit.trace_record())) or gr.skip()

    def open_at(self, request: gr.Request, event: gr.EventData) -> Updates:
        """A click in the rank chart: open that page at that stop."""
        visit = self.visits.of(request)
        stop = stop_of(event, visit.budgets)
        return self._screen(visit, visit.open_at(str(said(event, "page")), stop)) or gr.skip()

    def side(self, request: gr.Request, event: gr.EventData) -> Updates:
        """Change side A of the ranks."""
        visit = self.visits.of(request)
        action, value = str(said(event, "action")), str(said(event, "value"))
        return self._screen(visit, visit.side(action, value)) or gr.skip()

    def test(self, request: gr.Request, event: gr.EventData) -> Iterator[Updates]:
        """Test the explanation of the open hit, or make it; the action is the kind of map, or "map"."""
        visit, action = self.visits.of(request), str(said(event, "action"))
        for screen in visit.test() if action == "test" else visit.make_map(action):
            yield self._screen(visit, screen) or gr.skip()

    def stop_test(self, request: gr.Request) -> None:
        visit = self.visits.of(request)
        visit.explanation_tabs.stop.set()

    def act(self, request: gr.Request, event: gr.EventData) -> Updates:
        """Run the action that an empty or error state offers, by name."""
        visit = self.visits.of(request)
        name, value = str(said(event, "action")), str(said(event, "value"))
        if name == "query":
            return {**self._screen(visit, visit.ask(value)), self.text: value}
        if name == "only":
            return self._screen(visit, visit.limit(value)) or gr.skip()
        if name == "mode":
            return self._screen(visit, visit.rank_by(value, "", visit.ranking.complement)) or gr.skip()
        if name == "budget":
            return self._screen(visit, visit.move(Budget.parse(value))) or gr.skip()
        if name in ("document", "own"):
            try:
                found = visit.limit(str(visit.shelf.filter(value)))
            except ValueError as error:
                gr.Warning(escape(str(error)))
                return gr.skip()
            return {**self._screen(visit, found), self.rooms: gr.Tabs(selected="search")}
        if name == "documents":
            return {self.rooms: gr.Tabs(selected="documents")}
        if name in ("restore", "clear", "undo"):
            return self.documents.updates(visit, getattr(visit, name)())
        return gr.skip()

    # Regions to components

    def _screen(self, visit: Visit, screen: Screen) -> Updates:
        """Updates for the regions of `screen` that have changed."""
        changed = visit.changed(screen)
        updates: Updates = {self.regions[name]: html for name, html in changed.items()}
        if "dial" in changed:
            updates |= self._sliders(visit)
        return updates

    def _sliders(self, visit: Visit) -> Updates:
        """The free sliders at the visit's budget; with other ends where its encoder has other tokens."""
        full, told = visit.budgets.full, visit.sliders or self.tools.encoder.budgets.full
        visit.sliders = full
        at = {self.r_q: (visit.budget.r_q, full.r_q), self.r_c: (visit.budget.r_c, full.r_c)}
        if full == told:
            return {slider: value for slider, (value, _) in at.items()}
        return {slider: gr.Slider(maximum=most, value=value) for slider, (value, most) in at.items()}


def build_ui(
    encoder: Encoder,
    base: Collection,
    curve: Curve | None = None,
    examples: Sequence[Climb] = (),
    notice: str = "",
    answers: AnswersOf | None = None,
    told: Callable[[], str] | None = None,
) -> tuple[gr.Blocks, dict[str, Any]]:
    """Build the page. Returns it with its options for `launch`.

    Args:
        encoder: encodes queries and uploads.
        base: the sample corpus; every visitor starts with a copy.
        curve: quality at the stops, drawn on the dial; None draws no curve.
        examples: questions offered under the query box, the landing's first.
        notice: why the configured encoder is not in use; shown on top.
        answers: the judged questions, and the pages that answer them.
        told: what of the sample corpus is still being made ready; shown on top, "" when nothing is.

    Raises:
        ValueError: when `base` was made by another encoder.
    """
    base.check_encoder(encoder)
    folder = private_folder(gradio_compat.upload_folder())
    os.environ["GRADIO_TEMP_DIR"] = str(folder)  # Gradio reads it at every upload
    # Gradio aggregates all events with pandas after each event, for a monitor that is off.
    os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", str(10**9))
    known = sample_statistics.read(PATHS.shipped_statistics, base)
    tools = Tools(
        encoder,
        curve,
        examples,
        len(base) > 0 or told is not None,
        explainer(encoder),
        notice,
        multilingual_beside(affordable(SERVER.encoder)[0]),
        sample_statistics=known,
        answers=answers or {},
        told=told or str,
    )
    visits = Visits(tools, base, folder)
    page = Page(visits, base)
    with gradio_compat.Page(title="MetaEmbed demo", analytics_enabled=False, fill_width=True) as demo:
        page.lay_out()
        page.wire(demo)
    demo.queue(default_concurrency_limit=SEARCHES, max_size=LIMITS.max_queue, api_open=False)
    routes = []
    if gradio_compat.check_version():  # else Gradio's own queue and routes do this, without shares
        gradio_compat.queue_in_turn(demo, LIMITS, client_of)
        routes.append(DirectEvents(demo, visits.shares.searches).route())
        routes.append(UploadRoute(demo).route())
    visits.kept = gradio_compat.Kept(demo)
    visits.watch()
    ready = partial(gradio_compat.takes_requests, demo)
    events = gradio_compat.Events(demo)
    return demo, options(page.api, SERVER, LIMITS, folder, ready, routes, events)


def _slider(label: str, top: int) -> gr.Slider:
    return gr.Slider(1, top, value=top, step=1, label=label, buttons=[], interactive=True)
