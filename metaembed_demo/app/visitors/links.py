"""A view of the page as an address, and a search as JSON (docs/trace.schema.json)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from metaembed_demo.app.views.html import json_attribute
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.budgets import STOPS, Budget
from metaembed_demo.core.types import Trace
from metaembed_demo.explain.explainer import Explanation

SCHEMA = 1
ROOMS = ("search", "documents", "budget", "tokens")
TABS = ("alignment", "page-map", "ranks", "compare", "timing")
LONGEST = 1000  # characters of a query in an address
WORDS = 50  # of an explanation, in a trace


@dataclass(frozen=True)
class Link:
    """What an address restores: a query, a budget, the hit that is open, and where one looks.

    A picture that was asked with is not part of an address.
    """

    query: str = ""
    budget: Budget = STOPS[-1]
    hit: str | None = None
    tab: str = TABS[0]
    room: str = ROOMS[0]

    @classmethod
    def parse(cls, params: Mapping[str, str]) -> Link:
        """From an address's parameters; what is malformed counts as not given.

        >>> Link.parse({"q": "energy", "budget": "4x8", "tab": "ranks", "room": "cellar"})
        Link(query='energy', budget=Budget(r_q=4, r_c=8), hit=None, tab='ranks', room='search')
        """
        try:
            budget = Budget.parse(params.get("budget", str(STOPS[-1])))
        except ValueError:
            budget = STOPS[-1]
        tab, room = params.get("tab", ""), params.get("room", "")
        return cls(
            params.get("q", "")[:LONGEST].strip(),
            budget,
            params.get("hit") or None,
            tab if tab in TABS else TABS[0],
            room if room in ROOMS else ROOMS[0],
        )


def link(trace: Trace | None, chosen: str | None, record: Mapping[str, Any] | None = None) -> str:
    """The buttons that copy the address and the trace, with the address.

    Args:
        chosen: page id of the open hit.
        record: the trace as `trace_json` gives it, once the visitor has asked for it.
    """
    if trace is None:
        return '<div class="link" data-link="{}"></div>'
    params = {"q": trace.query_text, "budget": str(trace.budget), "hit": chosen or ""}
    params |= {"picture": "1"} if trace.query_image else {}  # an address cannot hold it
    copied = f" {json_attribute('trace', record)}" if record is not None else ""
    return (
        f'<div class="link" {json_attribute("link", params)}{copied}>'
        '<button type="button" class="quiet" data-copy="link">Copy link</button>'
        '<button type="button" class="quiet" data-copy="trace">Copy trace</button>'
        '<span class="copied" role="status"></span></div>'
    )


def trace_json(trace: Trace, pages: Mapping[str, StoredPage], found: Explanation | None) -> dict[str, Any]:
    """The whole trace in plain types; `found` explains the hit that its alignment is of."""
    record: dict[str, Any] = {"schema": SCHEMA, **trace.as_json()}
    for hit in record["hits"]:
        page = pages.get(hit["page_id"])
        if page:
            hit |= {"source": page.source, "page": page.number, "title": page.title}
    if found is not None:
        record["explanation"] = explanation_json(found, trace.by_full_vectors)
    return record


def explanation_json(found: Explanation, full: bool) -> dict[str, Any]:
    """Where a score comes from, the largest parts first.

    full: whether the hit is scored by the page's full vectors, which the parts are taken from.
    """
    total = found.total
    order = np.argsort(-total, kind="stable")[:WORDS]
    return {
        "unit": "part of the score; all words and marks together give the score"
        + ("" if full else " that the full vectors have"),
        "words": [
            {
                "text": found.words[i].text,
                "kind": found.words[i].kind,
                "box": [round(edge, 4) for edge in found.words[i].box],
                "part": round(float(total[i]), 5),
            }
            for i in order
        ],
        "rest": round(float(total.sum() - total[order].sum()), 5),
    }
