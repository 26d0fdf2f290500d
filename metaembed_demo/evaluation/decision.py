"""A decision with what it rests on, as Markdown, for the room Budget and the command `decide`."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from metaembed_demo.core.text import DASH, bytes_text, ms_text, plural

from .advice import Advice
from .budget_sheet import Figure, Row
from .budget_study import Kind, Worth
from .machine import described, versions

QUALITY: dict[Kind, str] = {"labels": "nDCG@5", "known items": "nDCG@5", "session": "overlap@5"}
LABEL_SOURCES: dict[Kind, str] = {
    "labels": "judged queries of a file",
    "known items": "sentences drawn from the pages",
    "session": "searches of a session, unjudged",
}
FIT_LABELS = "judged queries of the sample corpus, and queries that no page answers"


def now() -> str:
    """The time in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


@dataclass(frozen=True)
class Source:
    """Where figures come from, for exports: the same fields for all of Budget.

    queries: 0 where none were asked; labels: what says which answers are right. measured: when, in UTC.
    """

    queries: int
    labels: str
    pages: int
    encoder: str
    fingerprint: str
    storage: str
    measured: str = field(default_factory=now)
    machine: str = field(default_factory=described)

    def as_json(self) -> dict[str, str | int]:
        return {**vars(self), "versions": versions()}


@dataclass(frozen=True)
class Origin:
    """What a measurement rests on, for exports. `measured`: when, in UTC."""

    encoder: str
    fingerprint: str
    storage: str
    worth: Worth
    measured: str = field(default_factory=now)

    def as_json(self) -> dict[str, str | int]:
        worth, labels = self.worth, LABEL_SOURCES[self.worth.kind]
        made_by = self.encoder, self.fingerprint, self.storage
        return Source(worth.queries, labels, worth.pages, *made_by, self.measured).as_json()


@dataclass(frozen=True)
class Command:
    """How `decide` is asked for the same: the share to keep, the pages of the sheet, the files of labels."""

    encoder: str
    share: float
    pages: int
    labels: tuple[str, str] | None = None
    index: str = "DIR"
    every_way: bool = False

    def lines(self, kind: Kind) -> list[str]:
        """Shell lines; for the searches of a session there are none, since nothing keeps them."""
        if kind == "session" or (kind == "labels" and self.labels is None):
            return []
        by = ["--encoder", self.encoder] if self.encoder != "mini" else []
        given = ["--share", f"{self.share:g}", "--pages", str(self.pages)]
        given += ["--queries", self.labels[0], "--qrels", self.labels[1]] if self.labels else []
        given += ["--every-way"] if self.every_way else []
        made = ["python", "-m", "metaembed_demo"]
        indexing = shlex.join([*made, "index", "FILES", "--out", self.index, *by])
        return [indexing, shlex.join([*made, "decide", self.index, *given, *by])]


def markdown(origin: Origin, advice: Advice | str, rows: Sequence[Row], pages: int, command: Command) -> str:
    """The recommendation, the candidates at `pages` pages, and what they rest on."""
    worth = origin.worth
    quality = QUALITY[worth.kind]
    said = advice if isinstance(advice, str) else verdict(advice)
    about = origin.as_json()
    lines = [
        f"# Budget for {plural(pages, 'page')}",
        "",
        said,
        "",
        f"| way | memory | disk | {quality}, 95% interval | latency |",
        "|---|---:|---:|---:|---:|",
        *(f"| {' | '.join(cells(row))} |" for row in rows),
        "",
        f"m: measured on {plural(worth.pages, 'page')} of this machine; c: computed from measured parts "
        "(docs/scale.md). GB is 10^9 bytes. Quality is that of the pages measured.",
        "",
        *(f"- {name}: {value}" for name, value in about.items()),
    ]
    made = command.lines(worth.kind)
    if made:
        told = "from the files again" if not command.labels else "from the files and labels again"
        lines += ["", f"The same, {told}:", "", "```bash", *made, "```"]
    return "\n".join(lines) + "\n"


def verdict(advice: Advice) -> str:
    """What is recommended, or that nothing is and what is sure, with the doubts."""
    if advice.safe:
        return f"**{advice.stop.budget}.** {advice.sentence}"
    sure = f"Sure is {advice.sure.budget}."
    return " ".join([f"**No recommendation.** {advice.sentence}", *doubts(advice), sure])


def doubts(advice: Advice) -> list[str]:
    """Sentences on what the queries cannot tell apart, and how many more may."""
    found = []
    for doubt in advice.doubts:
        low, high = doubt.points
        between = f"{doubt.coarse.budget} less {doubt.fine.budget}: {low:+.1f} to {high:+.1f} points"
        found.append(f"Nor can they tell {doubt.coarse.budget} from {doubt.fine.budget} ({between}).")
    if advice.more:
        found.append(f"About {advice.more:,} queries would, if these are typical.")
    return found


def cells(row: Row) -> list[str]:
    """A row of the sheet as texts, each with m or c."""
    parts = [row.way.name, row.way.storage, row.way.mode]
    name = " ".join(part for part in parts if part)
    texts = [_marked(row.memory, bytes_text), _marked(row.disk, bytes_text)]
    quality = _marked(row.quality, lambda _: quality_text(row.quality))
    return [name, *texts, quality, _marked(row.latency, ms_text)]


def quality_text(figure: Figure) -> str:
    """
    >>> quality_text(Figure(0.7, True, "", 0.62, 0.78))
    '0.70 (0.62–0.78)'
    """
    if figure.value is None:
        return DASH
    inside = f" ({figure.low:.2f}{DASH}{figure.high:.2f})" if figure.low is not None else ""
    return f"{figure.value:.2f}{inside}"


def _marked(figure: Figure, text: Callable[[float], str]) -> str:
    return DASH if figure.value is None else f"{text(figure.value)} {'m' if figure.measured else 'c'}"
