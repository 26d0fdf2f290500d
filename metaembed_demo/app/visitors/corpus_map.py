"""One tab's map: the plane of its pages, the open page, what is lit. No Gradio."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from metaembed_demo.app.views import corpus_map
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.corpus_layout import Layout, with_new
from metaembed_demo.collection.filters import PageFilter
from metaembed_demo.collection.layout_pages import LayoutPages, drawn_ids, first_vectors
from metaembed_demo.collection.layout_worker import NotLaidOut, lay_out_in_process
from metaembed_demo.core.moments import place
from metaembed_demo.core.types import FloatArray
from metaembed_demo.evaluation.sample_layout import shipped

from .search_state import SearchState

MAP = "map"  # in place of a page's id, in the address of the map's data
KEPT = 16  # planes, of all visitors
NEIGHBOURS = 6
NEAREST = 5  # pages that place the query
NEW = 0.2  # share of new pages up to which they are placed beside the old ones
log = logging.getLogger(__name__)


@dataclass
class MapScreen:
    """The regions of the room as HTML; None leaves a region unchanged."""

    map_head: str | None = None
    map_side: str | None = None
    map_list: str | None = None


@dataclass(frozen=True, eq=False)
class Plane:
    """A layout with the unit vectors (n, D) it shows, float16. new: pages placed beside the old ones."""

    layout: Layout
    vectors: FloatArray
    new: int = 0

    @cached_property
    def name(self) -> str:
        """Of its data: other places have another name."""
        told = json.dumps(self.layout.as_json()).encode()
        return f"{hashlib.sha256(told).hexdigest()[:16]}.json"


class Planes:
    """The last planes of all visitors, by encoder and pages: visitors have copies of the same samples."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, tuple[str, ...]], Plane] = OrderedDict()

    def get(self, collection: Collection, ids: tuple[str, ...]) -> Plane | None:
        with self._lock:
            found = self._kept.get((collection.fingerprint, ids))
            if found:
                self._kept.move_to_end((collection.fingerprint, ids))
            return found

    def put(self, collection: Collection, plane: Plane) -> Plane:
        with self._lock:
            self._kept[collection.fingerprint, plane.layout.ids] = plane
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return plane


PLANES = Planes()


