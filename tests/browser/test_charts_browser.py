"""The charts' scripts and downloads in a real browser, without the app around them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect

from metaembed_demo.app import theme
from metaembed_demo.app.server import plotly_script
from metaembed_demo.app.views import (
    figure,
    index_size_chart,
    rank_chart,
    timing_chart,
    token_chart,
    tradeoff_chart,
)
from tests.app.test_charts import LINES, OURS, STATISTICS, TITLE, line, past, points

# Stricter than the app's: neither eval nor anything from elsewhere is needed.
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
)
FROM = {"encoder": "MetaEmbed-Mini", "pages": 113, "storage": "fp16", "version": "1.0"}
REGION = """
    window.sent = [];
    window.watched = {};
    const region = (name, script) => script(
        document.getElementById(name),
        (event, data) => sent.push([event, data]),
        (prop, call) => { watched[name] = call; },
    );
"""


@pytest.fixture
def opened(browser: Browser) -> Iterator[Page]:
    """All charts on a page of 390 px with their scripts, as Gradio runs them; nothing may go wrong there."""
    wrong: list[str] = []
    page = browser.new_context(viewport={"width": 390, "height": 844}).new_page()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)

    def serve(route: Route) -> None:
        if route.request.url == "http://demo.test/":
            headers = {"content-security-policy": POLICY}
            return route.fulfill(body=whole_page(), content_type="text/html", headers=headers)
        if route.request.url != f"http://demo.test{plotly_script.PATH}":
            wrong.append(route.request.url)
        return route.fulfill(body=plotly_script.plain(), content_type="text/javascript")

    page.route("**/*", serve)
    page.goto("http://demo.test/")
    page.wait_for_selector("#ranks .main-svg")
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
    region = f"{REGION} region('ranks', (element, trigger, watch) => {{ {theme.script('rank_chart.js')} }});"
    return (
        f"<!doctype html><html lang=en><head><meta charset=utf-8>{plotly_script.META}"
        f"<style>*{{box-sizing:border-box}}figure{{margin:0}}{theme.css()}</style>"
        f"<script>{theme.script('plots.js')}</script><script>{theme.script('figure_download.js')}</script></head>"
        f"<body style='margin:16px'><header data-provenance='{json.dumps(FROM)}'></header>{body}"
        f"<script>{region}</script></body></html>"
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


def drawn(page: Page, name: str) -> None:
    """Bring a chart into view and wait until it is drawn."""
    page.locator(f"#{name} .plot").scroll_into_view_if_needed()
    page.wait_for_selector(f"#{name} .main-svg")


def saved(page: Page, name: str, kind: str) -> bytes:
    with page.expect_download() as download:
        page.locator(f"#{name} [data-save={kind}]").click()
    assert re.fullmatch(rf"metaembed-[a-z]+\.{kind}", download.value.suggested_filename)
    return download.value.path().read_bytes()


PLOTS = ["ranks", "tradeoff", "scale", "history", "token-statistics"]


def test_charts_fit_a_phone(opened: Page) -> None:
    assert opened.locator("#token-statistics .main-svg").count() == 0, "drawn when it comes into view"
    for name in PLOTS:
        drawn(opened, name)
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


def click(page: Page, trace: int, at: int) -> None:
    """Click a point of the rank chart."""
    box = page.locator("#ranks .scatterlayer .trace").nth(trace).locator(".point").nth(at).bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)  # with no time to hover


def test_a_click_on_a_point_opens_that_page_at_that_stop(opened: Page) -> None:
    pages = opened.evaluate(
        "() => document.querySelector('#ranks .js-plotly-plot').data.map(t => t.customdata[0] / 5)"
    )
    ids = opened.evaluate(
        "() => [...document.querySelectorAll('#ranks td:nth-child(2) .go')].map(e => e.dataset.page)"
    )
    for trace, stop in ((0, 4), (len(pages) - 1, 0)):
        click(opened, trace, stop)
        assert sent(opened) == [["select", {"page": ids[int(pages[trace])], "stop": stop}]]


def test_keys_move_over_the_ranks_of_the_table_and_open(opened: Page) -> None:
    opened.click("#ranks summary")
    assert opened.locator("#ranks .go[tabindex='-1']").count() == 20, "a column of tab stops"
    opened.focus("#ranks .go[data-page=p1][data-stop='2']")
    for key, expected in (
        ("ArrowRight", ("p1", 3)),
        ("ArrowUp", ("p2", 3)),
        ("ArrowUp", ("p2", 3)),  # nothing is above
        ("ArrowLeft", ("p2", 2)),
    ):
        opened.keyboard.press(key)
        opened.keyboard.press("Enter")
        assert sent(opened) == [["select", {"page": expected[0], "stop": expected[1]}]], key


def test_an_answer_redraws_the_chart_and_keeps_focus_and_open_table(opened: Page) -> None:
    opened.click("#ranks summary")
    opened.focus("#ranks .go[data-page=p3][data-stop='2']")
    opened.evaluate(  # Gradio keeps the elements, writes the new pages over them and empties the plot
        """() => {
            for (const each of document.querySelectorAll("#ranks .go"))
                each.dataset.page = { p3: "p4", p4: "p3" }[each.dataset.page] ?? each.dataset.page;
            const plot = document.querySelector("#ranks .plot"), spec = JSON.parse(plot.dataset.plot);
            spec.data.pop();
            plot.replaceChildren();
            plot.dataset.plot = JSON.stringify(spec);
            document.querySelector("#ranks details").removeAttribute("open");
        }"""
    )
    opened.wait_for_function("document.querySelectorAll('#ranks .scatterlayer .trace').length === 4")
    assert opened.evaluate("document.querySelector('#ranks details').open")
    opened.evaluate("watched.ranks()")
    expect(opened.locator("#ranks .go[data-page=p3][data-stop='2']")).to_be_focused()
    opened.mouse.click(1, 1)  # elsewhere: the focus is not taken back
    opened.evaluate("document.activeElement.blur(); watched.ranks()")
    opened.wait_for_timeout(50)
    assert opened.evaluate("document.activeElement.tagName") == "BODY"


def test_the_theme_is_the_pages_in_both_modes(opened: Page) -> None:
    drawn(opened, "tradeoff")
    for dark, shades in ((True, theme.SHADES_DARK), (False, theme.SHADES_LIGHT)):
        opened.evaluate("dark => document.body.classList.toggle('dark', dark)", dark)
        fills = opened.evaluate(
            "() => [...document.querySelectorAll('#tradeoff .point')].slice(0, 5).map(e => e.style.fill)"
        )
        assert fills == [f"rgb{rgb(shade)}" for shade in shades]


def test_json_and_csv_hold_the_data(opened: Page) -> None:
    whole = json.loads(saved(opened, "ranks", "json"))
    assert whole["title"] == opened.inner_text("#ranks h3")
    assert whole["provenance"].items() > FROM.items()
    assert whole["provenance"]["saved"].startswith("20")
    assert whole["data"]["pages"][0]["ranks"] == [1, 1, 1, 2, 2]
    rows = list(csv.reader(io.StringIO(saved(opened, "ranks", "csv").decode("utf-8"), newline="")))
    assert rows[0][:3] == ["page_id", "title", "where"]
    assert [row[1] for row in rows if row[0] == "p3"] == [TITLE]
    assert rows[0][8:] == [*FROM, "saved"]
    assert {len(row) for row in rows} == {13}
    assert {tuple(row[8:12]) for row in rows[1:]} == {("MetaEmbed-Mini", "113", "fp16", "1.0")}


def test_csv_cells_cannot_be_formulas(opened: Page) -> None:
    rows = list(csv.reader(io.StringIO(saved(opened, "cells", "csv").decode("utf-8"), newline="")))
    assert [row[0] for row in rows[1:]] == [wanted for _, wanted in CELLS]


@pytest.mark.parametrize("name", PLOTS)
def test_pictures_are_the_figure_on_the_pages_paper(opened: Page, name: str) -> None:
    for dark, paper, shades in (
        (False, "#ffffff", theme.SHADES_LIGHT),
        (True, "#111317", theme.SHADES_DARK),
    ):
        opened.evaluate("dark => document.body.classList.toggle('dark', dark)", dark)
        picture = Image.open(io.BytesIO(saved(opened, name, "png"))).convert("RGB")
        assert picture.width == 2000
        edges = [(x, y) for x in (0, picture.width - 1) for y in (0, picture.height - 1)]
        assert {picture.getpixel(edge) for edge in edges} == {rgb(paper)}
        colours = {colour for _, colour in picture.getcolors(picture.width * picture.height) or []}
        assert len(colours) > 50
        assert colours & set(map(rgb, shades))
    drawing = saved(opened, name, "svg").decode("utf-8")
    assert drawing.startswith("<svg")
    told = "".join(re.findall(r">([^<>]+)<", drawing))
    assert opened.inner_text(f"#{name} h3")[:24] in told
    assert "encoder MetaEmbed-Mini" in told


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


def test_a_figure_drawn_later_can_be_saved_too(opened: Page) -> None:
    later = figure.figure("later", "Later", "<p>Drawing</p>", {"a": 1}, [["a"], [1]])
    opened.evaluate("text => { document.getElementById('cells').innerHTML = text; }", later)
    assert json.loads(saved(opened, "cells", "json"))["data"] == {"a": 1}
    assert saved(opened, "cells", "csv").startswith(b"a,encoder,")
    assert Image.open(io.BytesIO(saved(opened, "cells", "png"))).width > 600, "not of plotly's, but as before"
    assert opened.evaluate("document.querySelectorAll('iframe, a[download]').length") == 0
