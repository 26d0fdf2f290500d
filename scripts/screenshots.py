"""Take the pictures of docs/screenshots: `python -m scripts.screenshots`. Starts the app on the sample
corpus.

Those of single tabs and rooms are taken in both modes, at 1280 and at 390 pixels.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks._browser import launch
from metaembed_demo.core.config import ROOT

OUT = ROOT / "docs" / "screenshots"
QUERY = "how do I descale it?"
WAIT_MS = 120_000


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


def visit(browser: Browser, address: str, width: int, height: int, scheme: str, scale: float = 2) -> Page:
    page = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, device_scale_factor=scale
    ).new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(f"{address}/?still")  # without the landing
    page.wait_for_selector("#dial [role=slider]")
    return page


def ask(page: Page, stop: int) -> None:
    """Ask the query and move the dial to `stop`, 0 to 4."""
    page.fill("#query textarea, #query input", QUERY)
    page.press("#query textarea, #query input", "Enter")
    page.wait_for_selector(".hit")
    if stop != 4:
        page.locator(".stop").nth(stop).click()
        page.wait_for_function(f"document.querySelectorAll('.legend .off').length === {4 - stop}")
    page.evaluate("document.activeElement.blur()")
    page.wait_for_timeout(500)


def broken_files(folder: Path) -> list[str]:
    """A picture that is fine and three files that are not, each for its own reason."""
    good = next(iter(sorted((ROOT / "sample_corpus").rglob("*.jpg"))), None)
    pdf = next(iter(sorted((ROOT / "sample_corpus").rglob("*.pdf"))))
    (folder / "minutes.pdf").write_bytes(pdf.read_bytes()[: pdf.stat().st_size // 2])
    (folder / "photo.jpg").write_bytes(b"")
    (folder / "notes.png").write_text("These are notes, not a picture.", encoding="utf-8")
    found = [folder / name for name in ("minutes.pdf", "photo.jpg", "notes.png")]
    return [str(path) for path in ([good] if good else []) + found]


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()
    page.wait_for_timeout(300)


def cell(page: Page) -> None:
    """The first row's maximum, by keyboard: what both of its tokens read."""
    page.locator(".cells").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")


def tested(page: Page) -> None:
    page.click("#pagemap [data-action=test]")
    page.wait_for_selector(".chart-deletion")


def two_queries(page: Page) -> None:
    page.click("#ranks [data-action=pin]")
    page.wait_for_selector("#ranks [data-action=unpin]")
    page.fill("#query textarea, #query input", "when does the blue lamp come on?")
    page.press("#query textarea, #query input", "Enter")
    page.wait_for_selector("#ranks h3:has-text('this query share')")


def measured(page: Page) -> None:
    page.click("#worth [data-action=known]")
    page.wait_for_selector("#worth .advice")


def read(page: Page) -> None:
    page.click("#token-statistics [data-action=read]")
    page.wait_for_selector("#token-statistics .chart-specialisation")


TABS: dict[str, Callable[[Page], None]] = {
    "Alignment": cell,
    "Page map": tested,
    "Ranks": two_queries,
    "Timing": lambda page: None,
}
ROOMS: dict[str, Callable[[Page], None]] = {"Budget": measured, "Tokens": read}


def take_tabs(browser: Browser, address: str, width: int, scheme: str) -> None:
    """Each evidence tab beside its page, then the rooms; whole pages at one pixel a pixel."""
    page = visit(browser, address, width, 900, scheme, scale=1)
    ask(page, 4)
    for name, make in TABS.items():
        tab(page, name)
        make(page)
        shoot(page, name, width, scheme)
    for name, make in ROOMS.items():
        tab(page, name)
        make(page)
        shoot(page, name, width, scheme)
    page.close()


def shoot(page: Page, name: str, width: int, scheme: str) -> None:
    for plot in page.locator(".plot:visible").all():  # they are drawn when they come into view
        plot.scroll_into_view_if_needed()
        plot.locator(".main-svg").first.wait_for()
    page.wait_for_timeout(500)
    file = OUT / f"{name.lower().replace(' ', '-')}-{scheme}-{width}.png"
    part = page.locator("#stage" if name in TABS and width > 900 else "#evidence" if name in TABS else "main")
    part.first.screenshot(path=file)


def take(browser: Browser, address: str) -> None:
    page = visit(browser, address, 1280, 960, "light")
    page.screenshot(path=OUT / "start-light-1280.png")
    ask(page, 4)
    page.screenshot(path=OUT / "search-light-1280.png")
    page.close()

    page = visit(browser, address, 1280, 960, "dark")
    ask(page, 2)
    page.screenshot(path=OUT / "search-dark-1280.png")
    page.close()

    page = visit(browser, address, 390, 844, "light")
    ask(page, 4)
    page.screenshot(path=OUT / "search-390.png")
    page.locator("#page").scroll_into_view_if_needed()
    page.evaluate("document.querySelector('#page').scrollIntoView()")
    page.wait_for_timeout(300)
    page.screenshot(path=OUT / "page-390.png")
    page.close()

    page = visit(browser, address, 1280, 960, "light")
    page.get_by_role("tab", name="Documents", exact=True).click()
    with tempfile.TemporaryDirectory() as folder:
        page.set_input_files("#drop input[type=file]", broken_files(Path(folder)))
        page.wait_for_selector(".outcome")
    page.wait_for_timeout(500)
    page.screenshot(path=OUT / "documents-1280.png")
    page.close()


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    with served() as address, sync_playwright() as playwright:
        browser = launch(playwright)
        take(browser, address)
        for width in (1280, 390):
            for scheme in ("light", "dark"):
                take_tabs(browser, address, width, scheme)
        browser.close()
    print(f"Wrote {len(list(OUT.glob('*.png')))} pictures to {OUT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
