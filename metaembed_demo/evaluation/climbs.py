"""The judged questions whose answer climbs most over the stops: the examples that the page offers.

assets/climbs.json   key: the hash of all that the ranks depend on, as the dial's curve has it;
                     climbs: question, document, and the answer's rank at each stop, the best example first
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from metaembed_demo.core import disk
from metaembed_demo.core.text import normalised

from .beir import Beir, Judgements

NAME = "climbs.json"  # beside the shipped samples, or in the cache
EXAMPLES = 4  # offered on the page
LENGTH = (12, 60)  # characters of an example; shorter ones say little, longer ones wrap
LEAST = 3  # places that an answer must climb to be shown
AnswersOf = Mapping[str, Mapping[str, int]]  # a question as `asked` gives it -> page id -> grade


@dataclass(frozen=True)
class Climb:
    """A question, the document that answers it, and the rank of the answering page at the stops.

    The ranks are those of a search by meaning among all pages of the corpus; none where nothing is measured.
    """

    question: str
    source: str
    ranks: tuple[int, ...] = ()

    @property
    def places(self) -> int:
        """Places won from the first stop to the last, less those that were lost on the way.

        >>> Climb("", "", (76, 64, 60, 61, 1)).places, Climb("", "", (2, 9, 1, 1, 1)).places
        (74, -6)
        """
        lost = sum(max(after - before, 0) for before, after in pairwise(self.ranks))
        return self.ranks[0] - self.ranks[-1] - lost


def answer(judged: Mapping[str, int], ranks: Mapping[str, int]) -> str | None:
    """The page whose rank is told as the answer's: of the best grade, the one that ranks first.

    Args:
        judged: page id -> grade. ranks: page id -> rank at the full budget.

    >>> answer({"a": 1, "b": 2, "c": 2, "gone": 3}, {"a": 1, "b": 9, "c": 4})
    'c'
    """
    known = [page_id for page_id in judged if page_id in ranks]
    return min(known, key=lambda page_id: (-judged[page_id], ranks[page_id]), default=None)


def climbs(
    rankings: Mapping[str, Mapping[str, Sequence[str]]], beir: Beir, judged: Judgements
) -> list[Climb]:
    """How the answer of each judged question ranks at the stops; questions with a picture are left out.

    Args:
        rankings: stop -> query id -> all page ids, best first, as `evaluate` gives them.
    """
    found = []
    for key, query in beir.queries.items():
        pages = judged.pages(key)
        if query.image is not None or not pages:
            continue
        ranks = [{page_id: at for at, page_id in enumerate(of[key], 1)} for of in rankings.values()]
        page_id = answer(pages, ranks[-1])
        if page_id is not None:
            source = judged.source(page_id)
            found.append(Climb(query.text.strip(), source, tuple(rank[page_id] for rank in ranks)))
    return found


def pick(found: Sequence[Climb], n: int = EXAMPLES) -> tuple[Climb, ...]:
    """The `n` climbs to show, the largest first: short questions that the last stop answers first."""
    shown = [
        climb
        for climb in found
        if climb.ranks[-1] == 1 and climb.places >= LEAST and LENGTH[0] <= len(climb.question) <= LENGTH[1]
    ]
    best: dict[str, Climb] = {}
    for climb in sorted(shown, key=lambda climb: (-climb.places, len(climb.question), climb.question)):
        best.setdefault(climb.source, climb)
    return tuple(best.values())[:n]


def write(path: Path, key: str, picked: Sequence[Climb]) -> None:
    """Keep `picked`, which hold for what `key` is the hash of."""
    disk.write_json(path, {"key": key, "climbs": [asdict(climb) for climb in picked]})


def read(path: Path, key: str, stops: int) -> tuple[Climb, ...] | None:
    """The climbs kept at `path`; None where they were measured on something else, or the file is damaged.

    stops: of the encoder, as many as a climb has ranks.
    """

    def take(value: dict[str, Any]) -> tuple[Climb, ...] | None:
        if value["key"] != key:
            return None
        if any(len(each["ranks"]) != stops for each in value["climbs"]):
            raise ValueError(f"A climb has {stops} ranks, one for each stop.")
        return tuple(
            Climb(str(each["question"]), str(each["source"]), tuple(map(int, each["ranks"])))
            for each in value["climbs"]
        )

    return disk.read_kept(path, take, "the examples are measured anew")


def examples(picked: Sequence[Climb], beir: Beir) -> tuple[Climb, ...]:
    """The questions that the page offers: `picked`, and where they are few, others about other documents."""
    sources = {climb.source for climb in picked}
    others = [climb for climb in _others(beir) if climb.source not in sources]
    return (*picked, *_spread(others, max(EXAMPLES - len(picked), 0)))


def _others(beir: Beir) -> list[Climb]:
    """The first short question about each document, unmeasured."""
    about: dict[str, Climb] = {}
    for key, judged in beir.qrels.items():
        text = beir.queries[key].text.strip()
        if LENGTH[0] <= len(text) <= LENGTH[1] and beir.queries[key].image is None:
            best = max(judged, key=lambda corpus_id: judged[corpus_id])
            source = best.rpartition("#")[0] or best
            about.setdefault(source, Climb(text, source))
    return list(about.values())


def _spread(items: Sequence[Climb], n: int) -> list[Climb]:
    if len(items) <= n:
        return list(items)
    return [items[round(i * len(items) / n)] for i in range(n)]


def asked(text: str) -> str:
    """A question as it is compared with the judged ones.

    >>> asked("How  late may I make noise? ") == asked("how late may I make noise?")
    True
    """
    return " ".join(normalised(text).casefold().split())


def answers_of(beir: Beir, judged: Judgements) -> AnswersOf:
    """The judged questions in words, and the pages that answer them."""
    found: dict[str, dict[str, int]] = {}
    for key, query in beir.queries.items():
        if query.image is None and query.text.strip():
            found.setdefault(asked(query.text), {}).update(judged.pages(key))
    return {question: pages for question, pages in found.items() if pages}
