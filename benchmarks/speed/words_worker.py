"""Answers words.py: searches and whole requests, timed, in the package that PYTHONPATH names.

Knows only what the code before words has, too. Reads lines of JSON {"kind", "mode", "steps", "texts"} and
writes one line of JSON each, a list of [milliseconds, of which encoding, of the CPU]. kind "search": a query
to its Trace; "request": as the page's handler does it, to the finished HTML, by a visitor of its own.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from metaembed_demo.app.visitors import visitor
from metaembed_demo.app.visitors.session import Sessions
from metaembed_demo.app.visitors.visitor import Visit
from metaembed_demo.collection import search as searching
from metaembed_demo.collection.collection import Collection
from metaembed_demo.core.budgets import STOPS
from metaembed_demo.core.types import Query, Trace
from metaembed_demo.encoders.mini.encoder import Mini
from metaembed_demo.evaluation.sample_corpus import open_samples
from metaembed_demo.explain.explainer import Explainer

Times = tuple[float, float, float]
Tools = vars(visitor)["Tools"]  # its module is another in the code before words


def main() -> None:
    told = sys.stdout
    sys.stdout = sys.stderr
    encoder = Mini.load()
    folder = sys.argv[1]
    collection = (
        open_samples(encoder).collection
        if folder == "samples"
        else Collection.load(Path(folder), encoder.fingerprint)
    )
    tools = Tools(encoder, explainer=Explainer(encoder))
    for line in sys.stdin:
        task = json.loads(line)
        if task["kind"] == "request":
            found = [request(collection, tools, text, task["mode"]) for text in task["texts"]]
        else:
            found = [search(collection, encoder, text, way(task)) for text in task["texts"]]
        print(json.dumps(found), file=told, flush=True)


def way(task: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a search; none in code that has no modes."""
    if not task["mode"]:
        return {}
    from metaembed_demo.collection.ranker import How

    return {"how": How(mode=task["mode"], steps=task["steps"])}


def search(collection: Collection, encoder: Mini, text: str, how: dict[str, Any]) -> Times:
    began = time.perf_counter(), time.process_time()
    trace = searching.search(collection, encoder, Query(text), STOPS[-1], evidence=True, **how)
    return taken(began, trace)


def request(collection: Collection, tools: Any, text: str, mode: str) -> Times:
    sessions = Sessions(collection)  # one address may have few
    visit = Visit(tools, sessions.get(sessions.open()))
    if mode:
        visit.ranking.take(mode, 0)
    began = time.perf_counter(), time.process_time()
    visit.search(text)
    assert visit.trace
    return taken(began, visit.trace)


def taken(began: tuple[float, float], trace: Trace) -> Times:
    wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
    return wall * 1000, trace.timings["encode"], cpu * 1000


if __name__ == "__main__":
    main()
