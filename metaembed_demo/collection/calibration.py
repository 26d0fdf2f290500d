"""Calibrations of a collection: from known-item queries of its pages, kept with it.

There is one for each storage kind; the encoder is the collection's. It is made by evaluation/auto_study.py,
for the budget that sets itself (index/auto.py). A collection too small for its own uses that of the sample
pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metaembed_demo.core.budgets import Budget
from metaembed_demo.index.auto import LEAST_PAGES, LEAST_QUERIES, MOST_COUNT, Calibration
from metaembed_demo.index.base import MultiVectorIndex
from metaembed_demo.index.quantization import KINDS

CHANGED = 0.2  # share of the pages, added or removed, from which a calibration is stale
AUTO = "auto"
OWN, SAMPLES = "these pages", "the sample pages"


@dataclass(frozen=True)
class Calibrations:
    """What was calibrated for one storage kind, and the number of pages it was made from.

    auto: None where the pages were tried and gave too few queries.
    """

    pages: int
    auto: Calibration | None = None

    def as_json(self) -> dict[str, Any]:
        return {"pages": self.pages, **({AUTO: self.auto.as_json()} if self.auto else {})}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Calibrations:
        """Unknown keys are left out. Raises ValueError, KeyError or TypeError as `Calibration.from_json`."""
        auto = Calibration.from_json(value[AUTO]) if AUTO in value else None
        return cls(_count(value["pages"]), auto)


class Kept:
    """A collection's calibrations by storage kind, and how many pages came or went since each was made."""

    def __init__(self, found: Mapping[str, Calibrations] | None = None) -> None:
        self._found = dict(found or {})
        self._changed = dict.fromkeys(self._found, 0)

    def __bool__(self) -> bool:
        return bool(self._found)

    def keep(self, kind: str, found: Calibrations, changed: int = 0) -> None:
        """changed: pages that came or went since it was made."""
        self._changed[kind] = changed  # first, as readers look for what is found
        self._found[kind] = found

    def note(self, pages: int) -> None:
        """Note that `pages` were added or removed."""
        for kind in self._changed:
            self._changed[kind] += pages

    def of(self, kind: str) -> Calibrations | None:
        return self._found.get(kind)

    def is_stale(self, kind: str) -> bool:
        """Whether there is none, or its pages have changed too much."""
        found = self._found.get(kind)
        return found is None or self._changed[kind] > CHANGED * found.pages

    def copy(self) -> Kept:
        twin = Kept(self._found)
        twin._changed = dict(self._changed)
        return twin

    def take(self, other: Kept, changed: int) -> None:
        """Keep what is fresh in `other`, `changed` pages aside, and stale here."""
        for kind, found in other._found.items():
            late = other._changed[kind] + changed
            if self.is_stale(kind) and late <= CHANGED * found.pages:
                self.keep(kind, found, late)

    def as_json(self) -> dict[str, Any]:
        return {
            kind: {**found.as_json(), "changed": self._changed[kind]} for kind, found in self._found.items()
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Kept:
        """Raises ValueError, also for what is no such JSON at all."""
        kept = cls()
        try:
            for kind, row in value.items():
                if kind not in KINDS:
                    raise ValueError(f"No storage is called {kind[:20]!r}.")
                kept.keep(kind, Calibrations.from_json(row), _count(row["changed"]))
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"What is kept of a calibration is none: {error!r:.80}.") from error
        return kept


@dataclass(frozen=True)
class Auto:
    """How Auto sets the budget of a search: by which calibration, of whose pages, and what is missing.

    full: the budget that it keeps the first pages of; everything is scored at it without a calibration.
    note: what is missing, as a sentence; "" for nothing. wanted: whether the pages could be calibrated now.
    """

    full: Budget
    calibration: Calibration | None = None
    of: str = ""
    note: str = ""
    wanted: bool = False

    @classmethod
    def of_pages(cls, index: MultiVectorIndex, kept: Kept, samples: Kept | None = None) -> Auto:
        """By the best calibration of the pages in `index`: their own, else that of the samples."""
        kind = index.storage
        own, theirs = kept.of(kind), samples.of(kind) if samples else None
        auto_of = own.auto if own else None
        enough, stale = len(index) >= LEAST_PAGES, kept.is_stale(kind)
        wanted, note = enough and stale, ""
        borrowed = theirs.auto if theirs else None
        found: Calibration | None
        if auto_of and enough:
            found, of = auto_of, OWN
            note = "The pages have changed much since, and are calibrated anew." if wanted else ""
        else:
            found, of = borrowed, SAMPLES if borrowed else ""
            note = _missing(len(index), wanted, borrowed is not None)
        full = found.full if found else index.budgets.full
        return cls(full, found, of, note, wanted)

    def promise(self) -> str:
        """What the calibration keeps, as a clause; "" without one."""
        found = self.calibration
        if found is None:
            return ""
        return (
            f"{found.first:.0%} the same first page as {found.full}, {found.five:.0%} the same first five "
            f"on held-out queries; calibrated on {found.queries} known-item queries of {self.of}"
        )

    def as_json(self) -> dict[str, Any]:
        found = self.calibration.as_json() if self.calibration else None
        return {"calibration": found, "calibrated_on": self.of, "note": self.note}


def _missing(pages: int, wanted: bool, borrowed: bool) -> str:
    """Why a collection has no calibration of its own."""
    if wanted:
        why = "These pages are being calibrated; a later search uses that."
    elif pages < LEAST_PAGES:
        why = f"A calibration of these pages' own needs {LEAST_PAGES} pages; there are {pages:,}."
    else:
        why = f"These pages give fewer than {LEAST_QUERIES} known-item queries, so they have no calibration."
    return why if borrowed else f"{why} Until then everything is scored in full."


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MOST_COUNT:
        raise ValueError(f"A calibration counts pages, not {value!r:.20}.")
    return value
