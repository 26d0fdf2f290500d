"""collection/notices.py: many pages with the same notice make one line; indexing keeps and counts them."""

import pytest

from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.notices import in_lines
from metaembed_demo.core.types import Notice, Page
from tests.support.dummy_encoder import DummyEncoder
from tests.support.sample_pages import fill, make_page

BLANK = "is blank and was left out."


def lines(*notices: Notice) -> list[str]:
    return [line.message for line in in_lines(notices)]


def test_pages_of_one_file_with_one_text_make_one_line() -> None:
    told = lines(*(Notice.of("x.pdf", page, BLANK) for page in (2, 4, 5, 6, 9)), Notice.of("y.pdf", 1, BLANK))
    assert told == [
        "Pages 2, 4-6, 9 of x.pdf are blank and were left out.",
        "Page 1 of y.pdf is blank and was left out.",
    ]


def test_texts_that_differ_in_numbers_alone_give_the_range() -> None:
    low = [
        Notice.of("x.pdf", n, f"was read by OCR with confidence 0.{c}.")
        for n, c in ((1, 61), (2, 48), (3, 7))
    ]
    assert lines(*low) == ["Pages 1-3 of x.pdf were read by OCR with confidence 0.48 to 0.7."]
    many = [
        Notice.of("x.pdf", n, f"has {words} words; 1,000 were read.")
        for n, words in ((1, "1,204"), (2, "9,000"))
    ]
    assert lines(*many) == ["Pages 1-2 of x.pdf have 1,204 to 9,000 words; 1,000 were read."]


def test_what_is_about_a_file_stays_as_it_is() -> None:
    whole = Notice("x.pdf", "The attachment a.txt of x.pdf was left out.")
    other = Notice("x.pdf", "The attachment b.txt of x.pdf was left out.")
    assert lines(whole, other, whole) == [whole.message, other.message]
    assert lines(Notice.of("Page 2 of x.pdf", 3, BLANK)) == [
        "Page 3 of Page 2 of x.pdf is blank and was left out."
    ]


def test_a_blank_page_is_counted_and_no_hit(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    page: Page = replace(make_page("a.pdf", 2, ""), notices=(BLANK,))
    collection = Collection.for_encoder(DummyEncoder())
    report, progress = fill(monkeypatch, collection, make_page("a.pdf", 1, "some words"), page)
    assert (report.added, report.blank, len(collection), progress[-1].done) == (1, 1, 1, 2)
    assert lines(*report.notices) == ["Page 2 of a.pdf is blank and was left out."]


def test_a_notice_about_a_file_is_not_told_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    collection = Collection.for_encoder(DummyEncoder())
    notice = Notice("a.pdf", "The attachment b.txt of a.pdf was left out.")
    report, progress = fill(monkeypatch, collection, notice, make_page("a.pdf", 1, "some words"))
    assert (report.notices, report.problems) == ([notice], [])
    assert [at.message for at in progress] == [None, None]
