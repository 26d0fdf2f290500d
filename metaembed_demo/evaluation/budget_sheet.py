"""The sheet of a decision: every stop, storage kind and mode with its memory, disk, quality and latency at N.

A figure is measured, on these pages and this machine, or computed from measured parts; it says from what.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from metaembed_demo.collection.calibration import Kept
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.modes import BOTH, MEANING, WORDS
from metaembed_demo.core.budgets import Budgets
from metaembed_demo.core.text import plural
from metaembed_demo.index.cascade import scanned
from metaembed_demo.index.local import LISTS_FROM
from metaembed_demo.index.quantization import KINDS

from .budget_study import Worth
from .search_times import WORDS_MS_A_PAGE, ScoringTimes
from .sizing import OnDisk, disk, memory
from .way_study import BY_WORDS, Way, WayWorth

MOST_PAGES = 10**9  # that a sheet is made for
LOOKED_AT = 20  # pages whose pictures and words are measured


@dataclass(frozen=True)
class Figure:
    """A cell of the sheet: bytes, milliseconds or quality; None where it is not known yet.

    told: from what it is, as a sentence. low, high: 95% interval of a quality, p50 and p95 of a latency.
    """

    value: float | None
    measured: bool = False
    told: str = ""
    low: float | None = None
    high: float | None = None

    def as_json(self) -> dict[str, Any]:
        interval = {"low": self.low, "high": self.high} if self.low is not None else {}
        return {"value": self.value, **interval, "measured": self.measured, "from": self.told}


@dataclass(frozen=True)
class Row:
    """One way to search N pages."""

    way: Way
    memory: Figure
    disk: Figure
    quality: Figure
    latency: Figure

    def as_json(self) -> dict[str, Any]:
        figures = ("memory", "disk", "quality", "latency")
        head = {"stop": self.way.name or "any", "storage": self.way.storage or "none", "mode": self.way.mode}
        return {**head, **{name: getattr(self, name).as_json() for name in figures}}


@dataclass(frozen=True)
class Corpus:
    """What the sheet knows of the pages at hand.

    budgets: of the encoder.
    storage: the kind in use. held: bytes of its vectors in memory, None where that is not known.
    cells: storage kind -> share of cells that Auto computes by its calibration.
    """

    pages: int
    budgets: Budgets
    dim: int
    storage: str
    held: int | None = None
    beside: OnDisk = field(default_factory=OnDisk)
    cells: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, collection: Collection, budgets: Budgets, samples: Kept | None = None) -> Corpus:
        """budgets: of the encoder. samples: calibrations of Auto for pages without their own."""
        with collection.lock:
            index, pages = collection.index, list(islice(collection.pages.values(), LOOKED_AT))
        held = getattr(index, "bytes_held", dict[str, int])().get("memory")
        own = [page for page in pages if isinstance(page.kept, bytes)]
        beside = OnDisk()
        if own:
            words = [len(zlib.compress(json.dumps(page.as_json()).encode(), 6)) for page in own]
            pictures = sum(len(page.picture) for page in own) / len(own)
            beside = OnDisk(pictures, sum(words) / len(own), f"{len(own)} of these pages")
        cells: dict[str, float] = {}
        for kept in (samples, collection.calibrations):
            found = {kind: kept.of(kind) for kind in KINDS} if kept else {}
            cells |= {kind: each.auto.cells for kind, each in found.items() if each and each.auto}
        return cls(len(collection), budgets, index.dim, index.storage, held, beside, cells)


@dataclass(frozen=True)
class Measured:
    """What was measured on the pages: the stops as they are kept, and every way if asked for."""

    worth: Worth | None = None
    ways: Mapping[Way, WayWorth] = field(default_factory=dict)
    times: ScoringTimes | None = None

    def of(self, way: Way, storage: str) -> WayWorth | None:
        """What a way was measured to be worth. storage: the kind that the pages are kept as."""
        if way in self.ways or self.worth is None or way.storage != storage or way.mode != MEANING:
            return self.ways.get(way)
        found = next((stop for stop in self.worth.stops if stop.budget == way.stop), None)
        if found is None:
            return None
        return WayWorth(found.quality, found.interval, found.p50_ms, found.p95_ms, None, found.each)


def sheet(corpus: Corpus, pages: int, measured: Measured) -> list[Row]:
    """The rows at `pages` pages, kind by kind from coarse to fine, Auto after the stops, words alone last."""
    stops = [*corpus.budgets, None]
    ways = [Way(stop, kind, mode) for kind in KINDS for mode in (MEANING, BOTH) for stop in stops]
    return [_row(way, corpus, pages, measured) for way in (*ways, BY_WORDS)]


def _row(way: Way, corpus: Corpus, pages: int, measured: Measured) -> Row:
    found = measured.of(way, corpus.storage)
    return Row(
        way,
        _memory(way, corpus, pages),
        _disk(way, corpus, pages),
        _quality(found, corpus, measured.worth),
        _latency(way, found, corpus, pages, measured),
    )


def _tokens(way: Way, corpus: Corpus) -> int:
    return (way.stop or corpus.budgets.full).r_c


def _memory(way: Way, corpus: Corpus, pages: int) -> Figure:
    if way.mode == WORDS:
        return Figure(0, told="Words are searched in files, which the system maps into memory.")
    whole = (
        _tokens(way, corpus) == corpus.budgets.full.r_c
        and pages == corpus.pages
        and way.storage == corpus.storage
    )
    if whole and corpus.held is not None:
        return Figure(corpus.held, True, "The vectors of these pages, as they are in memory now.")
    found = memory(pages, way.storage, corpus.dim, _tokens(way, corpus), scanned(corpus.budgets).r_c)
    each = found / pages
    scan = ", the int8 prefix of the scan with it" if way.storage == "float16" and pages > 5_000 else ""
    return Figure(found, told=f"{plural(pages, 'page')} x {each:,.0f} B of vectors{scan}.")


def _disk(way: Way, corpus: Corpus, pages: int) -> Figure:
    beside = corpus.beside
    shown = f"pictures ({beside.picture:,.0f} B a page) and words ({beside.words:,.0f} B), as {beside.source}"
    if way.mode == WORDS:
        return Figure(round(pages * (beside.picture + beside.words)), told=f"No vectors; {shown}.")
    scan = scanned(corpus.budgets).r_c
    found = disk(pages, way.storage, corpus.dim, _tokens(way, corpus), beside, scan)
    full = "" if way.storage == "float16" else ", the full vectors"
    return Figure(found, told=f"Vectors as in memory{full}, {shown}.")


def _quality(found: WayWorth | None, corpus: Corpus, worth: Worth | None) -> Figure:
    if found is None or found.quality is None or found.interval is None:
        return Figure(None, told="Not measured yet.")
    queries = len(found.each) if found.each else worth.queries if worth else 0
    asked = f"{plural(queries, 'query')} on {plural(corpus.pages, 'page')}"
    told = f"{asked}. Among more pages an answer is harder to find; nothing here says how much."
    return Figure(found.quality, True, told, *found.interval)


def _latency(way: Way, found: WayWorth | None, corpus: Corpus, pages: int, measured: Measured) -> Figure:
    if found and pages == corpus.pages:
        told = "One warm search on this machine, without encoding: median, and p95."
        return Figure(found.p50_ms, True, told, found.p50_ms, found.p95_ms)
    times, cells = measured.times, _cells(way, found, corpus)
    if times is None or cells is None or (way.mode == WORDS and found is None):
        return Figure(None, told="Not measured yet.")
    at, here = (_scoring(way, times, n, cells) for n in (pages, corpus.pages))
    beside = max(found.p50_ms - here, 0.0) if found else 0.0
    words = WORDS_MS_A_PAGE * (pages - corpus.pages) if way.mode != MEANING else 0.0
    value = max(at + beside + words, 0.0)
    parts = [] if way.mode == WORDS else [f"scoring {plural(pages, 'page')} {at:,.1f} ms"]
    parts += [f"what does not grow {beside:,.1f} ms"] if found else []
    parts += [f"words {words:+,.1f} ms"] if words else []
    lists = " Inverted lists replace the scan from a million pages on." if pages >= LISTS_FROM else ""
    unlike = "" if found or way.mode == MEANING else " Without what searching words takes."
    return Figure(value, told=f"Timed on this machine: {', '.join(parts)}.{unlike}{lists}")


def _cells(way: Way, found: WayWorth | None, corpus: Corpus) -> float | None:
    """The share of cells that a way computes: 1 but for Auto, of which it may not be known."""
    if way.stop is not None or way.mode == WORDS:
        return 1.0
    return found.cells if found and found.cells is not None else corpus.cells.get(way.storage)


def _scoring(way: Way, times: ScoringTimes, pages: int, cells: float) -> float:
    if way.mode == WORDS:
        return 0.0
    if way.stop is not None:
        return times.search(pages, way.stop, way.storage)
    return times.auto(pages, cells, way.storage)
