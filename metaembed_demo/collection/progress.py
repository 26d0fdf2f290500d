"""How far indexing files is, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from metaembed_demo.core.types import Problem


@dataclass(frozen=True)
class Progress:
    """Where `index_files` stands: `done` of `total` pages, the last one page `number` of `source`."""

    done: int
    total: int
    source: str
    number: int  # 0 when a whole file is meant
    message: str | None = None  # a problem's or a duplicate's


@dataclass
class Report:
    """What `index_files` did; filled as it goes. `finished` means that every file was looked at."""

    added: int = 0
    duplicates: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    seconds: float = 0.0
    finished: bool = False
