"""Budget study: metrics by hand, known-item queries, measurement, advice, user labels."""

import json
import math
import sys
import threading
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.budgets import STOPS, Budget
from metaembed_demo.core.types import Embedding, Page, Query, Word
from metaembed_demo.documents.sandbox.pool import Workers
from metaembed_demo.evaluation import label_worker
from metaembed_demo.evaluation.advice import cheapest
from metaembed_demo.evaluation.beir import Judgements
from metaembed_demo.evaluation.budget_study import (
    REPEATS,
    Kind,
    Labels,
    Step,
    StopWorth,
    Worth,
    measure,
    read_labels,
)
from metaembed_demo.evaluation.evaluate import ENCODE_BATCH, quality
from metaembed_demo.evaluation.known_items import Asked, known_items
from metaembed_demo.evaluation.label_reader import BadLabels
from metaembed_demo.evaluation.metrics import kendall_tau, overlap
from tests.support.dummy_encoder import DummyEncoder
from tests.support.sample_pages import fill, make_page

ENCODER = DummyEncoder()


# Two rankings


def test_overlap_by_hand() -> None:
    best = ["a", "b", "c", "d", "e", "f"]
    assert overlap(best, best) == 1
    assert overlap(best, ["e", "d", "c", "b", "a"]) == 1  # whatever the order
    assert overlap(best, ["f", "a", "b", "x", "y", "c"]) == 2 / 5
    assert overlap(best, ["f", "a", "b"], k=3) == 2 / 3
    assert overlap(["a", "b"], ["b", "a"]) == 1  # two pages are all there are
    assert overlap(["a", "b"], ["b"]) == 1 / 2
    assert overlap([], ["a"]) == 1


def test_tau_by_hand() -> None:
    assert kendall_tau("abcd", "abdc") == pytest.approx(4 / 6)  # one pair of six is reversed
    assert kendall_tau("abcd", "dxcybaz") == -1  # strangers do not count
    assert kendall_tau("", "") == 1
    assert kendall_tau("a", "ab") == 0  # no pair, and not the same


def test_agreement_of_random_rankings() -> None:
    rng = np.random.default_rng(0)
    for n in (2, 3, 7, 20):
        a = [f"p{i}" for i in rng.permutation(n)]
        b = [f"p{i}" for i in rng.permutation(n)]
        tau = kendall_tau(a, b)
        signs = [1 if b.index(x) < b.index(y) else -1 for x, y in combinations(a, 2)]
        assert tau == pytest.approx(sum(signs) / len(signs))
        assert kendall_tau(b, a) == pytest.approx(tau)
        assert kendall_tau(a, b[::-1]) == pytest.approx(-tau)
        assert kendall_tau(a, a) == overlap(a, a) == 1
        for k in (1, 5, 30):
            assert 0 <= overlap(a, b, k) == overlap(b, a, k) <= 1
        assert overlap(a, b, n) == 1


# Queries drawn from the pages


def text(name: str, words: int) -> str:
    """Words unique to one page, such as "apple7x"; every ninth ends a sentence."""
    return " ".join(f"{name}{i}x{'.' if i % 9 == 8 else ''}" for i in range(words))


@pytest.fixture(scope="module")
def corpus() -> Collection:
    """a.pdf with 6 pages, b.pdf with 2 and one too short, c.png without text; d.pdf shows b.pdf's page 1."""
    pages = [make_page("a.pdf", n, text(f"apple{n}n", 40)) for n in range(1, 7)]
    pages += [make_page("b.pdf", n + 1, text(name, 30)) for n, name in enumerate(("berry", "bread"))]
    pages += [make_page("b.pdf", 3, text("short", 11)), make_page("c.png", 1, text("cat", 30), "visual")]
    collection = Collection.for_encoder(ENCODER)
    with pytest.MonkeyPatch.context() as patch:
        fill(patch, collection, *pages, make_page("d.pdf", 1, text("berry", 30)))
    return collection


def test_queries_come_from_their_pages(corpus: Collection) -> None:
    asked = known_items(corpus)
    assert len(asked) == 8
    for one in asked:
        assert one.page_id is not None
        assert one.query.text in " ".join(word.text for word in corpus.pages[one.page_id].words)
        assert 6 <= len(one.query.text.split()) <= 14
    assert len({one.page_id for one in asked}) == len({one.query.text for one in asked}) == 8


