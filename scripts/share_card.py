"""Make assets/share-card.jpg from the landing's end: `python -m scripts.share_card`. Starts the app."""

from __future__ import annotations

import io

from PIL import Image
from playwright.sync_api import sync_playwright

from benchmarks._browser import launch
from metaembed_demo.app.server.share_card import SIZE
from metaembed_demo.core.config import PATHS

from .screenshots import landing, served, visit

MOST = 200_000  # bytes; some sites take no more
VIEW = 1.25  # pixels of the page for one of the card, so that a whole search is in it


def main() -> None:
    with served() as address, sync_playwright() as playwright:
        browser = launch(playwright)
        page = visit(browser, f"{address}/", (round(VIEW * SIZE[0]), round(VIEW * SIZE[1])))
        landing(page)
        page.evaluate("document.activeElement.blur(); document.querySelector('#your-turn').remove()")
        page.wait_for_timeout(1500)
        taken = Image.open(io.BytesIO(page.screenshot()))
        browser.close()
    card = taken.convert("RGB").resize(SIZE, Image.Resampling.LANCZOS)
    for quality in range(90, 30, -5):
        data = io.BytesIO()
        card.save(data, "JPEG", quality=quality, optimize=True, progressive=True)
        if len(data.getvalue()) < MOST:
            break
    PATHS.share_card.write_bytes(data.getvalue())
    print(f"{PATHS.share_card.name}: {len(data.getvalue()):,} bytes at quality {quality}")


if __name__ == "__main__":
    main()
