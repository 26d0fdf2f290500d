"""Deep links to a view of the page, and a search as JSON (docs/trace.schema.json)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.app.views.html import json_attribute
from metaembed_demo.collection.calibration import AUTO
from metaembed_demo.collection.filters import EVERY, PageFilter
from metaembed_demo.collection.modes import BOTH, MODES
from metaembed_demo.collection.modes import WORDS as BY_WORDS
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.budgets import Budget, Budgets
from metaembed_demo.core.moments import as_json
from metaembed_demo.core.types import Trace, Upload
from metaembed_demo.explain.explainer import Explanation
from metaembed_demo.index.quantization import KINDS
from metaembed_demo.index.query_refinement import MOST_STEPS

SCHEMA = 1
ROOMS = ("search", "map", "budget", "tokens", "documents")
TABS = ("alignment", "page-map", "ranks", "timing")
NOW_IN = {"compare": "ranks"}  # tabs of older links
LONGEST = 1000  # characters of a query in a link
WORDS = 50  # words of an explanation in a trace
ICON = (  # in place of the words on a phone
    '<svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true">'
    '<path d="M10 14a4 4 0 0 0 5.7 0l3.6-3.6a4 4 0 0 0-5.7-5.7l-1.1 1.2'
    'm1.5 4.1a4 4 0 0 0-5.7 0l-3.6 3.6a4 4 0 0 0 5.7 5.7l1.1-1.2"'
    ' fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round"/></svg>'
)


@dataclass(frozen=True)
class Link:
    """The view that a deep link restores: query text, budget, open hit and tabs, what ranks which pages.

    Not the query picture. steps: of query refinement. complement: the encoder that refines, "" for the words.
    auto: whether the budget sets itself. storage: the kind, "" for as it is. pinned, other: the query of
    side A of the comparison, "" for that of the search, and its budget. No budget: the encoder's largest,
    and its smallest for side A.
    """

    query: str = ""
    budget: Budget | None = None
    hit: str | None = None
    tab: str = TABS[0]
    room: str = ROOMS[0]
    only: PageFilter = EVERY
    mode: str = BOTH
    steps: int = 0
    complement: str = ""
    auto: bool = False
    storage: str = ""
    pinned: str = ""
    other: Budget | None = None

    @classmethod
    def parse(cls, params: Mapping[str, str]) -> Link:
        """From URL parameters. Malformed values are ignored.

        >>> link = Link.parse({"q": "energy", "budget": "4x8", "tab": "ranks", "room": "cellar", "mode": "x"})
        >>> link.query, str(link.budget), link.hit, link.tab, link.room, link.mode, link.steps
        ('energy', '4x8', None, 'ranks', 'search', 'both', 0)
        >>> str(Link.parse({"only": "type:pdf", "language": "de"}).only)
        'type:pdf lang:de'
        >>> Link.parse({"tab": "compare"}).tab
        'ranks'
        """
        budget = _budget(params.get("budget", ""))
        try:
            only = PageFilter.of(
                params.get("only", ""), params.get("language", "")
            )  # "language" in old links
        except ValueError:
            only = EVERY
        tab, room, mode = (params.get(name, "") for name in ("tab", "room", "mode"))
        tab, steps = NOW_IN.get(tab, tab), params.get("steps", "")
        return cls(
            params.get("q", "")[:LONGEST].strip(),
            budget,
            params.get("hit") or None,
            tab if tab in TABS else TABS[0],
            room if room in ROOMS else ROOMS[0],
            only,
            mode if mode in MODES else BOTH,
            min(int(steps), MOST_STEPS) if steps.isdecimal() and len(steps) < 4 else 0,
            params.get("complement", "")[:LONGEST],
            params.get("budget") == AUTO,
            params.get("storage", "") if params.get("storage") in KINDS else "",
            params.get("a", "")[:LONGEST].strip(),
            _budget(params.get("a-budget", "")),
        )


def _budget(text: str) -> Budget | None:
    try:
        return Budget.parse(text)
    except ValueError:
        return None


def side_params(pinned: Trace | None, other: Budget, budgets: Budgets) -> dict[str, str]:
    """The parameters that name side A of the comparison. A pinned picture has none."""
    if pinned is not None and pinned.query_image:
        return {}
    budget = pinned.budget if pinned else other
    named = {"a": pinned.query_text} if pinned else {}
    return named | ({"a-budget": str(budget)} if budget != budgets[0] else {})


def picture_name(file: Upload | None) -> str:
    """The name of a query picture for the browser, which tells nothing of it; "" for none."""
    return hashlib.sha256(str(file.path).encode("utf-8", "surrogatepass")).hexdigest()[:16] if file else ""


def unanswered(query: str, only: PageFilter) -> str:
    """The region of a search without hits: the address names it, and there is nothing to copy."""
    params = {"q": query} | ({"only": str(only)} if only else {})
    return f'<div class="link" {json_attribute("link", params)}></div>'


def link(
    trace: Trace | None,
    chosen: str | None,
    record: Mapping[str, Any] | None = None,
    more: Mapping[str, str] | None = None,
) -> str:
    """The button that copies the link, with what names the view, as HTML.

    Args:
        chosen: page id of the open hit.
        record: the trace as from `trace_json`, if the visitor has requested it.
        more: further parameters. "picture" is the name of the query picture, which a URL cannot hold: the
            browser keeps it with the history.
    """
    if trace is None:
        return '<div class="link" data-link="{}"></div>'
    params = {"q": trace.query_text, "budget": AUTO if trace.auto else str(trace.budget), "hit": chosen or ""}
    params |= {"only": str(trace.only)} if trace.only else {}
    params |= {"mode": trace.mode} if trace.mode != BOTH and not trace.query_image else {}
    if trace.refinement:
        params |= {"steps": str(len(trace.refinement.refined.losses) - 1)}
        second = trace.refinement.complement
        params |= {"complement": second} if second != BY_WORDS else {}
    params |= {"picture": "1"} if trace.query_image else {}
    params |= more or {}
    copied = f" {json_attribute('trace', record)}" if record is not None else ""
    return (
        f'<div class="link" {json_attribute("link", params)}{copied}>'
        f'<button type="button" class="quiet" data-copy="link">{ICON}<span>Copy link</span></button>'
        '<span class="copied" role="status"></span></div>'
    )


def trace_json(trace: Trace, pages: Mapping[str, StoredPage], found: Explanation | None) -> dict[str, Any]:
    """The trace as JSON types; `found` explains the hit of its alignment."""
    record: dict[str, Any] = {"schema": SCHEMA, **trace.as_json()}
    for hit in record["hits"]:
        page = pages.get(hit["page_id"])
        if page:
            hit |= {"source": page.source, "page": page.number, "title": page.title}
            hit |= as_json(page.source, page.number)
            hit["language"] = page.language
    if found is not None:
        record["explanation"] = explanation_json(found, trace.by_full_vectors)
    return record


def strongest(found: Explanation) -> NDArray[np.int64]:
    """(at most WORDS,) int64: the words with the largest parts, the largest first."""
    return np.argsort(-found.total, kind="stable")[:WORDS]


def explanation_json(found: Explanation, full: bool) -> dict[str, Any]:
    """The parts of a score, the largest first.

    full: whether the hit is scored with full vectors, as the parts are.
    """
    total = found.total
    units = {"similarity": "mean cosine of the part and the query; no part of the score"}
    unit = units.get(found.kind, "what the score loses without the part; these do not add up to the score")
    if found.adds_up:
        of = "" if full else " that the full vectors have"
        unit = f"part of the score; all words and marks together give the score{of}"
    order = strongest(found)
    return {
        "unit": unit,
        "words": [
            {
                "text": found.words[i].text,
                "kind": found.words[i].kind,
                "box": [round(edge, 4) for edge in found.words[i].box],
                "part": round(float(total[i]), 5),
                "confidence": round(found.words[i].confidence, 3),
            }
            for i in order
        ],
        "rest": round(float(total.sum() - total[order].sum()), 5),
    }
