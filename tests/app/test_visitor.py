"""One visitor without a browser: what each move encodes, what stays open, what is told of failures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metaembed_demo.app.visitors.registry import Visits
from metaembed_demo.app.visitors.session import Sessions
from metaembed_demo.app.visitors.visitor import Tools, Visit
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.budgets import STOPS, Budget
from metaembed_demo.core.types import Embedding, Page, Query, Upload, Word, page_id
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
    return Visit(Tools(encoder, None, ("coffee machine",)), sessions.get(sessions.open()))


def shown_hits(html: str | None) -> list[str]:
    return re.findall(r'class="hit" data-page="(\w+)"', html or "")


def current_hit(html: str | None) -> list[str]:
    return re.findall(r'data-page="(\w+)" aria-current="true"', html or "")


def test_moving_the_dial_through_every_stop_encodes_nothing(visit: Visit, encoder: Encoder) -> None:
    visit.search("coffee machine tank")
    assert encoder.queries == 1
    for stop in [*STOPS, Budget(7, 30)]:
        screen = visit.move(stop)
        assert f'<b class="num">{stop.r_q}×{stop.r_c}</b>' in (screen.dial or "")
        assert "server time" in (screen.dial or "")
        assert visit.session.trace is not None
        assert shown_hits(screen.results) == [hit.page_id for hit in visit.session.trace.hits]
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


def test_the_picture_is_sent_once_while_it_stays_the_same(visit: Visit) -> None:
    first = visit.search("coffee machine tank")
    assert "data:image/jpeg" in (first.page or "")
    hits = shown_hits(first.results)
    assert visit.choose(hits[0]).page is None
    assert "data:image/jpeg" in (visit.choose(hits[1]).page or "")
    assert visit.arrive().page  # a browser that has just loaded holds none


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
    assert visit.session.trace is None


def test_removing_a_document_takes_its_pages_out_of_the_open_search(visit: Visit) -> None:
    visit.search("coffee machine tank")
    gone = {p.id for p in visit.collection.pages.values() if p.source == "document0.pdf"}
    shelf = visit.remove("document0.pdf")
    assert "document0.pdf" not in (shelf.listing or "")
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
    shelves = list(visit.index_inbox())
    assert not shelves[-1].busy
    assert "1 page added" in (shelves[-1].news or "")
    assert "<b>void.pdf</b>" in (shelves[-1].news or "")
    assert "of 17 pages" in (visit.screen().results or "")
    assert list(visit.index_inbox()) == []  # nothing is left to do


def test_a_visit_that_has_ended_starts_anew_and_never_meets_another(
    encoder: Encoder, base: Collection
) -> None:
    visits = Visits(Tools(encoder), base)
    mine, yours = visits.open(), visits.open()
    mine.clear()
    assert len(visits.get(yours.session.id).collection) == 16
    assert visits.get(mine.session.id) is mine
    visits.close(mine.session.id)
    assert visits.get(mine.session.id) is not mine
    assert len(visits.get(None).collection) == 16
    visits.close("nonsense")  # no error
