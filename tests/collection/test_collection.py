"""Collection: indexing with progress, duplicates, clashes of names, removal, and its files."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metaembed_demo.collection import persistence
from metaembed_demo.collection.captions import caption
from metaembed_demo.collection.collection import Collection, Document
from metaembed_demo.collection.indexing import index_files
from metaembed_demo.collection.progress import Report
from metaembed_demo.collection.search import search
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core import disk
from metaembed_demo.core.config import LIMITS
from metaembed_demo.core.types import Page, Problem, Word, page_id
from tests.support.dummy_encoder import DummyEncoder
from tests.support.sample_pages import fill, make_page, read_by, serve

ENCODER = DummyEncoder()


@pytest.fixture
def collection() -> Collection:
    return Collection.for_encoder(ENCODER)


def sources(collection: Collection) -> dict[str, int]:
    return {document.source: document.pages for document in collection.documents()}


def test_pages_are_added_and_progress_counts_them(collection: Collection, monkeypatch) -> None:
    pages = [make_page("a.pdf", n, f"page number {n} of a") for n in range(1, 7)]
    report, told = fill(monkeypatch, collection, *pages)
    assert [(p.done, p.total, p.source, p.number) for p in told] == [(n, 6, "a.pdf", n) for n in range(1, 7)]
    assert (report.added, report.finished, report.problems, report.duplicates) == (6, True, [], [])
    assert report.seconds > 0
    assert collection.index.ids == list(collection.pages) == [page.id for page in pages]
    assert collection.documents() == [Document("a.pdf", 6, "pdf")]
    expected = ENCODER.encode_pages(pages[:1])[0].vectors
    np.testing.assert_allclose(collection.index.vectors([pages[0].id])[0], expected, atol=1e-3)


def test_a_problem_costs_that_file_alone(collection: Collection, monkeypatch) -> None:
    bad = Problem("bad.pdf", "bad.pdf is empty.")
    report, told = fill(
        monkeypatch, collection, make_page("a.pdf", 1, "one"), bad, make_page("b.pdf", 1, "two")
    )
    assert report.problems == [bad]
    assert [p.message for p in told] == [None, "bad.pdf is empty.", None]
    assert sources(collection) == {"a.pdf": 1, "b.pdf": 1}


def test_a_page_that_cannot_be_read_costs_that_page_alone(collection: Collection, monkeypatch) -> None:
    pages = [make_page("a.pdf", n, f"text {n}") for n in (1, 2, 3)]
    serve(monkeypatch, *pages)

    def read(page: Page) -> Page:
        if page.number == 2:
            raise RuntimeError("the OCR gave up")
        return page

    read_by(monkeypatch, read)
    report = Report()
    list(index_files(collection, [], ENCODER, report))
    assert [p.message for p in report.problems] == ["a.pdf page 2 could not be read: the OCR gave up"]
    assert list(collection.pages) == [pages[0].id, pages[2].id]


def test_what_was_read_before_a_cancel_stays_searchable(collection: Collection, monkeypatch) -> None:
    pages = [make_page("a.pdf", n, f"word{n} here") for n in range(1, 11)]
    serve(monkeypatch, *pages)
    report = Report()
    indexing = index_files(collection, [], ENCODER, report)
    for _ in range(6):  # one whole batch of four, and two pages waiting
        next(indexing)
    indexing.close()
    assert list(collection.pages) == collection.index.ids == [page.id for page in pages[:6]]
    assert (report.added, report.finished) == (6, False)


def test_a_failing_encoder_is_reported_and_leaves_whole_pages_only(
    collection: Collection, monkeypatch
) -> None:
    class Failing(DummyEncoder):
        def encode_pages(self, pages):
            if any(page.number > 4 for page in pages):
                raise MemoryError("too large")
            return super().encode_pages(pages)

    serve(monkeypatch, *[make_page("a.pdf", n, f"t{n}") for n in range(1, 7)])
    with pytest.raises(MemoryError):
        list(index_files(collection, [], Failing(), Report()))
    assert len(collection.index) == len(collection.pages) == 4


def test_the_same_page_in_two_files_is_indexed_once(collection: Collection, monkeypatch) -> None:
    report, told = fill(
        monkeypatch, collection, make_page("a.pdf", 3, "same text"), make_page("b.pdf", 1, "same text")
    )
    message = "b.pdf page 1 is the same as a.pdf page 3."
    assert report.duplicates == [message]
    assert told[-1].message == message
    assert told[-1].done == 2
    (page,) = collection.pages.values()
    assert page.places == (("a.pdf", 3), ("b.pdf", 1))
    assert collection.documents() == [Document("a.pdf", 1, "pdf", 1), Document("b.pdf", 1, "pdf", 1)]


def test_the_same_file_again_changes_nothing(collection: Collection, monkeypatch) -> None:
    pages = [make_page("a.pdf", n, f"text {n}") for n in (1, 2)]
    fill(monkeypatch, collection, *pages)
    report, _ = fill(monkeypatch, collection, *pages)
    assert report.duplicates == ["a.pdf page 1 is already indexed.", "a.pdf page 2 is already indexed."]
    assert report.added == 0
    assert sources(collection) == {"a.pdf": 2}


def test_another_file_of_the_same_name_gets_a_number(collection: Collection, monkeypatch) -> None:
    first = [make_page("a.pdf", n, f"first {n}") for n in (1, 2)]
    second = [make_page("a.pdf", 1, "first 1"), make_page("a.pdf", 2, "second 2")]
    third = [make_page("a.pdf", 1, "third 1")]
    fill(monkeypatch, collection, *first, *second, *third)
    assert sources(collection) == {"a.pdf": 2, "a (2).pdf": 2, "a (3).pdf": 1}
    assert collection.holder(("a (2).pdf", 1)) == first[0].id  # its unchanged page is found under both
    assert collection.holder(("a (2).pdf", 2)) == second[1].id
    report, _ = fill(monkeypatch, collection, *second)  # and again: known under its number
    assert report.added == 0
    assert sources(collection) == {"a.pdf": 2, "a (2).pdf": 2, "a (3).pdf": 1}


def test_an_upload_that_was_cancelled_goes_on_under_its_name(collection: Collection, monkeypatch) -> None:
    pages = [make_page("a.pdf", n, f"text {n}") for n in range(1, 5)]
    fill(monkeypatch, collection, *pages[:2])
    report, _ = fill(monkeypatch, collection, *pages)
    assert report.added == 2
    assert sources(collection) == {"a.pdf": 4}


def test_the_page_limit_stops_with_a_problem(collection: Collection, monkeypatch) -> None:
    serve(monkeypatch, *[make_page("a.pdf", n, f"text {n}") for n in range(1, 9)])
    report = Report()
    list(index_files(collection, [], ENCODER, report, LIMITS.model_copy(update={"max_session_pages": 5})))
    assert len(collection) == report.added == 5
    assert not report.finished
    (problem,) = report.problems
    assert "a.pdf page 6" in problem.message
    assert "5 pages" in problem.message


def test_pages_for_which_there_is_memory_are_kept_and_the_rest_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [make_page("big.pdf", n, f"page {n} of many") for n in range(1, 8)]
    fill(monkeypatch, found := Collection.for_encoder(ENCODER), pages[0])
    one = found.held
    assert one > 64 * ENCODER.dim * 2
    serve(monkeypatch, *pages)
    collection, report = Collection.for_encoder(ENCODER), Report()
    limits = LIMITS.model_copy(update={"max_session_memory": 5 * one + one // 2})
    list(index_files(collection, [], ENCODER, report, limits))
    assert (len(collection), report.added, report.finished) == (5, 5, False)
    (told,) = report.problems
    assert told.message.startswith("big.pdf page 6 and what follows was left out. The pages of one session")
    assert told.message.endswith("raise METAEMBED_MAX_SESSION_MEMORY.")
    assert collection.copy().held == 0, "what is shared counts once"
    collection.remove("big.pdf")
    assert collection.held == 0


def test_removing_a_document_leaves_pages_that_another_one_holds(collection: Collection, monkeypatch) -> None:
    shared = make_page("a.pdf", 2, "shared text")
    fill(
        monkeypatch,
        collection,
        make_page("a.pdf", 1, "own text"),
        shared,
        make_page("b.pdf", 7, "shared text"),
    )
    assert collection.remove("a.pdf") == 1
    assert collection.documents() == [Document("b.pdf", 1, "pdf")]
    assert collection.pages[shared.id].places == (("b.pdf", 7),)
    assert collection.index.ids == [shared.id]
    with pytest.raises(KeyError, match=r"a\.pdf"):
        collection.remove("a.pdf")
    assert collection.remove("b.pdf") == 1
    assert len(collection) == len(collection.index) == 0
    fill(monkeypatch, collection, shared)  # a removed page may come back
    assert sources(collection) == {"a.pdf": 1}


def test_a_copy_goes_its_own_way_and_clear_empties(collection: Collection, monkeypatch) -> None:
    fill(monkeypatch, collection, make_page("a.pdf", 1, "one"), make_page("b.png", 1, "two"))
    twin = collection.copy()
    page = next(iter(collection.pages))
    assert twin.pages[page].picture is collection.pages[page].picture
    np.testing.assert_array_equal(twin.index.vectors([page]), collection.index.vectors([page]))
    collection.clear()
    assert (len(collection), len(collection.index), collection.documents()) == (0, 0, [])
    assert sources(twin) == {"a.pdf": 1, "b.png": 1}
    assert [document.kind for document in twin.documents()] == ["pdf", "image"]
    assert collection.merge(twin) == 2
    assert collection.merge(twin) == 0


def test_merging_keeps_apart_what_only_shares_a_name(collection: Collection, monkeypatch) -> None:
    other = Collection.for_encoder(ENCODER)
    fill(monkeypatch, collection, make_page("a.pdf", 1, "mine"))
    fill(monkeypatch, other, make_page("a.pdf", 1, "yours"), make_page("a.pdf", 2, "more"))
    assert collection.merge(other) == 2
    assert sources(collection) == {"a.pdf": 1, "a (2).pdf": 2}
    assert collection.merge(other) == 0
    assert sources(collection) == {"a.pdf": 1, "a (2).pdf": 2}


def test_another_encoder_is_refused(collection: Collection) -> None:
    other = DummyEncoder()
    other.fingerprint = "dummy-2"
    with pytest.raises(ValueError, match="another encoder"):
        index_files(collection, [], other, Report())
    with pytest.raises(ValueError, match="different encoders"):
        collection.merge(Collection("dummy-2", 64, 128))


def test_searches_during_adds_and_removes_never_fail(collection: Collection, monkeypatch) -> None:
    from metaembed_demo.core.budgets import Budget
    from metaembed_demo.core.types import Query

    for k in range(5):
        fill(monkeypatch, collection, *[make_page(f"{k}.pdf", n, f"doc {k} page {n}") for n in range(1, 9)])
    stop, failures = threading.Event(), []

    def hammer() -> None:
        while not stop.is_set():
            try:
                trace = search(collection, ENCODER, Query("page 3 of doc 2"), Budget(8, 16))
                assert len({hit.page_id for hit in trace.hits}) == len(trace.hits)
            except Exception as error:
                failures.append(error)
                return

    thread = threading.Thread(target=hammer)
    thread.start()
    for turn in range(15):
        collection.remove(f"{turn % 5}.pdf")
        fill(monkeypatch, collection, *[make_page(f"{turn % 5}.pdf", n, f"{turn} {n}") for n in range(1, 9)])
    stop.set()
    thread.join()
    assert failures == []


# Disk


@pytest.fixture
def saved(collection: Collection, monkeypatch, tmp_path: Path) -> tuple[Collection, Path]:
    odd = make_page("Übersicht \udcff.pdf", 1, "naïve café \u2028 日本")
    fill(monkeypatch, collection, make_page("a.pdf", 1, "one text"), odd, make_page("b.pdf", 1, "one text"))
    collection.save(tmp_path / "ix")
    return collection, tmp_path / "ix"


def test_saved_and_loaded_it_is_the_same(saved) -> None:
    collection, path = saved
    again = Collection.load(path, ENCODER.fingerprint)
    assert list(again.pages) == list(collection.pages) == again.index.ids
    for page_id_, page in collection.pages.items():
        twin = again.pages[page_id_]
        assert twin.as_json() == page.as_json()
        assert twin.picture == page.picture
    ids = again.index.ids
    np.testing.assert_array_equal(again.index.vectors(ids), collection.index.vectors(ids))
    assert again.documents() == collection.documents()
    assert again.holder(("b.pdf", 1)) == collection.holder(("a.pdf", 1))


def test_saving_again_replaces_and_clears_away(saved) -> None:
    collection, path = saved
    pictures = {file.name: file.stat().st_mtime_ns for file in (path / "images").iterdir()}
    collection.remove("a.pdf")
    collection.remove("b.pdf")
    size = collection.save(path)
    assert [len(list(path.glob(name))) for name in ("table-*", "texts/*", "segments/*")] == [1, 1, 1]
    (left,) = (path / "images").iterdir()
    assert left.stat().st_mtime_ns == pictures[left.name]  # pictures that stay are not written again
    assert size == sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    assert len(Collection.load(path, ENCODER.fingerprint)) == 1


@pytest.mark.parametrize("fail_at", range(4))  # picture, words, table, manifest
def test_a_crash_while_saving_leaves_the_last_good_state(saved, monkeypatch, fail_at: int) -> None:
    """The writing dies at the n-th file; what was saved before still loads."""
    collection, path = saved
    before = list(collection.pages)
    fill(monkeypatch, collection, make_page("new.pdf", 1, "brand new words"))
    writes, real = [], disk.write

    def write(file: Path, data: bytes) -> None:
        if len(writes) == fail_at:
            raise OSError(28, "No space left on device")
        writes.append(file.name)
        real(file, data)

    monkeypatch.setattr(disk, "write", write)
    with pytest.raises(OSError, match="No space"):
        collection.save(path)
    assert list(Collection.load(path, ENCODER.fingerprint).pages) == before
    monkeypatch.setattr(disk, "write", real)
    collection.save(path)
    assert len(Collection.load(path, ENCODER.fingerprint)) == len(before) + 1


def test_what_cannot_be_loaded_is_refused_with_the_reason(saved, tmp_path: Path) -> None:
    _, path = saved

    def refuses(match: str, folder: Path = path, fingerprint: str = ENCODER.fingerprint) -> None:
        with pytest.raises(ValueError, match=match):
            Collection.load(folder, fingerprint)

    refuses("no such folder", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    refuses("no manifest.json", tmp_path / "empty")
    refuses("another encoder", fingerprint="mini-7")
    manifest = path / "manifest.json"
    good = json.loads(manifest.read_text())
    for change, match in [
        ({"format": 1}, "format 1"),
        ({"kind": "x"}, "some other program"),
        ({"pages": 9}, "do not match"),
        ({"table": {**good["table"], "file": "../../etc/passwd"}}, "passwd is missing"),
        ({"index": {**good["index"], "format": 99}}, "format 99"),
        ({"index": {**good["index"], "storage": "wax"}}, "no index has"),
        ({"index": {**good["index"], "r_c": 3}}, "do not fit"),
        ({"index": {key: value for key, value in good["index"].items() if key != "segments"}}, "lacks"),
    ]:
        manifest.write_text(json.dumps({**good, **change}))
        refuses(match)
    manifest.write_text(json.dumps({key: value for key, value in good.items() if key != "table"}))
    refuses("lacks table")
    manifest.write_text("not json")
    refuses("damaged")
    manifest.write_text(json.dumps(good))
    Collection.load(path, ENCODER.fingerprint)


@pytest.mark.parametrize(
    ("pattern", "match"),
    [
        ("table-*", "checksum"),
        ("texts/*", "checksum"),
        ("segments/*/full.npy", "checksum"),
        ("segments/*/ids.json", "checksum"),
        ("images/*", "picture"),
    ],
)
def test_tampered_and_missing_files_are_noticed(saved, pattern: str, match: str) -> None:
    _, path = saved
    file = next(path.glob(pattern))
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match=match):
        Collection.load(path, ENCODER.fingerprint)
    file.unlink()
    with pytest.raises(ValueError, match=r"damaged: .* is missing"):
        Collection.load(path, ENCODER.fingerprint)


def test_folders_of_other_things_are_not_written_into(saved, tmp_path: Path) -> None:
    collection, _ = saved
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("dear")
    for target in (tmp_path / "mine", tmp_path / "mine" / "thesis.txt"):
        with pytest.raises(ValueError, match=r"other files|is a file"):
            collection.save(target)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "dear"
    assert not persistence.is_saved(tmp_path / "mine")


# Stored pages


def test_a_stored_page_keeps_a_bounded_picture() -> None:
    image = Image.effect_noise((3000, 1500), 50).convert("RGB")
    stored = StoredPage.of(Page(page_id(image), "x.png", 1, image))
    assert (stored.width, stored.height) == (1200, 600)
    assert image.size == (3000, 1500)
    assert len(stored.thumbnail) < len(stored.picture)
    with pytest.raises(ValueError, match="no image"):
        StoredPage.of(Page("id", "x.png", 1, None))


def line(text: str, top: float, height: float) -> list[Word]:
    return [
        Word(word, (0.1 + 0.08 * i, top, 0.17 + 0.08 * i, top + height))
        for i, word in enumerate(text.split())
    ]


def test_titles_are_the_largest_type_of_the_upper_half() -> None:
    page = [
        *line("Example Ltd 2024", 0.02, 0.012),
        *line("Energy use", 0.1, 0.04),
        *line("by quarter", 0.15, 0.04),
        *line("The third quarter was the coldest in years", 0.22, 0.015),
        *line("HUGE FOOTER", 0.9, 0.08),
    ]
    assert caption("a.pdf", page) == "Energy use by quarter"
    plain = line("All of one size and nothing more to see", 0.1, 0.02)
    assert caption("a.pdf", plain) == "All of one size and nothing more to see"
    assert caption("a.pdf", line("word " * 40, 0.1, 0.02)).endswith("word…")
    assert len(caption("a.pdf", [Word("x" * 200, (0, 0, 1, 1))] * 5)) <= 60


def test_titles_begin_with_the_first_line_of_a_heading_and_may_stand_low_on_a_cover() -> None:
    page = [*line("Astronomy for", 0.1, 0.04), *line("Beginners", 0.15, 0.04), *line("How to see", 0.3, 0.01)]
    assert (
        caption("a.pdf", [*page, *line("the sky at night with no tools", 0.4, 0.01)])
        == "Astronomy for Beginners"
    )
    cover = [*line("Sorrel Island", 0.7, 0.09), *line("Nineteen square kilometres of heather", 0.8, 0.02)]
    assert caption("a.pdf", cover) == "Sorrel Island"


@pytest.mark.parametrize(
    "stamp",
    ["DRAFT", "Entwurf", "STRICTLY CONFIDENTIAL", "D R A F T", "NOT FOR DISTRIBUTION", "DRAFT v2", "Copy 3"],
)
def test_a_stamp_across_the_page_is_no_title(stamp: str) -> None:
    body = [*line("Energy use", 0.3, 0.03), *line("fell in the third quarter of it", 0.5, 0.01)]
    assert caption("a.pdf", [*line(stamp, 0.4, 0.2), *body]) == "Energy use"
    diagonal = [Word(c, (0.2 + i / 9, 0.7 - i / 9, 0.3 + i / 9, 0.8 - i / 9)) for i, c in enumerate("DRAFT")]
    assert caption("a.pdf", [*diagonal, *body]) == "Energy use"
    plain = line("All of one size and nothing more", 0.4, 0.02)
    assert caption("a.pdf", [*plain, *line(stamp, 0.41, 0.02)]).startswith("All of one size")


@pytest.mark.parametrize("turn", [0, 1])
def test_words_on_their_side_on_an_upright_page_are_no_title(turn: int) -> None:
    page = [*line("Energy use", 0.1, 0.04), *line("The third quarter was the coldest in years", 0.22, 0.015)]
    margin = [
        Word(w, (0.02, 0.3 - i / 8, 0.035, 0.4 - i / 8), turn=turn)
        for i, w in enumerate(["Received", "today"])
    ]
    assert caption("a.pdf", [*margin, *page]) == "Energy use"
    assert caption("a.pdf", [*page, *margin]) == "Energy use"


def drop_cap(letter: str, rest: str) -> list[Word]:
    cap = Word(letter, (0.1, 0.1, 0.15, 0.19))
    first = [Word(t, (0.16 + i / 10, 0.1, 0.24 + i / 10, 0.13)) for i, t in enumerate(rest.split())]
    return [cap, *first, *line("a king, and the king had a daughter", 0.2, 0.03)]


def test_a_drop_cap_is_joined_with_its_word() -> None:
    assert caption("a.pdf", drop_cap("O", "nce upon a time")).startswith("Once upon a time a king")
    assert caption("a.pdf", drop_cap("A", "king sat there")).startswith("A king sat there")
    first, *others = drop_cap("O", "nce upon a time")
    assert caption("a.pdf", [*others, first]).startswith("Once upon a time"), "in any order"


def test_numbers_and_symbols_are_no_titles() -> None:
    page = [*line("4", 0.02, 0.01), *line("12.3 %", 0.1, 0.09), *line("| of all pages are blank", 0.3, 0.02)]
    assert caption("a.pdf", page) == "of all pages are blank"
    assert caption("sums_2024.pdf", line("2024 12.3 % 4,711 88", 0.1, 0.02)) == "sums 2024"
    assert (
        caption("a.pdf", line("目次", 0.1, 0.05) + line("第一章 はじめに 読む人へ 終わりに 十二", 0.3, 0.02))
        == "目次"
    )


def tags(*names: str, sure: float = 0.9) -> list[Word]:
    return [Word(name, (0, 0, 1, 1), "visual", sure) for name in names]


def test_pictures_are_named_by_what_they_surely_show_else_by_file() -> None:
    photo, drawing = tags("orange", "photograph", sure=1), tags("white", "drawing", sure=1)
    cat = [*tags("Egyptian cat", sure=0.74), *tags("animal", "cat"), *photo]
    assert caption("zip.zip/IMG_1.jpg", cat) == "a cat"
    assert caption("b.png", [*tags("umbrella"), *drawing]) == "a drawing of an umbrella"
    assert caption("b.png", [*tags("beach", "dog"), *photo]) == "a photograph of a beach and a dog"
    assert caption("my_house.png", [*tags("envelope", sure=0.7), *drawing]) == "my house"
    balloon = [*tags("balloon", sure=0.81), *tags("aircraft", sure=0.86)]
    assert caption("b.png", [*balloon, *drawing]) == "a drawing of a balloon"
    assert caption("b.png", [*tags("building"), *photo]) == "a building"
    assert caption("my_tissue-1.jpg", [*tags("trilobite", "wool", sure=0.23), *photo]) == "my tissue 1"
    assert caption("my_cat.jpg", [Word("MEOW", (0, 0, 1, 1), "ocr"), *cat]) == "MEOW"
    assert caption("my_cat.jpg", [Word("IIIC", (0, 0, 1, 1), "ocr"), *cat]) == "a cat"
    assert caption("___.jpg", []) == "___.jpg"


def test_labels_of_an_index_without_probabilities_are_no_title() -> None:
    page = StoredPage("p", "my_tissue.jpg", 1, tuple(tags("trilobite", "photograph", sure=1)), b"", 1, 1)
    assert page.title == "a trilobite"
    old = {key: value for key, value in page.as_json().items() if key not in ("reading", "language")}
    assert StoredPage.from_json(old, b"").title == "my tissue"
    assert StoredPage.from_json(page.as_json(), b"") == page
