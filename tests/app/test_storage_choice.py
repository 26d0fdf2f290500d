"""How pages are kept: the control, converting while pages come and go, the check against exact search."""

from __future__ import annotations

import re
import threading
from collections.abc import Generator, Iterator

import numpy as np
import pytest

from metaembed_demo.app.views import storage_control
from metaembed_demo.app.visitors.registry import Visits
from metaembed_demo.app.visitors.session import Sessions
from metaembed_demo.app.visitors.storage_choice import StorageChoice
from metaembed_demo.app.visitors.tools import Tools
from metaembed_demo.app.visitors.visitor import Visit
from metaembed_demo.collection import fitting
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.convert_storage import catch_up, sizes, storage_of
from metaembed_demo.collection.ranker import How
from metaembed_demo.collection.search import research, search
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.budgets import STOPS, Budget
from metaembed_demo.core.config import Limits
from metaembed_demo.core.types import Embedding, Hit, Query
from metaembed_demo.evaluation.exact_search import RESCORE, Exactness, Move, Way, measure
from metaembed_demo.evaluation.quality_curve import Curve
from metaembed_demo.index.base import MultiVectorIndex
from metaembed_demo.index.block import Parts
from metaembed_demo.index.fit import FitCalibration, Logistic
from metaembed_demo.index.local import LocalIndex
from metaembed_demo.index.quantization import KINDS
from tests.support.dummy_encoder import DummyEncoder
from tests.support.sample_pages import keep_as, make_page, random_vectors

ENCODER = DummyEncoder()
WORDS = ["tank", "train", "boat", "lens", "bread", "violin", "harbour", "invoice", "cat", "energy", "tomato"]


def put(collection: Collection, number: int, text: str, source: str = "guide.pdf") -> str:
    """Add one page; its id."""
    page = make_page(source, number, text)
    collection.put(StoredPage.of(page), ENCODER.encode_pages([page])[0])
    return page.id


def text_of(number: int) -> str:
    """Three words; pages that share some are near each other."""
    return " ".join(WORDS[(number * step) % len(WORDS)] for step in (1, 3, 5))


@pytest.fixture
def base() -> Collection:
    """Twelve pages of two documents."""
    found = Collection.for_encoder(ENCODER)
    for number in range(1, 13):
        put(found, number, f"{text_of(number)} sheet{number}", "guide.pdf" if number < 9 else "atlas.pdf")
    return found


@pytest.fixture
def visit(base: Collection) -> Visit:
    sessions = Sessions(base)
    return Visit(Tools(ENCODER), sessions.get(sessions.open()))


def local(collection: Collection) -> MultiVectorIndex:
    assert collection.index.in_process
    return collection.index


def keep(visit: Visit, kind: str) -> list[bool]:
    """Convert as the page does, and ask again; the first step and the last."""
    steps = list(visit.storage_choice.convert(visit.collection, kind))
    if steps and steps[-1]:
        visit.refresh()
    return [*steps[:1], *steps[1:][-1:]]


def buttons(html: str | None) -> dict[str, tuple[bool, str]]:
    """Kind -> whether it is in force, and the size it shows."""
    found = re.findall(
        r'data-kind="(\w+)" aria-pressed="(\w+)".*?<span class="num">([^<]*)</span>', html or "", re.DOTALL
    )
    return {kind: (pressed == "true", size) for kind, pressed, size in found}


# The control


def test_the_control_shows_every_kind_with_its_bytes_at_the_budget(visit: Visit) -> None:
    assert buttons(visit.screen().storage) == {
        "float16": (True, "16 KB"),  # 64 vectors of 128 components
        "int8": (False, "8.2 KB"),
        "pq": (False, "2.0 KB"),
        "binary": (False, "1.0 KB"),
    }
    assert buttons(visit.move(Budget(2, 4)).storage) == {
        "float16": (True, "1.0 KB"),
        "int8": (False, "516 B"),
        "pq": (False, "128 B"),
        "binary": (False, "64 B"),
    }


