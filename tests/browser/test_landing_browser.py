"""The landing that plays itself once, the motion of the hits, and the words of a query, in a real browser."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.support.browsing import Opener, ask

# Counts the animations of rows, and notes which properties they change.
COUNT = """(() => {
    window.moves = []; const run = Element.prototype.animate;
    Element.prototype.animate = function (frames, how) {
        if (this.matches('#results li, #results .ghosts'))
            window.moves.push({ names: [...new Set(frames.flatMap(Object.keys))], ms: how.duration });
        return run.call(this, frames, how);
    };
})()"""


def mode(page: Page) -> str | None:
    return page.locator("[name=mode]:checked").get_attribute("value")


def test_the_landing_plays_once_then_hits_glide_and_words_tell_what_answered_them(visit: Opener) -> None:
    page = visit(lands=True)
    page.evaluate(COUNT)
    expect(page.locator("#your-turn")).to_be_visible()
    assert mode(page) == "meaning"
    expect(page.locator("#dial-title b").first).to_have_text("16×64")
    expect(page.locator("#page .judged")).to_be_visible()
    chip = page.locator(".examples button").first
    question = chip.get_attribute("data-query") or ""
    assert page.input_value("#query textarea, #query input") == question
    first, last = (page.locator(f".stop[data-stop='{stop}'] .answer b").inner_text() for stop in (0, 4))
    assert chip.locator("small").inner_text() == f"{first} → {last}"
    expect(page.locator("#tour .tour")).to_be_hidden()
    moves = page.evaluate("window.moves.splice(0)")
    assert moves
    assert {name for move in moves for name in move["names"]} <= {"transform", "opacity", "zIndex"}
    assert all(200 <= move["ms"] <= 300 for move in moves)

    page.locator(".query-words button").first.click()  # an input: the hint ends
    expect(page.locator("#your-turn")).to_have_count(0)
    word = page.locator(".query-words [aria-pressed=true]")
    expect(word).to_have_count(1)
    expect(page.locator(".cells rect.asked").first).to_be_attached()
    expect(page.locator(".query-words [role=status]")).to_contain_text("of this score")
    page.locator(".stop").nth(3).click()
    expect(page.locator("#dial-title b").first).to_have_text("8×16")
    expect(page.locator(".cells rect.asked").first).to_be_attached()  # still pressed at another stop
    page.keyboard.press("Escape")
    expect(word).to_have_count(0)
    expect(page.locator(".cells rect.asked")).to_have_count(0)

    page.evaluate("window.moves.splice(0)")
    ask(page, "How much energy was used in each quarter?")
    assert page.evaluate("window.moves.length") == 0  # a new query is not a movement
    assert mode(page) == "both"
    expect(page.locator(".answer")).to_have_count(0)
    page.evaluate("history.replaceState(null, '', '/')")
    page.reload()
    page.wait_for_selector("#results .state.ready, #results .hit")
    page.wait_for_timeout(1500)
    assert mode(page) == "both"  # not played again


def test_any_input_of_the_visitor_stops_the_landing(visit: Opener) -> None:
    page = visit(lands=True)
    page.wait_for_selector(".hit")
    page.locator("#query textarea, #query input").press("c")  # what is typed replaces the landing's question
    expect(page.locator("#query textarea, #query input")).to_have_value("c")
    at = page.locator("[role=slider]").get_attribute("aria-valuenow")
    page.wait_for_timeout(3000)
    assert page.locator("[role=slider]").get_attribute("aria-valuenow") == at
    expect(page.locator("#your-turn")).to_have_count(0)
    ask(page, "coffee machine")
    expect(page.locator("#dial-title b").first).to_have_text("16×64")
    assert mode(page) == "both"
