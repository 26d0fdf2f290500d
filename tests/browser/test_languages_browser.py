"""A visitor with documents in a language that the default encoder does not read, in a real browser."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from tests.support.browsing import ANSWER_MS, Opener, ask, make_pdf, room, still

PAGES = {
    "wasser.pdf": "Den Wasserkocher soll man mit Essig entkalken. Danach muss man eine Stunde warten.",
    "urlaub.pdf": "Der Antrag auf Urlaub muss vier Wochen vorher bei der Abteilung eingereicht werden.",
}
QUESTION = "Wie bekomme ich Kalk aus dem Kessel heraus?"


def test_one_click_reads_pages_in_their_language(visit: Opener, tmp_path: Path) -> None:
    page = visit()
    room(page, "Documents")
    clear = page.locator("[data-action=clear]")
    clear.click()
    clear.click()
    files = [str(make_pdf(tmp_path / name, [text])) for name, text in PAGES.items()]
    page.set_input_files("#drop input[type=file]", files)
    note = page.locator("#encoders .note")
    expect(note).to_contain_text("2 pages are in languages that MetaEmbed-Mini", timeout=ANSWER_MS)
    page.goto(still(page.url.split("?")[0]))  # the note above the hits needs no visit of this room
    page.wait_for_selector("#dial [role=slider]", state="attached")
    ask(page, QUESTION)
    told = page.locator("#results .note")
    expect(told).to_contain_text("this question seems to be in German")
    tall = page.evaluate(
        "Math.max(...[...document.querySelectorAll('.hit-where span')].map(e => e.offsetHeight))"
    )
    assert tall <= 24, "a language is cut in two lines"
    told.locator("[data-action=reader]").click()
    expect(page.locator("header.top")).to_contain_text("multilingual", timeout=3 * ANSWER_MS)
    expect(page.locator("#results .note")).to_have_count(0)
    expect(page.locator(".hit .hit-where").first).to_contain_text("wasser.pdf")
    room(page, "Documents")
    expect(page.locator("[data-action=encoder][aria-pressed=true]")).to_contain_text("mini-multilingual")
    expect(note).to_have_count(0)
