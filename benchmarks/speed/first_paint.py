"""The browser's own figures for a first load: `python -m benchmarks.speed.first_paint` writes the JSON.

Each load is that of a new visitor, nothing cached, at each width in turn: first and largest contentful paint,
the sum of layout shifts (CLS) until the page has been quiet for two seconds, bytes on the wire and requests.
Run it alone: two cores are few.
"""

from __future__ import annotations

import argparse
import json
import platform
from typing import Any

import numpy as np
from playwright.sync_api import Browser, sync_playwright

from benchmarks import RESULTS
from benchmarks._browser import WAIT_MS, launch
from scripts.screenshots import served

OUT = RESULTS / "first_paint.json"
SIZES = ((1280, 800), (390, 844), (1920, 1080))
QUIET_MS = 2000
WATCH = """
window.told = { shifts: 0, largest: 0 };
new PerformanceObserver((list) => list.getEntries().forEach((each) => {
  if (!each.hadRecentInput) told.shifts += each.value;
})).observe({ type: 'layout-shift', buffered: true });
new PerformanceObserver((list) => list.getEntries().forEach((each) => {
  told.largest = each.startTime;
})).observe({ type: 'largest-contentful-paint', buffered: true });
"""
FOUND = """() => ({
  first_paint_ms: performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0,
  largest_paint_ms: told.largest, cls: told.shifts, dial_ms: told.dial,
})"""
NAMES = ("first_paint_ms", "largest_paint_ms", "dial_ms", "cls", "bytes", "requests")


def load(browser: Browser, address: str, width: int, height: int) -> dict[str, float]:
    """One load by a new visitor; `dial_ms`: until the server's first answer is drawn."""
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    page.add_init_script(WATCH)
    cdp, taken = context.new_cdp_session(page), {"bytes": 0, "requests": 0}

    def finished(event: dict[str, Any]) -> None:
        taken["bytes"] += event["encodedDataLength"]
        taken["requests"] += 1

    cdp.send("Network.enable")
    cdp.on("Network.loadingFinished", finished)
    page.goto(address)
    page.wait_for_selector("#dial [role=slider]")
    page.evaluate("told.dial = performance.now()")
    page.wait_for_timeout(QUIET_MS)
    found = page.evaluate(FOUND)
    context.close()
    return {**found, **taken}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loads", type=int, default=7, help="of each width")
    options = parser.parse_args()
    found: dict[int, list[dict[str, float]]] = {width: [] for width, _ in SIZES}
    with served() as address, sync_playwright() as playwright:
        browser = launch(playwright)
        for _ in range(options.loads):
            for width, height in SIZES:
                found[width].append(load(browser, f"{address}/?still", width, height))
        browser.close()
    told = {
        str(width): {name: round(float(np.median([row[name] for row in rows])), 3) for name in NAMES}
        for width, rows in found.items()
    }
    OUT.write_text(
        json.dumps({"loads": options.loads, "machine": platform.machine(), "median": told}, indent=1)
    )
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