def test_the_same_seed_draws_the_same_queries(corpus: Collection) -> None:
    assert known_items(corpus, 5) == known_items(corpus, 5)
    assert known_items(corpus.copy(), 5) == known_items(corpus, 5)
    assert known_items(corpus, 5, seed=2) != known_items(corpus, 5)
    assert known_items(corpus, 0) == []


def test_documents_take_turns(corpus: Collection) -> None:
    for seed in range(5):
        sources = [corpus.pages[str(one.page_id)].source for one in known_items(corpus, 4, seed)]
        assert Counter(sources) == {"a.pdf": 2, "b.pdf": 2}


def test_words_that_few_pages_have_are_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    collection = Collection.for_encoder(ENCODER)
    common = " ".join(f"the{i}" for i in range(60))
    for n in range(4):
        fill(monkeypatch, collection, make_page(f"{n}.pdf", 1, f"{common} {text(f'rare{n}n', 60)}"))
    asked = known_items(collection)
    assert len(asked) == 4
    assert all(word.startswith("rare") for one in asked for word in one.query.text.split())


def test_whole_sentences_are_asked_where_they_are_short_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    collection = Collection.for_encoder(ENCODER)
    sentences = [" ".join(f"s{n}w{i}" for i in range(8)) + "." for n in range(5)]
    fill(monkeypatch, collection, make_page("a.pdf", 1, " ".join(sentences)))
    assert {known_items(collection, seed=seed)[0].query.text for seed in range(20)} <= set(sentences)


def test_text_that_two_pages_hold_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    collection = Collection.for_encoder(ENCODER)
    page = make_page("a.pdf", 1, text("twice", 40))
    blue = page.with_words([*page.words, Word("blue", (0, 0, 1, 1), "visual")])
    fill(monkeypatch, collection, page, Page("another", "b.pdf", 1, page.image, blue.words))
    assert known_items(collection) == []
    fill(monkeypatch, collection, make_page("c.pdf", 1, f"{text('twice', 12)} {text('own', 40)}", "ocr"))
    asked = known_items(collection)
    assert [corpus_source(collection, one) for one in asked] == ["c.pdf"]
    assert "own" in asked[0].query.text


def corpus_source(collection: Collection, one: Asked) -> str:
    return collection.pages[str(one.page_id)].source


# Measuring


class Fixed(DummyEncoder):
    """Every query is (1, 0) in its first token and (0, 1) in all others."""

    def __init__(self) -> None:
        super().__init__(2)
        self.batches: list[int] = []

    def encode_queries(self, queries):
        self.batches.append(len(queries))
        vectors = np.tile(np.array([0, 1], np.float32), (self.r_q, 1))
        vectors[0] = 1, 0
        return [Embedding(vectors)] * len(queries)


def page_of(n: int) -> str:
    return make_page(f"{n}.pdf", 1, f"page {n}").id


@pytest.fixture
def eight() -> Collection:
    """Pages 0 to 7; the first token alone ranks 7 first, all tokens rank 0 first."""
    collection = Collection.for_encoder(Fixed())
    for n in range(8):
        vectors = np.tile(np.array([0, (7 - n) / 8], np.float32), (64, 1))
        vectors[0] = n / 16, 0
        collection.put(StoredPage.of(make_page(f"{n}.pdf", 1, f"page {n}")), Embedding(vectors))
    return collection


def run(collection: Collection, encoder: DummyEncoder, asked: list[Asked] | Labels) -> Worth:
    *steps, last = measure(collection, encoder, asked, threading.Event())
    assert [step.done for step in steps] == list(range(last.total))
    assert all(step.worth is None and step.total == last.total for step in steps)
    assert last.worth is not None
    assert last.done == last.total == last.worth.queries
    return last.worth


