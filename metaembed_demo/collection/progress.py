"""Progress and result of indexing files."""

from __future__ import annotations

from dataclasses import dataclass, field

from metaembed_demo.core.types import Notice, Problem


@dataclass(frozen=True)
class Progress:
    """Progress of `index_files`: `done` of `total` pages; the last one was page `number` of `source`."""

    done: int
    total: int
    source: str
    number: int  # 0 when a whole file is meant
    message: str | None = None  # a problem's or a duplicate's


@dataclass
class Report:
    """Result of `index_files`, updated as it runs. `finished` means that every file was processed."""

    added: int = 0
    blank: int = 0  # pages without words, which are left out
    duplicates: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    seconds: float = 0.0
    finished: bool = False

    def note(self, found: Problem) -> None:
        """Keep a problem, or a notice, where it belongs."""
        if isinstance(found, Notice):
            self.notices.append(found)
        else:
            self.problems.append(found)
