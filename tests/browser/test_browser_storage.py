"""Storage, the check against exact search and index files, in a real browser on the sample corpus."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from metaembed_demo.app.ui.page import build_ui
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.config import ROOT
from metaembed_demo.index.block import Parts
from metaembed_demo.index.local import LocalIndex
from tests.support.browsing import ANSWER_MS, Opener, ask, room, settings
from tests.support.dummy_encoder import DummyEncoder
from tests.support.sample_pages import make_page

QUERY = "how do I descale it?"
SCHEMA = json.loads((ROOT / "docs" / "trace.schema.json").read_text())


def kind(page: Page, name: str) -> Locator:
    return page.locator(f"#storage [data-kind={name}]")


def choose(page: Page, name: str) -> None:
    """Another storage; waits until it is in force."""
    settings(page)
    kind(page, name).click()
    wait_kept(page, name)


def wait_kept(page: Page, name: str) -> None:
    page.wait_for_selector(f"#storage [data-kind={name}][aria-pressed=true]")


def check(page: Page) -> str:
    """Check against exact search; the finding."""
    settings(page)
    page.click("#storage [data-action=check]")
    return page.inner_text(".agree h3")


def news(page: Page, kind: str) -> Locator:
    """What the Documents tab tells once its work is done."""
    page.wait_for_selector(f"#news .outcome.{kind}")
    return page.locator("#news .outcome")


def sizes(page: Page) -> list[str]:
    """Bytes a page at the five stops, as the dial shows them."""
    return page.locator("#dial .stop .size").all_inner_texts()


def hits(page: Page) -> list[str]:
    return [str(each.get_attribute("data-page")) for each in page.locator(".hit:not(.ghosts .hit)").all()]


def size(text: str) -> float:
    """Bytes of words such as "3.1 MB"."""
    found = re.search(r"([\d.]+) (B|KB|MB)", text)
    assert found, text
    return float(found[1]) * {"B": 1, "KB": 1000, "MB": 1000**2}[found[2]]


def index_size(page: Page) -> float:
    """Bytes of the index, as the footer says."""
    return size(page.inner_text(".foot p:last-child").rsplit("·", 1)[-1])


def page_count(page: Page) -> int:
    found = re.search(r"([\d,]+) pages?$", page.inner_text(".top .status"))
    assert found
    return int(found[1].replace(",", ""))


def test_int8_halves_the_bytes_and_keeps_the_hits(visit: Opener) -> None:
    page = visit()
    ask(page, QUERY)
    before, found, whole = sizes(page), hits(page), index_size(page)
    assert before[-1] == "49 KB a page"
    choose(page, "int8")
    assert sizes(page)[-1] == "25 KB a page"
    assert [size(each) for each in sizes(page)] == pytest.approx(
        [size(each) / 2 for each in before], rel=0.05
    )
    assert set(hits(page)) == set(found)
    assert hits(page)[0] == found[0]
    assert index_size(page) == pytest.approx(whole / 2, rel=0.03)
    page.keyboard.press("Escape")  # the settings lie over the page
    page.click("[data-copy=trace]")
    page.wait_for_selector("#link .link[data-trace]")
    trace = json.loads(str(page.get_attribute("#link .link", "data-trace")))
    jsonschema.validate(trace, SCHEMA)
    assert trace["storage"] == "int8"
    page.locator(".stop").nth(1).click()
    expect(page.locator("#dial-title b").first).to_have_text("2×4")
    assert kind(page, "int8").locator(".num").inner_text() == sizes(page)[1].removesuffix(" a page")
    room(page, "Documents")
    expect(page.locator(".statistics .hint")).to_contain_text("int8 codes of 384-component vectors")


def test_the_check_says_how_many_hits_agree(visit: Opener) -> None:
    page = visit()
    expect(page.locator("#storage [data-action=check]")).to_be_disabled()
    ask(page, QUERY)
    assert check(page) == "10 of 10 hits agree with exact search, in the same order"
    pages = page_count(page)
    rows = page.locator(".agree tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text(f"{pages} of {pages}")
    assert re.search(r"[\d.]+ ms", rows.last.inner_text())
    choose(page, "binary")
    expect(page.locator(".agree")).to_have_count(0)  # it was of another storage
    assert "of 10 hits agree" in check(page)
    expect(rows).to_have_count(3)
    agree = [int(row.locator("td").first.inner_text().split()[0]) for row in rows.all()[:2]]
    assert agree[1] >= agree[0], "re-ranking by the full vectors loses nothing"
    page.click(".agree-close")
    expect(page.locator(".agree")).to_have_count(0)


def test_re_ranking_brings_the_exact_scores_back(visit: Opener) -> None:
    page = visit()
    ask(page, QUERY)
    exact = page.locator(".hit").first.locator(".hit-score").inner_text()
    expect(page.locator("#storage [data-set=rescore]")).to_have_count(0)  # float16 has nothing to re-rank
    choose(page, "binary")
    expect(page.locator(".hit").first.locator(".hit-score")).not_to_have_text(exact)
    page.locator("#storage [data-set=rescore]").check()
    expect(page.locator(".hit").first.locator(".hit-score")).to_have_text(exact)
    expect(page.locator("#storage [data-set=rescore]")).to_be_checked()


def test_pq_and_back_by_keyboard(visit: Opener) -> None:
    page = visit()
    ask(page, QUERY)
    found, first = hits(page), sizes(page)
    settings(page)
    kind(page, "float16").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(kind(page, "pq")).to_be_focused()
    page.keyboard.press("Enter")
    wait_kept(page, "pq")
    expect(kind(page, "pq")).to_be_focused()  # though the control was drawn anew
    assert sizes(page)[-1] == "6.1 KB a page"
    assert len(set(hits(page)) & set(found)) >= 5
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    wait_kept(page, "float16")
    assert sizes(page) == first
    assert hits(page) == found, "the full vectors were kept"


def test_too_few_pages_for_pq_are_told_in_place(visit: Opener) -> None:
    page = visit()
    room(page, "Documents")
    page.locator("[data-action=clear]").click()
    page.locator("[data-action=clear]").click()
    expect(page.locator(".top .status")).to_contain_text("0 pages")
    room(page, "Search")
    expect(kind(page, "pq")).to_contain_text("from 4 pages")
    settings(page)
    kind(page, "pq").press("Enter")
    expect(page.locator("#storage .keep-problem")).to_contain_text("at least 4 pages; there are 0")
    expect(kind(page, "float16")).to_have_attribute("aria-pressed", "true")


def test_storage_is_each_visitors_own(visit: Opener) -> None:
    mine, yours = visit(), visit()
    choose(mine, "binary")
    ask(yours, QUERY)
    expect(kind(yours, "float16")).to_have_attribute("aria-pressed", "true")
    assert sizes(yours)[-1] == "49 KB a page"


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, threading.Event]]:
    """An app of 40 pages in this process that keeps anew a page in 0.2 s, until `go_on` is set."""
    go_on = threading.Event()
    encoded = LocalIndex._encoded

    def waiting(index: LocalIndex, vectors: np.ndarray) -> Parts:
        if index.storage != "float16":
            go_on.wait(0.2)
        return encoded(index, vectors)

    encoder = DummyEncoder()
    pages = Collection.for_encoder(encoder)
    for number in range(1, 41):
        made = make_page("guide.pdf", number, f"sheet{number} boat harbour")
        pages.put(StoredPage.of(made), encoder.encode_pages([made])[0])
    monkeypatch.setattr("metaembed_demo.index.local.STEP", 1)
    monkeypatch.setattr(LocalIndex, "_encoded", waiting)
    demo, options = build_ui(encoder, pages)
    _, address, _ = demo.launch(server_name="127.0.0.1", quiet=True, prevent_thread_lock=True, **options)
    yield address, go_on
    go_on.set()
    demo.close()


def test_a_conversion_shows_how_far_it_is_and_is_cancelled_by_keyboard(
    slow: tuple[str, threading.Event], browser: Browser
) -> None:
    address, go_on = slow
    page = browser.new_context(viewport={"width": 390, "height": 844}).new_page()
    page.set_default_timeout(ANSWER_MS)
    page.goto(address)
    page.wait_for_selector("#dial [role=slider]")
    ask(page, "boat harbour")
    settings(page)
    kind(page, "int8").click()
    bar, cancel = page.locator("#storage [role=progressbar]"), page.locator("#storage [data-action=cancel]")
    expect(page.locator("#storage .keep-told")).to_have_text(
        re.compile(r"^Converting: [1-9]\d? of 40 pages$")
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    before = int(str(bar.get_attribute("aria-valuenow")))
    page.wait_for_function(
        "(before) => Number(document.querySelector('#storage [role=progressbar]').ariaValueNow) > before",
        arg=before,
    )
    ask(page, "sheet7")
    expect(page.locator(".hit").first).to_contain_text("guide.pdf")
    settings(page)
    kind(page, "binary").focus()
    page.keyboard.press("Tab")
    expect(cancel).to_be_focused()
    page.wait_for_timeout(700)  # it is drawn anew meanwhile
    expect(cancel).to_be_focused()
    page.keyboard.press("Enter")
    expect(cancel).to_have_count(0)
    expect(bar).to_have_count(0)
    expect(kind(page, "float16")).to_have_attribute("aria-pressed", "true")
    expect(kind(page, "float16")).to_be_focused()
    expect(page.locator("#storage .keep-problem")).to_have_count(0)
    go_on.set()
    choose(page, "int8")
    page.context.close()


def test_a_downloaded_index_restores_a_removed_document(visit: Opener, tmp_path: Path) -> None:
    page = visit()
    before = page_count(page)
    room(page, "Documents")
    with page.expect_download() as waited:
        page.click("#index-file [data-action=download]")
    assert waited.value.suggested_filename == "metaembed-index.zip"
    file = tmp_path / "my index.zip"
    waited.value.save_as(file)
    expect(news(page, "good")).to_contain_text(f"{before} pages packed")
    with page.expect_download() as again:
        page.click("#index-file [data-action=download]")
    assert again.value.path().stat().st_size > 1_000_000, "the very same once more is downloaded, too"

    row = page.locator(".listing li", has_text="coffee-manual.pdf")
    row.get_by_role("button", name="Remove").click()
    expect(row).to_have_count(0)
    gone = before - page_count(page)
    assert gone > 0
    page.set_input_files("#index-file input[type=file]", str(file))
    page.wait_for_selector("#news .progress, #news :text('added')")
    expect(news(page, "good")).to_contain_text(f"{gone} pages added")
    expect(news(page, "good")).to_contain_text("From my index.zip")
    expect(row).to_contain_text(f"{gone} pages")
    assert page_count(page) == before
    room(page, "Search")
    ask(page, QUERY)
    expect(page.locator(".hit").first).to_contain_text("coffee-manual.pdf")


def test_a_file_that_is_no_index_is_told_and_changes_nothing(visit: Opener, tmp_path: Path) -> None:
    page = visit()
    before = page_count(page)
    file = tmp_path / "broken <b>.zip"
    file.write_bytes(b"this is no archive")
    room(page, "Documents")
    page.set_input_files("#index-file input[type=file]", str(file))
    expect(news(page, "warn")).to_contain_text("broken <b>.zip was not opened")
    expect(news(page, "warn")).to_contain_text("is no .zip file")
    assert page_count(page) == before
    expect(page.locator("#index-file [data-action=download]")).to_be_enabled()


@pytest.mark.parametrize("width", [390, 1024])
def test_the_check_scrolls_nothing_sideways(visit: Opener, width: int) -> None:
    page = visit(width, 844)
    ask(page, QUERY)
    choose(page, "binary")
    check(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = page.evaluate(
        """(width) => [...document.querySelectorAll('#storage *')].filter((each) => {
            const box = each.getBoundingClientRect();
            return box.width && box.right > width + 1 && !each.closest('.hidden');
        }).map((each) => each.outerHTML.slice(0, 80))""",
        width,
    )
    assert outside == []