def test_budgets_are_compared_with_the_finest(eight: Collection) -> None:
    worth = run(eight, Fixed(), [Asked(Query("x"), page_of(0))])
    assert (worth.kind, worth.pages, worth.queries) == ("known items", 8, 1)
    assert [stop.budget for stop in worth.stops] == list(STOPS)
    first, *others = worth.stops
    assert (first.overlap, first.tau, first.quality) == (2 / 5, -1, 0)  # 7 6 5 4 3 beside 0 1 2 3 4
    assert all((stop.overlap, stop.tau, stop.quality) == (1, 1, 1) for stop in others)
    assert [stop.bytes_per_page for stop in worth.stops] == [4, 16, 32, 64, 256]
    assert [stop.interval for stop in worth.stops] == [(0, 0)] + [(1, 1)] * 4
    assert all(stop.p50_ms <= stop.p95_ms for stop in worth.stops)


def test_known_items_are_graded_by_the_rank_of_their_page(eight: Collection) -> None:
    worth = run(eight, Fixed(), [Asked(Query("x"), page_of(n)) for n in (3, 7)])
    assert worth.stops[0].each == (1 / math.log2(6), 1)  # ranks 5 and 1
    assert worth.stops[-1].each == (1 / math.log2(5), 0)  # ranks 4 and 8
    assert worth.stops[-1].quality == pytest.approx(1 / math.log2(5) / 2)


def test_without_answers_the_quality_is_the_overlap(eight: Collection) -> None:
    worth = run(eight, Fixed(), [Asked(Query("x"), page_of(0)), Asked(Query("y"))])
    assert worth.kind == "session"
    assert [stop.quality for stop in worth.stops] == [2 / 5, 1, 1, 1, 1]
    assert worth.stops[0].each == (2 / 5, 2 / 5)


def test_pages_found_at_another_place_count(corpus: Collection) -> None:
    page_id = corpus.holder(("d.pdf", 1))
    assert page_id == corpus.holder(("b.pdf", 1))
    known = run(corpus, ENCODER, [Asked(Query(text("berry", 9)), page_id)])
    assert known.stops[-1].quality == 1
    labels = Labels({"q": Query(text("berry", 9))}, {"q": {"d.pdf#1": 1}})
    assert run(corpus, ENCODER, labels).stops[-1].quality == 1


def test_labels_are_counted_as_in_the_reports(corpus: Collection) -> None:
    queries = {"1": Query(text("bread", 9)), "2": Query("apple1n3x apple2n3x berry3x")}
    qrels = {"1": {"b.pdf": 1}, "2": {"a.pdf#2": 2, "a.pdf#1": 1, "gone.pdf": 1}}
    worth = run(corpus, ENCODER, Labels(queries, qrels))
    assert (worth.kind, worth.queries) == ("labels", 2)
    vectors = {key: ENCODER.encode_queries([query])[0].vectors for key, query in queries.items()}
    ids = corpus.index.ids
    for stop in worth.stops:
        hits = {key: corpus.index.rerank(v, stop.budget, ids, len(ids)) for key, v in vectors.items()}
        rankings = {key: [hit.page_id for hit in of_query] for key, of_query in hits.items()}
        row = quality(rankings, Judgements(qrels, corpus))
        assert stop.quality == pytest.approx(row["ndcg@5"], abs=1e-4)
        assert stop.each == pytest.approx(tuple(row["each"].values()), abs=1e-4)
        assert list(stop.interval) == pytest.approx(row["ci95"]["ndcg@5"], abs=1e-4)


def test_queries_are_encoded_in_batches_and_every_stop_is_timed_alike(eight: Collection, monkeypatch) -> None:
    timed: list[Budget] = []
    search = eight.index.search
    monkeypatch.setattr(
        eight.index, "search", lambda v, budget, k: timed.append(budget) or search(v, budget, k)
    )
    encoder = Fixed()
    run(eight, encoder, [Asked(Query("x"))] * (ENCODE_BATCH + 4))
    assert encoder.batches == [ENCODE_BATCH, 4]
    assert all(timed.count(stop) >= REPEATS * (ENCODE_BATCH + 4) for stop in STOPS)
    assert len({tuple(timed[i : i + 5]) for i in range(1, 26, 5)}) > 1  # in changing order


