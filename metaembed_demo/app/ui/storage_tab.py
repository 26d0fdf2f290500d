"""Storage and index files in Gradio: layout, wiring and handlers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from metaembed_demo.app.server.gradio_uploads import said, uploads
from metaembed_demo.app.views import documents_tab
from metaembed_demo.app.visitors.page_state import DocumentsTab, Screen
from metaembed_demo.app.visitors.search_state import HITS
from metaembed_demo.app.visitors.visitor import Visit
from metaembed_demo.collection import index_file
from metaembed_demo.core.types import Upload

from .components import PageVisits, Updates, html

CONVERSIONS, INDEX_FILES = 2, 2  # concurrent events, for all visitors together, one of an address
# Runs when the download button has its file.
SAVE = "() => { document.querySelector('#index-file-download')?.click(); }"
log = logging.getLogger(__name__)


class StorageTab:
    """The storage control under the dial, and the index file in the Documents tab."""

    def __init__(self, visits: PageVisits) -> None:
        self.visits = visits

    def lay_out_control(self) -> gr.HTML:
        self.control = html("storage", script="storage_control.js")
        return self.control

    def lay_out_index_file(self) -> None:
        self.index_file = html("index-file", documents_tab.index_file_buttons(), script="index_file.js")
        self.file = gr.DownloadButton(visible="hidden", elem_id="index-file-download")

    def wire(
        self,
        on: Callable[..., Any],
        show: Callable[[Visit, DocumentsTab], Updates],
        documents_outputs: list[Any],
        news: Any,
    ) -> None:
        """Args: the page's functions to wire an event and to show the Documents tab, and its components."""
        self.news, self._documents_tab = news, show
        packing = {"concurrency_id": "index-file", "concurrency_limit": INDEX_FILES}
        converting = {"concurrency_id": "storage", "concurrency_limit": CONVERSIONS}
        on(self.control.submit, self.convert, [], outputs=documents_outputs, **converting)
        on(self.control.input, self.set, [], outputs=documents_outputs)
        on(self.control.select, self.check, [], outputs=[self.control])
        on(self.control.clear, self.stop, [], outputs=[], concurrency_id="stop")
        on(
            self.index_file.submit,
            self.download,
            [],
            outputs=[news, self.index_file, self.file],
            **packing,
        )
        on(self.index_file.upload, self.open, [], outputs=[*documents_outputs, self.index_file], **packing)
        self.file.change(None, js=SAVE)

    def convert(self, request: gr.Request, event: gr.EventData) -> Iterator[Updates]:
        """Convert this visitor's pages to another storage kind; the old index is searched meanwhile."""
        visit = self.visits.of(request)
        collection = visit.collection
        steps = visit.storage_choice.convert(collection, str(said(event, "value")))
        turns, stop = visit.session.shares.jobs, visit.storage_choice.stop
        with visit.session.at_work():
            for done in turns.each(visit.session.client, steps, stop):
                if done and visit.collection is collection:
                    yield self._documents_tab(visit, visit.refresh())
                else:
                    yield self._control(visit)

    def stop(self, request: gr.Request) -> None:
        """Cancel the running conversion; its own handler updates the page."""
        visit = self.visits.of(request)
        visit.storage_choice.stop.set()

    def set(self, request: gr.Request, event: gr.EventData) -> Updates:
        """Set re-ranking with full vectors, or the recall target."""
        visit = self.visits.of(request)
        name, value = str(said(event, "name")), said(event, "value")
        if name == "rescore":
            visit.storage_choice.rescore(visit.collection, bool(value))
        elif name == "recall":
            visit.storage_choice.aim(visit.collection, float(value))
        return self._documents_tab(visit, visit.refresh())

    def check(self, request: gr.Request, event: gr.EventData) -> Updates:
        """Compare the open search with an exact search over full vectors."""
        visit = self.visits.of(request)
        if str(said(event, "action")) == "check":
            visit.storage_choice.check(visit.collection, visit.trace, HITS)
        else:
            visit.storage_choice.hide()
        return self._control(visit)

    def _control(self, visit: Visit) -> Updates:
        control = visit.storage()
        visit.changed(Screen(storage=control))  # record it as sent, so that the next search can replace it
        return {self.control: control}

    # Index files

    def download(self, request: gr.Request) -> Iterator[Updates]:
        """Pack the index for download. The file is kept until the next download or the session's end."""
        visit = self.visits.of(request)
        pages = len(visit.collection)
        busy = {
            self.news: documents_tab.packing(pages),
            self.index_file: documents_tab.index_file_buttons(busy=True),
        }
        yield {**busy, self.file: None}  # so that the same file again counts as a change
        rest = {self.index_file: documents_tab.index_file_buttons()}
        try:
            file = visit.session.files.hand_out(index_file.NAME)
            with visit.session.shares.jobs.turn(visit.session.client):
                index_file.pack(visit.collection, file.parent)
        except (ValueError, OSError) as error:
            log.warning("The index could not be packed: %s", error)
            yield {**rest, self.news: documents_tab.not_packed(str(error))}
            return
        message = documents_tab.packed(file.name, pages, file.stat().st_size)
        yield {**rest, self.news: message, self.file: str(file)}

    def open(self, request: gr.Request, event: gr.EventData) -> Iterator[Updates]:
        """Add the pages of index files to this visitor's pages."""
        visit = self.visits.of(request)
        files = visit.session.files.take(uploads(event))
        refused = "".join(
            documents_tab.not_opened(each.source, each.message) for each in visit.session.files.refusals()
        )
        names = [file.name for file in files]
        yield {
            self.news: documents_tab.opening(names),
            self.index_file: documents_tab.index_file_buttons(busy=True),
        }
        opened = (self._opened(visit, file) for file in files)
        message = refused + "".join(visit.session.shares.jobs.each(visit.session.client, opened))
        visit.session.files.release(files)
        tab = visit.refresh(pages=True)
        tab.news = message
        yield {**self._documents_tab(visit, tab), self.index_file: documents_tab.index_file_buttons()}

    def _opened(self, visit: Visit, file: Upload) -> str:
        try:
            found = index_file.add(visit.collection, file, base=visit.session.base)
        except ValueError as error:
            return documents_tab.not_opened(file.name, str(error))
        except Exception as error:  # an untrusted file must not end the visit
            log.exception("The index file %s could not be opened", file.name)
            return documents_tab.not_opened(
                file.name, f"{file.name} could not be opened: {type(error).__name__}."
            )
        return documents_tab.opened(file.name, *found)
