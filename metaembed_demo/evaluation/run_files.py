"""What an evaluation leaves for other programs: a TREC run, and nDCG@5 of every query."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from itertools import pairwise

from metaembed_demo.collection.collection import Collection

from .metrics import Row, gain

DEPTH = 100  # pages of a query in a run
Rankings = Mapping[str, Mapping[str, Sequence[str]]]  # budget -> query id -> page ids, best first


def trec_run(rankings: Rankings, collection: Collection) -> str:
    """Lines "query Q0 document rank score tag": a document is FILE#PAGE, spaces as _; the tag is the budget.

    The score only repeats the order: a run of several budgets has a tag for each.
    """
    lines = []
    for budget, of_queries in rankings.items():
        for key, page_ids in of_queries.items():
            for rank, page_id in enumerate(page_ids[:DEPTH], 1):
                source, number = collection.pages.places(page_id)[0]
                named = f"{source}#{number}".replace(" ", "_")
                lines.append(f"{key.replace(' ', '_')} Q0 {named} {rank} {1 / rank:.6f} metaembed-{budget}")
    return "".join(line + "\n" for line in lines)


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
