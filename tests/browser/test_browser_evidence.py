"""Why a page was found and what a budget is worth, in a real browser on the sample corpus."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import parse_qs, quote, urlparse

import jsonschema
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from metaembed_demo.core.config import ROOT
from tests.support.browsing import Opener, ask, room

QUERY = "how do I descale it?"
SCHEMA = json.loads((ROOT / "docs" / "trace.schema.json").read_text())


def marked(page: Page) -> int:
    """Words and cells that the overlay draws."""
    return page.locator("#page .picture .overlay rect:not(.ring)").count()


def wait_marked(page: Page) -> None:
    page.wait_for_function("document.querySelectorAll('#page .picture .overlay rect').length > 0")


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def params(page: Page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlparse(page.url).query).items()}


# What was read


def test_the_page_is_marked_where_its_score_comes_from(visit: Opener) -> None:
    page = visit()
    ask(page, QUERY)
    wait_marked(page)
    page.get_by_label("Highlight where this score comes from").uncheck()
    expect(page.locator("#page .overlay rect")).to_have_count(0)
    page.get_by_label("Highlight where this score comes from").check()
    wait_marked(page)


def test_a_map_that_comes_before_its_page_is_no_error(visit: Opener) -> None:
    page = visit()
    ask(page, QUERY)
    wait_marked(page)
    rows = [[99_999, 500, 1, 100, 100, 200, 120, 1], [0, 500, 1, 100, 200, 200, 220, 0]]
    far = json.dumps({"map": rows, "query": [], "read": []})
    page.eval_on_selector("#marks [data-map]", "(each, map) => { each.dataset.map = map; }", far)
    page.evaluate("metaembed.tell('map')")
    expect(page.locator("#page .picture .overlay rect:not(.ring)")).to_have_count(1)


def test_a_cell_of_the_matrix_shows_what_both_tokens_read(visit: Opener) -> None:
    page = visit()
    ask(page, QUERY)
    wait_marked(page)
    whole = marked(page)
    cells = page.locator(".cells")
    cells.focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator(".both")).to_contain_text("Query token 1 reads descale")
    expect(page.locator(".both")).to_contain_text("Candidate token")
    page.keyboard.press("Home")  # not a key of the matrix: nothing happens
    for _ in range(30):
        page.keyboard.press("ArrowLeft")
    expect(page.locator(".both")).to_contain_text("Candidate token 1 reads")
    page.wait_for_function(
        "(n) => document.querySelectorAll('#page .overlay rect').length > n", arg=whole
    )  # the coarsest token reads the whole page
    page.keyboard.press("Escape")
    page.wait_for_function("(n) => document.querySelectorAll('#page .overlay rect').length === n", arg=whole)

    cells.evaluate("cells => cells.scrollIntoView({block: 'center'})")  # the pointer stays in the window
    box = cells.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.9)
    expect(page.locator(".both")).to_contain_text(re.compile(r"Query token 1[45] reads"))
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    pinned = page.locator(".both").inner_text()
    page.mouse.move(box["x"] + box["width"] * 0.1, box["y"] + box["height"] * 0.1)
    expect(page.locator(".cursor.pinned")).to_be_visible()
    assert page.locator(".both").inner_text() == pinned, "a click holds the cell"


def test_the_word_under_the_pointer_is_told(visit: Opener) -> None:
    page = visit()
    ask(page, QUERY)
    wait_marked(page)
    sheet = page.locator("#page .sheet").first
    page.wait_for_function("document.querySelector('#page .sheet img').naturalWidth > 200")
    sheet.hover(position={"x": 5, "y": 5})  # then what stands where is fetched
    page.wait_for_function("metaembed.reading() !== null")
    box = sheet.bounding_box()
    assert box
    place = page.evaluate(
        "metaembed.reading().words.find((word) => /^descale$/i.test(word[4])).slice(0, 4)"
        ".map((edge) => edge / 1000)"
    )
    page.mouse.move(
        box["x"] + box["width"] * (place[0] + place[2]) / 2,
        box["y"] + box["height"] * (place[1] + place[3]) / 2,
    )
    expect(page.locator(".under-pointer")).to_contain_text(
        re.compile(r"“descale” gives \d+(\.\d)?% of this score\. Candidate token \d+ reads it most", re.I)
    )
    expect(page.locator("#page .overlay rect.ring")).to_have_count(1)


def test_a_photograph_is_marked_by_its_cells(visit: Opener) -> None:
    page = visit()
    ask(page, "a cat looking at me")
    expect(page.locator(".hit").first).to_contain_text("cat")
    expect(page.locator("#page .outlines .part")).to_have_count(2)
    expect(page.locator("#page .outlines .best")).to_have_attribute("d", re.compile(r"^M\d+ \d+[HV]\d+"))
    expect(page.locator("#page .overlay rect")).to_have_count(0)  # the picture keeps its colours
    tab(page, "Page map")
    expect(page.locator("#pagemap")).to_contain_text("cell by cell")


def test_a_word_of_the_list_is_outlined_on_the_page(visit: Opener) -> None:
    page = visit()
    ask(page, QUERY)
    wait_marked(page)
    tab(page, "Page map")
    expect(page.locator("#pagemap h3").first).to_contain_text(
        re.compile(r"Half of this score comes from \d+ of")
    )
    page.locator(".gave li[data-word]").first.hover()
    expect(page.locator("#page .overlay rect.ring")).to_have_count(1)


# Faster than a mouse that waits for a button to rest: a quick machine is done by then.
STOP_AT_ONCE = """(selector) => {
  window.stopped = false;
  new MutationObserver((_, observer) => {
    const button = document.querySelector(selector);
    if (!button) return;
    observer.disconnect();
    button.click();
    window.stopped = true;
  }).observe(document.body, { subtree: true, childList: true });
}"""


def test_the_explanation_is_tested_and_the_test_can_be_stopped(visit: Opener) -> None:
    page = visit()
    ask(page, QUERY)
    tab(page, "Page map")
    page.evaluate(STOP_AT_ONCE, "#pagemap [data-action=stop-test]")
    page.click("#pagemap [data-action=test]")
    page.wait_for_function("window.stopped")
    expect(page.locator("#pagemap [data-action=test]")).to_have_text("Test this explanation")
    page.click("#pagemap [data-action=test]")
    expect(page.locator(".trial h3").first).to_contain_text("Hiding the highlighted words costs")
    expect(page.locator(".chart-deletion .plot .legend")).to_be_visible()
    expect(page.locator(".trial .gave li")).to_have_count(3)


# Two rankings


def test_two_budgets_then_two_queries_side_by_side(visit: Opener) -> None:
    page = visit()
    ask(page, QUERY)
    tab(page, "Ranks")
    expect(page.locator(".ribbons li")).to_have_count(20)
    page.click("#ranks .stops button:has-text('4×8')")
    expect(page.locator("#ranks .stops button[aria-pressed=true]")).to_have_text("4×8")
    page.click("#ranks [data-action=pin]")
    expect(page.locator("#ranks [data-action=unpin]")).to_be_visible()
    ask(page, "how often should the boiler be cleaned of lime?")
    expect(page.locator("#ranks h3").first).to_contain_text("and this query share")
    expect(page.locator("#ranks .asked").first).to_have_text(QUERY)
    opened = page.locator(".ribbons section").last.locator(".go").nth(2)
    wanted = opened.get_attribute("data-page")
    opened.click()
    page.wait_for_function("(id) => new URL(location.href).searchParams.get('hit') === id", arg=wanted)
    page.click("#ranks [data-action=unpin]")
    expect(page.locator("#ranks [data-action=pin]")).to_be_visible()


# Ranks over the budgets


def test_a_point_of_a_line_opens_its_page_at_that_budget(visit: Opener) -> None:
    page = visit()
    ask(page, QUERY)
    tab(page, "Ranks")
    page.locator("#ranks .plot").scroll_into_view_if_needed()
    points = page.locator("#ranks .scatterlayer .trace").nth(3).locator(".point")
    expect(points).to_have_count(5)
    fetched = "performance.getEntriesByType('resource').filter((e) => e.name.includes('plotly')).length"
    assert page.evaluate(fetched) == 1
    row = page.evaluate("document.querySelector('#ranks .js-plotly-plot').data[3].customdata[1] / 5 | 0")
    cell = page.locator("#ranks .as-table tbody tr").nth(row).locator(".go").nth(1)
    wanted = cell.get_attribute("data-page")
    box = points.nth(1).bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.locator("#dial-title b").first).to_have_text("2×4")
    expect(page.locator("[role=slider]").first).to_have_attribute("aria-valuenow", "2")
    page.wait_for_function("(id) => new URL(location.href).searchParams.get('hit') === id", arg=wanted)
    page.click("#ranks summary")
    page.locator(f"#ranks .as-table .go[data-page='{wanted}'][data-stop='1']").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("#dial-title b").first).to_have_text("4×8")
    expect(page.locator(f"#ranks .as-table .go[data-page='{wanted}'][data-stop='2']")).to_be_focused()
    assert 8 <= page.locator("#ranks .scatterlayer .trace").count() <= 13


# Links and traces


def test_an_address_restores_query_budget_hit_and_tab(visit: Opener) -> None:
    page = visit()
    ask(page, QUERY)
    page.locator(".stop").nth(2).click()
    expect(page.locator("#dial-title b").first).to_have_text("4×8")
    page.locator(".hit").nth(2).click()
    title = page.locator(".hit").nth(2).locator(".hit-title").inner_text()
    expect(page.locator(".page h2")).to_contain_text(title)
    tab(page, "Ranks")
    page.wait_for_function("new URL(location.href).searchParams.get('tab') === 'ranks'")
    found = params(page)
    assert (found["q"], found["budget"]) == (QUERY, "4x8")

    path = "/?" + urlparse(page.url).query
    there = visit(path=path)
    expect(there.locator(".page h2")).to_contain_text(title)
    expect(there.locator("#dial-title b").first).to_have_text("4×8")
    expect(there.locator("#query textarea, #query input")).to_have_value(QUERY)
    expect(there.get_by_role("tab", name="Ranks", exact=True)).to_have_attribute("aria-selected", "true")
    there.wait_for_timeout(500)
    assert params(there) == found


def test_a_room_has_an_address_and_nonsense_is_an_ordinary_visit(visit: Opener) -> None:
    page = visit(path="/?room=tokens")
    expect(page.get_by_role("tab", name="Tokens", exact=True)).to_have_attribute("aria-selected", "true")
    other = visit(path="/?budget=0x0&hit=none&tab=%3Cb%3E&room=cellar&q=" + quote("   "))
    expect(other.locator("#results .state.ready")).to_be_visible()


def test_the_trace_and_the_link_are_copied(visit: Opener) -> None:
    page = visit()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    ask(page, QUERY)
    page.click("[data-copy=trace]")
    expect(page.locator(".page .copied")).to_have_text("Trace copied")
    trace = json.loads(page.evaluate("navigator.clipboard.readText()"))
    jsonschema.validate(trace, SCHEMA)
    assert trace["query"]["text"] == QUERY
    assert "descale" in [word["text"].lower() for word in trace["explanation"]["words"][:12]]
    page.click("[data-copy=link]")
    expect(page.locator("#link .copied")).to_have_text("Link copied")
    assert page.evaluate("navigator.clipboard.readText()") == page.url
    page.set_input_files("#picture input[type=file]", str(ROOT / "sample_corpus" / "pictures" / "cat.jpg"))
    page.wait_for_function("JSON.parse(document.querySelector('.link').dataset.link).picture")
    page.click("[data-copy=link]")
    expect(page.locator("#link .copied")).to_have_text("Link copied, without the picture")


@pytest.mark.parametrize(
    ("place", "name"), [("Alignment", "alignment"), ("Page map", "page-map"), ("Ranks", "compared")]
)
def test_a_figure_is_saved_as_picture_and_data(visit: Opener, tmp_path: Path, place: str, name: str) -> None:
    page = visit()
    ask(page, QUERY)
    tab(page, place)
    for kind in ("png", "json", "csv"):
        with page.expect_download() as saving:
            page.click(f"[data-figure={name}] [data-save={kind}]")
        assert saving.value.suggested_filename == f"metaembed-{name}.{kind}"
        saving.value.save_as(tmp_path / f"figure.{kind}")
    picture = Image.open(tmp_path / "figure.png").convert("RGB")
    assert len(picture.getcolors(1 << 24) or []) > 20
    assert json.loads((tmp_path / "figure.json").read_text())
    assert len((tmp_path / "figure.csv").read_text().splitlines()) > 2


# Rooms


def test_the_map_opens_a_page_and_searches_what_is_drawn_around(visit: Opener) -> None:
    page = visit()
    ask(page, QUERY)
    room(page, "Map")
    canvas = page.locator(".map-frame[data-drawn] canvas")
    box = canvas.bounding_box()
    assert box
    page.locator("#map-list summary").first.click()
    page.locator("#map-list details[open] li button").first.click()
    expect(page.locator(".map-page h4")).to_have_text("Its nearest pages")
    page.click("#map-head [data-stop='0']")
    expect(page.locator("#map-head [data-stop='0']")).to_have_attribute("aria-pressed", "true")
    canvas.focus()
    for key in ("+", "ArrowLeft", "0"):
        page.keyboard.press(key)
    page.click("[data-map=lasso]")
    corners = [(0.01, 0.01), (0.99, 0.01), (0.99, 0.99), (0.01, 0.99)]
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    page.mouse.down()
    for across, down in corners:
        page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"], steps=4)
    page.mouse.up()
    pages = len(page.evaluate("window.metaembed.corpus.ids"))
    expect(page.locator(".map-chosen b")).to_have_text(f"{pages} pages selected")
    page.click("[data-map=search]")
    expect(page.locator(".only-chips")).to_contain_text("chosen pages of")
    page.wait_for_function("new URL(location.href).searchParams.get('only')?.includes('place:')")


WATCH_STOP = """() => {
  window.buttons = new Set();
  new MutationObserver(() => {
    const button = document.querySelector("#ways [data-action=stop]");
    if (button) window.buttons.add(button);
  }).observe(document.body, { subtree: true, childList: true, attributes: true });
}"""


def test_the_budget_is_found_on_these_pages(visit: Opener) -> None:
    page = visit()
    room(page, "Budget")
    expect(page.locator("#worth")).to_contain_text("Not measured on these pages yet")
    page.evaluate(STOP_AT_ONCE, "#ways [data-action=stop]")
    page.click("#ways [data-action=known]")
    page.wait_for_function("window.stopped")
    expect(page.locator("#ways .running")).to_have_count(0)
    expect(page.locator("#worth")).to_contain_text("Not measured on these pages yet")
    page.evaluate(WATCH_STOP)
    page.click("#ways [data-action=known]")
    expect(page.locator("#worth .advice .answer")).to_contain_text("known-item queries", timeout=180_000)
    assert page.evaluate("window.buttons.size") == 1, "drawn anew under the mouse"
    page.click("#worth [data-value='0.9']")
    expect(page.locator("#worth [data-value='0.9']")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#worth .plot .errorbar")).to_have_count(10)
    page.locator("#scale .plot").first.scroll_into_view_if_needed()  # drawn when it comes into view
    expect(page.locator("#scale .plot .legendtext")).to_have_count(6)
    page.click("#sheet [data-action=pages][data-value='1000000']")
    expect(page.locator("#sheet h3")).to_contain_text("at 1 million pages")
    expect(page.locator("#sheet tbody tr")).to_have_count(13)  # five stops and Auto in two modes, and words
    expect(page.locator("#sheet td.measured")).to_have_count(5)  # the quality of these pages
    assert page.locator("#sheet tbody tr").first.bounding_box()["height"] > 30, "a figure above its kind"
    assert "metaembed_demo decide DIR" in page.locator("#sheet [data-decision]").get_attribute(
        "data-decision"
    )
    name = page.locator("#worth .advice [data-action=use]").inner_text().removeprefix("Search at ")
    page.click("#worth .advice [data-action=use]")
    expect(page.locator("#dial-title b").first).to_have_text(name)
    expect(page.locator("#query")).to_be_visible()


def test_labels_are_dropped_and_bad_ones_told(visit: Opener, tmp_path: Path) -> None:
    queries, qrels = tmp_path / "queries.jsonl", tmp_path / "qrels.tsv"
    queries.write_text('{"_id": "q1", "text": "how do I descale it?"}\n{"_id": "q2", "text": "milk foam"}\n')
    page = visit()
    room(page, "Budget")
    page.set_input_files("#labels input[type=file]", [str(queries)])
    expect(page.locator("#ways .problem")).to_contain_text("Drop two files together")
    qrels.write_text("query-id\tcorpus-id\tscore\nq1\tcoffee-manual.pdf#7\t1\nq2\tcoffee-manual.pdf#5\t1\n")
    page.set_input_files("#labels input[type=file]", [str(queries), str(qrels)])
    page.click("#ways [data-action=labels]")
    expect(page.locator("#worth")).to_contain_text("your labelled queries", timeout=120_000)


def test_tokens_are_read_over_all_pages(visit: Opener) -> None:
    page = visit()
    room(page, "Tokens")
    # Those of the samples are shipped: there is nothing to wait for.
    expect(page.locator("#token-statistics .chart-specialisation h3")).to_contain_text(
        re.compile(r"Token 1 reads \d+ words of a page, tokens 17–64 read [\d.]+ each"), timeout=180_000
    )


# The first visit, and small screens


def test_the_tour_is_four_sentences_and_stays_away(visit: Opener) -> None:
    page = visit()
    expect(page.locator(".tour li")).to_have_count(4)
    ask(page, QUERY)
    expect(page.locator(".tour")).to_be_hidden()
    page.reload()
    page.wait_for_selector("#dial [role=slider]")
    expect(page.locator(".tour")).to_be_hidden()
    page.click("[data-tour]")
    page.click(".tour button")
    expect(page.locator(".tour")).to_be_hidden()


@pytest.mark.parametrize("width", [390, 1024])
def test_no_tab_scrolls_sideways(visit: Opener, width: int) -> None:
    page = visit(width, 844)
    ask(page, QUERY)
    for name in ("Alignment", "Page map", "Ranks", "Timing"):
        tab(page, name)
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        button = page.get_by_role("tab", name=name, exact=True)
        assert button.evaluate("(each) => each.scrollWidth <= each.clientWidth + 1"), f"{name} is cut"
    for name in ("Budget", "Tokens"):
        room(page, name)
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
