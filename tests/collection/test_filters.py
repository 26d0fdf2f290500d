"""Filters: their text, what they match, and that a search keeps to them whatever the index."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from metaembed_demo.collection import index_file
from metaembed_demo.collection.calibration import Auto
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.facets import NoPageLeft
from metaembed_demo.collection.filter_parts import LONGEST
from metaembed_demo.collection.filters import PageFilter
from metaembed_demo.collection.push_qdrant import open_remote, push, search_there
from metaembed_demo.collection.ranker import How
from metaembed_demo.collection.search import search
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.budgets import Budget
from metaembed_demo.core.types import Page, Query, Upload
from metaembed_demo.index.auto import Calibration, Stage
from tests.support.dummy_encoder import DummyEncoder
from tests.support.index_files import Entries, refused, repack, with_table
from tests.support.sample_pages import make_page

ENCODER = DummyEncoder(16)
ASKED = Query("coffee machine 7")
DAYS = [0, *(int(datetime(2025, 11, day, 12, tzinfo=timezone.utc).timestamp()) for day in (1, 15, 30))]
NAMES = ["Annual report.pdf", "box.zip/scan [1].JPG", "notes.docx", 'O\'Brien "x".pdf']
FILTERS = [
    "type:pdf",
    "type:jpeg lang:de",
    'document:"annual REPORT.pdf" pages:2-4',
    'document:"*scan [1]*" lang:de lang:en',
    "pages:-2 pages:6",
    "added:2025-11-10..",
    "added:2025-11-01 added:2025-11-30 type:docx type:pdf",
    "document:Alias* pages:70-79",  # another place of pages 0 to 9
    'place:"Annual report.pdf#2-4,7" place:notes.docx#1- type:docx type:pdf',
]


def pages() -> list[StoredPage]:
    """40 pages of four documents in three languages, added on three days or at no time that is known."""
    found = []
    for n in range(40):
        page = make_page(NAMES[n % 4], n // 4 + 1, f"coffee machine {n} part {n * 7}")
        stored = replace(StoredPage.of(page), language=("de", "en", "")[n % 3], added=DAYS[n // 10])
        also = [("Alias of it.pdf", 70 + n)] if n < 10 else []
        found.append(stored.at([*stored.places, *also]))
    return found


@pytest.fixture(scope="module")
def whole() -> Collection:
    made = Collection.for_encoder(ENCODER)
    for page in pages():
        made.put(page, ENCODER.encode_pages([as_read(page)])[0])
    return made


@pytest.fixture
def shelf(whole: Collection) -> Collection:
    return whole.copy()


def as_read(page: StoredPage) -> Page:
    return make_page(page.source, page.number, " ".join(word.text for word in page.words))


def ids(collection: Collection, only: PageFilter, **how: object) -> list[str]:
    asked = How(only=only, **{"mode": "meaning", **how})  # type: ignore[arg-type]
    found = search(collection, ENCODER, ASKED, Budget(4, 8), 8, asked)
    assert found.pages_searched == len(collection.select(only) or collection.pages)
    return [hit.page_id for hit in found.hits]


@pytest.mark.parametrize("text", FILTERS)
def test_a_filter_is_the_same_as_text_and_as_json(text: str) -> None:
    only = PageFilter.parse(text)
    assert PageFilter.parse(str(only)) == only
    assert PageFilter.of(json.loads(json.dumps(only.as_json()))) == only
    assert sum(only.matches(page) for page in pages()) in range(1, 40), "it parts the pages"


@pytest.mark.parametrize("name", [*NAMES, "a\\b", "ü*?", "tab\tand\nline", "quote'd"])
def test_any_name_comes_back_from_text(name: str) -> None:
    only = PageFilter(documents=(name,))
    assert PageFilter.parse(str(only)) == only
    assert only.names(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pdf", r"no part 'pdf'. Write document, type, lang, pages, added"),
        ("typ:pdf", "no part 'typ:pdf'"),
        ("type:../x", "type:../x is no file type. Write an ending, as type:pdf"),
        ("lang:german", "lang:german is no language. .* as lang:de"),
        ("pages:0", "pages:0 names no pages"),
        ("pages:9-3", "pages:9-3 ends before it begins. Write pages:3-9"),
        ("added:2026-13-01", "has no day in '2026-13-01'"),
        ("added:2026-11-30..2026-11-01", "Write added:2026-11-01..2026-11-30"),
        ("added:..", "needs a day"),
        ("document:", "needs a name or a pattern"),
        ("place:report.pdf", "place:report.pdf names no pages of a document. Write place:report.pdf#3-5,8"),
        ('document:"Annual report.pdf', "a quotation mark without its second"),
        ("type:pdf " * LONGEST, "at most 2,000 characters"),
        ("pages:1 " * 101, "at most 100 parts"),
        ({"type": "pdf"}, "filter has no field 'type'. Its fields are documents, types"),
        ({"types": [["pdf"]]}, "filter.types is to be text, or a list"),
        (["type:pdf"], "filter is to be text or an object, not list"),
    ],
)
def test_what_is_wrong_is_named_with_its_fix(text: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PageFilter.of(text)  # type: ignore[arg-type]


def test_chosen_pages_become_a_filter_that_matches_them_alone() -> None:
    found = pages()
    chosen = found[::3]
    only = PageFilter.of_places(page.places[0] for page in chosen)
    assert [page.id for page in found if only.matches(page)] == [page.id for page in chosen]
    with pytest.raises(ValueError, match=r"pages of 101 documents do not fit .* Choose fewer"):
        PageFilter.of_places((f"{n}.pdf", 1) for n in range(101))


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    assert not PageFilter(documents=("*a" * 500 + "b",)).names("a" * 2_000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "document:nope* type:pdf",
            r"No document is called 'nope\*'; what is indexed: Annual report.pdf, Alias",
        ),
        ("type:png", "No document is of the type 'png'; what is indexed is pdf, jpg, docx"),
        ("pages:300-", "No document has the pages '300-'; the longest ends with page 79"),
        ("added:2020-01-01", "those here were from 2025-11-01 to 2025-11-30. Without a date: 10 pages"),
        (
            "document:notes* pages:70-",
            "Left out one by one, without document: 10 pages; without pages: 10 pages",
        ),
    ],
)
def test_why_no_page_is_left_is_said(shelf: Collection, text: str, message: str) -> None:
    with pytest.raises(NoPageLeft, match=message):
        ids(shelf, PageFilter.parse(text))


@pytest.mark.parametrize("storage", ["float16", "int8"])
def test_every_search_gives_the_pages_of_a_whole_ranking_that_the_filter_matches(
    shelf: Collection, storage: str
) -> None:
    shelf.index = shelf.index.stored_as(storage)
    shelf.index.exact_up_to = 2  # so that there is a coarse stage
    auto = Auto(Budget(4, 8), Calibration((Stage(Budget(1, 4), 0.5),), Budget(4, 8), 1, 1, 0, 0, 40))
    vectors = ENCODER.encode_queries([ASKED])[0].vectors
    ranked = shelf.index.rerank(vectors, Budget(4, 8), shelf.index.ids, 40)
    exactly = shelf.index.search(vectors, Budget(4, 8), 40, exact=True)
    for only in map(PageFilter.parse, FILTERS):
        for how, hits in (({}, ranked), ({"exact": True}, exactly), ({"auto": auto}, ranked)):
            matching = [hit.page_id for hit in hits if only.matches(shelf.pages[hit.page_id])]
            assert ids(shelf, only, **how) == matching[:8], (str(only), how)
        for mode in ("words", "both"):
            assert set(ids(shelf, only, mode=mode)) <= set(matching)


def test_a_change_of_the_pages_changes_what_a_filter_selects(shelf: Collection) -> None:
    only = PageFilter.parse("type:docx")
    assert len(shelf.select(only) or ()) == 10
    shelf.remove("notes.docx")
    with pytest.raises(NoPageLeft):
        shelf.select(only)


# Date added


def test_dates_are_kept_on_disk_and_in_files_and_are_no_content(shelf: Collection, tmp_path: Path) -> None:
    dates = {page.digest: page.added for page in shelf.pages.values()}
    assert {replace(page, added=7).digest for page in shelf.pages.values()} == set(dates)
    shelf.save(tmp_path / "saved")
    again = Collection.load(tmp_path / "saved", ENCODER.fingerprint)
    assert {page.digest: page.added for page in again.pages.values()} == dates
    packed = index_file.pack(shelf, tmp_path)
    other = Collection.for_encoder(ENCODER)
    index_file.add(other, Upload(packed, packed.name))
    assert {page.digest: page.added for page in other.pages.values()} == dates


def table_with(added: object) -> Callable[[Entries], None]:
    """Puts this date into each row of an index file's table; None: rows as before there were dates."""

    def change(found: Entries) -> None:
        rows = json.loads(gzip.decompress(found[next(name for name in found if "table-" in name)]))
        rows = [row[:7] if added is None else [*row[:6], "", added] for row in rows]
        with_table(found, gzip.compress(json.dumps(rows).encode()))

    return change


