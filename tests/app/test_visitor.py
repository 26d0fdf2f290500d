"""One visitor without a browser: what each move encodes, what stays open, what is told of failures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metaembed_demo.app.visitors.links import TABS
from metaembed_demo.app.visitors.page_state import REGION_OF, Screen
from metaembed_demo.app.visitors.registry import MOST_TABS, Visits
from metaembed_demo.app.visitors.session import Sessions
from metaembed_demo.app.visitors.tools import Tools
from metaembed_demo.app.visitors.visitor import Visit
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.budgets import STOPS, Budget
from metaembed_demo.core.config import LIMITS
from metaembed_demo.core.types import Embedding, Page, Query, Upload, Word, page_id
from metaembed_demo.evaluation.climbs import Climb
from metaembed_demo.explain.explainer import Explainer
from metaembed_demo.explain.page_cache import PageCache
from tests.support.dummy_encoder import DummyEncoder

TOPICS = ["coffee machine tank", "train platform bern", "energy quarter report", "island hotel beach"]


class Encoder(DummyEncoder):
    """Counts queries, and fails when told to."""

    queries = 0
    broken = ""

    def encode_queries(self, queries: Sequence[Query]) -> list[Embedding]:
        self.queries += len(queries)
        if self.broken:
            raise RuntimeError(self.broken)
        return super().encode_queries(queries)


@pytest.fixture
def encoder() -> Encoder:
    return Encoder()


@pytest.fixture
def base(encoder: Encoder) -> Collection:
    """Four documents of four pages each."""
    found = Collection.for_encoder(encoder)
    random = np.random.default_rng(3)
    for document, topic in enumerate(TOPICS):
        for number in range(1, 5):
            texts = [*topic.split(), f"sheet{number}", *random.permutation(" ".join(TOPICS).split())[:5]]
            words = tuple(Word(t, (0.1, 0.05 * i, 0.3, 0.05 * i + 0.04)) for i, t in enumerate(texts))
            image = Image.new("RGB", (60, 80), (40 * document, 30 * number, 90))
            page = Page(page_id(image, words), f"document{document}.pdf", number, image, words)
            found.put(StoredPage.of(page), encoder.encode_pages([page])[0])
    return found


@pytest.fixture
def visit(encoder: Encoder, base: Collection) -> Visit:
    sessions = Sessions(base)
    return Visit(Tools(encoder, None, (Climb("coffee machine", ""),)), sessions.get(sessions.open()))


def shown_hits(html: str | None) -> list[str]:
    return re.findall(r'class="hit" data-page="(\w+)"', html or "")


def current_hit(html: str | None) -> list[str]:
    return re.findall(r'data-page="(\w+)" aria-current="true"', html or "")


def pictures(html: str | None) -> list[str]:
    return re.findall(r'<img src="([^"]*)"', html or "")


def test_moving_the_dial_through_every_stop_encodes_nothing(visit: Visit, encoder: Encoder) -> None:
    visit.search("coffee machine tank")
    assert encoder.queries == 1
    for stop in [*STOPS, Budget(7, 30)]:
        screen = visit.move(stop)
        assert f'<b class="num">{stop.r_q}×{stop.r_c}</b>' in (screen.dial or "")
        assert "server time" in (screen.dial or "")
        assert visit.trace is not None
        assert shown_hits(screen.results) == [hit.page_id for hit in visit.trace.hits]
    assert encoder.queries == 1


def test_a_chosen_hit_stays_open_while_the_dial_moves(visit: Visit) -> None:
    third = shown_hits(visit.search("energy quarter").results)[2]
    assert current_hit(visit.choose(third).results) == [third]
    for stop in STOPS:
        screen = visit.move(stop)
        if third in shown_hits(screen.results):
            assert current_hit(screen.results) == [third]
        else:
            assert current_hit(screen.results) == shown_hits(screen.results)[:1]
            break


def test_a_picture_is_sent_once_as_its_address_and_stays_while_its_page_is_open(visit: Visit) -> None:
    first = visit.search("coffee machine tank")
    hits = shown_hits(first.results)
    assert "page" in visit.changed(first)
    assert pictures(first.page) == [f"pictures/{visit.session.picture_key}/{hits[0]}/page.jpg"]
    again = visit.choose(hits[0])
    assert "page" not in visit.changed(again)  # nor does a move of the dial send it again
    visit.move(STOPS[3])
    assert pictures(visit.screen().page) == pictures(first.page)
    other = visit.choose(hits[1])
    assert "page" in visit.changed(other)
    assert pictures(other.page) == [f"pictures/{visit.session.picture_key}/{hits[1]}/page.jpg"]
    assert visit.changed(visit.arrive())["page"]  # a browser that has just loaded holds none


def test_only_what_differs_is_sent(visit: Visit) -> None:
    visit.changed(visit.arrive())
    first = visit.changed(visit.search("coffee machine tank"))
    assert {"results", "page", "alignment", "link", "footer"} <= set(first)
    assert {"header", "dial"} - set(first) == {"header"}, "there are as many pages as before"
    assert visit.changed(visit.screen()) == {}
    moved = visit.changed(visit.move(STOPS[1]))
    assert {"dial", "results", "alignment", "link", "footer"} <= set(moved)
    assert not {"header", "page", "ranks", "pagemap"} & set(moved)
    gone = visit.changed(visit.search(""))
    assert gone["page"] == gone["alignment"] == gone["link"] == ""
    assert visit.changed(visit.search("")) == {}


def test_forgetting_a_search_keeps_pages_and_budget(visit: Visit) -> None:
    visit.search("cat")
    visit.move(STOPS[1])
    assert visit.trace is not None
    assert visit.chosen is not None
    visit.forget_search()
    assert (visit.trace, visit.chosen, visit.budget) == (None, None, STOPS[1])
    assert len(visit.collection) == 16


def test_an_unknown_hit_changes_nothing(visit: Visit) -> None:
    visit.search("coffee")
    assert visit.choose("nonsense").results is None


def test_a_failing_encoder_is_told_and_the_next_search_works(visit: Visit, encoder: Encoder) -> None:
    encoder.broken = "out of <memory>"
    screen = visit.search("coffee")
    assert "out of &lt;memory&gt;" in (screen.results or "")
    assert 'data-action="query"' in (screen.results or "")
    encoder.broken = ""
    assert shown_hits(visit.search("coffee").results)


def test_a_failed_search_leaves_nothing_of_the_one_before(visit: Visit, encoder: Encoder) -> None:
    visit.search("coffee")
    encoder.broken = "no more memory"
    failed = visit.search("train")
    assert failed.dial
    assert "in this query" not in failed.dial
    assert "disabled" in (failed.storage or ""), "there is no search to check against exact"
    assert "No search yet" in (failed.footer or "")


def test_an_empty_query_goes_back_to_the_start(visit: Visit) -> None:
    visit.search("coffee")
    screen = visit.search("  ")
    assert "16 pages ready to search" in (screen.results or "")
    assert visit.trace is None


def test_removing_a_document_takes_its_pages_out_of_the_open_search(visit: Visit) -> None:
    visit.search("coffee machine tank")
    gone = {p.id for p in visit.collection.pages.values() if p.source == "document0.pdf"}
    tab = visit.remove("document0.pdf")
    assert "document0.pdf" not in (tab.listing or "")
    screen = visit.screen()
    assert not gone & set(shown_hits(screen.results))
    assert "of 12 pages" in (screen.results or "")
    visit.remove("document0.pdf")  # a second click on the same button is no error
    assert len(visit.collection) == 12


def test_clearing_and_restoring(visit: Visit) -> None:
    visit.search("coffee")
    visit.clear()
    assert "nothing to search" in (visit.screen().results or "")
    assert "nothing to search" in (visit.search("coffee").results or "")
    visit.restore()
    assert len(visit.collection) == 16
    assert shown_hits(visit.search("coffee").results)


def test_uploads_report_problems_and_join_the_open_search(visit: Visit, tmp_path: Path) -> None:
    visit.search("coffee machine tank")
    Image.new("RGB", (90, 60), "teal").save(tmp_path / "sea.png")
    (tmp_path / "void.pdf").write_bytes(b"")
    files = [Upload(tmp_path / name, name) for name in ("sea.png", "void.pdf")]
    assert visit.receive(files).busy
    tabs = list(visit.index_pending())
    assert not tabs[-1].busy
    assert "1 page added" in (tabs[-1].news or "")
    assert "<b>void.pdf</b>" in (tabs[-1].news or "")
    assert "of 17 pages" in (visit.screen().results or "")
    assert list(visit.index_pending()) == []  # nothing is left to do


def test_a_visit_that_has_ended_starts_anew_and_never_meets_another(
    encoder: Encoder, base: Collection
) -> None:
    visits = Visits(Tools(encoder), base)
    mine, yours = visits.get("me", "my tab"), visits.get("you", "your tab")
    mine.clear()
    assert len(visits.get("you", "your tab").collection) == 16
    assert visits.get("me", "my tab") is mine
    visits.close(mine.session.id)
    again = visits.get("me", "my tab")
    assert again is not mine
    assert len(again.collection) == 16
    assert again.session.id not in (mine.session.id, yours.session.id)
    visits.close("nonsense")  # no error


def test_a_program_s_session_is_known_until_it_is_closed(encoder: Encoder, base: Collection) -> None:
    visits = Visits(Tools(encoder), base)
    mine, yours = visits.open(), visits.open()
    mine.clear()
    assert visits.known(mine.session.id) is mine
    assert len(visits.known(yours.session.id).collection) == 16
    visits.close(mine.session.id)
    for ended in (mine.session.id, "nonsense", "", None):
        with pytest.raises(KeyError):
            visits.known(ended)


# Tabs of one visitor


@pytest.fixture
def visits(encoder: Encoder, base: Collection) -> Visits:
    return Visits(Tools(encoder), base)


def test_tabs_of_a_visitor_share_documents_and_not_their_searches(visits: Visits) -> None:
    one, two, other = visits.get("me", "one"), visits.get("me", "two"), visits.get("you", "three")
    assert one.session is two.session is not other.session
    one.search("coffee machine tank")
    one.move(STOPS[2])
    two.search("train platform")
    assert one.trace
    assert two.trace
    assert (one.trace.query_text, two.trace.query_text) == ("coffee machine tank", "train platform")
    assert (one.budget, two.budget, other.budget) == (STOPS[2], STOPS[4], STOPS[4])
    one.remove("document1.pdf")
    assert len(two.collection) == 12
    assert len(other.collection) == 16
    assert "of 12 pages" in str(two.move(STOPS[3]).results)
    assert visits.tabs_of(one.session.id) == [one, two]


def test_a_page_that_another_tab_removed_is_shown_no_more(visits: Visits) -> None:
    one, two = visits.get("me", "one"), visits.get("me", "two")
    hits = shown_hits(two.search("coffee machine tank").results)
    one.remove("document0.pdf")
    gone = [page_id for page_id in hits if page_id not in two.collection.pages]
    assert gone
    for screen in (two.screen(), two.choose(gone[-1]), two.move(STOPS[1]), two.open_tab("ranks")):
        assert not set(gone) & set(re.findall(r"[0-9a-f]{16,}", str(screen))), (
            "no card, picture or line of it"
        )
    assert two.choose(gone[0]) == Screen()
    assert two.explain().marks == ""
    assert not set(gone) & set(re.findall(r"[0-9a-f]{16,}", two.trace_record()))
    assert shown_hits(two.search("coffee").results)


def test_an_encoder_switch_is_followed_by_the_other_tabs(visits: Visits, encoder: Encoder) -> None:
    class Other(Encoder):
        fingerprint = "other-1"

    one, two = visits.get("me", "one"), visits.get("me", "two")
    two.search("coffee machine tank")
    other = Other()
    made = Collection.for_encoder(other)
    for page in one.collection.pages.values():
        made.put(page, Embedding(one.collection.index.vectors([page.id])[0]))
    one.take_over(Tools(other), made, made)
    assert visits.get("me", "two") is two
    assert two.tools.encoder is one.tools.encoder is other
    assert (encoder.queries, other.queries) == (1, 1), "the open query is asked again of the new encoder"
    assert shown_hits(two.move(STOPS[1]).results)
    assert shown_hits(two.search("coffee machine tank").results)
    assert (encoder.queries, other.queries) == (1, 2)
    assert visits.get("me", "three").tools.encoder is other
    assert visits.get("you", "four").tools.encoder is encoder


def test_a_visitor_has_so_many_tabs_and_the_one_unused_for_longest_goes(visits: Visits) -> None:
    now = [0.0]
    visits.sessions._clock = lambda: now[0]
    first = visits.get("me", "tab 0")
    first.search("coffee")
    for number in range(1, MOST_TABS):
        now[0] += 1
        visits.get("me", f"tab {number}")
    now[0] += 1
    assert visits.get("me", "tab 0") is first  # used again
    second = visits.get("me", "tab 1")
    now[0] += 1
    visits.get("me", "one more")
    tabs = visits.tabs_of(first.session.id)
    assert len(tabs) == MOST_TABS
    assert first in tabs
    assert second in tabs
    assert "tab 2" not in visits._tabs
    assert len(visits.sessions) == 1


def test_a_session_is_left_with_its_last_tab(visits: Visits) -> None:
    one = visits.get("me", "one")
    visits.get("me", "two")
    visits.left("one")
    visits.left("one")
    visits.left("of nobody")
    visits.left(None)
    assert one.session.left is None
    visits.left("two")
    assert one.session.left is not None
    assert visits.get("me", "three").session is one.session  # a reload
    assert one.session.left is None


def test_a_tab_that_only_lost_its_connection_finds_its_search_again(visits: Visits) -> None:
    now = [0.0]
    visits.sessions._clock = lambda: now[0]
    one, _ = visits.get("me", "one"), visits.get("me", "two")
    one.search("coffee")
    now[0] += 2 * LIMITS.leave_after_s  # somebody reads
    visits.get("me", "two")
    visits.left("one")
    visits.sweep()
    assert visits.get("me", "one") is one
    assert one.trace is not None
    visits.left("one")
    now[0] += LIMITS.leave_after_s + 1
    visits.get("me", "two")
    visits.sweep()
    assert one not in visits.tabs_of(one.session.id)


def test_what_was_read_of_a_visitor_s_pages_goes_however_its_tabs_were_closed(
    encoder: Encoder, base: Collection
) -> None:
    forgotten: list[str] = []

    class Memory(Explainer):
        def forget(self, pages: Iterable[StoredPage]) -> None:
            forgotten.extend(page.id for page in pages)

    now = [0.0]
    visits = Visits(Tools(encoder, explainer=Memory(encoder)), base)  # type: ignore[arg-type]
    visits.sessions._clock = lambda: now[0]
    visit = visits.get("me", "one")
    own = replace(next(iter(base.pages.values())), id="mine").at([("mine.pdf", 1)])
    visit.collection.put(own, Embedding(base.index.vectors([base.index.ids[0]])[0]))
    now[0] += 2 * LIMITS.leave_after_s  # somebody reads, then closes the tab
    visits.left("one")
    now[0] += LIMITS.leave_after_s / 2
    visits.sweep()
    now[0] += LIMITS.leave_after_s
    visits.sweep()
    assert visits.session_of("me") is None
    assert forgotten == ["mine"]
    assert visit.stop.is_set()


def test_what_was_read_of_a_page_goes_when_it_is_removed(encoder: Encoder, base: Collection) -> None:
    """Of a visitor's own pages, in a session that goes on; what was read of a sample stays for the others."""
    kept: PageCache[str] = PageCache(9)
    visits = Visits(Tools(encoder, token_statistics=kept), base)  # type: ignore[arg-type]
    visit = visits.get("me", "one")
    sample = next(iter(base.pages.values()))
    vectors = Embedding(base.index.vectors([sample.id])[0])
    mine, other = (replace(sample, id=name).at([(f"{name}.pdf", 1)]) for name in ("mine", "other"))
    for page in (mine, other):
        visit.collection.put(page, vectors)
    for page in (sample, mine, other):
        kept.put(page, page.id)
    visit.remove("mine.pdf")
    assert (kept.get(sample), kept.get(mine), kept.get(other)) == (sample.id, None, "other")
    visit.clear()
    assert (kept.get(sample), kept.get(other)) == (sample.id, None)


