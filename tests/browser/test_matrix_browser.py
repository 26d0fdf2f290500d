"""What the scripts of the matrix and of the open page draw, in a real browser without the app around them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from metaembed_demo.app import theme
from metaembed_demo.app.views import alignment_chart, open_page, page_map
from metaembed_demo.core.budgets import STOPS, Budget
from metaembed_demo.core.types import Alignment, Word
from metaembed_demo.index.maxsim import align
from tests.app.test_views import FakePage, address

HOSTILE = "<img src=x onerror=alert(1)>"
WORDS = (
    Word("descale", (0.1, 0.1, 0.2, 0.12)),
    Word(HOSTILE, (0.3, 0.1, 0.4, 0.12)),
    Word("kettle", (0.5, 0.5, 0.9, 0.9), "visual"),
    Word("", (0.5, 0.5, 0.7, 0.7), "visual"),
    Word("", (0.7, 0.5, 0.9, 0.7), "visual"),
)
ORIGIN = "http://app.test"
READING = "pictures/key/p1/12345678.json"
Draw = Callable[..., Page]


def made(budget: Budget) -> tuple[Alignment, np.ndarray]:
    vectors = np.random.default_rng(7).standard_normal((80, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    q, c = vectors[:16], vectors[16:]
    return align("p1", q[: budget.r_q], c[: budget.r_c]), align("p1", q, c).similarity


def marks(rows: list[list[Any]], reading_at: str = READING) -> str:
    data = {"map": rows, "query": ["clean", HOSTILE], "read": [[0, 900, 1, 100]] * 16}
    return f"<div hidden {page_map.json_attribute('map', data)} data-reading='{reading_at}'></div>"


MAP = [
    [0, 600.0, 2, 100, 100, 200, 120, 0],
    [1, 250.0, 5, 300, 100, 400, 120, 0],
    [2, 90.0, 5, 500, 500, 900, 900, 1],
    [3, 40.0, 5, 500, 500, 700, 700, 2],
    [4, 30.0, 5, 700, 500, 900, 700, 2],
]


@pytest.fixture
def draw(browser: Browser) -> Iterator[Draw]:
    """Opens a page of matrix, page and marks with their scripts, as Gradio runs them."""
    wrong: list[str] = []
    context = browser.new_context(viewport={"width": 900, "height": 900})
    page = context.new_page()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(dialog.message) or dialog.dismiss())
    fetched: list[str] = []
    read = np.zeros((64, len(WORDS)), np.float32)
    read[:, 0], read[:, 1], read[1:, 3], read[1:, 4] = 0.5, 0.25, 0.15, 0.1

    def answer(route: Route) -> None:
        path = route.request.url.removeprefix(ORIGIN + "/")
        fetched.append(path)
        if path == READING:
            route.fulfill(body=page_map.reading(WORDS, read), content_type="application/json")
        elif path.endswith(".json"):
            route.fulfill(status=404, body="Not found.")
        elif path.endswith(".jpg"):
            route.fulfill(status=404, body="")
        else:
            route.fulfill(body="<!doctype html><html><body></body></html>", content_type="text/html")

    context.route("**/*", answer)

    def opener(budget: Budget = STOPS[-1], told: str | None = None) -> Page:
        found, full = made(budget)
        parts = {
            "alignment": alignment_chart.alignment(found, full, budget),
            "page": open_page.page(FakePage(), 1, address, overlay=True),
            "marks": marks(MAP) if told is None else told,
        }
        page.goto(ORIGIN)
        page.evaluate(
            """([parts, sheet, shared, scripts]) => {
                document.head.append(Object.assign(document.createElement("style"), { textContent: sheet }));
                for (const [name, html] of Object.entries(parts)) {
                    const place = document.createElement("div");
                    place.id = name;
                    place.innerHTML = html;
                    document.body.append(place);
                }
                window.sent = [];
                window.watched = {};
                (0, eval)(shared);
                for (const [name, script] of Object.entries(scripts))
                    new Function("element", "trigger", "watch", "props", script)(
                        document.getElementById(name),
                        (event, data) => sent.push([name, event, data]),
                        (prop, call) => { watched[name] = call; },
                        {},
                    );
                watched.marks();
            }""",
            [
                parts,
                "*{box-sizing:border-box}" + theme.css(),
                theme.script("shared.js") + ";" + theme.script("figure_download.js"),
                {
                    "alignment": theme.script("alignment_chart.js"),
                    "page": theme.script("page_viewer.js"),
                    "marks": theme.script("page_highlights.js"),
                },
            ],
        )
        return page

    opener.fetched = fetched  # type: ignore[attr-defined]
    yield opener
    context.close()
    assert not wrong


@pytest.mark.parametrize("budget", [*STOPS, Budget(5, 7)], ids=str)
def test_every_winner_is_ringed_and_every_cell_drawn(draw: Draw, budget: Budget) -> None:
    page, (found, full) = draw(budget), made(budget)
    rings = page.eval_on_selector_all(
        ".cells rect.ring", "all => all.map((each) => [+each.getAttribute('x'), +each.getAttribute('y')])"
    )
    assert rings == [[int(winner), i] for i, winner in enumerate(found.winners)]
    paths = page.eval_on_selector_all(
        ".cells path:not(.edge)",
        """all => all.map((each) => [
            each.getAttribute("class"), each.getAttribute("d"), +each.getAttribute("fill-opacity"),
        ])""",
    )
    cells = {
        (int(x), int(y)): (kind, ink)
        for kind, d, ink in paths
        for x, y in re.findall(r"M(\d+) (\d+)h1v1h-1z", d)
    }
    assert len(cells) == sum(d.count("M") for _, d, _ in paths) == 16 * 64
    inside = {cell for cell, (kind, _) in cells.items() if kind == "in"}
    assert inside == {(x, y) for x in range(budget.r_c) for y in range(budget.r_q)}
    ink = np.array([[cells[x, y][1] for x in range(64)] for y in range(16)])
    order = np.argsort(full, axis=None)
    assert (np.diff(ink.ravel()[order]) >= 0).all(), "a larger cosine has no less ink"
    assert len(set(ink.ravel())) > 8
    assert page.locator(".cells path.edge").count() == (budget != STOPS[-1])


def test_the_table_and_the_files_hold_the_cosines(draw: Draw) -> None:
    budget = Budget(5, 7)
    page, (found, full) = draw(budget), made(budget)
    page.locator("#alignment summary").click()
    rows = [row.split("\t") for row in page.locator("#alignment tbody tr").all_inner_texts()]
    share = found.gains / found.gains.sum()
    groups = ["1", "2–4", "2–4", "2–4", "5–8", "5–8", "5–8"]
    assert [row[:3] for row in rows] == [
        [str(i + 1), str(winner + 1), groups[winner]] for i, winner in enumerate(found.winners)
    ]
    assert [float(row[3]) for row in rows] == pytest.approx(found.gains.tolist(), abs=6e-4)
    assert [float(row[4].rstrip("%")) for row in rows] == pytest.approx((share * 100).tolist(), abs=0.6)
    with page.expect_download() as saving:
        page.locator("#alignment [data-save=json]").click()
    saved = json.loads(saving.value.path().read_text())["data"]
    assert saved["page_id"] == "p1"
    assert np.abs(np.array(saved["cosines"]) - full[:5, :7]).max() <= 5.1e-5
    assert saved["winners"] == [winner + 1 for winner in found.winners.tolist()]
    assert saved["gains"] == pytest.approx(found.gains.tolist(), abs=5.1e-5)
    with page.expect_download() as saving:
        page.locator("#alignment [data-save=csv]").click()
    lines = list(csv.reader(io.StringIO(saving.value.path().read_bytes().decode(), newline="")))
    assert lines[0][:8] == ["query token", *(f"candidate token {j}" for j in range(1, 8))]
    assert len(lines) == 6
    assert [float(value) for value in lines[5][1:8]] == saved["cosines"][4]


def test_an_answer_is_drawn_once_and_a_new_one_anew(draw: Draw) -> None:
    page = draw(STOPS[-1])
    found, full = made(STOPS[1])
    page.evaluate("document.querySelector('.cells svg').dataset.mine = '1'; watched.alignment()")
    assert page.locator(".cells rect.ring").count() == 16
    page.evaluate(
        "html => { document.getElementById('alignment').innerHTML = html; watched.alignment(); }",
        alignment_chart.alignment(found, full, STOPS[1]),
    )
    expect(page.locator(".cells rect.ring")).to_have_count(2)
    expect(page.locator("#alignment tbody tr")).to_have_count(2)


def test_an_answer_that_gradio_writes_over_the_old_one_is_drawn_anew(draw: Draw) -> None:
    """As Gradio does: elements stay, and have the attributes and children of the new ones."""
    page = draw(STOPS[-1])
    found, full = made(STOPS[2])
    text = alignment_chart.alignment(found, full, STOPS[2])
    page.evaluate(
        """html => {
            const fresh = document.createElement("div");
            fresh.innerHTML = html;
            const [old, now] = [document.querySelector("#alignment figure"), fresh.querySelector("figure")];
            for (const { name } of [...old.attributes])
                if (!now.hasAttribute(name)) old.removeAttribute(name);
            for (const each of [...now.attributes]) old.setAttribute(each.name, each.value);
            old.innerHTML = now.innerHTML;
            watched.alignment();
        }""",
        text,
    )
    expect(page.locator(".cells rect.ring")).to_have_count(4)
    expect(page.locator("#alignment tbody tr")).to_have_count(4)


# The overlay and what tokens read


def test_words_are_marked_before_anything_is_fetched(draw: Draw) -> None:
    page = draw()
    drawn = page.locator("#page .overlay rect")
    expect(drawn).to_have_count(2)  # the name of a picture is not drawn, its cells are outlined
    first = drawn.first
    assert [first.get_attribute(name) for name in ("x", "y", "width", "height")] == ["98", "98", "104", "24"]
    expect(page.locator("#page .outlines path.best")).to_have_attribute("d", re.compile("^M"))
    assert not [path for path in draw.fetched if path.endswith(".json")]  # type: ignore[attr-defined]


def test_a_reading_is_fetched_once_when_somebody_points_and_stays_text(draw: Draw) -> None:
    page = draw()
    box = page.locator("#page .sheet").bounding_box()
    assert box
    for _ in range(2):
        for x in (0.15, 0.35, 0.99):
            page.mouse.move(box["x"] + box["width"] * x, box["y"] + box["height"] * 0.11)
            page.wait_for_timeout(100)
    page.mouse.move(box["x"] + box["width"] * 0.35, box["y"] + box["height"] * 0.11)
    expect(page.locator(".under-pointer")).to_contain_text(f"“{HOSTILE}” gives 25% of this score.")
    page.locator(".cells").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator(".both")).to_contain_text("Query token 1 reads clean 90%")
    expect(page.locator(".both")).to_contain_text(HOSTILE)
    assert page.locator("img[onerror]").count() == 0
    assert [path for path in draw.fetched if path.endswith(".json")] == [READING]  # type: ignore[attr-defined]


def test_without_a_reading_the_matrix_and_the_marks_still_work(draw: Draw) -> None:
    page = draw(told=marks(MAP, "pictures/key/gone/12345678.json"))
    page.locator(".cells").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator(".reading")).to_contain_text("Query token 1 takes its maximum")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".both")).to_have_text("")
    page.keyboard.press("Escape")
    expect(page.locator("#page .overlay rect")).to_have_count(2)


def test_the_explanation_is_asked_for_where_it_is_not_there_yet(draw: Draw) -> None:
    page = draw(told=page_map.pending("p1"))
    assert page.evaluate("sent") == [["marks", "submit", {}]]
    assert page.locator("#page .overlay rect").count() == 0
    page.evaluate(
        "html => { document.getElementById('marks').innerHTML = html; watched.marks(); }", marks(MAP)
    )
    expect(page.locator("#page .overlay rect")).to_have_count(2)
    assert page.evaluate("sent.length") == 1