def test_the_result_goes_into_json_and_csv(eight: Collection) -> None:
    worth = run(eight, Fixed(), [Asked(Query("x"), page_of(3))])
    found = json.loads(json.dumps(worth.as_json()))
    assert (found["schema"], found["kind"], found["pages"], found["queries"]) == (1, "known items", 8, 1)
    assert [row["budget"] for row in found["budgets"]] == ["1x1", "2x4", "4x8", "8x16", "16x64"]
    assert found["budgets"][0]["quality"] == 0.3869
    assert "each" not in found["budgets"][0]
    header, *rows = worth.rows()
    assert len(rows) == 5
    assert dict(zip(header, rows[0], strict=True)) == found["budgets"][0]


# Stopping, and pages that change


def test_a_cancel_ends_without_a_result(eight: Collection) -> None:
    stop, encoder = threading.Event(), Fixed()
    steps: list[Step] = []
    for step in measure(eight, encoder, [Asked(Query("x"))] * 40, stop):
        steps.append(step)
        if step.done == 2:
            stop.set()
    assert steps == [Step(0, 40), Step(1, 40), Step(2, 40)]
    assert encoder.batches == [ENCODE_BATCH]


def test_a_cancel_during_the_last_query_is_heeded(eight: Collection) -> None:
    stop = threading.Event()

    class Stopping(Fixed):
        def encode_queries(self, queries):
            stop.set()
            return super().encode_queries(queries)

    assert list(measure(eight, Stopping(), [Asked(Query("x"))], stop)) == [Step(0, 1)]


@pytest.mark.parametrize("change", ["remove", "clear", "add"])
def test_a_changed_collection_is_refused(eight: Collection, change: str) -> None:
    new = StoredPage.of(make_page("new.pdf", 1, "new"))
    do = {
        "remove": lambda: eight.remove("7.pdf"),
        "clear": eight.clear,
        "add": lambda: eight.put(new, Embedding(np.zeros((64, 2), np.float32))),
    }
    steps = measure(eight, Fixed(), [Asked(Query("x"))] * 3, threading.Event())
    next(steps)
    next(steps)
    other = threading.Thread(target=do[change])  # another thread: no lock is held between steps
    other.start()
    other.join(timeout=10)
    assert not other.is_alive()
    with pytest.raises(ValueError, match="changed"):
        next(steps)


def test_a_page_that_goes_within_a_step_is_told_the_same_way(eight: Collection) -> None:
    class Removing(Fixed):
        def encode_queries(self, queries):
            eight.remove("3.pdf")
            return super().encode_queries(queries)

    with pytest.raises(ValueError, match="changed"):
        list(measure(eight, Removing(), [Asked(Query("x"))], threading.Event()))


def test_another_place_of_a_page_is_no_change(eight: Collection) -> None:
    steps = measure(eight, Fixed(), [Asked(Query("x"), page_of(0))], threading.Event())
    next(steps)
    eight.note_place(page_of(0), ("copy.pdf", 1))
    assert next(steps).worth is not None


def test_what_cannot_be_compared_is_refused(eight: Collection) -> None:
    def first(collection: Collection, encoder: DummyEncoder, asked: list[Asked]) -> Step:
        return next(measure(collection, encoder, asked, threading.Event()))

    with pytest.raises(ValueError, match="no query"):
        first(eight, Fixed(), [])
    with pytest.raises(ValueError, match="no page"):
        first(Collection.for_encoder(Fixed()), Fixed(), [Asked(Query("x"))])
    with pytest.raises(ValueError, match="changed"):
        first(eight, Fixed(), [Asked(Query("x"), "nowhere")])
    other = Fixed()
    other.fingerprint = "other"
    with pytest.raises(ValueError, match="another encoder"):
        first(eight, other, [Asked(Query("x"))])


# The cheapest budget


def worth_of(*each: list[float], kind: Kind = "known items", pages: int = 100) -> Worth:
    """A Worth from qualities per budget and query; latency and size grow with the budget."""
    stops = tuple(
        StopWorth(
            stop, 1.0, 1.0, float(np.mean(of)), (0, 1), 256 * stop.r_c, float(stop.r_q), 20.0, tuple(of)
        )
        for stop, of in zip(STOPS, each, strict=True)
    )
    return Worth(kind, pages, len(each[0]), stops)


