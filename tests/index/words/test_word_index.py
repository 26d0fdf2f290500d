"""The lexical index: what is found, in which order, and what copies, files and threads see of it."""

import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metaembed_demo.index.words import ranking, word_index
from metaembed_demo.index.words.word_index import WordIndex

PAGES = {
    "bolt": ("Bolt AX-4711-B of 12.03.2024, EAN 5 901234 123457, costs 6,278 crowns", "en"),
    "twin": ("Bolt AX-4711-D and nut AX-4712-B, see ZR-5500/12; AX AX AX 4711 4711 B B", "en"),
    "door": ("The houses have red doors, and a blue door. Receive keys at the lobby.", "en"),
    "haus": ("Die Häuser haben eine rote Tür. Die Kautionen werden zurückgezahlt.", "de"),
    "cafe": ("Le café ouvre l'été, de l'électricité comprise", "fr"),
    "toshokan": ("図書館の 開館 時間は 九時 です 水", "ja"),
    "thai": ("ห้องสมุดเปิดเวลาเก้าโมง", "th"),
    "korean": ("도서관은 아홉 시에 연다", "ko"),
    "bare": ("houses unknown tongue", ""),
}


def make(pages: dict[str, tuple[str, str]] = PAGES, each: int = 100) -> WordIndex:
    """An index of pages, committed after every `each`."""
    index = WordIndex()
    for at, (page_id, (text, language)) in enumerate(pages.items(), 1):
        index.add(page_id, text.split(), language)
        if at % each == 0:
            index.commit()
    index.commit()
    return index


@pytest.fixture(scope="module")
def index() -> WordIndex:
    return make()


def ids(index: WordIndex, query: str, k: int = 10, allowed: list[str] | None = None) -> list[str]:
    return [hit.page_id for hit in index.search(query, k, allowed).hits]


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("AX-4711-B", "bolt"),
        ("ax4711b", "bolt"),
        ("AX 4711 B", "bolt"),
        ("AX-4711-D", "twin"),
        ("where is part ZR-5500/12 ?", "twin"),
        ("ZR-5500", "twin"),
        ("5901234123457", "bolt"),
        ("6278", "bolt"),
        ("6.278", "bolt"),
        ("12.03.2024", "bolt"),
        ("2024-03-12", "bolt"),
        ('"blue door"', "door"),
        ("Häuser", "haus"),
        ("hauser kaution", "haus"),
        ("CAFE ete electricite", "cafe"),
        ("図書館", "toshokan"),
        ("館の開館時間", "toshokan"),  # across words
        ("水", "toshokan"),
        ("ห้องสมุด", "thai"),
        ("도서관", "korean"),
    ],
)
def test_first_page(index: WordIndex, query: str, first: str) -> None:
    assert ids(index, query)[0] == first


def test_words_are_met_by_their_stem_in_the_language_of_the_page(index: WordIndex) -> None:
    assert set(ids(index, "house")) == {"door"}  # a page of unknown language has no stems
    assert set(ids(index, "houses")) == {"door", "bare"}
    assert ids(index, "Haus") == ["haus"]
    assert ids(index, "zurückzahlen") == []


def test_a_code_comes_before_a_page_full_of_its_parts(index: WordIndex) -> None:
    first, second = index.search("AX-4711-B", 2).hits
    assert (first.page_id, first.literals) == ("bolt", 1)
    assert (second.page_id, second.literals) == ("twin", 0)


def test_a_phrase_that_no_page_holds_is_said_to_be_missing(index: WordIndex) -> None:
    found = index.search('"door blue" keys', 5)
    assert found.asked.missing == (("door", "blue"),)
    assert [hit.page_id for hit in found.hits] == ["door"]


def test_misspelled_words_find_others_and_say_so(index: WordIndex) -> None:
    found = index.search("recceive electrciite", 5)
    assert found.asked.also == {"recceive": ("receive",), "electrciite": ("electricite",)}
    assert {hit.page_id for hit in found.hits} == {"door", "cafe"}


def test_no_other_spelling_for_words_that_are_there_or_right_or_codes() -> None:
    index = make()
    index.right = {"lobbi"}
    for query in ("doors", "lobbi", "AX-4719-Q", "5901234123458", "開館時", "kex"):
        assert not index.ask(query).also, query


@pytest.mark.parametrize("query", ["", " ", '"', '""', "😀😀", "+-&|!(){}[]^~*?:\\/", 'OR "(', "\x00", "ー"])
def test_odd_queries_find_nothing_and_raise_nothing(index: WordIndex, query: str) -> None:
    assert index.search(query, 5).hits == ()


@given(st.text(max_size=60) | st.text("ab1-/.\"“”' 図ก", max_size=40))
@settings(max_examples=60, deadline=None)
def test_any_query_is_searched(index: WordIndex, query: str) -> None:
    assert len(index.search(query, 3).hits) <= 3


def test_a_long_query_counts_its_first_words(index: WordIndex) -> None:
    asked = index.ask(" ".join(f"word{n}" for n in range(300)) + " door")
    assert len(asked.question.groups) == 100


def test_scores_do_not_depend_on_commits_nor_on_pages_that_were_removed() -> None:
    plain, pieces, churned = make(), make(each=1), make({"gone": ("door red house", "en"), **PAGES})
    churned.remove(["gone"])
    churned.commit()
    for query in ("red door", "AX-4711-B bolt", "the keys of houses"):
        wanted = plain.search(query, 9).hits
        assert pieces.search(query, 9).hits == churned.search(query, 9).hits == wanted


