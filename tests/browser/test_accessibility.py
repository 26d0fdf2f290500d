"""axe-core finds nothing in any view, light or dark; keys move between tabs, in the matrix, at full size."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.support.browsing import Opener, ask, room

Move = Callable[[Page], object]
VIEWS: dict[str, Move] = {  # in this order, on one page
    "start": lambda page: None,
    "hits": lambda page: ask(page, "how do I descale it?"),
    "Page map": lambda page: page.wait_for_selector("#pagemap section, #pagemap figure"),
    "Ranks": lambda page: page.wait_for_selector("#ranks figure"),
    "Timing": lambda page: page.wait_for_selector("#timing figure"),
    "Alignment": lambda page: page.locator(".cells").focus(),
    "full size": lambda page: page.click(".page .picture"),
    "Map": lambda page: page.wait_for_selector(".map-frame[data-drawn]"),
    "Documents": lambda page: page.wait_for_selector(".listing li"),
    "Budget": lambda page: page.wait_for_selector("#ways .ways"),
    "Tokens": lambda page: page.wait_for_selector("#token-statistics section"),
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_any_view(visit: Opener, scheme: str) -> None:
    page = visit(scheme=scheme)
    found = []
    for name, move in VIEWS.items():
        if page.locator("dialog[open]").count():
            page.keyboard.press("Escape")
        if name[0].isupper():
            room(page, name)
        move(page)
        for fault in Axe().run(page).response["violations"]:
            found.append((name, fault["id"], [node["target"] for node in fault["nodes"][:3]]))
    assert not found


def test_keys_move_between_tabs_and_along_a_row_and_zoom_the_page(visit: Opener) -> None:
    page = visit()
    ask(page, "how do I descale it?")
    page.locator(".cells").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    expect(page.locator(".reading")).to_contain_text("candidate token 64")
    page.keyboard.press("Home")
    expect(page.locator(".reading")).to_contain_text("candidate token 1 ")
    page.keyboard.press("Control+End")
    expect(page.locator(".reading")).to_contain_text("Query token 16")

    tabs = page.locator("#evidence-tabs [role=tablist] [role=tab]:visible")
    tabs.first.focus()
    page.keyboard.press("ArrowRight")
    expect(tabs.nth(1)).to_be_focused()
    expect(tabs.nth(1)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Home")
    expect(tabs.first).to_have_attribute("aria-selected", "true")

    page.click(".page .picture")
    box = page.locator(".lightbox[open] .sheet")
    before = box.bounding_box()
    page.keyboard.press("+")
    expect(page.locator(".lightbox output")).to_have_text("150%")
    after = box.bounding_box()
    assert before
    assert after
    assert after["width"] == pytest.approx(1.5 * before["width"], rel=0.05)
    page.keyboard.press("0")
    expect(page.locator(".lightbox output")).to_have_text("100%")