def test_the_cheapest_budget_that_keeps_enough_is_found() -> None:
    advice = cheapest(worth_of([0.5] * 60, [0.9] * 60, [0.97] * 60, [0.99] * 60, [1.0] * 60))
    assert (advice.stop.budget, advice.safe) == (Budget(4, 8), True)
    assert (advice.memory, advice.speed) == (8, 4)
    assert advice.share == pytest.approx(0.97)
    assert advice.interval == pytest.approx((0.97, 0.97))
    assert advice.sentence == (
        "4x8 keeps 97% of 16x64's nDCG@5 on 60 known-item queries over 100 pages (95% interval 97% to 97%), "
        "with 1/8 of the memory."
    )


def test_a_share_met_exactly_suffices() -> None:
    values = [0.1, 0.2, 0.3, 0.7] * 5
    advice = cheapest(worth_of(*[[0.95 * value for value in values]] * 4, values))
    assert (advice.stop.budget, advice.safe) == (Budget(1, 1), True)


def test_a_claim_that_hangs_on_few_queries_is_not_safe() -> None:
    most, all_found = [1.0] * 58 + [0.0] * 2, [1.0] * 60
    advice = cheapest(worth_of(most, most, most, most, all_found))
    assert (advice.stop.budget, advice.safe) == (Budget(1, 1), False)
    assert advice.share == pytest.approx(58 / 60)
    assert advice.interval[0] < 0.95 < advice.interval[1] == 1
    assert advice.sentence.startswith(
        "60 known-item queries over 100 pages cannot tell whether 1x1 keeps 95%"
    )
    assert advice.sentence.endswith("97% (95% interval 91% to 100%).")
    assert advice.sure.budget == Budget(16, 64)
    (doubt,) = advice.doubts
    assert (doubt.coarse.budget, doubt.fine.budget) == (Budget(8, 16), Budget(16, 64)), "the others are alike"
    assert doubt.points[0] <= -5 <= doubt.points[1]
    assert 60 < advice.more < 1000
    assert cheapest(worth_of(most, most, most, most, all_found), share=0.9).safe


def test_the_ratio_is_paired_by_query() -> None:
    finest = np.random.default_rng(0).random(40).tolist()
    advice = cheapest(worth_of(*[[0.96 * value for value in finest]] * 4, finest))
    assert advice.interval == pytest.approx((0.96, 0.96))  # however far the queries lie apart
    assert advice.safe


def test_too_few_queries_or_pages_are_never_safe() -> None:
    assert cheapest(worth_of(*[[1.0] * 10] * 5)).safe
    assert not cheapest(worth_of(*[[1.0] * 9] * 5)).safe
    advice = cheapest(worth_of(*[[1.0] * 20] * 5, kind="session", pages=5))
    assert not advice.safe
    assert "20 session queries over 5 pages cannot tell" in advice.sentence


def test_where_nothing_smaller_is_enough_the_finest_stays() -> None:
    advice = cheapest(worth_of(*[[0.5]] * 4, [1.0], kind="labels"))
    assert (advice.stop.budget, advice.share, advice.memory, advice.speed) == (Budget(16, 64), 1, 1, 1)
    assert advice.safe
    assert (
        advice.sentence == "No smaller budget keeps 95% of 16x64's nDCG@5 on 1 labelled query over 100 pages."
    )


def test_a_coarser_stop_that_may_be_enough_is_a_doubt() -> None:
    most = [1.0] * 56 + [0.0] * 4  # 93%, and 95% lies within the interval
    advice = cheapest(worth_of(*[[0.1] * 60] * 3, most, [1.0] * 60))
    assert (advice.stop.budget, advice.safe, advice.sure.budget) == (Budget(8, 16), False, Budget(16, 64))
    assert "cannot tell whether 8x16 keeps 95%" in advice.sentence


@pytest.mark.parametrize("share", [0, -0.5, 1.01, math.nan])
def test_a_share_is_above_0_and_at_most_1(share: float) -> None:
    with pytest.raises(ValueError, match="at most 1"):
        cheapest(worth_of(*[[1.0]] * 5), share)


