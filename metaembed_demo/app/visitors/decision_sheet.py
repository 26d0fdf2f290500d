"""The sheet of one visitor: for how many pages, which ways are shown, and what was measured of every way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from metaembed_demo.app.views import budget_sheet
from metaembed_demo.app.views.budget_sheet import ALL, COLUMNS, Shown, checked
from metaembed_demo.app.views.figure import origin
from metaembed_demo.collection.calibration import Kept
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.modes import MODES
from metaembed_demo.core.config import SERVER
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.evaluation.advice import Advice
from metaembed_demo.evaluation.budget_sheet import MOST_PAGES, Corpus, Measured, Row, sheet
from metaembed_demo.evaluation.budget_study import Labels, Worth
from metaembed_demo.evaluation.decision import QUALITY, Command, Origin, markdown
from metaembed_demo.evaluation.known_items import Asked
from metaembed_demo.evaluation.search_times import ScoringTimes
from metaembed_demo.evaluation.way_study import Way, WayStep, WayWorth, measure_ways
from metaembed_demo.index.quantization import KINDS

Questions = list[Asked] | Labels


@dataclass
class DecisionSheet:
    """State of the sheet. pages: None for those there are; storage: "" for the kind in use."""

    pages: int | None = None
    storage: str = ""
    mode: str = ALL
    sort: str = ""
    problem: str = ""
    ways: Mapping[Way, WayWorth] = field(default_factory=dict)
    times: ScoringTimes | None = None
    asked: Questions | None = None  # the queries of the last measurement

    def forget(self) -> None:
        """Drop what was measured on the pages."""
        self.ways, self.asked = {}, None

    def choose(self, name: str, value: str) -> None:
        """Set the number of pages, or what is shown. What is malformed is told, or ignored."""
        self.problem = ""
        if name == "pages":
            try:
                self.pages = checked(value, MOST_PAGES)
            except ValueError as error:
                self.problem = str(error)
        elif name == "storage" and value in (*KINDS, ALL):
            self.storage = value
        elif name == "mode" and value in (*MODES, ALL):
            self.mode = value
        elif name == "sort" and value in ("", *COLUMNS):
            self.sort = value

    def measure(
        self, collection: Collection, encoder: Encoder, stop: Event, samples: Kept | None
    ) -> Iterator[WayStep]:
        """Measure every way with the queries of the last measurement; keeps what each kind gave."""
        for step in measure_ways(collection, encoder, self.asked or [], stop, samples):
            self.ways = {**self.ways, **step.found}
            yield step

    def at(self, collection: Collection) -> int:
        """The number of pages that the sheet is made for."""
        return self.pages or max(len(collection), 1)

    def html(
        self,
        collection: Collection,
        encoder: Encoder,
        samples: Kept | None,
        made: Origin | None,
        advice: Advice | str,
        share: float,
        running: str = "",
    ) -> str:
        """The region; "" without pages. made: what the measurement rests on, None without one."""
        if not len(collection):
            return ""
        corpus = Corpus.of(collection, encoder.budgets, samples)
        pages, worth = self.at(collection), made.worth if made else None
        rows = sheet(corpus, pages, Measured(worth, self.ways, self.times))
        shown = Shown(
            pages,
            corpus.pages,
            self.storage or corpus.storage,
            self.mode,
            self.sort,
            self.problem,
            encoder.budgets,
        )
        decision, told = "", ""
        if made is not None:
            labels = self.asked.names if isinstance(self.asked, Labels) else None
            command = Command(SERVER.encoder, share, pages, labels, every_way=bool(self.ways))
            decision = markdown(made, advice, candidates(rows, shown), pages, command)
            told = origin({**made.as_json(), "sheet_pages": pages}, per_query(made.worth, self.ways))
        every = "Measure every storage, words and Auto too" if made and self.asked and not self.ways else ""
        quality = QUALITY[made.worth.kind] if made else "nDCG@5"
        return budget_sheet.sheet(rows, shown, quality, decision, every, running, told)


def per_query(worth: Worth, ways: Mapping[Way, WayWorth]) -> list[list[Any]]:
    """CSV rows, a header and one row a query: what the stops gave, and the other ways where measured."""
    measured = {way: found.each for way, found in ways.items() if len(found.each) == len(worth.texts)}
    heads = [f"quality {' '.join(filter(None, (way.name, way.storage, way.mode)))}" for way in measured]
    head, *rows = worth.per_query()
    more = [[round(each[at], 4) for each in measured.values()] for at in range(len(rows))]
    return [[*head, *heads], *([*row, *others] for row, others in zip(rows, more, strict=True))]


def candidates(rows: list[Row], shown: Shown) -> list[Row]:
    """The rows of a decision: those that are shown, of whatever mode."""
    return [row for row in rows if shown.storage == ALL or row.way.storage in (shown.storage, "")]
