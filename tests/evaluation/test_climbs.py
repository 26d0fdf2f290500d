"""The judged questions whose answer climbs most: measured, picked by rule, kept, read again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.types import Query
from metaembed_demo.evaluation import climbs
from metaembed_demo.evaluation.beir import Beir, Judgements
from metaembed_demo.evaluation.climbs import Climb
from metaembed_demo.evaluation.evaluate import evaluate
from tests.support.dummy_encoder import DummyEncoder
from tests.support.sample_pages import make_page

# The dummy encoder's first token sums all words, so a long page that answers drowns at 1x1.
NOISE = " ".join(f"filler{i}" for i in range(60))
PAGES = {
    "long.pdf": f"{NOISE} descale the kettle",
    **{f"short{i}.pdf": f"kettle number {i}" for i in range(6)},
}
QUESTIONS = {"a": ("descale the kettle", "long.pdf#1"), "b": ("kettle number 3", "short3.pdf#1")}


@pytest.fixture(scope="module")
def measured() -> tuple[list[Climb], Beir, Judgements]:
    encoder = DummyEncoder()
    collection = Collection.for_encoder(encoder)
    for source, text in PAGES.items():
        page = make_page(source, 1, text)
        collection.put(StoredPage.of(page), encoder.encode_pages([page])[0])
    queries = {key: Query(text) for key, (text, _) in QUESTIONS.items()}
    beir = Beir(Path(), queries, {key: {target: 1} for key, (_, target) in QUESTIONS.items()}, [])
    judged = Judgements(beir.qrels, collection)
    found = evaluate(collection, encoder, beir, judged)
    return climbs.climbs(found["rankings"], beir, judged), beir, judged


def test_a_climb_has_the_rank_of_the_judged_page_at_each_stop(
    measured: tuple[list[Climb], Beir, Judgements],
) -> None:
    (long, short), _, _ = measured
    assert (long.source, short.source) == ("long.pdf", "short3.pdf")
    assert long.ranks[0] > long.ranks[-1] == 1
    assert short.ranks == (1, 1, 1, 1, 1)


def test_few_climbs_are_filled_up_with_questions_about_other_documents(
    measured: tuple[list[Climb], Beir, Judgements],
) -> None:
    found, beir, judged = measured
    offered = climbs.examples(climbs.pick(found), beir)
    assert [example.question for example in offered] == ["descale the kettle", "kettle number 3"]
    assert [bool(example.ranks) for example in offered] == [True, False]
    answers = climbs.answers_of(beir, judged)
    assert list(answers[climbs.asked("Descale  the kettle")].values()) == [1]


def test_picked_are_large_climbs_to_the_first_rank_one_a_document() -> None:
    found = [
        Climb("falls again on its way", "a", (30, 60, 9, 9, 1)),
        Climb("the largest of its document", "a", (40, 30, 9, 9, 1)),
        Climb("does not arrive at the top", "b", (90, 9, 9, 9, 2)),
        Climb("as far as the one below, but longer", "c", (9, 9, 9, 9, 1)),
        Climb("as far, but short", "d", (9, 9, 9, 9, 1)),
        Climb("hardly moves at all", "e", (2, 2, 2, 2, 1)),
        Climb("too long " * 9, "f", (99, 1, 1, 1, 1)),
    ]
    assert [climb.source for climb in climbs.pick(found)] == ["a", "d", "c"]
    assert climbs.pick(found)[0].ranks[0] == 40
    assert len(climbs.pick(found, 2)) == 2


def test_climbs_are_read_again_only_for_what_they_were_measured_on(tmp_path: Path) -> None:
    path, picked = tmp_path / climbs.NAME, (Climb("how far?", "a.pdf", (5, 4, 3, 2, 1)),)
    assert climbs.read(path, "key", 5) is None
    climbs.write(path, "key", picked)
    assert climbs.read(path, "key", 5) == picked
    assert climbs.read(path, "another", 5) is None
    for damage in (
        "[]",
        "{",
        json.dumps({"key": "key", "climbs": [{"question": "x", "source": "", "ranks": [1]}]}),
    ):
        path.write_text(damage)
        assert climbs.read(path, "key", 5) is None
