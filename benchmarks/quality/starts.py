"""What the Meta Tokens start from: `python -m benchmarks.quality.starts` writes starts.json.

Untrained Minis of both text paths, whose last 48 page tokens pool slices, runs or clusters, with words
weighted by IDF to the power of 0, 0.5 or 1: nDCG@5 at the five budgets on each dev set, and on natural
questions of training's documents, each package a set. IDF and centre come from the other sets, so none is
fitted to itself. A row that is in the file already is not measured again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, get_args

import torch

from benchmarks import RESULTS
from metaembed_demo.core.budgets import BUDGETS
from metaembed_demo.core.config import PATHS
from metaembed_demo.documents.loader import read_files
from metaembed_demo.encoders.mini.encoder import TEXT_PATHS
from metaembed_demo.encoders.mini.meta_tokens import MetaConfig, MetaPath
from metaembed_demo.encoders.mini.parts import Parts
from metaembed_demo.encoders.mini.text_path import TextPath, TextStates, word_vectors
from metaembed_demo.evaluation.beir import load_beir
from metaembed_demo.training.matryoshka_loss import nested_scores
from metaembed_demo.training.mini import corpora
from metaembed_demo.training.mini.dataset import TrainingSet, load_questions
from metaembed_demo.training.mini.teacher import token_scores
from metaembed_demo.training.mini.trainer import single_answer_ndcg

OUT = RESULTS / "starts.json"
SETS = ("business", "long")
FOREIGN = ("de", "de-en", "ja", "ja-en", "ru", "ru-en")  # for a path that reads them
LEAST, MOST = 40, 120  # pages of a package's set
BATCH = 8  # texts of similar length that run together
RARITIES = (0.0, 0.5, 1.0)
EVERYTHING = "every token"


@dataclass(frozen=True)
class Judged:
    """pages: the words of each. queries: texts. right: the page that answers each."""

    pages: list[list[str]]
    queries: list[str]
    right: list[int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devsets", type=Path, default=PATHS.cache / "devsets")
    parser.add_argument("--data", type=Path, default=PATHS.cache / "train", help="as `train` keeps it")
    parser.add_argument("--paths", nargs="+", default=list(TEXT_PATHS))
    options = parser.parse_args()
    found: dict[str, Any] = json.loads(OUT.read_text()) if OUT.exists() else {}
    sets = {name: of_folder(options.devsets / name) for name in (*SETS, *FOREIGN)} | of_packages(options.data)
    for path in options.paths:
        rows = found.setdefault(path, {})
        text = TEXT_PATHS[path]()
        read = {name: each for name, each in sets.items() if name not in FOREIGN or len(text.languages) > 1}
        for name in [name for name in read if name not in rows]:
            rows[name] = measure(text, name, read)
            print(path, name, json.dumps(rows[name]), flush=True)
            OUT.write_text(json.dumps(found, indent=1) + "\n")


def of_folder(folder: Path) -> Judged:
    """A dev set that `devsets.py` built."""
    beir = load_beir(folder)
    pages = [page for page in read_files(beir.files) if hasattr(page, "words")]
    at = {f"{page.source}#{page.number}": i for i, page in enumerate(pages)}
    asked = [(key, corpus_id) for key, judged in beir.qrels.items() for corpus_id in list(judged)[:1]]
    return Judged(
        [[word.text for word in page.words] for page in pages],
        [beir.queries[key].text for key, _ in asked],
        [at[corpus_id] for _, corpus_id in asked],
    )


def of_packages(data: Path) -> dict[str, Judged]:
    """Package -> pages around the parts that natural questions were written for."""
    questions = load_questions(PATHS.assets / "questions.jsonl")
    training = TrainingSet(corpora.load(corpora.prepare(data)), (), questions)
    found = {}
    for source, examples in training.questioned(seed=3).items():
        if len(examples) >= LEAST:
            examples = examples[:MOST]
            asked = [(query, at) for at, example in enumerate(examples) for query in example.queries]
            found[source] = Judged(
                [e.words for e in examples], [q for q, _ in asked], [at for _, at in asked]
            )
    return found


def measure(text: TextPath, name: str, sets: dict[str, Judged]) -> dict[str, list[float]]:
    """Row -> nDCG@5 at the five budgets, of one set; `EVERYTHING` has one figure."""
    same = name.removesuffix("-en")
    others = [
        page for other, each in sets.items() if other.removesuffix("-en") != same for page in each.pages
    ]
    log_idf, center = _of_others(text, others)
    judged = sets[name]
    right = torch.tensor(judged.right)
    pages = list(_states(text, judged.pages, of_queries=False))
    queries = list(_states(text, [query.split() for query in judged.queries], of_queries=True))
    found = {EVERYTHING: [single_answer_ndcg(_every_token(queries, pages), right)]}
    for parts, rarity in product(get_args(Parts), RARITIES):
        meta = MetaPath(MetaConfig(text.name, text.vocabulary, parts))
        with torch.no_grad():
            meta.project.weight.copy_(torch.eye(len(meta.project.weight)))
            meta.log_idf.copy_(log_idf)
            meta.query_idf_scale.fill_(rarity)
            meta.page_idf_scale.fill_(rarity)
            meta.state_center.copy_(center)
            asked, told = _vectors(meta, queries, True), _vectors(meta, pages, False)
            scores = _scores(asked, told)
        row = f"{parts}, IDF to the power of {rarity:g}"
        found[row] = [single_answer_ndcg(matrix, right) for matrix in scores]
    return found


Part = tuple[list[int], TextStates]  # the texts' places, and their states


def _states(text: TextPath, texts: Sequence[Sequence[str]], of_queries: bool) -> Iterator[Part]:
    tokens = [text.tokens(words) for words in texts]
    order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        yield rows, replace(text.states([tokens[i] for i in rows], of_queries), layers=[])


def _of_others(text: TextPath, pages: Sequence[Sequence[str]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-IDF over `pages`, and for a path whose states share much the mean of some of them."""
    seen = torch.ones(text.vocabulary)
    for words in pages:
        seen[list(set(text.tokens(words)))] += 1
    idf = torch.log((len(pages) + 1) / seen)
    idf[[text.cls, text.sep]] = 0
    some = [text.states([text.tokens(words[:60])]) for words in pages[:: max(1, len(pages) // 200)]]
    center = torch.cat([states.final[states.words] for states in some]).mean(0)
    return torch.log(idf + 1e-3), center if len(text.languages) > 1 else torch.zeros_like(center)


def _vectors(meta: MetaPath, parts: Sequence[Part], of_queries: bool) -> torch.Tensor:
    found = torch.cat([meta.pooled(states, of_queries) for _, states in parts])
    return found[torch.tensor([i for rows, _ in parts for i in rows]).argsort()]


def _scores(queries: torch.Tensor, pages: torch.Tensor) -> list[torch.Tensor]:
    parts = [nested_scores(queries, some) for some in pages.split(16)]
    return [torch.cat([part[at] for part in parts], 1) for at in range(len(BUDGETS))]


def _every_token(queries: Sequence[Part], pages: Sequence[Part]) -> torch.Tensor:
    def tokens(parts: Sequence[Part]) -> list[torch.Tensor]:
        found = {i: row for rows, states in parts for i, row in zip(rows, word_vectors(states), strict=True)}
        return [found[i] for i in range(len(found))]

    return token_scores(tokens(queries), tokens(pages))


if __name__ == "__main__":
    main()
