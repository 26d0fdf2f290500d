"""Take the pictures of docs/screenshots: `python -m scripts.screenshots`. Starts the app on the sample
corpus.

Every view is taken at 1280, 1920 and 390 pixels, light and dark; names of views in the command line
limit it to those.
"""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, FloatRect, Page, sync_playwright

from benchmarks._browser import WAIT_MS, launch
from metaembed_demo.core.config import ROOT

OUT = ROOT / "docs" / "screenshots"
QUERY, OTHER_QUERY = "how do I descale it?", "when does the blue lamp come on?"
PICTURED = "a cat looking at me"
SIZES = ((1280, 800), (1920, 1080), (390, 844))
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
COLOURS = 128  # of a picture
MARGIN = 16  # px above and below a part
TALL = 1160  # px of a window whose evidence is shown
NARROW = 900  # px; below it the page lies under its hits, as web/search.css has it
FIELD = "#query textarea, #query input"
Scheme = Literal["light", "dark"]
View = Callable[[Page], str | None]  # brings it up; tells which element to take, or the viewport


@contextmanager
def served() -> Iterator[str]:
    """The app on a free port; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    surroundings = {**os.environ, "METAEMBED_HOST": "127.0.0.1", "METAEMBED_PORT": str(port)}
    app = subprocess.Popen(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env=surroundings,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    assert app.stdout is not None
    try:
        for line in app.stdout:
            print(line, end="")
            if line.startswith("Ready in"):
                break
        else:
            raise SystemExit("The app ended before it was ready.")
        yield f"http://127.0.0.1:{port}"
    finally:
        app.terminate()
        app.wait(30)


def visit(
    browser: Browser, address: str, size: tuple[int, int], scheme: Scheme = "light", scale: float = 1
) -> Page:
    """A new visitor's page, without the landing unless `address` ends in a slash."""
    touch = size[0] < NARROW
    page = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,
        device_scale_factor=scale,
        has_touch=touch,
        is_mobile=touch,
    ).new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(address if address.endswith("/") else f"{address}/?still")
    page.wait_for_selector("#dial [role=slider]")
    return page


def ask(page: Page, query: str = QUERY) -> None:
    page.evaluate("document.querySelectorAll('.hit').forEach((hit) => { hit.dataset.old = '1'; })")
    page.fill(FIELD, query)
    page.press(FIELD, "Enter")
    page.wait_for_selector(".hit:not([data-old])")
    page.wait_for_selector("#marks [data-map]", state="attached")
    page.evaluate("document.activeElement.blur()")


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def evidence(page: Page, name: str) -> str | None:
    """A tab of the evidence: beside its page in a taller window, or alone where it lies under it."""
    tab(page, name)
    if page.viewport_size and page.viewport_size["width"] >= NARROW:
        page.set_viewport_size({"width": page.viewport_size["width"], "height": TALL})
        return None
    return "#evidence"


def start(page: Page) -> None:
    page.wait_for_selector("#results .state")


def landing(page: Page) -> None:
    page.wait_for_selector("#your-turn")


def search(page: Page) -> None:
    ask(page)


def as_grid(page: Page) -> None:
    page.click("[data-as=grid]")


def opened(page: Page) -> None:
    page.click("[data-as=list]")
    page.locator(".hit").nth(1).click()
    page.wait_for_selector(".hit[aria-current] .hit-rank:text-is('2')")
    page.wait_for_timeout(1500)  # it scrolls there on a phone
    page.locator(".hit").first.click()
    page.wait_for_selector(".hit[aria-current] .hit-rank:text-is('1')")
    page.wait_for_timeout(1500)


def full_size(page: Page) -> None:
    page.click(".page .picture")
    page.wait_for_selector(".lightbox[open] img")


def settings(page: Page) -> None:
    page.keyboard.press("Escape")
    page.evaluate("scrollTo(0, 0)")
    page.click(".more")


def refinement(page: Page) -> None:
    page.keyboard.press("Escape")
    page.click(".refine summary")


def pages_only(page: Page) -> None:
    page.keyboard.press("Escape")
    page.click(".only-how summary")


def alignment(page: Page) -> str | None:
    """The first row's maximum, by keyboard: what both of its tokens read."""
    page.keyboard.press("Escape")
    part = evidence(page, "Alignment")
    page.locator(".cells").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    return part


def page_map(page: Page) -> str | None:
    part = evidence(page, "Page map")
    page.click("#pagemap [data-action=test]")
    page.wait_for_selector(".chart-deletion")
    return part


def ranks(page: Page) -> str | None:
    part = evidence(page, "Ranks")
    page.click("#ranks [data-action=pin]")
    page.wait_for_selector("#ranks [data-action=unpin]")
    ask(page, OTHER_QUERY)
    page.wait_for_selector("#ranks h3:has-text('this query share')")
    return part


def timing(page: Page) -> str | None:
    return evidence(page, "Timing")


