"""Storage and index files in Gradio: layout, wiring, and handlers that ask the visit."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from metaembed_demo.app.server.gradio_uploads import uploads
from metaembed_demo.app.views import documents_tab
from metaembed_demo.app.visitors.page_state import Shelf
from metaembed_demo.app.visitors.visitor import HITS, Visit
from metaembed_demo.collection import index_file
from metaembed_demo.core.types import Upload

from .components import Door, html

Updates = dict[Any, Any]
CONVERSIONS, PARCELS = 1, 1  # at a time, for all visitors together
# The file is there once the button that holds it has changed.
SAVE = "() => { document.querySelector('#parcel-file')?.click(); }"
log = logging.getLogger(__name__)


class Store:
    """The storage control under the dial, and the index file in the Documents tab."""

    def __init__(self, visits: Door) -> None:
        self.visits = visits

    def lay_out_control(self) -> gr.HTML:
        self.control = html("storage", script="storage_control.js")
        return self.control

    def lay_out_parcel(self) -> None:
        self.index_file = html("parcel", documents_tab.parcel(), script="index_file.js")
        self.file = gr.DownloadButton(visible="hidden", elem_id="parcel-file")

    def wire(
        self,
        on: Callable[..., Any],
        session: Any,
        shelf: Callable[[Visit, Shelf], Updates],
        shelf_outputs: list[Any],
        news: Any,
    ) -> None:
        """Args: how the page wires an event, its session state, how it shows a shelf, and where."""
        self.session, self.news, self._shelf = session, news, shelf
        packing = {"concurrency_id": "parcel", "concurrency_limit": PARCELS}
        converting = {"concurrency_id": "storage", "concurrency_limit": CONVERSIONS}
        on(self.control.submit, self.convert, [], outputs=shelf_outputs, **converting)
        on(self.control.input, self.set, [], outputs=shelf_outputs)
        on(self.control.select, self.check, [], outputs=[session, self.control])
        on(self.control.clear, self.stop, [], outputs=[session], concurrency_id="stop")
        on(
            self.index_file.submit,
            self.download,
            [],
            outputs=[session, news, self.index_file, self.file],
            **packing,
        )
        on(self.index_file.upload, self.open, [], outputs=[*shelf_outputs, self.index_file], **packing)
        self.file.change(None, js=SAVE)

    def convert(self, session_id: str | None, event: gr.EventData) -> Iterator[Updates]:
        """Another storage for this visitor's pages; the old one is searched until it is done."""
        visit = self.visits.get(session_id)
        collection = visit.collection
        with visit.session.at_work():
            for done in visit.storing.convert(collection, str(event._data.get("value", ""))):
                if done and visit.collection is collection:
                    yield self._shelf(visit, visit.stored_anew())
                else:
                    yield self._control(visit)

    def stop(self, session_id: str | None) -> Updates:
        """Give the conversion under way up; its own handler says so."""
        visit = self.visits.get(session_id)
        visit.storing.stop.set()
        return {self.session: visit.session.id}

    def set(self, session_id: str | None, event: gr.EventData) -> Updates:
        """Re-ranking by the full vectors, or the recall target."""
        visit = self.visits.get(session_id)
        name, value = str(event._data.get("name", "")), event._data.get("value", "")
        if name == "refine":
            visit.storing.refine(visit.collection, bool(value))
        elif name == "recall":
            visit.storing.aim(visit.collection, float(value))
        return self._shelf(visit, visit.stored_anew())

    def check(self, session_id: str | None, event: gr.EventData) -> Updates:
        """The open search against one that scores every page by its full vectors."""
        visit = self.visits.get(session_id)
        if str(event._data.get("action", "")) == "check":
            visit.storing.check(visit.collection, visit.session.trace, HITS)
        else:
            visit.storing.hide()
        return self._control(visit)

    def _control(self, visit: Visit) -> Updates:
        return {self.session: visit.session.id, self.control: visit.storage()}

    # Index files

    def download(self, session_id: str | None) -> Iterator[Updates]:
        """Pack the index for this visitor's browser. It lies here until they take another, or leave."""
        visit = self.visits.get(session_id)
        start = {self.session: visit.session.id}
        pages = len(visit.collection)
        busy = {self.news: documents_tab.packing(pages), self.index_file: documents_tab.parcel(busy=True)}
        yield {**start, **busy, self.file: None}  # so that the same file once more is a change, too
        rest = {**start, self.index_file: documents_tab.parcel()}
        try:
            file = visit.session.locker.hand_out(index_file.NAME)
            index_file.pack(visit.collection, file.parent)
        except (ValueError, OSError) as error:
            log.warning("The index could not be packed: %s", error)
            yield {**rest, self.news: documents_tab.not_packed(str(error))}
            return
        told = documents_tab.packed(file.name, pages, file.stat().st_size)
        yield {**rest, self.news: told, self.file: str(file)}

    def open(self, session_id: str | None, event: gr.EventData) -> Iterator[Updates]:
        """Add the pages of index files to this visitor's."""
        visit = self.visits.get(session_id)
        files = visit.session.locker.take(uploads(event))
        refused = "".join(
            documents_tab.not_opened(each.source, each.message) for each in visit.session.locker.refusals()
        )
        start = {self.session: visit.session.id}
        names = [file.name for file in files]
        yield {
            **start,
            self.news: documents_tab.opening(names),
            self.index_file: documents_tab.parcel(busy=True),
        }
        told = refused + "".join(self._opened(visit, file) for file in files)
        visit.session.locker.release(files)
        shelf = visit.stored_anew(pages=True)
        shelf.news = told
        yield {**self._shelf(visit, shelf), self.index_file: documents_tab.parcel()}

    def _opened(self, visit: Visit, file: Upload) -> str:
        try:
            added, held = index_file.add(visit.collection, file)
        except ValueError as error:
            return documents_tab.not_opened(file.name, str(error))
        except Exception as error:  # whatever is wrong with a file of somebody's making, the visit goes on
            log.exception("The index file %s could not be opened", file.name)
            return documents_tab.not_opened(
                file.name, f"{file.name} could not be opened: {type(error).__name__}."
            )
        return documents_tab.opened(file.name, added, held)