def test_there_is_no_share_of_nothing() -> None:
    with pytest.raises(ValueError, match="none of the answers"):
        cheapest(worth_of(*[[0.0] * 20] * 5))


# The user's labels

HEADER = "query-id\tcorpus-id\tscore\n"


def write(folder: Path, queries: str, qrels: str) -> tuple[Path, Path]:
    files = folder / "mine.jsonl", folder / "judged.tsv"
    for file, content in zip(files, (queries, qrels), strict=True):
        file.write_text(content, encoding="utf-8")
    return files


def lines(*values: object) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


def test_uploaded_labels_are_read(corpus: Collection, tmp_path: Path) -> None:
    queries = lines(
        {"_id": 1, "text": "bread", "image": ""}, {"_id": "2", "text": "x"}, {"_id": "3", "text": "y"}
    )
    qrels = f"{HEADER}1\tb.pdf#2\t2\n2\td.pdf\t1\n3\tb.pdf\t0\n"
    labels = read_labels(*write(tmp_path, queries, qrels), corpus)
    assert labels.queries == {"1": Query("bread"), "2": Query("x")}
    assert labels.qrels == {"1": {"b.pdf#2": 2}, "2": {"d.pdf": 1}}
    assert labels.missing == ()
    assert labels.told == "mine.jsonl and judged.tsv: 2 queries and 2 judgements above 0."


def test_judged_ids_that_are_missing_are_counted_and_told(corpus: Collection, tmp_path: Path) -> None:
    qrels = "1\tb.pdf#2\t1\n1\tb.pdf#9\t1\n2\tnowhere.pdf\t1\n2\tb.pdf#9\t1\n"
    queries = lines({"_id": "1", "text": text("bread", 9)}, {"_id": "2", "text": "x"})
    labels = read_labels(*write(tmp_path, queries, qrels), corpus)
    assert labels.missing == ("b.pdf#9", "nowhere.pdf")
    assert labels.told.endswith(
        "2 queries and 4 judgements above 0. 2 of 3 judged ids are not in the collection and count as not "
        "found: 'b.pdf#9', 'nowhere.pdf'."
    )
    many = Labels(labels.queries, labels.qrels, tuple(f"p{i}" for i in range(9)))
    assert many.told.endswith("'p0', 'p1', 'p2', 'p3', 'p4' and 4 more.")
    assert run(corpus, ENCODER, labels).stops[-1].each == (pytest.approx(1 / (1 + 1 / math.log2(3))), 0)


GOOD = {"_id": "1", "text": "bread"}


