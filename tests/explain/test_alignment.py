"""The alignment matrix: its HTML and script, without the app."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from metaembed_demo.app import theme
from metaembed_demo.app.views import alignment_chart, html, page_map
from metaembed_demo.core.budgets import STOPS
from metaembed_demo.core.types import Word
from metaembed_demo.index.maxsim import align

# Two query tokens of four are in use, and four candidate tokens of eight. Token i of the query is like token
# i of the page alone; each page token reads one word, each query token one of the query's.
FULL = np.eye(4, 8, dtype=np.float32)
TEXTS = ["zero", "one", "<b>two</b>", "three", "four", "five", "six", "seven"]
WORDS = [Word(text, (0.1 * i, 0.1, 0.1 * i + 0.05, 0.2)) for i, text in enumerate(TEXTS)]


@pytest.fixture
def matrix(browser: Browser) -> Iterator[Page]:
    found = align("page", FULL[:2], np.eye(4, 8, dtype=np.float32))
    reading = page_map.reading(WORDS, np.eye(8, dtype=np.float32))
    asked = html.json_attribute(
        "map", {"map": [], "query": list("abcd"), "read": [[i, 1000] for i in range(4)]}
    )
    page = browser.new_context(viewport={"width": 600, "height": 700}).new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.route("**/reading.json", lambda route: route.fulfill(body=reading, content_type="application/json"))
    page.route("**/matrix", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
    page.goto("http://127.0.0.1/matrix")  # a page with an address, for the script to fetch beside it
    page.set_content(
        f"<style>{theme.css()}</style><script>{theme.script('shared.js')}</script>"
        f"<div id=page></div><div id=marks><div {asked} data-reading='reading.json'></div></div>"
        f"<div id=alignment>{alignment_chart.alignment(found, FULL, STOPS[1])}</div>"
    )
    page.evaluate(
        """(script) => {
            window.told = [];
            document.addEventListener("metaembed:read", (event) => told.push(event.detail));
            new Function("element", "trigger", "watch", script)(
                document.getElementById("alignment"), () => {}, (_, call) => { window.redrawn = call; });
        }""",
        theme.script("alignment_chart.js"),
    )
    yield page
    page.context.close()
    assert not wrong


def cell(page: Page, row: int, column: int) -> tuple[float, float]:
    box = page.locator(".cells").bounding_box()
    assert box
    return box["x"] + box["width"] * (column + 0.5) / 8, box["y"] + box["height"] * (row + 0.5) / 4


def last(page: Page) -> object:
    return page.evaluate("told.at(-1)")


def test_pointing_tells_both_tokens_and_leaving_ends_it(matrix: Page) -> None:
    matrix.mouse.move(*cell(matrix, 1, 1))
    expect(matrix.locator(".reading")).to_contain_text(
        "Query token 2 takes its maximum, 1.00 (50% of the score)"
    )
    expect(matrix.locator(".both")).to_contain_text("Query token 2 reads b 100%")
    expect(matrix.locator(".both")).to_contain_text("Candidate token 2 reads one 100%")
    assert last(matrix) == {"column": 1, "group": 2}
    matrix.mouse.move(2, 2)
    assert last(matrix) is None
    expect(matrix.locator(".cursor")).to_be_hidden()


def test_a_click_holds_the_cell_until_the_next(matrix: Page) -> None:
    matrix.mouse.click(*cell(matrix, 0, 3))
    matrix.mouse.move(*cell(matrix, 1, 1))
    expect(matrix.locator(".both")).to_contain_text("Candidate token 4 reads three")
    matrix.mouse.click(*cell(matrix, 1, 0))
    matrix.mouse.move(*cell(matrix, 1, 1))
    expect(matrix.locator(".both")).to_contain_text("Candidate token 2 reads one")


def test_keys_move_stop_at_the_edges_and_escape(matrix: Page) -> None:
    matrix.locator(".cells").focus()
    matrix.keyboard.press("ArrowDown")  # first to the first row's maximum
    expect(matrix.locator(".reading")).to_contain_text("Query token 1 takes its maximum")
    for _ in range(12):
        matrix.keyboard.press("ArrowRight")
    matrix.keyboard.press("ArrowUp")
    expect(matrix.locator(".reading")).to_contain_text("candidate token 8")
    expect(matrix.locator(".reading")).to_contain_text("outside this budget")
    matrix.keyboard.press("Escape")
    assert last(matrix) is None


def test_words_of_documents_stay_text(matrix: Page) -> None:
    matrix.mouse.move(*cell(matrix, 0, 2))
    expect(matrix.locator(".both")).to_contain_text("Candidate token 3 reads <b>two</b> 100%")
    assert matrix.locator(".both b b").count() == 0


def test_another_hit_lets_go_of_the_cell(matrix: Page) -> None:
    matrix.mouse.click(*cell(matrix, 0, 0))
    matrix.evaluate("redrawn()")
    assert last(matrix) is None
