"""What an evaluation leaves for other programs and takes of them: TREC runs, qrels, nDCG@5 of every query.

A document is FILE#PAGE, or FILE where files are judged as a whole; so is the id of a judgement. Whitespace in
names is percent-encoded, as is %, since fields are separated by it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote, unquote

from .beir import Judgements
from .evaluate import graded
from .metrics import Row, gain

DEPTH = 100  # documents of a query in a run
Ranking = Mapping[str, Sequence[str]]  # query id -> page ids, best first


def trec_run(ranking: Ranking, judgements: Judgements, tag: str) -> str:
    """Lines "query Q0 document rank score tag" of ranked page ids; the score only repeats the order.

    A file that is judged as a whole stands at its first page's rank. What a run cannot say is left out: of
    such files that share a page, all but the first by name; and a file that is judged beside its own pages.
    """
    lines = []
    for key, page_ids in ranking.items():
        for rank, units in enumerate(judgements.ranking(page_ids)[:DEPTH], 1):
            unit = min(units, key=lambda unit: (unit[0] != "page", unit[1]))
            document = _field(judgements.name(unit))
            lines.append(f"{_field(key)} Q0 {document} {rank} {1 / rank:.6f} {_field(tag)}\n")
    return "".join(lines)


def trec_qrels(judgements: Judgements) -> str:
    """Lines "query 0 document grade", documents that are missing from the corpus included."""
    return "".join(
        f"{_field(key)} 0 {_field(judgements.name(unit))} {grade}\n"
        for key, judged in judgements.judged.items()
        for unit, grade in judged.items()
    )


def write_trec(folder: Path, rankings: Mapping[str, Ranking], judgements: Judgements) -> None:
    """Write qrels.txt and, for each budget of `rankings`, BUDGET.run: trec_eval takes a run a file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "qrels.txt").write_text(trec_qrels(judgements), encoding="utf-8")
    for budget, ranking in rankings.items():
        run = trec_run(ranking, judgements, f"metaembed-{budget}")
        (folder / f"{budget}.run").write_text(run, encoding="utf-8")


def read_run(text: str, where: str = "the run") -> dict[str, dict[str, list[str]]]:
    """Tag -> query id -> documents by descending score, ties as they stand.

    Raises:
        ValueError: when a line has not six fields, or a score is no number; it names `where` and the line.
    """
    scored: dict[str, dict[str, list[tuple[float, str]]]] = {}
    for at, line in enumerate(text.splitlines(), 1):
        if fields := line.split():
            try:
                key, _, document, _, score, tag = fields
                of_query = scored.setdefault(unquote(tag), {}).setdefault(unquote(key), [])
                of_query.append((-float(score), unquote(document)))
            except ValueError as error:
                said = 'expected "query Q0 document rank score tag"'
                raise ValueError(f"{where}, line {at}: {said}") from error
    return {
        tag: {
            key: [name for _, name in sorted(found, key=lambda each: each[0])] for key, found in run.items()
        }
        for tag, run in scored.items()
    }


def judged_runs(text: str, judgements: Judgements, where: str = "the run") -> list[Row]:
    """A row like a budget's for each tag of a run file, of this program's or another's.

    A query that a run lacks counts as one with no hits. Raises ValueError as `read_run` does.
    """
    rows = []
    for tag, run in read_run(text, where).items():
        rankings = {key: judgements.documents(run.get(key, ())) for key in judgements.judged}
        rows.append({"name": tag, **graded(rankings, judgements)})
    return rows


def per_query(rows: Sequence[Row]) -> str:
    """CSV: query id, then nDCG@5 at each budget."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["query", *(row["budget"] for row in rows)])
    for key in rows[0]["each"]:
        table.writerow([key, *(row["each"][key] for row in rows)])
    return out.getvalue()


def gains(rows: Sequence[Row]) -> dict[str, Row]:
    """Paired difference of nDCG@5, in points with its interval, of each budget over the one before."""
    return {f"{b['budget']} over {a['budget']}": gain(b, a) for a, b in pairwise(rows)}


def _field(name: str) -> str:
    return re.sub(r"[\s%]", lambda found: quote(found[0]), name)
