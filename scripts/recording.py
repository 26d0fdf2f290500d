"""Record the landing as docs/landing.gif: `python -m scripts.recording`. Starts the app on the sample corpus.

Chromium tells every frame that it has drawn, with its time; Pillow joins those that differ.
"""

from __future__ import annotations

import base64
import io
import time
from itertools import pairwise
from typing import Any

from PIL import Image
from playwright.sync_api import CDPSession, Page, sync_playwright

from benchmarks._browser import launch
from metaembed_demo.core.config import ROOT
from scripts.screenshots import served

OUT = ROOT / "docs" / "landing.gif"
WIDTH, HEIGHT = 1280, 800
SHOWN = (960, 600)  # pixels of the recording
LENGTH_S, FRAMES_A_SECOND = 15, 8
COLOURS = 96
LIMIT = 2_000_000  # bytes


def frames(page: Page, cdp: CDPSession, address: str) -> list[tuple[float, Image.Image]]:
    """Seconds since the first frame with a page, and what was drawn, for LENGTH_S seconds."""
    found: list[tuple[float, Image.Image]] = []

    def take(event: dict[str, Any]) -> None:
        cdp.send("Page.screencastFrameAck", {"sessionId": event["sessionId"]})
        drawn = Image.open(io.BytesIO(base64.b64decode(event["data"]))).convert("RGB")
        found.append((event["metadata"]["timestamp"], drawn.resize(SHOWN, Image.Resampling.LANCZOS)))

    cdp.on("Page.screencastFrame", take)
    page.goto(address)
    page.wait_for_selector("#dial [role=slider]")
    cdp.send("Page.startScreencast", {"format": "png", "everyNthFrame": 1})
    until = time.monotonic() + LENGTH_S
    while time.monotonic() < until:
        page.wait_for_timeout(50)
    cdp.send("Page.stopScreencast")
    first = found[0][0]
    return [(at - first, drawn) for at, drawn in found]


def side_by_side(pictures: list[Image.Image]) -> Image.Image:
    """Frames in a row, whose palette has the colours of all of them."""
    sheet = Image.new("RGB", (SHOWN[0] * len(pictures), SHOWN[1]))
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (SHOWN[0] * i, 0))
    return sheet


def save(found: list[tuple[float, Image.Image]]) -> int:
    """Write the recording; returns its bytes. Frames closer than a step are left out, the last one stays."""
    step = 1 / FRAMES_A_SECOND
    kept = [found[0]]
    for at, drawn in found[1:]:
        if at - kept[-1][0] >= step and drawn.tobytes() != kept[-1][1].tobytes():
            kept.append((at, drawn))
    times = [at for at, _ in kept] + [max(LENGTH_S, kept[-1][0] + 2)]
    shown = [round((after - at) * 1000) for at, after in pairwise(times)]
    palette = side_by_side([kept[i][1] for i in (0, len(kept) // 2, -1)]).quantize(COLOURS)
    pictures = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for _, picture in kept]
    pictures[0].save(OUT, save_all=True, append_images=pictures[1:], duration=shown, loop=0, optimize=True)
    return OUT.stat().st_size


def main() -> None:
    with served() as address, sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.set_default_timeout(120_000)
        found = frames(page, page.context.new_cdp_session(page), address)
        browser.close()
    size = save(found)
    print(f"Wrote {len(found)} frames to {OUT.relative_to(ROOT)}, {size:,} bytes")
    if size > LIMIT:
        raise SystemExit(f"That is more than {LIMIT:,} bytes: take fewer colours or frames.")


if __name__ == "__main__":
    main()
