"""How long the server takes for what a visitor does: `python -m benchmarks.speed.interactions` writes the
JSON.

One visitor on the sample corpus, without a browser: from the handler's call to its finished HTML. Time in the
encoder (queries, and pages that are looked at again for their explanation) is counted apart, as it would be
on any machine's model. Run it alone: two cores are few.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import RESULTS
from metaembed_demo.app.visitors.links import TABS
from metaembed_demo.app.visitors.session import Sessions
from metaembed_demo.app.visitors.tools import Tools
from metaembed_demo.app.visitors.visitor import Visit
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.budgets import STOPS
from metaembed_demo.core.config import PATHS
from metaembed_demo.encoders.mini.encoder import Mini
from metaembed_demo.evaluation.beir import load_beir
from metaembed_demo.evaluation.sample_corpus import open_samples
from metaembed_demo.explain.explainer import Explainer, PageAttribution

OUT = RESULTS / "interactions.json"
QUERIES = 40
GOAL_MS = 100


class Watched(Mini):
    """Adds up the time spent encoding."""

    spent = 0.0
    _within = False  # something that is timed already

    def _encode(self, *args: Any) -> Any:
        return self._timed(super()._encode, *args)

    def _evidence(self, *args: Any, **more: Any) -> Any:
        return self._timed(super()._evidence, *args, **more)

    def _timed(self, method: Callable[..., Any], *args: Any, **more: Any) -> Any:
        if self._within:
            return method(*args, **more)
        started, self._within = time.perf_counter(), True
        try:
            return method(*args, **more)
        finally:
            self.spent += (time.perf_counter() - started) * 1000
            self._within = False


class Looking(Explainer):
    """Counts looking at a page again, its pictures with it, as encoding."""

    def look(self, stored: StoredPage) -> PageAttribution:
        found: PageAttribution = self.encoder._timed(super().look, stored)  # type: ignore[attr-defined]
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=QUERIES)
    options = parser.parse_args()
    encoder = Watched.load()
    samples = open_samples(encoder)
    texts = [query.text for query in load_beir(PATHS.sample_corpus).queries.values() if query.text]
    times: dict[str, list[tuple[float, float]]] = {}
    for text in texts[:: max(1, len(texts) // options.queries)][: options.queries]:
        sessions = Sessions(samples.collection)
        tools = Tools(encoder, samples.curve, samples.examples, explainer=Looking(encoder))
        walk(Visit(tools, sessions.get(sessions.open())), encoder, text, times)
    found = {name: told(values) for name, values in times.items()}
    machine = {"python": platform.python_version(), "pages": len(samples.collection), "goal_ms": GOAL_MS}
    OUT.write_text(json.dumps({**machine, "ms": found}, indent=1) + "\n")
    for name, row in found.items():
        print(f"{name:<24} p50 {row['p50']:>6} p95 {row['p95']:>6} ms; encoding, p50 {row['encoding_p50']}")


def walk(visit: Visit, encoder: Watched, text: str, times: dict[str, list[tuple[float, float]]]) -> None:
    """One query and everything that can be done with it."""

    def act(name: str, do: Callable[..., Any], *args: Any) -> None:
        encoder.spent, started = 0.0, time.perf_counter()
        do(*args)
        took = (time.perf_counter() - started) * 1000
        times.setdefault(name, []).append((took - encoder.spent, encoder.spent))

    act("search", visit.search, text)
    act("explain the best hit", visit.explain)
    trace = visit.trace
    assert trace
    for stop in STOPS:
        act(f"dial to {stop}", visit.move, stop)
    second, last = trace.hits[1].page_id, trace.hits[-1].page_id
    act("open another hit", visit.choose, second)
    act("explain it", visit.explain)
    act("open it again", visit.choose, second)
    for tab in (*TABS[1:], TABS[0]):
        act(f"the tab {tab}", visit.open_tab, tab)
    act("open a point of ranks", visit.open_at, last, STOPS[1])
    visit.explain()
    visit.open_tab("compare")
    act("compare: another budget", visit.side, "other", "4x8")
    act("compare: keep as A", visit.side, "pin")
    act("the Budget room", visit.budget_tab)
    act("the Tokens room", visit.study.tokens)
    act("the page loaded again", visit.arrive)


def told(values: list[tuple[float, float]]) -> dict[str, float]:
    own, encoding = np.array(values).T
    return {
        "p50": round(float(np.median(own)), 1),
        "p95": round(float(np.percentile(own, 95)), 1),
        "encoding_p50": round(float(np.median(encoding)), 1),
        "encoding_p95": round(float(np.percentile(encoding, 95)), 1),
    }


if __name__ == "__main__":
    main()
