"""Meaning, words or both, and query refinement, in a real browser on the sample corpus."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.support.browsing import Opener, ask

QUERY = "how is the watter tank cleaned"


def shown(page: Page) -> list[str]:
    return page.eval_on_selector_all(".hit:not(.ghosts .hit)", "hits => hits.map((hit) => hit.dataset.page)")


@pytest.mark.parametrize("width", [1280, 390])
def test_the_mode_and_auto_are_chosen_by_keys_and_kept_in_the_link(visit: Opener, width: int) -> None:
    page = visit(width=width)
    ask(page, QUERY)
    expect(page.locator(".searched")).to_contain_text("Also searched: water")
    expect(page.locator(".hit .share").first).to_have_text(re.compile(r"words \d+%"))
    both = shown(page)
    page.get_by_role("radio", name="Both").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".hit .share").first).to_contain_text("BM25")
    expect(page.get_by_role("radio", name="Words")).to_be_focused()
    expect(page.get_by_role("group", name="Rank pages by")).to_be_visible()
    page.wait_for_function("location.search.includes('mode=words')")
    assert shown(page) != both
    order = shown(page)
    page.locator("[role=slider]").press("Home")
    expect(page.locator("#dial-title b").first).to_have_text("1×1")
    assert shown(page) == order
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.reload()
    expect(page.get_by_role("radio", name="Words")).to_be_checked()
    expect(page.locator(".hit .share").first).to_contain_text("BM25")
    page.get_by_role("radio", name="Both").check()
    expect(page.locator(".hit .share").first).to_contain_text("words")
    page.locator(".auto-stop").press("Enter")
    expect(page.locator("#dial-title")).to_contain_text("this query needed")
    expect(page.locator(".auto-stop")).to_be_focused()
    expect(page.locator(".promise")).to_contain_text("known-item queries of these pages")
    page.wait_for_function("location.search.includes('budget=auto')")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("[role=slider]").press("End")
    expect(page.locator("#dial-title b").first).to_have_text("16×64")
    expect(page.locator(".auto-stop")).to_have_attribute("aria-pressed", "false")


def test_met_words_are_marked_beside_the_tokens_and_hidden_with_them(visit: Opener) -> None:
    page = visit()
    ask(page, QUERY)
    marks = page.locator("#page .picture .met path")
    page.wait_for_selector("#page .picture .overlay rect", state="attached")
    expect(page.locator(".mark-keys .key-met")).to_be_visible()
    path = marks.get_attribute("d")
    page.locator("[role=slider]").press("ArrowLeft")
    expect(page.locator("#dial-title b").first).to_have_text("8×16")
    assert marks.get_attribute("d") == path
    page.get_by_label("Highlight where this score comes from").uncheck()
    expect(marks).to_be_hidden()


def test_refinement_draws_its_path_and_stays_open(visit: Opener) -> None:
    page = visit()
    ask(page, QUERY)
    page.locator(".refine summary").first.click()
    page.get_by_role("radio", name="25").check()
    chart = page.locator(".chart-refinement")
    expect(chart).to_be_visible()
    page.wait_for_function("document.querySelectorAll('.chart-refinement .scatterlayer .trace').length >= 10")
    expect(page.locator(".refine [value='25']")).to_be_focused()
    chart.get_by_text("What each query token moved towards").click()
    expect(chart.locator(".as-table").nth(1).locator("tbody tr")).to_have_count(16)
    page.locator("[role=slider]").press("Home")
    expect(chart.locator(".as-table").nth(1).locator("tbody tr")).to_have_count(1)
    expect(chart).to_be_visible()


def test_words_nowhere_offer_both_and_the_control_follows(visit: Opener) -> None:
    page = visit()
    page.get_by_role("radio", name="Words").check()
    page.fill("#query textarea, #query input", 'xylophones "quantum zeppelin"')
    page.press("#query textarea, #query input", "Enter")
    expect(page.locator(".searched")).to_have_text("No page holds the phrase “quantum zeppelin”.")
    page.get_by_role("button", name="Search by meaning and words").click()
    expect(page.locator(".hit")).to_have_count(10)
    expect(page.get_by_role("radio", name="Both")).to_be_checked()


def test_pages_are_chosen_by_keys_and_chips_take_parts_away(visit: Opener) -> None:
    page = visit(width=390)
    ask(page, QUERY)
    only = page.locator(".only-how summary")
    only.press("Enter")
    page.get_by_label(re.compile(r"PNG \(")).press("Space")
    page.keyboard.press("Escape")
    expect(only).to_be_focused()
    only.press("Enter")
    expect(page.get_by_label(re.compile(r"PNG \("))).to_be_checked()  # closing loses no choice
    page.get_by_role("spinbutton", name="from").fill("1")
    page.get_by_role("spinbutton", name="from").press("Enter")
    chips = page.locator(".only-chip")
    expect(chips).to_have_text([re.compile("PNG"), re.compile("from page 1")])
    page.wait_for_function("location.search.includes('only=type%3Apng')")
    expect(page.locator("#results .file").first).to_contain_text(".png")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_role("button", name="Remove PNG").press("Enter")
    expect(chips).to_have_count(1)
    expect(page.get_by_role("button", name="Remove from page 1")).to_be_focused()