def photograph(page: Page) -> None:
    """A picture, which is marked cell by cell."""
    tab(page, "Alignment")
    ask(page, PICTURED)
    page.locator(".hit").first.click()
    page.wait_for_timeout(1500)  # it scrolls there on a phone


def corpus_map(page: Page) -> None:
    tab(page, "Map")
    page.wait_for_selector(".map-frame[data-drawn]")
    page.wait_for_timeout(8000)  # thumbnails


def budget(page: Page) -> str:
    tab(page, "Budget")
    page.click("#ways [data-action=known]")
    page.wait_for_selector("#worth .advice")
    page.wait_for_selector("#ways [data-action=known]:not(:disabled)")
    page.wait_for_selector("#sheet [data-decision]")
    return "main"


def tokens(page: Page) -> str:
    tab(page, "Tokens")
    page.wait_for_selector("#token-statistics .chart-specialisation")
    return "main"


def documents(page: Page) -> None:
    tab(page, "Documents")
    with tempfile.TemporaryDirectory() as folder:
        page.set_input_files("#drop input[type=file]", four_files(Path(folder)))
        page.wait_for_selector(".outcome")


def four_files(folder: Path) -> list[str]:
    """A picture that is fine and three files that are not, each for its own reason."""
    samples = ROOT / "sample_corpus"
    good, pdf = (next(iter(sorted(samples.rglob(f"*.{kind}")))) for kind in ("jpg", "pdf"))
    Image.open(good).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "mirrored.jpg")
    (folder / "minutes.pdf").write_bytes(pdf.read_bytes()[: pdf.stat().st_size // 2])
    (folder / "photo.jpg").write_bytes(b"")
    (folder / "notes.png").write_text("These are notes, not a picture.", encoding="utf-8")
    return [str(file) for file in sorted(folder.iterdir())]


# One after the other on a visitor's page, but for the landing.
VIEWS: dict[str, View] = {
    "start": start,
    "search": search,
    "grid": as_grid,
    "page": opened,
    "full-size": full_size,
    "settings": settings,
    "refine": refinement,
    "only": pages_only,
    "alignment": alignment,
    "page-map": page_map,
    "ranks": ranks,
    "timing": timing,
    "photograph": photograph,
    "map": corpus_map,
    "budget": budget,
    "tokens": tokens,
    "documents": documents,
}


def around(page: Page, part: str) -> FloatRect:
    """The rows of the whole page that `part` takes, at the page's width."""
    box = page.locator(part).first.bounding_box()
    assert box is not None
    assert page.viewport_size is not None
    top = max(0, box["y"] - MARGIN)
    height = box["y"] + box["height"] + MARGIN - top
    return {"x": 0, "y": top, "width": page.viewport_size["width"], "height": height}


def shoot(page: Page, part: str | None, file: Path) -> None:
    """Save the viewport or the whole of `part`, in a palette as WebP: a fifth of the bytes of a PNG."""
    if part:
        for plot in page.locator("[data-plot]:visible").all():  # drawn when they come into view
            plot.evaluate("plot => plot.scrollIntoView({ block: 'center' })")
            plot.locator(".main-svg").first.wait_for()
        page.evaluate("scrollTo(0, 0)")
    page.mouse.move(0, 0)
    page.wait_for_timeout(700)
    taken = page.screenshot(clip=around(page, part), full_page=True) if part else page.screenshot()
    picture = Image.open(io.BytesIO(taken)).convert("RGB")
    # The median cut is truer, but drops shades that few pixels of a small picture have.
    method = Image.Quantize.MAXCOVERAGE if picture.width < NARROW else Image.Quantize.MEDIANCUT
    palette = picture.quantize(COLOURS, method)
    drawn = picture.quantize(palette=palette, dither=Image.Dither.NONE).convert("RGB")
    drawn.save(file, lossless=True)


def take(browser: Browser, address: str, size: tuple[int, int], scheme: Scheme, wanted: list[str]) -> None:
    def file(name: str) -> Path:
        return OUT / f"{name}-{scheme}-{size[0]}.webp"

    if not wanted or "landing" in wanted:
        page = visit(browser, f"{address}/", size, scheme)
        landing(page)
        shoot(page, None, file("landing"))
        page.context.close()
    page = visit(browser, address, size, scheme)
    for name, view in VIEWS.items():
        page.set_viewport_size({"width": size[0], "height": size[1]})
        part = view(page)
        if not wanted or name in wanted:
            shoot(page, part, file(name))
    page.context.close()
    print(f"{size[0]} pixels, {scheme}", flush=True)


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    with served() as address, sync_playwright() as playwright:
        browser = launch(playwright)
        for size in SIZES:
            for scheme in SCHEMES:
                take(browser, address, size, scheme, sys.argv[1:])
        browser.close()
    files = list(OUT.glob("*.webp"))
    size_mb = sum(file.stat().st_size for file in files) / 1e6
    print(f"{len(files)} pictures in {OUT.relative_to(ROOT)}, {size_mb:.1f} MB")


if __name__ == "__main__":
    main()
