"""Headless Chromium for measurements and for the pictures of the documentation."""

from __future__ import annotations

import shutil
from pathlib import Path

from playwright.sync_api import Browser, Playwright, sync_playwright

WAIT_MS = 180_000  # for plotly's three megabytes on a busy machine
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]


def launch(playwright: Playwright) -> Browser:
    """The system's Chromium, or playwright's own where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for path in map(shutil.which, names) if path), None)
    return playwright.chromium.launch(executable_path=found, args=FLAGS)


def screenshot(html: str, target: Path) -> None:
    """Draw a plotly figure's `html` into the PNG `target`, 1000 x 600 at two pixels a point."""
    with sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_page(viewport={"width": 1000, "height": 600}, device_scale_factor=2)
        page.set_default_timeout(WAIT_MS)
        page.set_content(html)
        page.wait_for_selector(".main-svg")
        page.locator(".plotly-graph-div").screenshot(path=target)
        browser.close()
