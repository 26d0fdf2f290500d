"""The charts' scripts and downloads in a real browser, without the app around them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

from metaembed_demo.app import theme
from metaembed_demo.app.views import (
    figure,
    index_size_chart,
    rank_chart,
    timing_chart,
    token_chart,
    tradeoff_chart,
)
from tests.app.test_charts import LINES, OURS, STATISTICS, TITLE, files, heading, line, past, percent, points
from tests.app.test_views import Document


@pytest.fixture
def opened(browser: Browser) -> Iterator[Page]:
    """All charts on a page of 390 px with their scripts, as Gradio runs them; nothing may go wrong there."""
    wrong: list[str] = []
    page = browser.new_context(viewport={"width": 390, "height": 844}).new_page()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: wrong.append(request.url) if request.url.startswith("http") else None)
    page.set_content(whole_page())
    page.evaluate(
        """scripts => {
            window.sent = [];
            window.watched = {};
            for (const [name, script] of Object.entries(scripts))
                new Function("element", "trigger", "watch", "props", script)(
                    document.getElementById(name),
                    (event, data) => sent.push([event, data]),
                    (prop, call) => { watched[name] = call; },
                    {},
                );
        }""",
        {"ranks": theme.script("rank_chart.js"), "scale": theme.script("index_size_chart.js")},
    )
    yield page
    page.context.close()
    assert not wrong


def whole_page() -> str:
    """The charts in a page whose sheet is the app's; `box-sizing` stands for Gradio's reset."""
    parts = {
        "ranks": rank_chart.ranks([*LINES, line("p5", 9, 9, 9, 9, 9, title="A\x0bB")], 2, "p1"),
        "tradeoff": tradeoff_chart.tradeoff(points(0.61, 0.64, 0.65, 0.66, 0.67), "nDCG@5", 2),
        "scale": index_size_chart.scale(OURS, 113),
        "history": timing_chart.history([past("16x64", 40.0, encode=30.0), past("4x8", 4.0)] * 20),
        "token-statistics": token_chart.specialisation(STATISTICS),
        "cells": figure.figure("cells", "Cells", "<p>Drawing</p>", None, [["a", "b"], *CELLS]),
    }
    body = "".join(f'<div id="{name}">{part}</div>' for name, part in parts.items())
    return (
        f"<!doctype html><html lang=en><head><style>*{{box-sizing:border-box}}{theme.css()}</style>"
        f"<script>{theme.script('figure_download.js')}</script></head>"
        f"<body style='margin:16px'>{body}</body></html>"
    )


CELLS: list[list[object]] = [
    ["=SUM(A1)", "'=SUM(A1)"],
    ["+49 30 1", "'+49 30 1"],
    ["-a", "'-a"],
    ["@x", "'@x"],
    ["\tx", "'\tx"],
    ["-3.5", "-3.5"],
    [-2, "-2"],
    ["+1e-3", "+1e-3"],
    [None, ""],
    ['say "a, b"\nc', 'say "a, b"\nc'],
]


def sent(page: Page) -> list[list[object]]:
    found = page.evaluate("window.sent.splice(0)")
    assert isinstance(found, list)
    return found


def saved(page: Page, name: str, kind: str) -> bytes:
    with page.expect_download() as download:
        page.locator(f"#{name} [data-save={kind}]").click()
    assert re.fullmatch(rf"metaembed-[a-z]+\.{kind}", download.value.suggested_filename)
    return download.value.path().read_bytes()


def test_charts_fit_a_phone(opened: Page) -> None:
    for summary in opened.locator("summary").all():
        summary.click()
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390
    assert opened.evaluate("document.fonts.size") == 0  # nothing is fetched to write with
    sizes = opened.evaluate(
        """() => [...document.querySelectorAll(".chart *")]
            .filter(each => each.checkVisibility() && [...each.childNodes].some(
                node => node.nodeType === 3 && node.textContent.trim()))
            .map(each => [parseFloat(getComputedStyle(each).fontSize), each.outerHTML.slice(0, 80)])"""
    )
    assert min(sizes)[0] >= 12, min(sizes)


def test_points_of_the_ranks_can_be_hit(opened: Page) -> None:
    boxes = opened.evaluate(
        """() => [...document.querySelectorAll(".ranks-point")].map(each => {
            const box = each.getBoundingClientRect();
            each.scrollIntoView({ block: "center" });
            const now = each.getBoundingClientRect();
            const hit = document.elementFromPoint(now.x + now.width / 2, now.y + now.height / 2);
            return [box.width, box.height, each.contains(hit)];
        })"""
    )
    assert len(boxes) == 25
    assert all(width >= 24 and height >= 24 and hit for width, height, hit in boxes)


def test_a_click_on_a_rank_opens_that_page_at_that_stop(opened: Page) -> None:
    opened.locator(".ranks-point[data-page=p3][data-stop='4']").click()
    opened.locator(".ranks-point[data-page=p4][data-stop='0']").click()
    assert sent(opened) == [
        ["select", {"page": "p3", "stop": 4}],
        ["select", {"page": "p4", "stop": 0}],
    ]


def test_keys_move_over_the_ranks_and_open(opened: Page) -> None:
    opened.focus(".ranks-point[tabindex='0']")  # p1 at 4x8: rank 2
    for keys, expected in (
        (["Enter"], ("p1", 2)),
        (["ArrowRight", " "], ("p1", 3)),  # rank 1 there
        (["ArrowUp", "Enter"], ("p1", 3)),  # nothing is above
        (["ArrowDown", "ArrowDown", "Enter"], ("p3", 3)),
        (["Home", "Enter"], ("p3", 0)),
        (["ArrowLeft", "ArrowDown", "Enter"], ("p4", 0)),  # 23rd to 41st, in the lower rows
        (["End", "Enter"], ("p4", 4)),
    ):
        for key in keys:
            opened.keyboard.press(key)
        assert sent(opened) == [["select", {"page": expected[0], "stop": expected[1]}]], keys
    assert opened.locator(".ranks-point[tabindex='0']").count() == 1


def test_focus_goes_with_the_page_when_the_answer_orders_the_pages_anew(opened: Page) -> None:
    opened.focus(".ranks-point[data-page=p3][data-stop='2']")
    opened.evaluate(  # Gradio keeps the elements and writes the new pages over them
        """() => {
            for (const each of document.querySelectorAll(".ranks-point"))
                each.dataset.page = { p3: "p4", p4: "p3" }[each.dataset.page] ?? each.dataset.page;
            watched.ranks();
        }"""
    )
    focused = opened.evaluate("({ ...document.activeElement.dataset })")
    assert focused == {"page": "p3", "stop": "2"}
    opened.evaluate("document.activeElement.blur(); watched.ranks()")
    assert opened.evaluate("document.activeElement.tagName") == "BODY"


def test_slider_reckons_as_the_server_does(opened: Page) -> None:
    told = opened.evaluate(
        """count => [...Array(count).keys()].map(step => {
            const slider = document.querySelector("#scale input");
            slider.value = step;
            slider.dispatchEvent(new Event("input", { bubbles: true }));
            return {
                title: document.querySelector("#scale h3").textContent,
                pages: document.querySelector(".scale-pages").textContent,
                spoken: slider.getAttribute("aria-valuetext"),
                sizes: [...document.querySelectorAll(".scale-row b")].map(each => each.textContent),
                lefts: [...document.querySelectorAll(".scale-dot")].map(each => parseFloat(each.style.left)),
                json: JSON.parse(document.querySelector("#scale figure").dataset.json),
                rows: JSON.parse(document.querySelector("#scale figure").dataset.rows),
            };
        })""",
        len(index_size_chart.STEPS),
    )
    for pages, found in zip(index_size_chart.STEPS, told, strict=True):
        drawn = index_size_chart.scale(OURS, pages)
        assert found["title"] == heading(drawn)
        assert found["spoken"] == found["pages"] in Document(drawn).words
        assert found["sizes"] == re.findall(r"<b>(.*?)</b></p>", drawn)
        assert (found["json"], found["rows"]) == files(drawn)
        lefts = [percent(each["style"], "left") for each in Document(drawn).all(class_="scale-dot")]
        assert found["lefts"] == pytest.approx(lefts, abs=0.02)


def test_slider_moves_by_keys(opened: Page) -> None:
    slider = opened.locator("#scale input")
    for key, pages in (
        ("End", "100 million pages"),
        ("ArrowLeft", "70 million pages"),
        ("Home", "100 pages"),
    ):
        slider.press(key)
        assert opened.inner_text(".scale-pages") == pages
        assert opened.inner_text("#scale h3").startswith(pages)


def test_an_answer_of_the_server_does_not_undo_the_slider(opened: Page) -> None:
    opened.locator("#scale input").press("End")
    opened.evaluate("document.querySelector('#scale h3').textContent = 'as the server drew it'")
    opened.evaluate("watched.scale()")
    assert "100 million pages" in opened.inner_text("#scale h3")


def test_json_and_csv_hold_the_data(opened: Page) -> None:
    assert json.loads(saved(opened, "ranks", "json"))["pages"][0]["ranks"] == [1, 1, 1, 2, 2]
    rows = list(csv.reader(io.StringIO(saved(opened, "ranks", "csv").decode("utf-8"), newline="")))
    assert rows[0][:3] == ["page_id", "title", "where"]
    assert [row[1] for row in rows if row[0] == "p3"] == [TITLE]
    assert {len(row) for row in rows} == {8}


def test_csv_cells_cannot_be_formulas(opened: Page) -> None:
    rows = list(csv.reader(io.StringIO(saved(opened, "cells", "csv").decode("utf-8"), newline="")))
    assert [row[0] for row in rows[1:]] == [wanted for _, wanted in CELLS]


@pytest.mark.parametrize("name", ["ranks", "tradeoff", "scale", "history", "token-statistics"])
def test_png_is_the_figure_on_the_pages_paper(opened: Page, name: str) -> None:
    width = opened.evaluate("name => document.querySelector(`#${name} figure`).clientWidth", name)
    for dark, paper, shades in (
        (False, "#ffffff", theme.SHADES_LIGHT),
        (True, "#111317", theme.SHADES_DARK),
    ):
        opened.evaluate("dark => document.body.classList.toggle('dark', dark)", dark)
        picture = Image.open(io.BytesIO(saved(opened, name, "png"))).convert("RGB")
        assert picture.width == 2 * (width + 48)
        edges = [(x, y) for x in (0, picture.width - 1) for y in (0, picture.height - 1)]
        assert {picture.getpixel(edge) for edge in edges} == {rgb(paper)}
        colours = {colour for _, colour in picture.getcolors(picture.width * picture.height) or []}
        assert len(colours) > 50
        assert colours & set(map(rgb, shades))


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


def test_a_figure_drawn_later_can_be_saved_too(opened: Page) -> None:
    later = figure.figure("later", "Later", "<p>Drawing</p>", {"a": 1}, [["a"], [1]])
    opened.evaluate("text => { document.getElementById('cells').innerHTML = text; }", later)
    assert json.loads(saved(opened, "cells", "json")) == {"a": 1}
    assert saved(opened, "cells", "csv") == b"a\r\n1\r\n"
    assert opened.evaluate("document.querySelectorAll('iframe, a[download]').length") == 0