@pytest.mark.parametrize("dim", [6, 100, 128])
@pytest.mark.parametrize("budget", STOPS, ids=str)
def test_sizes_are_those_that_an_index_of_that_kind_has(budget: Budget, dim: int) -> None:
    index = LocalIndex(64, dim)
    index.add(["a", "b", "c", "d"], random_vectors(5, 4, 64, dim))
    told = sizes(budget, 64, dim)
    assert told == {kind: index.stored_as(kind).bytes_per_page(budget) for kind in KINDS}


@pytest.mark.parametrize("kind", ["int8", "pq", "binary"])
def test_another_storage_asks_again_and_everything_follows(visit: Visit, kind: str) -> None:
    visit.search("boat harbour")
    before = visit.chosen
    assert keep(visit, kind) == [False, True]
    assert storage_of(visit.collection) == kind
    trace = visit.trace
    assert trace is not None
    assert trace.storage == kind
    assert trace.bytes_per_page == sizes(STOPS[-1], 64, 128)[kind]
    assert trace.as_json()["storage"] == kind
    assert visit.chosen == before
    assert trace.alignment is not None
    best = next(hit for hit in trace.hits if hit.page_id == visit.chosen)
    assert trace.alignment.gains.sum() == pytest.approx(best.score, abs=0.02)
    screen = visit.screen()
    assert buttons(screen.storage)[kind][0]
    held = buttons(screen.storage)[kind][1]
    assert f">{held}<" in (screen.dial or ""), "the dial's last stop shows the same bytes"
    name = "PQ" if kind == "pq" else kind
    assert f"scored by their {name} codes" in (visit.open_tab("timing").timing or "")
    tab = visit.documents_tab()
    assert f"{name} codes of 128-component vectors" in (tab.statistics or "")
    assert "The full vectors, 197 KB, lie in a file" in (tab.statistics or "")  # 12 pages of 16 KB


def test_back_to_float16_gives_the_vectors_that_were_there(visit: Visit, base: Collection) -> None:
    ids = visit.collection.index.ids
    keep(visit, "binary")
    assert not np.allclose(visit.collection.index.vectors(ids), base.index.vectors(ids), atol=0.01)
    keep(visit, "pq")
    keep(visit, "float16")
    assert np.array_equal(visit.collection.index.vectors(ids), base.index.vectors(ids))
    assert visit.collection.index.ids == ids


def test_other_visitors_keep_theirs(visit: Visit, base: Collection) -> None:
    keep(visit, "binary")
    assert storage_of(base) == "float16"
    yours = base.copy()
    assert storage_of(yours) == "float16"


def test_pq_needs_pages_and_says_how_many(visit: Visit) -> None:
    visit.remove("guide.pdf")  # leaves the four of the atlas, which are just enough
    assert buttons(visit.screen().storage)["pq"] == (False, "2.0 KB")
    visit.collection.remove("atlas.pdf")
    for number in range(1, 4):
        put(visit.collection, number, text_of(number))
    control = visit.screen().storage
    assert buttons(control)["pq"] == (False, "from 4 pages")
    assert 'data-kind="pq" aria-pressed="false" aria-disabled="true"' in (control or "")
    index = visit.collection.index
    assert keep(visit, "pq") == [False]
    assert visit.collection.index is index
    assert "PQ is fitted to at least 4 pages; there are 3." in (visit.screen().storage or "")
    put(visit.collection, 4, text_of(4))
    assert "there are 3" not in (visit.screen().storage or ""), "it no longer holds"
    assert keep(visit, "pq") == [False, True]


@pytest.mark.parametrize("kind", ["float16", "", "int4", "<b>"])
def test_what_is_in_force_or_unknown_changes_nothing(visit: Visit, kind: str) -> None:
    index = visit.collection.index
    assert keep(visit, kind) == []
    assert visit.collection.index is index


def test_an_empty_index_can_be_kept_otherwise(visit: Visit) -> None:
    visit.clear()
    assert keep(visit, "int8") == [False, True]
    put(visit.collection, 1, "tank train")
    visit.search("train")
    assert visit.trace is not None
    assert visit.trace.storage == "int8"