@pytest.mark.parametrize("added", [None, 10**15, -5, "soon", 1.5, [10**9], True], ids=str)
def test_an_index_without_dates_opens_and_odd_dates_are_refused_or_bounded(
    shelf: Collection, tmp_path: Path, added: object
) -> None:
    packed = index_file.pack(shelf, tmp_path)
    file, other = (
        repack(Upload(packed, packed.name), table_with(added), tmp_path),
        Collection.for_encoder(ENCODER),
    )
    if added is not None and type(added) is not int:
        assert "a page that is none" in refused(other, file)
        return
    index_file.add(other, file)
    [date] = {page.added for page in other.pages.values()}
    if added == 10**15:
        assert 0 <= datetime.now(timezone.utc).timestamp() - date < 600, "not after today"
        return
    assert date == 0
    with pytest.raises(NoPageLeft, match="no page here has a date"):
        other.select(PageFilter.parse("added:2026-11-01.."))


# Qdrant


@pytest.mark.parametrize("place", ["", "edge:"], ids=["local", "engine"])
def test_filters_are_payload_filters_on_qdrant(
    shelf: Collection, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = f"{place}{tmp_path / 'qdrant'}"
    moment = StoredPage.of(make_page("talk.mp4", 3, "coffee machine 7"))  # its number is a time
    shelf.put(moment, ENCODER.encode_pages([as_read(moment)])[0])
    exact = {text: ids(shelf, PageFilter.parse(text), exact=True) for text in [*FILTERS, "pages:1-4"]}
    assert moment.id not in exact["pages:1-4"]
    remote = open_remote(shelf, location, "pages")
    assert list(push(shelf, remote))[-1] == 41
    remote.close()
    there = shelf.copy()
    search_there(there, location, "pages")
    assert there.index.by_payload
    asked: list[object] = []
    link = there.index._link
    monkeypatch.setattr(
        there.index,
        "_link",
        lambda method, **how: asked.append(how.get("query_filter")) or link(method, **how),
    )
    for text, wanted in exact.items():
        assert ids(there, PageFilter.parse(text)) == wanted, text
        asked.clear()
        assert ids(there, PageFilter.parse(text), exact=True) == wanted, text
        assert "has_id" not in str(asked), "the server chooses the pages itself"
        assert "key=" in str(asked)
    link.close()


def test_payloads_out_of_step_send_ids_until_they_are_pushed_again(shelf: Collection, tmp_path: Path) -> None:
    location = str(tmp_path / "qdrant")
    remote = open_remote(shelf, location, "pages")
    list(push(shelf, remote))
    remote.close()
    first = next(iter(shelf.pages))
    shelf.note_place(first, ("renamed.pdf", 1))
    only = PageFilter.parse("document:renamed*")
    there = shelf.copy()
    search_there(there, location, "pages")
    assert not there.index.by_payload
    assert ids(there, only) == [first]
    list(push(shelf, there.index))
    there.index.close()
    search_there(there, location, "pages")
    assert there.index.by_payload
    assert ids(there, only) == [first]
    there.index.close()
