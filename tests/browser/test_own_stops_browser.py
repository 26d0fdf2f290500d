"""Encoders of three and of six stops in a real browser: the dial, the shades, the charts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from metaembed_demo.core.budgets import Budgets
from tests.support.app_server import serve
from tests.support.browsing import ANSWER_MS, ask, room, settings, still
from tests.support.ladder_encoder import SIX, THREE

COLORS = "all => all.map((each) => getComputedStyle(each).backgroundColor)"

DISTINCT = """count => new Set([...document.querySelectorAll(".stop .track")]
    .map((each) => getComputedStyle(each).backgroundColor)).size === count"""  # a shade a group
UNDER_THUMB = """at => {
    const [thumb, stop] = [".thumb", `.stop[data-stop="${at}"]`].map((each) => {
        const box = document.querySelector(each).getBoundingClientRect();
        return box.left + box.width / 2;
    });
    return Math.abs(thumb - stop) < 2;
}"""


def opened(browser: Browser, address: str, width: int, scheme: str, faults: list[str]) -> Page:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(ANSWER_MS)
    page.on("console", lambda said: said.type == "error" and faults.append(said.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(still(address))
    page.wait_for_selector("#dial [role=slider]", state="attached")
    return page


def parts(color: str) -> tuple[int, ...]:
    """Red, green and blue, 0 to 255, of a computed color."""
    scale = 255 if color.startswith("color(srgb") else 1
    return tuple(round(float(part) * scale) for part in re.findall(r"[\d.]+", color)[:3])


@pytest.mark.parametrize("budgets", [THREE, SIX], ids=["three", "six"])
def test_the_page_has_the_encoders_stops(
    browser: Browser, budgets: Budgets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LADDER", str(budgets))
    names, count, faults = [f"{stop.r_q}×{stop.r_c}" for stop in budgets], len(budgets), list[str]()
    with serve(tmp_path) as served:
        shades = {}
        for width, scheme in ((1280, "light"), (1280, "dark"), (390, "light")):
            page = opened(browser, served.address, width, scheme, faults)
            title = page.locator("#dial-title b").first
            expect(title).to_have_text(names[-1])
            ask(page, "anything")
            page.wait_for_function(DISTINCT, arg=count)
            found = page.locator(".stop .track").evaluate_all(COLORS)
            shades[width, scheme] = found
            for at in (0, count - 1, 1):
                page.locator(".stop").nth(at).click()
                expect(title).to_have_text(names[at])
                page.wait_for_function(UNDER_THUMB, arg=at)
            page.locator("[role=slider]").press("Home")
            expect(title).to_have_text(names[0])
            page.locator("[role=slider]").press("End")
            expect(title).to_have_text(names[-1])
            expect(page.locator(".hit").first).to_contain_text("level")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            settings(page)
            for slider, most in zip(
                page.locator("#free input[type=range]").all(), budgets.pairs[-1], strict=True
            ):
                assert slider.get_attribute("max") == str(most)
            page.keyboard.press("Escape")
            room(page, "Ranks")
            page.locator(".chart-ranks").scroll_into_view_if_needed()  # drawn when it is seen
            page.wait_for_selector(".chart-ranks .shapelayer path", state="attached")
            strokes = page.locator(".chart-ranks .shapelayer path").evaluate_all(
                "all => all.map((each) => getComputedStyle(each).stroke)"
            )
            drawn = {parts(each) for each in strokes}
            assert {parts(each) for each in found} <= drawn, "charts have the shades of the dial"
            page.context.close()
        assert shades[1280, "light"] == shades[390, "light"]
        assert not set(shades[1280, "light"]) & set(shades[1280, "dark"])
    assert not faults
