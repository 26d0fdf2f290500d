"""The room Documents: adding files, the list, the encoder. Its HTML comes from app/visitors/visitor.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from metaembed_demo.app.server.gradio_uploads import said, uploads
from metaembed_demo.app.views import documents_tab, language_note, search_tab
from metaembed_demo.app.visitors.encoder_choice import Encoders, switch
from metaembed_demo.app.visitors.jobs import in_turn
from metaembed_demo.app.visitors.page_state import DocumentsTab, Screen
from metaembed_demo.app.visitors.shares import INDEX_JOBS
from metaembed_demo.app.visitors.visitor import Visit
from metaembed_demo.collection.collection import Collection
from metaembed_demo.core.config import LIMITS, SERVER
from metaembed_demo.documents.file_types import reads_media
from metaembed_demo.encoders.registry import affordable, offered

from .components import PageVisits, Updates, html
from .storage_tab import StorageTab

# As many as are read in turn, page by page; see app/visitors/jobs.py.
INDEXING = {"concurrency_id": "index", "concurrency_limit": INDEX_JOBS}
# Tabs that are told the progress of uploads; those are indexed in threads of their own.
FOLLOWING = {"concurrency_id": "follow", "concurrency_limit": 12}
DROP_FILES = f"Drop PDFs, pictures{', films' if reads_media() else ''} or a zip, or choose files"


class DocumentsRoom:
    """The components of the room and their handlers."""

    def __init__(self, visits: PageVisits, base: Collection) -> None:
        self.visits = visits
        self.encoders = Encoders(offered(affordable(SERVER.encoder)[0], SERVER.encoders), visits.tools, base)

    def lay_out(self, storage_tab: StorageTab) -> None:
        with gr.Row(elem_id="documents-columns"):
            with gr.Column(elem_id="documents-add"):
                self.drop = html("drop", search_tab.drop(DROP_FILES, many=True), script="file_drop.js")
                gr.HTML(documents_tab.limits(LIMITS), apply_default_css=False)
                self.news = html("news", script="documents.js")
                self.cancel = gr.Button("Cancel", visible=False, elem_id="cancel", size="sm")
                self.encoder = html("encoders", script="encoder_choice.js")
                storage_tab.lay_out_index_file()
            with gr.Column(elem_id="documents-list"):
                self.listing = html("listing", script="documents.js")
                self.statistics = html("statistics")
        self.regions = [self.news, self.listing, self.statistics]

    def wire(
        self,
        on: Callable[..., Any],
        screen: Callable[[Visit, Screen], Updates],
        outputs: list[Any],
        direct: dict[str, Any],
        note: gr.HTML,
    ) -> None:
        """Args: the page's functions to wire an event and show a screen, all outputs of the room, what
        makes an event skip the queue, and where else the multilingual encoder is offered."""
        self._screen, self._outputs = screen, outputs
        on(self.listing.select, self.open_document, [], outputs=[self.listing], **direct)
        on(self.listing.delete, self.remove, [], outputs=outputs)
        for chosen in (self.encoder.submit, note.apply):
            on(chosen, self.switch, [], outputs=outputs, **INDEXING)
        on(self.cancel.click, self.stop, [], outputs=[self.cancel], concurrency_id="stop")
        self.follow(on(self.drop.upload, self.receive, [], outputs=outputs))

    def follow(self, event: Any) -> None:
        """Follow the session's uploads after an event."""
        quiet = {"show_progress": "hidden", "api_visibility": "private"}
        event.then(self.index, None, self._outputs, **quiet, **FOLLOWING)

    def open_document(self, request: gr.Request, event: gr.EventData) -> Updates:
        """Show a document as a row of pages."""
        return {self.listing: self.visits.of(request).shelf.open(str(said(event, "document")))}

    def remove(self, request: gr.Request, event: gr.EventData) -> Updates:
        visit = self.visits.of(request)
        return self.updates(visit, visit.remove(str(said(event, "source"))))

    def receive(self, request: gr.Request, event: gr.EventData) -> Updates:
        visit = self.visits.of(request)
        return self.updates(visit, visit.receive(uploads(event)))

    def index(self, request: gr.Request) -> Iterator[Updates]:
        visit = self.visits.of(request)
        yield gr.skip()  # without any answer Gradio would empty the page
        for tab in visit.index_pending():
            yield self.updates(visit, tab)

    def switch(self, request: gr.Request, event: gr.EventData) -> Iterator[Updates]:
        """Switch to another encoder or resolution."""
        visit = self.visits.of(request)
        name, tokens = str(said(event, "value")), int(said(event, "tokens", 0))
        for tab in in_turn(visit.session, visit.stop, switch(visit, self.encoders, name, tokens)):
            yield {**self.updates(visit, tab), self.encoder: self.choice(visit, tab.busy)}

    def choice(self, visit: Visit, busy: bool = False) -> str:
        name, tokens = self.encoders.choice(visit.tools)
        limits = self.encoders.limits(name)
        return (
            language_note.of_pages(
                visit.tools.encoder.name, visit.unread_languages(), "" if busy else visit.tools.reader
            )
            + documents_tab.encoders(self.encoders.names, name, busy)
            + documents_tab.resolutions(name, limits, tokens, busy)
        )

    def stop(self, request: gr.Request) -> Updates:
        self.visits.of(request).cancel()
        return {self.cancel: gr.Button("Stopping…", interactive=False)}

    def updates(self, visit: Visit, tab: DocumentsTab, whole: bool = True) -> Updates:
        """Updates for what `tab` changes. whole: the cancel button, and the search if the pages changed."""
        updates: Updates = {}
        for name in ("news", "listing", "statistics"):
            html = getattr(tab, name)
            if html is not None:
                updates[getattr(self, name)] = html
        if whole:
            updates[self.cancel] = gr.Button("Cancel", visible=tab.busy, interactive=True)
            if tab.listing is not None:  # the pages changed, so the search results may have too
                updates |= self._screen(visit, visit.screen()) | {self.encoder: self.choice(visit, tab.busy)}
        return updates
