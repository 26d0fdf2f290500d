"""Evaluation on BEIR folders: metrics by hand, corpus ids of all forms, the saved index."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import ndcg_score

from benchmarks.quality.quality import without_mmr
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.progress import Report
from metaembed_demo.core.types import Page, Query, Word
from metaembed_demo.documents.sandbox.client import Rendered
from metaembed_demo.evaluation.baselines import best_chunk, bm25, token_maxsim
from metaembed_demo.evaluation.beir import Beir, Judgements, collect, load_beir, open_picture
from metaembed_demo.evaluation.evaluate import evaluate, quality
from metaembed_demo.evaluation.metrics import gain, interval, ndcg, recall, reciprocal_rank
from tests.support.dummy_encoder import DummyEncoder
from tests.support.sample_pages import fill, make_page, read_by

ENCODER = DummyEncoder()


# Metrics, by hand


def test_ndcg_by_hand() -> None:
    # Grades 3, 2 and 1 are to be found; ranks 1, 3 and 6 hold 2, 3 and 1.
    gains, judged = [2, 0, 3, 0, 0, 1], [3, 2, 1]
    ideal = 3 / 1 + 2 / math.log2(3) + 1 / 2
    assert ndcg(gains, judged, 5) == pytest.approx((2 + 3 / 2) / ideal)
    assert ndcg(gains, judged, 10) == pytest.approx((2 + 3 / 2 + 1 / math.log2(7)) / ideal)
    assert ndcg(gains, judged, 1) == pytest.approx(2 / 3)
    assert ndcg([1] * 5, [1] * 20, 5) == 1.0  # more to find than ranks
    assert ndcg([], [1], 5) == 0.0
    assert ndcg([0], [], 5) == 0.0


def test_ndcg_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    for k in (1, 5, 10, 40):
        grades = rng.integers(0, 4, size=30) * (rng.random(30) < 0.3)
        scores = rng.permutation(30).astype(float)
        gains = grades[np.argsort(-scores)].tolist()
        ours = ndcg(gains, [grade for grade in gains if grade], k)
        assert ours == pytest.approx(ndcg_score(grades[None], scores[None], k=k))


def test_recall_and_reciprocal_rank_by_hand() -> None:
    met = [0, 1, 0, 2, 0]
    assert [recall(met, 4, k) for k in (1, 2, 5)] == [0.0, 0.25, 0.75]
    assert reciprocal_rank(met) == 0.5
    assert reciprocal_rank([0, 0]) == 0.0


def test_the_interval_is_that_of_a_mean() -> None:
    assert interval(np.full(9, 0.25)) == [0.25, 0.25]
    values = np.random.default_rng(1).random(400)
    low, high = interval(values)
    assert low < values.mean() < high
    spread = 1.96 * values.std() / math.sqrt(len(values))
    assert high - low == pytest.approx(2 * spread, rel=0.1)
    assert interval(values) == [low, high]


def test_gains_are_paired() -> None:
    worse = {"each": {"a": 0.0, "b": 0.5, "c": 0.2}}
    better = {"each": {"c": 0.3, "a": 0.1, "b": 0.6}}
    found = gain(better, worse)
    assert found["points"] == pytest.approx(10)
    assert found["ci95"] == pytest.approx([10, 10])  # however far the queries lie apart


# Ids


@pytest.fixture
def corpus(monkeypatch) -> Collection:
    """a.pdf with 3 pages, corpus/b.pdf with 2, c.png, and x/d.png, which shows what a.pdf page 3 does."""
    collection = Collection.for_encoder(ENCODER)
    pages = [make_page("a.pdf", n, f"alpha {n}") for n in (1, 2, 3)]
    pages += [make_page("corpus/b.pdf", n, f"beta {n}") for n in (1, 2)]
    fill(monkeypatch, collection, *pages, make_page("c.png", 1, "gamma"), make_page("x/d.png", 1, "alpha 3"))
    return collection


def ids(collection: Collection, *places: tuple[str, int]) -> list[str]:
    return [str(collection.holder(place)) for place in places]


def judge(collection: Collection, judged: dict[str, int], ranked: list[str]) -> tuple[dict, Judgements]:
    judgements = Judgements({"q": judged}, collection)
    return quality({"q": ranked}, judgements), judgements


A1, A2, A3, B1, B2, C = (
    ("a.pdf", 1),
    ("a.pdf", 2),
    ("a.pdf", 3),
    ("corpus/b.pdf", 1),
    ("corpus/b.pdf", 2),
    ("c.png", 1),
)


def test_pages_are_ranked_as_pages(corpus: Collection) -> None:
    row, _ = judge(corpus, {"a.pdf#2": 1}, ids(corpus, A1, A3, A2, B1, B2, C))
    assert row["mrr"] == pytest.approx(1 / 3, abs=1e-4)
    assert (row["recall@1"], row["recall@5"], row["hit@5"]) == (0, 1, 1)
    assert row["ndcg@5"] == pytest.approx(1 / 2, abs=1e-4)


def test_whole_files_take_the_rank_of_their_best_page(corpus: Collection) -> None:
    row, _ = judge(corpus, {"b.pdf": 1}, ids(corpus, A1, A2, A3, B2, B1, C))
    # a.pdf, x/d.png with a.pdf's third page, b.pdf
    assert row["mrr"] == pytest.approx(1 / 3, abs=1e-4)
    row, _ = judge(corpus, {"b.pdf": 1}, ids(corpus, A1, A2, B2, B1, C, A3))
    assert row["mrr"] == pytest.approx(1 / 2, abs=1e-4)


def test_a_file_judged_beside_pages_is_met_by_its_first_page_and_once(corpus: Collection) -> None:
    judged = {"a.pdf": 1, "b.pdf#2": 1}
    row, _ = judge(corpus, judged, ids(corpus, C, A3, A1, A2, B2, B1))
    # Ranks: c.png, a.pdf (its other pages take none), b.pdf page 2.
    assert row["recall@1"] == 0
    assert row["recall@5"] == 1
    assert row["mrr"] == 0.5
    ideal = 1 + 1 / math.log2(3)
    assert row["ndcg@5"] == pytest.approx((1 / math.log2(3) + 1 / 2) / ideal, abs=1e-4)


def test_a_file_judged_both_ways_keeps_its_pages_apart(corpus: Collection) -> None:
    row, _ = judge(corpus, {"a.pdf": 1, "a.pdf#2": 2}, ids(corpus, A1, B1, A2))
    ideal = 2 + 1 / math.log2(3)
    assert row["ndcg@5"] == pytest.approx((1 + 2 / 2) / ideal, abs=1e-4)
    assert row["recall@1"] == 0.5


def test_a_duplicate_page_counts_for_all_its_aliases(corpus: Collection) -> None:
    for corpus_id in ("a.pdf#3", "d.png#1", "x/d.png#1", "d.png"):
        row, judgements = judge(corpus, {corpus_id: 1}, ids(corpus, A3, A1, C))
        assert judgements.missing == []
        assert (row["mrr"], row["ndcg@5"]) == (1, 1)
    row, judgements = judge(corpus, {"a.pdf#3": 1, "d.png#1": 2}, ids(corpus, A3))
    assert list(judgements.judged["q"].values()) == [2]  # one page, judged once
    assert (row["recall@1"], row["ndcg@5"]) == (1, 1)


def test_ids_that_nothing_answers_to_count_as_not_found(corpus: Collection) -> None:
    row, judgements = judge(corpus, {"a.pdf#1": 1, "a.pdf#9": 1, "zzz.pdf": 1, "a.pdf#x": 1}, ids(corpus, A1))
    assert judgements.missing == ["a.pdf#9", "zzz.pdf", "a.pdf#x"]
    assert row["recall@10"] == 0.25


def test_base_names_answer_only_where_they_are_unique(monkeypatch) -> None:
    collection = Collection.for_encoder(ENCODER)
    fill(
        monkeypatch,
        collection,
        make_page("x/same.png", 1, "one"),
        make_page("y/same.png", 1, "two"),
        make_page("odd#1.png", 1, "three"),
    )
    judgements = Judgements({"q": {"same.png": 1, "y/same.png": 1, "odd#1.png": 1}}, collection)
    assert judgements.missing == ["same.png"]
    assert ("file", "odd#1.png") in judgements.judged["q"]


# The folder


def write_folder(folder: Path, queries: list[dict], qrels: str, name: str = "qrels/test.tsv") -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / "queries.jsonl").write_text(
        "\n".join(json.dumps(q) for q in queries) + "\n\n", encoding="utf-8"
    )
    (folder / name).write_text(qrels, encoding="utf-8")
    for at, picture in enumerate(("corpus/red.png", "deep/er/blue.png", "ask.png")):
        (folder / picture).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30 + at), picture.split("/")[-1].split(".")[0] if at < 2 else "green").save(
            folder / picture
        )
    (folder / "make_corpus.py").write_text("print()")


QUERIES = [
    {"_id": "1", "text": "something red"},
    {"_id": 2, "text": "", "image": "ask.png"},
    {"_id": "3", "text": "never judged"},
]
QRELS = "query-id\tcorpus-id\tscore\n1\tred.png\t1\n1\tblue.png\t0\n2\tdeep/er/blue.png#1\t2\n9\tred.png\t1\n"


@pytest.mark.parametrize("name", ["qrels/test.tsv", "qrels/dev.tsv", "qrels.tsv"])
def test_a_folder_in_beir_layout_is_read(tmp_path: Path, name: str) -> None:
    write_folder(tmp_path, QUERIES, QRELS if name != "qrels.tsv" else QRELS.split("\n", 1)[1], name)
    beir = load_beir(tmp_path)
    assert beir.queries["1"].text == "something red"
    image = beir.queries["2"].image
    assert image is not None
    assert image.size == (40, 32)
    assert beir.qrels == {"1": {"red.png": 1}, "2": {"deep/er/blue.png#1": 2}}
    assert [file.name for file in beir.files] == ["corpus/red.png", "deep/er/blue.png"]


def test_a_query_picture_that_is_judged_stays_in_the_corpus(tmp_path: Path) -> None:
    write_folder(tmp_path, QUERIES, "1\task.png\t1\n")
    assert [file.name for file in load_beir(tmp_path).files] == [
        "ask.png",
        "corpus/red.png",
        "deep/er/blue.png",
    ]


@pytest.mark.parametrize(
    ("queries", "qrels", "match"),
    [
        ([{"_id": "1"}], QRELS, "line 1.*empty"),
        ([{"text": "no id"}], QRELS, "line 1.*_id"),
        ([{"_id": "1", "image": "nowhere.png"}], QRELS, "nowhere.png does not exist"),
        ([*QUERIES, QUERIES[0]], QRELS, "used before"),
        ([], QRELS, "holds no query"),
        (QUERIES, "1\tred.png\n1\tred.png\n", "line 2"),
        (QUERIES, "1\tred.png\tmuch\n1\tred.png\tvery\n", "line 2"),
        (QUERIES, "1\tred.png\t0\n", "judgement above 0"),
    ],
)
def test_a_malformed_folder_is_refused_with_the_line(tmp_path: Path, queries, qrels: str, match: str) -> None:
    write_folder(tmp_path, queries, qrels)
    with pytest.raises(ValueError, match=match):
        load_beir(tmp_path)


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no folder"):
        load_beir(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"queries\.jsonl is missing"):
        load_beir(tmp_path)
    (tmp_path / "queries.jsonl").write_text('{"_id": "1", "text": "x"}')
    with pytest.raises(ValueError, match=r"test\.tsv is missing"):
        load_beir(tmp_path)
    (tmp_path / "qrels.tsv").write_text("1\ta.pdf\t1\n")
    with pytest.raises(ValueError, match="no PDF or picture"):
        load_beir(tmp_path)


def test_query_images_are_checked(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"bad\.png"):
        open_picture(tmp_path / "bad.png")


# Indexing and evaluating


def named(page: Page) -> Page:
    return page.with_words([Word(word, (0, 0, 1, 1)) for word in page.source.replace("/", " ").split()])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    write_folder(tmp_path / "set", QUERIES[:1], "1\tred.png\t1\n1\tblue.png\t1\n1\tbroken.png\t1\n")
    (tmp_path / "set" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"junk" * 20)
    read_by(monkeypatch, named)
    return tmp_path


def test_a_kept_index_follows_the_folder(folder: Path, monkeypatch) -> None:
    def run() -> tuple[list[str], Report]:
        report = Report()
        collection = collect(load_beir(folder / "set"), ENCODER, report, folder / "ix")
        return [document.source for document in collection.documents()], report

    sources, report = run()
    assert sources == ["ask.png", "corpus/red.png", "deep/er/blue.png"]
    assert [problem.source for problem in report.problems] == ["broken.png"]

    monkeypatch.setattr(Rendered, "read", None)  # nothing is read again...
    sources, report = run()
    assert (len(sources), report.added) == (3, 0)
    assert [problem.source for problem in report.problems] == [
        "broken.png"
    ]  # ...but what failed is told again

    read_by(monkeypatch, named)
    Image.new("RGB", (50, 50), "blue").save(folder / "set" / "deep/er/blue.png")
    (folder / "set" / "ask.png").unlink()
    Image.new("RGB", (60, 60), "blue").save(folder / "set" / "more.png")
    sources, report = run()
    assert sorted(sources) == ["corpus/red.png", "deep/er/blue.png", "more.png"]
    assert report.added == 2


def test_the_report_has_the_five_budgets(folder: Path) -> None:
    beir = load_beir(folder / "set")
    collection = collect(beir, ENCODER, Report())
    judgements = Judgements(beir.qrels, collection)
    found = evaluate(collection, ENCODER, beir, judgements)
    assert (found["pages"], found["queries"], judgements.missing) == (3, 1, ["broken.png"])
    assert [row["budget"] for row in found["budgets"]] == ["1x1", "2x4", "4x8", "8x16", "16x64"]
    assert [row["bytes_per_page"] for row in found["budgets"]] == [256, 1024, 2048, 4096, 16384]
    for row in found["budgets"]:
        assert row["recall@10"] == pytest.approx(2 / 3, abs=1e-4)
        assert {
            "r_q",
            "r_c",
            "ndcg@5",
            "ndcg@10",
            "recall@1",
            "recall@5",
            "hit@5",
            "mrr",
            "latency_ms_p50",
            "latency_ms_p95",
        } <= row.keys()
        assert row["ci95"]["mrr"] == [row["mrr"]] * 2  # one query: nothing to resample
        assert list(row["each"]) == ["1"]
    json.dumps(found)


def test_each_query_is_encoded_once_for_all_budgets(corpus: Collection) -> None:
    class Counting(DummyEncoder):
        asked: list[str] = []  # noqa: RUF012

        def encode_queries(self, queries):
            self.asked.extend(query.text for query in queries)
            return super().encode_queries(queries)

    many = {f"q{i}": Query(f"alpha {i}") for i in range(40)}
    beir = Beir(Path(), many, {key: {"a.pdf#1": 1} for key in many}, [])
    encoder = Counting()
    evaluate(corpus, encoder, beir, Judgements(beir.qrels, corpus))
    assert len(set(encoder.asked)) == 40
    assert len(encoder.asked) == 40 + 16  # and sixteen of them alone, for the clock


# Baselines


def test_bm25_ranks_the_page_with_the_rare_word_first() -> None:
    texts = ["the cat sat on the mat", "the dog", "", "zebra zebra crossing"]
    scores, size = bm25(texts, ["a zebra on the road", "unheardof", "cat"])
    assert scores.shape == (3, 4)
    assert scores[0].argmax() == 3
    assert scores[1].tolist() == [0, 0, 0, 0]
    assert scores[2].argmax() == 0
    assert size > 0
    assert bm25(["", ""], ["cat"])[0].tolist() == [[0, 0]]


def test_the_best_chunk_is_the_greatest_cosine_of_a_page() -> None:
    class Model:
        def embed(self, texts, max_tokens, of_queries=False):
            return np.array(
                [[float("gold" in t.split()), float("lead" in t.split())] for t in texts], np.float32
            )

    far = " ".join(["x"] * 130 + ["gold"])
    scores, chunks = best_chunk(Model(), ["lead only", far, ""], ["gold", "lead"])
    assert scores.tolist() == [[0, 1, 0], [1, 0, 0]]
    assert chunks == 4


def test_token_maxsim_sums_each_query_tokens_best_match() -> None:
    class Model:
        def token_vectors(self, words, of_query=False):
            known = {"red": [1.0, 0.0], "kite": [0.0, 1.0], "both": [0.6, 0.8]}
            return np.array([known[word] for word in words], np.float32)

    scores, tokens = token_maxsim(Model(), ["red red", "both", "red kite"], ["red", "red kite"])
    np.testing.assert_allclose(scores, [[1, 0.6, 1], [1, 1.4, 2]], atol=1e-6)
    assert tokens == 5


def test_the_model_without_mmr_is_measured_on_the_stored_words(corpus: Collection) -> None:
    beir = Beir(Path(), {"q": Query("alpha 2")}, {"q": {"a.pdf#2": 1}}, [])
    judgements = Judgements(beir.qrels, corpus)
    cut, *_, whole = without_mmr(ENCODER, corpus, beir, judgements)
    assert (whole["name"], whole["bytes_per_page"]) == ("Mini trained without MMR, 16x64", 16384)
    assert (cut["name"], cut["bytes_per_page"]) == ("Mini trained without MMR, 1x1", 256)
    assert whole["ndcg@5"] == evaluate(corpus, ENCODER, beir, judgements)["budgets"][-1]["ndcg@5"]