def test_equal_pages_come_in_the_order_of_adding() -> None:
    index = make({f"p{n}": ("same words", "en") for n in range(30)}, each=7)
    assert ids(index, "words", 5) == ["p0", "p1", "p2", "p3", "p4"]


@pytest.mark.parametrize("listed", [1000, 1])  # given to tantivy, and sorted out afterwards
def test_filter(index: WordIndex, listed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "MOST_LISTED", listed)
    monkeypatch.setattr(ranking, "FIRST", 1)
    assert ids(index, "houses door AX-4711-B", 1, ["bare", "haus", "elsewhere"]) == ["bare"]
    assert ids(index, "houses", 5, []) == []
    assert index.scores("houses", ["door", "bare", "thai"])["thai"] == 0
    assert index.scores("houses", ["bare"])["bare"] == index.search("houses", 1).hits[0].score


def test_adding_twice_and_removing_the_unknown_are_refused() -> None:
    index = make()
    with pytest.raises(ValueError, match="in the lexical index already"):
        index.add("bolt", ["x"])
    with pytest.raises(KeyError, match="No page other"):
        index.remove(["bolt", "other"])
    assert "bolt" in index
    assert len(index) == len(PAGES)


def test_a_page_is_removed_and_added_again_in_one_commit() -> None:
    index = make()
    index.remove(["bolt"])
    index.add("bolt", ["newer"])
    assert ids(index, "newer") == []
    index.commit()
    assert ids(index, "newer") == ["bolt"]
    assert ids(index, "5901234123457") == []


def test_very_long_pages_and_words_are_cut() -> None:
    index = WordIndex()
    index.add("long", ["x" * 100_000, *(f"w{n}" for n in range(50_000))])
    index.commit()
    assert ids(index, "x" * 64) == ids(index, "w77") == ["long"]
    assert ids(index, "49999") == []


# Copies, files, threads


def test_a_search_that_began_before_a_commit_knows_its_pages() -> None:
    index = make()
    before = index._state
    index.add("later", ["houses"], "en")
    index.commit()
    assert before.searcher.num_docs == len(before.names) == len(PAGES)


@pytest.mark.parametrize("small", [2000, 0], ids=["in memory", "by links"])
def test_copies_do_not_see_one_another(small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_index, "SMALL", small)
    base = make()
    one, two = base.copy(), base.copy()
    one.add("mine", ["houses"], "en")
    one.remove(["door"])
    two.remove(["bare"])
    base.add("ours", ["houses"], "en")
    for index in (one, two, base):
        index.commit()
    assert [set(ids(index, "houses")) for index in (one, two, base)] == [
        {"mine", "bare"},
        {"door"},
        {"door", "bare", "ours"},
    ]
    assert [len(index) for index in (one, two, base)] == [9, 8, 10]


def test_what_a_copy_does_not_change_is_shared() -> None:
    base = make()
    assert base.copy()._state.engine is base._state.engine


def test_saved_and_loaded_by_two_at_once(tmp_path: Path) -> None:
    base = make()
    base.save(tmp_path / "words")
    one, two = WordIndex.load(tmp_path / "words"), WordIndex.load(tmp_path / "words")
    assert one.search("AX-4711-B", 5).hits == base.search("AX-4711-B", 5).hits
    for index in (one, two):  # both write, and the folder stays
        index.add("new", ["fresh"])
        index.commit()
    assert len(WordIndex.load(tmp_path / "words")) == len(PAGES)
    one.save(tmp_path / "words")
    assert ids(WordIndex.load(tmp_path / "words"), "fresh house houses") == ["new", "door", "bare"]
    assert [path.name for path in tmp_path.iterdir()] == ["words"]


def damage_pages(folder: Path) -> None:
    (folder / "pages.json").unlink()


def damage_head(folder: Path) -> None:
    (folder / "meta.json").write_text("{")


def damage_terms(folder: Path) -> None:
    path = next(folder.glob("*.term"))
    path.write_bytes(path.read_bytes()[:-20])


def damage_version(folder: Path) -> None:
    path = folder / "pages.json"
    path.write_text(path.read_text().replace('"version": 1', '"version": 0'))


@pytest.mark.parametrize("damage", [damage_pages, damage_head, damage_terms, damage_version])
def test_a_damaged_folder_is_built_again(damage, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    make().save(tmp_path / "words")
    (tmp_path / ".words.new").mkdir()  # left by a crash
    damage(tmp_path / "words")
    index = WordIndex.load(tmp_path / "words")
    assert index.sync(PAGES) == list(PAGES)
    for page_id, (text, language) in PAGES.items():
        index.add(page_id, text.split(), language)
    index.save(tmp_path / "words")
    assert ids(WordIndex.load(tmp_path / "words"), "AX-4711-D")[0] == "twin"


def test_a_folder_that_is_behind_is_brought_up_to_date(tmp_path: Path) -> None:
    make().save(tmp_path / "words")
    index = WordIndex.load(tmp_path / "words")
    assert index.sync(["bolt", "new"]) == ["new"]
    assert len(index) == 1


def test_searches_go_on_while_pages_come_and_go() -> None:
    index = make()
    failed: list[BaseException] = []
    done = threading.Event()

    def search() -> None:
        try:
            while not done.is_set():
                assert ids(index, "AX-4711-B")[0] == "bolt"
                assert "door" in ids(index, "red door lobby", 20)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in range(12):
        index.add(f"page{n}", ["red", "door", f"no{n}"], "en")
        index.commit()
        if n % 3 == 2:
            index.remove([f"page{n - 1}"])
            index.commit()
    done.set()
    for thread in threads:
        thread.join(60)
    assert not failed
    assert len(index) == len(PAGES) + 8
