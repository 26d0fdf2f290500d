"""What browser tests share: how long to wait, and a visitor's usual moves."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page
from reportlab.lib.pagesizes import A5
from reportlab.pdfgen.canvas import Canvas

START_S = 600  # the first start indexes the sample corpus; later ones read the kept index
ANSWER_MS = 60_000
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

Opener = Callable[..., Page]


def still(url: str) -> str:
    """`url` without the landing that a first visit would see."""
    return f"{url}{'&' if '?' in url else '?'}still"


def ask(page: Page, query: str) -> None:
    """Type a query and press Enter; wait for its answer."""
    page.evaluate("document.querySelectorAll('.hit').forEach((hit) => { hit.dataset.old = '1'; })")
    page.fill("#query textarea, #query input", query)
    page.press("#query textarea, #query input", "Enter")
    page.wait_for_selector(".hit:not([data-old])")


def room(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def settings(page: Page) -> None:
    """Open storage and the free sliders. They stay open until a click elsewhere or Escape."""
    if page.get_attribute(".more", "aria-expanded") == "false":
        page.click(".more")


def make_pdf(path: Path, pages: list[str]) -> Path:
    """A PDF with one text a page."""
    canvas = Canvas(str(path), pagesize=A5)
    for text in pages:
        for line, words in enumerate(re.findall(r"(?:\S+\s*){1,7}", text)):
            canvas.drawString(40, 540 - 18 * line, words)
        canvas.showPage()
    canvas.save()
    return path
