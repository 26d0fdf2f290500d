"""TREC runs and qrels: written, judged by trec_eval, read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pytrec_eval

from metaembed_demo.collection.collection import Collection
from metaembed_demo.evaluation.beir import Judgements
from metaembed_demo.evaluation.evaluate import quality
from metaembed_demo.evaluation.run_files import judged_runs, read_run, trec_qrels, trec_run, write_trec
from tests.support.dummy_encoder import DummyEncoder
from tests.support.sample_pages import fill, make_page

# Its spaces, a percent sign and a mark of pages are those that a file's name may have.
ODD = "odd 100% #2.pdf"
BY_PAGES = {"q 1": {"a.pdf#2": 2, f"{ODD}#1": 1}, "q2": {"a.pdf#1": 1, "a.pdf#9": 1}, "q3": {"gone.pdf": 1}}
BY_FILES = {"q 1": {"a.pdf": 1}, "q2": {ODD: 2, "c.png": 1}}
FIGURES = {"ndcg_cut_5": "ndcg@5", "ndcg_cut_10": "ndcg@10", "recall_5": "recall@5", "recip_rank": "mrr"}


@pytest.fixture
def corpus(monkeypatch: pytest.MonkeyPatch) -> Collection:
    collection = Collection.for_encoder(DummyEncoder())
    pages = [make_page(source, n, f"{source} {n}") for source in ("a.pdf", ODD) for n in (1, 2, 3)]
    fill(monkeypatch, collection, *pages, make_page("c.png", 1, "gamma"))
    return collection


def rankings(collection: Collection, judged: dict[str, dict[str, int]]) -> dict[str, list[str]]:
    """All pages in another order for each query."""
    ids, rng = list(collection.pages), np.random.default_rng(3)
    return {key: [ids[at] for at in rng.permutation(len(ids))] for key in judged}


@pytest.mark.parametrize("qrels", [BY_PAGES, BY_FILES])
def test_trec_eval_gives_the_same_figures(corpus: Collection, qrels: dict, tmp_path: Path) -> None:
    judgements, ranked = Judgements(qrels, corpus), rankings(corpus, qrels)
    ours = quality(ranked, judgements)
    write_trec(tmp_path / "new", {"1x1": ranked}, judgements)
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == ["1x1.run", "qrels.txt"]
    with (tmp_path / "new" / "qrels.txt").open() as judged, (tmp_path / "new" / "1x1.run").open() as run:
        evaluator = pytrec_eval.RelevanceEvaluator(pytrec_eval.parse_qrel(judged), set(FIGURES))
        found = list(evaluator.evaluate(pytrec_eval.parse_run(run)).values())
    assert len(found) == len(qrels)
    for theirs, name in FIGURES.items():
        assert np.mean([row[theirs] for row in found]) == pytest.approx(ours[name], abs=1e-4)


@pytest.mark.parametrize("qrels", [BY_PAGES, BY_FILES])
def test_a_run_is_read_back_with_its_figures(corpus: Collection, qrels: dict) -> None:
    judgements, ranked = Judgements(qrels, corpus), rankings(corpus, qrels)
    (row,) = judged_runs(trec_run(ranked, judgements, "ours 1x1"), judgements)
    assert row == {"name": "ours 1x1", **quality(ranked, judgements)}


def test_fields_are_separated_by_nothing_in_a_name(corpus: Collection) -> None:
    judgements = Judgements(BY_PAGES, corpus)
    lines = trec_run(rankings(corpus, BY_PAGES), judgements, "x").splitlines()
    assert {len(line.split()) for line in lines} == {6}
    assert lines[0].startswith("q%201 Q0 ")
    assert "q%201 0 odd%20100%25%20#2.pdf#1 1\n" in trec_qrels(judgements)
    assert "q3 0 gone.pdf 1\n" in trec_qrels(judgements)
    run = read_run("\n".join(lines))["x"]
    assert f"{ODD}#3" in run["q 1"]
    assert judgements.unit(f"{ODD}#3")[0] == "page"


def test_other_programs_order_by_score_and_name_pages_of_whole_files(corpus: Collection) -> None:
    judgements = Judgements(BY_FILES, corpus)
    run = "q2 Q0 nobody.pdf 1 9.5 b\nq2 Q0 a.pdf#3 2 1e1 b\n\nq2 Q0 c.png 3 -2 b\nq2 Q0 a.pdf#1 4 3 b\n"
    assert read_run(run) == {"b": {"q2": ["a.pdf#3", "nobody.pdf", "a.pdf#1", "c.png"]}}
    (row,) = judged_runs(run, judgements)
    assert row["mrr"] == pytest.approx(1 / 3 / 2, abs=1e-4)  # a.pdf takes one rank; q 1 has no hits
    for bad in ("q2 Q0 a.pdf 1 9.5", "q2 Q0 a.pdf 1 high b"):
        with pytest.raises(ValueError, match=r"b\.run, line 2: expected"):
            read_run(f"{run.splitlines()[0]}\n{bad}", "b.run")
