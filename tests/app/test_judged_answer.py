"""The judged answer of the open question: its rank at each stop, its tick, and the mode of an example."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from metaembed_demo.app.visitors.session import Sessions
from metaembed_demo.app.visitors.tools import Tools
from metaembed_demo.app.visitors.visitor import Visit
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.modes import BOTH, MEANING, WORDS
from metaembed_demo.collection.ranker import Ranker
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.budgets import STOPS, Budget
from metaembed_demo.core.types import Hit
from tests.support.dummy_encoder import DummyEncoder
from tests.support.sample_pages import make_page

QUESTION = "descale the kettle"
# The dummy encoder's first token sums all words, so that the long page drowns at 1x1.
LONG = " ".join(f"filler{i}" for i in range(60)) + " descale the kettle"
ENCODER = DummyEncoder()


@pytest.fixture(scope="module")
def base() -> Collection:
    found = Collection.for_encoder(ENCODER)
    pages = {"long.pdf": LONG, **{f"short{i}.pdf": f"kettle number {i}" for i in range(20)}}
    for source, text in pages.items():
        page = make_page(source, 1, text)
        found.put(StoredPage.of(page), ENCODER.encode_pages([page])[0])
    return found


@pytest.fixture
def visit(base: Collection) -> Visit:
    (judged,) = (page.id for page in base.pages.values() if page.source == "long.pdf")
    sessions = Sessions(base)
    tools = Tools(ENCODER, answers={QUESTION: {judged: 2, "not in the collection": 3}})
    return Visit(tools, sessions.get(sessions.open()))


def told(dial: str | None) -> list[str]:
    return re.findall(r'<b class="num[^>]*>([^<]+)</b></span>', dial or "")


def test_the_dial_tells_the_rank_of_the_judged_answer_as_searches_find_it(visit: Visit) -> None:
    visit.rank_by(MEANING, 0)
    visit.search(f"  {QUESTION.upper()} ")
    assert visit.answer is not None
    assert visit.answer.ranks[0] is not None
    assert visit.answer.ranks[0] > 10 > visit.answer.ranks[-1] == 1
    for stop, rank in zip(STOPS, visit.answer.ranks, strict=True):
        screen = visit.move(stop)
        assert len(told(screen.dial)) == 5
        ranks = {hit.page_id: hit.rank for hit in visit.trace.hits} if visit.trace else {}
        if rank is not None and rank <= 10:
            assert ranks[visit.answer.page_id] == rank
            assert "<li class=beyond>" not in str(screen.results)
        else:
            assert visit.answer.page_id not in ranks
            assert str(screen.results).count('<li class=beyond>') == 1
        assert str(screen.results).count("✓ judged") == 1
    assert told(screen.dial)[-1] == "1st"
    assert "✓ judged" in str(visit.choose(visit.answer.page_id).page)


def test_the_answer_beyond_the_hits_can_be_opened(visit: Visit) -> None:
    visit.rank_by(MEANING, 0)
    visit.search(QUESTION)
    visit.move(STOPS[0])
    assert visit.answer is not None
    screen = visit.choose(visit.answer.page_id)
    assert visit.chosen == visit.answer.page_id
    assert "✓ judged" in str(screen.page)
    assert visit.choose("no page").page is None


@pytest.mark.parametrize("mode", [BOTH, WORDS])
def test_in_other_modes_the_ranks_are_those_of_the_hits(visit: Visit, mode: str) -> None:
    visit.rank_by(mode, 0)
    visit.search(QUESTION)
    assert visit.answer is not None
    for stop, rank in zip(STOPS, visit.answer.ranks, strict=True):
        visit.move(stop)
        ranks = {hit.page_id: hit.rank for hit in visit.trace.hits} if visit.trace else {}
        assert ranks.get(visit.answer.page_id) == rank


@pytest.mark.parametrize("mode", [BOTH, WORDS])
def test_a_move_of_the_dial_ranks_one_stop_and_a_change_of_the_pages_all(
    visit: Visit, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranked: list[Budget] = []
    rank = Ranker.hits

    def noted(self: Ranker, k: int) -> list[Hit]:
        ranked.append(self.budget)
        return rank(self, k)

    monkeypatch.setattr(Ranker, "hits", noted)
    visit.rank_by(mode, 0)
    visit.search(QUESTION)
    assert len(ranked) == 1 + len(STOPS)
    for stop in STOPS:
        ranked.clear()
        visit.move(stop)
        assert ranked == [stop], "what is shown, and nothing for the dial"
    changes: list[Callable[[], object]] = [
        lambda: visit.rank_by(BOTH, 3),
        lambda: visit.limit("document:*pdf"),
        lambda: visit.remove("short3.pdf"),
        lambda: visit.search(QUESTION),
        visit.refresh,
    ]
    for change in changes:
        ranked.clear()
        change()
        visit.screen()
        assert len(ranked) == 1 + len(STOPS)


def test_nothing_is_claimed_of_another_question_or_without_the_page(visit: Visit) -> None:
    assert "judged" not in str(visit.search(f"{QUESTION} again").results)
    visit.search(QUESTION)
    assert visit.answer is not None
    screen = visit.limit("document:short*")
    assert visit.answer is None
    assert not told(screen.dial)
    visit.limit("")
    visit.remove("long.pdf")
    assert not told(visit.screen().dial)


def test_an_example_is_asked_in_its_mode_and_the_visitors_own_search_in_theirs(visit: Visit) -> None:
    visit.move(STOPS[0], played=True)
    visit.ask_example(QUESTION, MEANING)
    assert visit.trace is not None
    assert (visit.trace.mode, visit.trace.budget) == (MEANING, STOPS[0])
    visit.move(STOPS[1], played=True)
    visit.ask("kettle number 3")  # in the middle of the landing
    assert (visit.trace.mode, visit.trace.budget) == (BOTH, STOPS[-1])
    visit.ask_example(QUESTION, MEANING)
    visit.move(STOPS[2])  # by the visitor
    visit.ask("kettle number 3")
    assert (visit.trace.mode, visit.trace.budget) == (BOTH, STOPS[2])
    visit.ask_example(QUESTION, MEANING)
    visit.rank_by(WORDS, 0)  # a choice of the visitor's stays
    visit.ask("kettle number 3")
    assert visit.trace.mode == WORDS
