"""The real page in a real browser, on the real encoder and the sample corpus."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image, ImageDraw
from playwright.sync_api import Page, Route, expect

from tests.support.browsing import Opener, ask, make_pdf, room, settings
from tests.support.sample_media import film, slide

STOPS = ["1×1", "2×4", "4×8", "8×16", "16×64"]


def page_count(page: Page) -> int:
    """Pages in the index, as the header says."""
    found = re.search(r"([\d,]+) pages?$", page.inner_text(".top .status"))
    assert found
    return int(found[1].replace(",", ""))


def make_picture(path: Path) -> Path:
    picture = Image.new("RGB", (480, 320), (230, 140, 40))
    ImageDraw.Draw(picture).ellipse([160, 80, 320, 240], fill=(250, 220, 90))
    picture.save(path)
    return path


# Searching


def test_a_query_by_enter_then_the_dial_through_all_stops_by_keyboard(visit: Opener) -> None:
    page = visit()
    ask(page, "How much energy was used in each quarter?")
    expect(page.locator(".hit")).to_have_count(10)
    slider = page.locator("[role=slider]")
    slider.focus()
    shades = []
    for stop, name in enumerate(STOPS):
        slider.press("Home" if stop == 0 else "ArrowRight")
        expect(page.locator("#dial-title b").first).to_have_text(name)  # drawn by the server
        expect(slider).to_have_attribute("aria-valuenow", str(stop + 1))
        cost = re.search(r"([\d.]+) ms scoring at this budget", page.inner_text(".readout"))
        assert cost
        assert float(cost[1]) > 0
        shades.append(page.locator(".hit").first.locator(".bar i").count())
        expect(page.locator(".matrix rect.ring")).to_have_count([1, 2, 4, 8, 16][stop])  # by its script
        expect(page.locator(".matrix .as-table tbody tr")).to_have_count([1, 2, 4, 8, 16][stop])
    assert shades == [1, 2, 3, 4, 5]
    slider.press("ArrowRight")  # at the end of the dial nothing happens
    expect(slider).to_have_attribute("aria-valuenow", "5")


def test_the_dial_answers_fast_fingers_with_the_last_stop(visit: Opener) -> None:
    page = visit()
    ask(page, "train timetable")
    page.locator("[role=slider]").focus()
    for key in ("ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowRight"):
        page.keyboard.press(key)
    expect(page.locator("#dial-title b").first).to_have_text("2×4")
    expect(page.locator(".legend .off")).to_have_count(3)
    expect(page.locator("[role=slider]")).to_have_attribute("aria-valuenow", "2")
    page.unroute_all(behavior="wait")


def test_the_dial_follows_a_drag_to_where_it_ends(visit: Opener) -> None:
    page = visit()
    ask(page, "train timetable")
    stops = [each.bounding_box() for each in page.locator(".stop").all()]
    places = [(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) for box in stops if box]
    page.mouse.move(*places[4])
    page.mouse.down()
    for stop in (3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 2):
        page.mouse.move(*places[stop])
    page.mouse.up()
    expect(page.locator("#dial-title b").first).to_have_text("4×8")
    expect(page.locator(".legend .off")).to_have_count(2)
    expect(page.locator("[role=slider]")).to_have_attribute("aria-valuenow", "3")
    page.wait_for_timeout(500)
    expect(page.locator("#dial-title b").first).to_have_text("4×8")


def test_an_answer_that_arrives_late_does_not_replace_a_newer_one(visit: Opener) -> None:
    page = visit()
    ask(page, "train timetable")
    held: list[Route] = []

    def delay(route: Route) -> None:
        answer = route.fetch()
        if not held:
            held.append(route)
            page.wait_for_timeout(1000)  # meanwhile the next one is answered
        route.fulfill(response=answer)

    page.route("**/run/predict*", delay)
    page.fill("#query textarea, #query input", "coffee machine")
    page.press("#query textarea, #query input", "Enter")
    while not held:
        page.wait_for_timeout(20)
    page.locator(".stop").nth(1).click()
    expect(page.locator("#dial-title b").first).to_have_text("2×4")
    expect(page.locator(".page")).to_contain_text("coffee-manual.pdf")
    page.wait_for_timeout(1500)
    expect(page.locator("#dial-title b").first).to_have_text("2×4")
    expect(page.locator("[role=slider]")).to_have_attribute("aria-valuenow", "2")


def test_the_dial_moves_by_click(visit: Opener) -> None:
    page = visit()
    page.locator(".stop").nth(1).click()
    expect(page.locator("#dial-title b").first).to_have_text("2×4")


def test_a_free_budget_is_marked_as_untrained(visit: Opener) -> None:
    page = visit()
    ask(page, "train timetable")
    settings(page)
    tokens = page.locator("#free input[type=range]").first
    tokens.focus()
    for _ in range(5):
        tokens.press("ArrowLeft")
    expect(page.locator("#dial-title")).to_contain_text("untrained stop")
    expect(page.locator("#dial-title b").first).to_have_text("11×64")
    number = page.locator("#free input[type=number]").nth(1)
    number.fill("24")
    number.press("Tab")
    expect(page.locator("#dial-title b").first).to_have_text("11×24")
    page.locator(".stop").nth(2).click()
    expect(page.locator("#dial-title b").first).to_have_text("4×8")
    expect(number).to_have_value("8")  # the sliders follow the dial
    settings(page)
    tokens.press("ArrowRight")
    expect(page.locator("#dial-title b").first).to_have_text("5×8")


def test_a_hit_opens_large_with_its_alignment_and_timing(visit: Opener) -> None:
    page = visit()
    ask(page, "How much energy was used in each quarter?")
    first = page.locator(".hit").first
    expect(first).to_have_attribute("aria-current", "true")
    before = page.get_attribute(".picture img", "src")
    third = page.locator(".hit").nth(2)
    title = third.locator(".hit-title").inner_text()
    first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(third).to_have_attribute("aria-current", "true")
    expect(page.locator(".page h2")).to_contain_text(title)
    assert page.get_attribute(".picture img", "src") != before
    page.wait_for_function("document.querySelector('.picture img').naturalWidth > 200")
    assert all(
        re.match(r"pictures/[\w-]+/\w+/", str(each.get_attribute("src")))
        for each in page.locator(".hit img").all()
    )

    page.locator(".cells").focus()
    page.keyboard.press("ArrowDown")  # to the first row's maximum, then one row down
    expect(page.locator(".reading")).to_contain_text("Query token 1 takes its maximum")
    page.keyboard.press("ArrowDown")
    expect(page.locator(".reading")).to_contain_text("Query token 2")

    page.get_by_role("tab", name="Timing", exact=True).click()
    expect(page.locator(".timing h3")).to_contain_text(re.compile(r"takes \d+% of [\d.]+ ms"))

    page.locator(".picture").click()
    expect(page.locator("dialog.lightbox")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog.lightbox")).to_be_hidden()


def test_an_example_fills_the_box_and_searches(visit: Opener) -> None:
    page = visit()
    example = page.locator(".examples button").first
    words = str(example.get_attribute("data-query"))
    example.click()
    page.wait_for_selector(".hit")
    expect(page.locator("#query textarea, #query input")).to_have_value(words)


def test_what_is_typed_before_the_server_has_answered_stays(visit: Opener) -> None:
    page = visit()
    held: list[Route] = []
    page.route("**/queue/join*", lambda route: route.continue_() if held else held.append(route))
    page.reload()
    page.fill("#query textarea, #query input", "train timetable")
    while not held:
        page.wait_for_timeout(50)
    held[0].continue_()
    page.wait_for_selector("#results .state.ready")
    page.press("#query textarea, #query input", "Enter")
    expect(page.locator(".hit")).to_have_count(10)


def test_a_picture_is_a_query(visit: Opener, tmp_path: Path) -> None:
    page = visit()
    page.set_input_files("#picture input[type=file]", str(make_picture(tmp_path / "sun.png")))
    page.wait_for_selector(".hit")
    expect(page.locator(".hit")).to_have_count(10)
    expect(page.locator("#picture img")).to_be_visible()
    page.locator(".examples button").first.click()  # an example is a query of its own
    expect(page.locator("#picture img")).to_be_hidden()


def test_a_picture_that_cannot_be_read_is_told_in_place_and_removed(visit: Opener, tmp_path: Path) -> None:
    page = visit()
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"this is no picture")
    page.set_input_files("#picture input[type=file]", str(bad))
    expect(page.locator("#results .state.error")).to_contain_text("bad.png")
    page.click(".drop-clear")
    expect(page.locator("#results .state.ready")).to_be_visible()
    expect(page.locator("#picture .drop-words")).to_have_text("Drop a picture")


def test_a_query_of_markup_stays_text(visit: Opener) -> None:
    page = visit()
    ask(page, "<img src=x onerror=alert(1)> ${alert(2)} {{value}}")
    assert page.locator("img[onerror]").count() == 0


# Documents


def test_a_pdf_a_picture_and_a_broken_file(visit: Opener, tmp_path: Path) -> None:
    page = visit()
    before = page_count(page)
    text = "The lighthouse keeper of Ulmholm polishes the brass lens every Thursday morning."
    pdf = make_pdf(tmp_path / "Ulmholm & Söhne <b>.pdf", [text, "Appendix with the tide tables of Ulmholm."])
    picture = make_picture(tmp_path / "sun.png")
    broken = tmp_path / "broken.pdf"
    broken.write_bytes(pdf.read_bytes()[:300])
    room(page, "Documents")
    page.set_input_files("#drop input[type=file]", [str(pdf), str(picture), str(broken)])
    page.wait_for_selector(".outcome")

    expect(page.locator(".outcome h2")).to_contain_text("3 pages added")
    expect(page.locator(".problems li")).to_have_count(1)
    expect(page.locator(".problems li")).to_contain_text("broken.pdf")
    row = page.locator(".listing li", has_text="Ulmholm & Söhne <b>.pdf")
    expect(row).to_contain_text("2 pages")
    assert page_count(page) == before + 3

    room(page, "Search")
    ask(page, "Who polishes the brass lens of the lighthouse?")
    expect(page.locator(".hit").first).to_contain_text("Ulmholm & Söhne <b>.pdf")

    room(page, "Documents")
    page.set_input_files("#drop input[type=file]", [str(pdf)])
    expect(page.locator(".outcome")).to_contain_text("2 pages already in the index")

    row.get_by_role("button", name="Remove").click()
    expect(row).to_have_count(0)
    assert page_count(page) == before + 1
    room(page, "Search")
    expect(page.locator(".hit", has_text="Ulmholm")).to_have_count(0)


def test_indexing_is_cancelled_and_what_was_done_stays(visit: Opener, tmp_path: Path) -> None:
    page = visit()
    before = page_count(page)
    words = ["apple", "bread", "cloud", "drum", "eagle", "flute", "grass", "horn", "iron", "jade", "kite"]
    texts = [f"Sheet {i}. " + " ".join(words[(i + j) % 11] for j in range(60)) for i in range(200)]
    pdf = make_pdf(tmp_path / "long.pdf", texts)
    room(page, "Documents")
    page.set_input_files("#drop input[type=file]", [str(pdf)])
    page.wait_for_function("Number(document.querySelector('[role=progressbar]')?.ariaValueNow) >= 4")
    assert "of 200 pages" in page.inner_text(".progress")
    assert "long.pdf" in page.inner_text(".progress")
    page.click("#cancel")
    page.wait_for_selector(".outcome")
    expect(page.locator(".outcome h2")).to_contain_text("Cancelled")
    added = page_count(page) - before
    assert 4 <= added < 200
    expect(page.locator(".listing li", has_text="long.pdf")).to_contain_text(f"{added} pages")
    expect(page.locator("#cancel")).to_be_hidden()


def test_clearing_asks_twice_leaves_a_designed_page_and_is_undone(visit: Opener) -> None:
    page = visit()
    before = page_count(page)
    room(page, "Documents")
    clear = page.locator("[data-action=clear]")
    clear.click()
    expect(clear).to_contain_text("Really remove")
    assert page_count(page) == before
    clear.click()
    expect(page.locator(".top .status")).to_contain_text("0 pages")
    room(page, "Search")
    expect(page.locator("#results .state")).to_contain_text("nothing to search")
    page.click("#results [data-action=restore]")
    expect(page.locator("#results .state")).to_contain_text(f"{before} pages ready")


def test_a_film_is_found_by_what_is_shown_and_said(visit: Opener, tmp_path: Path) -> None:
    page = visit()
    shown = [(12, slide("Opening hours\nof the planetarium"))]
    film(tmp_path / "tour.mkv", shown, [(2, "Bring a warm scarf, the dome is not heated.")])
    room(page, "Documents")
    page.set_input_files("#drop input[type=file]", [str(tmp_path / "tour.mkv")])
    page.wait_for_selector(".outcome")
    expect(page.locator(".outcome h2")).to_contain_text("2 pages added")
    room(page, "Search")
    for asked, found in (("opening hours of the planetarium", "0:00 picture"), ("warm scarf", "0:00 speech")):
        ask(page, asked)
        expect(page.locator(".hit").first).to_contain_text("tour.mkv")
        expect(page.locator(".hit").first).to_contain_text(found)
        expect(page.locator(".hit", has_text="tour.mkv")).to_have_count(1)
        expect(page.locator(".page .hit-where")).to_contain_text(found)


def test_visitors_do_not_see_each_others_documents(visit: Opener, tmp_path: Path) -> None:
    mine, yours = visit(), visit()
    room(mine, "Documents")
    mine.set_input_files("#drop input[type=file]", [str(make_pdf(tmp_path / "secret.pdf", ["My diary."]))])
    mine.wait_for_selector(".outcome")
    expect(mine.locator(".listing")).to_contain_text("secret.pdf")
    yours.reload()
    yours.wait_for_selector("#dial [role=slider]")
    room(yours, "Documents")
    expect(yours.locator(".listing li").first).to_be_visible()
    expect(yours.locator(".listing")).not_to_contain_text("secret.pdf")


def test_a_reload_and_another_tab_find_the_uploads_again(visit: Opener, tmp_path: Path) -> None:
    page = visit()
    room(page, "Documents")
    page.set_input_files("#drop input[type=file]", [str(make_pdf(tmp_path / "diary.pdf", ["My diary."]))])
    page.wait_for_selector(".outcome")
    (cookie,) = [each for each in page.context.cookies() if each["name"] == "metaembed_visitor"]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
    assert "metaembed_visitor" not in page.evaluate("document.cookie")
    room(page, "Search")
    ask(page, "my diary")
    page.locator(".stop").nth(1).click()
    expect(page.locator("#dial-title b").first).to_have_text("2×4")
    ask(page, "train timetable")
    expect(page).to_have_title("train timetable - MetaEmbed demo")
    page.go_back()  # without a reload, to the search as it was left
    expect(page).to_have_title("my diary - MetaEmbed demo")
    expect(page.locator("#query textarea, #query input")).to_have_value("my diary")
    expect(page.locator("#dial-title b").first).to_have_text("2×4")
    kept = "metaembed-visit"
    page.evaluate(f"sessionStorage.setItem('{kept}', JSON.stringify({{session: 'of.old', own: 3}}))")
    page.reload()
    expect(page.locator("#gone")).to_contain_text(
        "3 documents of your visit are gone: the server was restarted"
    )
    page.click("#gone button")
    expect(page.locator(".listing")).to_contain_text("diary.pdf")
    room(page, "Search")
    expect(page.locator(".hit").first).to_contain_text("diary.pdf")
    second = page.context.new_page()
    second.goto(page.url)
    room(second, "Documents")
    expect(second.locator(".listing")).to_contain_text("diary.pdf")
    room(second, "Search")
    ask(second, "the diary of mine")
    expect(second.locator(".hit").first).to_contain_text("diary.pdf")
    second.wait_for_function("document.querySelector('.picture img').naturalWidth > 200")
    page.go_back()  # to the page before the first search
    expect(page.locator("#results .state.ready")).to_be_visible()


# The API


def test_the_api_searches_the_sample_corpus_and_hides_the_rest(address: str) -> None:
    client = Client(address, verbose=False)
    names = ("delete", "documents", "end_session", "explain", "index", "new_session", "search")
    assert sorted(client.view_api(return_format="dict")["named_endpoints"]) == [f"/{name}" for name in names]
    found = client.predict("How do I descale the machine?", "8x16", 3, api_name="/search")
    assert found["budget"] == {"r_q": 8, "r_c": 16, "trained": True}
    assert [hit["rank"] for hit in found["hits"]] == [1, 2, 3]
    assert all(hit["source"] and hit["page"] >= 1 and hit["title"] for hit in found["hits"])
    with pytest.raises(AppError, match="is not a budget"):
        client.predict("How do I descale the machine?", "large", 3, api_name="/search")


# Sizes and modes


@pytest.mark.parametrize("width", [390, 1024])
def test_nothing_scrolls_sideways(visit: Opener, width: int) -> None:
    page = visit(width, 844)
    ask(page, "How much energy was used in each quarter?")
    settings(page)
    for name in ("Search", "Documents"):
        room(page, name)
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        outside = page.evaluate(
            """(width) => [...document.querySelectorAll('.contain *')].filter((each) => {
                const box = each.getBoundingClientRect();
                return box.width && box.right > width + 1 && each.checkVisibility({ opacityProperty: true })
                    && !each.closest('.hidden, .visually-hidden, .sr-only, [aria-hidden=true]')
                    && !each.closest('.examples, .query-words');
            }).map((each) => each.outerHTML.slice(0, 80))""",
            width,
        )
        assert outside == []


IN_VIEW = """[...document.querySelectorAll('.hit')].filter((hit) => {
    const box = hit.getBoundingClientRect();
    return box.top >= 0 && box.bottom <= innerHeight;
}).length"""


SHIFTS = """() => new Promise((done) => new PerformanceObserver((list) => done(
    list.getEntries().reduce((sum, each) => sum + (each.hadRecentInput ? 0 : each.value), 0)
)).observe({ type: 'layout-shift', buffered: true }) ?? setTimeout(() => done(0), 500))"""


def test_hits_are_in_view_at_once_as_a_list_and_as_a_grid_and_walked_by_keys(visit: Opener) -> None:
    page = visit(1280, 800)
    assert page.evaluate(SHIFTS) < 0.05
    page.keyboard.press("Tab")
    page.locator("body").press("/")
    expect(page.locator("#query textarea, #query input")).to_be_focused()
    ask(page, "how do I descale it?")
    assert page.evaluate(IN_VIEW) >= 3
    page.focus(".skip")
    page.keyboard.press("Enter")  # stays on the page, with the search
    expect(page.locator(".hit").first).to_be_focused()
    page.click(".refine summary")
    page.keyboard.press("Escape")
    expect(page.locator(".refine-panel")).to_be_hidden()
    expect(page.locator(".refine summary")).to_be_focused()
    page.click("[data-as=grid]")
    assert page.evaluate(IN_VIEW) >= 5
    for tab in page.locator("#evidence [role=tab]").all():
        expect(tab).to_be_in_viewport(ratio=1)
    hits = page.locator(".hit")
    hits.first.focus()
    page.keyboard.press("ArrowDown")  # the row below
    row = page.evaluate("[...document.querySelectorAll('.hit')].indexOf(document.activeElement)")
    assert row >= 2
    page.keyboard.press("ArrowRight")
    expect(hits.nth(row + 1)).to_be_focused()
    page.keyboard.press("Home")
    page.wait_for_selector("#lens img")
    page.keyboard.press("Escape")
    expect(page.locator("#lens")).to_have_count(0)
    page.click("[data-as=list]")
    page.evaluate("scrollTo(0, 600)")
    for region in ("#dial", "#page .picture", "#evidence"):
        expect(page.locator(region).first).to_be_in_viewport(ratio=0.5)

    phone = visit(390, 844)
    assert phone.evaluate(SHIFTS) < 0.05
    ask(phone, "how do I descale it?")
    expect(phone.locator("#dial")).to_be_in_viewport(ratio=1)
    assert phone.evaluate(IN_VIEW) >= 1
    phone.evaluate("scrollTo(0, 900)")  # the dial alone stays, in an eighth of the screen
    expect(phone.locator("[role=slider]")).to_be_in_viewport(ratio=0.9)
    phone.wait_for_function("document.querySelector('#strip').getBoundingClientRect().bottom < 844 / 8")


def test_narrow_screens_show_the_page_below_the_results(visit: Opener) -> None:
    page = visit(390, 844)
    ask(page, "How much energy was used in each quarter?")
    tops = [
        page.locator(part).bounding_box() for part in ("#query", "#dial", "#results", "#page", "#evidence")
    ]
    heights = [box["y"] for box in tops if box]
    assert len(heights) == 5
    assert heights == sorted(heights)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_mode_follows_the_system_until_it_is_switched(visit: Opener, scheme: str) -> None:
    page = visit(scheme=scheme)

    def is_dark() -> bool:
        red = re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))[0]
        return int(red) < 128

    assert is_dark() == (scheme == "dark")
    page.click(".mode")
    assert is_dark() != (scheme == "dark")
    page.reload()
    page.wait_for_selector("#dial [role=slider]")
    page.wait_for_timeout(500)
    assert is_dark() != (scheme == "dark"), "the choice is kept"