@pytest.mark.parametrize(
    ("queries", "qrels", "match"),
    [
        (lines(GOOD) + "{'_id': 2}\n", "1\tb.pdf\t1\n", r"^mine\.jsonl, line 2"),
        (lines(GOOD, GOOD), "1\tb.pdf\t1\n", r"^mine\.jsonl, line 2.*used before"),
        ("", "1\tb.pdf\t1\n", r"^mine\.jsonl holds no query"),
        (lines(GOOD), f"{HEADER}1\tb.pdf\n", r"^judged\.tsv, line 2"),
        (lines(GOOD), f"{HEADER}1\tb.pdf\tinf\n", r"^judged\.tsv, line 2: the grade is above 1,000,000"),
        (lines({**GOOD, "text": "\u200b"}), "1\tb.pdf\t1\n", r"^mine\.jsonl, line 1: the query has no text"),
        (lines(GOOD), "2\tb.pdf\t1\n", r"^No query of mine\.jsonl has a judgement"),
        ("[" * 10_000, "1\tb.pdf\t1\n", r"^mine\.jsonl"),
        (" " * 2_000_000, "1\tb.pdf\t1\n", r"^mine\.jsonl is too large \(2 MB\): 1 MB are read"),
        (lines(GOOD), "\r" * 4000, r"^judged\.tsv has 4,000 lines: 3,000 are read"),
        (lines(GOOD), "\t" * 20_000, r"^judged\.tsv, line 1 is too long"),
        (lines({**GOOD, "text": "a" * 2001}), "1\tb.pdf\t1\n", r"^Query 1 is too long: 2,000 characters"),
    ],
    ids=range(12),
)
def test_a_bad_line_is_named(
    corpus: Collection, tmp_path: Path, queries: str, qrels: str, match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        read_labels(*write(tmp_path, queries, qrels), corpus)


def test_a_missing_file_is_named(corpus: Collection, tmp_path: Path) -> None:
    queries, _ = write(tmp_path, lines(GOOD), "")
    with pytest.raises(ValueError, match=r"gone\.tsv"):
        read_labels(queries, tmp_path / "gone.tsv", corpus)


def test_a_querys_picture_is_refused_and_never_opened(
    corpus: Collection, tmp_path: Path, monkeypatch
) -> None:
    picture = tmp_path / "secret.png"
    Image.new("RGB", (20, 20)).save(picture)
    monkeypatch.setattr(label_worker.LABELS, "available", False)  # so that the next line has an effect
    monkeypatch.setattr(Image, "open", None)
    files = write(tmp_path, "\n" + lines(GOOD, {**GOOD, "_id": "2", "image": str(picture)}), "1\tb.pdf\t1\n")
    with pytest.raises(ValueError, match=r"^mine\.jsonl, line 3: image queries are not supported"):
        read_labels(*files, corpus)


def test_a_process_of_its_own_reads_labels(corpus: Collection, tmp_path: Path, monkeypatch) -> None:
    def forbidden(*args: object) -> None:
        raise AssertionError("read in the app")

    monkeypatch.setattr(label_worker, "read", forbidden)
    files = write(tmp_path, lines(GOOD), "1\tb.pdf#2\t1\n")
    assert read_labels(*files, corpus).qrels == {"1": {"b.pdf#2": 1}}
    with pytest.raises(BadLabels, match=r"^judged\.tsv, line 2"):
        read_labels(*write(tmp_path, lines(GOOD), "\n1\n"), corpus)


def said(answer: dict[str, object]) -> str:
    """Code of a process that gives one answer, in hexadecimal so that nothing needs quoting."""
    text = json.dumps({**answer, "blobs": []}).encode()
    framed = len(text).to_bytes(4, "big") + text
    return f"sys.stdout.buffer.write(bytes.fromhex('{framed.hex()}')); sys.stdout.flush()\n"


ASKED = said({"is": "ready"}) + "sys.stdin.readline()\n"
LABELLED = {"is": "labels", "texts": {"1": "bread"}, "qrels": {"1": {"b.pdf": 1}}}


@pytest.mark.parametrize(
    ("code", "match"),
    [
        (ASKED + "import time; time.sleep(600)", "takes more than 0.2 s"),
        (ASKED + "import os; os.abort()", "its reader needed more than"),
        (ASKED + said({**LABELLED, "texts": {"1": 5}}), "makes no sense"),
        (ASKED + said({**LABELLED, "texts": {"1": "a" * 2001}}), "makes no sense"),
        (ASKED + said({**LABELLED, "qrels": {"1": {"b.pdf": 10**9}}}), "makes no sense"),
        (ASKED + said({**LABELLED, "qrels": {"1": {"a" * 20_000: 1}}}), "makes no sense"),
        (ASKED + said({**LABELLED, "qrels": {"2": {"b.pdf": 1}}}), "makes no sense"),
        ("", "no process starts"),
    ],
    ids=["hangs", "dies", "no text", "long text", "grade", "long id", "other ids", "does not start"],
)
def test_a_process_that_fails_costs_an_error_that_names_the_files(
    corpus: Collection, tmp_path: Path, monkeypatch, code: str, match: str
) -> None:
    pool = Workers(1, command=[sys.executable, "-c", "import sys\n" + code])
    monkeypatch.setattr(pool, "_proven", True)  # else files are read in the app where none starts
    monkeypatch.setattr(label_worker, "LABELS", pool)
    monkeypatch.setattr(label_worker, "SECONDS", 0.2 if "sleep" in code else 60)
    files = write(tmp_path, lines(GOOD), "1\tb.pdf\t1\n")
    with pytest.raises(BadLabels, match=rf"^mine\.jsonl and judged\.tsv could not be read.*{match}"):
        read_labels(*files, corpus)
    assert not pool._idle, "what has failed is not asked again"