@dataclass
class CorpusMap:
    """The map of one tab. A fifth of new pages lays the plane out anew, fewer are placed beside the others
    (`with_new`), so that a small upload leaves the known pages where they are."""

    visit: SearchState
    opened: str | None = None  # page id
    _plane: Plane | None = None
    _sent: Layout | None = None  # whose groups the browser lists
    _data: tuple[Plane, str] | None = None  # what the canvas draws of a plane, as JSON

    # Planes

    def plane(self) -> Plane | None:
        """The plane of the pages as they are; None where it has to be laid out first."""
        pages = self.visit.collection
        ids = drawn_ids(pages)
        if self._plane and self._plane.layout.ids == ids:
            return self._plane
        found = PLANES.get(pages, ids) or self._beside(pages, ids)
        self._plane = found or self._plane
        return found

    def _beside(self, pages: Collection, ids: tuple[str, ...]) -> Plane | None:
        """From the last plane, or the shipped one, where few pages are new."""
        for old in (self._plane.layout if self._plane else None, shipped(pages.fingerprint)):
            new = len(set(ids).difference(old.ids)) if old else len(ids)
            if old is None or new > NEW * len(ids):
                continue
            known = [page_id for page_id in old.ids if page_id in pages.pages]
            at = [i for i, page_id in enumerate(old.ids) if page_id in pages.pages]
            left = Layout(tuple(known), old.places[at], old.groups[at], old.names, old.room)
            vectors = first_vectors(pages, ids)
            row = {page_id: i for i, page_id in enumerate(ids)}
            kept = [page_id for page_id in known if page_id in row]
            if len(kept) < len(known):  # of a large collection, not drawn
                continue
            layout = with_new(left, vectors[[row[page_id] for page_id in kept]], ids, vectors)
            return PLANES.put(pages, Plane(layout, vectors.astype(np.float16), new))
        return None

    def lay_out(self) -> str:
        """Lay the pages out, which takes seconds. Returns what went wrong, or ""."""
        pages = self.visit.collection
        try:
            found = LayoutPages.of(pages, drawn_ids(pages))
            layout = lay_out_in_process(found.ids, found.vectors, found.texts, found.languages)
        except KeyError:
            return "Pages were removed meanwhile."
        except NotLaidOut as error:
            log.warning("%s", error)
            return str(error)
        self._plane = PLANES.put(pages, Plane(layout, found.vectors.astype(np.float16)))
        return ""

    # The room

    def screen(self) -> MapScreen:
        """The room as it is now; where the plane is missing, that it is being laid out."""
        pages = self.visit.collection
        if not len(pages):
            return MapScreen(corpus_map.no_pages(), "", "")
        plane = self.plane()
        if plane is None:
            self._sent = None
            return MapScreen(corpus_map.laying_out(len(pages)), "", "")
        layout, lit = plane.layout, self._lit(plane)
        opened = self.opened if self.opened in pages.pages else None
        only = self.visit.only
        left_out = [each for each in layout.ids if only and not only.matches(pages.pages[each])]
        told = corpus_map.Told(layout, len(pages), plane.new, lit, left_out)
        base = self.visit._address(MAP, "")[: -len(f"/{MAP}/")]
        budgets = self.visit.budgets
        screen = MapScreen(corpus_map.head(told, self.visit._address(MAP, plane.name), base, opened, budgets))
        screen.map_side = self._side(plane, opened) if opened else corpus_map.hint(lit is not None)
        if self._sent is not layout:
            screen.map_list, self._sent = corpus_map.listing(layout), layout
        return screen

    def arrive(self) -> None:
        """The page was loaded anew, and lists no groups."""
        self._sent = None

    def failed(self, message: str) -> MapScreen:
        return MapScreen(corpus_map.failed(message), "", "")

    def _lit(self, plane: Plane) -> corpus_map.Lit | None:
        trace = self.visit.trace
        if trace is None or not trace.hits:
            return None
        first = trace.query_vectors[0] / max(float(np.linalg.norm(trace.query_vectors[0])), 1e-12)
        cosines = plane.vectors.astype(np.float32) @ first
        near = np.argsort(-cosines, kind="stable")[:NEAREST]
        at = np.average(plane.layout.places[near], axis=0, weights=np.maximum(cosines[near], 1e-3))
        x, y = (round(float(each), 4) for each in at)
        return corpus_map.Lit(trace.query_text, trace.budget, trace.hits, (x, y), len(near))

    def _side(self, plane: Plane, opened: str) -> str:
        pages, trace = self.visit.collection.pages, self.visit.trace
        page, ids = pages[opened], plane.layout.ids
        neighbours = []
        if opened in ids:
            vectors = plane.vectors.astype(np.float32)
            cosines = vectors @ vectors[ids.index(opened)]
            order = [i for i in np.argsort(-cosines, kind="stable") if ids[i] != opened and ids[i] in pages]
            neighbours = [(pages[ids[i]], float(cosines[i])) for i in order[:NEIGHBOURS]]
        rank = next((hit.rank for hit in trace.hits if hit.page_id == opened), None) if trace else None
        near = corpus_map.Near(page, neighbours, rank, self.visit.only.matches(page))
        return corpus_map.side(near, self.visit._address, trace.budget if trace else None)

    def open(self, page_id: str) -> MapScreen:
        """Show a page large with its neighbours; an unknown id closes the open one."""
        self.opened = page_id if page_id in self.visit.collection.pages else None
        return self.screen()

    def data(self, name: str) -> str | None:
        """What the canvas draws, as JSON; None for another plane."""
        plane, pages = self._plane, self.visit.collection.pages
        if plane is None or plane.name != name:
            return None
        if self._data is None or self._data[0] is not plane:
            found = [pages.get(page_id) for page_id in plane.layout.ids]
            told = corpus_map.data(
                plane.layout,
                [page.title if page else "" for page in found],
                [place(page.source, page.number) if page else "" for page in found],
                [page.width / max(page.height, 1) if page else 1.0 for page in found],
            )
            self._data = plane, json.dumps(told, separators=(",", ":"), ensure_ascii=False)
        return self._data[1]

    # Searching some pages

    def chosen(self, page_ids: Sequence[str]) -> PageFilter:
        """A filter of these pages. Raises ValueError when they do not fit into one, or there are none."""
        pages = self.visit.collection.pages
        places = [pages[each].places[0] for each in page_ids if each in pages]
        if not places:
            raise ValueError("None of these pages is here any more.")
        return PageFilter.of_places(places)

    def group(self, group: int) -> list[str]:
        """The ids of a group's pages."""
        layout = self._plane.layout if self._plane else None
        return [layout.ids[i] for i in np.flatnonzero(layout.groups == group)] if layout else []

    def document(self, page_id: str) -> PageFilter:
        """A filter of the document that a page is in. Raises ValueError when the page is gone."""
        page = self.visit.collection.pages.get(page_id)
        if page is None:
            raise ValueError("This page is not here any more.")
        return PageFilter.of_documents([page.source])