def test_looking_for_a_session_neither_makes_nor_holds_one(visits: Visits) -> None:
    now = [0.0]
    visits.sessions._clock = lambda: now[0]
    assert visits.session_of("me") is visits.session_of("") is visits.session_of(None) is None
    assert len(visits.sessions) == 0
    session = visits.get("me", "one").session
    visits.left("one")
    now[0] += LIMITS.leave_after_s / 2
    assert visits.session_of("me") is session  # such as a picture that is still being fetched
    now[0] += LIMITS.leave_after_s
    assert visits.session_of("me") is None
    visits.sweep()
    assert len(visits.sessions) == 0


def test_hits_that_are_sent_hold_no_picture(visit: Visit) -> None:
    for screen in (visit.arrive(), visit.search("coffee machine tank"), visit.move(STOPS[1])):
        sent = visit.changed(screen)
        assert not [name for name, html in sent.items() if "data:image" in html or ";base64" in html]
    assert len(pictures(visit.screen().results)) == 10
    assert all(
        re.fullmatch(r"pictures/[\w-]+/\w+/thumbnail\.jpg", src) for src in pictures(visit.screen().results)
    )


@pytest.mark.parametrize("name", TABS)
def test_only_the_open_evidence_tab_is_drawn(visit: Visit, name: str) -> None:
    visit.open_tab(name)
    screens = (
        visit.search("coffee machine tank"),
        visit.move(STOPS[2]),
        visit.choose(visit.trace.hits[1].page_id),
    )  # type: ignore[union-attr]
    for screen in (*screens, visit.screen()):
        drawn = {region for region in REGION_OF.values() if getattr(screen, region)}
        assert drawn == {REGION_OF[name]}
    other = TABS[(TABS.index(name) + 1) % len(TABS)]
    opened = visit.open_tab(other)
    assert {key for key, html in vars(opened).items() if html is not None} == {REGION_OF[other]}
    visit.open_tab("no such tab")
    assert visit.tab == REGION_OF[other]
