"""The page map of a vision-language model in a real browser: made, tested, shown in another way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.app_server import serve
from tests.support.browsing import ANSWER_MS, ask, still


@pytest.fixture(scope="module")
def hit(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """An open hit, and its page map that nobody has asked for."""
    faults: list[str] = []
    with serve(tmp_path_factory.mktemp("vlm"), app="vlm_app") as served:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(ANSWER_MS)
        page.on("console", lambda said: said.type == "error" and faults.append(said.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(still(served.address))
        page.wait_for_selector("#dial [role=slider]", state="attached")
        ask(page, "a drawing")
        page.get_by_role("tab", name="Page map", exact=True).click()
        yield page
        page.close()
    assert faults == []


def test_a_map_is_made_tested_and_shown_in_another_way(hit: Page) -> None:
    expect(hit.locator("#page .outlines path")).to_have_count(0)
    hit.get_by_role("button", name="Map this page").click()
    expect(hit.locator("#pagemap h3").first).to_contain_text("the score loses")
    hit.wait_for_function("document.querySelector('#page .outlines path')?.getAttribute('d').length > 0")
    box = hit.locator("#page .picture .sheet").bounding_box()
    assert box is not None
    hit.mouse.move(box["x"] + box["width"] / 3, box["y"] + box["height"] / 3)  # loads what was read
    hit.wait_for_function("metaembed.reading()")
    hit.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    told = expect(hit.locator("#page .under-pointer"))
    told.to_contain_text("Without this part of the picture the score loses")
    hit.get_by_role("button", name="Test this explanation").click()
    expect(hit.locator("#pagemap .trial")).to_contain_text("most read")
    hit.get_by_role("button", name="Show instead: Shares by integrated gradients").click()
    expect(hit.locator("#pagemap figcaption")).to_contain_text("Integrated gradients")
    hit.get_by_role("button", name="Show instead: What the score loses").click()
    expect(hit.locator("#pagemap h3").first).to_contain_text("the score loses")