def test_one_conversion_at_a_time_and_a_closed_one_can_be_asked_for_again(visit: Visit) -> None:
    steps: Iterator[bool] = visit.storage_choice.convert(visit.collection, "int8")
    assert next(steps) is False
    control = visit.storage()
    assert "Converting to int8; until then searches read float16" in control
    assert 'Converting: <span class="num">0 of 12 pages</span>' in control
    assert 'class="coming"' in control
    assert list(visit.storage_choice.convert(visit.collection, "binary")) == []
    steps.close()  # type: ignore[attr-defined]  # the browser tab was closed
    assert keep(visit, "binary") == [False, True]


# How far it is, and giving it up


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Conversions go page by page, each of which is told; the pages that were begun."""
    begun: list[int] = []
    encoded = LocalIndex._encoded

    def counted(index: LocalIndex, vectors: np.ndarray) -> Parts:
        if index.storage != "float16":
            begun.append(len(vectors))
        return encoded(index, vectors)

    monkeypatch.setattr("metaembed_demo.index.local.STEP", 1)
    monkeypatch.setattr("metaembed_demo.app.visitors.storage_choice.PROGRESS_EVERY_S", 0)
    monkeypatch.setattr(LocalIndex, "_encoded", counted)
    return begun


def told(visit: Visit) -> str:
    """What the control says of the conversion on its way, and its bar."""
    found = re.search(r'class="keep-told">(.*?)</p>.*?aria-valuenow="(\d+)"', visit.storage())
    return f"{re.sub('<[^>]*>', '', found[1])} | {found[2]}" if found else ""


def test_a_conversion_tells_how_far_it_is_and_is_searched_around(visit: Visit, slow: list[int]) -> None:
    seen = []
    for kept in visit.storage_choice.convert(visit.collection, "int8"):
        seen.append(told(visit))
        if not kept:
            assert 'data-action="cancel"' in visit.storage()
            visit.search("boat harbour")
            assert visit.trace is not None
            assert visit.trace.storage == "float16"
    assert seen == [*(f"Converting: {n} of 12 pages | {n}" for n in range(13)), ""]
    assert storage_of(visit.collection) == "int8"
    assert 'data-action="cancel"' not in visit.storage()


def test_steps_are_told_a_few_times_a_second(visit: Visit, slow: list[int], monkeypatch) -> None:
    monkeypatch.setattr("metaembed_demo.app.visitors.storage_choice.PROGRESS_EVERY_S", 3_600)
    assert list(visit.storage_choice.convert(visit.collection, "int8")) == [False, True]
    assert len(slow) == 12


@pytest.mark.parametrize("kind", ["int8", "pq", "binary"])
def test_a_cancelled_conversion_leaves_all_as_it_was(visit: Visit, slow: list[int], kind: str) -> None:
    visit.search("boat harbour")
    index, hits = visit.collection.index, [hit.page_id for hit in visit.trace.hits]
    steps = visit.storage_choice.convert(visit.collection, kind)
    while visit.storage_choice.done < 3:
        assert next(steps) is False
    visit.storage_choice.stop.set()
    assert list(steps) == [False]
    assert len(slow) == 4, "one more at most than was told"
    assert visit.collection.index is index
    assert storage_of(visit.collection) == "float16"
    assert told(visit) == ""
    assert "keep-problem" not in visit.storage(), "that it ended is no surprise"
    visit.refresh()
    assert [hit.page_id for hit in visit.trace.hits] == hits
    assert keep(visit, kind) == [False, True], "it can be asked for again"


def test_a_conversion_that_takes_too_long_ends_and_says_so(visit: Visit, slow: list[int]) -> None:
    index = visit.collection.index
    steps = list(visit.storage_choice.convert(visit.collection, "int8", Limits(seconds_per_job=0)))
    assert not any(steps)
    assert len(slow) == 1
    assert visit.collection.index is index
    assert "The pages stay float16: it took more than 0 s." in visit.storage()


def test_the_end_of_the_visit_ends_the_conversion(base: Collection, slow: list[int]) -> None:
    visits = Visits(Tools(ENCODER), base)
    visit = visits.open()
    steps = visit.storage_choice.convert(visit.collection, "int8")
    assert (next(steps), next(steps)) == (False, False)
    visits.close(visit.session.id)
    assert list(steps) == [False]
    assert len(slow) == 2


def test_another_encoder_ends_the_conversion_of_what_is_left_behind(visit: Visit, base: Collection) -> None:
    storing = visit.storage_choice
    visit.take_over(Tools(ENCODER), base.copy(), base)
    assert storing.stop.is_set()
    assert visit.storage_choice is not storing


def test_lists_on_their_way_are_told(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Inverted lists" not in visit.storage()
    monkeypatch.setattr(LocalIndex, "listing", property(lambda _: (1_024, 1_000_000)))
    assert "1,024 of 1,000,000 pages" in visit.storage()


# Pages that come and go meanwhile


def test_pages_that_come_or_go_meanwhile_do_so_in_the_new_index(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = visit.collection
    storing_as = LocalIndex.storing_as
    again = next(page for page in collection.pages.values() if page.number == 3)
    vectors = collection.index.vectors([again.id])[0]

    def slow(index: LocalIndex, kind: str) -> Generator[int, None, LocalIndex]:
        made = yield from storing_as(index, kind)
        collection.remove("atlas.pdf")  # four pages go
        put(collection, 20, "a new page of lighthouses")
        collection._drop([again.id])  # taken out and put back: it stands at the end now
        collection.put(again, Embedding(vectors))
        return made

    monkeypatch.setattr(LocalIndex, "storing_as", slow)
    keep_as(collection, "int8")
    assert storage_of(collection) == "int8"
    assert len(collection) == 9
    assert collection.index.ids == list(collection.pages), "in the order that saving needs"
    assert np.allclose(local(collection).full([again.id])[0], vectors, atol=1e-3)
    visit.search("lighthouses")
    assert visit.chosen == collection.holder(("guide.pdf", 20))


def test_searches_go_on_while_pages_are_kept_anew(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    visit.search("boat harbour")
    begun, go_on = threading.Event(), threading.Event()
    storing_as = LocalIndex.storing_as

    def slow(index: LocalIndex, kind: str) -> Generator[int, None, LocalIndex]:
        begun.set()
        assert go_on.wait(30)
        return (yield from storing_as(index, kind))

    monkeypatch.setattr(LocalIndex, "storing_as", slow)
    work = threading.Thread(target=keep_as, args=(visit.collection, "int8"))
    work.start()
    assert begun.wait(30)
    visit.search("cat printer")
    assert visit.trace is not None
    assert visit.trace.storage == "float16"
    go_on.set()
    work.join(30)
    visit.refresh()
    assert visit.trace.storage == "int8"
    assert visit.trace.query_text == "cat printer"


def test_a_failure_leaves_the_index_and_is_told(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(index: LocalIndex, kind: str) -> Generator[int, None, LocalIndex]:
        yield 5
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LocalIndex, "storing_as", full_disk)
    index = visit.collection.index
    assert keep(visit, "int8") == [False, False]
    assert visit.collection.index is index
    assert "No space left on device" in visit.storage()


def test_catching_up_with_nothing_changed_changes_nothing() -> None:
    index = LocalIndex(2, 8)
    index.add(["a", "b", "c"], random_vectors(1, 3, 2, 8))
    made = index.stored_as("int8")
    codes = made.vectors(["a", "b", "c"])
    catch_up(made, index)
    assert made.ids == ["a", "b", "c"]
    assert np.array_equal(made.vectors(["a", "b", "c"]), codes)


# The check against exact search


def near_pages(pages: int = 80) -> tuple[LocalIndex, np.ndarray]:
    """An index of pages that differ by little, and a query: signs alone cannot tell them apart."""
    centre = random_vectors(7, 1, 4, 32)
    vectors = centre + 0.05 * random_vectors(8, pages, 4, 32)
    index = LocalIndex(4, 32)
    index.add([f"p{i}" for i in range(pages)], (vectors / np.linalg.norm(vectors, axis=2, keepdims=True)))
    return index, random_vectors(9, 4, 32)


def test_float16_agrees_with_exact_search_on_all_hits() -> None:
    index, query = near_pages()
    found = measure(index, query, Budget(4, 4), 10)
    assert found.pages == 80
    assert (found.here.scored, found.exact.scored) == (80, 80)
    assert found.agree(found.here) == 10
    assert found.moves == ()
    assert found.rescored is None, "the full vectors are what it scores by"
    assert found.here.ms > 0
    assert found.exact.ms > 0


def test_binary_loses_hits_and_the_full_vectors_of_the_best_bring_them_back() -> None:
    index, query = near_pages()
    made = index.stored_as("binary")
    found = measure(made, query, Budget(4, 4), 10)
    exact = [hit.page_id for hit in index.search(query, Budget(4, 4), 10, exact=True)]
    kept = [hit.page_id for hit in made.search(query, Budget(4, 4), 10)]
    assert list(found.exact.hits) == exact
    assert list(found.here.hits) == kept
    assert found.agree(found.here) == len(set(exact) & set(kept)) < 10
    assert found.rescored is not None
    assert found.agree(found.rescored) > found.agree(found.here)
    assert made.rescore == 0, "measuring changes nothing"
    for move in found.moves:
        assert move.exact == (exact.index(move.page_id) + 1 if move.page_id in exact else move.exact)
        assert move.here == (kept.index(move.page_id) + 1 if move.page_id in kept else move.here)
        assert move.here != move.exact
    assert {m.page_id for m in found.moves} >= set(exact) ^ set(kept)


def test_every_page_is_scored_by_full_vectors_once(monkeypatch: pytest.MonkeyPatch) -> None:
    index, query = near_pages()
    asked = []
    search_of = LocalIndex.search

    def counted(
        index: LocalIndex, query: np.ndarray, budget: Budget, k: int, exact: bool = False
    ) -> list[Hit]:
        asked.append((k, exact))
        return search_of(index, query, budget, k, exact)

    monkeypatch.setattr(LocalIndex, "search", counted)
    monkeypatch.setattr(
        "metaembed_demo.evaluation.exact_search.BRIEF_MS", 0
    )  # else what is brief is timed twice
    measure(index.stored_as("int8"), query, Budget(4, 4), 10)
    assert asked == [(100, True), (100, False)]


def test_without_full_vectors_there_is_nothing_to_compare_with() -> None:
    index, query = near_pages()
    with pytest.raises(ValueError, match="keeps no full vectors"):
        measure(index.stored_as("binary", keep_full=False), query, Budget(4, 4), 10)


def test_the_check_stands_until_the_search_changes(visit: Visit) -> None:
    assert 'data-action="check" disabled' in visit.storage(), "there is no search to check"
    visit.search("boat harbour")
    visit.storage_choice.check(visit.collection, visit.trace, 10)
    assert "10 of 10 hits agree with exact search, in the same order" in visit.storage()
    assert "12 of 12" in visit.storage()
    hits = [hit.page_id for hit in visit.trace.hits] if visit.trace else []
    visit.choose(hits[3])  # opens another hit of the same search
    assert "10 of 10 hits agree" in visit.storage()
    visit.move(Budget(2, 4))
    assert "hits agree" not in visit.storage()
    visit.storage_choice.check(visit.collection, visit.trace, 10)
    assert "hits agree" in visit.storage()
    keep(visit, "int8")
    assert "hits agree" not in visit.storage()
    visit.storage_choice.check(visit.collection, visit.trace, 10)
    assert "Best 50 re-ranked by full vectors" in visit.storage()
    visit.storage_choice.hide()
    assert "hits agree" not in visit.storage()


def test_the_check_names_pages_that_moved_and_escapes_their_titles() -> None:
    ways = Way(("a", "b"), 1.25, 80), Way(("b", "c"), 9.5, 80), Way(("b", "c"), 2.5, 80)
    found = Exactness(80, ways[0], ways[1], ways[2], (Move("b", 2, 1), Move("c", None, 2), Move("a", 1, 7)))
    told = storage_control.agreement(
        found, "binary", False, {"a": ("Old & <b>new</b>", "a.pdf p. 1"), "b": ("Bees", "b.pdf p. 2")}
    )
    assert "1 of 2 hits agree with exact search" in told
    assert "Old &amp; &lt;b&gt;new&lt;/b&gt;" in told
    assert "A page removed since" in told
    assert told.count('class="only"') == 2, "a and c are hits of one search only"
    assert re.findall(r"<td>([^<]*)</td>", told) == [
        *("1 of 2", "1.2 ms", "80 of 80"),
        *("2 of 2", "2.5 ms", "80 of 80"),
        *("–", "9.5 ms", "80 of 80"),
    ]
    assert "over 100" in told


# Re-ranking and the recall target


def test_re_ranking_by_the_full_vectors_gives_the_exact_scores(visit: Visit) -> None:
    visit.search("boat harbour")
    exact = [(hit.page_id, round(hit.score, 3)) for hit in visit.trace.hits]  # type: ignore[union-attr]
    visit.storage_choice.rescore(visit.collection, True)
    assert local(visit.collection).rescore == 0, "float16 keeps the full vectors: there is nothing to re-rank"
    keep(visit, "binary")
    assert 'data-set="rescore">' in visit.storage()
    visit.storage_choice.rescore(visit.collection, True)
    visit.refresh()
    trace = visit.trace
    assert trace is not None
    assert [(hit.page_id, round(hit.score, 3)) for hit in trace.hits] == exact
    assert (trace.storage, trace.rescored, trace.by_full_vectors) == ("binary", 12, True)  # of 12 pages
    assert 'data-set="rescore" checked' in visit.storage()
    assert "codes, the best 12 again by their full vectors" in (visit.open_tab("timing").timing or "")
    keep(visit, "float16")
    assert "rescore" not in visit.storage()
    assert local(visit.collection).rescore == 0


def test_a_trace_says_what_scores_come_from(base: Collection) -> None:
    collection = base.copy()
    plain = search(collection, ENCODER, Query("train"), STOPS[2])
    assert (plain.storage, plain.rescored, plain.by_full_vectors) == ("float16", 0, True)
    keep_as(collection, "pq")
    codes = research(collection, plain, STOPS[2])
    assert (codes.storage, codes.rescored, codes.by_full_vectors) == ("pq", 0, False)
    local(collection).rescore = RESCORE
    again = research(collection, plain, STOPS[2])
    assert (again.storage, again.rescored, again.by_full_vectors) == ("pq", 12, True)
    assert again.as_json()["refined"] == 12
    local(collection).rescore = 0
    exact = search(collection, ENCODER, Query("train"), STOPS[2], how=How(exact=True))
    assert (exact.storage, exact.rescored) == ("pq", 12), "every page was scored by its full vectors"


def test_the_recall_target_is_offered_where_a_coarse_stage_picks_pages(visit: Visit) -> None:
    storing = StorageChoice()
    assert "Recall target" not in storing.control(visit.collection, STOPS[-1], None)
    local(visit.collection).exact_up_to = 5
    shown = storing.control(visit.collection, STOPS[-1], None)
    assert "Recall target" in shown
    assert '<option value="0.99" selected>99%</option>' in shown
    storing.aim(visit.collection, 0.9)
    assert local(visit.collection).recall == 0.9
    storing.aim(visit.collection, 0.5)  # is not offered
    assert local(visit.collection).recall == 0.9
    keep_as(visit.collection, "int8")
    assert local(visit.collection).recall == 0.9
    assert '<option value="0.9" selected>90%</option>' in storing.control(visit.collection, STOPS[-1], None)


def test_scores_of_codes_have_no_chance(base: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = FitCalibration((Logistic(99.0, 2.0),) * 5, 0.0, 5, 30, 30)  # no cosine reaches 2
    monkeypatch.setitem(fitting._measured, ENCODER.fingerprint, nothing)
    curve = Curve((0.5, 0.6, 0.7, 0.8, 0.9), 10)
    sessions = Sessions(base)
    visit = Visit(Tools(ENCODER, curve), sessions.get(sessions.open()))
    visit.rank_by("meaning", 0)
    assert "Nothing fits well" in (visit.search("elephants").results or "")
    assert "sample questions, as float16" not in (visit.screen().dial or "")
    keep(visit, "binary")
    assert "Nothing fits well" not in (visit.screen().results or "")
    assert "sample questions, as float16" in (visit.screen().dial or "")
